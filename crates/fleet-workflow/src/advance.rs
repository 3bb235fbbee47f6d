//! One turn of the state machine.

mod again;
mod due;
mod gate;
mod group;
mod late;
mod measure;
mod output;
mod permit;
mod target;
mod verdict;
mod wave;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{
    Deed, GateOutcome, Intervention, RunPhase, RunStatus, StepPhase, StepState, Target, TargetPhase,
    TargetState,
};
use jiff::Timestamp;

use self::due::{Due, Spoiled, went_well};
use self::wave::Rules;
use crate::graph::OnFailure;
use crate::{Command, Delivery, Facts, Graph, Node, OnDelete, Problem, Prune, StepKind, TargetFact};

pub use self::due::CONDITION_FALSE;

/// How many deeds of people are kept.
const KEPT: usize = 50;
/// How many steps that act at once are named beside the first.
const NAMED: usize = 2;

/// What a turn yields.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// The state to record, before any command is carried out.
    pub status: RunStatus,
    /// What to carry out then. `Plan` commands come first of all: make them and take the turn again.
    pub commands: Vec<Command>,
    /// When to take another turn even if nothing happens.
    pub wake_at: Option<Timestamp>,
    /// The clusters on which the run acts, or wants to next; empty where runs take no turns.
    pub claims: BTreeSet<String>,
}

/// Takes the recorded state one turn further.
///
/// Deterministic: the same arguments give the same result. Taken again without new facts, it changes nothing.
pub fn advance(graph: &Graph, recorded: &RunStatus, facts: &Facts, now: Timestamp) -> Advance {
    let rejected = recorded.steps.iter().any(is_rejected);
    let mut turn = Turn {
        graph,
        facts,
        now,
        commands: Vec::new(),
        wake_at: None,
        rejected,
        barred: true,
        asks: false,
        shut: BTreeMap::new(),
        blocked: BTreeMap::new(),
        wishes: BTreeSet::new(),
        found: BTreeMap::new(),
    };
    let mut status = recorded.clone();
    turn.answer(graph, &mut status);
    turn.walk(graph, &mut status);
    // What waited until something on its way had ended: it may have ended for good in this turn.
    if turn.answer(graph, &mut status) {
        turn.commands.clear();
        turn.wake_at = None;
        turn.wishes.clear();
        turn.walk(graph, &mut status);
    }
    if status.phase.is_over() {
        turn.commands.clear();
        turn.wake_at = None;
    }
    let claims = turn.claims(&status);
    Advance { status, commands: turn.commands, wake_at: turn.wake_at, claims }
}

/// Targets that an earlier step owes something; whether it passed them over, rather than being about to catch up.
type Owed = BTreeMap<Target, bool>;

/// What is known of the steps before one.
#[derive(Default)]
struct Known {
    /// Where later steps wait until an earlier one has caught up.
    owed: Owed,
    spoiled: Spoiled,
}

struct Turn<'a> {
    graph: &'a Graph,
    facts: &'a Facts,
    now: Timestamp,
    commands: Vec<Command>,
    wake_at: Option<Timestamp>,
    /// Somebody said no: nothing further begins.
    rejected: bool,
    /// Whether guarded deletes of the step that is looked at wait for a person.
    barred: bool,
    /// Whether one of its targets has come to such deletes.
    asks: bool,
    /// Targets whose time windows are shut.
    shut: BTreeMap<(String, Target), Problem>,
    /// Targets on whose clusters other runs act, by step.
    blocked: BTreeMap<(String, Target), Problem>,
    /// Clusters on which something would have begun in this turn.
    wishes: BTreeSet<String>,
    /// What steps found in this turn, for their outputs.
    found: BTreeMap<String, serde_json::Value>,
}

fn is_rejected(step: &StepState) -> bool {
    step.gate.as_ref().is_some_and(|gate| gate.outcome == GateOutcome::Rejected)
}

