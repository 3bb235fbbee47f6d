//! Members of the fleet: how they are reached, how much at once, what is seen on them.
//!
//! ```text
//!  Transport ──► Members ── by name or alias ──► Member ──► requests: apply, read, delete
//!  (in process,    │                              │ budget, deadline, breaker
//!   HTTPS)         │                              └── observer: one watch per kind
//!                  └──◄── MemberEvent ◄── what changed on objects that carry our owner label
//! ```
//!
//! A member's failure stays its own (design invariant 5): each has its own budget, deadlines, breaker and
//! watches, and nothing here waits for two members at once.

pub mod acting;
pub mod breaker;
mod budget;
mod discovery;
pub mod error;
pub mod facts;
pub mod hold;
pub mod member;
pub mod observe;
mod others;
mod recognition;
pub mod registry;
pub mod remote;
pub mod resource;
mod roll;
mod scaled;
pub mod telemetry;

pub use acting::{Account, Acting};
pub use breaker::Reachability;
pub use error::{Conflict, MemberError, innermost};
pub use facts::{Capacity, Occupancy, PendingPod};
pub use hold::Hold;
pub use member::{INSIDE, Inside, Live, Member};
pub use observe::Observed;
pub use registry::{Announced, MemberEvent, Members, Notify, Options, Transport, TransportError};
pub use remote::{AllowedPlugin, Credentials, CredentialsError, Identity, Remote, RemoteOptions, is_watch};
pub use resource::{KnownKinds, ResourcePath};
pub use telemetry::{Answer, Telemetry};
