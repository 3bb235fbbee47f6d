//! Defaults of custom kinds.

use serde_json::Value;

use crate::schema::SchemaRef;
use crate::validate::MAX_VALUE_DEPTH;

/// Fills absent fields that have a default, as `apiextensions.k8s.io/v1` does: a `null` that isn't allowed
/// gives way to the default, or goes where there is none. Doing it twice changes nothing more.
///
/// Built-in definitions (metadata, and all built-in kinds) are left alone: the defaults in their schemas are
/// Go's zero values; what really happens to them is in [`behaviour`](crate::behaviour).
pub fn apply_defaults(schema: SchemaRef<'_>, value: &mut Value) {
    fill(schema, value, 0);
}

fn fill(schema: SchemaRef<'_>, value: &mut Value, depth: usize) {
    if depth > MAX_VALUE_DEPTH || schema.is_reference() {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, field) in &schema.node().properties {
                let field = schema.at(field);
                if field.is_reference() {
                    continue;
                }
                let refused_null = |value: &Value| value.is_null() && !field.nullable();
                match (map.get(name.as_ref()).is_none_or(refused_null), field.default()) {
                    (true, Some(default)) => {
                        map.insert(name.clone().into_string(), default.clone());
                    }
                    (true, None) => {
                        map.remove(name.as_ref());
                    }
                    (false, _) => {}
                }
            }
            let entries = schema.additional();
            if let Some(entry) = entries.filter(|entry| !entry.nullable() && entry.default().is_none()) {
                map.retain(|name, value| {
                    !value.is_null() || entry.is_reference() || schema.property(name).is_some()
                });
            }
            for (name, value) in map.iter_mut() {
                if let Some(field) = schema.property(name) {
                    fill(field, value, depth + 1);
                } else if let Some(entry) = entries {
                    replace_null(entry, value);
                    fill(entry, value, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            let Some(item) = schema.item() else { return };
            for value in items {
                replace_null(item, value);
                fill(item, value, depth + 1);
            }
        }
        _ => {}
    }
}

fn replace_null(schema: SchemaRef<'_>, value: &mut Value) {
    if value.is_null()
        && !schema.nullable()
        && !schema.is_reference()
        && let Some(default) = schema.default()
    {
        *value = default.clone();
    }
}

#[cfg(test)]
mod tests;
