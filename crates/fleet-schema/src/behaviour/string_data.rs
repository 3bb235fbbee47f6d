//! `stringData` of Secrets: a way to write `data` that no read gives back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::tree::Object;

/// Moves the texts of a Secret's `stringData` into its `data`, as an API server does with a write: an entry of `data` under
/// the same key loses. Gives the keys that were moved, in order. Other objects stay as they are, and so does what is no
/// text: the server says what is the matter with it.
pub fn fold_string_data(object: &mut Value) -> Vec<String> {
    let is = |field: &str, wanted: &str| object.get(field).and_then(Value::as_str) == Some(wanted);
    if !is("kind", "Secret") || !is("apiVersion", "v1") {
        return Vec::new();
    }
    object.as_object_mut().map(fold).unwrap_or_default()
}

fn fold(secret: &mut Object) -> Vec<String> {
    if secret.get("data").is_some_and(|data| !data.is_object() && !data.is_null()) {
        return Vec::new();
    }
    match secret.remove("stringData") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(written)) => {
            let (texts, rest): (Object, Object) =
                written.into_iter().partition(|(_, value)| value.is_string());
            if !rest.is_empty() {
                secret.insert("stringData".to_owned(), Value::Object(rest));
            }
            if texts.is_empty() {
                return Vec::new();
            }
            let mut keys: Vec<String> = texts.keys().cloned().collect();
            keys.sort_unstable();
            let data = secret.entry("data").or_insert(Value::Null);
            if data.is_null() {
                *data = Value::Object(Object::new());
            }
            if let Some(data) = data.as_object_mut() {
                let encoded = texts
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, Value::String(STANDARD.encode(value.as_str()?)))));
                data.extend(encoded);
            }
            keys
        }
        Some(odd) => {
            secret.insert("stringData".to_owned(), odd);
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What a server makes of it, so that what is delivered is what is seen.
    #[test]
    fn texts_become_data_and_win() {
        let secret = |rest: Value| {
            let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
            object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            object
        };
        for (written, read, keys) in [
            (
                json!({"stringData": {"b": "x", "a": ""}}),
                json!({"data": {"b": "eA==", "a": ""}}),
                vec!["a", "b"],
            ),
            (
                json!({"data": {"a": "QQ==", "b": "QQ=="}, "stringData": {"b": "x"}}),
                json!({"data": {"a": "QQ==", "b": "eA=="}}),
                vec!["b"],
            ),
            (json!({"data": null, "stringData": {"b": "x"}}), json!({"data": {"b": "eA=="}}), vec!["b"]),
            (json!({"data": {"a": "QQ=="}, "stringData": null}), json!({"data": {"a": "QQ=="}}), vec![]),
            (json!({"stringData": {}}), json!({}), vec![]),
            (
                json!({"stringData": {"a": 1, "b": "x"}}),
                json!({"stringData": {"a": 1}, "data": {"b": "eA=="}}),
                vec!["b"],
            ),
            (json!({"stringData": "x"}), json!({"stringData": "x"}), vec![]),
            (
                json!({"data": [], "stringData": {"b": "x"}}),
                json!({"data": [], "stringData": {"b": "x"}}),
                vec![],
            ),
        ] {
            let mut object = secret(written.clone());
            assert_eq!(fold_string_data(&mut object), keys, "{written}");
            assert_eq!(object, secret(read), "{written}");
            assert!(fold_string_data(&mut object).is_empty(), "once is enough: {written}");
        }
        let mut other = json!({"apiVersion": "example.com/v1", "kind": "Secret", "stringData": {"b": "x"}});
        assert!(fold_string_data(&mut other).is_empty() && other.get("data").is_none());
    }
}
