//! Merging and ordering lists.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::directives::{self, Directive};
use super::merge_map;
use crate::patch::PatchError;
use crate::path::{FieldPath, type_name};
use crate::shape::Shape;

/// Merges the list `patch` into `target`, by the strategy of its shape.
pub(super) fn merge<'a, S: Shape<'a>>(
    target: &[Value],
    patch: &[Value],
    shape: Option<S>,
    path: &FieldPath,
) -> Result<Vec<Value>, PatchError> {
    let Some(shape) = shape.filter(|shape| shape.patch_strategy().merge) else {
        return Ok(patch.to_vec());
    };
    match shape.patch_merge_key() {
        Some(key) => merge_by_key(target, patch, key, shape.items(), path),
        None => merge_scalars(target, patch, path),
    }
}

fn merge_scalars(target: &[Value], patch: &[Value], path: &FieldPath) -> Result<Vec<Value>, PatchError> {
    if let Some(index) = patch.iter().position(|item| item.is_object() || item.is_array()) {
        return Err(PatchError::malformed(
            path.child(index),
            "this list is merged as a set of scalars; expected a scalar",
        ));
    }
    let mut seen = HashSet::new();
    let merged = target.iter().chain(patch).filter(|item| seen.insert(*item)).cloned().collect();
    Ok(place_new(merged, patch, target, None))
}

fn merge_by_key<'a, S: Shape<'a>>(
    target: &[Value],
    patch: &[Value],
    key: &str,
    shape: Option<S>,
    path: &FieldPath,
) -> Result<Vec<Value>, PatchError> {
    let mut merged = target.to_vec();
    let mut entries: Vec<(&Map<String, Value>, FieldPath)> = Vec::new();
    let mut replace = false;
    for (index, item) in patch.iter().enumerate() {
        let place = path.child(index);
        let Value::Object(map) = item else {
            return Err(PatchError::malformed(place, format!("expected a map, found {}", type_name(item))));
        };
        match directives::of_map(map, &place)? {
            Some(Directive::Replace) => replace = true,
            Some(Directive::Delete) => {
                let value = map.get(key).ok_or_else(|| lacks_key(&place, key))?;
                merged.retain(|item| item.get(key) != Some(value));
            }
            Some(Directive::Merge) | None => entries.push((map, place)),
        }
    }
    if replace {
        merged.clear();
    }
    let mut positions: HashMap<Value, usize> = HashMap::new();
    for (index, item) in merged.iter().enumerate() {
        if let Some(value) = item.get(key) {
            positions.entry(value.clone()).or_insert(index);
        }
    }
    for (map, place) in entries {
        let value = map.get(key).ok_or_else(|| lacks_key(&place, key))?;
        match positions.get(value).and_then(|index| merged.get_mut(*index)) {
            Some(Value::Object(existing)) => merge_map(existing, map, shape, &place)?,
            _ => {
                let mut item = Map::new();
                merge_map(&mut item, map, shape, &place)?;
                positions.insert(value.clone(), merged.len());
                merged.push(Value::Object(item));
            }
        }
    }
    if replace {
        return Ok(merged);
    }
    Ok(place_new(merged, patch, target, Some(key)))
}

fn lacks_key(place: &FieldPath, key: &str) -> PatchError {
    PatchError::malformed(place.clone(), format!("an item of this list needs its merge key {key:?}"))
}

/// Checks that the patch's items stand in `$setElementOrder`, in the same order.
pub(super) fn check_order<'a, S: Shape<'a>>(
    patch: &[Value],
    order: &[Value],
    shape: Option<S>,
    path: &FieldPath,
) -> Result<(), PatchError> {
    let Some(shape) = shape.filter(|shape| shape.patch_strategy().merge) else { return Ok(()) };
    let key = shape.patch_merge_key();
    let mut rest = order;
    for (index, item) in patch.iter().enumerate() {
        let is_directive = item.get(directives::PATCH).is_some();
        if is_directive {
            continue;
        }
        let known_by = identity(item, key);
        match rest.iter().position(|other| known_by.is_some() && known_by == identity(other, key)) {
            Some(at) => rest = rest.get(at + 1..).unwrap_or(&[]),
            None => {
                return Err(PatchError::malformed(
                    path.child(index),
                    "the order of the patch's items doesn't match its $setElementOrder",
                ));
            }
        }
    }
    Ok(())
}

/// Puts a merged list into the order of `$setElementOrder`; items that it doesn't name keep their place
/// relative to the items they stood before.
pub(super) fn reorder<'a, S: Shape<'a>>(
    merged: Vec<Value>,
    order: &[Value],
    before: &[Value],
    shape: Option<S>,
    path: &FieldPath,
) -> Result<Vec<Value>, PatchError> {
    let Some(shape) = shape.filter(|shape| shape.patch_strategy().merge) else { return Ok(merged) };
    let key = shape.patch_merge_key();
    if let Some(key) = key
        && let Some(index) = order.iter().position(|item| item.get(key).is_none())
    {
        return Err(lacks_key(&path.child(index), key));
    }
    Ok(place_new(merged, order, before, key))
}

/// What an item is known by: the value of its key, or itself.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> Option<&'v Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

fn positions<'v>(list: &'v [Value], key: Option<&str>) -> HashMap<&'v Value, usize> {
    let mut positions = HashMap::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        if let Some(identity) = identity(item, key) {
            positions.entry(identity).or_insert(index);
        }
    }
    positions
}

/// Merges two sequences: the items that `order` names, in that order, and the others in the order of
/// `before`. Where both are known of old, their old order decides which comes first; else the named one does.
fn place_new(merged: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let (in_order, of_old) = (positions(order, key), positions(before, key));
    let place = |known: &HashMap<&Value, usize>, item: &Value| known.get(identity(item, key)?).copied();
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(&in_order, item).is_some());
    named.sort_by_cached_key(|item| place(&in_order, item));
    others.sort_by_cached_key(|item| place(&of_old, item).unwrap_or(usize::MAX));

    let mut all = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (Some(other), Some(name)) => {
                matches!((place(&of_old, other), place(&of_old, name)), (Some(a), Some(b)) if a < b)
            }
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return all,
        };
        all.extend(if other_first { others.next() } else { named.next() });
    }
}