impl Turn<'_> {
    /// Whether no further step or target may begin.
    fn halted(&self) -> bool {
        self.facts.suspend || self.facts.terminate || self.facts.superseded || self.rejected
    }

    /// Asks for a turn at a time to come; what is due already was looked at in this one.
    fn wake(&mut self, at: Timestamp) {
        if at > self.now {
            self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
        }
    }

    fn walk(&mut self, graph: &Graph, status: &mut RunStatus) {
        if status.phase.is_over() {
            return;
        }
        status.started_at = status.started_at.or(Some(self.now));
        self.note_suspension(status);
        if status.steps.len() == graph.nodes.len() {
            self.rejected |=
                graph.nodes.iter().zip(&status.steps).any(|(node, step)| self.is_refused(node, step));
            self.steps(graph, status);
            self.explain_gates(status);
            self.explain_groups(status);
            self.conclude(graph, status);
        } else {
            self.refuse(status);
        }
    }

    fn steps(&mut self, graph: &Graph, status: &mut RunStatus) {
        let mut known = Known::default();
        for index in graph.order() {
            let Some(node) = graph.nodes.get(index) else { continue };
            if let Some(group) = node.group {
                self.open(status, group, &known.spoiled);
            }
            let was = status.steps.get(index).map(|step| step.phase);
            if node.kind == StepKind::Group {
                self.sum_up(status, index);
            } else {
                self.step(graph, status, index, &known);
            }
            let is = status.steps.get(index).map(|step| step.phase);
            if was != is && is == Some(StepPhase::Succeeded) {
                self.hand_out(status, index);
            }
            if self.is_spoiled(status, index, &known.spoiled) {
                known.spoiled.insert(index);
            }
            for state in status.steps.get(index).iter().flat_map(|step| &step.targets) {
                let passed = state.skipped.as_ref().is_some_and(|skip| !skip.held);
                if passed || state.late && !state.phase.is_over() {
                    *known.owed.entry(state.target.clone()).or_default() |= passed;
                }
            }
        }
    }

    fn step(&mut self, graph: &Graph, status: &mut RunStatus, index: usize, known: &Known) {
        let pending = status.steps.get(index).is_some_and(|step| step.phase == StepPhase::Pending);
        let due = if pending { self.due(status, index, &known.spoiled) } else { Due::Now };
        let Some(bound) = graph.bound(index, &status.steps).filter(|_| due != Due::Later) else { return };
        let group = graph.nodes.get(index).and_then(|node| node.group);
        let limit = group.and_then(|group| status.steps.get(group)).and_then(|group| group.deadline);
        let Some(step) = status.steps.get_mut(index) else { return };
        if step.phase.is_over() {
            // It may still have targets that catch up.
            let delivers = |node: &&Node| !matches!(node.kind, StepKind::Measure(_));
            let late = graph.nodes.get(index).filter(delivers);
            if let (StepPhase::Succeeded, Some(node)) = (step.phase, late) {
                self.clock(step);
                self.act(node, step, &known.owed);
                self.clock(step);
            }
            return;
        }
        let node = match (due, bound) {
            (Due::Never(reason, message), _) => {
                return close(step, StepPhase::Skipped, &reason, &message, self.now);
            }
            (Due::Wrong(problem), _) | (_, Err(problem)) => {
                return close(step, StepPhase::Failed, &problem.reason, &problem.message, self.now);
            }
            (_, Ok(node)) => node,
        };
        let node = node.as_ref();
        self.clock(step);
        if step.phase == StepPhase::Pending {
            self.begin(node, step);
        }
        if step.phase == StepPhase::Suspending {
            self.bound_wait(node, step, limit);
            self.gate(node, step);
            if step.phase == StepPhase::Suspending && self.is_late(step) {
                let time = node.waits_at_most.unwrap_or(node.timeout);
                let message = format!("nobody opened it within its time of {time:#}");
                close(step, StepPhase::Failed, "Timeout", &message, self.now);
            }
        }
        if step.phase == StepPhase::Running && !self.waits_to_retry(node, step) {
            self.bound_wait(node, step, limit);
            let deadline = step.deadline;
            match &node.kind {
                StepKind::Measure(measure) => self.measure(node, measure, step),
                _ => self.act(node, step, &known.owed),
            }
            if step.phase == StepPhase::Failed {
                self.try_again(node, step, deadline);
            }
        }
        self.bound_wait(node, step, limit);
        self.clock(step);
    }

    /// The step's turn has come: its plan first, then its gate or its targets.
    fn begin(&mut self, node: &Node, step: &mut StepState) {
        if !self.may_begin(node, step) {
            return;
        }
        match self.facts.plans.get(&node.name) {
            None => self.commands.push(Command::Plan { step: node.name.clone() }),
            Some(Err(problem)) => {
                close(step, StepPhase::Failed, &problem.reason, &problem.message, self.now);
            }
            Some(Ok(plan)) if node.kind.is_gated() || step.ask => self.shut_gate(node, step, plan),
            Some(Ok(plan)) => {
                step.plan_hash.clone_from(&plan.hash);
                self.start(node, step);
            }
        }
    }

    fn start(&mut self, node: &Node, step: &mut StepState) {
        self.guard(node, step);
        step.phase = StepPhase::Running;
        step.reason.clear();
        step.message.clear();
        step.started_at = step.started_at.or(Some(self.now));
        if matches!(node.kind, StepKind::Deploy(_) | StepKind::Measure(_)) {
            step.deadline = self.now.checked_add(Rules::of(node, step).whole).ok();
        }
    }

    /// Notes where a person is asked before deletes. What was approved with the step needs no second question.
    fn guard(&self, node: &Node, step: &mut StepState) {
        let asks = matches!(&node.kind, StepKind::Deploy(deploy) if deploy.on_delete == OnDelete::Approve);
        let plan = self.facts.plans.get(&node.name).and_then(|plan| plan.as_ref().ok());
        let Some(plan) = plan.filter(|_| asks && step.gate.is_none()) else { return };
        for state in &mut step.targets {
            state.guard = plan.guarded.get(&state.target).cloned().unwrap_or_default();
        }
    }

    /// Where the run stands, from where its steps stand.
    fn conclude(&mut self, graph: &Graph, status: &mut RunStatus) {
        let phases = || status.steps.iter().map(|step| step.phase);
        // A group is where its steps are.
        let groups = |at: usize| graph.nodes.get(at).is_some_and(|node| node.kind == StepKind::Group);
        let acting = status.steps.iter().enumerate().filter(|(at, _)| !groups(*at)).map(|(_, step)| step);
        let running = || acting.clone().filter(|step| step.phase == StepPhase::Running);
        let any = |asked: &dyn Fn(&StepState, &TargetState) -> bool| {
            status.steps.iter().any(|step| {
                let acts = step.phase == StepPhase::Running;
                step.targets.iter().filter(|state| acts || state.late).any(|target| asked(step, target))
            })
        };
        let ends = self.facts.terminate || self.facts.superseded;
        let done = status.steps.iter().all(went_well);
        let ended = phases().all(StepPhase::is_over);
        let left = if ended { self.left_over(status, done) } else { None };
        let over = ended && left.is_none();
        if (self.rejected || ends && !over) && !any(&|step, target| self.is_sending(step, target)) {
            return self.cut_off(status);
        }
        let moves = any(&|step, target| self.moves(step, target));
        let late_failure = if done { late_failure(graph, status) } else { None };
        let stands_still = self.facts.suspend && !moves;
        let (phase, reason, message) = if let Some((reason, message)) = left {
            let asks = status.steps.iter().find(|step| step.shut_gate().is_some());
            if let Some(step) = asks.filter(|step| self.only_deletes_are_left(step)) {
                (RunPhase::Suspending, step.reason.clone(), step.message.clone())
            } else if stands_still && reason == "CatchingUp" {
                (RunPhase::Suspending, "SuspendedByUser".to_owned(), self.suspended())
            } else {
                (RunPhase::Executing, reason.to_owned(), message)
            }
        } else if done && late_failure.is_none() {
            (RunPhase::Succeeded, "Succeeded".to_owned(), String::new())
        } else if over {
            let is_failed = |step: &&StepState| step.phase == StepPhase::Failed;
            let failed = acting.clone().find(is_failed).or(status.steps.iter().find(is_failed));
            let failed = late_failure.or(failed);
            let text = failed.map_or_else(String::new, |s| format!("step {}: {}", s.name, s.message));
            let mut advice = format!("mend the cause, then: {}", self.again());
            let target = failed.into_iter().flat_map(|step| &step.targets);
            let target = target.into_iter().find(|state| state.phase == TargetPhase::Failed);
            if let Some(target) = target {
                let cluster = &target.target.cluster;
                advice = format!(
                    "{advice}; or there alone: fleetctl workflow retry {} --target {cluster}",
                    self.address()
                );
            }
            let reason = failed.map_or_else(|| "Failed".to_owned(), |s| s.reason.clone());
            (RunPhase::Failed, reason, format!("{text}; {advice}"))
        } else if stands_still {
            (RunPhase::Suspending, "SuspendedByUser".to_owned(), self.suspended())
        } else if let Some(step) =
            running().find(|step| step.shut_gate().is_none() || !self.only_deletes_are_left(step))
        {
            let mut message = together(step, running());
            if self.facts.suspend {
                let resume = format!("fleetctl workflow resume {}", self.address());
                message = format!("{message}; suspended by a person, nothing further begins until: {resume}");
            }
            (RunPhase::Executing, step.reason.clone(), message)
        } else if let Some(step) = status.steps.iter().find(|step| step.shut_gate().is_some()) {
            (RunPhase::Suspending, step.reason.clone(), step.message.clone())
        } else if let Some(step) =
            status.steps.iter().find(|step| step.phase == StepPhase::Pending && window::is_shut(step))
        {
            (RunPhase::Executing, step.reason.clone(), format!("step {}: {}", step.name, step.message))
        } else {
            let next =
                graph.nodes.iter().zip(&status.steps).find(|(_, step)| step.phase == StepPhase::Pending);
            let name = next.map_or("", |(node, _)| node.name.as_str());
            (RunPhase::Executing, "Planning".to_owned(), format!("step {name}: its plan is being made"))
        };
        status.rollback_wanted = phase == RunPhase::Failed && wants_rollback(graph, status);
        status.phase = phase;
        status.reason = reason;
        status.message = message;
        if phase.is_over() {
            status.ended_at = Some(self.now);
        }
    }

    fn fact(&self, step: &StepState, state: &TargetState) -> TargetFact {
        self.fact_of(&step.name, &state.target)
    }

    fn fact_of(&self, step: &str, target: &Target) -> TargetFact {
        self.facts.targets.get(&(step.to_owned(), target.clone())).cloned().unwrap_or_default()
    }

    /// Whether requests to the target are under way.
    fn is_sending(&self, step: &StepState, state: &TargetState) -> bool {
        match state.phase {
            TargetPhase::Delivering => self.fact(step, state).delivery == Delivery::Running,
            TargetPhase::Pruning => self.fact(step, state).prune == Prune::Running,
            _ => false,
        }
    }

    /// Whether the target goes on although nothing new may begin.
    fn moves(&self, step: &StepState, state: &TargetState) -> bool {
        match state.phase {
            TargetPhase::Delivering => self.fact(step, state).delivery != Delivery::Idle,
            TargetPhase::Waiting => true,
            TargetPhase::Pruning => self.fact(step, state).prune != Prune::Idle,
            _ => false,
        }
    }

    /// A record that doesn't list the workflow's steps can't be walked, and must not pass for one that is done.
    fn refuse(&self, status: &mut RunStatus) {
        status.phase = RunPhase::Failed;
        let (reason, why) = match &self.facts.lost_revision {
            Some(name) => (
                "RevisionLost",
                format!("ApplicationRevision {name} was deleted, so nobody knows what is left to deliver"),
            ),
            None => ("RunNotRecorded", "the run's record doesn't list the steps of its workflow".to_owned()),
        };
        reason.clone_into(&mut status.reason);
        status.message = format!("{why}; start again with: {}", self.again());
        status.ended_at = Some(self.now);
    }

    fn cut_off(&mut self, status: &mut RunStatus) {
        let again = format!("start again with: {}", self.again());
        let rejected = self.graph.nodes.iter().zip(&status.steps).find(|(_, step)| is_rejected(step));
        let rejected = rejected.and_then(|(node, step)| Some((node, step.gate.as_ref()?)));
        let (phase, reason, outcome, message) = if let Some((node, gate)) = rejected {
            let message = format!("step {}: {}; {again}", node.name, self.ended(node, gate).1);
            // Nobody said no at the other gates: they end with the run.
            (RunPhase::Terminated, "Rejected", GateOutcome::Terminated, message)
        } else if self.facts.terminate {
            let by = self.facts.terminated_by.clone();
            self.note(status, Deed::Terminated, &by);
            let message = format!("ended by a person{}; {again}", said_by(&by));
            (RunPhase::Terminated, "Terminated", GateOutcome::Terminated, message)
        } else {
            let message = "a newer revision took over".to_owned();
            (RunPhase::Superseded, "Superseded", GateOutcome::Superseded, message)
        };
        for step in status.steps.iter_mut().filter(|step| !step.phase.is_over()) {
            let acted = step.phase == StepPhase::Running;
            let fails = acted && phase == RunPhase::Terminated;
            if let Some(gate) = step.gate.as_mut().filter(|gate| gate.is_shut()) {
                gate.outcome = outcome;
            }
            let end = if fails { StepPhase::Failed } else { StepPhase::Skipped };
            for state in step.targets.iter_mut().filter(|state| !state.phase.is_over()) {
                cut_short(state, reason);
            }
            close(step, end, reason, &message, self.now);
        }
        status.phase = phase;
        status.reason = reason.to_owned();
        status.message = message;
        status.ended_at = Some(self.now);
    }

    /// Notes that a person stopped the run, or let it go on.
    fn note_suspension(&self, status: &mut RunStatus) {
        let last = status.interventions.iter().rfind(|one| one.deed != Deed::Terminated);
        let stopped = last.is_some_and(|last| last.deed == Deed::Suspended);
        let deed = match (self.facts.suspend, stopped) {
            (true, false) => Deed::Suspended,
            (false, true) => Deed::Resumed,
            (true, true) | (false, false) => return,
        };
        self.note(status, deed, &self.facts.suspended_by);
    }

    fn note(&self, status: &mut RunStatus, deed: Deed, by: &str) {
        status.interventions.push(Intervention { deed, by: by.to_owned(), at: Some(self.now) });
        let surplus = status.interventions.len().saturating_sub(KEPT);
        status.interventions.drain(..surplus);
    }

    fn suspended(&self) -> String {
        let by = said_by(&self.facts.suspended_by);
        format!("suspended by a person{by}; go on with: fleetctl workflow resume {}", self.address())
    }

    /// The command that begins anew.
    fn again(&self) -> String {
        let restart = || format!("fleetctl workflow restart {}", self.address());
        self.facts.again.clone().unwrap_or_else(restart)
    }

    /// The Application as the command line addresses it.
    fn address(&self) -> String {
        format!("{} -n {}", self.facts.application, self.facts.namespace)
    }
}

