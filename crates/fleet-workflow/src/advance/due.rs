//! Whether a step's turn has come: what it waits for, its `if`, its group.

use std::collections::BTreeSet;

use fleet_api::{RunStatus, StepPhase, StepState};
use serde_json::{Map, Value, json};

use super::Turn;
use crate::graph::{Input, value_of};
use crate::{Node, Problem, StepKind};

/// The reason of a step that its own `if`, or that of its group, passed over: nothing went wrong.
pub const CONDITION_FALSE: &str = "ConditionFalse";

/// Whether a step ended as it should: it succeeded, or its `if` passed it over.
pub(super) fn went_well(step: &StepState) -> bool {
    match step.phase {
        StepPhase::Succeeded => true,
        StepPhase::Skipped => step.reason == CONDITION_FALSE,
        StepPhase::Pending | StepPhase::Suspending | StepPhase::Running | StepPhase::Failed => false,
    }
}

/// Whether a step's turn has come.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Due {
    Later,
    Now,
    /// It will not come: reason and message.
    Never(String, String),
    /// It can't be said.
    Wrong(Problem),
}

/// Steps after which one without an `if` doesn't run: they failed, or one before them did.
pub(super) type Spoiled = BTreeSet<usize>;

impl Turn<'_> {
    pub(super) fn is_spoiled(&self, status: &RunStatus, index: usize, spoiled: &Spoiled) -> bool {
        let (Some(node), Some(step)) = (self.graph.nodes.get(index), status.steps.get(index)) else {
            return false;
        };
        // A group that runs in spite of a failure runs its steps.
        let members =
            || node.kind == StepKind::Group && self.graph.members(index).any(|(at, _)| spoiled.contains(&at));
        step.phase.is_over() && !went_well(step)
            || node.after.iter().any(|at| spoiled.contains(at))
            || members()
    }

    pub(super) fn due(&self, status: &RunStatus, index: usize, spoiled: &Spoiled) -> Due {
        let Some(node) = self.graph.nodes.get(index) else { return Due::Later };
        // Even one that is passed over waits: whoever comes after it may count on all before it being over.
        let over = |earlier: &usize| status.steps.get(*earlier).is_some_and(|step| step.phase.is_over());
        if !node.after.iter().all(over) {
            return Due::Later;
        }
        if let Some(group) = node.group.and_then(|group| status.steps.get(group)) {
            match group.phase {
                StepPhase::Pending | StepPhase::Suspending => return Due::Later,
                StepPhase::Running if self.is_late(group) => {
                    let message = format!("the time of its group {} was up before its turn came", group.name);
                    return Due::Never("Timeout".to_owned(), message);
                }
                StepPhase::Running => {}
                StepPhase::Succeeded | StepPhase::Failed | StepPhase::Skipped => {
                    let message =
                        format!("its group {} is {}: {}", group.name, group.phase.as_str(), group.message);
                    return Due::Never(group.reason.clone(), message);
                }
            }
        }
        if node.condition.is_none() && node.after.iter().any(|earlier| spoiled.contains(earlier)) {
            return Due::Never("DependencyFailed".to_owned(), "a step before it failed".to_owned());
        }
        if self.halted() {
            return Due::Later;
        }
        let Some(condition) = &node.condition else { return Due::Now };
        let known = condition.before.iter().filter_map(|earlier| status.steps.get(*earlier));
        let known: Map<String, Value> = known.map(|step| (step.name.clone(), shown(step))).collect();
        let inputs = inputs(&node.inputs, &status.steps);
        match condition.holds(&Value::Object(known), &inputs, &self.context(node)) {
            Ok(true) => Due::Now,
            Ok(false) => Due::Never(CONDITION_FALSE.to_owned(), "its `if` says no".to_owned()),
            Err(message) => {
                Due::Wrong(Problem { reason: "ConditionError".to_owned(), message: format!("if: {message}") })
            }
        }
    }

    /// What expressions see as `context`.
    pub(super) fn context(&self, node: &Node) -> Value {
        let mut context = self.facts.context.clone();
        if let Some(context) = context.as_object_mut() {
            context.insert("stepName".to_owned(), json!(node.name));
            return Value::Object(std::mem::take(context));
        }
        json!({ "name": self.facts.application, "namespace": self.facts.namespace, "stepName": node.name })
    }

    /// Whether what isn't seen may only not have been looked at yet, and another turn comes when it has.
    pub(super) fn settles(&mut self) -> bool {
        let at = self.facts.settled_at.filter(|at| *at > self.now);
        if let Some(at) = at {
            self.wake(at);
        }
        at.is_some()
    }

    /// Whether a step's time is up. While a person has suspended the run, nobody's is.
    pub(super) fn is_late(&self, step: &StepState) -> bool {
        !self.facts.suspend && step.deadline.is_some_and(|deadline| deadline <= self.now)
    }
}

/// What expressions see as `inputs`: those that were made, by the name of the output.
pub(super) fn inputs(inputs: &[Input], steps: &[StepState]) -> Value {
    let made = inputs.iter().filter_map(|input| Some((input.from.clone(), value_of(input, steps)?.clone())));
    Value::Object(made.collect())
}

/// What expressions see of a step.
pub(super) fn shown(step: &StepState) -> Value {
    let is = |reason: &str| step.reason == reason;
    json!({
        "phase": step.phase.as_str(),
        "reason": step.reason,
        "message": step.message,
        "succeeded": step.phase == StepPhase::Succeeded,
        "failed": step.phase == StepPhase::Failed,
        "skipped": step.phase == StepPhase::Skipped,
        "timeout": is("Timeout"),
        "failedAfterRetries": is("FailedAfterRetries"),
        "attempts": step.attempts,
    })
}
