//! From [`Schema`] to its OpenAPI v3 form.

use serde_json::{Map, Value, json};

use super::{Additional, ListType, MapType, Schema, SchemaType};
use crate::definitions::Definitions;

/// Where OpenAPI v3 keeps definitions.
pub(crate) const REFERENCE_PREFIX: &str = "#/components/schemas/";

impl Schema {
    /// The OpenAPI v3 form; references name definitions below `#/components/schemas/`.
    pub fn to_openapi(&self, definitions: &Definitions) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| {
            out.insert(key.to_owned(), value);
        };
        if self.ty != SchemaType::Any {
            put("type", json!(self.ty.name()));
        }
        for (key, on) in [
            ("nullable", self.nullable),
            ("uniqueItems", self.unique_items),
            ("x-kubernetes-int-or-string", self.int_or_string),
            ("x-kubernetes-preserve-unknown-fields", self.preserve_unknown_fields),
            ("x-kubernetes-embedded-resource", self.embedded_resource),
        ] {
            if on {
                put(key, Value::Bool(true));
            }
        }
        if let Some(format) = &self.format {
            put("format", json!(format));
        }
        if let Some(default) = &self.default {
            put("default", default.as_ref().clone());
        }
        if !self.required.is_empty() {
            put("required", json!(self.required));
        }
        if !self.properties.is_empty() {
            let fields = self.properties.iter();
            let fields =
                fields.map(|(name, schema)| (name.clone().into_string(), schema.to_openapi(definitions)));
            put("properties", Value::Object(fields.collect()));
        }
        if let Some(items) = &self.items {
            put("items", items.to_openapi(definitions));
        }
        match &self.additional {
            Additional::Unset => {}
            Additional::Any => put("additionalProperties", Value::Bool(true)),
            Additional::Forbidden => put("additionalProperties", Value::Bool(false)),
            Additional::Schema(schema) => put("additionalProperties", schema.to_openapi(definitions)),
        }
        self.emit_merge_keywords(&mut put);
        self.emit_rare(definitions, &mut put);
        self.emit_reference(definitions, &mut out);
        Value::Object(out)
    }

    fn emit_merge_keywords(&self, put: &mut impl FnMut(&str, Value)) {
        if let Some(list_type) = self.list_type {
            let word = match list_type {
                ListType::Atomic => "atomic",
                ListType::Set => "set",
                ListType::Map => "map",
            };
            put("x-kubernetes-list-type", json!(word));
        }
        if !self.list_map_keys.is_empty() {
            put("x-kubernetes-list-map-keys", json!(self.list_map_keys));
        }
        if let Some(map_type) = self.map_type {
            let word = match map_type {
                MapType::Granular => "granular",
                MapType::Atomic => "atomic",
            };
            put("x-kubernetes-map-type", json!(word));
        }
        if let Some(key) = &self.patch_merge_key {
            put("x-kubernetes-patch-merge-key", json!(key));
        }
        let strategy = match (self.patch_strategy.merge, self.patch_strategy.retain_keys) {
            (true, true) => "merge,retainKeys",
            (true, false) => "merge",
            (false, true) => "retainKeys",
            (false, false) => return,
        };
        put("x-kubernetes-patch-strategy", json!(strategy));
    }

    fn emit_rare(&self, definitions: &Definitions, put: &mut impl FnMut(&str, Value)) {
        let Some(extras) = &self.rare else { return };
        for (key, text) in [("description", &extras.description), ("title", &extras.title)] {
            if let Some(text) = text {
                put(key, json!(text));
            }
        }
        if !extras.enumeration.is_empty() {
            put("enum", Value::Array(extras.enumeration.clone()));
        }
        if let Some(pattern) = &extras.pattern {
            put("pattern", json!(pattern.source()));
        }
        for (key, number) in
            [("minimum", extras.minimum), ("maximum", extras.maximum), ("multipleOf", extras.multiple_of)]
        {
            if let Some(number) = number {
                put(key, number_value(number));
            }
        }
        for (key, on) in
            [("exclusiveMinimum", extras.exclusive_minimum), ("exclusiveMaximum", extras.exclusive_maximum)]
        {
            if on {
                put(key, Value::Bool(true));
            }
        }
        for (key, count) in [
            ("minLength", extras.min_length),
            ("maxLength", extras.max_length),
            ("minItems", extras.min_items),
            ("maxItems", extras.max_items),
            ("minProperties", extras.min_properties),
            ("maxProperties", extras.max_properties),
        ] {
            if let Some(count) = count {
                put(key, json!(count));
            }
        }
        for (key, nodes) in [("allOf", &extras.all_of), ("anyOf", &extras.any_of), ("oneOf", &extras.one_of)]
        {
            if !nodes.is_empty() {
                put(key, nodes.iter().map(|node| node.to_openapi(definitions)).collect());
            }
        }
        if let Some(not) = &extras.not {
            put("not", not.to_openapi(definitions));
        }
        if !extras.group_version_kinds.is_empty() {
            put("x-kubernetes-group-version-kind", json!(extras.group_version_kinds));
        }
        if !extras.validations.is_empty() {
            put(
                "x-kubernetes-validations",
                extras.validations.iter().map(super::ValidationRule::to_value).collect(),
            );
        }
        for (key, value) in &extras.other {
            put(key, value.clone());
        }
    }

    fn emit_reference(&self, definitions: &Definitions, out: &mut Map<String, Value>) {
        let Some(name) = self.reference.and_then(|id| definitions.name(id)) else { return };
        let target = json!(format!("{REFERENCE_PREFIX}{name}"));
        if out.is_empty() {
            out.insert("$ref".to_owned(), target);
            return;
        }
        let slot = out.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(all) = slot {
            all.insert(0, json!({ "$ref": target }));
        }
    }
}

impl super::ValidationRule {
    fn to_value(&self) -> Value {
        let mut out = Map::from_iter([("rule".to_owned(), json!(self.rule))]);
        for (key, text) in [
            ("message", &self.message),
            ("messageExpression", &self.message_expression),
            ("reason", &self.reason),
            ("fieldPath", &self.field_path),
        ] {
            if let Some(text) = text {
                out.insert(key.to_owned(), json!(text));
            }
        }
        if let Some(on) = self.optional_old_self {
            out.insert("optionalOldSelf".to_owned(), Value::Bool(on));
        }
        Value::Object(out)
    }
}

/// Whole numbers without a fraction, as they were written.
#[allow(clippy::cast_possible_truncation, reason = "guarded by the range that f64 holds exactly")]
pub(crate) fn number_value(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT { json!(number as i64) } else { json!(number) }
}
