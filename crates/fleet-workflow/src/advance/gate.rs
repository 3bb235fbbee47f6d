//! Gates: where a step waits for people or a time, before it acts or before what it deletes.

use std::collections::BTreeSet;

use fleet_api::{
    ApprovalRecord, Gate, GateBefore, GateOutcome, RunStatus, StepPhase, StepState, TargetPhase, TargetState,
};

use super::measure::{accept, inconclusive};
use super::verdict::{self, Verdict, record};
use super::window::is_shut;
use super::{Turn, close};
use crate::{ApprovalRule, Authors, Node, PlanFact, StepKind};

/// The reason of a step whose approvers may not approve.
const POWERLESS: &str = "GroupMayNotApprove";

/// What a turn makes of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Waits,
    Opens,
    Ends,
}

impl Turn<'_> {
    /// Shuts the gate before a step.
    pub(super) fn shut_gate(&mut self, node: &Node, step: &mut StepState, plan: &PlanFact) {
        let duration = match &node.kind {
            StepKind::Suspend(suspend) => suspend.duration,
            StepKind::Deploy(_) | StepKind::Group | StepKind::Measure(_) => None,
        };
        step.phase = StepPhase::Suspending;
        let gate = self.new_gate(node, GateBefore::Step, &plan.hash);
        step.gate = Some(Gate {
            opens_at: duration.and_then(|duration| self.now.checked_add(duration).ok()),
            ..gate
        });
    }

    pub(super) fn new_gate(&self, node: &Node, before: GateBefore, plan_hash: &str) -> Gate {
        let rule = self.rule(node);
        let expires = rule.and_then(|rule| rule.expires_after);
        Gate {
            plan_hash: plan_hash.to_owned(),
            before,
            since: Some(self.now),
            expires_at: expires.and_then(|after| self.now.checked_add(after).ok()),
            required: rule.map(|rule| rule.required),
            groups: rule.map(|rule| rule.groups.iter().cloned().collect()).unwrap_or_default(),
            ..Gate::default()
        }
    }

    /// What the gates of a step demand: what it says itself, else what the nearest gate before it says, for those who
    /// are asked on its behalf.
    pub(super) fn rule(&self, node: &Node) -> Option<&ApprovalRule> {
        let own = self.graph.node(&node.name)?;
        let mut nodes = vec![own];
        let mut at = 0;
        while let Some(node) = nodes.get(at).copied() {
            if node.approval.is_some() {
                return node.approval.as_ref();
            }
            // A gate without demands stands for itself.
            if !node.kind.is_gated() {
                let before = self.graph.position(&node.name).map(|at| self.graph.awaited_to_begin(at));
                let before: Vec<usize> = before.unwrap_or_default();
                let before = before.iter().rev().filter_map(|index| self.graph.nodes.get(*index));
                let new: Vec<&Node> =
                    before.filter(|n| nodes.iter().all(|known| known.name != n.name)).collect();
                nodes.extend(new);
            }
            at += 1;
        }
        None
    }

    /// A gate before a step: has somebody opened it for the plan as it is now?
    pub(super) fn gate(&mut self, node: &Node, step: &mut StepState) {
        let Some(mut gate) = step.gate.take() else { return };
        // A gate opens for a plan that is known; until it is made again after a restart, approvals wait.
        let plan = match self.facts.plans.get(&node.name) {
            Some(Ok(plan)) => Some(plan),
            _ if self.is_expired(&gate) => None,
            None => {
                self.commands.push(crate::Command::Plan { step: node.name.clone() });
                self.wake_for(&gate);
                step.gate = Some(gate);
                return;
            }
            Some(Err(problem)) => {
                step.reason.clone_from(&problem.reason);
                step.message.clone_from(&problem.message);
                self.wake_for(&gate);
                step.gate = Some(gate);
                return;
            }
        };
        if let Some(plan) = plan {
            gate.plan_hash.clone_from(&plan.hash);
        }
        let judged = self.judge(node, &mut gate);
        match judged {
            Judged::Waits => self.wake_for(&gate),
            Judged::Opens => step.plan_hash.clone_from(&gate.plan_hash),
            Judged::Ends => {
                let (reason, message) = self.ended(node, &gate);
                close(step, StepPhase::Failed, reason, &message, self.now);
            }
        }
        step.gate = Some(gate);
        if judged == Judged::Opens {
            accept(step);
            self.start(node, step);
        }
    }

    /// The gate before what a step deletes; shut once a target asks. True where it is opened in this turn.
    pub(super) fn deletes_gate(&mut self, node: &Node, step: &mut StepState, asked: bool) -> bool {
        if step.gate.is_none() && asked {
            step.gate = Some(self.new_gate(node, GateBefore::Deletes, &step.plan_hash));
        }
        // A step that is over hears nobody, unless something that catches up waits there.
        let shut = step.shut_gate().is_some_and(|gate| gate.before == GateBefore::Deletes);
        let Some(mut gate) = step.gate.take_if(|_| shut) else { return false };
        let judged = self.judge(node, &mut gate);
        if judged == Judged::Waits {
            self.wake_for(&gate);
        }
        step.gate = Some(gate);
        judged == Judged::Opens
    }

    /// Ends a step whose deletes nobody will agree to any more, once everything else in it is done.
    pub(super) fn end_without_deletes(&self, node: &Node, step: &mut StepState) {
        let Some(gate) = step.gate.clone().filter(|gate| gate.before == GateBefore::Deletes) else { return };
        let refused = matches!(gate.outcome, GateOutcome::Rejected | GateOutcome::Expired);
        if refused && self.only_deletes_are_left(step) {
            let (reason, message) = self.ended(node, &gate);
            close(step, StepPhase::Failed, reason, &message, self.now);
        }
    }

    /// Whether all that is left to do in a step that acts is what a person is asked about.
    pub(super) fn only_deletes_are_left(&self, step: &StepState) -> bool {
        let barred = |state: &TargetState| {
            step.bars(state) && self.hold(&step.name, state).is_none() && !self.moves(step, state)
        };
        // What is cleared waits for the others, which wait for the person.
        let waits = |state: &TargetState| state.cleared && state.phase != TargetPhase::Pruning;
        let mut open = step.targets.iter().filter(|state| !state.phase.is_over());
        open.clone().any(barred) && open.all(|state| barred(state) || waits(state))
    }

    /// Whether somebody has said no at a gate that waits.
    pub(super) fn is_refused(&self, node: &Node, step: &StepState) -> bool {
        let ends = self.facts.terminate || self.facts.superseded;
        let Some(gate) = step.shut_gate().filter(|gate| !ends && !self.is_expired(gate)) else {
            return false;
        };
        let mut gate = gate.clone();
        if gate.before == GateBefore::Step {
            let Some(Ok(plan)) = self.facts.plans.get(&node.name) else { return false };
            gate.plan_hash.clone_from(&plan.hash);
        }
        Verdict::of(self, node, &gate).rejection.is_some()
    }

    /// Says at each gate that waits what it waits for, once it is known where every step stands.
    pub(super) fn explain_gates(&self, status: &mut RunStatus) {
        let asking: BTreeSet<String> = self
            .graph
            .nodes
            .iter()
            .zip(&status.steps)
            .filter(|(node, step)| {
                step.gate.is_some() || !step.phase.is_over() && (node.kind.is_gated() || step.ask)
            })
            .map(|(node, _)| node.name.clone())
            .collect();
        let bound = |at: usize| self.graph.bound(at, &status.steps).and_then(Result::ok);
        let bound: Vec<_> = (0..self.graph.nodes.len()).map(bound).collect();
        for ((node, bound), step) in self.graph.nodes.iter().zip(&bound).zip(&mut status.steps) {
            let node = bound.as_deref().unwrap_or(node);
            self.foretell(node, step);
            if step.shut_gate().is_none() {
                continue;
            }
            let Some(mut gate) = step.gate.take() else { continue };
            if !self.facts.terminate && !self.facts.superseded {
                verdict::add_astray(&mut gate, &self.facts.approvals, &asking);
            }
            step.gate = Some(gate.clone());
            let about = match gate.before {
                GateBefore::Step => match self.facts.plans.get(&node.name) {
                    Some(Ok(plan)) => plan.summary.clone(),
                    _ => continue,
                },
                GateBefore::Deletes if self.only_deletes_are_left(step) => guarded(step),
                GateBefore::Deletes => continue,
            };
            self.explain(node, step, &gate, &about);
        }
    }

    /// Says of a gate that hasn't shut yet which groups nothing lets approve: hours before anybody waits there.
    fn foretell(&self, node: &Node, step: &mut StepState) {
        if step.phase != StepPhase::Pending || is_shut(step) {
            return;
        }
        let groups = node.approval.iter().flat_map(|rule| &rule.groups);
        let known: Vec<&str> =
            groups.filter_map(|group| self.facts.powerless.get(group).map(String::as_str)).collect();
        step.reason = if known.is_empty() { String::new() } else { POWERLESS.to_owned() };
        step.message = known.join("; ");
    }

    fn is_expired(&self, gate: &Gate) -> bool {
        gate.expires_at.is_some_and(|at| at <= self.now)
    }

    fn wake_for(&mut self, gate: &Gate) {
        for at in [gate.opens_at, gate.expires_at].into_iter().flatten() {
            self.wake(at);
        }
    }

    /// Looks at every decision there is.
    fn judge(&mut self, node: &Node, gate: &mut Gate) -> Judged {
        if self.facts.terminate || self.facts.superseded {
            return Judged::Waits;
        }
        let verdict = Verdict::of(self, node, gate);
        let Verdict { counted, rejection, refused } = verdict;
        gate.refused = refused;
        let required = self.rule(node).map(|rule| rule.required as usize);
        let kept = std::mem::take(&mut gate.approvals);
        let now = self.now;
        let noted = |fact: &&crate::ApprovalFact| {
            kept.iter()
                .find(|known| known.approval == fact.name)
                .cloned()
                .unwrap_or_else(|| record(fact, now))
        };
        if required.is_some() {
            gate.approvals = counted.iter().map(noted).collect();
        }
        if self.is_expired(gate) {
            gate.outcome = GateOutcome::Expired;
            return Judged::Ends;
        }
        if let Some(rejection) = rejection {
            gate.rejection = Some(record(rejection, now));
            gate.outcome = GateOutcome::Rejected;
            self.rejected = true;
            return Judged::Ends;
        }
        let unidentified = |approver: &str, proven: bool, reason: &str| ApprovalRecord {
            approver: approver.to_owned(),
            proven,
            reason: reason.to_owned(),
            plan_hash: gate.plan_hash.clone(),
            at: Some(now),
            ..ApprovalRecord::default()
        };
        let last = required.unwrap_or(1).saturating_sub(1);
        let opened = counted.get(last).map(|fact| record(fact, now)).or_else(|| {
            // Existing tools resume in this way; nobody can be proved by it.
            let by_hand = required.is_none() && self.facts.cleared_by_hand.as_ref() == Some(&node.name);
            by_hand.then(|| {
                unidentified("unidentified", false, "status.workflow.suspend was set to false by hand")
            })
        });
        let opened = opened.or_else(|| {
            let by_time = required.is_none() && gate.opens_at.is_some_and(|at| at <= now);
            by_time.then(|| unidentified("the step's duration", true, "its time was up"))
        });
        match opened {
            Some(approval) => {
                gate.approval = Some(approval);
                gate.outcome = GateOutcome::Approved;
                Judged::Opens
            }
            None => Judged::Waits,
        }
    }

    /// Why a gate ended without being opened, for the step that ends with it.
    pub(super) fn ended(&self, node: &Node, gate: &Gate) -> (&'static str, String) {
        let plan = &gate.plan_hash;
        match &gate.rejection {
            Some(by) => {
                let proof = if by.proven { "" } else { " (not proved)" };
                let why = if by.reason.is_empty() { String::new() } else { format!(": {}", by.reason) };
                ("Rejected", format!("plan {plan} was rejected by {}{proof}{why}", by.approver))
            }
            None => {
                let after = self.rule(node).and_then(|rule| rule.expires_after).unwrap_or_default();
                let had = gate.approvals.len();
                let wanted = gate.required.unwrap_or(1);
                let message = format!(
                    "plan {plan} had {had} of {wanted} approvals when the gate expired, {after:#} after it was shut; \
                     what was approved is void"
                );
                ("Expired", message)
            }
        }
    }

    fn explain(&self, node: &Node, step: &mut StepState, gate: &Gate, about: &str) {
        let said = match &node.kind {
            StepKind::Suspend(suspend) => {
                suspend.message.as_ref().map_or_else(String::new, |m| format!("{m}; "))
            }
            StepKind::Measure(_) => inconclusive(step).unwrap_or_default(),
            StepKind::Deploy(_) | StepKind::Group => String::new(),
        };
        let until = match (gate.opens_at, gate.expires_at) {
            (Some(at), _) => format!(" (goes on by itself at {at})"),
            (None, Some(at)) => format!(" (expires at {at})"),
            (None, None) => String::new(),
        };
        let what = match gate.before {
            GateBefore::Step => "waits for approval",
            GateBefore::Deletes => "waits for approval of what it deletes",
        };
        let (reason, demands) = self.demands(node, gate);
        step.reason = match &node.kind {
            StepKind::Measure(_) => "Inconclusive".to_owned(),
            _ => reason,
        };
        step.message = format!(
            "step {} {what}{until}: {demands}{said}{about}; look with: fleetctl plan {address}, go on with: fleetctl workflow resume {address}",
            node.name,
            address = self.address(),
        );
    }

    /// What is still missing, where approvers are demanded.
    fn demands(&self, node: &Node, gate: &Gate) -> (String, String) {
        let waiting = "WaitingForApproval".to_owned();
        let Some(rule) = self.rule(node) else { return (waiting, String::new()) };
        let mut said = String::new();
        let mut reason = waiting;
        if !rule.groups.is_empty() && rule.groups.iter().all(|g| self.facts.powerless.contains_key(g)) {
            reason = POWERLESS.to_owned();
        }
        if let Authors::Unrecorded(why) = &self.facts.authors
            && rule.exclude_author
        {
            reason = "AuthorUnknown".to_owned();
            said = format!("nobody can open it, as whoever changed the spec may not approve: {why}; ");
        }
        if let Some(problem) = &self.facts.unproved {
            reason.clone_from(&problem.reason);
            said = format!("{}; ", problem.message);
        }
        let who: Vec<&str> = gate.approvals.iter().map(|approval| approval.approver.as_str()).collect();
        let who = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
        let groups: Vec<&str> = rule.groups.iter().map(String::as_str).collect();
        let from = match groups.as_slice() {
            [] => String::new(),
            [only] => format!(" from group {only}"),
            several => format!(" from the groups {}", several.join(", ")),
        };
        let author = if rule.exclude_author { ", not of who changed the spec" } else { "" };
        said += &format!("{} of {} approvals{who}{from}{author}; ", gate.approvals.len(), rule.required);
        for why in rule.groups.iter().filter_map(|group| self.facts.powerless.get(group)) {
            said += &format!("{why}; ");
        }
        if let Some(refusal) = gate.refused.last() {
            let name = if refusal.approver.is_empty() { &refusal.approval } else { &refusal.approver };
            said += &format!("the decision of {name} doesn't count: {}; ", refusal.message);
        }
        (reason, said)
    }
}

/// What the deletes that a step asks about take, in words.
fn guarded(step: &StepState) -> String {
    let mut guarded = step.targets.iter().filter(|state| step.bars(state));
    let first = guarded.next().map(|state| format!("{}: {}", state.target, state.guard)).unwrap_or_default();
    match guarded.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}
