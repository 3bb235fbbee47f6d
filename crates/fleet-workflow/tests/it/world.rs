//! A run with the world around it: what is recorded, what is known, what the time is.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Decision, RunStatus, Step, StepPhase, StepState, Target, TargetPhase, TargetState};
use fleet_workflow::{
    Advance, ApprovalFact, Authors, Command, Delivery, Facts, Graph, PlanFact, Problem, Prune, TargetFact,
    advance,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub(crate) struct World {
    pub(crate) graph: Graph,
    pub(crate) status: RunStatus,
    pub(crate) facts: Facts,
    pub(crate) now: Timestamp,
    /// Plans as they would be made now, by step.
    pub(crate) plan_hashes: BTreeMap<String, String>,
    /// What the plans' deletes take, by step.
    pub(crate) losses: BTreeMap<String, BTreeMap<Target, String>>,
    approvals: u32,
}

pub(crate) fn step(name: &str, type_: &str, properties: Value, depends_on: &[&str]) -> Step {
    Step {
        name: name.to_owned(),
        type_: type_.to_owned(),
        properties: Some(properties),
        depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        ..Step::default()
    }
}

pub(crate) fn deploy(name: &str, auto: bool) -> Step {
    step(name, "deploy", json!({ "auto": auto }), &[])
}

pub(crate) fn target(cluster: &str) -> Target {
    Target::new(cluster, "demo")
}

pub(crate) fn problem(reason: &str) -> Problem {
    Problem { reason: reason.to_owned(), message: format!("{reason} happened") }
}

impl World {
    /// A run that hasn't taken a turn, with the targets of each step.
    pub(crate) fn new(graph: Graph, targets: &[Vec<&str>]) -> Self {
        let steps = graph.nodes.iter().zip(targets).map(|(node, clusters)| StepState {
            name: node.name.clone(),
            type_: node.kind.as_str().to_owned(),
            group: node.group.map(|at| graph.nodes[at].name.clone()).unwrap_or_default(),
            targets: clusters.iter().map(|cluster| TargetState::pending(target(cluster))).collect(),
            ..StepState::default()
        });
        let status = RunStatus { steps: steps.collect(), ..RunStatus::default() };
        let facts =
            Facts { application: "web-demo".to_owned(), namespace: "demo".to_owned(), ..Facts::default() };
        let plan_hashes = graph.nodes.iter().map(|node| (node.name.clone(), "a".to_owned())).collect();
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        Self { graph, status, facts, now, plan_hashes, losses: BTreeMap::new(), approvals: 0 }
    }

    /// One turn, recorded.
    pub(crate) fn turn(&mut self) -> Advance {
        let turned = advance(&self.graph, &self.status, &self.facts, self.now);
        self.record(turned.clone());
        turned
    }

    /// Turns, with the plans that they ask for, until none is asked for.
    pub(crate) fn settle(&mut self) -> Advance {
        for _ in 0..=2 * self.graph.nodes.len() {
            let turned = self.turn();
            if self.make_plans(&turned.commands) == 0 {
                return turned;
            }
        }
        panic!("plans are asked for without end");
    }

    pub(crate) fn record(&mut self, turned: Advance) {
        self.status = turned.status;
        // What `TargetFact::delivery` promises: a refusal that was counted isn't told again.
        for step in &self.status.steps {
            for state in step.targets.iter().filter(|state| state.phase == TargetPhase::Pending) {
                if let Some(fact) = self.facts.targets.get_mut(&(step.name.clone(), state.target.clone())) {
                    fact.delivery = Delivery::Idle;
                }
            }
        }
    }

    pub(crate) fn make_plans(&mut self, commands: &[Command]) -> usize {
        let mut made = 0;
        for command in commands {
            if let Command::Plan { step } = command {
                let hash = self.plan_hashes[step].clone();
                let fact = PlanFact { guarded: self.losses_of(step), ..plan(&hash) };
                self.facts.plans.insert(step.clone(), Ok(fact));
                made += 1;
            }
        }
        made
    }

    /// The plan of a step changes; what was made of the old one is forgotten.
    pub(crate) fn replan(&mut self, step: &str, hash: &str) {
        self.plan_hashes.insert(step.to_owned(), hash.to_owned());
        if self.facts.plans.contains_key(step) {
            let made = PlanFact { guarded: self.losses_of(step), ..plan(hash) };
            self.facts.plans.insert(step.to_owned(), Ok(made));
        }
    }

    fn losses_of(&self, step: &str) -> BTreeMap<Target, String> {
        self.losses.get(step).cloned().unwrap_or_default()
    }

    pub(crate) fn approve(&mut self, step: &str, plan_hash: &str) {
        self.approvals += 1;
        self.facts.approvals.push(ApprovalFact {
            name: format!("approval-{}", self.approvals),
            step: step.to_owned(),
            plan_hash: plan_hash.to_owned(),
            decision: Decision::Approve,
            approver: "ada".to_owned(),
            groups: Vec::new(),
            proven: true,
            doubt: String::new(),
            counts_from: None,
            reason: "looks right".to_owned(),
            made_at: None,
        });
    }

    /// Somebody decides about a plan, proved to be who he is.
    pub(crate) fn decide(
        &mut self,
        who: &str,
        groups: &[&str],
        decision: Decision,
        step: &str,
        plan_hash: &str,
    ) {
        self.approve(step, plan_hash);
        let fact = self.facts.approvals.last_mut().unwrap();
        fact.approver = who.to_owned();
        fact.groups = groups.iter().map(|group| (*group).to_owned()).collect();
        fact.decision = decision;
    }

    /// The deletes of a step take the last workload of a target.
    pub(crate) fn lose(&mut self, step: &str, cluster: &str) {
        let lost = "the last workload goes there (Deployment web)".to_owned();
        self.losses.entry(step.to_owned()).or_default().insert(target(cluster), lost);
    }

    pub(crate) fn fact(&mut self, step: &str, at: &Target) -> &mut TargetFact {
        self.facts.targets.entry((step.to_owned(), at.clone())).or_default()
    }

    pub(crate) fn deliver(&mut self, step: &str, cluster: &str, delivery: Delivery) {
        self.fact(step, &target(cluster)).delivery = delivery;
    }

    /// Everything on a target went well.
    pub(crate) fn finish(&mut self, step: &str, cluster: &str) {
        let fact = self.fact(step, &target(cluster));
        *fact = TargetFact {
            delivery: Delivery::Applied,
            done: true,
            prune: Prune::Done,
            ..TargetFact::default()
        };
    }

    /// Somebody holds a cluster: every target there, in every step.
    pub(crate) fn hold(&mut self, cluster: &str) {
        for step in &self.status.steps {
            for state in step.targets.iter().filter(|state| state.target.cluster == cluster) {
                let key = (step.name.clone(), state.target.clone());
                self.facts.held.insert(key, problem("Cordoned"));
            }
        }
    }

    pub(crate) fn let_go(&mut self, cluster: &str) {
        self.facts.held.retain(|(_, at), _| at.cluster != cluster);
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    /// The process dies: what isn't on record is forgotten, the record is read again.
    pub(crate) fn crash(&mut self) {
        self.facts.plans.clear();
        for fact in self.facts.targets.values_mut() {
            fact.delivery = Delivery::Idle;
            if fact.prune == Prune::Running {
                fact.prune = Prune::Idle;
            }
        }
        self.status = read_again(&self.status);
    }

    pub(crate) fn phases(&self) -> Vec<StepPhase> {
        self.status.steps.iter().map(|step| step.phase).collect()
    }

    pub(crate) fn state(&self, step: &str, cluster: &str) -> &TargetState {
        let step = self.status.steps.iter().find(|state| state.name == step).unwrap();
        step.targets.iter().find(|state| state.target == target(cluster)).unwrap()
    }

    /// From here on everything goes well: does the run end, and within how many turns?
    pub(crate) fn all_goes_well(&mut self) -> Option<usize> {
        self.facts.suspend = false;
        self.facts.held.clear();
        self.facts.authors = Authors::Known(BTreeSet::new());
        let mut gone: BTreeSet<(String, Target)> = BTreeSet::new();
        for turn in 0..400 {
            let turned = self.turn();
            if self.status.phase.is_over() {
                return Some(turn);
            }
            let planned = self.make_plans(&turned.commands);
            let decisions = self.facts.approvals.len();
            for (step, plan) in self.facts.plans.clone() {
                if plan.is_err() {
                    self.replan(&step, "mended");
                }
            }
            for state in self.status.steps.clone() {
                if let Some(gate) = state.shut_gate() {
                    let hash = gate.plan_hash.clone();
                    for who in ["gus", "hal", "ida"] {
                        self.decide(who, &["release"], Decision::Approve, &state.name, &hash);
                    }
                }
                for at in state.targets.iter().filter(|at| !at.phase.is_over()) {
                    let sent = turned.commands.iter().any(|command| {
                        matches!(command, Command::Deliver { step, target } if *step == state.name && *target == at.target)
                    });
                    let key = (state.name.clone(), at.target.clone());
                    if sent || at.phase != TargetPhase::Pending {
                        gone.insert(key.clone());
                        let done = TargetFact {
                            delivery: Delivery::Applied,
                            done: true,
                            prune: Prune::Done,
                            ..TargetFact::default()
                        };
                        self.facts.targets.insert(key, done);
                    }
                }
            }
            if let Some(at) = turned.wake_at.filter(|_| {
                planned == 0 && turned.commands.is_empty() && decisions == self.facts.approvals.len()
            }) {
                self.now = self.now.max(at);
            }
        }
        None
    }
}

pub(crate) fn plan(hash: &str) -> PlanFact {
    let summary = "3 to create on mc-bj2/demo".to_owned();
    PlanFact { hash: hash.to_owned(), summary, guarded: BTreeMap::new() }
}

/// The record after a way through JSON.
pub(crate) fn read_again(status: &RunStatus) -> RunStatus {
    serde_json::from_str(&serde_json::to_string(status).unwrap()).unwrap()
}
