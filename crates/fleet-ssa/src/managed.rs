//! `metadata.managedFields`: who owns which fields, and since when.

use serde_json::{Map, Value};

use crate::set::{FieldSet, FieldsV1Error};

/// How a manager writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply: what it no longer mentions it gives up.
    Apply,
    /// By create, PUT or patch: it owns what it changed.
    Update,
}

impl Operation {
    /// The text in `managedFields`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One entry of `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedFieldsEntry {
    /// The name that the client gave.
    pub manager: String,
    /// How it wrote.
    pub operation: Operation,
    /// The version of the object that the fields belong to (`apps/v1`).
    pub api_version: String,
    /// When it last changed something (RFC 3339).
    pub time: Option<String>,
    /// What it owns.
    pub fields: FieldSet,
    /// The subresource it wrote through; empty for the object itself.
    pub subresource: String,
}

/// An entry of `metadata.managedFields` that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("metadata.managedFields[{index}]: {problem}")]
pub struct ManagedFieldsError {
    /// Which entry.
    pub index: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl ManagedFieldsEntry {
    /// Whether a write belongs to this entry. An applier is one across versions, an updater is not.
    pub(crate) fn is_of(
        &self,
        manager: &str,
        operation: Operation,
        api_version: &str,
        subresource: &str,
    ) -> bool {
        self.manager == manager
            && self.operation == operation
            && self.subresource == subresource
            && (operation == Operation::Apply || self.api_version == api_version)
    }

    /// Reads one entry.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn decode(entry: &Value) -> Result<Self, String> {
        let Value::Object(map) = entry else { return Err("expected a map".to_owned()) };
        let text = |name: &str| match map.get(name) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err(format!("{name}: expected a string")),
        };
        let operation = match text("operation")? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            other => return Err(format!("operation: {other:?} is neither Apply nor Update")),
        };
        match text("fieldsType")? {
            "FieldsV1" => {}
            other => return Err(format!("fieldsType: {other:?} is not FieldsV1")),
        }
        let fields = match map.get("fieldsV1") {
            None | Some(Value::Null) => FieldSet::new(),
            Some(fields) => FieldSet::from_fields_v1(fields)
                .map_err(|error: FieldsV1Error| format!("fieldsV1: {error}"))?,
        };
        Ok(Self {
            manager: text("manager")?.to_owned(),
            operation,
            api_version: text("apiVersion")?.to_owned(),
            time: Some(text("time")?).filter(|time| !time.is_empty()).map(str::to_owned),
            fields,
            subresource: text("subresource")?.to_owned(),
        })
    }

    /// Writes one entry.
    pub fn encode(&self) -> Value {
        let mut map = Map::new();
        let mut text = |name: &str, value: &str| {
            if !value.is_empty() {
                map.insert(name.to_owned(), Value::String(value.to_owned()));
            }
        };
        text("manager", &self.manager);
        text("operation", self.operation.as_str());
        text("apiVersion", &self.api_version);
        text("time", self.time.as_deref().unwrap_or_default());
        text("fieldsType", "FieldsV1");
        text("subresource", &self.subresource);
        map.insert("fieldsV1".to_owned(), self.fields.to_fields_v1());
        Value::Object(map)
    }

    /// The time to the second, which sorts as text. Absent comes first.
    fn seconds(&self) -> &str {
        self.time.as_deref().and_then(|time| time.get(..19)).unwrap_or_default()
    }
}

/// Reads the `managedFields` of an object; none if it has none.
///
/// # Errors
/// The first entry that can't be read.
pub fn decode_managed_fields(object: &Value) -> Result<Vec<ManagedFieldsEntry>, ManagedFieldsError> {
    let list = match object.get("metadata").and_then(|metadata| metadata.get("managedFields")) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(ManagedFieldsError { index: 0, problem: "expected a list".to_owned() }),
    };
    let entry = |(index, entry)| {
        ManagedFieldsEntry::decode(entry).map_err(|problem| ManagedFieldsError { index, problem })
    };
    list.iter().enumerate().map(entry).collect()
}

/// The `managedFields` list: appliers first, then by time, name, version and subresource.
pub fn encode_managed_fields(entries: &[ManagedFieldsEntry]) -> Value {
    let mut sorted: Vec<&ManagedFieldsEntry> = entries.iter().collect();
    sorted.sort_by(|a, b| {
        a.operation
            .cmp(&b.operation)
            .then_with(|| a.seconds().cmp(b.seconds()))
            .then_with(|| a.manager.cmp(&b.manager))
            .then_with(|| a.api_version.cmp(&b.api_version))
            .then_with(|| a.subresource.cmp(&b.subresource))
    });
    sorted.into_iter().map(ManagedFieldsEntry::encode).collect()
}

