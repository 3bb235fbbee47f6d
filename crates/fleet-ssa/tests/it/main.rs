//! Server-side apply as a client of the crate sees it: cases from `tests/data`, laws as properties.

mod cases;
mod laws;
mod shape;
