//! `Policy`, `core.oam.dev/v1alpha1`: a policy kept apart from the Applications that use it.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Type and properties stand at the root of the object.
#[derive(CustomResource, Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[kube(group = "core.oam.dev", version = "v1alpha1", kind = "Policy", namespaced, no_spec, category = "oam")]
#[kube(printcolumn(name = "TYPE", type_ = "string", json_path = ".type"))]
pub struct PolicyBody {
    /// `topology`, `override`, `garbage-collect`, `take-over`, `apply-once` or `resource-update`.
    #[serde(rename = "type")]
    pub type_: String,
    /// What the type takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub properties: Option<Value>,
}
