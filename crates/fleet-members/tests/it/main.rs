//! Members and the ways to them, against small servers that answer as a test needs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that can't go on fails"
)]

mod faults;
mod holes;
mod link;
mod plugins;
mod proxies;
mod requests;
mod secrets;
mod support;
mod thousand;
