//! Objects as JSON trees: the metadata that every kind has, and writing them with a revision known late.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Reading and writing `metadata` without caring whether it is there.
pub(crate) trait ObjectExt {
    fn meta(&self, field: &str) -> Option<&Value>;
    fn meta_str(&self, field: &str) -> &str;
    fn meta_mut(&mut self) -> Option<&mut Map<String, Value>>;
    fn set_meta(&mut self, field: &str, value: impl Into<Value>);
    fn take_meta(&mut self, field: &str) -> Option<Value>;

    fn name(&self) -> &str {
        self.meta_str("name")
    }
    fn uid(&self) -> &str {
        self.meta_str("uid")
    }
    fn is_terminating(&self) -> bool {
        self.meta("deletionTimestamp").is_some_and(|time| !time.is_null())
    }
    fn finalizers(&self) -> Vec<String> {
        self.meta("finalizers")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
            .unwrap_or_default()
    }
    fn generation(&self) -> i64 {
        self.meta("generation").and_then(Value::as_i64).unwrap_or(0)
    }
}

impl ObjectExt for Value {
    fn meta(&self, field: &str) -> Option<&Value> {
        self.get("metadata")?.get(field)
    }

    fn meta_str(&self, field: &str) -> &str {
        self.meta(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn meta_mut(&mut self) -> Option<&mut Map<String, Value>> {
        let metadata = self.as_object_mut()?.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if !metadata.is_object() {
            *metadata = Value::Object(Map::new());
        }
        metadata.as_object_mut()
    }

    fn set_meta(&mut self, field: &str, value: impl Into<Value>) {
        if let Some(metadata) = self.meta_mut() {
            metadata.insert(field.to_owned(), value.into());
        }
    }

    fn take_meta(&mut self, field: &str) -> Option<Value> {
        self.get_mut("metadata")?.as_object_mut()?.remove(field)
    }
}

/// A time as Kubernetes writes it, in whole seconds.
pub(crate) fn time(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// An object's JSON with a gap where the resource version goes.
///
/// The resource version is known inside the commit only, while nobody else can commit: there the gap is filled,
/// and everything else has been done before.
#[derive(Debug)]
pub(crate) struct Gapped {
    before: Vec<u8>,
    after: usize,
}

impl Gapped {
    pub(crate) fn new(object: &Value) -> Self {
        let mut bytes = Vec::with_capacity(1024);
        let mut after = 0;
        bytes.push(b'{');
        let mut first = true;
        for (key, value) in object.as_object().into_iter().flatten() {
            separate(&mut bytes, &mut first);
            string(&mut bytes, key);
            bytes.push(b':');
            match value.as_object().filter(|_| key == "metadata") {
                Some(metadata) => after = gapped_metadata(&mut bytes, metadata),
                None => json(&mut bytes, value),
            }
        }
        if after == 0 {
            separate(&mut bytes, &mut first);
            bytes.extend_from_slice(b"\"metadata\":");
            after = gapped_metadata(&mut bytes, &Map::new());
        }
        bytes.push(b'}');
        Self { before: bytes, after }
    }

    /// The object's bytes at a revision.
    pub(crate) fn fill(mut self, revision: u64) -> Bytes {
        let digits = revision.to_string();
        let tail = self.before.split_off(self.after.min(self.before.len()));
        let mut bytes = Vec::with_capacity(self.before.len() + digits.len() + tail.len());
        bytes.extend_from_slice(&self.before);
        bytes.extend_from_slice(digits.as_bytes());
        bytes.extend_from_slice(&tail);
        Bytes::from(bytes)
    }
}

/// Writes the metadata; gives the place where the resource version's digits go.
fn gapped_metadata(bytes: &mut Vec<u8>, metadata: &Map<String, Value>) -> usize {
    bytes.push(b'{');
    let mut first = true;
    for (key, value) in metadata.iter().filter(|(key, _)| key.as_str() != "resourceVersion") {
        separate(bytes, &mut first);
        string(bytes, key);
        bytes.push(b':');
        json(bytes, value);
    }
    separate(bytes, &mut first);
    bytes.extend_from_slice(b"\"resourceVersion\":\"");
    let place = bytes.len();
    bytes.extend_from_slice(b"\"}");
    place
}

fn separate(bytes: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        bytes.push(b',');
    }
}

fn json(bytes: &mut Vec<u8>, value: &Value) {
    if serde_json::to_writer(&mut *bytes, value).is_err() {
        bytes.extend_from_slice(b"null");
    }
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    if serde_json::to_writer(&mut *bytes, text).is_err() {
        bytes.extend_from_slice(b"\"\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_gap_is_filled_whatever_stands_around_it() {
        for object in [
            json!({"kind": "A", "metadata": {"name": "x", "resourceVersion": "1"}, "zzz": [1]}),
            json!({"kind": "A"}),
            json!({"metadata": {}}),
            json!({"metadata": {"annotations": {"resourceVersion": "\"}"}}}),
        ] {
            let mut expected = object.clone();
            expected.set_meta("resourceVersion", "42");
            let bytes = Gapped::new(&object).fill(42);
            assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), expected);
        }
    }
}
