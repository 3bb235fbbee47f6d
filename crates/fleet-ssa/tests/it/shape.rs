//! A type for tests, read from `tests/data/shape.json`: declared `fields`, open maps (`values`), lists, and
//! `null` where nothing is known.

use std::sync::LazyLock;

use fleet_json::{ListType, PatchStrategy, Shape};
use serde_json::{Map, Value};

#[derive(Debug, Default)]
pub(crate) struct Type {
    fields: Vec<(String, Option<Type>)>,
    values: Option<Box<Type>>,
    items: Option<Box<Type>>,
    list_type: Option<ListType>,
    keys: Vec<String>,
    default: Option<Value>,
    atomic_map: bool,
}

static TYPE: LazyLock<Type> = LazyLock::new(|| {
    let text = include_str!("../data/shape.json");
    Type::read(&serde_json::from_str(text).unwrap()).unwrap()
});

pub(crate) fn shape() -> &'static Type {
    &TYPE
}

impl Type {
    fn read(value: &Value) -> Option<Self> {
        let map: &Map<String, Value> = value.as_object()?;
        let below = |name: &str| map.get(name).and_then(Self::read).map(Box::new);
        Some(Self {
            fields: map
                .get("fields")
                .and_then(Value::as_object)
                .map(|fields| fields.iter().map(|(name, below)| (name.clone(), Self::read(below))).collect())
                .unwrap_or_default(),
            values: below("values"),
            items: below("items"),
            list_type: map.get("listType").map(|kind| match kind.as_str() {
                Some("set") => ListType::Set,
                Some("map") => ListType::Map,
                _ => ListType::Atomic,
            }),
            keys: map
                .get("keys")
                .map(|keys| serde_json::from_value(keys.clone()).unwrap())
                .unwrap_or_default(),
            default: map.get("default").cloned(),
            atomic_map: map.contains_key("atomicMap"),
        })
    }
}

impl<'a> Shape<'a> for &'a Type {
    fn field(self, name: &str) -> Option<Self> {
        match self.fields.iter().find(|(own, _)| own == name) {
            Some((_, below)) => below.as_ref(),
            None => self.values.as_deref(),
        }
    }
    fn items(self) -> Option<Self> {
        self.items.as_deref()
    }
    fn list_type(self) -> ListType {
        self.list_type.unwrap_or(ListType::Atomic)
    }
    fn list_map_keys(self) -> &'a [String] {
        &self.keys
    }
    fn default_value(self) -> Option<&'a Value> {
        self.default.as_ref()
    }
    fn is_atomic_map(self) -> bool {
        self.atomic_map
    }
    fn patch_merge_key(self) -> Option<&'a str> {
        None
    }
    fn patch_strategy(self) -> PatchStrategy {
        PatchStrategy::default()
    }
}
