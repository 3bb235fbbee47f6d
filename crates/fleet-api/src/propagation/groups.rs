//! The kinds of policies: two types, each cluster-scoped and namespaced, in three groups.

use kube::CustomResourceExt as _;
use kube::core::ApiResource;
use serde_json::{Value, json};

use super::override_policy::OverridePolicyDefinition;
use super::policy::PropagationPolicyDefinition;

/// The API groups under which policies are accepted, our own first. They have the same versions, kinds and schema.
pub const GROUPS: [&str; 3] = ["one.alibabacloud.com", "policy.one.alibabacloud.com", "policy.karmada.io"];

/// The version of all kinds of policies.
pub const VERSION: &str = "v1alpha1";

/// A kind of policy, whatever its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// Where objects of one namespace go.
    PropagationPolicy,
    /// Where any objects go.
    ClusterPropagationPolicy,
    /// How objects of one namespace differ.
    OverridePolicy,
    /// How any objects differ.
    ClusterOverridePolicy,
}

impl PolicyKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::PropagationPolicy,
        Self::ClusterPropagationPolicy,
        Self::OverridePolicy,
        Self::ClusterOverridePolicy,
    ];

    /// The kind as manifests say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PropagationPolicy => "PropagationPolicy",
            Self::ClusterPropagationPolicy => "ClusterPropagationPolicy",
            Self::OverridePolicy => "OverridePolicy",
            Self::ClusterOverridePolicy => "ClusterOverridePolicy",
        }
    }

    /// Its resource in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Self::PropagationPolicy => "propagationpolicies",
            Self::ClusterPropagationPolicy => "clusterpropagationpolicies",
            Self::OverridePolicy => "overridepolicies",
            Self::ClusterOverridePolicy => "clusteroverridepolicies",
        }
    }

    /// Its short name.
    pub fn short(self) -> &'static str {
        match self {
            Self::PropagationPolicy => "pp",
            Self::ClusterPropagationPolicy => "cpp",
            Self::OverridePolicy => "op",
            Self::ClusterOverridePolicy => "cop",
        }
    }

    /// Whether its objects have a namespace, and reach nothing outside it.
    pub fn namespaced(self) -> bool {
        matches!(self, Self::PropagationPolicy | Self::OverridePolicy)
    }

    /// Whether it says how objects differ, rather than where they go.
    pub fn overrides(self) -> bool {
        matches!(self, Self::OverridePolicy | Self::ClusterOverridePolicy)
    }

    /// The kind of an object with these type fields, where it is one of ours.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/')?;
        let known = GROUPS.contains(&group) && version == VERSION;
        Self::ALL.into_iter().find(|ours| known && ours.as_str() == kind)
    }

    /// What a client needs to reach its objects in a group.
    pub fn resource(self, group: &str) -> ApiResource {
        ApiResource {
            group: group.to_owned(),
            version: VERSION.to_owned(),
            api_version: format!("{group}/{VERSION}"),
            kind: self.as_str().to_owned(),
            plural: self.plural().to_owned(),
        }
    }

    /// Its definition in a group. Short names are given once, in the first group: kubectl warns of ambiguous ones.
    ///
    /// # Errors
    /// Only where a type can't be written as JSON, which a test rules out.
    pub fn definition(self, group: &str) -> Result<Value, serde_json::Error> {
        let mut definition = if self.overrides() {
            serde_json::to_value(OverridePolicyDefinition::crd())?
        } else {
            serde_json::to_value(PropagationPolicyDefinition::crd())?
        };
        for (at, value) in [
            ("/metadata/name", json!(format!("{}.{group}", self.plural()))),
            ("/spec/group", json!(group)),
            ("/spec/scope", json!(if self.namespaced() { "Namespaced" } else { "Cluster" })),
            ("/spec/names/kind", json!(self.as_str())),
            ("/spec/names/plural", json!(self.plural())),
            ("/spec/names/singular", json!(self.as_str().to_lowercase())),
        ] {
            if let Some(field) = definition.pointer_mut(at) {
                *field = value;
            }
        }
        if let Some(names) = definition.pointer_mut("/spec/names").and_then(Value::as_object_mut)
            && GROUPS.first() == Some(&group)
        {
            names.insert("shortNames".to_owned(), json!([self.short()]));
        }
        Ok(definition)
    }
}

impl std::fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The definitions of all kinds in all groups.
///
/// # Errors
/// Only where a type can't be written as JSON, which a test rules out.
pub fn definitions() -> Result<Vec<Value>, serde_json::Error> {
    let of_group = |group: &'static str| PolicyKind::ALL.into_iter().map(move |kind| kind.definition(group));
    GROUPS.into_iter().flat_map(of_group).collect()
}

#[cfg(test)]
mod tests;
