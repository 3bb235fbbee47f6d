//! What the tests of several modules share: a type told in JSON, and arbitrary values.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::path::{FieldPath, Segment};
use crate::shape::{ListType, PatchStrategy, Shape};

/// A type as the cases under `tests/data` tell it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Type {
    fields: BTreeMap<String, Type>,
    items: Option<Box<Type>>,
    keys: Vec<String>,
    set: bool,
    merge: bool,
    merge_key: Option<String>,
    retain_keys: bool,
    #[serde(rename = "default")]
    default_value: Option<Value>,
}

impl<'a> Shape<'a> for &'a Type {
    fn field(self, name: &str) -> Option<Self> {
        self.fields.get(name)
    }
    fn items(self) -> Option<Self> {
        self.items.as_deref()
    }
    fn list_type(self) -> ListType {
        match (self.keys.is_empty(), self.set) {
            (false, _) => ListType::Map,
            (true, true) => ListType::Set,
            (true, false) => ListType::Atomic,
        }
    }
    fn list_map_keys(self) -> &'a [String] {
        &self.keys
    }
    fn default_value(self) -> Option<&'a Value> {
        self.default_value.as_ref()
    }
    fn is_atomic_map(self) -> bool {
        false
    }
    fn patch_merge_key(self) -> Option<&'a str> {
        self.merge_key.as_deref()
    }
    fn patch_strategy(self) -> PatchStrategy {
        PatchStrategy { merge: self.merge, retain_keys: self.retain_keys }
    }
}

pub(crate) fn config() -> ProptestConfig {
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

/// Names that make paths, pointers and selectors trip.
pub(crate) fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-d]{1,2}",
        1 => "[a-z./~\"=,\\[\\]\\\\ é0-9$!-]{0,6}",
    ]
}

pub(crate) fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..100).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e6..1e6_f64).prop_map(Value::from),
        name().prop_map(Value::from),
    ]
}

/// Any JSON value, small enough to shrink well.
pub(crate) fn json() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((name(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

pub(crate) fn segment() -> impl Strategy<Value = Segment> {
    prop_oneof![
        4 => name().prop_map(Segment::Field),
        1 => any::<u32>().prop_map(|index| Segment::Index(index as usize)),
        1 => prop::collection::vec((name(), scalar()), 1..3).prop_map(Segment::Item),
        1 => json().prop_map(Segment::Element),
    ]
}

pub(crate) fn path() -> impl Strategy<Value = FieldPath> {
    prop::collection::vec(segment(), 0..5).prop_map(FieldPath::new)
}

/// The value without the map entries that are null, which no merge patch can say.
pub(crate) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}
