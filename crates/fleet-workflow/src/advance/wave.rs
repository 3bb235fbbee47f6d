//! The targets of a step, in waves: those under way go on first, then as many begin as may, in their order.

use fleet_api::{Gate, GateBefore, GateOutcome, StepPhase, StepState, TargetPhase, TargetState};
use fleet_json::few;
use jiff::SignedDuration;

use super::target::{put, say};
use super::{Owed, Turn, close};
use crate::graph::{DeployProperties, OnFailure};
use crate::{Node, Prune, StepKind};

/// How many names stand in a message.
const NAMED: usize = 3;

/// What holds for the targets of a step.
pub(super) struct Rules {
    pub(super) deploy: DeployProperties,
    /// How long the step may take.
    pub(super) whole: SignedDuration,
    /// How many may be under way at once.
    at_once: usize,
    /// How many may fail.
    tolerated: usize,
}

impl Rules {
    /// A step that delivers nothing has no targets, and any rules.
    pub(super) fn of(node: &Node, step: &StepState) -> Self {
        let delivers = matches!(node.kind, StepKind::Deploy(_));
        let deploy = match &node.kind {
            StepKind::Deploy(deploy) => deploy.clone(),
            _ => DeployProperties::default(),
        };
        let all = step.targets.iter().filter(|state| !state.cleared).count();
        Self {
            whole: if delivers { deploy.time_of_step(all) } else { node.timeout },
            at_once: deploy.at_once(all),
            tolerated: deploy.max_failures.of(all),
            deploy,
        }
    }

    /// How long one target may take from its turn.
    pub(super) fn of_target(&self, late: bool) -> Option<SignedDuration> {
        self.deploy.time_of_target().or(late.then_some(self.whole))
    }

    /// Whether more failed than may.
    pub(super) fn exceeded(&self, targets: &[TargetState]) -> bool {
        failures(targets) > self.tolerated
    }

    /// Whether nothing further begins.
    fn stopped(&self, targets: &[TargetState]) -> bool {
        let goes_on = self.deploy.on_failure == OnFailure::Continue;
        (self.exceeded(targets) && !goes_on) || Canary::of(targets) == Canary::Failed
    }
}

fn failures(targets: &[TargetState]) -> usize {
    targets.iter().filter(|state| state.phase == TargetPhase::Failed).count()
}

/// How the group that goes first fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Canary {
    /// There is none, or one that is well, or a person said to go on without.
    Well,
    /// Some are still on their way.
    Open,
    /// None of them took the revision, and none failed.
    Unproven,
    /// None of them took the revision.
    Failed,
}

impl Canary {
    fn of(targets: &[TargetState]) -> Self {
        let group = || targets.iter().filter(|state| state.canary && !state.cleared);
        let well = |state: &TargetState| {
            state.phase == TargetPhase::Succeeded || state.skipped.as_ref().is_some_and(|skip| skip.held)
        };
        if group().any(|state| !state.phase.is_over()) {
            Self::Open
        } else if group().next().is_none() || group().any(well) {
            Self::Well
        } else if group().any(|state| state.phase == TargetPhase::Failed) {
            Self::Failed
        } else {
            Self::Unproven
        }
    }
}

