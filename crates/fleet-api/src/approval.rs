//! `Approval`, `fleetctl.dev/v1alpha1`: one decision of one person on one plan. Immutable.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The decision.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "fleetctl.dev", version = "v1alpha1", kind = "Approval", namespaced)]
#[kube(printcolumn(name = "APPLICATION", type_ = "string", json_path = ".spec.application"))]
#[kube(printcolumn(name = "RUN", type_ = "string", json_path = ".spec.run"))]
#[kube(printcolumn(name = "STEP", type_ = "string", json_path = ".spec.step"))]
#[kube(printcolumn(name = "DECISION", type_ = "string", json_path = ".spec.decision"))]
#[kube(printcolumn(name = "APPROVER", type_ = "string", json_path = ".spec.approver"))]
#[kube(printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalSpec {
    /// The Application, in the same namespace.
    pub application: String,
    /// The Run.
    pub run: String,
    /// The step whose gate this opens.
    pub step: String,
    /// The hash of the plan that was looked at; another plan isn't opened by this.
    pub plan_hash: String,
    /// What was decided.
    #[serde(default)]
    pub decision: Decision,
    /// Who decided. A claim, unless an admission policy holds it to the requesting user.
    #[serde(default)]
    pub approver: String,
    /// The groups of the approver, with the same proviso.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What somebody decided about a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Decision {
    /// It may be carried out.
    #[default]
    Approve,
    /// It may not: the run ends.
    Reject,
}
