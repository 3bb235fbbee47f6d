//! Whether an object's metadata is acceptable, for all kinds alike.

use fleet_json::selector::{check_label_key, check_label_value};
use serde_json::{Map, Value};

use super::names;
use crate::object::ObjectExt;
use crate::registry::Kind;
use crate::status::Cause;

/// What all annotations of an object may take together.
const ANNOTATIONS: usize = 256 * 1024;

pub(crate) fn check_new(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = object.name();
    if let Some(problem) = names::problem(kind, name) {
        causes.push(invalid("metadata.name", &format!("{name:?}"), &problem));
    }
    check_common(object, &mut causes);
    causes
}

pub(crate) fn check_changed(_kind: &Kind, old: &Value, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check_common(new, &mut causes);
    if new.is_terminating() {
        let before = old.finalizers();
        let added: Vec<String> = new.finalizers().into_iter().filter(|name| !before.contains(name)).collect();
        if old.is_terminating() && !added.is_empty() {
            let why = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            causes.push(Cause::field("FieldValueForbidden", "metadata.finalizers", why));
        }
    }
    causes
}

fn check_common(object: &Value, causes: &mut Vec<Cause>) {
    for (key, value) in map(object, "labels", causes) {
        if let Err(problem) = check_label_key(key) {
            causes.push(invalid("metadata.labels", &format!("{key:?}"), &problem));
        }
        match value.as_str().map(check_label_value) {
            Some(Ok(())) => {}
            Some(Err(problem)) => causes.push(invalid("metadata.labels", &value.to_string(), &problem)),
            None => causes.push(invalid("metadata.labels", &value.to_string(), "must be a string")),
        }
    }
    let mut size = 0;
    for (key, value) in map(object, "annotations", causes) {
        size += key.len() + value.as_str().map_or(0, str::len);
        if let Err(problem) = check_label_key(&key.to_ascii_lowercase()) {
            causes.push(invalid("metadata.annotations", &format!("{key:?}"), &problem));
        }
        if !value.is_string() {
            causes.push(invalid("metadata.annotations", &value.to_string(), "must be a string"));
        }
    }
    if size > ANNOTATIONS {
        let why = format!("Too long: may not be more than {ANNOTATIONS} bytes");
        causes.push(Cause::field("FieldValueTooLong", "metadata.annotations", why));
    }
    check_owners(object, causes);
    for finalizer in object.finalizers() {
        if check_label_key(&finalizer).is_err() {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(invalid("metadata.finalizers", &format!("{finalizer:?}"), why));
        }
    }
}

fn check_owners(object: &Value, causes: &mut Vec<Cause>) {
    let owners =
        object.meta("ownerReferences").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut controllers = 0;
    for (at, owner) in owners.iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.get(field).and_then(Value::as_str).unwrap_or_default().is_empty() {
                let path = format!("metadata.ownerReferences[{at}].{field}");
                causes.push(Cause::field("FieldValueRequired", path, "Required value: must not be empty"));
            }
        }
        controllers += usize::from(owner.get("controller").and_then(Value::as_bool) == Some(true));
    }
    if controllers > 1 {
        let why = "Only one reference can have Controller set to true";
        causes.push(invalid("metadata.ownerReferences", "[]", why));
    }
}

/// The entries of a map of the metadata; a cause where it is no map.
fn map<'a>(
    object: &'a Value,
    field: &str,
    causes: &mut Vec<Cause>,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    let found = object.meta(field).filter(|value| !value.is_null());
    if found.is_some_and(|value| !value.is_object()) {
        causes.push(invalid(&format!("metadata.{field}"), "", "must be a map"));
    }
    found.and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn invalid(field: &str, shown: &str, problem: &str) -> Cause {
    Cause::field("FieldValueInvalid", field, format!("Invalid value: {shown}: {problem}"))
}