impl Turn<'_> {
    /// Takes the targets of a step on: all of them while it acts, those that catch up once it is over.
    pub(super) fn act(&mut self, node: &Node, step: &mut StepState, owed: &Owed) {
        self.shut_targets(node, step);
        self.block_targets(step);
        let rules = Rules::of(node, step);
        let over = step.phase.is_over();
        // The time that a person took is nobody's fault, and who was held has the whole time from now on.
        if (self.deletes_gate(node, step, false) | self.holds(&rules, step)) && !over {
            self.time_begins_anew(&rules, step);
        }
        let out_of_time = self.is_late(step);
        self.barred = !step.gate.as_ref().is_some_and(Gate::is_open);
        self.asks = false;
        self.come_back(&rules, step, owed);
        for state in step.targets.iter_mut().filter(|state| state.late == over && !state.phase.is_over()) {
            self.go_on(node, &rules, state, out_of_time);
        }
        self.delete_approved(node, &rules, step);
        let free = self.begin_targets(node, &rules, step, owed);
        let commands = self.commands.len();
        self.clear_targets(node, &rules, step, free);
        let open = step.targets.iter().any(|state| !state.cleared && !state.phase.is_over());
        if out_of_time {
            self.commands.truncate(commands);
            // Others may yet be seen to be done.
            if !(open && self.settles()) {
                self.end_clearing(&rules, step);
            }
        }
        if self.asks && step.gate.is_none() && self.deletes_gate(node, step, true) {
            self.barred = false;
            if !over {
                self.time_begins_anew(&rules, step);
            }
        }
        // What was cleared only now, or agreed to in this turn.
        self.delete_approved(node, &rules, step);
        if over {
            self.end_late_deletes(node, step);
            return self.sum_up_late(&rules, step);
        }
        if let Some(deadline) = step.deadline {
            self.wake(deadline);
        }
        self.end_without_deletes(node, step);
        if step.phase == StepPhase::Running {
            self.summarise(&rules, step);
        }
    }

    fn time_begins_anew(&self, rules: &Rules, step: &mut StepState) {
        step.deadline = self.now.checked_add(rules.whole).ok();
        step.paused_since = step.paused_since.map(|_| self.now);
    }

    /// Deletes that a person agreed to, as many as may be under way.
    fn delete_approved(&mut self, node: &Node, rules: &Rules, step: &mut StepState) {
        let busy = step.targets.iter().filter(|state| self.is_busy(&step.name, state)).count();
        let mut free = rules.at_once.saturating_sub(busy);
        for state in step.targets.iter_mut().filter(|state| state.phase == TargetPhase::Pruning) {
            let agreed = !state.guard.is_empty() && !self.bars(state);
            let fact = self.fact_of(&node.name, &state.target);
            let waits = agreed && fact.prune == Prune::Idle && !self.halted();
            if !waits || self.hold(&step.name, state).is_some() {
                continue;
            }
            if free == 0 {
                put(state, "WaitingForTurn", "what it deletes was agreed to, and waits for its turn");
                continue;
            }
            free -= 1;
            state.guard.clear();
            state.deadline = self.time_is_up(rules, state.late);
            self.pruning(node, state, &fact);
        }
    }

    /// What caught up, and whose deletes nobody agreed to in time.
    fn end_late_deletes(&self, node: &Node, step: &mut StepState) {
        let expired = step.gate.clone().filter(|gate| gate.outcome == GateOutcome::Expired);
        let Some(gate) = expired.filter(|gate| gate.before == GateBefore::Deletes) else { return };
        let (reason, message) = self.ended(node, &gate);
        let late = step.targets.iter_mut().filter(|state| state.late && state.phase == TargetPhase::Pruning);
        for state in late.filter(|state| !state.guard.is_empty()) {
            self.end(state, TargetPhase::Failed, reason, &message);
        }
    }

    /// Begins with as many as may be under way: the canary group, the others, then what is only cleared.
    /// Says how many more might.
    fn begin_targets(&mut self, node: &Node, rules: &Rules, step: &mut StepState, owed: &Owed) -> usize {
        loop {
            let busy: Vec<bool> = step.targets.iter().map(|state| self.is_busy(&step.name, state)).collect();
            let places = rules.at_once.saturating_sub(busy.iter().filter(|busy| **busy).count());
            let free = self.begin_as_many(node, rules, step, owed, places);
            // Who ends between two tries leaves its place to those before it, too; each time one more is over.
            if !step.targets.iter().zip(busy).any(|(state, busy)| busy && state.phase.is_over()) {
                return free;
            }
        }
    }

    fn begin_as_many(
        &mut self,
        node: &Node,
        rules: &Rules,
        step: &mut StepState,
        owed: &Owed,
        mut free: usize,
    ) -> usize {
        let over = step.phase.is_over();
        let all = step.targets.iter().filter(|state| !state.cleared).count();
        for group in [true, false] {
            let canary = if over { Canary::Well } else { Canary::of(&step.targets) };
            let mut stopped = !over && rules.stopped(&step.targets);
            let named = if canary == Canary::Well { String::new() } else { named(&step.targets) };
            let mut failed = failures(&step.targets);
            for at in 0..step.targets.len() {
                let Some(state) = step.targets.get_mut(at) else { continue };
                let waits = state.phase == TargetPhase::Pending && state.late == over && !state.cleared;
                if !waits || state.canary != group || self.hold(&step.name, state).is_some() {
                    continue;
                }
                if self.backs_off(state) {
                    continue;
                }
                // What was begun goes on, and what a person asks for has its try.
                if stopped && state.retry_at.is_none() && !state.retried {
                    continue;
                }
                if !group && canary != Canary::Well {
                    self.wait_for_canary(canary, &named, state);
                    continue;
                }
                if let Some(passed) = owed.get(&state.target) {
                    if over && !passed {
                        put(state, "WaitingForEarlierStep", "what an earlier step owes it comes first");
                    } else {
                        self.pass_over(rules, state, "an earlier step passed it over");
                    }
                    continue;
                }
                if self.halted() || self.is_silent_before_its_turn(&step.name, rules, state) {
                    failed += usize::from(state.phase == TargetPhase::Failed);
                    stopped |=
                        failed > rules.tolerated && rules.deploy.on_failure != OnFailure::Continue && !over;
                    continue;
                }
                let counted = state.retry_at.is_some();
                if free == 0 && !counted {
                    let message =
                        format!("waits for its turn: {} of {all}, at most {} at once", at + 1, rules.at_once);
                    put(state, "WaitingForTurn", &message);
                    continue;
                }
                free = free.saturating_sub(usize::from(!counted));
                self.begin_target(node, rules, state);
            }
        }
        if !over && rules.stopped(&step.targets) {
            // One may have been given up on after others were told to wait.
            self.withhold(step);
        }
        free
    }

    /// What hasn't begun says that it doesn't.
    fn withhold(&self, step: &mut StepState) {
        for state in step.targets.iter_mut().filter(|state| !state.cleared) {
            let waits = state.phase == TargetPhase::Pending && state.retry_at.is_none() && !state.retried;
            if waits && self.hold(&step.name, state).is_none() {
                put(state, "NotBegun", "not begun: nothing further begins, too much failed before");
            }
        }
    }

    fn wait_for_canary(&self, canary: Canary, named: &str, state: &mut TargetState) {
        if canary != Canary::Unproven {
            return put(state, "WaitingForCanary", &format!("waits until the canary group is well: {named}"));
        }
        let message = format!(
            "none of the canary group took the revision ({named}); try again with: fleetctl workflow retry {address} --target CLUSTER, or go on without: fleetctl workflow skip {address} --target CLUSTER --reason WHY",
            address = self.address(),
        );
        put(state, "CanaryNotProven", &message);
    }

    /// What the revision no longer reaches goes last, once everything else in the step is well.
    fn clear_targets(&mut self, node: &Node, rules: &Rules, step: &mut StepState, mut free: usize) {
        let over = step.phase.is_over();
        let others_over = step.targets.iter().all(|state| state.cleared || state.phase.is_over());
        let stopped = !over && rules.stopped(&step.targets);
        let exceeded = !over && rules.exceeded(&step.targets);
        for state in step.targets.iter_mut() {
            let waits = matches!(state.phase, TargetPhase::Pending | TargetPhase::Waiting);
            if !state.cleared || !waits || state.late != over {
                continue;
            }
            if (stopped || exceeded && others_over) && !state.retried {
                state.phase = TargetPhase::Pending;
                put(state, "NotBegun", "not begun: what is owned here stays, too much failed before");
                continue;
            }
            if self.hold(&step.name, state).is_some() || self.halted() {
                continue;
            }
            if state.phase == TargetPhase::Pending {
                state.phase = TargetPhase::Waiting;
                state.started_at = state.started_at.or(Some(self.now));
                put(state, "WaitingForOthers", "what is owned here goes once the other targets are done");
            }
            let fact = self.fact_of(&step.name, &state.target);
            if !fact.done || !others_over {
                if let Some(problem) = &fact.waiting_for {
                    say(state, problem);
                }
            } else if !self.is_silent_before_its_turn(&step.name, rules, state) && free > 0 {
                free -= 1;
                self.prune(rules, state);
                self.pruning(node, state, &fact);
            }
        }
    }

    /// The step's time is up, and what is only cleared isn't done, seen or not.
    fn end_clearing(&mut self, rules: &Rules, step: &mut StepState) {
        for at in 0..step.targets.len() {
            let Some(state) = step.targets.get_mut(at) else { continue };
            if state.cleared && !state.phase.is_over() && self.hold(&step.name, state).is_none() {
                self.out_of_time(rules, state, None);
            }
        }
    }

    /// Whether a target takes one of the places.
    fn is_busy(&self, step: &str, state: &TargetState) -> bool {
        match state.phase {
            TargetPhase::Delivering => true,
            // Before deletes that a person is asked about nothing is under way.
            TargetPhase::Pruning => state.guard.is_empty(),
            TargetPhase::Waiting => !state.cleared,
            TargetPhase::Pending if self.is_blocked(step, state) => true,
            // Between two tries.
            TargetPhase::Pending => state.retry_at.is_some() && self.hold(step, state).is_none(),
            _ => false,
        }
    }

    /// Whether a target will not go on by itself in a step that is stopped.
    fn is_withheld(&self, step: &str, state: &TargetState) -> bool {
        let held = self.hold(step, state).is_some();
        match state.phase {
            TargetPhase::Pending => held || state.retry_at.is_none() && !state.retried,
            TargetPhase::Waiting => state.cleared,
            TargetPhase::Pruning => self.bars(state),
            _ => false,
        }
    }

    /// What a step that is done says of targets that were passed over, or caught up since.
    fn sum_up_late(&self, rules: &Rules, step: &mut StepState) {
        let concerned = |state: &TargetState| state.late || state.phase == TargetPhase::Skipped;
        if !step.targets.iter().any(concerned) {
            return;
        }
        let (failed, exceeded) = (failures(&step.targets), rules.exceeded(&step.targets));
        (_, step.reason, step.message) = verdict(&step.targets, exceeded, failed, 0);
    }

    /// Sums up the targets of a step that acts.
    fn summarise(&self, rules: &Rules, step: &mut StepState) {
        let (failed, exceeded) = (failures(&step.targets), rules.exceeded(&step.targets));
        let open = || step.targets.iter().filter(|state| !state.phase.is_over());
        let withheld = open().all(|state| self.is_withheld(&step.name, state));
        let only_clears = open().all(|state| state.cleared);
        let ends = rules.stopped(&step.targets) && withheld || exceeded && only_clears && withheld;
        if open().next().is_none() || ends {
            let left = open().count();
            let stopped = exceeded || Canary::of(&step.targets) == Canary::Failed;
            let (phase, reason, message) = verdict(&step.targets, stopped, failed, left);
            return close(step, phase, &reason, &message, self.now);
        }
        let total = step.targets.len();
        let done = total - open().count();
        let turn = open().filter(|state| state.reason == "WaitingForTurn").count();
        let queue = if turn == 0 { String::new() } else { format!(", {turn} wait for their turn") };
        let first = open().max_by_key(|t| (!t.message.is_empty(), t.phase)).map(|first| {
            let reason = if first.reason.is_empty() { "NotBegun" } else { first.reason.as_str() };
            let what = if first.message.is_empty() { first.phase.as_str() } else { first.message.as_str() };
            (reason.to_owned(), format!("{}: {what}", first.target))
        });
        if let Some((reason, what)) = first {
            step.reason = reason;
            step.message = format!("{done} of {total} targets done{queue}; {what}");
        }
    }
}

