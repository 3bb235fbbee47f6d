//! Lists: duplicates, and which item of the old list an item was.

use std::collections::{HashMap, HashSet};

use fleet_json::shape::{ListType, Shape};
use serde_json::{Map, Value};

use super::walk::Walk;
use super::{ErrorKind, FieldError};
use crate::schema::SchemaRef;

/// The values that identify an item of a list of type map: absent keys take the default of their field,
/// or are left out.
pub fn item_keys(schema: SchemaRef<'_>, item: &Value) -> Option<Map<String, Value>> {
    let map = item.as_object()?;
    let fields = schema.item()?;
    let mut keys = Map::new();
    for key in schema.list_map_keys() {
        let value = map.get(key).or_else(|| fields.property(key).and_then(SchemaRef::default));
        if let Some(value) = value {
            keys.insert(key.clone(), value.clone());
        }
    }
    Some(keys)
}

/// A text that is the same for equal values; keys are sorted because a map may keep them as inserted.
fn identity(value: &Value) -> String {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| key.as_str());
                out.push('{');
                for (key, value) in entries {
                    out.push_str(&super::error::quoted(key));
                    out.push(':');
                    write(value, out);
                    out.push(',');
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for item in items {
                    write(item, out);
                    out.push(',');
                }
                out.push(']');
            }
            scalar => out.push_str(&scalar.to_string()),
        }
    }
    let mut out = String::new();
    write(value, &mut out);
    out
}

pub(super) fn check(walk: &mut Walk, schema: SchemaRef<'_>, items: &[Value]) {
    let unique = match schema.list_type() {
        ListType::Atomic if schema.node().unique_items => |_: SchemaRef<'_>, item: &Value| Some(item.clone()),
        ListType::Atomic => return,
        ListType::Set => |_: SchemaRef<'_>, item: &Value| Some(item.clone()),
        ListType::Map => |schema: SchemaRef<'_>, item: &Value| item_keys(schema, item).map(Value::Object),
    };
    let mut seen = HashSet::new();
    for (at, item) in items.iter().enumerate() {
        let Some(key) = unique(schema, item) else { continue };
        if !seen.insert(identity(&key)) {
            let path = walk.path.child(at);
            walk.report(FieldError::with_value(ErrorKind::Duplicate, path, key, ""));
        }
    }
}

/// Finds the old item that a new one continues; only lists of type map have such.
pub(super) struct Correlation<'a> {
    old: HashMap<String, &'a Value>,
}

impl<'a> Correlation<'a> {
    pub(super) fn new(schema: SchemaRef<'_>, old: Option<&'a Value>) -> Correlation<'a> {
        let mut found = HashMap::new();
        if schema.list_type() == ListType::Map
            && let Some(Value::Array(items)) = old
        {
            for item in items {
                if let Some(keys) = item_keys(schema, item) {
                    found.insert(identity(&Value::Object(keys)), item);
                }
            }
        }
        Correlation { old: found }
    }

    pub(super) fn of(&self, schema: SchemaRef<'_>, item: &Value) -> Option<&'a Value> {
        if self.old.is_empty() {
            return None;
        }
        let keys = item_keys(schema, item)?;
        self.old.get(&identity(&Value::Object(keys))).copied()
    }
}
