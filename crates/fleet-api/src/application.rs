//! `Application`, `core.oam.dev/v1beta1`: which objects, under which policies, by which workflow.
//!
//! The status keeps the shape that established clients read and adds what they lack: the state of each
//! target of each step. It is derived; the truth of a run is its [`crate::Run`].

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AuditHead, Condition, Gate, QueuedRevision, Step, WorkflowMode};

/// What the user asks for.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "core.oam.dev",
    version = "v1beta1",
    kind = "Application",
    namespaced,
    status = "ApplicationStatus",
    shortname = "app",
    shortname = "velaapp",
    category = "oam"
)]
#[kube(printcolumn(name = "COMPONENT", type_ = "string", json_path = ".spec.components[*].name"))]
#[kube(printcolumn(name = "TYPE", type_ = "string", json_path = ".spec.components[*].type"))]
#[kube(printcolumn(name = "PHASE", type_ = "string", json_path = ".status.status"))]
#[kube(printcolumn(name = "HEALTHY", type_ = "boolean", json_path = ".status.services[*].healthy"))]
#[kube(printcolumn(name = "STATUS", type_ = "string", json_path = ".status.services[*].message"))]
#[kube(printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"))]
pub struct ApplicationSpec {
    /// What the application is made of.
    pub components: Vec<Component>,
    /// Policies of this application alone; external ones are named by workflow steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<InlinePolicy>,
    /// In which order it is delivered. Without it: one deploy step per topology policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowSource>,
}

/// One component.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Its name, unique in the application.
    pub name: String,
    /// `ref-objects`, `k8s-objects` or the name of a ComponentDefinition.
    #[serde(rename = "type")]
    pub type_: String,
    /// What the type takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub properties: Option<Value>,
    /// What is changed or added, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traits: Vec<Trait>,
    /// Components of this application that come before, on each target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Pinned revision of the component; other engines use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_revision: Option<String>,
    /// Values taken from other components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form_list")]
    pub inputs: Vec<Value>,
    /// Values handed to other components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form_list")]
    pub outputs: Vec<Value>,
}

/// One trait of a component.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trait {
    /// The name of a TraitDefinition.
    #[serde(rename = "type")]
    pub type_: String,
    /// What the type takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub properties: Option<Value>,
}

/// A policy written into the application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InlinePolicy {
    /// Its name, by which steps refer to it; `<type>-auto-gen-<index>` where it is left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The policy type.
    #[serde(rename = "type")]
    pub type_: String,
    /// What the type takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub properties: Option<Value>,
}

/// The workflow: a reference, or steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowSource {
    /// The name of a Workflow in the application's namespace; exclusive with steps.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// In which order steps run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<WorkflowMode>,
    /// The steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// Where an application stands as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Seen, nothing done yet.
    #[default]
    Starting,
    /// Its content is being put together; STATUS says what is missing or wrong.
    Rendering,
    /// The workflow runs.
    RunningWorkflow,
    /// The workflow waits for a person.
    WorkflowSuspending,
    /// A person ended the workflow.
    WorkflowTerminated,
    /// A step failed.
    WorkflowFailed,
    /// The workflow is through and everything is healthy.
    Running,
    /// The workflow is through and something isn't healthy.
    Unhealthy,
    /// The application is being deleted.
    Deleting,
}

impl Phase {
    /// The phase as it is written in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Rendering => "rendering",
            Self::RunningWorkflow => "runningWorkflow",
            Self::WorkflowSuspending => "workflowSuspending",
            Self::WorkflowTerminated => "workflowTerminated",
            Self::WorkflowFailed => "workflowFailed",
            Self::Running => "running",
            Self::Unhealthy => "unhealthy",
            Self::Deleting => "deleting",
        }
    }
}

/// What happened and what is waited for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// The phase.
    #[serde(default)]
    pub status: Phase,
    /// The generation of the spec that this status is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// `Rendered`, `Current`, `Workflow`, `Healthy` and `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Health of each component on each target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceStatus>,
    /// The walk of the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowStatus>,
    /// The newest revision that a run was started for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_revision: Option<RevisionReference>,
    /// What waits until the run is over, where the Application says that newer revisions do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<QueuedRevision>,
    /// What is owned on members, at most 200 entries; the inventory holds all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applied_resources: Vec<AppliedResource>,
    /// How many objects are owned on members.
    #[serde(default)]
    pub applied_resources_total: u64,
    /// The end of the record (`fleetctl audit`) when this was written: a record that ends before it, or says something else
    /// there, was tampered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<AuditHead>,
    /// Objects on members that differ from what was delivered and aren't as they should be again, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftStatus>,
    /// How many there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub drift_total: u64,
}

