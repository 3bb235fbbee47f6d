//! What holds on real clusters.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may")]

mod adopt;
mod authors;
mod chart;
mod faults;
mod install;
mod join;
mod noise;
mod propagation;
mod release;
mod scenario;
mod sharing;
mod smoke;
mod tenancy;
mod trust;
