//! More than one replica of the controller: who does what, so that never two do the same.
//!
//! ```text
//!  Leases on the hub ── watch ──► Membership: a state machine without I/O
//!        ▲                            │ view, claims, validity
//!        └── renew, publish ── Driver │
//!                                     ▼
//!  turns, jobs ──── ask ──► Shares ──► Hold { stops at the renew deadline }
//! ```
//!
//! Each replica renews a Lease of its own and publishes in it its *view*: the replicas that it counts as alive. By
//! publishing a view a replica claims the duties for which it wins that view's vote ([`Duty`], rendezvous hashing), and no
//! others. The rules, and why two never hold one duty, stand in [`membership`]. Clocks of replicas are never compared.
//!
//! A controller that is alone ([`Shares::alone`]) has no Lease and asks the hub nothing.

mod driver;
mod duty;
mod hold;
mod lease;
mod membership;
mod shares;

#[cfg(test)]
mod laws;

pub use duty::Duty;
pub use hold::Hold;
pub use lease::{LeaseOptions, Timing, TimingError};
pub use shares::Shares;

pub(crate) use driver::Driver;
