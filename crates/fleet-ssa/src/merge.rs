//! The applied configuration merged into the live object.

use fleet_json::Shape;
use serde_json::{Map, Value};

use crate::compare::{Nulls, equal};
use crate::element::PathElement;
use crate::node::{Kind, Node, Place};

/// Merges `config` into `live`: what `config` sets wins, what it doesn't mention stays. Items of associative
/// lists are merged by their keys; they stand in the order of `config`, the others keep their place among
/// them. Atomic lists and maps are replaced.
pub fn merge<'a, S: Shape<'a>>(live: &Value, config: &Value, shape: S) -> Value {
    merge_at(live, config, Node::root(shape), Place::Inner)
}

/// As [`merge`] for whole objects: without `managedFields`, and with the live values of the fields that
/// the API server writes.
pub(crate) fn merge_objects<'a, S: Shape<'a>>(live: &Value, config: &Value, shape: S) -> Value {
    merge_at(live, config, Node::root(shape), Place::Object)
}

fn merge_at<'a, S: Shape<'a>>(live: &Value, config: &Value, node: Node<S>, place: Place) -> Value {
    match (node.kind(live), node.kind(config), live, config) {
        (Kind::Map, Kind::Map, Value::Object(live), Value::Object(config)) => {
            Value::Object(merge_maps(live, config, node, place))
        }
        (Kind::List, Kind::List, Value::Array(live), Value::Array(config)) => {
            Value::Array(merge_lists(live, config, node))
        }
        // Null claims a list or map without saying anything of its content.
        (Kind::Map, _, Value::Object(map), Value::Null) if !map.is_empty() => copy(live, place),
        (Kind::List, _, Value::Array(items), Value::Null) if !items.is_empty() => live.clone(),
        _ => copy(config, place),
    }
}

/// Whether merging `config` into the object `live` would give `live`: the usual case, told without copies.
/// `false` may also mean that only the merge can tell.
pub(crate) fn is_merged<'a, S: Shape<'a>>(live: &Value, config: &Value, shape: S) -> bool {
    is_merged_at(live, config, Node::root(shape), Place::Object)
}

fn is_merged_at<'a, S: Shape<'a>>(live: &Value, config: &Value, node: Node<S>, place: Place) -> bool {
    match (node.kind(live), node.kind(config), live, config) {
        (Kind::Map, Kind::Map, Value::Object(live), Value::Object(config)) => {
            let fields = node.fields();
            config.iter().all(|(name, applied)| match live.get(name) {
                _ if place.is_managed_fields(name) => true,
                None => applied.is_null(),
                Some(_) if place.is_system(name) => true,
                Some(value) => is_merged_at(value, applied, fields.get(name), place.below(name)),
            })
        }
        // With the same keys in the same order nothing moves; anything else is the merge's business.
        (Kind::List, Kind::List, Value::Array(live), Value::Array(config)) => {
            live.len() == config.len()
                && live.iter().zip(config).all(|(live, config)| {
                    let same_key = node.element_of(live).is_ok_and(|key| node.element_of(config) == Ok(key));
                    same_key && is_merged_at(live, config, node.items(), Place::Inner)
                })
        }
        _ => equal(live, config, Nulls::Count),
    }
}

/// A copy without the managedFields of an object.
pub(crate) fn copy(value: &Value, place: Place) -> Value {
    match value {
        Value::Object(map) if place != Place::Inner => map
            .iter()
            .filter(|(name, _)| !place.is_managed_fields(name))
            .map(|(name, value)| (name.clone(), copy(value, place.below(name))))
            .collect(),
        other => other.clone(),
    }
}

