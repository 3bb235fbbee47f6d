//! Targets that were passed over, and what people ask about single ones: to go on without, or to try again.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{
    RetryRecord, RunPhase, RunStatus, SkipRecord, StepPhase, StepState, Target, TargetAction, TargetPhase,
    TargetRequest, TargetState,
};

use super::target::put;
use super::wave::{Rules, names};
use super::{Owed, Turn};
use crate::graph::{OnReturn, OnUnreachable};
use crate::{Delivery, Graph, Prune};

impl Turn<'_> {
    /// Answers what people ask about targets. A run that failed, or is through, goes on where there is something to do.
    /// True where a target stands elsewhere now.
    pub(super) fn answer(&mut self, graph: &Graph, status: &mut RunStatus) -> bool {
        let ended = matches!(status.phase, RunPhase::Terminated | RunPhase::Superseded);
        let unknown = status.steps.len() != graph.nodes.len();
        let ends = ended || self.facts.terminate || self.facts.superseded;
        if self.facts.requests.is_empty() || ends || unknown {
            return false;
        }
        let mut asked: BTreeMap<&str, Vec<&TargetRequest>> = BTreeMap::new();
        for request in &self.facts.requests {
            asked.entry(request.cluster.as_str()).or_default().push(request);
        }
        let (mut touched, mut reopened) = (false, false);
        for (node, step) in graph.nodes.iter().zip(&mut status.steps) {
            let rules = Rules::of(node, step);
            let (over, began) = (step.phase == StepPhase::Succeeded, step.started_at.is_some());
            let mut moved = false;
            for state in &mut step.targets {
                let requests = asked.get(state.target.cluster.as_str()).into_iter().flatten();
                let about =
                    |request: &&&TargetRequest| request.step.as_ref().is_none_or(|named| *named == step.name);
                let Some(request) = requests.rev().find(about) else { continue };
                if state.request != request.id {
                    moved |= self.answer_one(&step.name, over, state, request);
                }
            }
            touched |= moved;
            // A step that never acted has no gate behind it.
            if moved && step.phase == StepPhase::Failed && began {
                step.phase = StepPhase::Running;
                step.ended_at = None;
                step.deadline = self.now.checked_add(rules.whole).ok();
                put_step(step, "", "");
                reopened = true;
            }
        }
        if reopened {
            let passed =
                |step: &&mut StepState| step.phase == StepPhase::Skipped && step.reason == "DependencyFailed";
            for step in status.steps.iter_mut().filter(passed) {
                step.phase = StepPhase::Pending;
                step.ended_at = None;
                put_step(step, "", "");
            }
            self.reopen_groups(status);
            status.rollback_wanted = false;
        }
        if touched && status.phase.is_over() {
            status.phase = RunPhase::Executing;
            status.ended_at = None;
        }
        touched
    }

    /// True where the target stands elsewhere now.
    fn answer_one(&self, step: &str, over: bool, state: &mut TargetState, request: &TargetRequest) -> bool {
        let fact = self.fact_of(step, &state.target);
        let sends = state.phase == TargetPhase::Delivering && fact.delivery == Delivery::Running
            || state.phase == TargetPhase::Pruning && fact.prune == Prune::Running;
        // What is on its way arrives; its end asks for another turn.
        if sends && request.action == TargetAction::Skip {
            return false;
        }
        state.request.clone_from(&request.id);
        match (request.action, state.phase) {
            (_, TargetPhase::Succeeded | TargetPhase::Removed) => false,
            (TargetAction::Skip, _) => {
                leave(state, over);
                let record = SkipRecord {
                    by: request.by.clone(),
                    reason: request.reason.clone(),
                    at: Some(self.now),
                    held: true,
                };
                self.skip(state, record, false);
                true
            }
            (TargetAction::Retry, TargetPhase::Failed | TargetPhase::Skipped) => {
                revive(state, over);
                state.retried = true;
                state.retry = Some(RetryRecord { by: request.by.clone(), at: Some(self.now) });
                true
            }
            (TargetAction::Retry, _) => {
                // It is tried already: at once, with all tries before it.
                (state.attempts, state.retry_at) = (0, state.retry_at.map(|_| self.now));
                false
            }
        }
    }

    /// Passes a target over whose cluster doesn't answer, or that an earlier step passed over.
    pub(super) fn pass_over(&self, rules: &Rules, state: &mut TargetState, reason: &str) {
        let record = SkipRecord { reason: reason.to_owned(), at: Some(self.now), ..SkipRecord::default() };
        self.skip(state, record, rules.deploy.on_return == OnReturn::CatchUp);
    }

    fn skip(&self, state: &mut TargetState, record: SkipRecord, comes_back: bool) {
        let retry = format!("fleetctl workflow retry {} --target {}", self.address(), state.target.cluster);
        let (reason, message) = if record.held {
            let by = if record.by.is_empty() { "a person" } else { &record.by };
            let message = format!("skipped by {by} ({}); it is left until: {retry}", record.reason);
            ("SkippedByUser", message)
        } else if comes_back {
            ("Unreachable", format!("{}; it catches up once it answers", record.reason))
        } else {
            ("Unreachable", format!("{}; it is left until: {retry}", record.reason))
        };
        self.end(state, TargetPhase::Skipped, reason, &message);
        state.skipped = Some(record);
        state.retry = None;
        state.attempts = 0;
    }

    /// What becomes of a target whose cluster was silent for too long.
    pub(super) fn give_up_on(&self, rules: &Rules, state: &mut TargetState) {
        let since = state.unreachable_since.unwrap_or(self.now);
        let message = format!("cluster {} hasn't answered since {since}", state.target.cluster);
        match rules.deploy.on_unreachable {
            OnUnreachable::Wait => {}
            OnUnreachable::Skip => self.pass_over(rules, state, &message),
            OnUnreachable::Fail => self.end(state, TargetPhase::Failed, "Unreachable", &message),
        }
    }

    /// Whether a target's cluster doesn't answer now that its turn has come; where it hasn't for too long, that is decided.
    pub(super) fn is_silent_before_its_turn(
        &mut self,
        step: &str,
        rules: &Rules,
        state: &mut TargetState,
    ) -> bool {
        let fact = self.fact_of(step, &state.target);
        self.note_silence(state, fact.is_silent());
        let Some(since) = state.unreachable_since else { return false };
        if let Some(problem) = &fact.waiting_for {
            super::target::say(state, problem);
        } else {
            put(state, "Unreachable", &format!("cluster {} doesn't answer", state.target.cluster));
        }
        if state.late {
            // Nobody waits for it: it is owed as before.
            let message = format!("cluster {} hasn't answered since {since}", state.target.cluster);
            self.pass_over(rules, state, &message);
        } else {
            self.lose_patience(rules, state, since);
        }
        true
    }

    /// Decides about a silent target when it is time.
    pub(super) fn lose_patience(&mut self, rules: &Rules, state: &mut TargetState, since: jiff::Timestamp) {
        let Some(patience) = rules.deploy.patience() else { return };
        let Ok(at) = since.checked_add(patience) else { return };
        if at <= self.now {
            self.give_up_on(rules, state);
        } else {
            self.wake(at);
        }
    }

    /// Passed over, and there again: it gets what the run delivers, unless it is held, or an earlier step comes first.
    pub(super) fn come_back(&mut self, rules: &Rules, step: &mut StepState, owed: &Owed) {
        let over = step.phase.is_over();
        for state in step.targets.iter_mut().filter(|state| state.phase == TargetPhase::Skipped) {
            if self.facts.removed.contains(&state.target.cluster) {
                leave(state, over);
                self.end(state, TargetPhase::Removed, "Removed", "the cluster left the fleet");
                continue;
            }
            let held = state.skipped.as_ref().is_some_and(|skip| skip.held)
                || rules.deploy.on_return == OnReturn::Hold
                || self.hold(&step.name, state).is_some();
            let fact = self.facts.targets.get(&(step.name.clone(), state.target.clone()));
            let answers = fact.is_some_and(|fact| !fact.is_silent());
            if answers && !held && !self.halted() && !owed.contains_key(&state.target) {
                revive(state, over);
            }
        }
    }

    /// What is left to do in a run all of whose steps are over: which reason, and in words. Only one that went well is
    /// kept open for what was passed over.
    pub(super) fn left_over(&self, status: &RunStatus, well: bool) -> Option<(&'static str, String)> {
        let states = || status.steps.iter().flat_map(|step| &step.targets);
        let late: Vec<&TargetState> = states().filter(|state| state.late && !state.phase.is_over()).collect();
        if let Some(first) = late.iter().max_by_key(|state| (!state.message.is_empty(), state.phase)) {
            let what = if first.message.is_empty() { first.phase.as_str() } else { first.message.as_str() };
            let message = format!("catching up: {}; {}: {what}", names(&late), first.target);
            return Some(("CatchingUp", message));
        }
        let passed: Vec<&TargetState> =
            states().filter(|state| state.phase == TargetPhase::Skipped).collect();
        let first = passed.first().filter(|_| well)?;
        let distinct: BTreeSet<&Target> = passed.iter().map(|state| &state.target).collect();
        let mut seen = BTreeSet::new();
        let each: Vec<&TargetState> =
            passed.iter().copied().filter(|state| seen.insert(&state.target)).collect();
        let message = format!(
            "everything else is done; {} pending catch-up: {}; {}: {}; ask for it now with: fleetctl workflow retry {} --target {}",
            distinct.len(),
            names(&each),
            first.target,
            first.message,
            self.address(),
            first.target.cluster
        );
        Some(("CatchUpPending", message))
    }
}

/// Notes how a target stood at its step's end, before it moves on: the record tells of that end as it was, whenever it is
/// written.
fn leave(state: &mut TargetState, over: bool) {
    if over && state.phase.is_over() {
        state.left_as.get_or_insert(state.phase);
    }
}

/// From the start, as if its turn hadn't come.
pub(super) fn revive(state: &mut TargetState, late: bool) {
    leave(state, late);
    state.phase = TargetPhase::Pending;
    state.late = late;
    state.skipped = None;
    (state.attempts, state.retry_at) = (0, None);
    (state.deadline, state.soak_until, state.unreachable_since) = (None, None, None);
    (state.held_since, state.ended_at) = (None, None);
    put(state, "", "");
}

fn put_step(step: &mut StepState, reason: &str, message: &str) {
    reason.clone_into(&mut step.reason);
    message.clone_into(&mut step.message);
}
