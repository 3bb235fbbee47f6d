//! Reading an object without knowing its type.

use serde_json::Value;

/// An object, and what every rule asks of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'o> {
    object: &'o Value,
    /// The API group, empty for the core group.
    pub(crate) group: &'o str,
    /// The kind.
    pub(crate) kind: &'o str,
}

impl<'o> View<'o> {
    pub(crate) fn new(object: &'o Value) -> Self {
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
        Self { object, group, kind: text("kind") }
    }

    /// The whole object.
    pub(crate) fn object(&self) -> &'o Value {
        self.object
    }

    /// The value at a path of map entries.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&'o Value> {
        path.iter().try_fold(self.object, |at, name| at.get(name)).filter(|value| !value.is_null())
    }

    /// The text at a path; empty when there is none.
    pub(crate) fn text(&self, path: &[&str]) -> &'o str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// The integer at a path.
    pub(crate) fn int(&self, path: &[&str]) -> Option<i64> {
        self.at(path).and_then(Value::as_i64)
    }

    /// A counter of the status, which leaves out zeroes.
    pub(crate) fn count(&self, name: &str) -> i64 {
        self.int(&["status", name]).unwrap_or(0)
    }

    /// The flag at a path.
    pub(crate) fn flag(&self, path: &[&str]) -> bool {
        self.at(path).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The items of a list at a path.
    pub(crate) fn list(&self, path: &[&str]) -> &'o [Value] {
        self.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// `metadata.generation`.
    pub(crate) fn generation(&self) -> Option<i64> {
        self.int(&["metadata", "generation"])
    }

    /// `status.observedGeneration`.
    pub(crate) fn observed_generation(&self) -> Option<i64> {
        self.int(&["status", "observedGeneration"])
    }
}
