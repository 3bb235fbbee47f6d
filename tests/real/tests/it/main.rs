//! What holds on real clusters.

mod chart;
mod install;
mod join;
mod noise;
mod release;
mod scenario;
mod smoke;
mod tenancy;
