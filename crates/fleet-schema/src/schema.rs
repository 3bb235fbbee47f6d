//! One node of a structural schema.

mod emit;
mod parse;
mod pattern;
mod reference;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

pub(crate) use emit::number_value;
pub use fleet_json::shape::{ListType, PatchStrategy};
pub use parse::{MAX_SCHEMA_DEPTH, SchemaError, parse_schema};
pub use pattern::Pattern;
pub use reference::SchemaRef;

use crate::definitions::DefinitionId;
use crate::kind::GroupVersionKind;

/// The JSON type that a node demands (`type`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SchemaType {
    /// No `type`: any JSON value.
    #[default]
    Any,
    /// A JSON object.
    Object,
    /// A JSON array.
    Array,
    /// A string.
    String,
    /// A number without a fraction.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl SchemaType {
    /// The name used in schemas and messages; empty for [`SchemaType::Any`].
    pub fn name(self) -> &'static str {
        match self {
            SchemaType::Any => "",
            SchemaType::Object => "object",
            SchemaType::Array => "array",
            SchemaType::String => "string",
            SchemaType::Integer => "integer",
            SchemaType::Number => "number",
            SchemaType::Boolean => "boolean",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<SchemaType> {
        Some(match name {
            "" => SchemaType::Any,
            "object" => SchemaType::Object,
            "array" => SchemaType::Array,
            "string" => SchemaType::String,
            "integer" => SchemaType::Integer,
            "number" => SchemaType::Number,
            "boolean" => SchemaType::Boolean,
            _ => return None,
        })
    }
}

/// `x-kubernetes-map-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapType {
    /// Each entry is owned on its own.
    Granular,
    /// The map is one value.
    Atomic,
}

/// `additionalProperties`.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Additional {
    /// Not given.
    #[default]
    Unset,
    /// `true`: further entries of any form.
    Any,
    /// `false`: no further entries.
    Forbidden,
    /// Further entries have this schema.
    Schema(Box<Schema>),
}

/// A rule in CEL (`x-kubernetes-validations`); compiled and run by a
/// [`RuleRunner`](crate::validate::RuleRunner).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValidationRule {
    /// The expression; `self` is the value, `oldSelf` the one before.
    pub rule: String,
    /// What to say when it is false.
    pub message: Option<String>,
    /// An expression that yields the message.
    pub message_expression: Option<String>,
    /// `FieldValueInvalid` (the default), `FieldValueForbidden`, `FieldValueRequired` or `FieldValueDuplicate`.
    pub reason: Option<String>,
    /// The field to blame, relative to this node (`.spec.x`).
    pub field_path: Option<String>,
    /// Run on create as well, with an absent `oldSelf`.
    pub optional_old_self: Option<bool>,
}

/// The keywords that few nodes carry; kept apart so that a plain node stays small.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extras {
    /// Prose for `kubectl explain`.
    pub description: Option<String>,
    /// A short name of the node.
    pub title: Option<String>,
    /// The allowed values.
    pub enumeration: Vec<Value>,
    /// A regular expression that strings match somewhere.
    pub pattern: Option<Pattern>,
    /// Least number.
    pub minimum: Option<f64>,
    /// Greatest number.
    pub maximum: Option<f64>,
    /// `minimum` itself is refused.
    pub exclusive_minimum: bool,
    /// `maximum` itself is refused.
    pub exclusive_maximum: bool,
    /// Numbers are multiples of it.
    pub multiple_of: Option<f64>,
    /// Least characters of a string.
    pub min_length: Option<u64>,
    /// Most characters of a string.
    pub max_length: Option<u64>,
    /// Least items of a list.
    pub min_items: Option<u64>,
    /// Most items of a list.
    pub max_items: Option<u64>,
    /// Least entries of a map.
    pub min_properties: Option<u64>,
    /// Most entries of a map.
    pub max_properties: Option<u64>,
    /// All of them hold.
    pub all_of: Vec<Schema>,
    /// At least one holds.
    pub any_of: Vec<Schema>,
    /// Exactly one holds.
    pub one_of: Vec<Schema>,
    /// It doesn't hold.
    pub not: Option<Box<Schema>>,
    /// The kinds that this definition is the type of.
    pub group_version_kinds: Vec<GroupVersionKind>,
    /// Rules in CEL.
    pub validations: Vec<ValidationRule>,
    /// Keywords without meaning here, shown again in OpenAPI documents.
    pub other: BTreeMap<String, Value>,
}

