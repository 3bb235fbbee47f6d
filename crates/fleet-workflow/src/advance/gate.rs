//! Gates: where a step waits for a person or a time before it acts.

use fleet_api::{ApprovalRecord, Gate, Refusal, StepPhase, StepState};

use super::Turn;
use crate::{ApprovalFact, Node, PlanFact, StepKind};

/// How many refused approvals are kept on record.
const KEPT_REFUSALS: usize = 10;

impl Turn<'_> {
    pub(super) fn shut_gate(&mut self, node: &Node, step: &mut StepState, plan: &PlanFact) {
        let duration = match &node.kind {
            StepKind::Suspend(suspend) => suspend.duration,
            StepKind::Deploy(_) => None,
        };
        step.phase = StepPhase::Suspending;
        step.gate = Some(Gate {
            plan_hash: plan.hash.clone(),
            since: Some(self.now),
            opens_at: duration.and_then(|duration| self.now.checked_add(duration).ok()),
            ..Gate::default()
        });
    }

    /// A gate that waits: has somebody opened it for the plan as it is now?
    pub(super) fn gate(&mut self, node: &Node, step: &mut StepState) {
        let Some(mut gate) = step.gate.take() else { return };
        // A gate opens for a plan that is known; until it is made again after a restart, approvals wait.
        let plan = match self.facts.plans.get(&node.name) {
            None => {
                self.commands.push(crate::Command::Plan { step: node.name.clone() });
                step.gate = Some(gate);
                return;
            }
            Some(Err(problem)) => {
                step.reason.clone_from(&problem.reason);
                step.message.clone_from(&problem.message);
                step.gate = Some(gate);
                return;
            }
            Some(Ok(plan)) => plan,
        };
        gate.plan_hash.clone_from(&plan.hash);
        if !self.facts.terminate && !self.facts.superseded {
            gate.approval = self.opened_by(&node.name, &mut gate);
        }
        if gate.approval.is_some() {
            step.plan_hash.clone_from(&gate.plan_hash);
            self.start(node, step);
        } else {
            self.explain(node, step, &gate, plan);
            if let Some(at) = gate.opens_at {
                self.wake(at);
            }
        }
        step.gate = Some(gate);
    }

    fn opened_by(&self, step: &str, gate: &mut Gate) -> Option<ApprovalRecord> {
        let record = |approval: &str, approver: &str, proven: bool, reason: &str| ApprovalRecord {
            approval: approval.to_owned(),
            approver: approver.to_owned(),
            proven,
            reason: reason.to_owned(),
            plan_hash: gate.plan_hash.clone(),
            at: Some(self.now),
        };
        let mine = self.facts.approvals.iter().filter(|approval| approval.step == step);
        let (fitting, stale): (Vec<_>, Vec<_>) =
            mine.partition(|approval| approval.plan_hash == gate.plan_hash);
        let opened = fitting
            .first()
            .map(|a| record(&a.name, &a.approver, a.proven, &a.reason))
            .or_else(|| {
                let by_hand = self.facts.cleared_by_hand.as_deref() == Some(step);
                by_hand.then(|| {
                    record("", "unidentified", false, "status.workflow.suspend was set to false by hand")
                })
            })
            .or_else(|| {
                let by_time = gate.opens_at.is_some_and(|at| at <= self.now);
                by_time.then(|| record("", "the step's duration", true, "its time was up"))
            });
        refuse(gate, &stale);
        opened
    }

    fn explain(&self, node: &Node, step: &mut StepState, gate: &Gate, plan: &PlanFact) {
        let said = match &node.kind {
            StepKind::Suspend(suspend) => {
                suspend.message.as_ref().map_or_else(String::new, |m| format!("{m}; "))
            }
            StepKind::Deploy(_) => String::new(),
        };
        let until = gate.opens_at.map_or_else(String::new, |at| format!(" (goes on by itself at {at})"));
        step.reason = "WaitingForApproval".to_owned();
        step.message = format!(
            "step {} waits for approval{until}: {said}{}; look with: fleetctl plan {address}, go on with: fleetctl workflow resume {address}",
            node.name,
            plan.summary,
            address = self.address(),
        );
    }
}

/// Puts stale approvals on record. Which ten are kept follows from the approvals alone, so that a turn without
/// news changes nothing.
fn refuse(gate: &mut Gate, stale: &[&ApprovalFact]) {
    let mut known: Vec<Refusal> = std::mem::take(&mut gate.refused);
    let mut refused = Vec::with_capacity(stale.len());
    for approval in stale {
        let before = known.iter().position(|refusal| refusal.approval == approval.name);
        refused.push(before.map_or_else(
            || Refusal {
                approval: approval.name.clone(),
                message: format!(
                    "it approves plan {}, but the plan is now {}",
                    approval.plan_hash, gate.plan_hash
                ),
            },
            |index| known.remove(index),
        ));
    }
    known.extend(refused);
    let surplus = known.len().saturating_sub(KEPT_REFUSALS);
    gate.refused = known.split_off(surplus);
}
