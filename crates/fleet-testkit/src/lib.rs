//! Whole fleets in process, for tests.
//!
//! ```text
//!  Fleet ── hub, members, simulator (fleetctl's own embedded fleet, without its controller)
//!    └── Engine ── a controller behind Meters: requests are counted, and writes can be made its last
//! ```
//!
//! [`sim`] plays seeded scripts on it, in virtual time, and judges every write.

pub mod engine;
pub mod fleet;
pub mod manifests;
pub mod measure;
pub mod meter;
pub mod servers;
pub mod sim;

pub use engine::Engine;
pub use fleet::Fleet;
pub use meter::{Count, Meter};
