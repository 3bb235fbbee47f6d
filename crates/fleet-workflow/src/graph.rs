//! Steps as users write them, read into a graph.

mod approval;
mod deploy;
mod error;
mod read;
mod suspend;
mod waves;

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::Step;
use jiff::SignedDuration;

pub use approval::{ApprovalRule, OnDelete};
pub use deploy::DeployProperties;
pub use error::WorkflowError;
pub use suspend::SuspendProperties;
pub use waves::{Amount, Canary, OnFailure, OnJoin, OnReturn, OnUnreachable, Order};

/// How long a deploy step may take when it doesn't say so.
pub const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_mins(30);
/// The step types that exist.
pub const STEP_TYPES: [&str; 2] = ["deploy", "suspend"];

/// The steps of a workflow with what each waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// In the order in which they are written.
    pub nodes: Vec<Node>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name, unique.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// Indices of the steps that must have succeeded before.
    pub after: Vec<usize>,
    /// How long it may act.
    pub timeout: SignedDuration,
    /// Who has to approve, where it demands approvers.
    pub approval: Option<ApprovalRule>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// Delivers to targets.
    Deploy(DeployProperties),
    /// Waits for a person, or for a time.
    Suspend(SuspendProperties),
}

impl StepKind {
    /// The type as it is written.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "deploy",
            Self::Suspend(_) => "suspend",
        }
    }

    /// Whether a person has to open it.
    pub fn is_gated(&self) -> bool {
        match self {
            Self::Deploy(deploy) => !deploy.auto,
            Self::Suspend(_) => true,
        }
    }
}

impl Graph {
    /// Reads steps. In a DAG a step waits for its `dependsOn` alone, else also for the step written before it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its step.
    pub fn read(steps: &[Step], dag: bool) -> Result<Self, WorkflowError> {
        let mut index = BTreeMap::new();
        for (position, step) in steps.iter().enumerate() {
            if index.insert(step_name(step, position), position).is_some() {
                return Err(WorkflowError::DuplicateName(step_name(step, position)));
            }
        }
        let mut nodes = Vec::with_capacity(steps.len());
        for (position, step) in steps.iter().enumerate() {
            nodes.push(read::read_step(step, position, dag, &index)?);
        }
        let graph = Self { nodes };
        graph.refuse_cycles()?;
        Ok(graph)
    }

    /// The node of a name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The deploy steps that an approval of this gate is about: a deploy step itself; for a suspend step those
    /// that come after it up to the next gate.
    pub fn behind_gate(&self, name: &str) -> Vec<&str> {
        let Some(start) = self.nodes.iter().position(|node| node.name == name) else { return Vec::new() };
        let Some(gate) = self.nodes.get(start) else { return Vec::new() };
        if matches!(gate.kind, StepKind::Deploy(_)) {
            return vec![gate.name.as_str()];
        }
        let mut reached = BTreeSet::from([start]);
        let mut behind = Vec::new();
        // Dependencies come before dependents only in a step-by-step list, so a DAG is walked until it settles.
        loop {
            let before = reached.len();
            for (index, node) in self.nodes.iter().enumerate() {
                let follows = node.after.iter().any(|earlier| reached.contains(earlier));
                if follows && !node.kind.is_gated() && reached.insert(index) {
                    behind.push(node.name.as_str());
                }
            }
            if reached.len() == before {
                return behind;
            }
        }
    }

    /// Indices of the steps, each after those that it waits for, else as they are written.
    pub fn order(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut settled = BTreeSet::new();
        loop {
            let before = order.len();
            for (index, node) in self.nodes.iter().enumerate() {
                if !settled.contains(&index) && node.after.iter().all(|earlier| settled.contains(earlier)) {
                    settled.insert(index);
                    order.push(index);
                }
            }
            if order.len() == before {
                return order;
            }
        }
    }

    fn refuse_cycles(&self) -> Result<(), WorkflowError> {
        let settled: BTreeSet<usize> = self.order().into_iter().collect();
        if settled.len() == self.nodes.len() {
            return Ok(());
        }
        let stuck = self.nodes.iter().enumerate().filter(|(index, _)| !settled.contains(index));
        Err(WorkflowError::Cycle(stuck.map(|(_, node)| node.name.clone()).collect()))
    }
}

/// A step's name, made up from its place where none is written.
pub fn step_name(step: &Step, position: usize) -> String {
    if step.name.is_empty() { format!("step-{position}") } else { step.name.clone() }
}
