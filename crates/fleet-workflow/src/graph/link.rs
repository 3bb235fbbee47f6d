//! What steps wait for, and what they give each other.

use std::collections::BTreeMap;

use fleet_api::StepState;

use super::error::did_you_mean;
use super::flatten::Written;
use super::read::{read_kind, sub_mode_is_dag};
use super::values::{self, Input, MOST_OUTPUTS};
use super::{Graph, Node, StepKind, WorkflowError};
use crate::Problem;

/// Fills in what each step waits for, and who makes its inputs.
pub(super) fn link(nodes: &mut [Node], written: &[Written], dag: bool) -> Result<(), WorkflowError> {
    let mut index = BTreeMap::new();
    for (position, written) in written.iter().enumerate() {
        if index.insert(written.step.name.as_str(), position).is_some() {
            return Err(WorkflowError::DuplicateName(written.step.name.clone()));
        }
    }
    let makers = makers(nodes)?;
    for (position, (node, step)) in nodes.iter_mut().zip(written).enumerate() {
        let mut after = implied(written, position, dag)?;
        for dependency in &step.step.depends_on {
            let earlier = index.get(dependency.as_str()).ok_or_else(|| WorkflowError::UnknownDependency {
                step: node.name.clone(),
                name: dependency.clone(),
            })?;
            after.push(*earlier);
        }
        let refuse =
            |message: String| WorkflowError::Field { step: node.name.clone(), field: "inputs", message };
        let mut inputs = Vec::with_capacity(step.step.inputs.len());
        for input in &step.step.inputs {
            let Some(by) = makers.get(&input.from).copied() else {
                let known: Vec<&str> = makers.keys().map(String::as_str).collect();
                let near = did_you_mean(&input.from, &known);
                return Err(refuse(format!("no step makes an output {:?}{near}", input.from)));
            };
            if by == position {
                return Err(refuse(format!(
                    "{:?} is made by the step itself; take it from another",
                    input.from
                )));
            }
            let at = values::parameter_key(&input.parameter_key).map_err(refuse)?;
            if at.is_some() && matches!(node.kind, StepKind::Deploy(_) | StepKind::Group) {
                let type_ = node.kind.as_str();
                return Err(refuse(format!(
                    "{:?}: a {type_} step takes no value into its properties, since what a run delivers is fixed when it starts; leave parameterKey out and read it in `if`",
                    input.from
                )));
            }
            inputs.push(Input { from: input.from.clone(), by, at });
            after.push(by);
        }
        after.sort_unstable();
        after.dedup();
        node.after = after;
        if inputs.iter().any(|input| input.at.is_some()) {
            node.written = Some(Box::new(step.step.clone()));
        }
        node.inputs = inputs;
    }
    Ok(())
}

/// Who makes which output.
fn makers(nodes: &[Node]) -> Result<BTreeMap<String, usize>, WorkflowError> {
    let mut makers: BTreeMap<String, usize> = BTreeMap::new();
    for (position, node) in nodes.iter().enumerate() {
        for output in &node.outputs {
            if let Some(first) = makers.insert(output.name.clone(), position) {
                let first = nodes.get(first).map(|node| node.name.clone()).unwrap_or_default();
                let (name, second) = (output.name.clone(), node.name.clone());
                return Err(WorkflowError::DuplicateOutput { name, first, second });
            }
        }
    }
    if makers.len() > MOST_OUTPUTS {
        return Err(WorkflowError::TooMany { what: "outputs", count: makers.len(), most: MOST_OUTPUTS });
    }
    Ok(makers)
}

/// What a step waits for without saying so: the one written before it, where steps go one by one.
fn implied(written: &[Written], position: usize, dag: bool) -> Result<Vec<usize>, WorkflowError> {
    let group = written.get(position).and_then(|step| step.group);
    let dag = match group.and_then(|group| written.get(group)) {
        Some(group) => sub_mode_is_dag(&group.step)?,
        None => dag,
    };
    let siblings = written.iter().take(position).enumerate().filter(|(_, other)| other.group == group);
    Ok(siblings.map(|(at, _)| at).next_back().filter(|_| !dag).into_iter().collect())
}

