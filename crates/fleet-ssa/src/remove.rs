//! Parts of a value: without some fields, or with nothing else.

use fleet_json::Shape;
use serde_json::{Map, Value};

use crate::element::PathElement;
use crate::node::{Kind, Node};
use crate::set::FieldSet;

/// `value` without the fields of `set` and what is below them. Lists and maps that become empty by that go
/// too.
pub fn remove_items<'a, S: Shape<'a>>(value: &Value, set: &FieldSet, shape: S) -> Value {
    let mut out = value.clone();
    remove_at(&mut out, set, Node::root(shape));
    out
}

/// Whether the value has been emptied.
fn remove_at<'a, S: Shape<'a>>(value: &mut Value, set: &FieldSet, node: Node<S>) -> bool {
    match (node.kind(value), value) {
        (Kind::Map, Value::Object(map)) if !map.is_empty() => {
            let fields = node.fields();
            for entry in set.entries() {
                let PathElement::Field(name) = &entry.element else { continue };
                let Some(value) = map.get_mut(name.as_ref()) else { continue };
                if entry.member || remove_at(value, &entry.children, fields.get(name)) {
                    map.remove(name.as_ref());
                }
            }
            map.is_empty()
        }
        (Kind::List, Value::Array(items)) if !items.is_empty() => {
            items.retain_mut(|item| {
                let entry = node.element_of(item).ok().and_then(|element| set.get(&element));
                !entry.is_some_and(|entry| entry.member || remove_at(item, &entry.children, node.items()))
            });
            items.is_empty()
        }
        _ => false,
    }
}

/// Of `value` only the fields of `set`: what a manager with that set would apply. Items of associative lists
/// come with their keys; a map or list that is in the set without its content comes empty.
pub fn extract<'a, S: Shape<'a>>(value: &Value, set: &FieldSet, shape: S) -> Value {
    extract_at(value, set, Node::root(shape))
}

fn extract_at<'a, S: Shape<'a>>(value: &Value, set: &FieldSet, node: Node<S>) -> Value {
    match (node.kind(value), value) {
        (Kind::Map, Value::Object(map)) => {
            let fields = node.fields();
            let mut out = Map::new();
            for entry in set.entries() {
                let PathElement::Field(name) = &entry.element else { continue };
                let Some(value) = map.get(name.as_ref()) else { continue };
                out.insert(name.to_string(), extract_at(value, &entry.children, fields.get(name)));
            }
            Value::Object(out)
        }
        (Kind::List, Value::Array(items)) => {
            let mut out = Vec::new();
            for item in items {
                let Ok(element) = node.element_of(item) else { continue };
                let Some(entry) = set.get(&element) else { continue };
                let mut part = extract_at(item, &entry.children, node.items());
                if let (PathElement::Key(keys), Value::Object(part), Value::Object(item)) =
                    (&element, &mut part, item)
                {
                    for (key, _) in keys.iter() {
                        if let Some(value) = item.get(key.as_ref()) {
                            part.insert(key.to_string(), value.clone());
                        }
                    }
                }
                out.push(part);
            }
            Value::Array(out)
        }
        _ => value.clone(),
    }
}
