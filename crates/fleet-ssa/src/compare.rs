//! What differs between two objects of a type.

use fleet_json::Shape;
use serde_json::{Map, Value};

use crate::element::{PathElement, compare_numbers};
use crate::merge::Positions;
use crate::node::{Kind, Node, Place};
use crate::set::FieldSet;

/// The fields in which two values differ. No field is in more than one of the sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Only the new value has these.
    pub added: FieldSet,
    /// Both have these, with different content.
    pub modified: FieldSet,
    /// Only the old value has these.
    pub removed: FieldSet,
}

impl Comparison {
    /// Whether nothing differs (but the order of associative lists).
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// The comparison without these fields and what is below them.
    #[must_use]
    pub fn without(self, ignore: &FieldSet) -> Self {
        if ignore.is_empty() || self.is_same() {
            return self;
        }
        Self {
            added: self.added.recursive_difference(ignore),
            modified: self.modified.recursive_difference(ignore),
            removed: self.removed.recursive_difference(ignore),
        }
    }

    /// What the new value sets anew or otherwise.
    pub(crate) fn written(&self) -> FieldSet {
        self.added.union(&self.modified)
    }
}

/// Compares two values. A list or map that is new is in `added` with all that it contains, one that is gone
/// in `removed`; the order of associative lists doesn't count.
pub fn compare<'a, S: Shape<'a>>(old: &Value, new: &Value, shape: S) -> Comparison {
    compare_at(old, new, shape, Place::Inner)
}

/// As [`compare`], less the fields that no manager owns.
pub(crate) fn compare_objects<'a, S: Shape<'a>>(old: &Value, new: &Value, shape: S) -> Comparison {
    compare_at(old, new, shape, Place::Object)
}

fn compare_at<'a, S: Shape<'a>>(old: &Value, new: &Value, shape: S, place: Place) -> Comparison {
    let mut out = Comparison::default();
    // The object itself is no field: what happened to it as a whole is not recorded.
    let _itself = both(old, new, Node::root(shape), place, &mut out);
    out
}

/// What happened to a field itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Same,
    Added,
    Modified,
    Removed,
}

fn pair<'a, S: Shape<'a>>(
    old: Option<&Value>,
    new: Option<&Value>,
    node: Node<S>,
    place: Place,
    out: &mut Comparison,
) -> Fate {
    match (old, new) {
        (None, None) => Fate::Same,
        (None, Some(new)) => {
            one(new, node, place, Fate::Added, out);
            Fate::Added
        }
        (Some(old), None) => {
            one(old, node, place, Fate::Removed, out);
            Fate::Removed
        }
        (Some(old), Some(new)) => both(old, new, node, place, out),
    }
}

/// Everything below a value that only one side has.
fn one<'a, S: Shape<'a>>(value: &Value, node: Node<S>, place: Place, fate: Fate, out: &mut Comparison) {
    let (none_map, none_list) = (Map::new(), Vec::new());
    match (node.kind(value), value, fate) {
        (Kind::Map, Value::Object(map), Fate::Removed) => maps(map, &none_map, node, place, out),
        (Kind::Map, Value::Object(map), _) => maps(&none_map, map, node, place, out),
        (Kind::List, Value::Array(items), Fate::Removed) => lists(items, &none_list, node, out),
        (Kind::List, Value::Array(items), _) => lists(&none_list, items, node, out),
        _ => {}
    }
}

