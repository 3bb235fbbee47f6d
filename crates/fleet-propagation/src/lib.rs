//! Native objects follow policies: which policy takes which object of the hub, and why the others don't.
//!
//! ```text
//!  manifest ─► Reader ─► Policy (Selectors, PlacementRules, problems) ─┐
//!                                                                      ├─► Claims ─► Changes   who takes what anew
//!  object of the hub ─► ObjectFacts ───────────────────────────────────┘       └──► Outcome   who lost, and to what
//! ```
//!
//! - [`read`]: policies of three systems, strictly: what isn't understood is told with its place and the way out
//! - [`selector`]: which objects a policy is about, and how precisely; override policies use the same
//! - [`policy`]: a policy as it is judged
//! - [`contest`]: which of several policies takes an object
//! - [`claims`]: the same for all objects and policies, change by change
//! - [`overrides`]: which override policies are about an object
//! - [`kinds`]: the kinds of the hub, and what a misspelt one means
//!
//! Where an object goes then is the matter of `fleet-placement`.

pub mod claims;
pub mod contest;
mod index;
pub mod kinds;
pub mod object;
pub mod overrides;
pub mod policy;
pub mod read;
pub mod selector;

pub use claims::{Change, Changes, Claims, Outcome};
pub use contest::Lost;
pub use kinds::{KindTable, meant};
pub use object::ObjectFacts;
pub use overrides::{OverridePolicy, Overrides};
pub use policy::{Policy, PolicyId, PolicyReference};
pub use read::Reader;
pub use selector::{Precision, Scope, Selectors};
