//! What an applier gives up by no longer mentioning it.

use fleet_json::Shape;
use serde_json::Value;

use crate::element::PathElement;
use crate::node::{Kind, Node, Place};
use crate::set::{Entry, FieldSet};

/// Removes from `object` what is in `last` (the manager's previous set) and in none of `keep` (its new set
/// and those of all other managers). A declared map counts as owned by whoever owns something in it, so that
/// it goes, with its defaulted content, when its last owner leaves.
pub(crate) fn prune<'a, S: Shape<'a>>(object: &mut Value, last: &FieldSet, keep: &[&FieldSet], shape: S) {
    if keep.iter().any(|set| last.is_subset(set)) {
        return;
    }
    prune_at(object, last, keep, Node::root(shape), Place::Object);
}

/// Whether the value has become empty.
fn prune_at<'a, S: Shape<'a>>(
    value: &mut Value,
    last: &FieldSet,
    keep: &[&FieldSet],
    node: Node<S>,
    place: Place,
) -> bool {
    match (node.kind(value), value) {
        (Kind::Map, Value::Object(map)) => {
            let fields = node.fields();
            for entry in last.entries() {
                let PathElement::Field(name) = &entry.element else { continue };
                if !place.can_own(name) {
                    continue;
                }
                let Some(value) = map.get_mut(name.as_ref()) else { continue };
                let keepers = entries(keep, &entry.element);
                let declared = fields.declares(name);
                let whole = place.can_be_member(name);
                if prune_entry(value, entry, &keepers, declared, whole, fields.get(name), place.below(name)) {
                    map.remove(name.as_ref());
                }
            }
            map.is_empty()
        }
        (Kind::List, Value::Array(items)) => {
            items.retain_mut(|item| {
                let Ok(element) = node.element_of(item) else { return true };
                let Some(entry) = last.get(&element) else { return true };
                let keepers = entries(keep, &element);
                !prune_entry(item, entry, &keepers, false, true, node.items(), Place::Inner)
            });
            items.is_empty()
        }
        _ => false,
    }
}

fn entries<'s>(sets: &[&'s FieldSet], element: &PathElement) -> Vec<&'s Entry> {
    match element {
        PathElement::Field(name) => sets.iter().filter_map(|set| set.get_field(name)).collect(),
        _ => sets.iter().filter_map(|set| set.get(element)).collect(),
    }
}

/// Whether the value is to be removed; if not, what is below has been pruned.
fn prune_entry<'a, S: Shape<'a>>(
    value: &mut Value,
    entry: &Entry,
    keepers: &[&Entry],
    declared: bool,
    whole: bool,
    node: Node<S>,
    place: Place,
) -> bool {
    let owns = |entry: &Entry| entry.member || declared && !entry.children.is_empty();
    if whole && owns(entry) && !keepers.iter().any(|keeper| owns(keeper)) {
        return true;
    }
    if entry.children.is_empty() {
        return false;
    }
    let was_empty = match &*value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    let below: Vec<&FieldSet> = keepers.iter().map(|keeper| &keeper.children).collect();
    let now_empty = prune_at(value, &entry.children, &below, node, place);
    // An emptied map stays for who owns the map itself.
    let wanted = value.is_object() && keepers.iter().any(|keeper| keeper.member);
    whole && now_empty && !was_empty && !wanted
}
