//! Changes of containers' commands and arguments.

use fleet_api::propagation::{ContainerOverrider, OverrideOperator};
use serde_json::{Value, json};

use super::error::Fault;
use super::{Notes, containers};
use crate::nearest;

pub(super) fn check(own: &ContainerOverrider) -> Result<(), Fault> {
    if own.container_name.is_empty() {
        return Err(Fault::invalid(".containerName", "required: the container's name"));
    }
    if own.operator == OverrideOperator::Replace {
        return Err(Fault::invalid(
            ".operator",
            "expected add or remove; to replace items, remove them and add others",
        ));
    }
    if own.value.is_empty() {
        return Err(Fault::invalid(".value", format!("required: the items to {}", own.operator)));
    }
    Ok(())
}

/// Appends items to the container's `field`, or takes away those that are equal.
pub(super) fn apply(
    object: &mut Value,
    field: &str,
    own: &ContainerOverrider,
    notes: &mut Notes,
) -> Result<(), Fault> {
    check(own)?;
    let all = containers::pointers(object);
    let Some((pointer, name)) = all.iter().find(|(_, name)| *name == own.container_name) else {
        if all.is_empty() {
            notes.push(("NoContainers", "it has no containers where workloads have theirs".to_owned()));
        } else {
            let names = all.iter().map(|(_, name)| name.as_str());
            let advice = nearest::advice(&own.container_name, names, "containers");
            notes.push(("NoSuchContainer", format!("it has no container {:?}{advice}", own.container_name)));
        }
        return Ok(());
    };
    let Some(container) = object.pointer_mut(pointer).and_then(Value::as_object_mut) else { return Ok(()) };
    let mut items = match container.get(field) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.clone(),
        Some(_) => {
            return Err(Fault::new("PathNotFound", format!("the {field} of container {name} isn't a list")));
        }
    };
    if own.operator == OverrideOperator::Add {
        items.extend(own.value.iter().map(|item| json!(item)));
    } else {
        for item in &own.value {
            if !items.iter().any(|have| have.as_str() == Some(item)) {
                let message = format!("container {name} has no {item:?} in its {field} to remove");
                notes.push(("NothingToRemove", message));
            }
        }
        items.retain(|have| !own.value.iter().any(|item| have.as_str() == Some(item)));
    }
    if items.is_empty() {
        container.remove(field);
    } else {
        container.insert(field.to_owned(), Value::Array(items));
    }
    Ok(())
}
