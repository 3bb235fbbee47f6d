//! Laws and cases of policies: how they are read, who takes what, and where it goes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that can't go on fails")]

mod cases;
mod claims;
mod decisions;
mod manifests;
mod overrides;
