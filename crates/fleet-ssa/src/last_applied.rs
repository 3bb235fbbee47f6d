//! The annotation of client-side apply, for those who move from `kubectl apply` to `kubectl apply
//! --server-side`: as kube-apiserver does, and for kubectl only.

use fleet_json::Shape;
use serde_json::{Map, Value};

use crate::compare::compare_objects;
use crate::set::FieldSet;
use crate::to_set::owned_fields;

/// The manager of `kubectl apply --server-side`.
const KUBECTL: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What all annotations of an object may take together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// Whether the annotation matters to this manager.
pub(crate) fn concerns(manager: &str) -> bool {
    manager == KUBECTL
}

/// The fields that client-side apply set and that still are as it set them: kubectl takes them over without
/// a conflict.
pub(crate) fn fields_that_may_be_taken<'a, S: Shape<'a>>(manager: &str, live: &Value, shape: S) -> FieldSet {
    if !concerns(manager) {
        return FieldSet::new();
    }
    let Some(applied) = annotation(live).and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return FieldSet::new();
    };
    let differs = compare_objects(&applied, live, shape);
    owned_fields(&applied, shape).difference(&differs.written()).difference(&differs.removed)
}

/// Brings the annotation, where there is one, to what kubectl now applies, so that client-side apply can
/// still be gone back to. Whether it changed.
pub(crate) fn refresh(manager: &str, object: &mut Value, config: &Value) -> bool {
    if !concerns(manager) || annotation(object).is_none_or(str::is_empty) {
        return false;
    }
    let mut text = String::new();
    write_sorted(&without_annotation(config), &mut text);
    text.push('\n');
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else {
        return false;
    };
    let others: usize = annotations
        .iter()
        .filter(|(name, _)| *name != ANNOTATION)
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
        .sum();
    if others + ANNOTATION.len() + text.len() > ANNOTATIONS_LIMIT {
        text.clear();
    }
    let new = Value::String(text);
    match annotations.get_mut(ANNOTATION) {
        Some(old) if *old != new => {
            *old = new;
            true
        }
        _ => false,
    }
}

fn annotation(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()
}

fn without_annotation(config: &Value) -> Value {
    let mut out = config.clone();
    if let Some(annotations) = out.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    out
}

/// JSON with the keys of maps in order, whatever order the map keeps.
fn write_sorted(value: &Value, out: &mut String) {
    let string = |text: &str| serde_json::to_string(text).unwrap_or_default();
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = Map::iter(map).collect();
            entries.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (i, (name, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&string(name));
                out.push(':');
                write_sorted(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_sorted(item, out);
            }
            out.push(']');
        }
        Value::String(text) => out.push_str(&string(text)),
        scalar => out.push_str(&scalar.to_string()),
    }
}
