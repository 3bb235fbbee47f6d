//! Changes of any field, as JSON patches.

use fleet_api::propagation::{OverrideOperator, PlaintextOverrider};
use fleet_json::{FieldPath, PatchError, json_patch};
use serde_json::{Value, json};

use super::error::Fault;
use crate::nearest;

/// A JSON pointer to something below the root.
pub(super) fn pointer(text: &str) -> Result<(), Fault> {
    match FieldPath::from_pointer(text) {
        Some(path) if !path.is_root() => Ok(()),
        _ => Err(Fault::invalid(
            "",
            format!("{text:?} is no JSON pointer; expected a path such as /spec/replicas"),
        )),
    }
}

pub(super) fn check(own: &PlaintextOverrider) -> Result<(), Fault> {
    operation(&own.path, own.operator, own.value.as_ref(), "path").map(drop)
}

/// One operation of a JSON patch; `field` is what its path is called in the policy.
pub(super) fn operation(
    path: &str,
    operator: OverrideOperator,
    value: Option<&Value>,
    field: &str,
) -> Result<Value, Fault> {
    pointer(path).map_err(|fault| fault.below(format!(".{field}")))?;
    match (operator, value) {
        (OverrideOperator::Remove, _) => Ok(json!({"op": "remove", "path": path})),
        (operator, Some(value)) => Ok(json!({"op": operator.as_str(), "path": path, "value": value})),
        (operator, None) => Err(Fault::invalid(".value", format!("required: the value to {operator}"))),
    }
}

/// Applies the list as one patch.
pub(super) fn apply(object: &mut Value, list: &[PlaintextOverrider]) -> Result<(), Fault> {
    let operations = list.iter().enumerate().map(|(at, own)| {
        operation(&own.path, own.operator, own.value.as_ref(), "path")
            .map_err(|fault| Fault { below: format!("[{at}]{}", fault.below), ..fault })
    });
    let operations: Vec<Value> = operations.collect::<Result<_, _>>()?;
    patched(object, operations, "path")
}

/// Applies operations, and says of which one, and what is there instead, where it fails.
pub(super) fn patched(document: &mut Value, operations: Vec<Value>, field: &str) -> Result<(), Fault> {
    let failed = match json_patch(document, &Value::Array(operations.clone())) {
        Ok(()) => return Ok(()),
        Err(failed) => failed,
    };
    let (index, problem) = match failed {
        PatchError::Operation { index, problem, .. } => (index, problem),
        PatchError::Limit { index, problem } => {
            return Err(Fault::invalid(format!("[{index}]"), problem));
        }
        other => return Err(Fault::invalid("", other.to_string())),
    };
    // What stood there when it failed.
    let mut at_that_time = document.clone();
    let before = operations.get(..index).unwrap_or_default().to_vec();
    let path =
        operations.get(index).and_then(|one| one.get("path")).and_then(Value::as_str).unwrap_or_default();
    let advice = match json_patch(&mut at_that_time, &Value::Array(before)) {
        Ok(()) => advice(&at_that_time, path),
        Err(_) => String::new(),
    };
    Err(Fault::new("PathNotFound", format!("{path}: {problem}{advice}")).below(format!("[{index}].{field}")))
}

/// That there is nothing at a path.
pub(super) fn missing(object: &Value, path: &str) -> Fault {
    Fault::new("PathNotFound", format!("{path}: there is nothing at this path{}", advice(object, path)))
}

/// What is there instead: the nearest entry below the deepest thing that exists.
fn advice(document: &Value, path: &str) -> String {
    let mut missing = path;
    loop {
        let Some((parent, key)) = missing.rsplit_once('/') else { return String::new() };
        match document.pointer(parent) {
            Some(Value::Object(map)) if !map.contains_key(key) => {
                let key = key.replace("~1", "/").replace("~0", "~");
                let what = format!("fields of {}", if parent.is_empty() { "the object" } else { parent });
                let said = nearest::advice(&key, map.keys().map(String::as_str), &what);
                let label = |of: &str, with: &str| {
                    if missing == of {
                        format!("; or use {with}, which makes the map")
                    } else {
                        String::new()
                    }
                };
                let labels = label("/metadata/labels", "labelsOverrider");
                return format!("{said}{labels}{}", label("/metadata/annotations", "annotationsOverrider"));
            }
            Some(Value::Array(items)) => return format!("; {parent} is a list of {}", items.len()),
            Some(_) => return String::new(),
            None => missing = parent,
        }
    }
}
