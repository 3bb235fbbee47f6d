//! From the JSON form (OpenAPI v3 or `openAPIV3Schema`) to [`Schema`].

use serde_json::{Map, Value};

use super::{Additional, Extras, ListType, MapType, PatchStrategy, Pattern, Schema, SchemaType};
use crate::definitions::DefinitionId;

/// Schemas nested deeper than this are refused.
pub const MAX_SCHEMA_DEPTH: usize = 64;

/// Why a schema can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct SchemaError {
    /// The place inside the schema, `properties[spec].items.type`.
    pub path: String,
    /// What is wrong and what is expected.
    pub problem: String,
}

/// Reads a schema; `resolve` finds the definition of a `$ref` by its last segment.
///
/// # Errors
/// A keyword of the wrong type, an unknown `type`, a `$ref` to nothing, or too much nesting.
pub fn parse_schema(
    value: &Value,
    resolve: &dyn Fn(&str) -> Option<DefinitionId>,
) -> Result<Schema, SchemaError> {
    Parser { resolve, path: Vec::new() }.node(value)
}

struct Parser<'r> {
    resolve: &'r dyn Fn(&str) -> Option<DefinitionId>,
    path: Vec<String>,
}

impl Parser<'_> {
    fn error<T>(&self, keyword: &str, problem: impl Into<String>) -> Result<T, SchemaError> {
        let mut path = String::new();
        for part in self.path.iter().map(String::as_str).chain(std::iter::once(keyword)) {
            if !path.is_empty() && !part.is_empty() && !part.starts_with('[') {
                path.push('.');
            }
            path.push_str(part);
        }
        Err(SchemaError { path, problem: problem.into() })
    }

    fn below(&mut self, step: String, value: &Value) -> Result<Schema, SchemaError> {
        self.path.push(step);
        let node = self.node(value);
        self.path.pop();
        node
    }

    fn node(&mut self, value: &Value) -> Result<Schema, SchemaError> {
        if self.path.len() > MAX_SCHEMA_DEPTH {
            return self.error("", format!("nested deeper than {MAX_SCHEMA_DEPTH} levels"));
        }
        let Value::Object(map) = value else {
            return self
                .error("", format!("a schema is an object, not {}", crate::validate::type_name(value)));
        };
        let mut node = Schema::default();
        let mut extras = Extras::default();
        for (key, value) in map {
            self.keyword(&mut node, &mut extras, key, value)?;
        }
        unwrap_single_reference(&mut node, &mut extras);
        if extras != Extras::default() {
            node.rare = Some(Box::new(extras));
        }
        Ok(node)
    }

    fn keyword(
        &mut self,
        node: &mut Schema,
        extras: &mut Extras,
        key: &str,
        value: &Value,
    ) -> Result<(), SchemaError> {
        // As in Go, null is the same as absent; only a default may really be null.
        if value.is_null() && key != "default" {
            return Ok(());
        }
        match key {
            "type" => self.types(node, value)?,
            "$ref" => {
                let text = self.string(key, value)?;
                let name = text.rsplit('/').next().unwrap_or(text);
                let Some(id) = (self.resolve)(name) else {
                    return self.error(key, format!("no definition is named {name:?}"));
                };
                node.reference = Some(id);
            }
            "properties" => {
                let mut properties: Vec<(Box<str>, Schema)> = Vec::new();
                for (name, value) in self.object(key, value)? {
                    let schema = self.below(format!("properties[{name}]"), value)?;
                    properties.push((Box::from(name.as_str()), schema));
                }
                properties.sort_by(|left, right| left.0.cmp(&right.0));
                node.properties = properties.into_boxed_slice();
            }
            "additionalProperties" => {
                node.additional = match value {
                    Value::Bool(true) => Additional::Any,
                    Value::Bool(false) => Additional::Forbidden,
                    other => Additional::Schema(Box::new(self.below(key.to_owned(), other)?)),
                }
            }
            "items" => node.items = Some(Box::new(self.below(key.to_owned(), value)?)),
            "required" => {
                node.required = self.strings(key, value)?.into_iter().map(String::into_boxed_str).collect();
            }
            "default" => node.default = Some(Box::new(value.clone())),
            "format" => node.format = Some(self.string(key, value)?.into()),
            "nullable" => node.nullable = self.flag(key, value)?,
            "uniqueItems" => node.unique_items = self.flag(key, value)?,
            "x-kubernetes-int-or-string" => node.int_or_string = self.flag(key, value)?,
            "x-kubernetes-preserve-unknown-fields" => node.preserve_unknown_fields = self.flag(key, value)?,
            "x-kubernetes-embedded-resource" => node.embedded_resource = self.flag(key, value)?,
            "x-kubernetes-list-map-keys" => {
                node.list_map_keys = self.strings(key, value)?.into_boxed_slice();
            }
            "x-kubernetes-list-type" => {
                node.list_type = Some(match self.string(key, value)? {
                    "atomic" => ListType::Atomic,
                    "set" => ListType::Set,
                    "map" => ListType::Map,
                    other => {
                        return self.error(key, format!("{other:?} is none of \"atomic\", \"set\", \"map\""));
                    }
                });
            }
            "x-kubernetes-map-type" => {
                node.map_type = Some(match self.string(key, value)? {
                    "granular" => MapType::Granular,
                    "atomic" => MapType::Atomic,
                    other => {
                        return self.error(key, format!("{other:?} is none of \"granular\", \"atomic\""));
                    }
                });
            }
            "x-kubernetes-patch-merge-key" => node.patch_merge_key = Some(self.string(key, value)?.into()),
            "x-kubernetes-patch-strategy" => {
                let words = self.string(key, value)?;
                node.patch_strategy = PatchStrategy {
                    merge: words.split(',').any(|word| word == "merge"),
                    retain_keys: words.split(',').any(|word| word == "retainKeys"),
                };
            }
            _ => self.rare_keyword(extras, key, value)?,
        }
        Ok(())
    }

    fn rare_keyword(&mut self, extras: &mut Extras, key: &str, value: &Value) -> Result<(), SchemaError> {
        match key {
            "description" => extras.description = Some(self.string(key, value)?.to_owned()),
            "title" => extras.title = Some(self.string(key, value)?.to_owned()),
            "enum" => match value {
                Value::Array(values) => extras.enumeration.clone_from(values),
                _ => return self.error(key, "a list of values is expected"),
            },
            "pattern" => extras.pattern = Some(Pattern::new(self.string(key, value)?)),
            "minimum" => extras.minimum = Some(self.number(key, value)?),
            "maximum" => extras.maximum = Some(self.number(key, value)?),
            "exclusiveMinimum" => extras.exclusive_minimum = self.flag(key, value)?,
            "exclusiveMaximum" => extras.exclusive_maximum = self.flag(key, value)?,
            "multipleOf" => extras.multiple_of = Some(self.number(key, value)?),
            "minLength" => extras.min_length = Some(self.count(key, value)?),
            "maxLength" => extras.max_length = Some(self.count(key, value)?),
            "minItems" => extras.min_items = Some(self.count(key, value)?),
            "maxItems" => extras.max_items = Some(self.count(key, value)?),
            "minProperties" => extras.min_properties = Some(self.count(key, value)?),
            "maxProperties" => extras.max_properties = Some(self.count(key, value)?),
            "allOf" => extras.all_of = self.nodes(key, value)?,
            "anyOf" => extras.any_of = self.nodes(key, value)?,
            "oneOf" => extras.one_of = self.nodes(key, value)?,
            "not" => extras.not = Some(Box::new(self.below(key.to_owned(), value)?)),
            "x-kubernetes-group-version-kind" => extras.group_version_kinds = self.typed(key, value)?,
            "x-kubernetes-validations" => extras.validations = self.typed(key, value)?,
            _ => {
                extras.other.insert(key.to_owned(), value.clone());
            }
        }
        Ok(())
    }

    fn types(&self, node: &mut Schema, value: &Value) -> Result<(), SchemaError> {
        let one = std::slice::from_ref(value);
        let names = value.as_array().map_or(one, Vec::as_slice);
        for name in names {
            let name = self.string("type", name)?;
            if name == "null" {
                node.nullable = true;
                continue;
            }
            match SchemaType::from_name(name) {
                Some(ty) if node.ty == SchemaType::Any => node.ty = ty,
                Some(_) => return self.error("type", "only one type may be given"),
                None => {
                    return self.error(
                        "type",
                        format!(
                            "{name:?} is none of \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\""
                        ),
                    );
                }
            }
        }
        Ok(())
    }

    fn typed<T: serde::de::DeserializeOwned>(&self, key: &str, value: &Value) -> Result<T, SchemaError> {
        serde_json::from_value(value.clone()).or_else(|error| self.error(key, error.to_string()))
    }

    fn nodes(&mut self, key: &str, value: &Value) -> Result<Vec<Schema>, SchemaError> {
        let Value::Array(values) = value else { return self.error(key, "a list of schemas is expected") };
        values.iter().enumerate().map(|(at, value)| self.below(format!("{key}[{at}]"), value)).collect()
    }

    fn object<'v>(&self, key: &str, value: &'v Value) -> Result<&'v Map<String, Value>, SchemaError> {
        value.as_object().map_or_else(|| self.error(key, "an object is expected"), Ok)
    }

    fn string<'v>(&self, key: &str, value: &'v Value) -> Result<&'v str, SchemaError> {
        value.as_str().map_or_else(|| self.error(key, "a string is expected"), Ok)
    }

    fn strings(&self, key: &str, value: &Value) -> Result<Vec<String>, SchemaError> {
        let Value::Array(values) = value else { return self.error(key, "a list of strings is expected") };
        values.iter().map(|value| self.string(key, value).map(str::to_owned)).collect()
    }

    fn flag(&self, key: &str, value: &Value) -> Result<bool, SchemaError> {
        value.as_bool().map_or_else(|| self.error(key, "true or false is expected"), Ok)
    }

    fn number(&self, key: &str, value: &Value) -> Result<f64, SchemaError> {
        value.as_f64().map_or_else(|| self.error(key, "a number is expected"), Ok)
    }

    fn count(&self, key: &str, value: &Value) -> Result<u64, SchemaError> {
        value.as_u64().map_or_else(|| self.error(key, "a whole number from 0 is expected"), Ok)
    }
}

/// OpenAPI 3.0 allows nothing beside `$ref`, so documents say `allOf: [{$ref}]`; both mean the same here.
fn unwrap_single_reference(node: &mut Schema, extras: &mut Extras) {
    if node.reference.is_none()
        && let [only] = extras.all_of.as_slice()
        && only.reference.is_some()
        && *only == (Schema { reference: only.reference, ..Schema::default() })
    {
        node.reference = only.reference;
        extras.all_of.clear();
    }
}
