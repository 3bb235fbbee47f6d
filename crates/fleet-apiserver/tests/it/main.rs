//! The API server through the eyes of its clients, in one process.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::large_futures
)]

mod apply;
mod authors;
mod basics;
mod custom;
mod documents;
mod paging;
mod policies;
mod runtime;
mod support;
mod tokens;
mod watching;
mod writing;
