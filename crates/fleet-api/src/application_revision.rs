//! `ApplicationRevision`, `core.oam.dev/v1beta1`: an immutable snapshot of everything that decides what is
//! delivered, named by the hash of what it renders.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ApplicationSpec, Packed, Provenance, Step};

/// The packed snapshot.
#[derive(CustomResource, Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "core.oam.dev",
    version = "v1beta1",
    kind = "ApplicationRevision",
    namespaced,
    shortname = "apprev",
    category = "oam"
)]
#[kube(printcolumn(name = "HASH", type_ = "string", json_path = ".spec.hash"))]
#[kube(printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
pub struct ApplicationRevisionSpec {
    /// The Application.
    pub application_name: String,
    /// The content hash.
    pub hash: String,
    /// [`RevisionContent`], or its first part.
    pub content: Packed,
    /// How many objects hold the content: this one, and `<name>-part-2` and so on.
    #[serde(default = "one")]
    pub parts: u32,
}

fn one() -> u32 {
    1
}

/// What a revision holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionContent {
    /// The Application's spec as it was.
    pub spec: ApplicationSpec,
    /// Every policy that a step or the application uses: name to type and properties.
    pub policies: BTreeMap<String, (String, Value)>,
    /// The definitions that were used, pinned.
    pub definitions: Vec<Value>,
    /// The steps with what they render.
    pub steps: Vec<StepContent>,
    /// Whether steps run as `dependsOn` allows rather than one after another.
    pub dag: bool,
    /// The ServiceAccount that the Application names: it reads and delivers what this revision holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// One step with everything that it delivers, as yet without a place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepContent {
    /// The step as written, with its name filled in.
    pub step: Step,
    /// The group that it belongs to; the group comes before, and its step holds this one too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Names of its topology policies, in order.
    pub topologies: Vec<String>,
    /// Names of its override policies, in order.
    pub overrides: Vec<String>,
    /// The rendered objects without a namespace of their own: component and object.
    pub objects: Vec<(String, Value)>,
    /// What differs on single clusters, by name; only where a policy rolls out ([`crate::staged`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<String, Variant>,
    /// Who set the fields of each of the objects, in their order; empty in what older versions recorded. No part of
    /// any hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provenance: Vec<Provenance>,
}

/// What differs on one cluster. Objects are named by their index in [`StepContent::objects`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// Objects that don't go there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<usize>,
    /// Objects that are others there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<(usize, Value)>,
}
