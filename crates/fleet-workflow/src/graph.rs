//! Steps as users write them, read into a graph.

mod approval;
mod condition;
mod deploy;
mod error;
mod expression;
mod flatten;
mod hopeless;
mod link;
pub mod measure;
mod read;
mod retry;
mod suspend;
mod values;
mod waves;

use std::borrow::Cow;
use std::collections::BTreeSet;

use fleet_api::{Step, StepState};
use jiff::SignedDuration;

use crate::Problem;
use crate::windows::Windows;

pub use approval::{ApprovalRule, OnDelete};

pub use condition::Condition;
pub use deploy::DeployProperties;
pub use error::WorkflowError;
pub use expression::Expression;
pub use flatten::{Written, flatten};
pub(crate) use link::value_of;
pub use measure::MeasureProperties;
pub use retry::{MOST_RETRIES, Retry};
pub use suspend::SuspendProperties;
pub use values::{Input, LONGEST_OUTPUT, MOST_OUTPUTS, Output};
pub use waves::{Amount, Canary, OnFailure, OnJoin, OnReturn, OnUnreachable, Order};

/// How long a deploy step may take when it doesn't say so.
pub const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_mins(30);
/// The step types that exist.
pub const STEP_TYPES: [&str; 9] = [
    "deploy",
    "suspend",
    "step-group",
    "check-metrics",
    "request",
    "webhook",
    "notification",
    "wait-for",
    "depends-on-app",
];
/// How many steps a workflow may have, those of groups included.
pub const MOST_STEPS: usize = 500;

/// The steps of a workflow with what each waits for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    /// In the order in which they are written; the steps of a group follow the group.
    pub nodes: Vec<Node>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name, unique.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// Indices of the steps that must be over before.
    pub after: Vec<usize>,
    /// The group that it belongs to: it begins when the group has begun, and the group ends with its steps.
    pub group: Option<usize>,
    /// How long it may act, all tries and the waits between them included.
    pub timeout: SignedDuration,
    /// Who has to approve, where it demands approvers.
    pub approval: Option<ApprovalRule>,
    /// Times in which it, and each of its targets, may begin.
    pub windows: Option<Windows>,
    /// How long a step that acts on nothing itself may wait, where it says so: a gate for somebody to open it, a group
    /// for its steps.
    pub waits_at_most: Option<SignedDuration>,
    /// Its `if`. Without one it runs where nothing before it failed.
    pub condition: Option<Condition>,
    /// How often it is tried again.
    pub retry: Retry,
    /// What it takes from others.
    pub inputs: Vec<Input>,
    /// What it hands to others.
    pub outputs: Vec<Output>,
    /// What it was read from, where inputs change that: see [`Graph::bound`].
    written: Option<Box<Step>>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// Delivers to targets.
    Deploy(DeployProperties),
    /// Waits for a person, or for a time.
    Suspend(SuspendProperties),
    /// Holds other steps.
    Group,
    /// Measures, asks or tells.
    Measure(Box<MeasureProperties>),
}

impl StepKind {
    /// The type as it is written.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "deploy",
            Self::Suspend(_) => "suspend",
            Self::Group => "step-group",
            Self::Measure(measure) => measure.type_,
        }
    }

    /// Whether a person has to open it.
    pub fn is_gated(&self) -> bool {
        match self {
            Self::Deploy(deploy) => !deploy.auto,
            Self::Suspend(_) => true,
            Self::Group => false,
            Self::Measure(_) => false,
        }
    }
}

impl Graph {
    /// Reads steps. In a DAG a step waits for its `dependsOn` and for whoever makes its inputs, else also for the step
    /// written before it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its step.
    pub fn read(steps: &[Step], dag: bool) -> Result<Self, WorkflowError> {
        let written = flatten(steps)?;
        let mut nodes = written.iter().map(read::read_step).collect::<Result<Vec<_>, _>>()?;
        link::link(&mut nodes, &written, dag)?;
        let graph = Self { nodes };
        graph.refuse_cycles(&written)?;
        graph.look_back()
    }