/// How a step ended.
fn verdict(
    targets: &[TargetState],
    stopped: bool,
    failed: usize,
    left: usize,
) -> (StepPhase, String, String) {
    let first = targets.iter().find(|state| state.phase == TargetPhase::Failed);
    let told = first.map(|first| {
        let more = if failed > 1 { format!(" (and {} more)", failed - 1) } else { String::new() };
        format!("{}: {}{more}", first.target, first.message)
    });
    let told = told.unwrap_or_default();
    if stopped {
        let left = match left {
            0 => String::new(),
            1 => "; 1 target not begun".to_owned(),
            left => format!("; {left} targets not begun"),
        };
        let reason = first.map(|first| first.reason.clone()).unwrap_or_default();
        return (StepPhase::Failed, reason, format!("{told}{left}"));
    }
    let passed: Vec<&TargetState> =
        targets.iter().filter(|state| state.phase == TargetPhase::Skipped).collect();
    let owed = (!passed.is_empty()).then(|| format!("pending catch-up: {}", names(&passed)));
    let tolerated =
        (failed > 0).then(|| format!("{failed} of {} targets failed, as many may: {told}", targets.len()));
    let reason = match (&owed, &tolerated) {
        (Some(_), _) => "CatchUpPending",
        (None, Some(_)) => "WithinMaxFailures",
        (None, None) => "",
    };
    let said: Vec<String> = owed.into_iter().chain(tolerated).collect();
    (StepPhase::Succeeded, reason.to_owned(), said.join("; "))
}

/// The canary group, each with where it stands.
fn named(targets: &[TargetState]) -> String {
    let group = targets.iter().filter(|state| state.canary);
    few(group.map(|state| format!("{} {}", state.target, state.phase.as_str())), NAMED)
}

/// The first few, and how many more.
pub(super) fn names(targets: &[&TargetState]) -> String {
    few(targets.iter().map(|state| &state.target), NAMED)
}