/// What becomes of drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum DriftState {
    /// Somebody keeps changing what is taken back; it is taken back more and more slowly.
    Fought,
    /// It can't be taken back.
    Refused,
    /// Somebody holds it (`DriftHold`).
    Held,
    /// A policy says that it is only reported.
    #[default]
    Reported,
}

impl DriftState {
    /// The state as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fought => "Fought",
            Self::Refused => "Refused",
            Self::Held => "Held",
            Self::Reported => "Reported",
        }
    }
}

/// One object that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// The member.
    pub cluster: String,
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    pub name: String,
    /// What becomes of it.
    #[serde(default)]
    pub state: DriftState,
    /// The fields that differ, at most 20; empty where the object itself was deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The field manager that wrote there, where it is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub manager: String,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub since: Option<Timestamp>,
    /// The same in words, with what moves it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A revision by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionReference {
    /// The ApplicationRevision.
    pub name: String,
    /// How many runs were started before, plus one.
    pub revision: i64,
    /// Its content hash.
    #[serde(default)]
    pub revision_hash: String,
}

/// Health of one component on one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The component.
    pub name: String,
    /// The namespace on the member.
    #[serde(default)]
    pub namespace: String,
    /// The member; empty for the entry that sums up the application.
    #[serde(default)]
    pub cluster: String,
    /// Whether all its objects there are done and healthy.
    pub healthy: bool,
    /// What is the matter, or what is waited for.
    #[serde(default)]
    pub message: String,
}

/// The walk of the workflow, in the shape that established clients read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowStatus {
    /// The publishVersion, else the revision's name.
    #[serde(default)]
    pub app_revision: String,
    /// `<mode of steps>-<mode of sub-steps>`.
    #[serde(default)]
    pub mode: String,
    /// Phase of the run: `initializing executing suspending terminated failed succeeded`.
    #[serde(default)]
    pub status: String,
    /// What is waited for, in words.
    #[serde(default)]
    pub message: String,
    /// Whether a gate waits. Set to false by hand it opens a plain gate; prefer `fleetctl workflow resume`.
    #[serde(default)]
    pub suspend: bool,
    /// Whether the run was ended by a person.
    #[serde(default)]
    pub terminated: bool,
    /// Whether the run has ended.
    #[serde(default)]
    pub finished: bool,
    /// The Run that this is derived from.
    #[serde(default)]
    pub run: String,
    /// The gate that `suspend` is about: `<run>/<step>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// Each step.
    #[serde(default)]
    pub steps: Vec<StepStatus>,
    /// When the run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub end_time: Option<Timestamp>,
}

impl WorkflowStatus {
    /// Every step with those of groups, each group before its own.
    pub fn all_steps(&self) -> impl Iterator<Item = &StepStatus> {
        self.steps.iter().flat_map(|step| std::iter::once(step).chain(&step.sub_steps))
    }
}

/// One step of the walk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Stable identity of the step within its run.
    pub id: String,
    /// The step's name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `pending running succeeded failed skipped suspending`.
    pub phase: String,
    /// What happened or is waited for, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// A code that a script can match.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The hash of the step's plan.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plan_hash: String,
    /// When it was first run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub first_execute_time: Option<Timestamp>,
    /// When it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub last_execute_time: Option<Timestamp>,
    /// How many targets the step has.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub targets_total: u64,
    /// How many of them are done.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub targets_succeeded: u64,
    /// How many tries of the whole step have failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_tries: u64,
    /// The gate, while it waits, and where it demands approvers or ended without being opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// How many of them failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub targets_failed: u64,
    /// How many of them were passed over and are pending catch-up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub targets_skipped: u64,
    /// At most 100 targets, those that aren't done first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStatus>,
    /// The steps of a group, of the same shape.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form_list")]
    pub sub_steps: Vec<StepStatus>,
}

/// One target of a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The member.
    pub cluster: String,
    /// The namespace there.
    pub namespace: String,
    /// `pending delivering waiting pruning succeeded failed skipped removed`.
    pub phase: String,
    /// A code that a script can match.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Objects that are done.
    #[serde(default)]
    pub applied: u64,
    /// Objects that the revision has for this target.
    #[serde(default)]
    pub total: u64,
    /// When work on it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub end_time: Option<Timestamp>,
}

/// One object on a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedResource {
    /// The member.
    pub cluster: String,
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Who put it there; always `workflow`.
    #[serde(default)]
    pub creator: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
