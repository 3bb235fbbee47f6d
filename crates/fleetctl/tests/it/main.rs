//! Whole fleets in one process, and the command line against them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests may, and are the ones who hand clocks down"
)]

mod adopt;
mod cluster;
mod commands;
mod diagnose;
mod distributed;
mod drift;
mod embedded;
mod gates;
mod local;
mod operators;
mod plans;
mod promote;
mod remote;
mod rollback;
mod simulate;
mod strangers;
mod support;
mod transcript;
mod windows;
