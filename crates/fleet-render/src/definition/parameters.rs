//! Parameters against their schema: defaults filled in, mistakes named.

use fleet_schema::{Context, SchemaRef, validate};
use serde_json::{Map, Value};

use crate::nearest;

/// Deeper properties are refused before anything walks them.
const MAX_DEPTH: usize = 64;

/// A parameter schema. Without one, no parameter is known.
#[derive(Debug)]
pub(crate) struct Parameters {
    written: Value,
    schema: fleet_schema::Schema,
    definitions: fleet_schema::Definitions,
}

/// A wrong parameter: its path and what is wrong.
pub(crate) type Wrong = (String, String);

impl Parameters {
    pub(crate) fn new(written: Option<&Value>) -> Result<Self, String> {
        let written = written.cloned().unwrap_or_else(|| serde_json::json!({ "type": "object" }));
        if fleet_json::depth(&written) > MAX_DEPTH {
            return Err(format!("parameters: nested deeper than {MAX_DEPTH}"));
        }
        let definitions = fleet_schema::Definitions::default();
        let schema = definitions.parse(&written).map_err(|error| format!("parameters: {error}"))?;
        Ok(Self { written, schema, definitions })
    }

    /// The properties with defaults; the first mistake otherwise. `null` counts as absent unless the
    /// schema says `nullable`.
    pub(crate) fn check(&self, properties: &Value) -> Result<Value, Wrong> {
        let wrong = |problem: String| ("properties".to_owned(), problem);
        if fleet_json::depth(properties) > MAX_DEPTH {
            return Err(wrong(format!("nested deeper than {MAX_DEPTH}")));
        }
        let mut properties = match properties {
            Value::Null => Value::Object(Map::new()),
            other => other.clone(),
        };
        walk(&self.written, &mut properties, "properties")?;
        let findings =
            validate(SchemaRef::new(&self.definitions, &self.schema), &properties, Context::default());
        match findings.into_iter().next() {
            None => Ok(properties),
            Some(error) => {
                let place = match error.field() {
                    root if root == "<nil>" => "properties".to_owned(),
                    field => format!("properties.{field}"),
                };
                Err((place, error.body()))
            }
        }
    }
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// Types, unknown and missing fields, in our words, and defaults; the rest is the schema's to judge.
fn walk(schema: &Value, value: &mut Value, path: &str) -> Result<(), Wrong> {
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if value.is_null() && flag(schema, "nullable") {
        return Ok(());
    }
    let fits = match wanted {
        _ if flag(schema, "x-kubernetes-int-or-string") => {
            value.is_string() || value.is_i64() || value.is_u64()
        }
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    };
    if !fits {
        let advice = match (wanted, &value) {
            ("string", Value::Number(_) | Value::Bool(_)) => "; put it in quotes",
            ("integer" | "number" | "boolean", Value::String(_)) => "; write it without quotes",
            _ => "",
        };
        let wanted = if wanted.is_empty() { "an integer or a string" } else { wanted };
        return Err((path.to_owned(), format!("expected {wanted}, got {}{advice}", shown(value))));
    }
    match value {
        Value::Object(map) => walk_map(schema, map, path),
        Value::Array(items) => {
            let Some(item_schema) = schema.get("items") else { return Ok(()) };
            for (index, item) in items.iter_mut().enumerate() {
                walk(item_schema, item, &format!("{path}[{index}]"))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn walk_map(schema: &Value, map: &mut Map<String, Value>, path: &str) -> Result<(), Wrong> {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let additional = schema.get("additionalProperties");
    let open = flag(schema, "x-kubernetes-preserve-unknown-fields") || additional == Some(&Value::Bool(true));
    let mut keys: Vec<String> = map.keys().cloned().collect();
    keys.sort_unstable();
    for key in keys {
        let place = format!("{path}.{key}");
        match (properties.get(&key), additional) {
            (Some(known), _) => {
                if map.get(&key).is_some_and(Value::is_null) && !flag(known, "nullable") {
                    map.remove(&key);
                } else if let Some(value) = map.get_mut(&key) {
                    walk(known, value, &place)?;
                }
            }
            (None, Some(other @ Value::Object(_))) => {
                if let Some(value) = map.get_mut(&key) {
                    walk(other, value, &place)?;
                }
            }
            (None, _) if open => {}
            (None, _) => {
                let advice = nearest::advice(&key, properties.keys().map(String::as_str), "parameters");
                return Err((place, format!("unknown parameter{advice}")));
            }
        }
    }
    let mut names: Vec<&String> = properties.keys().collect();
    names.sort_unstable();
    for name in names {
        if map.contains_key(name) {
            continue;
        }
        let known = properties.get(name).unwrap_or(&Value::Null);
        if let Some(default) = known.get("default") {
            map.insert(name.clone(), default.clone());
        } else if required(schema, name) {
            let wanted = known.get("type").and_then(Value::as_str).unwrap_or("a value");
            return Err((format!("{path}.{name}"), format!("required: expected {wanted}, got nothing")));
        }
    }
    Ok(())
}

fn required(schema: &Value, name: &str) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    required.is_some_and(|names| names.iter().any(|required| required.as_str() == Some(name)))
}

/// A value for messages: its type, and itself where it is short.
pub(crate) fn shown(value: &Value) -> String {
    const LONGEST: usize = 40;
    let kind = match value {
        Value::Null => return "null".to_owned(),
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => return "a list".to_owned(),
        Value::Object(_) => return "a map".to_owned(),
    };
    let text = value.to_string();
    if text.chars().count() > LONGEST { format!("a {kind}") } else { format!("{kind} {text}") }
}
