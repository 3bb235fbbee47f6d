//! What the objects of a plan say, a field a line, each with who set it.

use fleet_api::{ObjectId, Provenance};
use fleet_json::{FieldPath, Segment};
use serde_json::Value;

use super::shown;

/// What an object will say, without what every object has. Of a Secret its keys.
pub(crate) fn lines(id: &ObjectId, object: &Value, provenance: Option<&Provenance>) -> Vec<String> {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        for known in ["apiVersion", "kind", "metadata"] {
            fields.remove(known);
        }
        if id.kind == "Secret" {
            // Keys may be seen, values never.
            for holder in ["data", "stringData"] {
                let values = fields.get_mut(holder).and_then(Value::as_object_mut).into_iter().flatten();
                values.for_each(|(_, value)| *value = Value::from("<hidden>"));
            }
        }
    }
    let mut found = Vec::new();
    leaves(&object, &mut String::new(), &mut FieldPath::root(), &mut found);
    let set_by = |path: &FieldPath| {
        let provenance = provenance?;
        let source = provenance.source_of(path);
        // What comes with the object needs no word.
        (source != provenance.base()).then(|| format!("   ({source})"))
    };
    found.into_iter().map(|(line, path)| line + &set_by(&path).unwrap_or_default()).collect()
}

/// Each leaf with its path, as `.spec.replicas: 5`.
fn leaves(value: &Value, text: &mut String, path: &mut FieldPath, lines: &mut Vec<(String, FieldPath)>) {
    let length = text.len();
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
                text.push_str(&if plain { format!(".{key}") } else { format!("[{key:?}]") });
                path.push(key.as_str());
                leaves(value, text, path, lines);
                path.pop();
                text.truncate(length);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str);
                text.push_str(&name.map_or_else(|| format!("[{index}]"), |name| format!("[{name}]")));
                match name {
                    Some(name) => path.push(Segment::item("name", name)),
                    None => path.push(index),
                }
                match item.as_object().filter(|fields| name.is_some() && fields.len() > 1) {
                    // The path says the name already.
                    Some(fields) => {
                        let mut rest = fields.clone();
                        rest.remove("name");
                        leaves(&Value::Object(rest), text, path, lines);
                    }
                    None => leaves(item, text, path, lines),
                }
                path.pop();
                text.truncate(length);
            }
        }
        leaf => lines.push((format!("{}: {}", shown::visible(text), shown::short(leaf)), path.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn leaves_have_paths() {
        let object = json!({ "spec": { "replicas": 5, "containers": [{ "name": "web", "image": "a" }], "empty": {} },
            "data": { "config.json": "{\n  x\n}\n" } });
        let mut found = Vec::new();
        leaves(&object, &mut String::new(), &mut FieldPath::root(), &mut found);
        let mut lines: Vec<&str> = found.iter().map(|(line, _)| line.as_str()).collect();
        lines.sort_unstable();
        let expected = [
            ".data[\"config.json\"]: \"{\\n  x\\n}\\n\"",
            ".spec.containers[web].image: a",
            ".spec.empty: {}",
            ".spec.replicas: 5",
        ];
        assert_eq!(lines, expected);
        // What provenance is asked for is what stands there.
        assert!(found.iter().all(|(_, path)| path.get(&object).is_some()), "{found:?}");
    }
}
