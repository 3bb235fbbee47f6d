//! `DriftHold`, `fleetctl.dev/v1alpha1`: somebody works on members by hand, and nothing is taken back until an end.

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who holds what until when. It ends by its time, or when the object is deleted.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "fleetctl.dev", version = "v1alpha1", kind = "DriftHold", namespaced)]
#[kube(printcolumn(name = "APPLICATION", type_ = "string", json_path = ".spec.application"))]
#[kube(printcolumn(name = "CLUSTERS", type_ = "string", json_path = ".spec.clusters"))]
#[kube(printcolumn(name = "UNTIL", type_ = "string", json_path = ".spec.until"))]
#[kube(printcolumn(name = "BY", type_ = "string", json_path = ".spec.by"))]
#[kube(printcolumn(name = "REASON", type_ = "string", json_path = ".spec.reason"))]
#[serde(rename_all = "camelCase")]
pub struct DriftHoldSpec {
    /// The Application, in the same namespace.
    pub application: String,
    /// The members, by name; none means every member of the Application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// When it ends by itself.
    #[schemars(schema_with = "crate::schemas::time")]
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Who, as they say; the audit log of the API server has the proof.
    #[serde(default)]
    pub by: String,
}

impl DriftHoldSpec {
    /// Whether it is about an Application on a cluster.
    pub fn covers(&self, application: &str, cluster: &str) -> bool {
        self.application == application
            && (self.clusters.is_empty() || self.clusters.iter().any(|name| name == cluster))
    }
}
