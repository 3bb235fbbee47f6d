//! Where an application goes: topology policies and the known clusters in, targets out.
//!
//! ```text
//! policy properties ──► Topology ─┐
//!                                 ├─► place ──► [Target]  (cluster, namespace)
//! ManagedCluster ─────► Cluster ──┘
//! ```
//!
//! - [`topology`]: what a topology policy says, read strictly
//! - [`place`](fn@place): the union of what the policies say, as targets
//! - [`error`]: what may be wrong, each with a stable code

pub mod error;
mod nearest;
mod place;
mod target;
pub mod topology;

pub use error::PlacementError;
pub use fleet_api::Target;
pub use nearest::nearest;
pub use place::place;
pub use target::{Cluster, LOCAL};
pub use topology::Topology;
