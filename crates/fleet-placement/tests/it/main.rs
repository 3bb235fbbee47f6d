//! Laws and cases of placement by policies.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that can't go on fails")]

mod division;
mod full;
mod holding;
mod moving;
mod silent;
mod spreading;
