//! Plans, policies and drift as their callers see them: cases by hand, and laws over random objects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod differences;
mod hints;
mod laws;
mod losses;
mod plans;
mod policies;
mod sharing;
mod site;
