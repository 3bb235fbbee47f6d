//! Fields that a schema doesn't know.

use fleet_json::path::{FieldPath, Segment};
use serde_json::Value;

use crate::schema::{Additional, SchemaRef, SchemaType};
use crate::validate::MAX_VALUE_DEPTH;

/// Drops the fields that the schema doesn't know, and says which: pruning of custom kinds, and what
/// `fieldValidation` reports for any kind. [`validate::place`](crate::validate::place) writes a path the way
/// `unknown field "spec.foo"` does.
///
/// Below a reference to a built-in definition a map without declared fields is open (a Go type that holds
/// any JSON); in a custom schema it is closed, as `apiextensions.k8s.io/v1` has it.
pub fn prune(schema: SchemaRef<'_>, value: &mut Value) -> Vec<FieldPath> {
    let unknown = unknown_fields(schema, value);
    // From the end, so that nothing that is still to be removed moves.
    for path in unknown.iter().rev() {
        remove(value, path);
    }
    unknown
}

/// The fields that [`prune`] would drop, in the order of the value.
pub fn unknown_fields(schema: SchemaRef<'_>, value: &Value) -> Vec<FieldPath> {
    let mut walk = Walk { path: FieldPath::default(), unknown: Vec::new() };
    walk.node(schema, value, schema.is_reference());
    walk.unknown
}

/// What a strict server says of an unknown field: `unknown field "spec.foo"`.
pub fn unknown_field_message(path: &FieldPath) -> String {
    format!("unknown field {:?}", crate::validate::place(path))
}

fn remove(value: &mut Value, path: &FieldPath) {
    let Some((Segment::Field(last), parents)) = path.segments().split_last() else { return };
    let mut at = value;
    for segment in parents {
        let next = match segment {
            Segment::Field(name) => at.get_mut(name),
            Segment::Index(index) => at.get_mut(*index),
            _ => None,
        };
        let Some(next) = next else { return };
        at = next;
    }
    if let Value::Object(map) = at {
        map.remove(last);
    }
}

struct Walk {
    path: FieldPath,
    unknown: Vec<FieldPath>,
}

impl Walk {
    /// `built_in`: a definition stands above.
    fn node(&mut self, schema: SchemaRef<'_>, value: &Value, built_in: bool) {
        if self.path.len() > MAX_VALUE_DEPTH {
            return;
        }
        let built_in = built_in || schema.is_reference();
        let open = schema.preserves_unknown()
            || schema.node().additional == Additional::Any
            || (built_in && says_nothing(schema));
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let known = schema.property(name).or_else(|| schema.additional());
                    if known.is_none() && !open {
                        self.unknown.push(self.path.child(name.as_str()));
                        continue;
                    }
                    // Below what nobody describes there is nothing left to prune.
                    if let Some(field) = known {
                        self.below(Segment::Field(name.clone()), field, value, built_in);
                    }
                }
            }
            Value::Array(items) => {
                let Some(item) = schema.item() else { return };
                for (at, value) in items.iter().enumerate() {
                    self.below(Segment::Index(at), item, value, built_in);
                }
            }
            _ => {}
        }
    }

    fn below(&mut self, step: Segment, schema: SchemaRef<'_>, value: &Value, built_in: bool) {
        self.path.push(step);
        self.node(schema, value, built_in);
        self.path.pop();
    }
}

fn says_nothing(schema: SchemaRef<'_>) -> bool {
    let node = schema.node();
    node.ty == SchemaType::Any && node.properties.is_empty() && schema.site().properties.is_empty()
}

#[cfg(test)]
mod tests;
