//! A step that measures: one measurement after the other, each asked for once the one before is on record.

use fleet_api::{Gate, GateBefore, Measured, Outcome, StepPhase, StepState};
use jiff::Timestamp;

use super::{Turn, close};
use crate::measure::{Sampling, Verdict, judge, shortened, take_in};
use crate::{Check, Command, MeasureProperties, Node};

impl Turn<'_> {
    pub(super) fn measure(&mut self, node: &Node, properties: &MeasureProperties, step: &mut StepState) {
        let began = step.started_at.unwrap_or(self.now);
        let mut measured = step.measured.take().unwrap_or_default();
        if let Some(Check::Taken(reading)) = self.check(node, step, &measured).cloned() {
            take_in(&mut measured, &reading, self.now);
            if let Some(output) = &reading.output {
                self.found.insert(node.name.clone(), output.clone());
            }
        }
        let verdict = judge(&properties.sampling, &measured, began);
        step.measured = Some(measured.clone());
        match verdict {
            Verdict::Succeeded if measured.accepted > 0 => {
                let message = accepted(&measured, step);
                close(step, StepPhase::Succeeded, "InconclusiveAccepted", &message, self.now);
            }
            Verdict::Succeeded => close(step, StepPhase::Succeeded, "", "", self.now),
            Verdict::Failed { reason, message } if properties.ignore_failure => {
                let message = format!("{message} ({reason}; the step says ignoreFailure)");
                close(step, StepPhase::Succeeded, "FailureIgnored", &message, self.now);
            }
            Verdict::Failed { reason, message } => {
                close(step, StepPhase::Failed, reason, &message, self.now);
            }
            Verdict::Inconclusive { message } => self.ask(node, step, message),
            Verdict::Continue(at) => self.measure_on(node, properties, step, &measured, at),
        }
    }

    /// What is known of the measurement that comes next.
    fn check(&self, node: &Node, step: &StepState, measured: &Measured) -> Option<&Check> {
        let number = (step.attempts, measured.tries().saturating_add(1));
        self.facts.checks.get(&node.name).filter(|fact| fact.number == number).map(|fact| &fact.state)
    }

    fn measure_on(
        &mut self,
        node: &Node,
        properties: &MeasureProperties,
        step: &mut StepState,
        measured: &Measured,
        at: Timestamp,
    ) {
        let known = self.check(node, step, measured).cloned();
        let waits = match &known {
            Some(Check::Running(Some(problem), _)) => problem.message.clone(),
            _ => progress(&properties.sampling, measured),
        };
        if self.is_late(step) && !self.settles() {
            let message = format!("not done within the step's timeout of {:#}; last: {waits}", node.timeout);
            return close(step, StepPhase::Failed, "Timeout", &message, self.now);
        }
        if let Some(deadline) = step.deadline {
            self.wake(deadline);
        }
        step.reason = match &known {
            Some(Check::Running(Some(problem), _)) => problem.reason.clone(),
            _ => "Measuring".to_owned(),
        };
        step.message = waits;
        match known {
            Some(Check::Running(_, again)) => {
                if let Some(again) = again {
                    self.wake(again);
                }
            }
            // Further away than any wait, it was noted by a replica whose clock is ahead of this one.
            _ if at > self.now && at <= self.latest(&properties.sampling) => self.wake(at),
            _ if self.halted() => {}
            _ => self.commands.push(Command::Check { step: node.name.clone() }),
        }
    }

    fn latest(&self, sampling: &Sampling) -> Timestamp {
        let wait = sampling.interval.max(sampling.initial_delay);
        self.now.checked_add(wait).unwrap_or(Timestamp::MAX)
    }

    /// Nobody can say: a person decides. Going on means that what said nothing so far counts as good and the rest is
    /// measured, rejecting that it fails.
    fn ask(&mut self, node: &Node, step: &mut StepState, message: String) {
        step.phase = StepPhase::Suspending;
        step.deadline = None;
        step.message = message;
        let before = step.gate.take().unwrap_or_default();
        let opened = before.approval.iter().chain(&before.approvals).map(|one| one.approval.clone());
        let mut spent: Vec<String> = before.spent.iter().cloned().chain(opened).collect();
        spent.retain(|name| !name.is_empty());
        spent.dedup();
        step.gate = Some(Gate { spent, ..self.new_gate(node, GateBefore::Step, &step.plan_hash) });
        self.gate(node, step);
    }
}

/// A person let count what said nothing so far.
pub(super) fn accept(step: &mut StepState) {
    if let Some(measured) = &mut step.measured {
        measured.accepted = measured.inconclusive;
    }
}

fn accepted(measured: &Measured, step: &StepState) -> String {
    let gate = step.gate.iter();
    // Who opened it is one of those who agreed, where several had to.
    let by = gate.flat_map(|gate| {
        gate.approvals.iter().chain(gate.approval.iter().filter(|_| gate.approvals.is_empty()))
    });
    let said = |by: &fleet_api::ApprovalRecord| {
        if by.reason.is_empty() { by.approver.clone() } else { format!("{}: {}", by.approver, by.reason) }
    };
    let by: Vec<String> = by.map(said).collect();
    format!(
        "{} of {} measurements were inconclusive, the last accepted by {}",
        measured.accepted,
        measured.judged(),
        by.join("; ")
    )
}

/// What the gate of an inconclusive step says before it says how to go on.
pub(super) fn inconclusive(step: &StepState) -> Option<String> {
    let measured = step.measured.as_ref()?;
    let last = measured.recent.iter().rfind(|one| one.outcome == Outcome::Inconclusive)?;
    let said = if last.message.is_empty() { &last.value } else { &last.message };
    Some(format!(
        "{} of {} measurements said neither yes nor no, last: {}; going on counts it as good and measures what is left, rejecting fails it; ",
        measured.inconclusive,
        measured.judged(),
        shortened(said)
    ))
}

fn progress(sampling: &Sampling, measured: &Measured) -> String {
    let last = measured.recent.last().map_or_else(String::new, |last| {
        let said = if last.message.is_empty() { &last.value } else { &last.message };
        format!("; last: {}{}{said}", last.outcome.as_str(), if said.is_empty() { "" } else { ", " })
    });
    if sampling.hold.is_some() {
        return format!("{} measurements taken{last}", measured.judged());
    }
    format!("{} of {} measurements taken{last}", measured.judged(), sampling.count)
}