/// One node of a structural schema. References to definitions are resolved by [`SchemaRef`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    /// The JSON type.
    pub ty: SchemaType,
    /// `null` is a value.
    pub nullable: bool,
    /// An integer or a string (`x-kubernetes-int-or-string`).
    pub int_or_string: bool,
    /// Unknown fields stay (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown_fields: bool,
    /// A whole Kubernetes object (`x-kubernetes-embedded-resource`).
    pub embedded_resource: bool,
    /// A built-in type that holds any JSON although its schema says nothing of its fields.
    pub opaque: bool,
    /// A built-in type that is a quantity, `500m`, although its schema says any string or number.
    pub quantity: bool,
    /// Items differ from each other (`uniqueItems`).
    pub unique_items: bool,
    /// How items are told apart; [`SchemaRef`] takes `None` as atomic.
    pub list_type: Option<ListType>,
    /// Whether the map is one value.
    pub map_type: Option<MapType>,
    /// Strategic merge patch.
    pub patch_strategy: PatchStrategy,
    /// `$ref`: the other keywords of this node stand beside the definition's.
    pub reference: Option<DefinitionId>,
    /// Declared fields, sorted by name.
    pub properties: Box<[(Box<str>, Schema)]>,
    /// Fields that must be there.
    pub required: Box<[Box<str>]>,
    /// The items of a list.
    pub items: Option<Box<Schema>>,
    /// Further entries of a map.
    pub additional: Additional,
    /// The value of an absent field.
    pub default: Option<Box<Value>>,
    /// `int32`, `date-time`, …
    pub format: Option<Box<str>>,
    /// The keys of a list of type map.
    pub list_map_keys: Box<[String]>,
    /// `x-kubernetes-patch-merge-key`.
    pub patch_merge_key: Option<Box<str>>,
    /// Everything rare; read it by [`Schema::extras`].
    pub rare: Option<Box<Extras>>,
}

static NO_EXTRAS: LazyLock<Extras> = LazyLock::new(Extras::default);

impl Schema {
    /// A node of a type and nothing else.
    pub fn of_type(ty: SchemaType) -> Schema {
        Schema { ty, ..Schema::default() }
    }

    /// A node that only refers to a definition.
    pub fn reference_to(id: DefinitionId) -> Schema {
        Schema { reference: Some(id), ..Schema::default() }
    }

    /// The rare keywords.
    pub fn extras(&self) -> &Extras {
        match &self.rare {
            Some(extras) => extras,
            None => &NO_EXTRAS,
        }
    }

    /// The rare keywords, to change them.
    pub fn extras_mut(&mut self) -> &mut Extras {
        self.rare.get_or_insert_with(Box::default)
    }

    /// A declared field.
    pub fn property(&self, name: &str) -> Option<&Schema> {
        let at = self.properties.binary_search_by(|(key, _)| key.as_ref().cmp(name)).ok()?;
        self.properties.get(at).map(|(_, schema)| schema)
    }

    /// Adds or replaces a declared field.
    pub fn set_property(&mut self, name: &str, schema: Schema) {
        let mut all = std::mem::take(&mut self.properties).into_vec();
        match all.binary_search_by(|(key, _)| key.as_ref().cmp(name)) {
            Ok(at) => {
                if let Some(slot) = all.get_mut(at) {
                    slot.1 = schema;
                }
            }
            Err(at) => all.insert(at, (name.into(), schema)),
        }
        self.properties = all.into_boxed_slice();
    }

    /// Whether a field must be there.
    pub fn is_required(&self, name: &str) -> bool {
        self.required.iter().any(|key| key.as_ref() == name)
    }
}
