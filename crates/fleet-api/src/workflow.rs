//! `Workflow`, `core.oam.dev/v1alpha1`: steps kept apart from the Applications that walk them.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::TimeWindows;

/// Mode and steps stand at the root of the object.
#[derive(CustomResource, Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "core.oam.dev",
    version = "v1alpha1",
    kind = "Workflow",
    namespaced,
    no_spec,
    category = "oam"
)]
pub struct WorkflowBody {
    /// In which order steps run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<WorkflowMode>,
    /// The steps.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// In which order steps run: `StepByStep` (one after another) or `DAG` (as `dependsOn` allows).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowMode {
    /// Mode of the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<String>,
    /// Mode of sub-steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_steps: Option<String>,
}

/// One step as users write it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The step's name, unique in its workflow; `step-<n>` where it is left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `deploy` or `suspend`.
    #[serde(rename = "type")]
    pub type_: String,
    /// What the type takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub properties: Option<Value>,
    /// How long the step may take (`30m`, `1h30m`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Names of steps that must have succeeded before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Times in which the step, and each of its targets, may begin. What is under way goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<TimeWindows>,
    /// Whether the step runs.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Names for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub meta: Option<Value>,
    /// Values taken from other steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form_list")]
    pub inputs: Vec<Value>,
    /// Values handed to other steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form_list")]
    pub outputs: Vec<Value>,
    /// Mode of the sub-steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Steps of a step group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form_list")]
    pub sub_steps: Vec<Value>,
}
