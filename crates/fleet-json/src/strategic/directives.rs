//! The directives that a strategic merge patch may carry.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::patch::PatchError;
use crate::path::{FieldPath, type_name};

pub(super) const PATCH: &str = "$patch";
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
pub(super) const ORDER_PREFIX: &str = "$setElementOrder/";
pub(super) const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";

/// The value of `$patch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    Replace,
    Delete,
    Merge,
}

/// The `$patch` of a map, if it has one.
pub(super) fn of_map(map: &Map<String, Value>, path: &FieldPath) -> Result<Option<Directive>, PatchError> {
    let Some(value) = map.get(PATCH) else { return Ok(None) };
    match value.as_str() {
        Some("replace") => Ok(Some(Directive::Replace)),
        Some("delete") => Ok(Some(Directive::Delete)),
        Some("merge") => Ok(Some(Directive::Merge)),
        _ => Err(PatchError::malformed(
            path.child(PATCH),
            format!("{value} is no directive; expected \"replace\", \"delete\" or \"merge\""),
        )),
    }
}

/// Clears the keys of `target` that `$retainKeys` doesn't name.
pub(super) fn retain_keys(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    keys: &Value,
    path: &FieldPath,
) -> Result<(), PatchError> {
    let place = || path.child(RETAIN_KEYS);
    let Value::Array(keys) = keys else {
        return Err(PatchError::malformed(
            place(),
            format!("expected a list of field names, found {}", type_name(keys)),
        ));
    };
    let kept = |key: &str| keys.iter().any(|kept| kept.as_str() == Some(key));
    for (key, value) in patch {
        let is_directive = key.starts_with(DELETE_PREFIX)
            || key.starts_with(ORDER_PREFIX)
            || key == RETAIN_KEYS
            || key == PATCH;
        if !is_directive && !value.is_null() && !kept(key) {
            return Err(PatchError::malformed(
                place(),
                format!("the patch sets {key:?}, which $retainKeys doesn't name; add it there"),
            ));
        }
    }
    let cleared: Vec<String> = target.keys().filter(|key| !kept(key)).cloned().collect();
    for key in cleared {
        target.remove(&key);
    }
    Ok(())
}

/// Takes scalars out of the list `name` of `target`.
pub(super) fn delete_scalars(
    target: &mut Map<String, Value>,
    name: &str,
    scalars: &Value,
    path: &FieldPath,
) -> Result<(), PatchError> {
    let Value::Array(scalars) = scalars else {
        return Err(PatchError::malformed(
            path.child(format!("{DELETE_PREFIX}{name}")),
            format!("expected a list of scalars, found {}", type_name(scalars)),
        ));
    };
    if let Some(Value::Array(list)) = target.get_mut(name) {
        let scalars: HashSet<&Value> = scalars.iter().collect();
        list.retain(|item| !scalars.contains(item));
    }
    Ok(())
}

/// The list of a `$setElementOrder`.
pub(super) fn element_order<'v>(order: &'v Value, list: &FieldPath) -> Result<&'v [Value], PatchError> {
    order.as_array().map(Vec::as_slice).ok_or_else(|| {
        PatchError::malformed(
            list.clone(),
            format!("its $setElementOrder must be a list, this is {}", type_name(order)),
        )
    })
}
