//! Strategic merge patch: Kubernetes' own patch, which merges lists by key.
//!
//! The rules are those of the API server
//! (<https://github.com/kubernetes/design-proposals-archive/blob/main/cli/preserve-order-in-strategic-merge-patch.md>
//! and the API conventions): maps merge, null deletes, lists are replaced unless their type says `merge`,
//! and directives (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) say the rest.
//! A `$patch: delete` in a map leaves an empty map, as on a real server. What the shape doesn't know is
//! treated as a JSON merge patch.

mod directives;
mod lists;

use serde_json::{Map, Value};

use crate::patch::PatchError;
use crate::path::{FieldPath, type_name};
use crate::shape::Shape;
use directives::{DELETE_PREFIX, Directive, ORDER_PREFIX, PATCH, RETAIN_KEYS};

/// Applies a strategic merge patch, all of it or nothing.
///
/// # Errors
/// When a directive is malformed, or an item of a list that is merged by key lacks the key; the error
/// names the place in the patch.
pub fn strategic_merge_patch<'a, S: Shape<'a>>(
    target: &mut Value,
    patch: &Value,
    shape: Option<S>,
) -> Result<(), PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::malformed(
            FieldPath::root(),
            format!("a strategic merge patch is a map, this is {}", type_name(patch)),
        ));
    };
    let mut result = match target {
        Value::Object(map) => map.clone(),
        _ => Map::new(),
    };
    merge_map(&mut result, patch, shape, &FieldPath::root())?;
    *target = Value::Object(result);
    Ok(())
}

/// Merges `patch` into `target`, which are the same field of two maps.
fn merge_map<'a, S: Shape<'a>>(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    shape: Option<S>,
    path: &FieldPath,
) -> Result<(), PatchError> {
    match directives::of_map(patch, path)? {
        Some(Directive::Replace) => {
            *target = patch.clone();
            target.remove(PATCH);
            return Ok(());
        }
        Some(Directive::Delete) => {
            target.clear();
            return Ok(());
        }
        Some(Directive::Merge) | None => {}
    }
    if let Some(keys) = patch.get(RETAIN_KEYS) {
        directives::retain_keys(target, patch, keys, path)?;
    }
    for (key, value) in patch {
        let field = || shape.and_then(|shape| shape.field(key));
        if key == PATCH || key == RETAIN_KEYS || key.starts_with(ORDER_PREFIX) {
            continue;
        }
        if let Some(name) = key.strip_prefix(DELETE_PREFIX) {
            directives::delete_scalars(target, name, value, path)?;
            continue;
        }
        match value {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(map) => {
                let place = path.child(key.as_str());
                if !target.contains_key(key) && directives::of_map(map, &place)? == Some(Directive::Delete) {
                    continue;
                }
                let mut merged = match target.remove(key) {
                    Some(Value::Object(existing)) => existing,
                    _ => Map::new(),
                };
                merge_map(&mut merged, map, field(), &place)?;
                target.insert(key.clone(), Value::Object(merged));
            }
            Value::Array(items) => {
                let existing = match target.get(key) {
                    Some(Value::Array(existing)) => existing.as_slice(),
                    _ => &[],
                };
                let place = path.child(key.as_str());
                let order = patch.get(&format!("{ORDER_PREFIX}{key}"));
                let merged = lists::merge(existing, items, field(), &place)?;
                let merged = match order {
                    Some(order) => {
                        let order = directives::element_order(order, &place)?;
                        lists::check_order(items, order, field(), &place)?;
                        lists::reorder(merged, order, existing, field(), &place)?
                    }
                    None => merged,
                };
                target.insert(key.clone(), Value::Array(merged));
            }
            scalar => {
                target.insert(key.clone(), scalar.clone());
            }
        }
    }
    order_untouched(target, patch, shape, path)
}

/// Applies `$setElementOrder` to lists that the patch doesn't change otherwise.
fn order_untouched<'a, S: Shape<'a>>(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    shape: Option<S>,
    path: &FieldPath,
) -> Result<(), PatchError> {
    for (directive, order) in patch {
        let Some(name) = directive.strip_prefix(ORDER_PREFIX) else { continue };
        let place = path.child(name);
        let order = directives::element_order(order, &place)?;
        if patch.get(name).is_some_and(|value| value.is_array() || value.is_null()) {
            continue;
        }
        if let Some(Value::Array(existing)) = target.get(name) {
            let field = shape.and_then(|shape| shape.field(name));
            let ordered = lists::reorder(existing.clone(), order, existing, field, &place)?;
            target.insert(name.to_owned(), Value::Array(ordered));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