fn both<'a, S: Shape<'a>>(
    old: &Value,
    new: &Value,
    node: Node<S>,
    place: Place,
    out: &mut Comparison,
) -> Fate {
    match (node.kind(old), node.kind(new), old, new) {
        (Kind::Map, Kind::Map, Value::Object(old), Value::Object(new)) => {
            maps(old, new, node, place, out);
            Fate::Same
        }
        (Kind::List, Kind::List, Value::Array(old), Value::Array(new)) => {
            lists(old, new, node, out);
            Fate::Same
        }
        (Kind::Leaf, Kind::Leaf, _, _) => {
            if equal(old, new, Nulls::Count) {
                Fate::Same
            } else {
                Fate::Modified
            }
        }
        // Null stands for a list or map without content.
        (_, Kind::Leaf, _, Value::Null) if !is_empty(old) => {
            one(old, node, place, Fate::Removed, out);
            Fate::Same
        }
        (Kind::Leaf, _, Value::Null, _) if !is_empty(new) => {
            one(new, node, place, Fate::Added, out);
            Fate::Same
        }
        _ => {
            one(old, node, place, Fate::Removed, out);
            one(new, node, place, Fate::Added, out);
            Fate::Modified
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn maps<'a, S: Shape<'a>>(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    node: Node<S>,
    place: Place,
    out: &mut Comparison,
) {
    let fields = node.fields();
    let mut visit = |name: &str, old: Option<&Value>, new: Option<&Value>| {
        if !place.can_own(name) {
            return;
        }
        let mut below = Comparison::default();
        let mut fate = pair(old, new, fields.get(name), place.below(name), &mut below);
        if !place.can_be_member(name) {
            fate = Fate::Same;
        }
        record(|| PathElement::field(name), fate, below, out);
    };
    for (name, value) in old {
        visit(name, Some(value), new.get(name));
    }
    for (name, value) in new {
        if !old.contains_key(name) {
            visit(name, None, Some(value));
        }
    }
}

fn lists<'a, S: Shape<'a>>(old: &[Value], new: &[Value], node: Node<S>, out: &mut Comparison) {
    let (old_at, new_at) = (Positions::of(old, node), Positions::of(new, node));
    for (element, items) in new_at.groups() {
        compare_group(element, old_at.find(element), items, (old, new), node, out);
    }
    for (element, items) in old_at.groups() {
        if new_at.find(element).is_empty() {
            compare_group(element, items, &[], (old, new), node, out);
        }
    }
}

/// Compares the items that have the same key; more than one on a side are compared as one value.
fn compare_group<'a, S: Shape<'a>>(
    element: &PathElement,
    old_at: &[usize],
    new_at: &[usize],
    (old, new): (&[Value], &[Value]),
    node: Node<S>,
    out: &mut Comparison,
) {
    let mut below = Comparison::default();
    let fate = match (old_at, new_at) {
        ([], []) => Fate::Same,
        ([], [_, _, ..]) => Fate::Added,
        ([_, _, ..], []) => Fate::Removed,
        ([_, _, ..], _) | (_, [_, _, ..]) => {
            let old = old_at.iter().filter_map(|at| old.get(*at));
            let new = new_at.iter().filter_map(|at| new.get(*at));
            if old_at.len() == new_at.len() && old.zip(new).all(|(a, b)| equal(a, b, Nulls::Count)) {
                Fate::Same
            } else {
                Fate::Modified
            }
        }
        _ => {
            let old = old_at.first().and_then(|at| old.get(*at));
            let new = new_at.first().and_then(|at| new.get(*at));
            pair(old, new, node.items(), Place::Inner, &mut below)
        }
    };
    record(|| element.clone(), fate, below, out);
}

fn record(element: impl Fn() -> PathElement, fate: Fate, below: Comparison, out: &mut Comparison) {
    for (set, below, own) in [
        (&mut out.added, below.added, Fate::Added),
        (&mut out.modified, below.modified, Fate::Modified),
        (&mut out.removed, below.removed, Fate::Removed),
    ] {
        if fate == own || !below.is_empty() {
            set.push(element(), fate == own, below);
        }
    }
}

/// What a null in a map counts for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// It is a value.
    Count,
    /// The same as if the field weren't there, as for an object that has gone through its type.
    AreAbsent,
}

/// Equality of values, numbers by value (`1` is `1.0`).
pub(crate) fn equal(a: &Value, b: &Value, nulls: Nulls) -> bool {
    equal_at(a, b, nulls, Place::Inner)
}

/// Equality of objects, but for `metadata.managedFields`.
pub(crate) fn equal_objects(a: &Value, b: &Value, nulls: Nulls) -> bool {
    equal_at(a, b, nulls, Place::Object)
}

fn equal_at(a: &Value, b: &Value, nulls: Nulls, place: Place) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let counts = |name: &str, value: &Value| {
                !(place.is_managed_fields(name) || nulls == Nulls::AreAbsent && value.is_null())
            };
            let count =
                |map: &Map<String, Value>| map.iter().filter(|(name, value)| counts(name, value)).count();
            count(a) == count(b)
                && a.iter().filter(|(name, value)| counts(name, value)).all(|(name, value)| {
                    b.get(name).is_some_and(|other| equal_at(value, other, nulls, place.below(name)))
                })
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal_at(a, b, nulls, Place::Inner))
        }
        (Value::Number(a), Value::Number(b)) => a == b || compare_numbers(a, b).is_eq(),
        _ => a == b,
    }
}

/// Whether two states of an object differ in nothing but the times of their `managedFields`. An API server
/// asks this after defaulting, and doesn't write then.
pub fn differs_only_in_times(live: &Value, new: &Value) -> bool {
    let entries = |object: &Value| {
        crate::managed::decode_managed_fields(object).map(|entries| {
            entries
                .into_iter()
                .map(|entry| crate::ManagedFieldsEntry { time: None, ..entry })
                .collect::<Vec<_>>()
        })
    };
    if !equal_objects(live, new, Nulls::AreAbsent) {
        return false;
    }
    match (entries(live), entries(new)) {
        // Times decide the order, so that it isn't compared.
        (Ok(live), Ok(new)) => live.len() == new.len() && live.iter().all(|entry| new.contains(entry)),
        _ => false,
    }
}
