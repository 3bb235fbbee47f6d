//! The state machine as its callers see it: cases by hand, and laws over random graphs and random facts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod approvals;
mod cases;
mod graphs;
mod laws;
mod line;
mod measures;
mod shut;
mod step_laws;
mod steps;
mod wave_laws;
mod waves;
mod windows;
mod world;
