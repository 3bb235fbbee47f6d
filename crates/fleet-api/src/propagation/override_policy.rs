//! `OverridePolicy` and `ClusterOverridePolicy`: how objects differ on some clusters.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::selectors::{ClusterAffinity, ResourceSelector};
use super::status::OverridePolicyStatus;
use super::words::words;

/// Objects differ on some clusters.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "one.alibabacloud.com",
    version = "v1alpha1",
    kind = "OverridePolicy",
    root = "OverridePolicyDefinition",
    plural = "overridepolicies",
    namespaced,
    status = "OverridePolicyStatus",
    category = "propagation"
)]
#[kube(printcolumn(name = "Objects", type_ = "integer", json_path = ".status.matched"))]
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
#[kube(printcolumn(name = "Problems", type_ = "string", json_path = ".status.problems[*].reason"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
pub struct OverridePolicySpec {
    /// Which objects; left out, every object that goes to members and that the policy reaches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_selectors: Vec<ResourceSelector>,
    /// What changes on which clusters, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub override_rules: Vec<OverrideRule>,
    /// The earlier form of a single rule: its clusters. Exclusive with `overrideRules`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_cluster: Option<ClusterAffinity>,
    /// The earlier form of a single rule: its changes. Exclusive with `overrideRules`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overriders: Option<Overriders>,
}

/// What changes on some clusters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverrideRule {
    /// The clusters; left out, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_cluster: Option<ClusterAffinity>,
    /// The changes.
    pub overriders: Overriders,
}

/// Changes of objects. They are made in the order of these fields, each list in its own order, `plaintext` last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overriders {
    /// Changes of images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_overrider: Vec<ImageOverrider>,
    /// Changes of containers' commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command_overrider: Vec<ContainerOverrider>,
    /// Changes of containers' arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args_overrider: Vec<ContainerOverrider>,
    /// Changes of labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels_overrider: Vec<MapOverrider>,
    /// Changes of annotations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations_overrider: Vec<MapOverrider>,
    /// Changes inside a document that a field holds as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub field_overrider: Vec<FieldOverrider>,
    /// Changes of any field: one JSON patch (RFC 6902), all or nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plaintext: Vec<PlaintextOverrider>,
}

words! {
    /// What a change does.
    OverrideOperator {
        /// Adds.
        Add = "add",
        /// Takes away.
        Remove = "remove",
        /// Puts in place of what is there.
        Replace = "replace",
    }
}

words! {
    /// Parts of an image's name.
    ImageComponent {
        /// The host, before the first slash.
        Registry = "Registry",
        /// The path.
        Repository = "Repository",
        /// The tag or the digest.
        Tag = "Tag",
    }
}

/// A step of a JSON patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaintextOverrider {
    /// A JSON pointer (`/spec/replicas`).
    pub path: String,
    /// What is done there.
    pub operator: OverrideOperator,
    /// The value, for `add` and `replace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::any_value")]
    pub value: Option<Value>,
}

/// A change of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageOverrider {
    /// The only place where it is changed; left out, every container of a workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate: Option<ImagePredicate>,
    /// The part that changes.
    pub component: ImageComponent,
    /// What is done to it.
    pub operator: OverrideOperator,
    /// The text, for `add` and `replace`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// Where an image is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImagePredicate {
    /// A JSON pointer to the image.
    pub path: String,
}

/// A change of a container's command or arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerOverrider {
    /// The container.
    pub container_name: String,
    /// `add` appends, `remove` takes away equal items.
    pub operator: OverrideOperator,
    /// The items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub value: Vec<String>,
}

/// A change of labels or annotations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MapOverrider {
    /// What is done.
    pub operator: OverrideOperator,
    /// Keys with their values; `remove` looks at the keys only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub value: BTreeMap<String, String>,
}

/// Changes inside a document that a field holds as text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldOverrider {
    /// A JSON pointer to the field.
    pub field_path: String,
    /// Changes, where the text is JSON. Exclusive with `yaml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub json: Vec<SubFieldPatch>,
    /// Changes, where the text is YAML.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub yaml: Vec<SubFieldPatch>,
}

/// A change inside such a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubFieldPatch {
    /// A JSON pointer from the document's root.
    pub sub_path: String,
    /// What is done there.
    pub operator: OverrideOperator,
    /// The value, for `add` and `replace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::any_value")]
    pub value: Option<Value>,
}
