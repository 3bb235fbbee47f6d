//! Fields as API servers name them in words.

use serde_json::Value;

use super::FieldPath;

/// Whether a value has the field that an API server names so in a conflict (`.data.nginx.conf`). Keys of maps are written as
/// they are, dots included, so only the value tells where one ends (structured-merge-diff, `fieldpath.Path.String`).
#[must_use]
pub fn has_shown_field(value: &Value, field: &str) -> bool {
    if field.is_empty() {
        return true;
    }
    match value {
        Value::Object(map) => field.strip_prefix('.').is_some_and(|field| {
            map.iter().any(|(key, inside)| {
                field.strip_prefix(key.as_str()).is_some_and(|below| has_shown_field(inside, below))
            })
        }),
        // A bracket may stand in the value of a key, too.
        Value::Array(_) => field.match_indices(']').any(|(end, _)| {
            let (item, below) = field.split_at(end + 1);
            FieldPath::parse(item)
                .is_ok_and(|item| item.get(value).is_some_and(|inside| has_shown_field(inside, below)))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // Broken: a key with dots isn't found, and what somebody changed there counts as somebody else's.
    #[test]
    fn keys_with_dots_are_found() {
        let value = json!({
            "metadata": {"labels": {"app": "web", "app.oam.dev/component": "main"}, "finalizers": ["a.b/c"]},
            "data": {"nginx.conf": "", "nginx": "", ".dockerconfigjson": ""},
            "spec": {"containers": [{"name": "a]b", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
                "args": ["one"]},
        });
        for field in [
            ".metadata.labels.app",
            ".metadata.labels.app.oam.dev/component",
            ".metadata.finalizers[=\"a.b/c\"]",
            ".data.nginx.conf",
            ".data.nginx",
            ".data..dockerconfigjson",
            ".spec.containers[name=\"a]b\"].image",
            ".spec.containers[name=\"a]b\"].ports[containerPort=80,protocol=\"TCP\"]",
            ".spec.args[0]",
        ] {
            assert!(has_shown_field(&value, field), "{field}");
        }
        for field in [
            ".metadata.labels.app.oam",
            ".data.nginx.con",
            ".data.nginx.conf.d",
            ".data.dockerconfigjson",
            ".spec.containers[name=\"b\"].image",
            ".spec.args[1]",
            ".status",
            "data",
        ] {
            assert!(!has_shown_field(&value, field), "{field}");
        }
    }
}
