//! Names, labels, annotations and label selectors.

use fleet_json::selector::LabelSelector;
use serde_json::Value;

use super::findings::Findings;
use super::names;
use crate::behaviour::tree::{items, map, some, text};

const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The object's name, by the format of its kind.
pub(super) fn object_name(group: &str, kind: &str, object: &Value, found: &mut Findings) {
    let name = text(object, &["metadata", "name"]);
    if name.is_empty() {
        if text(object, &["metadata", "generateName"]).is_empty() {
            found.required("metadata.name", "name or generateName is required");
        }
        return;
    }
    let complaints = match (group, kind) {
        ("", "Service") => names::label_1035(name),
        ("", "Namespace") => names::label(name),
        ("rbac.authorization.k8s.io", _) => names::path_segment(name),
        _ => names::subdomain(name),
    };
    for complaint in complaints {
        found.invalid("metadata.name", name, &complaint);
    }
}

/// `labels` and `annotations` of a metadata at `path` in the object (dots between keys).
pub(super) fn labels_and_annotations(object: &Value, path: &str, found: &mut Findings) {
    let keys: Vec<&str> = path.split('.').collect();
    let Some(metadata) = some(object, &keys) else { return };
    if let Some(all) = some(metadata, &["labels"]) {
        labels(all, &format!("{path}.labels"), found);
    }
    let mut size = 0;
    let path = format!("{path}.annotations");
    for (key, value) in map(metadata, &["annotations"]).into_iter().flatten() {
        for complaint in names::qualified(&key.to_lowercase()) {
            found.invalid(path.clone(), key.as_str(), &complaint);
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        found.too_long(path, ANNOTATIONS_LIMIT);
    }
}

/// A map of labels.
pub(super) fn labels(labels: &Value, path: &str, found: &mut Findings) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        for complaint in names::qualified(key) {
            found.invalid(path, key.as_str(), &complaint);
        }
        if let Some(value) = value.as_str() {
            for complaint in names::label_value(value) {
                found.invalid(path, value, &complaint);
            }
        }
    }
}

/// The syntax of a label selector.
pub(super) fn selector(selector: &Value, path: &str, found: &mut Findings) {
    if let Some(all) = some(selector, &["matchLabels"]) {
        labels(all, &format!("{path}.matchLabels"), found);
    }
    for (index, expression) in items(selector, &["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let values = items(expression, &["values"]);
        match text(expression, &["operator"]) {
            "In" | "NotIn" if values.is_empty() => {
                found.required(
                    format!("{path}.values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                found.forbidden(
                    format!("{path}.values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => found.invalid(format!("{path}.operator"), other, "not a valid selector operator"),
        }
        let key = text(expression, &["key"]);
        for complaint in names::qualified(key) {
            found.invalid(format!("{path}.key"), key, &complaint);
        }
    }
}

/// Whether a selector matches these labels; one with syntax errors, which are findings of their own, doesn't.
pub(super) fn matches(selector: &Value, labels: Option<&Value>) -> bool {
    LabelSelector::from_json(selector).is_ok_and(|selector| selector.matches_value(labels))
}

/// Whether a selector selects everything.
pub(super) fn is_empty(selector: &Value) -> bool {
    map(selector, &["matchLabels"]).is_none_or(serde_json::Map::is_empty)
        && items(selector, &["matchExpressions"]).is_empty()
}
