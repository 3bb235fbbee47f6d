//! Steps and the steps of groups, in one list.

use fleet_api::Step;
use serde_json::Value;

use super::{MOST_STEPS, WorkflowError};

/// The type of a step that holds others.
pub(super) const GROUP: &str = "step-group";

/// A step in the list of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The step, with its name filled in.
    pub step: Step,
    /// The place of the group that it belongs to.
    pub group: Option<usize>,
}

/// Every step with its name filled in; the steps of a group follow the group, one level deep.
///
/// # Errors
/// Where a group holds what is no step, or what isn't a group holds steps.
pub fn flatten(steps: &[Step]) -> Result<Vec<Written>, WorkflowError> {
    let mut all: Vec<Written> = Vec::with_capacity(steps.len());
    for (position, step) in steps.iter().enumerate() {
        let name = if step.name.is_empty() { format!("step-{position}") } else { step.name.clone() };
        let place = all.len();
        let refuse =
            |message: String| WorkflowError::Field { step: name.clone(), field: "subSteps", message };
        let holds = !step.sub_steps.is_empty();
        if holds && step.type_ != GROUP {
            return Err(refuse(format!("a step of type {} holds none; write type: {GROUP}", step.type_)));
        }
        if !holds && step.type_ == GROUP {
            return Err(refuse("a group without steps does nothing; write some, or take it away".to_owned()));
        }
        all.push(Written { step: Step { name: name.clone(), ..step.clone() }, group: None });
        for (number, written) in step.sub_steps.iter().enumerate() {
            let mut sub = sub_step(written).map_err(|message| refuse(format!("[{number}]: {message}")))?;
            if sub.name.is_empty() {
                sub.name = format!("{name}-{number}");
            }
            if !sub.sub_steps.is_empty() || sub.type_ == GROUP {
                return Err(refuse(format!(
                    "[{number}]: {:?} is a group within a group; groups go one level deep",
                    sub.name
                )));
            }
            all.push(Written { step: sub, group: Some(place) });
        }
    }
    if all.len() > MOST_STEPS {
        return Err(WorkflowError::TooMany { what: "steps", count: all.len(), most: MOST_STEPS });
    }
    Ok(all)
}

/// Reads a step of a group. What it doesn't know is refused here, since no schema does it: a misspelt `timeout` or
/// `if` would otherwise be dropped without a word.
fn sub_step(written: &Value) -> Result<Step, String> {
    let step: Step = serde_json::from_value(written.clone()).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(&step).map_err(|error| error.to_string())?;
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let written = written.as_object().into_iter().flatten();
    let mut unknown = written.filter(|(field, value)| says(value) && known.get(*field).is_none());
    match unknown.next() {
        Some((field, _)) => Err(format!("a step has no field {field:?}")),
        None => Ok(step),
    }
}
