//! What every object must have, and what it is called.

use serde_json::Value;

use crate::definition::parameters::shown as shown_value;
use crate::error::RenderError;
use crate::nearest;
use crate::overrides::EffectiveComponent;

/// The objects that stand in a `k8s-objects` component, without what belongs to a cluster.
pub(super) fn inline(component: &EffectiveComponent) -> Result<Vec<Value>, RenderError> {
    let wrong = |path: &str, problem: String| RenderError::InvalidObject {
        component: component.name.clone(),
        path: path.to_owned(),
        problem,
    };
    let properties = component.properties.as_object().ok_or_else(|| {
        wrong("properties", format!("expected a map, got {}", shown_value(&component.properties)))
    })?;
    if let Some(key) = properties.keys().filter(|key| *key != "objects").min() {
        let advice = nearest::advice(key, ["objects"], "parameters");
        return Err(wrong(&format!("properties.{key}"), format!("unknown parameter{advice}")));
    }
    match properties.get("objects") {
        Some(Value::Array(items)) if !items.is_empty() => {
            let mut objects = items.clone();
            for object in &mut objects {
                let group = group(object).to_owned();
                let kind = text(object, "kind").to_owned();
                fleet_schema::behaviour::sanitise(&group, &kind, object);
            }
            Ok(objects)
        }
        Some(Value::Array(_)) | None => {
            Err(wrong("properties.objects", "required: expected at least one object".to_owned()))
        }
        Some(other) => {
            Err(wrong("properties.objects", format!("expected a list, got {}", shown_value(other))))
        }
    }
}

/// Refuses what isn't an object with a kind and a name.
pub(super) fn check(object: &Value, component: &str, place: &str) -> Result<(), RenderError> {
    let wrong = |field: &str, problem: String| RenderError::InvalidObject {
        component: component.to_owned(),
        path: format!("{place}{field}"),
        problem,
    };
    if !object.is_object() {
        return Err(wrong("", format!("expected an object, got {}", shown_value(object))));
    }
    for (field, pointer) in
        [(".apiVersion", "/apiVersion"), (".kind", "/kind"), (".metadata.name", "/metadata/name")]
    {
        match object.pointer(pointer) {
            Some(Value::String(text)) if !text.is_empty() => {}
            None | Some(Value::Null | Value::String(_)) => {
                return Err(wrong(field, "required: expected a string".to_owned()));
            }
            Some(other) => {
                return Err(wrong(field, format!("expected a string, got {}", shown_value(other))));
            }
        }
    }
    Ok(())
}

/// The target decides the namespace.
pub(super) fn strip_namespace(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("namespace");
    }
}

fn text<'v>(object: &'v Value, field: &str) -> &'v str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The API group; empty for the core group.
pub(super) fn group(object: &Value) -> &str {
    text(object, "apiVersion").split_once('/').map_or("", |(group, _)| group)
}

/// The API version.
pub(super) fn version(object: &Value) -> &str {
    let api_version = text(object, "apiVersion");
    api_version.split_once('/').map_or(api_version, |(_, version)| version)
}

/// The kind.
pub(super) fn kind(object: &Value) -> &str {
    text(object, "kind")
}

/// Group, kind and name: what an object is on a target, whatever version it is written in.
pub(super) fn identity(object: &Value) -> (String, String, String) {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    (group(object).to_owned(), kind(object).to_owned(), name.to_owned())
}

/// `Deployment "web"`.
pub(super) fn shown(object: &Value) -> String {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    format!("{} {name:?}", kind(object))
}
