//! Changes of labels and annotations.

use fleet_api::propagation::{MapOverrider, OverrideOperator};
use serde_json::{Map, Value, json};

use super::Notes;
use super::error::Fault;
use crate::nearest;

pub(super) fn check(own: &MapOverrider) -> Result<(), Fault> {
    if own.value.is_empty() {
        return Err(Fault::invalid(".value", format!("required: the keys to {}", own.operator)));
    }
    Ok(())
}

/// Sets entries of `metadata.{field}`, or takes them away. Only `add` makes new ones.
pub(super) fn apply(
    object: &mut Value,
    field: &str,
    own: &MapOverrider,
    notes: &mut Notes,
) -> Result<(), Fault> {
    check(own)?;
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err(Fault::new("PathNotFound", "it has no metadata"));
    };
    let mut entries = match metadata.get(field) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(entries)) => entries.clone(),
        Some(_) => return Err(Fault::new("PathNotFound", format!("metadata.{field} isn't a map"))),
    };
    for (key, value) in &own.value {
        match own.operator {
            OverrideOperator::Replace | OverrideOperator::Remove if !entries.contains_key(key) => {
                let advice = nearest::advice(key, entries.keys().map(String::as_str), field);
                notes.push((
                    "NoSuchKey",
                    format!("metadata.{field} has no {key:?} to {}{advice}", own.operator),
                ));
            }
            OverrideOperator::Remove => {
                entries.remove(key);
            }
            OverrideOperator::Add | OverrideOperator::Replace => {
                entries.insert(key.clone(), json!(value));
            }
        }
    }
    if entries.is_empty() {
        metadata.remove(field);
    } else {
        metadata.insert(field.to_owned(), Value::Object(entries));
    }
    Ok(())
}
