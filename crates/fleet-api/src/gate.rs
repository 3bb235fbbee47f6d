//! A stop of a run before something acts: what is asked, who has answered, and how it ended.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stop before a step acts, or before it deletes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The hash of the plan that is to be approved.
    pub plan_hash: String,
    /// What it stands before.
    #[serde(default, skip_serializing_if = "GateBefore::is_step")]
    pub before: GateBefore,
    /// How it ended; `waiting` until then.
    #[serde(default, skip_serializing_if = "GateOutcome::is_waiting")]
    pub outcome: GateOutcome,
    /// Since when it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub since: Option<Timestamp>,
    /// When it opens by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub opens_at: Option<Timestamp>,
    /// When nobody can open it any more, and everything that was approved until then is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub expires_at: Option<Timestamp>,
    /// How many proven approvers it demands; none where one approval of anybody opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<u32>,
    /// The groups of which each approver must be in one, where it names any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The decision that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalRecord>,
    /// The decision that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<ApprovalRecord>,
    /// The approvals that count, while it waits and when it was opened by several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRecord>,
    /// Decisions that don't count, the newest ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// Approvals that opened earlier gates of the same step: none opens a second one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spent: Vec<String>,
}

impl Gate {
    /// Whether it waits for a decision.
    pub fn is_shut(&self) -> bool {
        // Records of earlier versions say only who opened it.
        self.outcome == GateOutcome::Waiting && self.approval.is_none()
    }

    /// Whether it was opened.
    pub fn is_open(&self) -> bool {
        self.approval.is_some()
    }
}

/// What a gate stands before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GateBefore {
    /// Everything that the step does.
    #[default]
    Step,
    /// The deletes of a step that has acted, where they take a target's last workload.
    Deletes,
}

impl GateBefore {
    fn is_step(&self) -> bool {
        *self == Self::Step
    }
}

/// How a gate stands or ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GateOutcome {
    /// It waits.
    #[default]
    Waiting,
    /// It was opened, by people or by the time.
    Approved,
    /// Somebody who may decide said no.
    Rejected,
    /// Its time was up before enough had approved.
    Expired,
    /// A newer revision took over while it waited.
    Superseded,
    /// A person ended the run while it waited.
    Terminated,
}

impl GateOutcome {
    fn is_waiting(&self) -> bool {
        *self == Self::Waiting
    }
}

/// A decision that counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRecord {
    /// The Approval object; empty where a person cleared `suspend` by hand or the time came.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub approval: String,
    /// Who, as far as known.
    pub approver: String,
    /// Whether the API server proved it.
    #[serde(default)]
    pub proven: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The plan that was decided on.
    pub plan_hash: String,
    /// When it took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub at: Option<Timestamp>,
}

/// A decision that doesn't count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The Approval object.
    pub approval: String,
    /// Who decided, as far as known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub approver: String,
    /// A code that a script can match: `StalePlan`, `OtherStep`, `NotProven`, `NotInGroup`, `Author`, `AuthorUnknown`
    /// or `Duplicate`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Why not.
    pub message: String,
    /// Whether the API server proved who decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proven: bool,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub at: Option<Timestamp>,
    /// From when on the same decision, made anew, would count: where nothing but time was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub counts_from: Option<Timestamp>,
}
