//! Policies that distribute native objects: `PropagationPolicy`, `ClusterPropagationPolicy`, `OverridePolicy` and
//! `ClusterOverridePolicy`, `one.alibabacloud.com/v1alpha1` and two more groups with the same schema.
//!
//! ```text
//!  PropagationPolicySpec ─► ResourceSelector   which objects
//!                        ─► Placement          which clusters, and how replicas are divided
//!                        ─► mask, workflow     when
//!  OverridePolicySpec    ─► ResourceSelector, ClusterAffinity ─► Overriders   how they differ there
//! ```
//!
//! Cluster-scoped and namespaced kinds share their spec, and the groups share everything, so one Rust type stands for
//! six kinds: [`PropagationPolicy`] and [`OverridePolicy`] are objects whose type is data, see [`PolicyKind`]. What
//! other systems' schema has and this engine doesn't act on is read as well, so that it can be told.

pub mod groups;
mod override_policy;
mod placement;
mod policy;
mod selectors;
mod status;
mod words;

use kube::core::Object;

pub use groups::{GROUPS, PolicyKind};
pub use override_policy::{
    ContainerOverrider, FieldOverrider, ImageComponent, ImageOverrider, ImagePredicate, MapOverrider,
    OverrideOperator, OverridePolicySpec, OverrideRule, Overriders, PlaintextOverrider, SubFieldPatch,
};
pub use placement::{
    AffinityGroup, Division, DivisionPreference, Placement, ReplicaScheduling, SpreadConstraint,
    StaticWeight, WeightPreference,
};
pub use policy::{
    ApplicationFailover, ClusterFailover, ConflictResolution, DecisionConditions, DispatchingClusters,
    Failover, OnReturn, Preemption, PropagationPolicySpec, PurgeMode, Suspension, WorkflowReference,
};
pub use selectors::{
    ClusterAffinity, FieldRequirement, FieldSelector, Precision, ResourceSelector, Toleration,
};
pub use status::{
    ClaimedObject, KEPT_OBJECTS, ObjectCounts, ObjectPlace, OverriddenObject, OverridePolicyStatus,
    PlaceHealth, PlacePhase, PolicyProblem, PropagationPolicyStatus, RivalClaim, Rollout, Severity,
};

/// A PropagationPolicy or ClusterPropagationPolicy of any group.
pub type PropagationPolicy = Object<PropagationPolicySpec, PropagationPolicyStatus>;

/// An OverridePolicy or ClusterOverridePolicy of any group.
pub type OverridePolicy = Object<OverridePolicySpec, OverridePolicyStatus>;
