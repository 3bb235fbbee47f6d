//! `ManagedCluster`, `cluster.open-cluster-management.io/v1`: a member of the fleet.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{CustomResource, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Condition, names};

/// What an administrator decides about a member.
#[derive(CustomResource, Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cluster.open-cluster-management.io",
    version = "v1",
    kind = "ManagedCluster",
    status = "ManagedClusterStatus",
    shortname = "mcl",
    shortname = "mcls",
    derive = "Default"
)]
#[kube(printcolumn(name = "Hub Accepted", type_ = "boolean", json_path = ".spec.hubAcceptsClient"))]
#[kube(printcolumn(
    name = "Alias",
    type_ = "string",
    json_path = ".metadata.annotations.cluster\\.core\\.oam\\.dev/cluster-alias"
))]
#[kube(printcolumn(
    name = "Joined",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Joined\")].status"
))]
#[kube(printcolumn(
    name = "Available",
    type_ = "string",
    json_path = ".status.conditions[?(@.type==\"Available\")].status"
))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterSpec {
    /// Whether the hub accepts this member; a member that isn't accepted receives nothing.
    #[serde(default)]
    pub hub_accepts_client: bool,
    /// How its API server is reached, where it isn't in the credential Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form_list")]
    pub managed_cluster_client_configs: Vec<Value>,
    /// Lease of the member's agent, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_duration_seconds: Option<i32>,
    /// Taints that placements must tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form_list")]
    pub taints: Vec<Value>,
}

/// What is known of a member.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterStatus {
    /// `Joined` and `Available`, among others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The Kubernetes version of the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ClusterVersion>,
    /// Facts that the member claims, among them the UID of its kube-system namespace (`id.k8s.io`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_claims: Vec<ClusterClaim>,
    /// What it can hold, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allocatable: BTreeMap<String, String>,
    /// What it has, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: BTreeMap<String, String>,
    /// When it was last heard, as of the last write of this status. While it answers, this is written every ten
    /// minutes at most; when it stops answering, it is exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub last_seen: Option<Timestamp>,
}

/// The version of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterVersion {
    /// As its API server says it (`v1.35.0`).
    #[serde(default)]
    pub kubernetes: String,
}

/// A named fact about a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterClaim {
    /// The claim's name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl ManagedCluster {
    /// The member's human name, where it has one.
    pub fn alias(&self) -> Option<&str> {
        self.annotations().get(names::CLUSTER_ALIAS).map(String::as_str).filter(|alias| !alias.is_empty())
    }

    /// Why an operator holds it, where one does; `true` where no reason was given.
    pub fn cordoned(&self) -> Option<&str> {
        self.annotations().get(names::CORDONED).map(String::as_str).filter(|why| *why != "false")
    }

    /// Its place in the order of joining; members without one come first.
    pub fn join_order(&self) -> u64 {
        self.annotations().get(names::JOIN_ORDER).and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The recorded UID of the member's kube-system namespace. What answers under another one gets nothing. Once the
    /// claim is taken out of the status (`fleetctl cluster rejoin`), what answers then is recorded.
    pub fn recorded_uid(&self) -> Option<&str> {
        let claims = &self.status.as_ref()?.cluster_claims;
        claims.iter().find(|c| c.name == names::CLUSTER_ID_CLAIM).map(|c| c.value.as_str())
    }
}