/// Puts `managedFields` into an object, or takes them away when there are none.
pub fn write_managed_fields(object: &mut Value, entries: &[ManagedFieldsEntry]) {
    let Value::Object(object) = object else { return };
    if entries.is_empty() {
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        return;
    }
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), encode_managed_fields(entries));
    }
}

/// Whether a client asks for the `managedFields` to be forgotten: exactly one empty entry. An empty list
/// doesn't: clients that don't know the field would clear it by accident.
pub(crate) fn is_reset(object: &Value) -> bool {
    let list = object.get("metadata").and_then(|metadata| metadata.get("managedFields"));
    let Some([Value::Object(entry)]) = list.and_then(Value::as_array).map(Vec::as_slice) else {
        return false;
    };
    entry.values().all(|value| value.is_null() || value.as_str().is_some_and(str::is_empty))
}

/// How many updaters are told apart.
const MAX_UPDATERS: usize = 10;
/// The manager that the oldest updaters become beyond that.
const BUCKET: &str = "ancient-changes";

/// Joins the oldest updaters, those of the same version with each other, until few enough are left.
pub(crate) fn cap_updaters(entries: &mut Vec<ManagedFieldsEntry>) {
    let (mut updaters, mut capped): (Vec<_>, Vec<_>) =
        entries.drain(..).partition(|entry| entry.operation == Operation::Update);
    if updaters.len() > MAX_UPDATERS {
        // An earlier bucket comes first, so that there is one for each version.
        updaters.sort_by(|a, b| {
            let key = |entry: &ManagedFieldsEntry| entry.manager != BUCKET;
            key(a)
                .cmp(&key(b))
                .then_with(|| a.seconds().cmp(b.seconds()))
                .then_with(|| a.manager.cmp(&b.manager))
        });
        let mut excess = updaters.len() - MAX_UPDATERS;
        let mut left: Vec<ManagedFieldsEntry> = Vec::with_capacity(updaters.len());
        for entry in updaters {
            let first = left.iter_mut().find(|other| other.api_version == entry.api_version);
            match first {
                Some(first) if excess > 0 => {
                    first.fields = first.fields.union(&entry.fields);
                    first.time = entry.time;
                    BUCKET.clone_into(&mut first.manager);
                    first.subresource.clear();
                    excess -= 1;
                }
                _ => left.push(entry),
            }
        }
        updaters = left;
    }
    capped.append(&mut updaters);
    *entries = capped;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, time: &str) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {".": {}, "f:a": {}}}})
    }

    #[test]
    fn entries_are_ordered_as_kubernetes_does() {
        // Breaks when the same owners give different text, and so a write that changes nothing.
        let list = [
            entry("z", "Update", "2026-01-01T00:00:00Z"),
            entry("b", "Apply", "2026-01-02T00:00:00Z"),
            entry("a", "Update", "2026-01-01T00:00:01Z"),
            entry("c", "Apply", "2026-01-01T00:00:00Z"),
        ];
        let object = json!({"metadata": {"managedFields": list}});
        let [z, b, a, c] = list;
        let entries = decode_managed_fields(&object).unwrap();
        assert_eq!(encode_managed_fields(&entries), json!([c, b, z, a]));
    }

    #[test]
    fn garbage_is_named() {
        // Breaks when broken managedFields pass for something else, or nobody can find what is broken.
        for (entry, problem) in [
            (json!("x"), "expected a map"),
            (json!({}), "operation: \"\" is neither Apply nor Update"),
            (json!({"operation": "Apply"}), "fieldsType: \"\" is not FieldsV1"),
            (
                json!({"operation": "Apply", "manager": 1, "fieldsType": "FieldsV1"}),
                "manager: expected a string",
            ),
            (
                json!({"operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"spec": {}}}),
                "fieldsV1: invalid path element \"spec\": expected one of f:, k:, v:, i:",
            ),
            (
                json!({"operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": 1}}),
                "fieldsV1: expected a map of fields",
            ),
        ] {
            let object = json!({"metadata": {"managedFields": [self::entry("a", "Apply", ""), entry]}});
            let error = decode_managed_fields(&object).unwrap_err();
            assert_eq!(error.to_string(), format!("metadata.managedFields[1]: {problem}"));
        }
    }

    #[test]
    fn one_empty_entry_resets_and_an_empty_list_does_not() {
        // Breaks when clients that don't know managedFields clear them.
        let reset = |list: Value| is_reset(&json!({"metadata": {"managedFields": list}}));
        assert!(reset(json!([{}])));
        assert!(reset(json!([{"manager": "", "fieldsV1": null}])));
        assert!(!reset(json!([])));
        assert!(!reset(json!([{}, {}])));
        assert!(!reset(json!([{"manager": "x"}])));
        assert!(!is_reset(&json!({})));
    }
}
