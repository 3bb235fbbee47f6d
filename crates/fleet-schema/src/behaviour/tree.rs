//! Short ways to read and fill a JSON tree.

use serde_json::{Map, Value};

pub(crate) type Object = Map<String, Value>;

/// How deep a tree is followed; the API refuses deeper input long before.
pub(crate) const MAX_DEPTH: usize = 128;

/// The value below `path`, map keys only.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// As [`at`], and `null` counts as absent.
pub(crate) fn some<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    at(value, path).filter(|value| !value.is_null())
}

/// The string below `path`, empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The integer below `path`.
pub(crate) fn int(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

/// The list below `path`, empty where there is none.
pub(crate) fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The map below `path`.
pub(crate) fn map<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Object> {
    at(value, path).and_then(Value::as_object)
}

/// The map below `path`, for writing.
pub(crate) fn map_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Object> {
    path.iter().try_fold(value, |value, key| value.get_mut(key))?.as_object_mut()
}

/// Absent, null, or (as Go's zero value) an empty string.
pub(crate) fn unset(map: &Object, key: &str) -> bool {
    match map.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

/// Fills `key` where it is unset.
pub(crate) fn fill(map: &mut Object, key: &str, value: impl Into<Value>) {
    if unset(map, key) {
        map.insert(key.to_owned(), value.into());
    }
}

/// The map at `key`, if there is one.
pub(crate) fn child<'a>(map: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    map.get_mut(key)?.as_object_mut()
}

/// The map at `key`, made empty where it is unset; `None` where something else stands there.
pub(crate) fn child_or_new<'a>(map: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    fill(map, key, Value::Object(Map::new()));
    child(map, key)
}

/// Calls `visit` for each map in the list at `key`.
pub(crate) fn each(map: &mut Object, key: &str, mut visit: impl FnMut(&mut Object)) {
    let Some(Value::Array(list)) = map.get_mut(key) else { return };
    list.iter_mut().filter_map(Value::as_object_mut).for_each(&mut visit);
}

/// Takes entries out of the map below `path` and, where that leaves it empty, the map itself.
pub(crate) fn remove_entries(value: &mut Value, path: &[&str], drop: impl Fn(&str, &Value) -> bool) {
    let Some((last, parents)) = path.split_last() else { return };
    let Some(parent) = map_mut(value, parents) else { return };
    let Some(map) = parent.get_mut(*last).and_then(Value::as_object_mut) else { return };
    map.retain(|key, value| !drop(key, value));
    if map.is_empty() {
        parent.remove(*last);
    }
}

/// Takes null entries out of maps: Go's decoder reads them as absent.
pub(crate) fn drop_nulls(value: &mut Value, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(|value| drop_nulls(value, depth + 1));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| drop_nulls(value, depth + 1)),
        _ => {}
    }
}

/// Group and version of an `apiVersion`.
pub(crate) fn group_version(object: &Value) -> (&str, &str) {
    let api_version = text(object, &["apiVersion"]);
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Where in an object something stands: owned, for walks that write later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Field(String),
    Index(usize),
}

/// The value at `path`, for writing.
pub(crate) fn step_mut<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Field(name) => value.get_mut(name),
        Step::Index(index) => value.get_mut(index),
    })
}

/// Removes a map entry; list items stay, so that the indices of other paths keep their meaning.
pub(crate) fn remove_at(value: &mut Value, path: &[Step]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let Step::Field(name) = last else { return None };
    step_mut(value, parents)?.as_object_mut()?.remove(name)
}
