//! What must be done on each target, as data. Pure.
//!
//! ```text
//!  Desired objects ─┐
//!  TargetInventory ─┼──► plan ──► Plan { hash, per target: Actions }     shown, approved, carried out
//!  previous content ┘               creates, changes, deletes
//!  ResourcePolicies ────────────► take-over, recreate, keep, report-only, read-only, shared
//!
//!  Plan + facts of members ────► hints: where it is dangerous
//!  desired + live ──► drift ──► fields that differ
//!  workload + what is beside it ──► dependents: what it needs
//! ```
//!
//! The hash covers targets, rendered objects, deletes by identity, take-over and force; never live
//! values, so that an autoscaler voids no approval. Values of Secrets never leave this crate: their
//! changes name keys only (design invariant 11).

pub mod dependents;
pub mod desired;
pub mod difference;
pub mod drift;
pub mod hints;
pub mod losses;
pub mod managed;
pub mod order;
pub mod plan;
pub mod policies;
pub mod sharing;

pub use dependents::{Dependent, Index, dependents, may_need};
pub use desired::{Claim, Delivery, Desired, namespace_object, prepare};
pub use difference::difference;
pub use drift::{Drift, drift};
pub use hints::{Facts, Hint, MemberFacts, Severity, hints};
pub use losses::is_workload;
pub use order::{Wave, wave};
pub use plan::{
    Action, ActionKind, FieldChange, Plan, PlanInput, TargetInput, TargetPlan, changes_between, plan, redact,
};
pub use policies::{DriftMode, GcStrategy, PolicyError, ResourcePolicies, Subject};
pub use sharing::{Entry, Exit, Standing};
