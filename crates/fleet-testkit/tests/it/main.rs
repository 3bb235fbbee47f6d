//! The engine against whole fleets in process.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

mod approvals;
mod authors;
mod bad_input;
mod components;
mod crash;
mod delivery;
mod drift;
mod edits;
mod gates;
mod health_rules;
mod held;
mod holds;
mod identity;
mod lost;
mod measures;
mod members;
mod mistakes;
mod operators;
mod policies;
mod propagation;
mod queue;
mod read_only;
mod record;
mod replicas;
mod requests;
mod revisions;
mod rollback;
mod rollout;
mod secrets;
mod sharing;
mod simulation;
mod small;
mod steps;
mod tenancy;
mod turns;
mod waves;
