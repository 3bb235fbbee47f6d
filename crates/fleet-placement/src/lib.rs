//! Where things go: what applications and policies say and the known clusters in, targets and replicas out.
//!
//! ```text
//! an Application's topologies          a PropagationPolicy
//!
//! properties ─► Topology ─┐            spec ─► PlacementRules ─┐
//!                         ├─► place    ManagedCluster ─► Fleet ─┴─► Survey ─┐   once for each policy and fleet
//! ManagedCluster ─► Cluster ┘  │                                            ├─► decide ─► Decision ─► next_step
//!                          [Target]                          Demand, Placed ┘   for each object      what moves now
//! ```
//!
//! - [`topology`], [`place`](fn@place), [`error`]: the union of what topology policies say, as targets
//! - [`fleet`], [`location`], [`taints`]: the members
//! - [`rules`], [`affinity`], [`survey`]: what a policy says, and about whom
//! - [`decide`](fn@decide), [`left_out`]: where one object goes, and why nowhere else
//! - [`divide`](mod@divide), [`shares`]: replicas, exactly
//! - [`pieces`]: what of an object is divided
//! - [`room`]: how many more replicas a cluster has room for
//! - [`moves`]: from what is to what is wanted, without ever having too few
//! - [`holds`]: the mask, and what is suspended

pub mod affinity;
pub mod decide;
pub mod divide;
pub mod error;
pub mod fleet;
pub mod holds;
pub mod left_out;
pub mod location;
pub mod moves;
mod nearest;
pub mod pieces;
mod place;
pub mod problems;
pub mod room;
pub mod rules;
mod running;
pub mod shares;
mod spread;
pub mod survey;
pub mod taints;
mod target;
pub mod topology;

pub use affinity::Affinity;
pub use decide::{Decision, Demand, Placed, Trouble, decide};
pub use error::PlacementError;
pub use fleet::{Fleet, Member, Standing};
pub use fleet_api::Target;
pub use holds::{Hold, Holds};
pub use left_out::{LeftOut, LeftOutReason, Shortfall};
pub use moves::next_step;
pub use nearest::nearest;
pub use place::place;
pub use problems::Problems;
pub use room::{Resources, Room, pod_requests};
pub use rules::PlacementRules;
pub use spread::{SpreadOut, TooFewGroups};
pub use survey::Survey;
pub use target::{Cluster, LOCAL};
pub use topology::Topology;
