//! Tables, as `kubectl get` shows them.

use fleet_schema::{Column, printers};
use serde_json::{Map, Value, json};

use crate::object::ObjectExt;
use crate::registry::Kind;
use crate::request::query::IncludeObject;
use crate::view::partial;

/// A table with a row for each object.
pub(crate) fn table(
    kind: &Kind,
    objects: &[Value],
    metadata: Value,
    include: IncludeObject,
    meta_version: &str,
    now: jiff::Timestamp,
) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = Map::new();
            row.insert("cells".into(), Value::Array(cells(kind, object, now)));
            match include {
                IncludeObject::None => {}
                IncludeObject::Metadata => {
                    row.insert("object".into(), partial(object, meta_version));
                }
                IncludeObject::Object => {
                    row.insert("object".into(), object.clone());
                }
            }
            Value::Object(row)
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{meta_version}"),
        "metadata": metadata,
        "columnDefinitions": columns(kind),
        "rows": rows,
    })
}

/// A table with the row of a Scale.
pub(crate) fn scale(scale: &Value, meta_version: &str, now: jiff::Timestamp) -> Value {
    let number = |at: &str| scale.pointer(at).cloned().unwrap_or_else(|| json!(0));
    let cells = json!([
        scale.name(),
        number("/spec/replicas"),
        number("/status/replicas"),
        age(scale.meta_str("creationTimestamp"), now),
    ]);
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{meta_version}"),
        "metadata": {"resourceVersion": scale.meta_str("resourceVersion")},
        "columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
            {"name": "Desired", "type": "integer", "format": "", "description": "", "priority": 0},
            {"name": "Available", "type": "integer", "format": "", "description": "", "priority": 0},
            {"name": "Age", "type": "string", "format": "", "description": "", "priority": 0},
        ],
        "rows": [{"cells": cells, "object": partial(scale, meta_version)}],
    })
}

fn columns(kind: &Kind) -> Vec<Value> {
    let definition = |column: &Column| {
        json!({
            "name": column.name,
            "type": column.column_type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    };
    if kind.columns.is_empty() {
        return default_columns().iter().map(definition).collect();
    }
    kind.columns.iter().map(definition).collect()
}

fn default_columns() -> [Column; 2] {
    let column = |name: &str, column_type: &str, format: &str| Column {
        name: name.into(),
        column_type: column_type.into(),
        format: format.into(),
        ..Column::default()
    };
    [column("Name", "string", "name"), column("Created At", "date", "")]
}

fn cells(kind: &Kind, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
    if kind.custom.is_none() {
        let row = printers::row(kind.group(), kind.kind(), object, now.as_second());
        if let Some(row) = row.filter(|row| kind.columns.is_empty() || row.len() == kind.columns.len()) {
            return row;
        }
        return kind.columns.iter().map(|column| fallback(column, object, now)).collect();
    }
    if kind.columns.is_empty() {
        return vec![json!(object.name()), object.meta("creationTimestamp").cloned().unwrap_or_default()];
    }
    kind.columns.iter().map(|column| custom_cell(column, object, now)).collect()
}

/// The name, the age, or nothing: for a row that no printer makes.
fn fallback(column: &Column, object: &Value, now: jiff::Timestamp) -> Value {
    match column.name.as_str() {
        "Name" => json!(object.name()),
        "Age" => age(object.meta_str("creationTimestamp"), now),
        "Created At" => object.meta("creationTimestamp").cloned().unwrap_or_default(),
        _ => json!(""),
    }
}

/// A cell of a custom kind: what its path finds, in the column's type.
fn custom_cell(column: &Column, object: &Value, now: jiff::Timestamp) -> Value {
    let Some(path) = &column.path else { return fallback(column, object, now) };
    let found = path.find(object);
    let Some(first) = found.first() else { return Value::Null };
    match column.column_type.as_str() {
        "date" => first.as_str().map_or(Value::Null, |text| age(text, now)),
        "integer" => match first {
            Value::Number(number) if number.is_f64() => {
                number.as_f64().map_or(Value::Null, |number| json!(number as i64))
            }
            Value::Number(_) => (*first).clone(),
            _ => Value::Null,
        },
        "number" => {
            if first.is_number() {
                (*first).clone()
            } else {
                Value::Null
            }
        }
        "boolean" => {
            if first.is_boolean() {
                (*first).clone()
            } else {
                Value::Null
            }
        }
        _ => json!(text(first)),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn age(time: &str, now: jiff::Timestamp) -> Value {
    match time.parse::<jiff::Timestamp>() {
        Ok(then) => json!(printers::human_duration(now.as_second() - then.as_second())),
        Err(_) => json!("<unknown>"),
    }
}
