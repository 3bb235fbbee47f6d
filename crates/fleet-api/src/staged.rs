//! Applications by which policies roll out: what a `PropagationPolicy` or `ClusterPropagationPolicy` with a Workflow
//! distributes in a namespace is carried by one Application, which the controller makes and keeps.
//!
//! Its components refer to the objects, its workflow to the policy's, and one inline policy of the type [`STAGED`] says where
//! everything goes and how it differs there, as it was decided when the Application was written. It delivers as the
//! distribution does (same owner, same field manager), so that objects pass from one to the other in place.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::{Deserialize, Serialize};

use crate::propagation::{GROUPS, OverridePolicySpec, PolicyKind, Precision};
use crate::{Application, ApplicationSpec, DISTRIBUTION, ObjectId, names};

/// The type, and the name, of the inline policy; only Applications that a policy owns may have it.
pub const STAGED: &str = "propagation";

/// Where an Application's objects go, and how they differ there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StagedPlacement {
    /// The policy, as it is told (`PropagationPolicy demo/web`).
    pub policy: String,
    /// The namespace of its Workflow and of the Policies that this names.
    pub workflow_namespace: String,
    /// The clusters, by name. Of these, a step delivers to those that its topologies choose; to all where it names none.
    pub clusters: Vec<String>,
    /// Hashes of what the objects said, by component, when this was written: until they say that again, nothing new begins.
    pub contents: BTreeMap<String, String>,
    /// Components that go to some of them only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub only: BTreeMap<String, Vec<String>>,
    /// The replicas of each cluster, of components that are divided (of a Job, what it has to complete there).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicas: BTreeMap<String, BTreeMap<String, u64>>,
    /// The override policies that are about any of the components; their rules name clusters and nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<StagedOverride>,
    /// What the distribution had on clusters, when this was written, where it isn't to be any more: the run takes it away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leaves: BTreeMap<String, Vec<ObjectId>>,
    /// What isn't distributed any more stays on members, as nobody's (`prune: false`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps: bool,
}

/// An override policy as it is now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StagedOverride {
    /// Its kind, as it is told: `OverridePolicy`.
    pub kind: String,
    /// Its namespace; empty for a cluster-scoped one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The components that it is about, and how precisely it selects each.
    pub about: BTreeMap<String, Precision>,
    /// What it says.
    pub spec: OverridePolicySpec,
}

impl StagedPlacement {
    /// What stands in an Application; nothing where it isn't one that carries a policy.
    ///
    /// # Errors
    /// In words, where it can't be read.
    pub fn read(spec: &ApplicationSpec) -> Result<Option<Self>, String> {
        let Some(policy) = spec.policies.iter().find(|policy| policy.type_ == STAGED) else {
            return Ok(None);
        };
        let properties = policy.properties.as_ref().unwrap_or(&serde_json::Value::Null);
        Self::deserialize(properties).map(Some).map_err(|error| error.to_string())
    }

    /// Whether a component goes to a cluster.
    #[must_use]
    pub fn reaches(&self, component: &str, cluster: &str) -> bool {
        let clusters = self.only.get(component).unwrap_or(&self.clusters);
        clusters.iter().any(|known| known == cluster)
    }
}

/// The policy that owns an Application, where one does.
#[must_use]
pub fn policy_of(app: &Application) -> Option<&OwnerReference> {
    let kinds = [PolicyKind::PropagationPolicy, PolicyKind::ClusterPropagationPolicy];
    let mut owners = app.metadata.owner_references.as_deref().unwrap_or_default().iter();
    owners.find(|owner| {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        owner.controller == Some(true)
            && GROUPS.contains(&group)
            && kinds.iter().any(|kind| kind.as_str() == owner.kind)
    })
}

/// Whose label everything bears that policies of a hub distribute.
#[must_use]
pub fn distribution_owner(hub_uid: &str) -> String {
    names::owner_hash(hub_uid, "", DISTRIBUTION)
}

/// Whose label an Application's objects bear: its own [`names::owner_hash`], or [`distribution_owner`].
#[must_use]
pub fn owner_of(app: &Application, hub_uid: &str) -> String {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    match policy_of(app) {
        Some(_) => distribution_owner(hub_uid),
        None => names::owner_hash(hub_uid, &name(&app.metadata.namespace), &name(&app.metadata.name)),
    }
}
