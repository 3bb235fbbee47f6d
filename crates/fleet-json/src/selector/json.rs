//! Label selectors as Kubernetes objects hold them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Operator, Requirement, SelectorError};
use crate::path::{FieldPath, type_name};

const LABELS: &str = "matchLabels";
const EXPRESSIONS: &str = "matchExpressions";

fn error(path: FieldPath, problem: impl Into<String>) -> SelectorError {
    SelectorError::Json { path, problem: problem.into() }
}

pub(super) fn parse(value: &Value) -> Result<Vec<Requirement>, SelectorError> {
    let root = FieldPath::root();
    let Value::Object(map) = value else {
        return Err(error(
            root,
            format!(
                "expected a map of labels, or matchLabels and matchExpressions; found {}",
                type_name(value)
            ),
        ));
    };
    let is_structured =
        map.get(LABELS).is_some_and(Value::is_object) || map.get(EXPRESSIONS).is_some_and(Value::is_array);
    if !is_structured {
        return labels(map, &root);
    }
    let mut requirements = Vec::new();
    for (key, value) in map {
        let path = root.child(key.as_str());
        match (key.as_str(), value) {
            (LABELS | EXPRESSIONS, Value::Null) => {}
            (LABELS, Value::Object(map)) => requirements.extend(labels(map, &path)?),
            (EXPRESSIONS, Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    requirements.push(expression(item, &path.child(index))?);
                }
            }
            (LABELS, other) => {
                return Err(error(path, format!("expected a map of labels, found {}", type_name(other))));
            }
            (EXPRESSIONS, other) => {
                return Err(error(path, format!("expected a list, found {}", type_name(other))));
            }
            _ => return Err(error(path, "unknown field; expected matchLabels or matchExpressions")),
        }
    }
    Ok(requirements)
}

fn labels(map: &Map<String, Value>, path: &FieldPath) -> Result<Vec<Requirement>, SelectorError> {
    map.iter()
        .map(|(key, value)| {
            let path = path.child(key.as_str());
            let Value::String(text) = value else {
                return Err(error(
                    path,
                    format!("expected a string, found {}; put it in quotes", type_name(value)),
                ));
            };
            let operator = Operator::In(BTreeSet::from([text.clone()]));
            Requirement::new(key, operator).map_err(|problem| error(path, problem))
        })
        .collect()
}

fn expression(item: &Value, path: &FieldPath) -> Result<Requirement, SelectorError> {
    let Value::Object(map) = item else {
        return Err(error(
            path.clone(),
            format!("expected a map with key and operator, found {}", type_name(item)),
        ));
    };
    if let Some(key) = map.keys().find(|key| !matches!(key.as_str(), "key" | "operator" | "values")) {
        return Err(error(path.child(key.as_str()), "unknown field; expected key, operator or values"));
    }
    let text = |name: &str| {
        map.get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| error(path.child(name), "required, and must be a string"))
    };
    let key = text("key")?;
    let values = values(map.get("values"), path)?;
    let without = |operator| {
        if values.is_empty() {
            Ok(operator)
        } else {
            Err(error(path.child("values"), "must be empty for Exists and DoesNotExist"))
        }
    };
    let operator = match text("operator")? {
        "In" => Operator::In(values),
        "NotIn" => Operator::NotIn(values),
        "Exists" => without(Operator::Exists)?,
        "DoesNotExist" => without(Operator::DoesNotExist)?,
        other => {
            return Err(error(
                path.child("operator"),
                format!("{other:?} is no operator; expected In, NotIn, Exists or DoesNotExist"),
            ));
        }
    };
    Requirement::new(key, operator).map_err(|problem| error(path.clone(), problem))
}

fn values(value: Option<&Value>, path: &FieldPath) -> Result<BTreeSet<String>, SelectorError> {
    let path = path.child("values");
    match value {
        None | Some(Value::Null) => Ok(BTreeSet::new()),
        Some(Value::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                item.as_str().map(str::to_owned).ok_or_else(|| {
                    error(path.child(index), format!("expected a string, found {}", type_name(item)))
                })
            })
            .collect(),
        Some(other) => Err(error(path, format!("expected a list of strings, found {}", type_name(other)))),
    }
}

pub(super) fn write(requirements: &[Requirement]) -> Value {
    let mut labels = Map::new();
    let mut expressions = Vec::new();
    for requirement in requirements {
        let key = requirement.key();
        match requirement.operator() {
            Operator::In(values) => match (values.len(), values.first()) {
                (1, Some(value)) if !labels.contains_key(key) => {
                    labels.insert(key.to_owned(), json!(value));
                }
                _ => expressions.push(json!({"key": key, "operator": "In", "values": values})),
            },
            Operator::NotIn(values) => {
                expressions.push(json!({"key": key, "operator": "NotIn", "values": values}));
            }
            Operator::Exists => expressions.push(json!({"key": key, "operator": "Exists"})),
            Operator::DoesNotExist => expressions.push(json!({"key": key, "operator": "DoesNotExist"})),
            Operator::GreaterThan(_) | Operator::LessThan(_) => {}
        }
    }
    let mut selector = Map::new();
    if !labels.is_empty() {
        selector.insert(LABELS.to_owned(), Value::Object(labels));
    }
    if !expressions.is_empty() {
        selector.insert(EXPRESSIONS.to_owned(), Value::Array(expressions));
    }
    Value::Object(selector)
}