impl Graph {
    pub(super) fn refuse_cycles(&self, written: &[Written]) -> Result<(), WorkflowError> {
        let stuck = self.stuck();
        if stuck.is_empty() {
            return Ok(());
        }
        // Where only what is taken from a later step makes the circle, that is what to mend.
        let mut without = self.clone();
        for node in &mut without.nodes {
            let inputs: Vec<usize> = node.inputs.iter().map(|input| input.by).collect();
            let named = written.iter().find(|written| written.step.name == node.name);
            let asked = |by: &usize| {
                let name = self.nodes.get(*by).map(|node| &node.name);
                named.is_some_and(|named| name.is_some_and(|name| named.step.depends_on.contains(name)))
            };
            // In a list the step before stands among them of itself, and is no circle.
            node.after.retain(|by| !inputs.contains(by) || asked(by));
        }
        if without.stuck().is_empty() {
            for index in &stuck {
                let Some(node) = self.nodes.get(*index) else { continue };
                if let Some(input) = node.inputs.iter().find(|input| stuck.contains(&input.by)) {
                    let by = self.nodes.get(input.by).map(|by| by.name.as_str()).unwrap_or_default();
                    let message = format!(
                        "{:?} is made by step {by:?}, which comes after this one; write {by:?} before it",
                        input.from
                    );
                    return Err(WorkflowError::Field { step: node.name.clone(), field: "inputs", message });
                }
            }
        }
        let names = stuck.iter().filter_map(|index| self.nodes.get(*index)).map(|node| node.name.clone());
        Err(WorkflowError::Cycle(names.collect()))
    }

    /// Steps whose turn would never come.
    fn stuck(&self) -> Vec<usize> {
        let order: std::collections::BTreeSet<usize> = self.order().into_iter().collect();
        (0..self.nodes.len()).filter(|index| !order.contains(index)).collect()
    }

    /// Holds conditions and outputs to what is over when they are evaluated, so that they have one value whenever that
    /// is.
    pub(super) fn look_back(mut self) -> Result<Self, WorkflowError> {
        let names: Vec<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
        for index in 0..self.nodes.len() {
            let before = self.before(index);
            let Some(node) = self.nodes.get_mut(index) else { continue };
            let taken: Vec<&str> = node.inputs.iter().map(|input| input.from.as_str()).collect();
            let mut inputs: Vec<(&'static str, String)> = Vec::new();
            for output in &node.outputs {
                inputs.extend(output.names_of("inputs").map(|name| ("outputs", name)));
            }
            if let Some(condition) = &node.condition {
                inputs.extend(condition.expression.names_of("inputs").map(|name| ("if", name)));
                for name in condition.expression.names_of("status") {
                    let place = names.iter().position(|known| *known == name);
                    let message = match place {
                        Some(place) if before.contains(&place) => continue,
                        Some(place) if place == index => {
                            "looks at the step itself, which hasn't begun when this is asked".to_owned()
                        }
                        Some(_) => format!(
                            "looks at step {name:?}, which needn't be over by then; add it to dependsOn"
                        ),
                        None => {
                            let known: Vec<&str> = names.iter().map(String::as_str).collect();
                            format!(
                                "looks at step {name:?}, which there isn't{}",
                                did_you_mean(&name, &known)
                            )
                        }
                    };
                    return Err(WorkflowError::Field { step: node.name.clone(), field: "if", message });
                }
            }
            if let Some((field, name)) = inputs.iter().find(|(_, name)| !taken.contains(&name.as_str())) {
                let message = format!(
                    "reads inputs.{name}, which isn't among the step's inputs; add it: inputs: [{{from: {name}}}]"
                );
                return Err(WorkflowError::Field { step: node.name.clone(), field, message });
            }
            if let Some(condition) = &mut node.condition {
                condition.before = before.into_iter().collect();
            }
        }
        Ok(self)
    }
}

/// The step with its inputs in its properties; nothing where it takes none there.
pub(super) fn bind(node: &Node, steps: &[StepState]) -> Result<Option<Node>, Problem> {
    for input in &node.inputs {
        if value_of(input, steps).is_none() && (input.at.is_some() || node.condition.is_none()) {
            return Err(missing(node, input, steps));
        }
    }
    let Some(written) = &node.written else { return Ok(None) };
    let mut written = written.as_ref().clone();
    let mut properties = written.properties.take().unwrap_or_else(|| serde_json::json!({}));
    for input in &node.inputs {
        if let (Some(at), Some(value)) = (&input.at, value_of(input, steps)) {
            values::put(&mut properties, at, value.clone()).map_err(|message| misfit(node, message))?;
        }
    }
    written.properties = Some(properties);
    let kind = read_kind(&written).map_err(|error| misfit(node, error.to_string()))?;
    Ok(Some(Node { kind, ..node.clone() }))
}

pub(crate) fn value_of<'s>(input: &Input, steps: &'s [StepState]) -> Option<&'s serde_json::Value> {
    steps.get(input.by)?.outputs.get(&input.from)
}

fn missing(node: &Node, input: &Input, steps: &[StepState]) -> Problem {
    let by = steps.get(input.by);
    let (name, phase) = by.map_or(("?", "missing"), |by| (by.name.as_str(), by.phase.as_str()));
    let message = format!(
        "step {:?} takes {:?} from step {name:?}, which is {phase} and made none; give the step an `if` that asks for it, or mend {name:?}",
        node.name, input.from
    );
    Problem { reason: "InputMissing".to_owned(), message }
}

fn misfit(node: &Node, message: String) -> Problem {
    let message = format!("with its inputs, step {:?} can't be read: {message}", node.name);
    Problem { reason: "InputMisfit".to_owned(), message }
}
