//! Values that go from step to step: `outputs` and `inputs`.

use fleet_json::{FieldPath, Segment, canonical_json};
use serde_json::{Map, Value};

use super::expression::Expression;

/// Bytes of one output as JSON.
pub const LONGEST_OUTPUT: usize = 4096;
/// Outputs of one workflow.
pub const MOST_OUTPUTS: usize = 32;
/// What a `valueFrom` may read.
const VARIABLES: [&str; 4] = ["output", "status", "inputs", "context"];
/// No list is made longer than this by an input.
const LONGEST_LIST: usize = 64;

/// A value that a step hands to others.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name, unique in the workflow.
    pub name: String,
    pub(super) expression: Expression,
}

impl Output {
    pub(super) fn compile(name: &str, value_from: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err("name: is empty".to_owned());
        }
        let expression = Expression::compile(value_from.trim(), &VARIABLES)
            .map_err(|error| format!("{name}: valueFrom: {error}"))?;
        Ok(Self { name: name.to_owned(), expression })
    }

    pub(super) fn names_of(&self, variable: &str) -> impl Iterator<Item = String> {
        self.expression.names_of(variable)
    }

    /// The value, once the step has succeeded.
    ///
    /// # Errors
    /// What went wrong, and where in the text; or that the value is too long to be kept.
    pub fn make(
        &self,
        output: &Value,
        status: &Value,
        inputs: &Value,
        context: &Value,
    ) -> Result<Value, String> {
        let made = self.expression.evaluate(&[
            ("output", output),
            ("status", status),
            ("inputs", inputs),
            ("context", context),
        ])?;
        let length = canonical_json(&made).len();
        if length > LONGEST_OUTPUT {
            return Err(format!("it has {length} bytes, and at most {LONGEST_OUTPUT} are kept"));
        }
        Ok(made)
    }
}

/// A value that a step takes from another.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The name of the output.
    pub from: String,
    /// The step that makes it.
    pub by: usize,
    /// Where in the properties it goes; nothing where only `if` reads it.
    pub at: Option<FieldPath>,
}

/// Reads a `parameterKey`: a path of fields and positions.
pub(super) fn parameter_key(text: &str) -> Result<Option<FieldPath>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let path = FieldPath::parse(text).map_err(|error| format!("parameterKey: {error}"))?;
    let plain = |segment: &Segment| match segment {
        Segment::Field(_) => true,
        Segment::Index(at) => *at < LONGEST_LIST,
        Segment::Item(_) | Segment::Element(_) => false,
    };
    if path.is_root() || !path.segments().iter().all(plain) {
        return Err(format!(
            "parameterKey: {text:?} isn't a path of fields and positions like message.text or to[0]"
        ));
    }
    Ok(Some(path))
}

/// Puts a value into properties; what lies on the way is made.
///
/// # Errors
/// Where something else lies on the way.
pub(super) fn put(properties: &mut Value, path: &FieldPath, value: Value) -> Result<(), String> {
    let mut place = properties;
    for segment in path.segments() {
        let blocked = || Err(format!("{path}: something else stands on the way"));
        place = match segment {
            Segment::Field(name) => {
                if place.is_null() {
                    *place = Value::Object(Map::new());
                }
                let Some(map) = place.as_object_mut() else { return blocked() };
                map.entry(name.clone()).or_insert(Value::Null)
            }
            Segment::Index(at) => {
                if place.is_null() {
                    *place = Value::Array(Vec::new());
                }
                let Some(list) = place.as_array_mut() else { return blocked() };
                if list.len() <= *at {
                    list.resize(at.saturating_add(1).min(LONGEST_LIST), Value::Null);
                }
                match list.get_mut(*at) {
                    Some(item) => item,
                    None => return blocked(),
                }
            }
            Segment::Item(_) | Segment::Element(_) => return blocked(),
        };
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_put_where_the_path_says() {
        let mut properties = json!({"slack": {"message": {"text": "as written"}}, "to": ["a"]});
        for (path, value) in
            [("slack.message.text", json!("made")), ("to[1]", json!("b")), ("email.subject", json!(3))]
        {
            let path = parameter_key(path).unwrap().unwrap();
            put(&mut properties, &path, value).unwrap();
        }
        let expected =
            json!({"slack": {"message": {"text": "made"}}, "to": ["a", "b"], "email": {"subject": 3}});
        assert_eq!(properties, expected);
    }

    #[test]
    fn what_stands_on_the_way_is_named() {
        let path = parameter_key("message.text").unwrap().unwrap();
        let error = put(&mut json!({"message": "hello"}), &path, json!(1)).unwrap_err();
        assert!(error.contains("message"), "{error}");
        for bad in ["a[99999999]", "[", "a[name=\"x\"]", "a..b"] {
            assert!(parameter_key(bad).is_err(), "{bad}");
        }
    }
}
