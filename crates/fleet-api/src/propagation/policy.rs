//! `PropagationPolicy` and `ClusterPropagationPolicy`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::placement::Placement;
use super::selectors::ResourceSelector;
use super::status::PropagationPolicyStatus;
use super::words::words;

/// Objects of the hub go to clusters, and every change of theirs follows.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "one.alibabacloud.com",
    version = "v1alpha1",
    kind = "PropagationPolicy",
    root = "PropagationPolicyDefinition",
    plural = "propagationpolicies",
    namespaced,
    status = "PropagationPolicyStatus",
    category = "propagation"
)]
#[kube(printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"))]
#[kube(printcolumn(name = "Objects", type_ = "integer", json_path = ".status.objects.matched"))]
#[kube(printcolumn(name = "Delivered", type_ = "integer", json_path = ".status.objects.delivered"))]
#[kube(printcolumn(
    name = "Ready",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Ready\")].status"
))]
#[kube(printcolumn(
    name = "Reason",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
))]
#[kube(printcolumn(
    name = "Healthy",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Healthy\")].status"
))]
#[kube(printcolumn(name = "Problems", type_ = "string", json_path = ".status.problems[*].reason"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
pub struct PropagationPolicySpec {
    /// Which objects; at least one selector.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub resource_selectors: Vec<ResourceSelector>,
    /// Where they go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Of several policies that select an object, the one of highest priority takes it; 0 where it is left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// Whether it takes objects from policies of lower priority that have them already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemption: Option<Preemption>,
    /// What happens where a member has an object already that is nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict_resolution: Option<ConflictResolution>,
    /// Whether an object is deleted from members when the policy selects it no longer, or is deleted itself; true
    /// where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// Whether an object stays on members when it is deleted from the hub.
    #[serde(default, skip_serializing_if = "is_false")]
    pub preserve_resources_on_deletion: bool,
    /// Whether what workloads refer to goes along: ConfigMaps, Secrets, ServiceAccounts and so on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub propagate_deps: bool,
    /// The earlier name of `propagateDeps`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub association: bool,
    /// What is held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
    /// What happens when a cluster is gone or a workload doesn't become healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// Clusters, by name or alias, that may move now; the others hold the revision they have. Left out, all may
    /// move; empty, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Vec<String>>,
    /// The Workflow by which changes roll out; left out, they go everywhere at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowReference>,
    /// Read, not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    /// Read, not acted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependent_overrides: Vec<String>,
    /// Read, not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_preference: Option<String>,
    /// Read, not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub schedule_priority: Option<Value>,
}

impl PropagationPolicySpec {
    /// Whether it takes objects from policies of lower priority that have them already.
    pub fn preempts(&self) -> bool {
        self.preemption == Some(Preemption::Always)
    }

    /// Whether objects that it doesn't select any longer are deleted from members.
    pub fn prunes(&self) -> bool {
        self.prune.unwrap_or(true)
    }

    /// Whether what workloads refer to goes along.
    pub fn takes_dependents(&self) -> bool {
        self.propagate_deps || self.association
    }
}

words! {
    /// Whether a policy takes objects from others that have them.
    Preemption {
        /// It does.
        Always = "Always",
        /// It waits until they are free.
        Never = "Never",
    }
}

words! {
    /// What happens where a member has an object already that is nobody's.
    ConflictResolution {
        /// It is left alone and told.
        Abort = "Abort",
        /// It is taken over in place.
        Overwrite = "Overwrite",
    }
}

/// What is held back. One of the three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Nothing is delivered anywhere.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dispatching: bool,
    /// Nothing is delivered to some clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatching_on_clusters: Option<DispatchingClusters>,
    /// Where things go isn't decided anew.
    #[serde(default, skip_serializing_if = "is_false")]
    pub scheduling: bool,
}

/// Clusters to which nothing is delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DispatchingClusters {
    /// By name or alias.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_names: Vec<String>,
}

/// The Workflow by which changes roll out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowReference {
    /// Its name.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its namespace; left out, the policy's own. A cluster-scoped policy has to say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// What happens when a cluster is gone or a workload doesn't become healthy. Left out, nothing moves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// When a workload doesn't become healthy on a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationFailover>,
    /// When a cluster is gone or full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterFailover>,
}

/// When a workload doesn't become healthy on a cluster, it moves to another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationFailover {
    /// After what it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_conditions: Option<DecisionConditions>,
    /// What happens to the copy it leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_mode: Option<PurgeMode>,
    /// Read, not acted on: the copy that it leaves stays until as many are ready elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    /// Read, not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub state_preservation: Option<Value>,
}

/// After what a workload moves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionConditions {
    /// How long it may be unhealthy; 300 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// When a cluster is gone or full, its replicas move to others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFailover {
    /// What happens to the copy that is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_mode: Option<PurgeMode>,
    /// For how long a cluster may be gone, or a replica find no room, before replicas move; 300 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
    /// How many replicas of an object move at once, as a number or a percentage of those asked for; `25%`, at least
    /// one, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::int_or_percent")]
    pub max_moving: Option<Value>,
    /// Whether replicas move back when the cluster returns; `Stay` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_return: Option<OnReturn>,
    /// Read, not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub state_preservation: Option<Value>,
}

words! {
    /// What happens to a copy that is left.
    PurgeMode {
        /// It goes at once.
        Directly = "Directly" | "Immediately",
        /// It goes when another is healthy.
        Gracefully = "Gracefully" | "Graciously",
        /// It stays.
        Never = "Never",
    }
}

words! {
    /// Whether replicas move back when a cluster returns.
    OnReturn {
        /// They stay where they are until somebody says otherwise.
        Stay = "Stay",
        /// They move back, as slowly as they left.
        MoveBack = "MoveBack",
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}
