//! Drift: fields that we delivered and that are different on the member.

use fleet_api::ObjectId;
use fleet_json::{ChangeKind, FieldPath, Quantity, Segment, diff_by_name};
use serde::Serialize;
use serde_json::Value;

use crate::plan::redact;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Where, within the object.
    pub path: FieldPath,
    /// What was delivered; a Secret's value is left out.
    pub delivered: Option<Value>,
    /// What is there; `None` where the field is gone.
    pub live: Option<Value>,
}

/// Compares what was delivered with what is there. What we didn't send isn't looked at.
pub fn drift(id: &ObjectId, delivered: &Value, live: &Value) -> Vec<Drift> {
    let mut found = Vec::new();
    for change in diff_by_name(delivered, live) {
        let (delivered, live) = match change.change {
            ChangeKind::Added(_) | ChangeKind::Reordered { .. } => continue,
            ChangeKind::Removed(from) if is_empty(&from) => continue,
            ChangeKind::Removed(from) => (Some(from), None),
            ChangeKind::Changed { from, to } if holds_quantity(&change.path) && same(&from, &to) => continue,
            ChangeKind::Changed { from, to } => (Some(from), Some(to)),
        };
        found.push(Drift {
            delivered: redact(id, &change.path, delivered),
            live: redact(id, &change.path, live),
            path: change.path,
        });
    }
    found
}

/// API servers drop empty maps and lists.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// Whether API servers read the place as a quantity. Elsewhere (an environment variable, an annotation) `1` and
/// `1000m` are two texts.
fn holds_quantity(path: &FieldPath) -> bool {
    const FIELDS: [&str; 16] = [
        "limits",
        "requests",
        "hard",
        "capacity",
        "allocatable",
        "storage",
        "sizeLimit",
        "divisor",
        "overhead",
        "default",
        "defaultRequest",
        "max",
        "min",
        "maxLimitRequestRatio",
        "averageValue",
        "value",
    ];
    let named = |name: &str| {
        path.segments().iter().any(|segment| matches!(segment, Segment::Field(field) if field == name))
    };
    FIELDS.iter().any(|field| named(field))
        && !["metadata", "env", "data", "stringData"].iter().any(|f| named(f))
}

/// API servers write quantities canonically (`1000m` becomes `1`).
fn same(a: &Value, b: &Value) -> bool {
    match (Quantity::from_value(a), Quantity::from_value(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> ObjectId {
        ObjectId::new("apps/v1", "Deployment", "d", "w")
    }

    #[test]
    fn only_what_was_delivered_can_drift() {
        let delivered = json!({"spec": {"replicas": 5, "template": {"spec": {"containers": [
            {"name": "web", "image": "web:1", "resources": {"limits": {"cpu": "1000m"}}}]}}}});
        let live = json!({"spec": {"replicas": 4, "paused": true, "template": {"spec": {"containers": [
            {"name": "sidecar", "image": "mesh:2"},
            {"name": "web", "image": "web:1", "resources": {"limits": {"cpu": "1"}}}]}}}});
        let found = drift(&deployment(), &delivered, &live);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path.to_dotted(), "spec.replicas");
        assert_eq!((found[0].delivered.clone(), found[0].live.clone()), (Some(json!(5)), Some(json!(4))));
    }

    #[test]
    fn a_secrets_values_are_left_out() {
        let id = ObjectId::new("v1", "Secret", "d", "w");
        let found =
            drift(&id, &json!({"data": {"password": "aGk="}}), &json!({"data": {"password": "eW8="}}));
        let text = serde_json::to_string(&found).unwrap();
        assert!(text.contains("data.password") && !text.contains("aGk=") && !text.contains("eW8="), "{text}");
    }
}
