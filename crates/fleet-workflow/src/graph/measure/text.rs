//! Texts that stand in a step, or in a Secret of the Application's namespace.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::MeasureProperties;

/// A place in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret, in the Application's namespace.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

/// A text: written as a string, as `{value}`, or as `{secretRef: {name, key}, prefix}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Text {
    /// As it stands.
    Plain(String),
    /// What a Secret holds, behind a prefix (`Bearer `).
    Secret {
        /// Where.
        at: SecretKey,
        /// What stands before it.
        prefix: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    value: Option<String>,
    secret_ref: Option<SecretKey>,
    #[serde(default)]
    prefix: String,
}

impl TryFrom<Value> for Text {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(Self::Plain(text)),
            Value::Object(_) => {
                let written: Written = serde_json::from_value(value).map_err(|error| {
                    format!("write a text, {{value}} or {{secretRef: {{name, key}}}}: {error}")
                })?;
                match (written.value, written.secret_ref) {
                    (Some(text), None) => Ok(Self::Plain(format!("{}{text}", written.prefix))),
                    (None, Some(at)) => Ok(Self::Secret { at, prefix: written.prefix }),
                    _ => Err("write either value or secretRef".to_owned()),
                }
            }
            _ => Err("write a text, or secretRef: {name, key}".to_owned()),
        }
    }
}

impl MeasureProperties {
    /// Every place in Secrets that the step reads.
    pub fn secrets(&self) -> Vec<SecretKey> {
        let mut found = Vec::new();
        collect(&self.written, &mut found);
        found.sort();
        found.dedup();
        found
    }
}

fn collect(value: &Value, found: &mut Vec<SecretKey>) {
    match value {
        Value::Object(map) => {
            if let Some(at) = map.get("secretRef").and_then(|at| serde_json::from_value(at.clone()).ok()) {
                found.push(at);
            }
            map.values().for_each(|value| collect(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// Puts values of Secrets into a body, where it names them.
///
/// # Errors
/// What `lookup` says.
pub fn with_secrets<E>(body: &Value, lookup: &dyn Fn(&SecretKey) -> Result<String, E>) -> Result<Value, E> {
    match body {
        Value::Object(map) => {
            let alone = map.get("secretRef").filter(|_| map.len() == 1);
            if let Some(at) = alone.and_then(|at| serde_json::from_value(at.clone()).ok()) {
                return lookup(&at).map(Value::String);
            }
            let pairs = map.iter().map(|(key, value)| Ok((key.clone(), with_secrets(value, lookup)?)));
            pairs.collect::<Result<Map<_, _>, E>>().map(Value::Object)
        }
        Value::Array(list) => list
            .iter()
            .map(|value| with_secrets(value, lookup))
            .collect::<Result<Vec<_>, E>>()
            .map(Value::Array),
        other => Ok(other.clone()),
    }
}
