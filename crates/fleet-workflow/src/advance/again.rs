//! A step that failed is tried again, and the clock of one stops while a person has suspended the run.

use fleet_api::{Gate, Measured, StepPhase, StepState, TargetPhase};
use jiff::Timestamp;

use super::Turn;
use super::late::revive;
use crate::Node;

impl Turn<'_> {
    /// Gives a step that failed another try, where it has one left: at an absolute time, which a crash doesn't move.
    /// `deadline` is when its time is up as a whole.
    pub(super) fn try_again(&mut self, node: &Node, step: &mut StepState, deadline: Option<Timestamp>) {
        // What never began has nothing to repeat; what people or the clock ended stays ended.
        let ended = step.gate.as_ref().is_some_and(|gate| !gate.is_open()) || step.reason == "Timeout";
        let ends = self.facts.terminate || self.facts.superseded || self.rejected;
        if node.retry.limit == 0 || step.started_at.is_none() || ended || ends {
            return;
        }
        if step.attempts >= node.retry.limit {
            step.message =
                format!("given up after {} tries; last: {}", step.attempts.saturating_add(1), said(step));
            "FailedAfterRetries".clone_into(&mut step.reason);
            return;
        }
        let at =
            self.now.checked_add(node.retry.wait(step.attempts.saturating_add(1))).unwrap_or(Timestamp::MAX);
        if deadline.is_some_and(|deadline| deadline <= at) {
            step.message = format!(
                "{}; the step's timeout of {:#} leaves no time for another try",
                step.message, node.timeout
            );
            return;
        }
        step.attempts = step.attempts.saturating_add(1);
        step.message = format!(
            "try {} of {} failed, the next begins at {at}; last: {}",
            step.attempts,
            node.retry.limit.saturating_add(1),
            said(step)
        );
        "Retrying".clone_into(&mut step.reason);
        step.phase = StepPhase::Running;
        step.ended_at = None;
        step.deadline = deadline;
        step.retry_at = Some(at);
        // From here on nothing of this try counts: what was told of it is not told again.
        for state in step.targets.iter_mut().filter(|state| state.phase == TargetPhase::Failed) {
            let (reason, message) = (std::mem::take(&mut state.reason), std::mem::take(&mut state.message));
            revive(state, false);
            (state.reason, state.message) = (reason, message);
        }
        // Where a notification went already, none goes again.
        step.measured =
            step.measured.take().map(|measured| Measured { sent: measured.sent, ..Measured::default() });
        self.wake(at);
    }

    /// Whether a step waits for its next try.
    pub(super) fn waits_to_retry(&mut self, node: &Node, step: &mut StepState) -> bool {
        let Some(at) = step.retry_at else { return false };
        // Further away than any wait, it was noted by a replica whose clock is ahead of this one: its wait is over.
        let latest = self.now.checked_add(node.retry.wait(step.attempts)).unwrap_or(Timestamp::MAX);
        if at > self.now && at <= latest {
            self.wake(at);
            return true;
        }
        if self.halted() {
            return true;
        }
        step.retry_at = None;
        step.reason.clear();
        step.message.clear();
        false
    }

    /// Stops a step's clock while the run is suspended, and moves its deadlines by that time afterwards: its own, and
    /// those of targets that go on.
    pub(super) fn clock(&self, step: &mut StepState) {
        let over = step.phase.is_over();
        let mut targets =
            step.targets.iter_mut().filter(|state| state.late == over && !state.phase.is_over());
        match (self.facts.suspend, step.paused_since) {
            (true, None) if step.deadline.is_some() || targets.any(|state| state.deadline.is_some()) => {
                step.paused_since = Some(self.now);
            }
            (false, Some(since)) => {
                let stood = self.now.duration_since(since).max(jiff::SignedDuration::ZERO);
                let moved = |at: Timestamp| at.checked_add(stood).unwrap_or(Timestamp::MAX);
                step.deadline = step.deadline.map(moved);
                for state in targets {
                    state.deadline = state.deadline.map(moved);
                }
                step.paused_since = None;
            }
            _ => {}
        }
    }

    /// Ends a gate, and bounds everything in a group, by the time that is written for it.
    pub(super) fn bound_wait(&mut self, node: &Node, step: &mut StepState, limit: Option<Timestamp>) {
        let waits = step.phase == StepPhase::Suspending;
        if waits && step.deadline.is_none() {
            let since = step.gate.as_ref().and_then(|gate: &Gate| gate.since).unwrap_or(self.now);
            step.deadline = node.waits_at_most.and_then(|time| since.checked_add(time).ok());
        }
        if waits || step.phase == StepPhase::Running {
            step.deadline = match (step.deadline, limit) {
                (Some(own), Some(limit)) => Some(own.min(limit)),
                (own, limit) => own.or(limit),
            };
        }
        if let Some(deadline) = step.deadline {
            self.wake(deadline);
        }
    }
}

/// Why the last try failed, without the words about tries.
fn said(step: &StepState) -> String {
    if step.message.is_empty() { step.reason.clone() } else { step.message.clone() }
}
