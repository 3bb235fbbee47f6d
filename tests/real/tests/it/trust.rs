//! What makes a rollout one to trust, on real clusters: plans, approvals, the record, waves, steps, going back.

mod approvals;
mod people;
mod steps;
mod waves;
