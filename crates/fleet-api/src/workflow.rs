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
    /// `deploy`, `suspend`, `step-group`, …
    #[serde(rename = "type")]
    pub type_: String,
    /// What the type takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub properties: Option<Value>,
    /// How long the step may take (`30m`, `1h30m`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// How often a step that failed is tried again, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<StepRetry>,
    /// Names of steps that must be over before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Times in which the step, and each of its targets, may begin. What is under way goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<TimeWindows>,
    /// Whether the step runs: `always`, or CEL over `status`, `inputs` and `context`. Where it is left out, the step
    /// runs if nothing before it failed.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Names for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub meta: Option<Value>,
    /// Values taken from other steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<StepInput>,
    /// Values handed to other steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<StepOutput>,
    /// Mode of the sub-steps: `DAG` unless written otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Steps of a step group, of the same shape.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form_list")]
    pub sub_steps: Vec<Value>,
}

/// How often a step that failed is tried again, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepRetry {
    /// Further tries after the first, at most 20.
    #[serde(default)]
    pub limit: u32,
    /// The wait before the first further try; 10 s where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// By which each wait is longer than the one before; 2 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<u32>,
}

/// A value taken from another step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepInput {
    /// The name of an output.
    pub from: String,
    /// Where in the properties the value goes (`slack.message.text`); left out, it is for `if` alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub parameter_key: String,
}

/// A value handed to other steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepOutput {
    /// Its name, unique in the workflow.
    pub name: String,
    /// CEL over `output` (what the step's type gives), `status`, `inputs` and `context`.
    pub value_from: String,
}