fn merge_maps<'a, S: Shape<'a>>(
    live: &Map<String, Value>,
    config: &Map<String, Value>,
    node: Node<S>,
    place: Place,
) -> Map<String, Value> {
    let fields = node.fields();
    let mut out = Map::new();
    for (name, value) in live {
        if place.is_managed_fields(name) {
            continue;
        }
        let merged = match config.get(name) {
            Some(applied) if !place.is_system(name) => {
                merge_at(value, applied, fields.get(name), place.below(name))
            }
            _ => copy(value, place.below(name)),
        };
        out.insert(name.clone(), merged);
    }
    for (name, value) in config {
        if !live.contains_key(name) && !place.is_managed_fields(name) {
            out.insert(name.clone(), copy(value, place.below(name)));
        }
    }
    out
}

fn merge_lists<'a, S: Shape<'a>>(live: &[Value], config: &[Value], node: Node<S>) -> Vec<Value> {
    let live_at = Positions::of(live, node);
    let config_at = Positions::of(config, node);
    // For each live item its place in the configuration, and the other way round. A live item that isn't
    // alone with its key has no partner: the applied item replaces them all.
    let mut place_in_config = vec![None; live.len()];
    let mut partner = vec![None; config.len()];
    let mut shared = Vec::new();
    for (element, items) in config_at.groups() {
        let Some(at) = items.first() else { continue };
        let same_key = live_at.find(element);
        for item in same_key {
            if let Some(slot) = place_in_config.get_mut(*item) {
                *slot = Some(*at);
            }
        }
        if let (Some(slot), [only]) = (partner.get_mut(*at), same_key) {
            *slot = Some(*only);
        }
        if !same_key.is_empty() {
            shared.push(*at);
        }
    }
    shared.sort_unstable();

    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let mut next_shared = shared.into_iter().peekable();
    let mut applied = config.iter().zip(&partner).enumerate().peekable();
    let mut emit =
        |out: &mut Vec<Value>, next_shared: &mut std::iter::Peekable<std::vec::IntoIter<usize>>, at| {
            if let Some((at, (item, partner))) = applied.next_if(|(next, _)| *next <= at) {
                next_shared.next_if_eq(&at);
                out.push(match partner.and_then(|at| live.get(at)) {
                    Some(live) => merge_at(live, item, node.items(), Place::Inner),
                    None => item.clone(),
                });
                return true;
            }
            false
        };
    for (item, place) in live.iter().zip(&place_in_config) {
        match place {
            None => out.push(item.clone()),
            // Items of the configuration that come first, then this one; out of turn, it comes later.
            Some(at) if next_shared.peek() == Some(at) => while emit(&mut out, &mut next_shared, *at) {},
            Some(_) => {}
        }
    }
    while emit(&mut out, &mut next_shared, usize::MAX) {}
    out
}

/// The items of a list by their keys.
pub(crate) struct Positions {
    groups: Vec<(PathElement, Vec<usize>)>,
}

impl Positions {
    /// Items that have no key are left out.
    pub(crate) fn of<'a, S: Shape<'a>>(items: &[Value], node: Node<S>) -> Self {
        let mut keyed: Vec<(PathElement, usize)> = items
            .iter()
            .enumerate()
            .filter_map(|(at, item)| Some((node.element_of(item).ok()?, at)))
            .collect();
        keyed.sort();
        let mut groups: Vec<(PathElement, Vec<usize>)> = Vec::with_capacity(keyed.len());
        for (element, at) in keyed {
            match groups.last_mut() {
                Some((last, group)) if *last == element => group.push(at),
                _ => groups.push((element, vec![at])),
            }
        }
        Self { groups }
    }

    /// In the order of the keys.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&PathElement, &[usize])> {
        self.groups.iter().map(|(element, group)| (element, group.as_slice()))
    }

    /// The places of the items with this key, in order.
    pub(crate) fn find(&self, element: &PathElement) -> &[usize] {
        self.groups
            .binary_search_by(|(other, _)| other.cmp(element))
            .ok()
            .and_then(|at| self.groups.get(at))
            .map_or(&[], |(_, group)| group.as_slice())
    }
}
