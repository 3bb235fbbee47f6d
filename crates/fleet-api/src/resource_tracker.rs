//! `ResourceTracker`, `core.oam.dev/v1beta1`: the inventory, what an Application owns on each target.
//!
//! What policies distribute is in trackers too, spread over several by a hash of the object, so that each stays small;
//! their type is [`DISTRIBUTION`], and they remember besides where each object was placed ([`Remembered`]).
//!
//! It is cluster-scoped, so that it outlives a namespace that is deleted with force, and it is written
//! before anything that it lists is created (design invariant 8).

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ObjectId, Packed, Target};

/// The packed inventory.
#[derive(CustomResource, Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "core.oam.dev",
    version = "v1beta1",
    kind = "ResourceTracker",
    shortname = "rt",
    category = "oam"
)]
#[kube(printcolumn(name = "TYPE", type_ = "string", json_path = ".spec.type"))]
#[kube(printcolumn(name = "APP", type_ = "string", json_path = ".spec.applicationName"))]
#[kube(printcolumn(name = "APP-NS", type_ = "string", json_path = ".spec.applicationNamespace"))]
#[kube(printcolumn(name = "OBJECTS", type_ = "integer", json_path = ".spec.total"))]
#[serde(rename_all = "camelCase")]
pub struct ResourceTrackerSpec {
    /// `root`: one tracker per Application; [`DISTRIBUTION`]: of objects that policies distribute.
    #[serde(rename = "type")]
    pub type_: String,
    /// The Application.
    pub application_name: String,
    /// Its namespace.
    pub application_namespace: String,
    /// Its UID.
    #[serde(default)]
    pub application_uid: String,
    /// How many objects the inventory lists.
    #[serde(default)]
    pub total: u64,
    /// [`Inventory`].
    pub inventory: Packed,
    /// [`Memory`], where policies distribute the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Packed>,
}

/// The type of trackers of what policies distribute, and the name under which their owner is known
/// ([`crate::names::owner_hash`] of the hub, no namespace, and this): one owner for all policies, so that an object passes
/// from one to another without a conflict.
pub const DISTRIBUTION: &str = "propagation";

/// What is remembered of objects that policies distribute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// By object.
    pub objects: Vec<(ObjectId, Remembered)>,
}

/// What is remembered of one object between decisions, so that a restart decides as before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remembered {
    /// The policy that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// The Application of its namespace that carries it while it rolls out by a Workflow: only that one acts on members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Its policy went with the definition of its kind: it stays until a policy takes it, or that one is there again and doesn't.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub orphaned: bool,
    /// It stays on members when no policy has it any more, or a policy leaves a cluster (`prune: false`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// It stays on members when it is deleted from the hub (`preserveResourcesOnDeletion`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preserved: bool,
    /// The group of clusters that was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The clusters that were chosen, with the replicas of each where they are divided.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<String, Option<u64>>,
    /// Clusters that it left by rule, with the most it may have there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ceilings: BTreeMap<String, u64>,
    /// The replicas that clusters have been told to have, where they are divided.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<String, u64>,
    /// Hash of the fields that were ours on each cluster when it was delivered there last: what differs is drift.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left: BTreeMap<String, u64>,
    /// What clusters have that are held while the hub says something else by now: drift there is mended to it. Never of Secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, serde_json::Value>,
    /// No policy selects it: it is where workloads need it (`propagateDeps`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dependent: bool,
    /// Clusters on which it is, or was when it left them, unhealthy; where its policy moves such.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unhealthy: BTreeMap<String, Unhealthy>,
}

/// An object that is unhealthy on a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unhealthy {
    /// Since when.
    pub since: Timestamp,
    /// The generation that it had on the hub: another one gets a chance of its own.
    #[serde(default)]
    pub generation: i64,
}

/// A propagation policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyName {
    /// Its API group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for a cluster-scoped one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What is owned where.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// One entry per target.
    pub targets: Vec<TargetInventory>,
}

/// What is owned on one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetInventory {
    /// Where.
    pub target: Target,
    /// What was delivered there and done: later layers overlay earlier ones. A run that completed leaves
    /// only its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// What earlier runs sent there beside that, the newest last: what they began and didn't end, and what waited to be
    /// deleted. Of each object, what its content label names may stand there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begun: Vec<Layer>,
    /// The objects, possibly some that were never created: what may be there.
    #[serde(with = "pairs")]
    pub objects: BTreeMap<ObjectId, Owned>,
}

/// What a step of a revision delivers to a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// The ApplicationRevision.
    pub revision: String,
    /// The step that delivered.
    pub step: String,
}

/// What is known of an owned object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owned {
    /// The component it came from.
    pub component: String,
    /// Whether it is the target's namespace, made because it was missing: deleted only if empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made_namespace: bool,
}

impl Inventory {
    /// The entry of a target.
    pub fn target(&self, target: &Target) -> Option<&TargetInventory> {
        self.targets.iter().find(|entry| entry.target == *target)
    }

    /// The entry of a target, made where it is missing.
    pub fn target_mut(&mut self, target: &Target) -> &mut TargetInventory {
        let index = self.targets.iter().position(|entry| entry.target == *target).unwrap_or_else(|| {
            self.targets.push(TargetInventory {
                target: target.clone(),
                layers: Vec::new(),
                begun: Vec::new(),
                objects: BTreeMap::new(),
            });
            self.targets.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the index was just found or made")]
        &mut self.targets[index]
    }

    /// How many objects are listed.
    pub fn total(&self) -> u64 {
        self.targets.iter().map(|entry| entry.objects.len() as u64).sum()
    }
}

/// JSON keys are strings, so identities are written as a list of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{ObjectId, Owned};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<ObjectId, Owned>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<ObjectId, Owned>, D::Error> {
        Ok(Vec::<(ObjectId, Owned)>::deserialize(from)?.into_iter().collect())
    }
}
