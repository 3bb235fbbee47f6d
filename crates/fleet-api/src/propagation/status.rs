//! What policies tell of themselves: what they matched, where it went, what is pending and why, what they lost to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::words;
use crate::{Condition, ObjectId};

/// How many objects a status names; all are counted. Those with something to tell come first.
pub const KEPT_OBJECTS: usize = 100;

/// What a propagation policy tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PropagationPolicyStatus {
    /// The generation that this was judged on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: everything that it takes is where it is to be. `Healthy`: it is well there, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How many objects stand how.
    #[serde(default)]
    pub objects: ObjectCounts,
    /// The objects that it takes, at most 100, unfinished ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claimed: Vec<ClaimedObject>,
    /// What goes along with these since they need it (`propagateDeps`), at most 100, unfinished ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<ClaimedObject>,
    /// Objects that it selects and another policy takes, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<RivalClaim>,
    /// The Applications that carry it, where it names a Workflow: one for each namespace of its objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<Rollout>,
    /// What is wrong with the policy, or won't do what it seems to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<PolicyProblem>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// An Application that carries what a policy distributes in a namespace: plans, gates and history are its.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub application: String,
    /// Its newest run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    /// A code: `StagedDone`, `StagedRunning`, `StagedWaiting`, `StagedFailed`, `StagedTerminated`,
    /// `StagedRefused`, `StagedStarting`, `StagedBehind`.
    pub reason: String,
    /// The same in words, with what is waited for and the command that moves it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How many objects stand how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectCounts {
    /// Objects that its selectors match.
    #[serde(default)]
    pub matched: u64,
    /// Of these, the ones that it takes.
    #[serde(default)]
    pub claimed: u64,
    /// Of these, the ones that are everywhere where they are to be.
    #[serde(default)]
    pub delivered: u64,
    /// Those that are on their way somewhere.
    #[serde(default)]
    pub pending: u64,
    /// Those that are held somewhere, by the mask or by suspension.
    #[serde(default)]
    pub held: u64,
    /// Those that something hinders somewhere.
    #[serde(default)]
    pub failed: u64,
    /// Matched objects that another policy takes.
    #[serde(default)]
    pub lost: u64,
    /// Those that aren't well on some cluster that has them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unhealthy: u64,
}

/// An object that a policy takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedObject {
    /// The object.
    #[serde(flatten)]
    pub object: ObjectId,
    /// Where it goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<ObjectPlace>,
    /// A code, where it goes nowhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// An object on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectPlace {
    /// The cluster's name.
    pub cluster: String,
    /// How it stands there.
    pub phase: PlacePhase,
    /// The replicas that it is to have there, where they are divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// How it is there; nothing where it is `Healthy`, or isn't there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<PlaceHealth>,
    /// How many are ready of how many it asks for there (`1/3`), where it isn't healthy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ready: String,
    /// Where it can be reached there: what a Service, an Ingress or a Gateway got, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// A code in CamelCase, where there is something to tell: of its delivery, else of its health.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same in words: place, cause, next step.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl ObjectPlace {
    /// A place of which nothing else is told.
    pub fn new(cluster: &str, phase: PlacePhase) -> Self {
        let (ready, reason, message) = <(String, String, String)>::default();
        let cluster = cluster.to_owned();
        Self { cluster, phase, replicas: None, health: None, ready, addresses: Vec::new(), reason, message }
    }
}

words! {
    /// How well an object is on a cluster.
    PlaceHealth {
        /// What it asks for has come about.
        Healthy = "Healthy",
        /// It stands still because its spec says so.
        Suspended = "Suspended",
        /// On the way, or nobody has looked at it yet.
        Progressing = "Progressing",
        /// It can't be judged, or the cluster is silent.
        Unknown = "Unknown",
        /// It won't get there without a change.
        Degraded = "Degraded",
    }
}

words! {
    /// How an object stands on a cluster.
    PlacePhase {
        /// It is there as it is to be.
        Delivered = "Delivered",
        /// It is on its way.
        Pending = "Pending",
        /// It is kept at an earlier revision, by the mask or by suspension.
        Held = "Held",
        /// Something hinders it.
        Failed = "Failed",
        /// It leaves the cluster.
        Leaving = "Leaving",
    }
}

/// An object that a policy selects and another takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RivalClaim {
    /// The object.
    #[serde(flatten)]
    pub object: ObjectId,
    /// The policy that takes it, as `kind.group namespace/name`.
    pub to: String,
    /// A code: `LowerPriority`, `LessPrecise`, `ClusterScoped`, `LaterName`, `AlreadyClaimed` or `OwnedByApplication`.
    pub reason: String,
    /// The same in words, with the way out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

words! {
    /// How much a problem weighs.
    Severity {
        /// The policy isn't acted on until it is mended; what it delivered stays as it is.
        Error = "Error",
        /// Something won't be as it seems to say.
        Warning = "Warning",
    }
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyProblem {
    /// How much it weighs.
    pub severity: Severity,
    /// A code in CamelCase that a script can match.
    pub reason: String,
    /// Where, from the policy's root (`spec.placement.clusterAffinity.clusterNames[1]`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Cause and next step.
    pub message: String,
}

/// What an override policy tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverridePolicyStatus {
    /// The generation that this was judged on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: its changes are made wherever they are to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How many objects it matches.
    #[serde(default)]
    pub matched: u64,
    /// Objects and the clusters on which it changes them, at most 100, those with something to tell first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<OverriddenObject>,
    /// What is wrong with the policy, or won't do what it seems to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<PolicyProblem>,
}

/// An object that a policy changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverriddenObject {
    /// The object.
    #[serde(flatten)]
    pub object: ObjectId,
    /// The clusters on which it is changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// A code, where a change can't be made, or isn't what it seems to say: that of the first that `message` tells.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// In words: place, cause, next step; one after another where there are several, with its code before what has another
    /// code than `reason`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
