//! What holds on real clusters.

mod noise;
mod scenario;
mod smoke;
