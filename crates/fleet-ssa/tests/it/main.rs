//! Server-side apply as a client of the crate sees it: cases from `tests/data`, laws as properties.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
mod laws;
mod shape;