    /// A step as it is once its inputs are put into its properties. `steps` are the recorded states of all.
    ///
    /// # Errors
    /// Where an input was never made, or doesn't fit.
    pub fn bound(&self, index: usize, steps: &[StepState]) -> Option<Result<Cow<'_, Node>, Problem>> {
        let node = self.nodes.get(index)?;
        Some(link::bind(node, steps).map(|bound| bound.map_or(Cow::Borrowed(node), Cow::Owned)))
    }

    /// The place of a step by its name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The node of a name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The deploy steps that an approval of this gate is about: a deploy step itself; for any other those that come
    /// after it up to the next gate.
    pub fn behind_gate(&self, name: &str) -> Vec<&str> {
        let Some(start) = self.nodes.iter().position(|node| node.name == name) else { return Vec::new() };
        let Some(gate) = self.nodes.get(start) else { return Vec::new() };
        if matches!(gate.kind, StepKind::Deploy(_)) {
            return vec![gate.name.as_str()];
        }
        let mut reached = BTreeSet::from([start]);
        // Dependencies come before dependents only in a step-by-step list, so a DAG is walked until it settles.
        loop {
            let before = reached.len();
            for (index, node) in self.nodes.iter().enumerate() {
                let follows = self.awaited_to_begin(index).iter().any(|earlier| reached.contains(earlier));
                // What comes after a group comes after every gate in it.
                let gated =
                    node.kind.is_gated() || self.members(index).any(|(_, member)| member.kind.is_gated());
                if follows && !gated {
                    reached.insert(index);
                }
            }
            if reached.len() == before {
                break;
            }
        }
        let behind =
            reached.iter().filter(|index| **index != start).filter_map(|index| self.nodes.get(*index));
        behind
            .filter(|node| matches!(node.kind, StepKind::Deploy(_)))
            .map(|node| node.name.as_str())
            .collect()
    }

    /// The steps of a group, with their places.
    pub fn members(&self, group: usize) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(move |(_, node)| node.group == Some(group))
    }

    /// What must be over before a step begins: what it waits for itself, and what its group waits for.
    pub(crate) fn awaited_to_begin(&self, index: usize) -> Vec<usize> {
        let Some(node) = self.nodes.get(index) else { return Vec::new() };
        let group = node.group.and_then(|group| self.nodes.get(group));
        node.after.iter().chain(group.iter().flat_map(|group| &group.after)).copied().collect()
    }

    /// The step that takes away what no step reaches any more: the last that delivers, best one without an `if`. It does
    /// so once everything else is done, so no other that delivers may wait for it.
    pub fn clearing_step(&self) -> Option<usize> {
        let delivers = |at: &usize| matches!(self.nodes.get(*at).map(|n| &n.kind), Some(StepKind::Deploy(_)));
        let deploys: Vec<usize> = (0..self.nodes.len()).filter(delivers).collect();
        let conditional = |at: usize| {
            let node = self.nodes.get(at);
            let group = node.and_then(|node| node.group).and_then(|group| self.nodes.get(group));
            node.into_iter().chain(group).any(|node| node.condition.is_some())
        };
        let awaited: BTreeSet<usize> = deploys.iter().flat_map(|at| self.all_before(*at)).collect();
        let last: Vec<usize> = deploys.iter().rev().copied().filter(|at| !awaited.contains(at)).collect();
        last.iter().find(|at| !conditional(**at)).or(last.first()).copied()
    }

    /// Every step that must be over before one begins, directly or further back.
    fn all_before(&self, index: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut left = self.awaited_to_begin(index);
        while let Some(earlier) = left.pop() {
            if found.insert(earlier) {
                left.extend(self.awaited_to_end(earlier));
            }
        }
        found
    }

    /// What must be over before a step is: for a group also its steps.
    fn awaited_to_end(&self, index: usize) -> Vec<usize> {
        let mut awaited = self.awaited_to_begin(index);
        awaited.extend(self.members(index).map(|(member, _)| member));
        awaited
    }

    /// Indices of the steps, each after those that it waits for and a group after its steps, else as they are written.
    pub fn order(&self) -> Vec<usize> {
        let awaited: Vec<Vec<usize>> =
            (0..self.nodes.len()).map(|index| self.awaited_to_end(index)).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut settled = BTreeSet::new();
        loop {
            let before = order.len();
            for (index, awaited) in awaited.iter().enumerate() {
                if !settled.contains(&index) && awaited.iter().all(|earlier| settled.contains(earlier)) {
                    settled.insert(index);
                    order.push(index);
                }
            }
            if order.len() == before {
                return order;
            }
        }
    }

    /// Everything that is over when a step begins.
    pub fn before(&self, index: usize) -> BTreeSet<usize> {
        let mut open = self.awaited_to_begin(index);
        let mut before = BTreeSet::new();
        while let Some(earlier) = open.pop() {
            if before.insert(earlier) {
                open.extend(self.awaited_to_end(earlier));
            }
        }
        before
    }

    /// Whether neither of two steps waits for the other, so that both may act at once.
    pub fn concurrent(&self, one: usize, other: usize) -> bool {
        one != other && !self.before(one).contains(&other) && !self.before(other).contains(&one)
    }
}
