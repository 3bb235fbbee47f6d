//! What the server fills into a CustomResourceDefinition.

use serde_json::{Map, Value, json};

use super::{flag, text, version_rows};

/// Fills `names.singular`, `names.listKind` and `conversion.strategy`.
pub fn set_defaults(definition: &mut Value) {
    let kind = text(definition, "/spec/names/kind").to_owned();
    let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut)
        && !kind.is_empty()
    {
        fill(names, "singular", kind.to_lowercase());
        fill(names, "listKind", format!("{kind}List"));
    }
    let conversion = spec.entry("conversion").or_insert_with(|| json!({}));
    if conversion.is_null() {
        *conversion = json!({});
    }
    if let Value::Object(conversion) = conversion {
        fill(conversion, "strategy", "None".to_owned());
    }
}

fn fill(map: &mut Map<String, Value>, key: &str, value: String) {
    let slot = map.entry(key).or_insert(Value::Null);
    if slot.is_null() || slot.as_str() == Some("") {
        *slot = Value::String(value);
    }
}

/// The status of a definition whose names are free: accepted and established at `now` (RFC 3339), the stored
/// version added to those that objects may have. Conditions that already hold keep their time.
pub fn accepted_status(definition: &Value, now: &str) -> Value {
    let mut conditions: Vec<Value> =
        definition.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    for (kind, reason, message) in [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ] {
        let is = |condition: &&mut Value| condition.get("type").and_then(Value::as_str) == Some(kind);
        let wanted = json!({
            "type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now,
        });
        match conditions.iter_mut().find(is) {
            Some(have) if have.get("status").and_then(Value::as_str) == Some("True") => {}
            Some(have) => *have = wanted,
            None => conditions.push(wanted),
        }
    }
    let mut stored: Vec<String> = super::texts(definition, "/status/storedVersions");
    for (_, version) in version_rows(definition).filter(|(_, version)| flag(version, "storage")) {
        let name = text(version, "/name").to_owned();
        if !stored.contains(&name) {
            stored.push(name);
        }
    }
    let names = definition.pointer("/spec/names").cloned().unwrap_or_else(|| json!({}));
    json!({ "acceptedNames": names, "conditions": conditions, "storedVersions": stored })
}
