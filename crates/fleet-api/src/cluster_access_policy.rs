//! `ClusterAccessPolicy`, `fleetctl.dev/v1alpha1`: which namespaces may deliver to which members.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of the one object whose `mode` counts.
pub const DEFAULT: &str = "default";

/// Opens members to namespaces. Without an object named `default` that says `mode: Deny`, everything is open and a
/// policy only says as which account is delivered.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fleetctl.dev",
    version = "v1alpha1",
    kind = "ClusterAccessPolicy",
    plural = "clusteraccesspolicies",
    shortname = "cap"
)]
#[kube(printcolumn(name = "MODE", type_ = "string", json_path = ".spec.mode"))]
#[kube(printcolumn(name = "NAMESPACES", type_ = "string", json_path = ".spec.namespaces.names"))]
#[kube(printcolumn(name = "CLUSTERS", type_ = "string", json_path = ".spec.clusters.names"))]
#[kube(printcolumn(name = "SERVICEACCOUNT", type_ = "string", json_path = ".spec.serviceAccountName"))]
#[serde(rename_all = "camelCase")]
pub struct ClusterAccessPolicySpec {
    /// On the object named `default` only: what holds for namespaces and members that no policy joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AccessMode>,
    /// Namespaces of the hub; left out, all of them.
    #[serde(default, skip_serializing_if = "Selection::is_everything")]
    pub namespaces: Selection,
    /// Members, by name, alias or label; left out, all of them.
    #[serde(default, skip_serializing_if = "Selection::is_everything")]
    pub clusters: Selection,
    /// The ServiceAccount of the Application's namespace as which is delivered there; left out, any, or the
    /// controller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

/// What holds without a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// Every namespace may deliver to every member.
    #[default]
    Allow,
    /// Only what a policy opens.
    Deny,
}

/// Some objects: those with one of the names, and those with the labels; with neither given, all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// Their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// A label selector: `matchLabels`, `matchExpressions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub selector: Option<Value>,
}

impl Selection {
    /// Whether nothing narrows it.
    pub fn is_everything(&self) -> bool {
        self.names.is_empty() && self.selector.is_none()
    }
}
