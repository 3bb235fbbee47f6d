//! `Run`, `fleetctl.dev/v1alpha1`: one walk of a workflow for one revision. It is the truth of that walk,
//! written whole, by compare-and-swap on its resource version.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AuditHead, Gate, GateBefore, Measured, Rollback, Target, WindowOverride};

/// What the run walks; fixed when it starts.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "fleetctl.dev", version = "v1alpha1", kind = "Run", namespaced, status = "RunStatus")]
#[kube(printcolumn(name = "APPLICATION", type_ = "string", json_path = ".spec.application"))]
#[kube(printcolumn(name = "REVISION", type_ = "string", json_path = ".spec.revision"))]
#[kube(printcolumn(name = "PHASE", type_ = "string", json_path = ".status.phase"))]
#[kube(printcolumn(name = "MESSAGE", type_ = "string", json_path = ".status.message"))]
#[kube(printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
pub struct RunSpec {
    /// The Application, in the same namespace.
    pub application: String,
    /// Its UID, so that an Application made anew under the same name isn't taken for it.
    pub application_uid: String,
    /// The ApplicationRevision.
    pub revision: String,
    /// The number of this run of the Application, from 1.
    pub number: i64,
    /// The value of publishVersion, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_version: Option<String>,
    /// The restart request that this run answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// Who asked for that restart, as they say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub restart_by: String,
    /// Why it was started: `Created`, `RevisionChanged`, `PublishVersion`, `Restart`, `ClusterJoined`, `Rollback` or
    /// `AutomaticRollback`.
    pub cause: String,
    /// The generation of the Application's spec.
    #[serde(default)]
    pub generation: i64,
    /// Who last changed the Application's spec, where admission recorded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Everybody who last changed something that this run takes its content from (the Application, its Policies, its
    /// Workflow and the objects that it refers to), and everybody who changed it before them since `authorsSince`;
    /// sorted, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// Who made the newest change that this run takes along, where an edit started it and admission recorded that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
    /// Changes up to then were completed by a run before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub authors_since: Option<Timestamp>,
    /// The end of the Application's record when this run began: from there on the record goes on, or says that it was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<AuditHead>,
    /// The newest change that this run takes along, by the clock of admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub authored_until: Option<Timestamp>,
    /// What of that says not who changed it, by kind and name; sorted, at most 20. Where a gate excludes authors, anybody
    /// could be one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unattributed: Vec<String>,
    /// Since when it waited for the run before, where the Application lets newer revisions wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub queued_since: Option<Timestamp>,
    /// Revisions that waited before it and never ran, the last ones of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped_revisions: Vec<String>,
    /// The Application's labels when the run started: what conditions of steps see as `context.appLabels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// It delivers an earlier revision than the Application says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
}

impl RunSpec {
    /// What it goes back from, where that is why it was started: a run that serves joiners meanwhile only says so, too.
    pub fn goes_back(&self) -> Option<&Rollback> {
        self.rollback.as_ref().filter(|_| matches!(self.cause.as_str(), "Rollback" | "AutomaticRollback"))
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunPhase {
    /// Steps run.
    #[default]
    Executing,
    /// A gate waits, or a person suspended it.
    Suspending,
    /// Every step succeeded.
    Succeeded,
    /// A step failed.
    Failed,
    /// A person ended it.
    Terminated,
    /// A newer run took over.
    Superseded,
}

impl RunPhase {
    /// Whether nothing will happen any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Terminated | Self::Superseded)
    }

    /// The phase as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executing => "executing",
            Self::Suspending => "suspending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Terminated => "terminated",
            Self::Superseded => "superseded",
        }
    }
}

/// The recorded state of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: RunPhase,
    /// A code that a script can match.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What happened or is waited for, and which command moves it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub ended_at: Option<Timestamp>,
    /// A step failed that asks for the revision before (`onFailure: Rollback`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollback_wanted: bool,
    /// What people did to the run as a whole, the last of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interventions: Vec<Intervention>,
    /// The steps, in the revision's order.
    #[serde(default)]
    pub steps: Vec<StepState>,
}

/// What a person did to a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Deed {
    /// Nothing further begins.
    #[default]
    Suspended,
    /// It goes on.
    Resumed,
    /// It ends.
    Terminated,
}

/// A person did something to a run as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Intervention {
    /// What.
    #[serde(default)]
    pub deed: Deed,
    /// Who, as they say; empty where nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// When it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub at: Option<Timestamp>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepPhase {
    /// Its turn hasn't come.
    #[default]
    Pending,
    /// Its gate waits for a person or a time.
    Suspending,
    /// It acts.
    Running,
    /// Every target is done.
    Succeeded,
    /// A target failed, or its time was up.
    Failed,
    /// Its turn will not come.
    Skipped,
}

