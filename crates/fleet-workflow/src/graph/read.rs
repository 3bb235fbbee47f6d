//! Steps as users write them, read one by one.

use fleet_api::Step;
use serde::Deserialize;

use super::condition::Condition;
use super::flatten::{GROUP, Written};
use super::measure::{MEASURE_TYPES, MeasureProperties};
use super::retry::Retry;
use super::values::Output;
use super::{DEFAULT_TIMEOUT, DeployProperties, Node, StepKind, SuspendProperties, WorkflowError};
use crate::parse_duration;
use crate::windows::Windows;

/// Reads properties; a mistake is told with the field that it is in.
pub(super) fn read_properties<T: for<'de> Deserialize<'de>>(
    properties: &serde_json::Value,
) -> Result<T, String> {
    T::deserialize(properties).map_err(|whole| {
        let fields = properties.as_object().into_iter().flatten();
        let mut alone = fields.filter_map(|(name, value)| {
            let field = serde_json::json!({ name: value });
            let error = T::deserialize(&field).err()?.to_string();
            // Alone, a field lacks the others.
            (!error.starts_with("missing field")).then(|| format!("{name}: {error}"))
        });
        alone.next().unwrap_or_else(|| whole.to_string())
    })
}

/// Reads one step by itself; what it has to do with others is filled in by `link`.
pub(super) fn read_step(written: &Written) -> Result<Node, WorkflowError> {
    let step = &written.step;
    let kind = read_kind(step)?;
    let refuse = |field: &'static str| {
        move |message: String| WorkflowError::Field { step: step.name.clone(), field, message }
    };
    let condition = step.condition.as_deref().map(Condition::compile).transpose().map_err(refuse("if"))?;
    let retry = step.retry.as_ref().map(Retry::read).transpose().map_err(refuse("retry"))?;
    if retry.is_some() && kind == StepKind::Group {
        let message = "a group isn't tried again as a whole; write it on the steps within".to_owned();
        return Err(refuse("retry")(message));
    }
    if step.windows.is_some() && kind == StepKind::Group {
        let message = "a group has none of its own; write them on the steps within".to_owned();
        return Err(refuse("windows")(message));
    }
    let outputs = step.outputs.iter().map(|output| Output::compile(&output.name, &output.value_from));
    let outputs = outputs.collect::<Result<Vec<_>, _>>().map_err(refuse("outputs"))?;
    let timeout = read_timeout(step)?;
    let waits = matches!(kind, StepKind::Suspend(_) | StepKind::Group);
    let approval = match &kind {
        StepKind::Deploy(deploy) => deploy.approval.clone(),
        StepKind::Suspend(suspend) => suspend.approval.clone(),
        StepKind::Group | StepKind::Measure(_) => None,
    };
    let time = match &kind {
        StepKind::Measure(measure) => measure
            .within(timeout)
            .map_err(|message| WorkflowError::Timeout { step: step.name.clone(), message })?,
        _ => timeout.unwrap_or(DEFAULT_TIMEOUT),
    };
    let windows = step.windows.as_ref().map(Windows::read).transpose().map_err(refuse("windows"))?;
    Ok(Node {
        name: step.name.clone(),
        kind,
        approval,
        after: Vec::new(),
        group: written.group,
        timeout: time,
        windows,
        waits_at_most: timeout.filter(|_| waits),
        condition,
        retry: retry.unwrap_or_default(),
        inputs: Vec::new(),
        outputs,
        written: None,
    })
}

/// Reads what a step does.
pub(super) fn read_kind(step: &Step) -> Result<StepKind, WorkflowError> {
    let properties = step.properties.clone().unwrap_or_else(|| serde_json::json!({}));
    let invalid = |message: String| WorkflowError::Properties { step: step.name.clone(), message };
    match step.type_.as_str() {
        "deploy" => {
            let deploy = DeployProperties::read(&properties).map_err(invalid)?;
            Ok(StepKind::Deploy(deploy.within(read_timeout(step)?).map_err(invalid)?))
        }
        "suspend" => Ok(StepKind::Suspend(SuspendProperties::read(&properties).map_err(invalid)?)),
        GROUP => match properties.as_object().and_then(|properties| properties.keys().next()) {
            Some(field) => Err(invalid(format!("{field}: a step-group takes none"))),
            None => Ok(StepKind::Group),
        },
        type_ if MEASURE_TYPES.contains(&type_) => {
            Ok(StepKind::Measure(Box::new(MeasureProperties::read(type_, &properties).map_err(invalid)?)))
        }
        _ => Err(WorkflowError::UnknownType { step: step.name.clone(), type_: step.type_.clone() }),
    }
}

fn read_timeout(step: &Step) -> Result<Option<jiff::SignedDuration>, WorkflowError> {
    let refuse = |message| WorkflowError::Timeout { step: step.name.clone(), message };
    step.timeout.as_deref().map(parse_duration).transpose().map_err(refuse)
}

/// Whether the steps of a group go as `dependsOn` allows, which they do unless it says otherwise.
pub(super) fn sub_mode_is_dag(group: &Step) -> Result<bool, WorkflowError> {
    match group.mode.as_deref() {
        None | Some("" | "DAG") => Ok(true),
        Some("StepByStep") => Ok(false),
        Some(other) => {
            let message = format!("{other:?} doesn't exist; write StepByStep or DAG");
            Err(WorkflowError::Field { step: group.name.clone(), field: "mode", message })
        }
    }
}
