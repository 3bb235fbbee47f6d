//! One target of a step that acts: pending → delivering → waiting → (pruning →) succeeded. To one that the revision no
//! longer reaches nothing is delivered.

use fleet_api::{StepState, TargetPhase, TargetState};
use jiff::SignedDuration;

use super::Turn;
use crate::{Command, Delivery, Node, Problem, Prune, TargetFact};

/// How often a delivery that was refused in a way that may pass is tried.
const RETRY_LIMIT: u32 = 8;

/// The wait before a further try: 1 s, doubling, at most 60 s.
fn backoff(attempts: u32) -> SignedDuration {
    SignedDuration::from_secs(1_i64.checked_shl(attempts.saturating_sub(1)).unwrap_or(60).clamp(1, 60))
}

impl Turn<'_> {
    /// Why nothing may be sent to a target now.
    pub(super) fn hold(&self, step: &str, state: &TargetState) -> Option<&Problem> {
        self.facts.held.get(&(step.to_owned(), state.target.clone()))
    }

    /// Notes who is held since when; true where a hold ended.
    pub(super) fn holds(&self, step: &mut StepState) -> bool {
        let mut ended = false;
        for state in step.targets.iter_mut().filter(|state| !state.phase.is_over()) {
            match (self.hold(&step.name, state).is_some(), state.held_since) {
                (true, None) => state.held_since = Some(self.now),
                (false, Some(_)) => {
                    state.held_since = None;
                    put(state, "", "");
                    ended = true;
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        ended
    }

    pub(super) fn target(&mut self, node: &Node, state: &mut TargetState, out_of_time: bool) {
        if state.phase.is_over() {
            return;
        }
        if self.facts.removed.contains(&state.target.cluster) {
            return self.end(state, TargetPhase::Removed, "Removed", "the cluster left the fleet");
        }
        let fact =
            self.facts.targets.get(&(node.name.clone(), state.target.clone())).cloned().unwrap_or_default();
        if let Some(problem) = self.hold(&node.name, state).cloned() {
            return self.held(state, &fact, &problem);
        }
        let commands = self.commands.len();
        match state.phase {
            // Sending begins once the intent is on record, with the command of this turn.
            TargetPhase::Pending if out_of_time => {}
            TargetPhase::Pending if state.cleared => {
                self.clear(state);
                self.under_way(node, state, &fact);
            }
            TargetPhase::Pending => self.pending(node, state),
            _ => self.under_way(node, state, &fact),
        }
        let asks = state.phase == TargetPhase::Pruning && self.bars(state);
        // Facts come first: what was done while nobody looked is done, however late it is seen.
        if out_of_time && !state.phase.is_over() && !asks {
            self.commands.truncate(commands);
            let waited = if state.message.is_empty() {
                state.phase.as_str().to_owned()
            } else {
                state.message.clone()
            };
            let message = format!("not done within the step's timeout of {:#}; last: {waited}", node.timeout);
            self.end(state, TargetPhase::Failed, "Timeout", &message);
        }
    }

    /// A target that is held: what was sent before counts, nothing more is asked for, and no time runs out.
    fn held(&mut self, state: &mut TargetState, fact: &TargetFact, problem: &Problem) {
        if state.phase == TargetPhase::Delivering {
            match &fact.delivery {
                Delivery::Running => return put(state, "Delivering", "the last objects are being sent"),
                Delivery::Idle | Delivery::Unreachable(_) => state.phase = TargetPhase::Pending,
                Delivery::Applied => state.phase = TargetPhase::Waiting,
                Delivery::Refused { problem, retry: false } => {
                    return self.end(state, TargetPhase::Failed, &problem.reason, &problem.message);
                }
                Delivery::Refused { problem, retry: true } => self.retry(state, problem),
            }
        }
        if state.phase == TargetPhase::Waiting {
            waiting(state, fact);
        }
        if state.phase == TargetPhase::Pruning {
            match &fact.prune {
                Prune::NotNeeded | Prune::Done => return self.end(state, TargetPhase::Succeeded, "", ""),
                Prune::Refused(problem) => {
                    return self.end(state, TargetPhase::Failed, &problem.reason, &problem.message);
                }
                Prune::Idle | Prune::Running => {}
            }
        }
        if !state.phase.is_over() {
            say(state, problem);
        }
    }

    fn under_way(&mut self, node: &Node, state: &mut TargetState, fact: &TargetFact) {
        if state.phase == TargetPhase::Delivering {
            self.delivering(node, state, fact);
        }
        if state.phase == TargetPhase::Waiting {
            waiting(state, fact);
        }
        if state.phase == TargetPhase::Pruning {
            self.pruning(node, state, fact);
        }
    }

    fn pending(&mut self, node: &Node, state: &mut TargetState) {
        // Further away than any wait, it was noted by a replica whose clock is ahead of this one: its wait is over.
        let latest = self.now.checked_add(backoff(state.attempts)).unwrap_or(self.now);
        if let Some(at) = state.retry_at.filter(|at| *at > self.now && *at <= latest) {
            self.wake(at);
            return;
        }
        if self.halted() {
            return;
        }
        state.phase = TargetPhase::Delivering;
        put(state, "Delivering", "objects are being sent");
        state.retry_at = None;
        state.started_at = state.started_at.or(Some(self.now));
        self.commands.push(Command::Deliver { step: node.name.clone(), target: state.target.clone() });
    }

    /// What is owned there goes, and nothing comes.
    fn clear(&self, state: &mut TargetState) {
        if self.halted() {
            return;
        }
        state.phase = TargetPhase::Waiting;
        state.started_at = state.started_at.or(Some(self.now));
        put(state, "WaitingForOthers", "what is owned here goes once the other targets are done");
    }

    fn delivering(&mut self, node: &Node, state: &mut TargetState, fact: &TargetFact) {
        match &fact.delivery {
            Delivery::Idle if self.halted() => {}
            Delivery::Idle => {
                self.commands
                    .push(Command::Deliver { step: node.name.clone(), target: state.target.clone() });
            }
            Delivery::Running => put(state, "Delivering", "objects are being sent"),
            Delivery::Applied => {
                state.phase = TargetPhase::Waiting;
                put(state, "WaitingForHealth", "everything was sent; health is awaited");
            }
            Delivery::Unreachable(problem) => say(state, problem),
            Delivery::Refused { problem, retry: false } => {
                self.end(state, TargetPhase::Failed, &problem.reason, &problem.message);
            }
            Delivery::Refused { problem, retry: true } => self.retry(state, problem),
        }
    }

    fn retry(&mut self, state: &mut TargetState, problem: &Problem) {
        state.attempts += 1;
        if state.attempts >= RETRY_LIMIT {
            let message = format!("given up after {RETRY_LIMIT} tries; last: {}", problem.message);
            return self.end(state, TargetPhase::Failed, "FailedAfterRetries", &message);
        }
        state.phase = TargetPhase::Pending;
        say(state, problem);
        if let Ok(at) = self.now.checked_add(backoff(state.attempts)) {
            state.retry_at = Some(at);
            self.wake(at);
        }
    }

    /// Whether a person is asked before what is deleted on a target, and hasn't agreed yet.
    fn bars(&self, state: &TargetState) -> bool {
        self.barred && !state.guard.is_empty()
    }

    fn pruning(&mut self, node: &Node, state: &mut TargetState, fact: &TargetFact) {
        match &fact.prune {
            Prune::NotNeeded | Prune::Done => self.end(state, TargetPhase::Succeeded, "", ""),
            Prune::Idle if self.bars(state) => {
                let message = format!("{}; its deletes wait for approval", state.guard);
                put(state, "WaitingForApproval", &message);
                self.asks = true;
            }
            Prune::Idle if self.halted() => {}
            Prune::Idle => {
                self.commands.push(Command::Prune { step: node.name.clone(), target: state.target.clone() });
            }
            Prune::Running => {}
            Prune::Refused(problem) => {
                self.end(state, TargetPhase::Failed, &problem.reason, &problem.message)
            }
        }
    }

    fn end(&self, state: &mut TargetState, phase: TargetPhase, reason: &str, message: &str) {
        state.phase = phase;
        put(state, reason, message);
        state.retry_at = None;
        state.held_since = None;
        state.ended_at = Some(self.now);
    }
}

fn waiting(state: &mut TargetState, fact: &TargetFact) {
    if fact.done {
        state.phase = TargetPhase::Pruning;
        put(state, "Pruning", "objects that the revision no longer has are being deleted");
    } else if let Some(problem) = &fact.waiting_for {
        say(state, problem);
    }
}

fn say(state: &mut TargetState, problem: &Problem) {
    put(state, &problem.reason, &problem.message);
}

fn put(state: &mut TargetState, reason: &str, message: &str) {
    reason.clone_into(&mut state.reason);
    message.clone_into(&mut state.message);
}
