//! JSON patch (RFC 6902) and JSON merge patch (RFC 7396).

use json_patch::{Patch, PatchErrorKind, PatchOperation};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::limits::{self, MAX_DEPTH};
use crate::path::{FieldPath, type_name};

/// A patch of more operations is refused, as a real API server does.
pub const MAX_OPERATIONS: usize = 10_000;

/// How many bytes the `copy` operations of one JSON patch may add together; they double what they copy,
/// so a short patch could fill the memory.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// A patch that doesn't apply. The target is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch isn't in the form of its kind.
    #[error("{path}: {problem}")]
    Malformed {
        /// Where in the patch.
        path: FieldPath,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// One operation of a JSON patch fails.
    #[error("operation {index} ({op} {path}): {problem}")]
    Operation {
        /// Its position, from 0.
        index: usize,
        /// `add`, `remove`, `replace`, `move`, `copy`, `test`.
        op: String,
        /// Its JSON pointer.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A `test` operation of a JSON patch found something else.
    #[error("operation {index} (test {path}): the value is {found}, not {expected}")]
    TestFailed {
        /// Its position, from 0.
        index: usize,
        /// Its JSON pointer.
        path: String,
        /// What stands there, as JSON, cut short.
        found: String,
        /// What the operation expected, cut short.
        expected: String,
    },
    /// The patch would make the object too large or too deep.
    #[error("operation {index}: {problem}")]
    Limit {
        /// The position of the operation, from 0.
        index: usize,
        /// Which limit.
        problem: String,
    },
}

impl PatchError {
    pub(crate) fn malformed(path: FieldPath, problem: impl Into<String>) -> Self {
        Self::Malformed { path, problem: problem.into() }
    }
}

/// Applies a JSON patch (RFC 6902), all of it or nothing.
///
/// # Errors
/// When `operations` is no patch or one operation fails; it is named by position, kind and path.
pub fn json_patch(target: &mut Value, operations: &Value) -> Result<(), PatchError> {
    let Value::Array(items) = operations else {
        return Err(PatchError::malformed(
            FieldPath::root(),
            format!("a JSON patch is a list of operations, this is {}", type_name(operations)),
        ));
    };
    if items.len() > MAX_OPERATIONS {
        return Err(PatchError::Limit {
            index: MAX_OPERATIONS,
            problem: format!("a patch has at most {MAX_OPERATIONS} operations, this one {}", items.len()),
        });
    }
    let mut result = target.clone();
    let mut copied = 0;
    for (index, item) in items.iter().enumerate() {
        let operation = read_operation(index, item)?;
        check_limits(index, &operation, &result, &mut copied)?;
        let patch = Patch(vec![operation]);
        json_patch::patch_unsafe(&mut result, &patch.0)
            .map_err(|error| operation_error(index, item, &result, &error.kind))?;
    }
    *target = result;
    Ok(())
}

fn read_operation(index: usize, item: &Value) -> Result<PatchOperation, PatchError> {
    PatchOperation::deserialize(item).map_err(|error| PatchError::Operation {
        index,
        op: text(item, "op").unwrap_or("no op").to_owned(),
        path: text(item, "path").unwrap_or("no path").to_owned(),
        problem: error.to_string(),
    })
}

fn text<'v>(item: &'v Value, key: &str) -> Option<&'v str> {
    item.get(key).and_then(Value::as_str)
}

fn operation_error(index: usize, item: &Value, at: &Value, kind: &PatchErrorKind) -> PatchError {
    let path = text(item, "path").unwrap_or_default().to_owned();
    let op = text(item, "op").unwrap_or_default().to_owned();
    let problem = match kind {
        PatchErrorKind::TestFailed => {
            return PatchError::TestFailed {
                index,
                found: at.pointer(&path).map_or_else(|| "absent".to_owned(), shortened),
                path,
                expected: item.get("value").map_or_else(|| "null".to_owned(), shortened),
            };
        }
        PatchErrorKind::InvalidPointer => match op.as_str() {
            "test" => {
                return PatchError::TestFailed {
                    index,
                    path,
                    found: "absent".to_owned(),
                    expected: item.get("value").map_or_else(|| "null".to_owned(), shortened),
                };
            }
            "add" | "copy" | "move" => missing_parent(at, &path),
            _ => "there is nothing at this path".to_owned(),
        },
        PatchErrorKind::InvalidFromPointer => {
            format!("there is nothing at \"from\": {}", text(item, "from").unwrap_or_default())
        }
        other => other.to_string(),
    };
    PatchError::Operation { index, op, path, problem }
}

fn missing_parent(at: &Value, path: &str) -> String {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    match at.pointer(parent) {
        None => format!("the parent {parent} doesn't exist; add it first"),
        Some(Value::Array(list)) => format!("{parent} is a list of {}; use a position or -", list.len()),
        Some(other) => format!("the parent {parent} is {}, not a map or list", type_name(other)),
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn check_limits(
    index: usize,
    operation: &PatchOperation,
    document: &Value,
    copied: &mut usize,
) -> Result<(), PatchError> {
    let (path, value) = match operation {
        PatchOperation::Add(add) => (add.path.as_str(), Some(&add.value)),
        PatchOperation::Replace(replace) => (replace.path.as_str(), Some(&replace.value)),
        PatchOperation::Move(mv) => (mv.path.as_str(), document.pointer(mv.from.as_str())),
        PatchOperation::Copy(copy) => {
            let source = document.pointer(copy.from.as_str());
            *copied = copied.saturating_add(source.map_or(0, |value| value.to_string().len()));
            (copy.path.as_str(), source)
        }
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    if *copied > MAX_COPIED_BYTES {
        let problem = format!("the copy operations add more than {MAX_COPIED_BYTES} bytes");
        return Err(PatchError::Limit { index, problem });
    }
    let steps = path.bytes().filter(|byte| *byte == b'/').count();
    if steps + value.map_or(0, limits::depth) > MAX_DEPTH {
        let problem = format!("the object would be nested deeper than {MAX_DEPTH}");
        return Err(PatchError::Limit { index, problem });
    }
    Ok(())
}

/// Applies a JSON merge patch (RFC 7396): maps merge, null deletes, anything else replaces.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge_patch(map.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// The smallest merge patch that turns `from` into `to`; `{}` when they are equal.
///
/// A merge patch can't say "set to null", so it is exact only where `to` has no null map entries;
/// those come out absent, which is what null means to the Kubernetes API.
#[must_use]
pub fn merge_patch_between(from: &Value, to: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (from, to) else {
        return to.clone();
    };
    let mut patch = Map::new();
    for key in before.keys() {
        if !after.contains_key(key) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    for (key, value) in after {
        match before.get(key) {
            Some(old) if old == value => {}
            Some(old @ Value::Object(_)) if value.is_object() => {
                patch.insert(key.clone(), merge_patch_between(old, value));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests;
