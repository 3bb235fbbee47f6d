//! What a step that succeeded hands to others.

use fleet_api::{RunStatus, StepPhase, StepState, TargetPhase};
use serde_json::{Value, json};

use super::due::{inputs, shown};
use super::{Turn, close};
use crate::StepKind;

/// Targets that `output` of a deploy step lists.
const LISTED_TARGETS: usize = 1000;

impl Turn<'_> {
    /// Makes the outputs of a step that has just succeeded. One that can't be made fails the step: whoever takes it
    /// would wait in vain.
    pub(super) fn hand_out(&mut self, status: &mut RunStatus, index: usize) {
        let Some(node) = self.graph.nodes.get(index).filter(|node| !node.outputs.is_empty()) else { return };
        let Some(step) = status.steps.get(index) else { return };
        let output = self.output(status, index, step);
        let (inputs, context, own) = (inputs(&node.inputs, &status.steps), self.context(node), shown(step));
        let mut made = std::collections::BTreeMap::new();
        let mut wrong = None;
        for one in &node.outputs {
            match one.make(&output, &own, &inputs, &context) {
                Ok(value) => {
                    made.insert(one.name.clone(), value);
                }
                Err(error) => {
                    wrong = Some(format!("outputs: {}: {error}", one.name));
                    break;
                }
            }
        }
        let Some(step) = status.steps.get_mut(index) else { return };
        match wrong {
            None => step.outputs = made,
            Some(message) => close(step, StepPhase::Failed, "OutputNotMade", &message, self.now),
        }
    }

    /// What expressions see as `output`.
    fn output(&self, status: &RunStatus, index: usize, step: &StepState) -> Value {
        let kind = self.graph.nodes.get(index).map(|node| &node.kind);
        match kind {
            Some(StepKind::Deploy(_)) => deployed(step),
            Some(StepKind::Suspend(_)) => approved(step),
            Some(StepKind::Group) => {
                let members = self.graph.members(index).filter_map(|(at, _)| status.steps.get(at));
                let phases = members.map(|member| (member.name.clone(), json!(member.phase.as_str())));
                json!({ "steps": Value::Object(phases.collect()) })
            }
            Some(StepKind::Measure(_)) => {
                self.found.get(&step.name).cloned().unwrap_or_else(|| measured(step))
            }
            None => Value::Null,
        }
    }
}

/// `{targets: [{cluster, namespace, phase, reason}], clusters, succeeded, total, planHash}`.
fn deployed(step: &StepState) -> Value {
    let targets = step.targets.iter().take(LISTED_TARGETS).map(|state| {
        json!({
            "cluster": state.target.cluster,
            "namespace": state.target.namespace,
            "phase": state.phase.as_str(),
            "reason": state.reason,
        })
    });
    let targets: Vec<Value> = targets.collect();
    let done = step.targets.iter().filter(|state| state.phase == TargetPhase::Succeeded);
    let clusters: Vec<&str> =
        done.clone().map(|state| state.target.cluster.as_str()).take(LISTED_TARGETS).collect();
    json!({
        "targets": targets,
        "clusters": clusters,
        "succeeded": done.count(),
        "total": step.targets.len(),
        "planHash": step.plan_hash,
    })
}

/// `{value}`: what was seen last.
fn measured(step: &StepState) -> Value {
    let last = step.measured.as_ref().and_then(|measured| measured.recent.last());
    json!({ "value": last.map(|last| last.value.as_str()) })
}

/// `{approver, proven, reason, at}`.
fn approved(step: &StepState) -> Value {
    let approval = step.gate.as_ref().and_then(|gate| gate.approval.as_ref());
    approval.map_or_else(
        || json!({}),
        |approval| {
            json!({
                "approver": approval.approver,
                "proven": approval.proven,
                "reason": approval.reason,
                "at": approval.at.map(|at| at.to_string()),
            })
        },
    )
}
