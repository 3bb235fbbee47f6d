//! Objects inside objects (`x-kubernetes-embedded-resource`).

use serde_json::{Map, Value, json};

use super::FieldError;
use super::format::is_subdomain;
use super::walk::Walk;

/// An embedded object says what it is; its name, if it has one, is a name.
pub(super) fn check(walk: &mut Walk, map: &Map<String, Value>) {
    for field in ["apiVersion", "kind"] {
        if map.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            let path = walk.child(field);
            walk.report(FieldError::required(path, "must not be empty"));
        }
    }
    if let Some(version) = map.get("apiVersion").and_then(Value::as_str)
        && version.matches('/').count() > 1
    {
        let path = walk.child("apiVersion");
        let message = format!("unexpected GroupVersion string: {version}");
        walk.report(FieldError::invalid(path, json!(version), message));
    }
    let name = map.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
    if let Some(name) = name.filter(|name| !name.is_empty() && !is_subdomain(name)) {
        let path = walk.child("metadata").child("name");
        walk.report(FieldError::invalid(path, json!(name), crate::SUBDOMAIN_RULE));
    }
}
