//! What makes a rollout one to trust, on real clusters: waves and steps.

mod people;
mod steps;
mod waves;
