//! One target of a step: pending → delivering → waiting (→ soaking) → (pruning →) succeeded. To one that the revision no
//! longer reaches nothing is delivered.

use fleet_api::{StepState, TargetPhase, TargetState};
use jiff::{SignedDuration, Timestamp};

use super::Turn;
use super::wave::Rules;
use crate::graph::OnUnreachable;
use crate::{Command, Delivery, Node, Problem, Prune, Sight, TargetFact};

/// How often a delivery that was refused in a way that may pass is tried.
const RETRY_LIMIT: u32 = 8;

/// The wait before a further try: 1 s, doubling, at most 60 s.
fn backoff(attempts: u32) -> SignedDuration {
    SignedDuration::from_secs(1_i64.checked_shl(attempts.saturating_sub(1)).unwrap_or(60).clamp(1, 60))
}

impl Turn<'_> {
    /// Why nothing may be sent to a target now.
    pub(super) fn hold(&self, step: &str, state: &TargetState) -> Option<&Problem> {
        let place = (step.to_owned(), state.target.clone());
        let beside = || self.shut.get(&place).or_else(|| self.blocked.get(&place));
        self.facts.held.get(&place).or_else(beside)
    }

    /// Notes who is held since when; true where a hold ended.
    pub(super) fn holds(&self, rules: &Rules, step: &mut StepState) -> bool {
        let mut ended = false;
        for state in step.targets.iter_mut().filter(|state| !state.phase.is_over()) {
            match (self.hold(&step.name, state).is_some(), state.held_since) {
                (true, None) => state.held_since = Some(self.now),
                (false, Some(_)) => {
                    state.held_since = None;
                    if state.deadline.is_some() {
                        state.deadline = self.time_is_up(rules, state.late);
                    }
                    put(state, "", "");
                    ended = true;
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        ended
    }

    /// When a target that goes on from now has had its time.
    pub(super) fn time_is_up(&self, rules: &Rules, late: bool) -> Option<Timestamp> {
        rules.of_target(late).and_then(|time| self.now.checked_add(time).ok())
    }

    /// Takes a target on that has begun; one that hasn't can only run out of time here.
    pub(super) fn go_on(&mut self, node: &Node, rules: &Rules, state: &mut TargetState, out_of_time: bool) {
        if self.facts.removed.contains(&state.target.cluster) {
            return self.end(state, TargetPhase::Removed, "Removed", "the cluster left the fleet");
        }
        let fact = self.fact_of(&node.name, &state.target);
        if let Some(problem) = self.hold(&node.name, state).cloned() {
            return self.held(rules, state, &fact, &problem);
        }
        // What is only cleared has its turn after the others, and its time ends then.
        if state.cleared && state.phase != TargetPhase::Pruning {
            return;
        }
        let commands = self.commands.len();
        // Between two tries it keeps its place, and is as begun as before.
        let begun = state.phase != TargetPhase::Pending || state.retry_at.is_some();
        let is_late = |state: &TargetState| {
            !self.facts.suspend && state.deadline.is_some_and(|deadline| deadline <= self.now)
        };
        let unnoted = state.phase == TargetPhase::Delivering && fact.delivery == Delivery::Idle && fact.done;
        if unnoted && (out_of_time || is_late(state)) {
            // Everything was sent, and nobody was there to note it.
            state.phase = TargetPhase::Waiting;
        }
        if begun {
            self.note_silence(state, fact.is_silent());
            self.under_way(node, rules, state, &fact);
            if let Some(since) = state.unreachable_since.filter(|_| !state.phase.is_over()) {
                self.lose_patience(rules, state, since);
            }
        }
        // What a person is asked about, or agreed to and has yet to have its turn, runs out of no time.
        let asks = state.phase == TargetPhase::Pruning && !state.guard.is_empty();
        let own = state.deadline.filter(|_| !asks);
        let late = !self.facts.suspend && own.is_some_and(|deadline| deadline <= self.now);
        // Facts come first: what was done while nobody looked is done, however late it is seen.
        let up = (out_of_time && !asks || late) && !state.phase.is_over();
        let unseen = fact.sight == Sight::NotListed || state.phase == TargetPhase::Pruning;
        if up && unseen && self.settles() {
            // Nothing further is sent in its place meanwhile; what was agreed to be deleted goes.
            if state.phase != TargetPhase::Pruning {
                self.commands.truncate(commands);
            }
        } else if up {
            self.out_of_time(rules, state, if out_of_time { None } else { rules.of_target(state.late) });
        } else if let Some(deadline) = own.filter(|_| !state.phase.is_over()) {
            self.wake(deadline);
        }
        if state.phase.is_over() {
            self.commands.truncate(commands);
        }
    }

    /// Ends a target that isn't done: after its own time, or else the step's.
    pub(super) fn out_of_time(
        &mut self,
        rules: &Rules,
        state: &mut TargetState,
        own: Option<SignedDuration>,
    ) {
        let skips = rules.deploy.on_unreachable == OnUnreachable::Skip;
        if skips && state.unreachable_since.is_some() {
            return self.give_up_on(rules, state);
        }
        let waited = if state.message.is_empty() { state.phase.as_str() } else { state.message.as_str() };
        let message = match own {
            Some(own) => format!("not done within {own:#} of its turn; last: {waited}"),
            None => format!("not done within the step's timeout of {:#}; last: {waited}", rules.whole),
        };
        self.end(state, TargetPhase::Failed, "Timeout", &message);
    }

    /// Notes since when a cluster doesn't answer. What was healthy before isn't known to have been so meanwhile: that
    /// time doesn't count.
    pub(super) fn note_silence(&self, state: &mut TargetState, silent: bool) {
        match (silent, state.unreachable_since) {
            (true, None) => state.unreachable_since = Some(self.now),
            (false, Some(since)) => {
                state.unreachable_since = None;
                let gap = self.now.duration_since(since);
                state.soak_until = state.soak_until.and_then(|until| until.checked_add(gap).ok());
            }
            _ => {}
        }
    }

    /// A target that is held: what was sent before counts, nothing more is asked for, and no time runs out.
    fn held(&mut self, rules: &Rules, state: &mut TargetState, fact: &TargetFact, problem: &Problem) {
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
        if state.phase == TargetPhase::Waiting && !state.cleared {
            self.waiting(rules, state, fact);
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
        if state.phase == TargetPhase::Pending {
            // Its place is somebody else's meanwhile.
            state.retry_at = None;
        }
        if !state.phase.is_over() {
            say(state, problem);
        }
    }

    fn under_way(&mut self, node: &Node, rules: &Rules, state: &mut TargetState, fact: &TargetFact) {
        if state.phase == TargetPhase::Delivering {
            self.delivering(node, state, fact);
        }
        if state.phase == TargetPhase::Waiting {
            self.waiting(rules, state, fact);
        }
        if state.phase == TargetPhase::Pruning {
            self.pruning(node, state, fact);
        }
    }

    /// Whether a further try has to wait.
    pub(super) fn backs_off(&mut self, state: &TargetState) -> bool {
        // Further away than any wait, it was noted by a replica whose clock is ahead of this one: its wait is over.
        let latest = self.now.checked_add(backoff(state.attempts)).unwrap_or(self.now);
        let at = state.retry_at.filter(|at| *at > self.now && *at <= latest);
        if let Some(at) = at {
            self.wake(at);
        }
        at.is_some()
    }

    /// Sending begins once the intent is on record, with the command of this turn.
    pub(super) fn begin_target(&mut self, node: &Node, rules: &Rules, state: &mut TargetState) {
        if !self.may_act(state) {
            return;
        }
        state.phase = TargetPhase::Delivering;
        put(state, "Delivering", "objects are being sent");
        state.retry_at = None;
        state.started_at = state.started_at.or(Some(self.now));
        state.deadline = state.deadline.or_else(|| self.time_is_up(rules, state.late));
        if let Some(deadline) = state.deadline {
            self.wake(deadline);
        }
        self.commands.push(Command::Deliver { step: node.name.clone(), target: state.target.clone() });
    }

    /// Everything is sent: is it well, and has it been for long enough?
    fn waiting(&mut self, rules: &Rules, state: &mut TargetState, fact: &TargetFact) {
        if !fact.done {
            // What isn't seen is neither well nor ill.
            if fact.sight == Sight::Seen && state.soak_until.take().is_some() {
                state.deadline = self.time_is_up(rules, state.late);
            }
            if let Some(problem) = &fact.waiting_for {
                say(state, problem);
            }
            return;
        }
        let soak = rules.deploy.soak_of(state.canary);
        let until = state.soak_until.or_else(|| self.now.checked_add(soak).ok());
        match until.filter(|until| *until > self.now && soak > SignedDuration::ZERO) {
            None => self.prune(rules, state),
            Some(until) => {
                // While it is well only the step's time runs.
                (state.soak_until, state.deadline) = (Some(until), None);
                put(state, "Soaking", &format!("healthy; it has to stay so until {until}"));
                self.wake(until);
            }
        }
    }

    pub(super) fn prune(&mut self, rules: &Rules, state: &mut TargetState) {
        state.phase = TargetPhase::Pruning;
        state.soak_until = None;
        state.deadline = state.deadline.or_else(|| self.time_is_up(rules, state.late));
        put(state, "Pruning", "objects that the revision no longer has are being deleted");
    }

    fn delivering(&mut self, node: &Node, state: &mut TargetState, fact: &TargetFact) {
        match &fact.delivery {
            Delivery::Idle if self.halted() || !self.may_act(state) => {}
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
    pub(super) fn bars(&self, state: &TargetState) -> bool {
        self.barred && !state.guard.is_empty()
    }

    pub(super) fn pruning(&mut self, node: &Node, state: &mut TargetState, fact: &TargetFact) {
        match &fact.prune {
            Prune::NotNeeded | Prune::Done => self.end(state, TargetPhase::Succeeded, "", ""),
            Prune::Idle if self.bars(state) => {
                let message = format!("{}; its deletes wait for approval", state.guard);
                put(state, "WaitingForApproval", &message);
                self.asks = true;
            }
            // Agreed to; it has its turn like any other.
            Prune::Idle if !state.guard.is_empty() => {}
            Prune::Idle if self.halted() || !self.may_act(state) => {}
            Prune::Idle => {
                self.commands.push(Command::Prune { step: node.name.clone(), target: state.target.clone() });
            }
            Prune::Running => {}
            Prune::Refused(problem) => {
                self.end(state, TargetPhase::Failed, &problem.reason, &problem.message)
            }
        }
    }

    pub(super) fn end(&self, state: &mut TargetState, phase: TargetPhase, reason: &str, message: &str) {
        state.phase = phase;
        put(state, reason, message);
        state.retry_at = None;
        state.held_since = None;
        (state.deadline, state.soak_until, state.unreachable_since) = (None, None, None);
        state.retried = false;
        state.ended_at = Some(self.now);
    }
}

pub(super) fn say(state: &mut TargetState, problem: &Problem) {
    put(state, &problem.reason, &problem.message);
}

pub(super) fn put(state: &mut TargetState, reason: &str, message: &str) {
    reason.clone_into(&mut state.reason);
    message.clone_into(&mut state.message);
}
