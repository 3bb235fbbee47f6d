//! Steps as users write them, read into a graph.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::Step;
use jiff::SignedDuration;
use serde::Deserialize;

use crate::parse_duration;

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

/// Properties of a `deploy` step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployProperties {
    /// Whether it acts without being asked.
    #[serde(default = "yes")]
    pub auto: bool,
    /// Policies by name: topologies say where, overrides say how it differs there, in this order.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Components at once within one target; all by default.
    #[serde(default)]
    pub parallelism: Option<u32>,
    /// Accepted for other engines' sake.
    #[serde(default)]
    pub ignore_terraform_component: Option<bool>,
}

/// Properties of a `suspend` step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SuspendProperties {
    /// After this time it goes on by itself.
    pub duration: Option<SignedDuration>,
    /// Shown to whoever decides.
    pub message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SuspendAsWritten {
    duration: Option<String>,
    message: Option<String>,
}

fn yes() -> bool {
    true
}

/// Why a workflow can't be walked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowError {
    /// A step type that doesn't exist.
    #[error("step {step:?}: there is no step type {type_:?}{}; types are {}", did_you_mean(.type_, &STEP_TYPES), STEP_TYPES.join(", "))]
    UnknownType {
        /// The step.
        step: String,
        /// Its type.
        type_: String,
    },
    /// Properties that the type doesn't take.
    #[error("step {step:?}: properties: {message}")]
    Properties {
        /// The step.
        step: String,
        /// What is wrong.
        message: String,
    },
    /// Two steps of one name.
    #[error("step {0:?} stands twice; give each step a name of its own")]
    DuplicateName(String),
    /// A `dependsOn` that names no step.
    #[error("step {step:?}: dependsOn names {name:?}, which is no step of this workflow")]
    UnknownDependency {
        /// The step.
        step: String,
        /// The name.
        name: String,
    },
    /// Steps that wait for each other.
    #[error("steps wait for each other: {}; take one of the dependsOn away", .0.join(" → "))]
    Cycle(Vec<String>),
    /// A time that can't be read.
    #[error("step {step:?}: timeout: {message}")]
    Timeout {
        /// The step.
        step: String,
        /// What is wrong.
        message: String,
    },
    /// A mode that doesn't exist.
    #[error("workflow mode {0:?} doesn't exist; write StepByStep or DAG")]
    UnknownMode(String),
    /// A field of other engines that this version doesn't carry out.
    #[error("step {step:?}: {field} isn't carried out by this version; remove it, or write the steps out")]
    Unsupported {
        /// The step.
        step: String,
        /// The field.
        field: &'static str,
    },
}

impl WorkflowError {
    /// A code that a script can match.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownType { .. } => "UnknownStepType",
            Self::Properties { .. } => "InvalidStepProperties",
            Self::DuplicateName(_) => "DuplicateStepName",
            Self::UnknownDependency { .. } => "UnknownStepDependency",
            Self::Cycle(_) => "StepCycle",
            Self::Timeout { .. } => "InvalidTimeout",
            Self::UnknownMode(_) => "UnknownWorkflowMode",
            Self::Unsupported { .. } => "UnsupportedStepField",
        }
    }
}

fn did_you_mean(name: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|k| (strsim::osa_distance(name, k), k)).min();
    match nearest {
        Some((distance, known)) if distance <= 3 => format!(" (did you mean {known:?}?)"),
        _ => String::new(),
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
            nodes.push(read_step(step, position, dag, &index)?);
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

/// Reads properties; a mistake is told with the field that it is in.
fn read_properties<T: for<'de> Deserialize<'de>>(properties: &serde_json::Value) -> Result<T, String> {
    T::deserialize(properties).map_err(|whole| {
        let fields = properties.as_object().into_iter().flatten();
        let mut alone = fields.filter_map(|(name, value)| {
            let field = serde_json::json!({ name: value });
            T::deserialize(&field).err().map(|error| format!("{name}: {error}"))
        });
        alone.next().unwrap_or_else(|| whole.to_string())
    })
}

fn read_step(
    step: &Step,
    position: usize,
    dag: bool,
    index: &BTreeMap<String, usize>,
) -> Result<Node, WorkflowError> {
    let name = step_name(step, position);
    for (field, present) in [
        ("if", step.condition.is_some()),
        ("inputs", !step.inputs.is_empty()),
        ("outputs", !step.outputs.is_empty()),
        ("subSteps", !step.sub_steps.is_empty()),
    ] {
        if present {
            return Err(WorkflowError::Unsupported { step: name, field });
        }
    }
    let properties = step.properties.clone().unwrap_or_else(|| serde_json::json!({}));
    let invalid = |message: String| WorkflowError::Properties { step: name.clone(), message };
    let kind = match step.type_.as_str() {
        "deploy" => {
            let deploy: DeployProperties = read_properties(&properties).map_err(invalid)?;
            if deploy.parallelism == Some(0) {
                return Err(invalid("parallelism: must be at least 1".to_owned()));
            }
            StepKind::Deploy(deploy)
        }
        "suspend" => {
            let written: SuspendAsWritten = read_properties(&properties).map_err(invalid)?;
            let duration = written.duration.as_deref().map(parse_duration).transpose();
            let duration = duration.map_err(|e| invalid(format!("duration: {e}")))?;
            StepKind::Suspend(SuspendProperties { duration, message: written.message })
        }
        _ => return Err(WorkflowError::UnknownType { step: name, type_: step.type_.clone() }),
    };
    let mut after = BTreeSet::new();
    if !dag && position > 0 {
        after.insert(position - 1);
    }
    for dependency in &step.depends_on {
        let earlier = index.get(dependency).ok_or_else(|| WorkflowError::UnknownDependency {
            step: name.clone(),
            name: dependency.clone(),
        })?;
        after.insert(*earlier);
    }
    let timeout = match &step.timeout {
        Some(text) => {
            parse_duration(text).map_err(|message| WorkflowError::Timeout { step: name.clone(), message })?
        }
        None => DEFAULT_TIMEOUT,
    };
    Ok(Node { name, kind, after: after.into_iter().collect(), timeout })
}
