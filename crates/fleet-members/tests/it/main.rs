//! Members and the ways to them, against small servers that answer as a test needs.

mod faults;
mod link;
mod plugins;
mod proxies;
mod requests;
mod secrets;
mod support;
