//! The kinds of the API, one module per kind, with the names that every other crate shares.
//!
//! ```text
//!  Application ──► policies, components        what a user writes
//!   │   Policy, Workflow (by reference)
//!   ▼
//!  ApplicationRevision   immutable content, named by its hash
//!   ▼
//!  Run ──► step, target states, gates          truth of one walk of the workflow
//!   ▲
//!  Approval              one recorded decision on one plan
//!
//!  AuditLog              what happened and who decided, one chain per Application
//!  ResourceTracker       inventory: what an Application owns on each target
//!  ManagedCluster        a member of the fleet
//!  ClusterAccessPolicy   which namespaces may deliver to which members
//!  PropagationPolicy, OverridePolicy   native objects follow policies, without an Application
//!  DriftHold             somebody works on members by hand, until an end
//! ```
//!
//! The types hold data and no behaviour beyond reading themselves; [`crds`] turns them into
//! CustomResourceDefinitions.

#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column and short name is an attribute of its own"
)]

pub mod application;
pub mod application_revision;
pub mod approval;
pub mod audit_log;
pub mod authorship;
pub mod cluster_access_policy;
pub mod conditions;
pub mod crds;
pub mod definitions;
pub mod drift_hold;
pub mod gate;
pub mod managed_cluster;
pub mod measured;
pub mod names;
pub mod packed;
pub mod policy;
pub mod propagation;
pub mod provenance;
pub mod queue;
pub mod requests;
pub mod resource_tracker;
pub mod rollback;
pub mod rollout_window;
pub mod run;
mod schemas;
pub mod staged;
pub mod target;
pub mod workflow;

pub use application::{
    Application, ApplicationSpec, ApplicationStatus, AppliedResource, Component, DriftState, DriftStatus,
    InlinePolicy, Phase, RevisionReference, ServiceStatus, StepStatus, TargetStatus, Trait, WorkflowSource,
    WorkflowStatus,
};
pub use application_revision::{
    ApplicationRevision, ApplicationRevisionSpec, RevisionContent, StepContent, Variant,
};
pub use approval::{Approval, ApprovalSpec, Decision};
pub use audit_log::{AuditEntry, AuditHead, AuditLog, AuditLogSpec, ChainError, HeadSignature, verify_chain};
pub use cluster_access_policy::{AccessMode, ClusterAccessPolicy, ClusterAccessPolicySpec, Selection};
pub use conditions::Condition;
pub use definitions::{ComponentDefinition, PolicyDefinition, TraitDefinition, WorkflowStepDefinition};
pub use drift_hold::{DriftHold, DriftHoldSpec};
pub use gate::{ApprovalRecord, Gate, GateBefore, GateOutcome, Refusal};
pub use managed_cluster::{ManagedCluster, ManagedClusterSpec, ManagedClusterStatus};
pub use measured::{Measured, Measurement, Outcome};
pub use packed::{Packed, PackedError};
pub use policy::Policy;
pub use provenance::{Provenance, Source};
pub use queue::{OnNewRevision, QueuedRevision};
pub use requests::{TargetAction, TargetRequest};
pub use resource_tracker::{
    DISTRIBUTION, Inventory, Layer, Memory, Owned, PolicyName, Remembered, ResourceTracker,
    ResourceTrackerSpec, TargetInventory, Unhealthy,
};
pub use rollback::{Rollback, RollbackRequest};
pub use rollout_window::{
    RolloutWindow, RolloutWindowSpec, TimeWindow, TimeWindows, WindowOverride, WindowRequest,
};
pub use run::{
    Deed, Intervention, RetryRecord, Run, RunPhase, RunSpec, RunStatus, SkipRecord, StepPhase, StepState,
    TargetPhase, TargetState,
};
pub use staged::{StagedOverride, StagedPlacement};
pub use target::{ObjectId, ObjectReference, Target};
pub use workflow::{Step, StepInput, StepOutput, StepRetry, Workflow, WorkflowMode};
