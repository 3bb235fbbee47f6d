//! One turn of the state machine.

mod gate;
mod target;
mod verdict;

use fleet_api::{GateOutcome, RunPhase, RunStatus, StepPhase, StepState, TargetPhase, TargetState};
use jiff::Timestamp;

use crate::{Command, Delivery, Facts, Graph, Node, OnDelete, Prune, StepKind, TargetFact};

/// What a turn yields.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// The state to record, before any command is carried out.
    pub status: RunStatus,
    /// What to carry out then. `Plan` commands come first of all: make them and take the turn again.
    pub commands: Vec<Command>,
    /// When to take another turn even if nothing happens.
    pub wake_at: Option<Timestamp>,
}

/// Takes the recorded state one turn further.
///
/// Deterministic: the same arguments give the same result. Taken again without new facts, it changes nothing.
pub fn advance(graph: &Graph, recorded: &RunStatus, facts: &Facts, now: Timestamp) -> Advance {
    let rejected = recorded.steps.iter().any(is_rejected);
    let mut turn =
        Turn { graph, facts, now, commands: Vec::new(), wake_at: None, rejected, barred: true, asks: false };
    let mut status = recorded.clone();
    if !status.phase.is_over() {
        status.started_at = status.started_at.or(Some(now));
        if status.steps.len() == graph.nodes.len() {
            let steps = || graph.nodes.iter().zip(&recorded.steps);
            turn.rejected |= steps().any(|(node, step)| turn.is_refused(node, step));
            turn.steps(graph, &mut status);
            turn.explain_gates(&mut status);
            turn.conclude(graph, &mut status);
        } else {
            turn.refuse(&mut status);
        }
    }
    if status.phase.is_over() {
        turn.commands.clear();
        turn.wake_at = None;
    }
    Advance { status, commands: turn.commands, wake_at: turn.wake_at }
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

    fn steps(&mut self, graph: &Graph, status: &mut RunStatus) {
        for index in graph.order() {
            let Some(node) = graph.nodes.get(index) else { continue };
            let before: Vec<StepPhase> =
                node.after.iter().filter_map(|earlier| status.steps.get(*earlier)).map(|s| s.phase).collect();
            let Some(step) = status.steps.get_mut(index) else { continue };
            if step.phase == StepPhase::Pending {
                if before.iter().any(|phase| matches!(phase, StepPhase::Failed | StepPhase::Skipped)) {
                    close(step, StepPhase::Skipped, "DependencyFailed", "a step before it failed", self.now);
                } else if before.iter().all(|phase| *phase == StepPhase::Succeeded) && !self.halted() {
                    self.begin(node, step);
                }
            }
            if step.phase == StepPhase::Suspending {
                self.gate(node, step);
            }
            if step.phase == StepPhase::Running {
                self.act(node, step);
            }
        }
    }

    /// The step's turn has come: its plan first, then its gate or its targets.
    fn begin(&mut self, node: &Node, step: &mut StepState) {
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
        step.started_at = Some(self.now);
        if matches!(node.kind, StepKind::Deploy(_)) {
            step.deadline = self.now.checked_add(node.timeout).ok();
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

    fn act(&mut self, node: &Node, step: &mut StepState) {
        if self.deletes_gate(node, step, false) {
            // The time that a person took is nobody's fault.
            step.deadline = self.now.checked_add(node.timeout).ok();
        }
        if self.holds(step) {
            // Whoever was held has the whole time from now on.
            step.deadline = self.now.checked_add(node.timeout).ok();
        }
        let out_of_time = step.deadline.is_some_and(|deadline| deadline <= self.now);
        self.barred = !step.gate.as_ref().is_some_and(fleet_api::Gate::is_open);
        self.asks = false;
        for state in &mut step.targets {
            self.target(node, state, out_of_time);
        }
        if self.asks && step.gate.is_none() && self.deletes_gate(node, step, true) {
            self.barred = false;
            for state in &mut step.targets {
                self.target(node, state, false);
            }
        }
        if let Some(deadline) = step.deadline {
            self.wake(deadline);
        }
        self.end_without_deletes(node, step);
        if step.phase == StepPhase::Running {
            summarise(step, self.now);
        }
    }

    /// Where the run stands, from where its steps stand.
    fn conclude(&mut self, graph: &Graph, status: &mut RunStatus) {
        let phases = || status.steps.iter().map(|step| step.phase);
        let running = || status.steps.iter().filter(|step| step.phase == StepPhase::Running);
        let any = |asked: &dyn Fn(&StepState, &TargetState) -> bool| {
            running().any(|step| step.targets.iter().any(|target| asked(step, target)))
        };
        let ends = self.facts.terminate || self.facts.superseded;
        let over = phases().all(StepPhase::is_over);
        if (self.rejected || ends && !over) && !any(&|step, target| self.is_sending(step, target)) {
            return self.cut_off(status);
        }
        let moves = any(&|step, target| self.moves(step, target));
        let (phase, reason, message) = if phases().all(|p| p == StepPhase::Succeeded) {
            (RunPhase::Succeeded, "Succeeded".to_owned(), String::new())
        } else if over {
            let failed = status.steps.iter().find(|step| step.phase == StepPhase::Failed);
            let text = failed.map_or_else(String::new, |s| format!("step {}: {}", s.name, s.message));
            let advice = format!("mend the cause, then: fleetctl workflow restart {}", self.address());
            let reason = failed.map_or_else(|| "Failed".to_owned(), |s| s.reason.clone());
            (RunPhase::Failed, reason, format!("{text}; {advice}"))
        } else if self.facts.suspend && !moves {
            let how =
                format!("suspended by a person; go on with: fleetctl workflow resume {}", self.address());
            (RunPhase::Suspending, "SuspendedByUser".to_owned(), how)
        } else if let Some(step) =
            running().find(|step| step.shut_gate().is_none() || !self.only_deletes_are_left(step))
        {
            let mut message = format!("step {}: {}", step.name, step.message);
            if self.facts.suspend {
                let resume = format!("fleetctl workflow resume {}", self.address());
                message = format!("{message}; suspended by a person, nothing further begins until: {resume}");
            }
            (RunPhase::Executing, step.reason.clone(), message)
        } else if let Some(step) = status.steps.iter().find(|step| step.shut_gate().is_some()) {
            (RunPhase::Suspending, step.reason.clone(), step.message.clone())
        } else {
            let next =
                graph.nodes.iter().zip(&status.steps).find(|(_, step)| step.phase == StepPhase::Pending);
            let name = next.map_or("", |(node, _)| node.name.as_str());
            (RunPhase::Executing, "Planning".to_owned(), format!("step {name}: its plan is being made"))
        };
        status.phase = phase;
        status.reason = reason;
        status.message = message;
        if phase.is_over() {
            status.ended_at = Some(self.now);
        }
    }

    fn fact(&self, step: &StepState, state: &TargetState) -> TargetFact {
        let key = (step.name.clone(), state.target.clone());
        self.facts.targets.get(&key).cloned().unwrap_or_default()
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
        status.reason = "RunNotRecorded".to_owned();
        let again = format!("fleetctl workflow restart {}", self.address());
        status.message =
            format!("the run's record doesn't list the steps of its workflow; start again with: {again}");
        status.ended_at = Some(self.now);
    }

    fn cut_off(&mut self, status: &mut RunStatus) {
        let again = format!("start again with: fleetctl workflow restart {}", self.address());
        let rejected = self.graph.nodes.iter().zip(&status.steps).find(|(_, step)| is_rejected(step));
        let rejected = rejected.and_then(|(node, step)| Some((node, step.gate.as_ref()?)));
        let (phase, reason, outcome, message) = if let Some((node, gate)) = rejected {
            let message = format!("step {}: {}; {again}", node.name, self.ended(node, gate).1);
            // Nobody said no at the other gates: they end with the run.
            (RunPhase::Terminated, "Rejected", GateOutcome::Terminated, message)
        } else if self.facts.terminate {
            let message = format!("ended by a person; {again}");
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
            close(step, end, reason, &message, self.now);
        }
        status.phase = phase;
        status.reason = reason.to_owned();
        status.message = message;
        status.ended_at = Some(self.now);
    }

    /// The Application as the command line addresses it.
    fn address(&self) -> String {
        format!("{} -n {}", self.facts.application, self.facts.namespace)
    }
}

fn close(step: &mut StepState, phase: StepPhase, reason: &str, message: &str, now: Timestamp) {
    step.phase = phase;
    step.reason = reason.to_owned();
    step.message = message.to_owned();
    step.ended_at = Some(now);
    step.deadline = None;
}

/// Sums up the targets of a step that acts.
fn summarise(step: &mut StepState, now: Timestamp) {
    if step.targets.iter().all(|t| t.phase.is_over()) {
        let failed: Vec<_> = step.targets.iter().filter(|t| t.phase == TargetPhase::Failed).collect();
        match failed.as_slice() {
            [] => close(step, StepPhase::Succeeded, "", "", now),
            [first, rest @ ..] => {
                let more =
                    if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
                let message = format!("{}: {}{more}", first.target, first.message);
                let reason = first.reason.clone();
                close(step, StepPhase::Failed, &reason, &message, now);
            }
        }
        return;
    }
    let done = step.targets.iter().filter(|t| t.phase.is_over()).count();
    let total = step.targets.len();
    let open = step.targets.iter().filter(|t| !t.phase.is_over());
    if let Some(first) = open.max_by_key(|t| (!t.message.is_empty(), t.phase)) {
        let reason = if first.reason.is_empty() { "NotBegun" } else { first.reason.as_str() };
        reason.clone_into(&mut step.reason);
        let what = if first.message.is_empty() { first.phase.as_str() } else { first.message.as_str() };
        step.message = format!("{done} of {total} targets done; {}: {what}", first.target);
    }
}
