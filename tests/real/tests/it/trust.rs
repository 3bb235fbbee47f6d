//! What makes a rollout one to trust, on real clusters.

mod approvals;
mod competing;
mod gates;
pub(crate) mod people;
mod rehearsal;
mod rollback;
mod steps;
mod waves;
