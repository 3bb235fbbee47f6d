//! Steps as users write them, read one by one.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::Step;
use serde::Deserialize;

use super::{DEFAULT_TIMEOUT, DeployProperties, Node, StepKind, SuspendProperties, WorkflowError, step_name};
use crate::parse_duration;

/// Reads properties; a mistake is told with the field that it is in.
pub(super) fn read_properties<T: for<'de> Deserialize<'de>>(
    properties: &serde_json::Value,
) -> Result<T, String> {
    T::deserialize(properties).map_err(|whole| {
        let fields = properties.as_object().into_iter().flatten();
        let mut alone = fields.filter_map(|(name, value)| {
            let field = serde_json::json!({ name: value });
            T::deserialize(&field).err().map(|error| format!("{name}: {error}"))
        });
        alone.next().unwrap_or_else(|| whole.to_string())
    })
}

/// Reads one step; `index` knows the place of every step by name.
pub(super) fn read_step(
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
    let timeout = match &step.timeout {
        Some(text) => Some(
            parse_duration(text).map_err(|message| WorkflowError::Timeout { step: name.clone(), message })?,
        ),
        None => None,
    };
    let kind = match step.type_.as_str() {
        "deploy" => {
            let deploy = DeployProperties::read(&properties).map_err(invalid)?;
            StepKind::Deploy(deploy.within(timeout).map_err(invalid)?)
        }
        "suspend" => StepKind::Suspend(SuspendProperties::read(&properties).map_err(invalid)?),
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
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    let approval = match &kind {
        StepKind::Deploy(deploy) => deploy.approval.clone(),
        StepKind::Suspend(suspend) => suspend.approval.clone(),
    };
    Ok(Node { name, kind, after: after.into_iter().collect(), timeout, approval })
}