/// What is waited for on a target isn't any more; how far it came stays on record.
fn cut_short(state: &mut TargetState, reason: &str) {
    let message = match state.phase {
        TargetPhase::Delivering => "the run ended while objects were being sent",
        TargetPhase::Waiting if state.cleared => "the run ended before what is owned here was deleted",
        TargetPhase::Waiting => "everything was sent; the run ended before it was done here",
        TargetPhase::Pruning => "everything is well; the run ended before what is left over was deleted",
        _ => return target::put(state, "NotBegun", "not begun: the run ended before"),
    };
    target::put(state, reason, message);
}

/// Who, in brackets.
fn said_by(who: &str) -> String {
    if who.is_empty() { String::new() } else { format!(" ({who})") }
}

fn close(step: &mut StepState, phase: StepPhase, reason: &str, message: &str, now: Timestamp) {
    step.phase = phase;
    step.reason = reason.to_owned();
    step.message = message.to_owned();
    step.ended_at = Some(now);
    step.deadline = None;
    step.paused_since = None;
    step.retry_at = None;
}

/// What a step that acts waits for, and what those that act beside it do.
fn together<'s>(first: &StepState, running: impl Iterator<Item = &'s StepState>) -> String {
    let others: Vec<&StepState> = running.filter(|step| step.name != first.name).collect();
    let mut message = format!("step {}: {}", first.name, first.message);
    for step in others.iter().take(NAMED) {
        message = format!("{message}; step {}: {}", step.name, step.message);
    }
    if others.len() > NAMED {
        message = format!("{message} (and {} more)", others.len() - NAMED);
    }
    message
}

/// A step that was done, and one of whose targets failed while it caught up, beyond how many may.
fn late_failure<'s>(graph: &Graph, status: &'s RunStatus) -> Option<&'s StepState> {
    let steps = graph.nodes.iter().zip(&status.steps);
    let mut failed = steps.filter(|(node, step)| Rules::of(node, step).exceeded(&step.targets));
    failed.next().map(|(_, step)| step)
}

/// Whether a step failed that asks for the revision before.
fn wants_rollback(graph: &Graph, status: &RunStatus) -> bool {
    graph.nodes.iter().zip(&status.steps).any(|(node, step)| {
        let asks = matches!(&node.kind, StepKind::Deploy(deploy) if deploy.on_failure == OnFailure::Rollback);
        asks && step.phase == StepPhase::Failed
    })
}
