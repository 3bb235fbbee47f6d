//! The schemas of all OpenAPI documents, each once.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

const PREFIX: &str = "#/components/schemas/";

/// Reads every document of a folder; a name that means two things is an error.
pub(crate) fn collect(folder: &Path) -> Result<BTreeMap<String, Value>> {
    let mut out: BTreeMap<String, Value> = BTreeMap::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let document = read(&path)?;
        let Some(schemas) = document.pointer("/components/schemas").and_then(Value::as_object) else {
            continue;
        };
        for (name, schema) in schemas {
            let schema = compact(schema);
            if let Some(before) = out.insert(name.clone(), schema.clone()) {
                ensure!(before == schema, "{}: {name} differs from another document", path.display());
            }
        }
    }
    ensure!(!out.is_empty(), "{} holds no OpenAPI document", folder.display());
    Ok(out)
}

/// Reads one JSON file.
pub(crate) fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("parsing {}", path.display()))
}

/// References by bare name, and not wrapped in `allOf`.
fn compact(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(compact).collect(),
        Value::Object(map) => {
            let mut out: Map<String, Value> =
                map.iter().map(|(key, value)| (key.clone(), compact(value))).collect();
            let wrapped = match out.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
                Some([Value::Object(only)]) if only.len() == 1 => only.get("$ref").cloned(),
                _ => None,
            };
            if let Some(target) = wrapped {
                out.remove("allOf");
                out.insert("$ref".to_owned(), target);
            }
            if let Some(Value::String(target)) = out.get_mut("$ref")
                && let Some(name) = target.strip_prefix(PREFIX)
            {
                *target = name.to_owned();
            }
            Value::Object(out)
        }
        scalar => scalar.clone(),
    }
}

/// Calls `found` with the target of every reference. `properties` may hold a field named `$ref`, whose value
/// is an object, not a string.
pub(crate) fn references(value: &Value, found: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| references(item, found)),
        Value::Object(map) => map.iter().try_for_each(|(key, item)| match item {
            Value::String(target) if key == "$ref" => found(target),
            other => references(other, found),
        }),
        _ => Ok(()),
    }
}
