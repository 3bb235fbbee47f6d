//! What holds on real clusters.

mod scenario;
mod smoke;
