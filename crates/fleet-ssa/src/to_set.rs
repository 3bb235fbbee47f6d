//! The fields of a value.

use fleet_json::Shape;
use serde_json::Value;

use crate::element::{Path, PathElement};
use crate::node::{Kind, Node, Place};
use crate::set::FieldSet;

/// The fields that `value` sets: scalars, atomic lists and maps as leaves; items of associative lists and
/// keys of open maps also by themselves; of a declared map only what is in it, unless it is empty.
///
/// Items of a list that can't be told apart are left out (a duplicated item is in the set, its fields
/// aren't); `apply` refuses them.
pub fn field_set_of<'a, S: Shape<'a>>(value: &Value, shape: S) -> FieldSet {
    lenient(value, shape, Place::Inner)
}

/// As [`field_set_of`] for a whole object, less what no manager owns: `apiVersion`, `kind`, and the fields
/// of `metadata` that name the object or that the API server writes.
pub fn owned_fields<'a, S: Shape<'a>>(object: &Value, shape: S) -> FieldSet {
    lenient(object, shape, Place::Object)
}

fn lenient<'a, S: Shape<'a>>(value: &Value, shape: S, place: Place) -> FieldSet {
    let mut set = FieldSet::new();
    // Without `strict` nothing is refused.
    let _never_fails = collect(value, Node::root(shape), place, false, &mut set);
    set
}

/// The fields of an applied configuration; items that can't be told apart are refused.
pub(crate) fn fields_of_config<'a, S: Shape<'a>>(config: &Value, shape: S) -> Result<FieldSet, Refusal> {
    let mut set = FieldSet::new();
    collect(config, Node::root(shape), Place::Object, true, &mut set)?;
    Ok(set)
}

/// Where and why a configuration isn't taken.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// From the inside out.
    reversed: Vec<PathElement>,
    pub(crate) message: String,
}

impl Refusal {
    fn new(message: String) -> Box<Self> {
        Box::new(Self { reversed: Vec::new(), message })
    }

    fn under(mut self: Box<Self>, element: PathElement) -> Box<Self> {
        self.reversed.push(element);
        self
    }

    pub(crate) fn path(&self) -> Path {
        Path(self.reversed.iter().rev().cloned().collect())
    }
}

impl From<Box<Refusal>> for Refusal {
    fn from(boxed: Box<Refusal>) -> Self {
        *boxed
    }
}

/// Collects what lies below `value`; whether `value` itself is a leaf.
fn collect<'a, S: Shape<'a>>(
    value: &Value,
    node: Node<S>,
    place: Place,
    strict: bool,
    out: &mut FieldSet,
) -> Result<bool, Box<Refusal>> {
    match (node.kind(value), value) {
        (Kind::Map, Value::Object(map)) => {
            let fields = node.fields();
            for (name, value) in map {
                if !place.can_own(name) {
                    continue;
                }
                let mut below = FieldSet::new();
                let leaf = collect(value, fields.get(name), place.below(name), strict, &mut below)
                    .map_err(|refusal| refusal.under(PathElement::field(name)))?;
                let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
                let member = (leaf || empty || !fields.declares(name)) && place.can_be_member(name);
                if member || !below.is_empty() {
                    out.push(PathElement::field(name), member, below);
                }
            }
            Ok(false)
        }
        (Kind::List, Value::Array(items)) => {
            collect_items(items, node, strict, out)?;
            Ok(false)
        }
        _ => Ok(true),
    }
}

fn collect_items<'a, S: Shape<'a>>(
    items: &[Value],
    node: Node<S>,
    strict: bool,
    out: &mut FieldSet,
) -> Result<(), Box<Refusal>> {
    for (index, item) in items.iter().enumerate() {
        let element = match node.element_of(item) {
            Ok(element) => element,
            Err(_) if !strict => continue,
            Err(problem) => {
                let index = i64::try_from(index).unwrap_or(i64::MAX);
                return Err(Refusal::new(problem.to_owned()).under(PathElement::Index(index)));
            }
        };
        if out.get(&element).is_some() {
            if strict {
                return Err(Refusal::new(format!("duplicate entries for key {element}")));
            }
            out.forget_below(&element);
            continue;
        }
        let mut below = FieldSet::new();
        collect(item, node.items(), Place::Inner, strict, &mut below)
            .map_err(|refusal| refusal.under(element.clone()))?;
        out.push(element, true, below);
    }
    Ok(())
}
