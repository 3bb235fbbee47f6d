//! The step graph and its state machine. Pure: no clock, no I/O.
//!
//! ```text
//!  steps as written ──► Graph ─┐
//!  RunStatus (recorded) ───────┼──► advance(now) ──► RunStatus (to record)
//!  Facts (plans, approvals, ───┘                     Commands (to carry out after recording)
//!         targets, requests)                         wake_at (the next absolute deadline)
//! ```
//!
//! What [`advance`] promises (design invariants 2 and 6):
//! - a target of a gated step leaves `Pending` only after the gate was opened for the plan that is carried out;
//! - a run that isn't over names what it waits for, and either something under way or `wake_at` moves it on;
//! - commands follow from recorded state: carried out again after a crash they change nothing but time.

pub mod advance;
pub mod duration;
pub mod facts;
pub mod graph;
pub mod line;
pub mod measure;
pub mod order;
pub mod windows;

pub use advance::{Advance, CONDITION_FALSE, advance};
pub use duration::parse_duration;
pub use facts::{
    ApprovalFact, Authors, Check, CheckFact, Command, Delivery, Facts, FleetWindow, Permits, PlanFact,
    Problem, Prune, Sight, TargetFact,
};
pub use graph::{
    ApprovalRule, DeployProperties, Graph, MeasureProperties, Node, OnDelete, Retry, StepKind,
    SuspendProperties, WorkflowError, Written, flatten,
};
pub use line::{Blocker, Claim, Claimant, Limits, Line};
pub use order::{ClusterFact, OrderError, Placed, arrange, canaries, look};
