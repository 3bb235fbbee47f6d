//! What member clusters do with their objects: Deployments become ready, Services get addresses, broken images fail.
//!
//! The simulator knows API servers only through [`kube::Client`]. One watch per kind runs over all members at once; an
//! idle member costs a cached node and nothing else.
//!
//! ```text
//!            watch × kind           ┌── Simulator: one task ─────────────────────────────┐
//!  members ─────────────► Reported ─► World ─► queue of (member, object) ─► decide (pure) │
//!     ▲                             │   ▲               ▲                      │ actions  │
//!     │                             │   │ results       └── timers ◄── wake ───┤          │
//!     └───────── requests ◄─────────┼───┴──────── one sequence per object ◄────┘          │
//!                                   └────────────────────────────────────────────────────┘
//! ```
//!
//! - `kind`, `object`, `world`: what is known of members
//! - [`decide`](mod@decide): what each kind does next, pure functions
//! - `stages`: the tables in `stages/*.json`, for kinds whose life is a sequence
//! - `names`: names, addresses and delays, drawn from what they belong to
//! - `simulator`, `watch`, `client`: the way to the API servers
//! - `seed`: what a member has from the start
//! - `faults`: what may be wrong with a member and the way to it
//!
//! Objects steer their own simulation by annotations: [`READY_DELAY`], [`FAIL`], [`HOLD`].

mod action;
mod client;
pub mod decide;
mod faults;
mod kind;
#[cfg(test)]
mod model;
mod names;
mod object;
mod seed;
mod settings;
mod simulator;
mod stages;
mod watch;
mod world;

pub use action::{Action, Decision};
pub use client::SimError;
pub use faults::{Fault, Faults, Faulty, FaultyBody, Unwell, Weather};
pub use kind::Kind;
pub use seed::{NODE, seed_member};
pub use settings::{FAIL, HOLD, Moment, Pods, READY_DELAY, Settings};
pub use simulator::{Clock, Filter, Members, Options, Simulator, Single};
pub use world::{Cluster, Held, ObjectRef};
