//! What holds on real clusters.

mod chart;
mod noise;
mod scenario;
mod smoke;