impl StepPhase {
    /// Whether the step will not change any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped)
    }

    /// The phase as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Suspending => "suspending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// The recorded state of a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepState {
    /// The step's name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// The group that it belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Where it stands.
    #[serde(default)]
    pub phase: StepPhase,
    /// A code that a script can match.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Asks even though the step doesn't say so: it serves a cluster that joined behind a gate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ask: bool,
    /// The hash of the plan that is or was carried out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plan_hash: String,
    /// The gate: before the step acts, from the moment its turn came; or before what it deletes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// When it began to act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub ended_at: Option<Timestamp>,
    /// When its time is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub deadline: Option<Timestamp>,
    /// What a step that measures found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// A person let it begin outside its time windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_override: Option<WindowOverride>,
    /// Since when its time doesn't run, because a person suspended the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub paused_since: Option<Timestamp>,
    /// How many tries of the whole step have failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Not before this time is the step tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub retry_at: Option<Timestamp>,
    /// The outputs that it made, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schemas::free_form")]
    pub outputs: BTreeMap<String, Value>,
    /// Its targets: the membership frozen when the run started.
    #[serde(default)]
    pub targets: Vec<TargetState>,
}

impl StepState {
    /// The gate that waits for a decision now, before the step acts or before what it deletes. A step that is over may
    /// still have one: before what is deleted where a target catches up.
    pub fn shut_gate(&self) -> Option<&Gate> {
        let late = |state: &TargetState| {
            state.late && state.phase == TargetPhase::Pruning && !state.guard.is_empty()
        };
        self.gate.as_ref().filter(|gate| {
            let catches_up = gate.before == GateBefore::Deletes && self.targets.iter().any(late);
            gate.is_shut() && (!self.phase.is_over() || catches_up)
        })
    }

    /// Whether a person is all that it waits for, as far as the record says.
    pub fn waits(&self) -> bool {
        let mut open = self.targets.iter().filter(|state| !state.phase.is_over());
        let asks = self.gate.as_ref().is_some_and(|gate| gate.before == GateBefore::Deletes);
        self.shut_gate().is_some() && (!asks || open.all(|state| state.cleared || self.bars(state)))
    }

    /// Whether deletes on a target of this step wait for a person who hasn't agreed.
    pub fn bars(&self, state: &TargetState) -> bool {
        let open = self.gate.as_ref().is_some_and(Gate::is_open);
        state.phase == TargetPhase::Pruning && !state.guard.is_empty() && !open
    }
}

/// Where a target stands within a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TargetPhase {
    /// Nothing was sent.
    #[default]
    Pending,
    /// Objects are sent; the intent is on record.
    Delivering,
    /// Everything was sent; health is awaited.
    Waiting,
    /// Objects that the revision no longer has are deleted.
    Pruning,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// The cluster left the fleet.
    Removed,
    /// Passed over, by a person or since its cluster didn't answer: it hasn't got the revision, and catches up later.
    Skipped,
}

impl TargetPhase {
    /// Whether the target will not change any more in this step.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Removed | Self::Skipped)
    }

    /// The phase as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivering => "delivering",
            Self::Waiting => "waiting",
            Self::Pruning => "pruning",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Removed => "removed",
            Self::Skipped => "skipped",
        }
    }
}

/// Why a target was passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkipRecord {
    /// Who asked for it, as they say; empty where its cluster didn't answer and the step says to go on without it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub at: Option<Timestamp>,
    /// A person asked: it is left alone until somebody asks for it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// A person asked to try a target again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryRecord {
    /// Who asked for it, as they say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub at: Option<Timestamp>,
}

/// The recorded state of a target within a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetState {
    /// Where.
    #[serde(flatten)]
    pub target: Target,
    /// Nothing is delivered here: the revision no longer reaches it, and what is owned there goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cleared: bool,
    /// Why a person is asked before anything is deleted here; empty where nobody is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub guard: String,
    /// Where it stands.
    #[serde(default)]
    pub phase: TargetPhase,
    /// A code that a script can match.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How many deliveries were refused so far in a way that may pass.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Not before this time is it tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub retry_at: Option<Timestamp>,
    /// When work on it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub started_at: Option<Timestamp>,
    /// Since when somebody holds it: nothing is sent there meanwhile, and its time doesn't run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub held_since: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub ended_at: Option<Timestamp>,
    /// Hash over what we owned there when it was done: the same after a restart means no drift.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub seal: String,
    /// It goes first, and the others wait until it is well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    /// When its own time is up, apart from the step's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub deadline: Option<Timestamp>,
    /// When it has been healthy for long enough; none while it isn't healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub soak_until: Option<Timestamp>,
    /// Since when its turn has come and its cluster doesn't answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub unreachable_since: Option<Timestamp>,
    /// Why it was passed over, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkipRecord>,
    /// It catches up: its step is over, and doesn't wait for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// How it stood when its step succeeded without it, where it has moved on since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_as: Option<TargetPhase>,
    /// A person asked to try it again: failures elsewhere don't stop it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retried: bool,
    /// Who asked for that last, unless it was passed over since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryRecord>,
    /// The last request of a person about it that was answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
}

impl TargetState {
    /// A target whose turn hasn't come.
    pub fn pending(target: Target) -> Self {
        Self {
            target,
            cleared: false,
            guard: String::new(),
            phase: TargetPhase::Pending,
            reason: String::new(),
            message: String::new(),
            attempts: 0,
            retry_at: None,
            started_at: None,
            held_since: None,
            ended_at: None,
            seal: String::new(),
            canary: false,
            deadline: None,
            soak_until: None,
            unreachable_since: None,
            skipped: None,
            late: false,
            left_as: None,
            retried: false,
            retry: None,
            request: String::new(),
        }
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}
