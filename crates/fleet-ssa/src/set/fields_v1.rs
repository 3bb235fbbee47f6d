//! The FieldsV1 format: a trie as nested JSON maps.

use serde_json::{Map, Value};

use super::FieldSet;
use crate::element::{ElementError, PathElement};
use crate::node::MAX_DEPTH;

/// FieldsV1 data that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsV1Error {
    /// A key of a map isn't a path element.
    #[error(transparent)]
    Element(#[from] ElementError),
    /// Something other than a map.
    #[error("expected a map of fields")]
    NotAMap,
    /// More levels than any object has.
    #[error("nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
}

impl FieldSet {
    /// Reads FieldsV1. Elements of a kind that isn't known are dropped.
    ///
    /// # Errors
    /// See [`FieldsV1Error`].
    pub fn from_fields_v1(fields: &Value) -> Result<Self, FieldsV1Error> {
        read(fields, 0).map(|(_, set)| set)
    }

    /// Writes FieldsV1.
    pub fn to_fields_v1(&self) -> Value {
        Value::Object(write(self))
    }
}

/// Whether the map has `.`, and what else it has.
fn read(fields: &Value, depth: usize) -> Result<(bool, FieldSet), FieldsV1Error> {
    let Value::Object(map) = fields else { return Err(FieldsV1Error::NotAMap) };
    if depth > MAX_DEPTH {
        return Err(FieldsV1Error::TooDeep);
    }
    let mut set = FieldSet::new();
    let mut own = false;
    for (key, below) in map {
        if key == "." {
            own = true;
            continue;
        }
        let (dot, children) = read(below, depth + 1)?;
        if let Some(element) = PathElement::from_fields_v1(key)? {
            // `"f:x": {}` means x itself.
            let member = dot || children.is_empty();
            set.push(element, member, children);
        }
    }
    Ok((own, set))
}

fn write(set: &FieldSet) -> Map<String, Value> {
    let entry = |entry: &super::Entry| {
        let mut below = write(&entry.children);
        if entry.member && !below.is_empty() {
            below.insert(".".to_owned(), Value::Object(Map::new()));
        }
        (entry.element.to_fields_v1(), Value::Object(below))
    };
    set.entries().iter().map(entry).collect()
}
