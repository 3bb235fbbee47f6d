//! Structural difference of two JSON values.

mod apply;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::path::{FieldPath, Segment};
use crate::shape::{ListType, Shape, Untyped};

pub use apply::apply_changes;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where. Items of keyed lists are named by their keys.
    pub path: FieldPath,
    /// What.
    pub change: ChangeKind,
}

/// What is different at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// Only the later value has it.
    Added(Value),
    /// Only the earlier value has it.
    Removed(Value),
    /// Both have it, with different values.
    Changed {
        /// The earlier value.
        from: Value,
        /// The later value.
        to: Value,
    },
    /// The items of a keyed list stand in another order, which adding and removing alone doesn't give.
    Reordered {
        /// The items in the later order, each written as the last step of its path: `[name="web"]`.
        to: Vec<String>,
    },
}

/// The differences between two values; lists are compared by position.
#[must_use]
pub fn diff(before: &Value, after: &Value) -> Vec<Change> {
    let mut walk = Walk { by_name: false, changes: Vec::new() };
    walk.values(before, after, None::<Untyped>, &mut FieldPath::root());
    walk.changes
}

/// The differences between two values; lists are compared by the keys that their shape declares. Where
/// the shape knows none, a list of maps that all have a unique `name` is compared by it, any other by
/// position.
#[must_use]
pub fn diff_with<'a, S: Shape<'a>>(before: &Value, after: &Value, shape: Option<S>) -> Vec<Change> {
    let mut walk = Walk { by_name: true, changes: Vec::new() };
    walk.values(before, after, shape, &mut FieldPath::root());
    walk.changes
}

/// [`diff_with`] without a shape: lists of maps with unique names are compared by name.
#[must_use]
pub fn diff_by_name(before: &Value, after: &Value) -> Vec<Change> {
    diff_with(before, after, None::<Untyped>)
}

struct Walk {
    by_name: bool,
    changes: Vec<Change>,
}

impl Walk {
    fn report(&mut self, path: &FieldPath, change: ChangeKind) {
        self.changes.push(Change { path: path.clone(), change });
    }

    fn values<'a, S: Shape<'a>>(
        &mut self,
        before: &Value,
        after: &Value,
        shape: Option<S>,
        path: &mut FieldPath,
    ) {
        match (before, after) {
            _ if before == after => {}
            (Value::Object(a), Value::Object(b)) => {
                let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
                keys.sort_unstable();
                keys.dedup();
                for key in keys {
                    path.push(key.as_str());
                    let field = || shape.and_then(|shape| shape.field(key));
                    self.entry(a.get(key), b.get(key), field, path);
                    path.pop();
                }
            }
            (Value::Array(a), Value::Array(b)) => match identify(a, b, shape, self.by_name) {
                Some((names_a, names_b)) => self.keyed(a, b, &names_a, &names_b, shape, path),
                None => self.by_position(a, b, shape, path),
            },
            _ => self.report(path, ChangeKind::Changed { from: before.clone(), to: after.clone() }),
        }
    }

    fn entry<'a, S: Shape<'a>>(
        &mut self,
        before: Option<&Value>,
        after: Option<&Value>,
        shape: impl FnOnce() -> Option<S>,
        path: &mut FieldPath,
    ) {
        match (before, after) {
            (Some(before), Some(after)) => self.values(before, after, shape(), path),
            (Some(before), None) => self.report(path, ChangeKind::Removed(before.clone())),
            (None, Some(after)) => self.report(path, ChangeKind::Added(after.clone())),
            (None, None) => {}
        }
    }

    fn by_position<'a, S: Shape<'a>>(
        &mut self,
        before: &[Value],
        after: &[Value],
        shape: Option<S>,
        path: &mut FieldPath,
    ) {
        for index in 0..before.len().max(after.len()) {
            path.push(index);
            let items = || shape.and_then(Shape::items);
            self.entry(before.get(index), after.get(index), items, path);
            path.pop();
        }
    }

    fn keyed<'a, S: Shape<'a>>(
        &mut self,
        before: &[Value],
        after: &[Value],
        names_before: &[Segment],
        names_after: &[Segment],
        shape: Option<S>,
        path: &mut FieldPath,
    ) {
        let (of_before, of_after) = (positions(names_before), positions(names_after));
        for (name, item) in names_before.iter().zip(before) {
            path.push(name.clone());
            let other = of_after.get(name).and_then(|index| after.get(*index));
            let items = || shape.and_then(Shape::items);
            self.entry(Some(item), other, items, path);
            path.pop();
        }
        for (name, item) in names_after.iter().zip(after) {
            if !of_before.contains_key(name) {
                let path = path.child(name.clone());
                self.report(&path, ChangeKind::Added(item.clone()));
            }
        }
        let kept = names_before.iter().filter(|name| of_after.contains_key(name));
        let added = names_after.iter().filter(|name| !of_before.contains_key(name));
        if !kept.chain(added).eq(names_after) {
            let to = names_after.iter().map(ToString::to_string).collect();
            self.report(path, ChangeKind::Reordered { to });
        }
    }
}

fn positions(names: &[Segment]) -> HashMap<&Segment, usize> {
    names.iter().enumerate().map(|(index, name)| (name, index)).collect()
}

/// Names for the items of both lists, if they can be told apart.
fn identify<'a, S: Shape<'a>>(
    before: &[Value],
    after: &[Value],
    shape: Option<S>,
    by_name: bool,
) -> Option<(Vec<Segment>, Vec<Segment>)> {
    let by = |keys: &[String], shape: Option<S>| {
        Some((item_names(before, keys, shape)?, item_names(after, keys, shape)?))
    };
    let declared = match shape.map(|shape| (shape, shape.list_type())) {
        Some((shape, ListType::Map)) => by(shape.list_map_keys(), Some(shape)),
        Some((_, ListType::Set)) => Some((element_names(before)?, element_names(after)?)),
        Some((_, ListType::Atomic)) | None => None,
    };
    declared.or_else(|| if by_name { by(&["name".to_owned()], None) } else { None })
}

fn item_names<'a, S: Shape<'a>>(list: &[Value], keys: &[String], shape: Option<S>) -> Option<Vec<Segment>> {
    let default = |key: &str| shape?.items()?.field(key)?.default_value();
    let names: Option<Vec<Segment>> = list
        .iter()
        .map(|item| {
            let item = item.as_object()?;
            let values: Vec<(String, Value)> = keys
                .iter()
                .filter_map(|key| Some((key.clone(), item.get(key).or_else(|| default(key))?.clone())))
                .collect();
            let named = match shape {
                Some(_) => !values.is_empty(),
                None => values.iter().any(|(_, value)| value.is_string()),
            };
            named.then_some(Segment::Item(values))
        })
        .collect();
    names.filter(|names| all_different(names))
}

fn element_names(list: &[Value]) -> Option<Vec<Segment>> {
    let names: Vec<Segment> = list.iter().cloned().map(Segment::Element).collect();
    all_different(&names).then_some(names)
}

fn all_different(names: &[Segment]) -> bool {
    let mut sorted: Vec<&Segment> = names.iter().collect();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| !matches!(pair, [a, b] if a == b))
}

#[cfg(test)]
mod tests;
