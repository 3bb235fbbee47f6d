//! `ResourceTracker`, `core.oam.dev/v1beta1`: the inventory, what an Application owns on each target.
//!
//! It is cluster-scoped, so that it outlives a namespace that is deleted with force, and it is written
//! before anything that it lists is created (design invariant 8).

use std::collections::BTreeMap;

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
    /// Always `root`: one tracker per Application.
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
    /// The objects, possibly some that were never created: what may be there.
    #[serde(with = "pairs")]
    pub objects: BTreeMap<ObjectId, Owned>,
}

/// A step of a revision whose objects were all done on a target.
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
