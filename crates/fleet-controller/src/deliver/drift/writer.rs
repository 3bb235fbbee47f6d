//! Who wrote to an object, by its managedFields.

use fleet_json::{FieldPath, Segment};
use serde_json::Value;

/// The field manager besides ours that owns one of the fields; where none does (a field that was taken away has no
/// owner), the one that wrote last. Writers of the status say nothing about what was delivered.
pub(super) fn of(live: &Value, fields: &[FieldPath], ours: &str) -> Option<String> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array)?;
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let others: Vec<&Value> = entries
        .iter()
        .filter(|entry| text(entry, "manager").as_deref() != Some(ours))
        .filter(|entry| text(entry, "subresource").is_none_or(|subresource| subresource != "status"))
        .collect();
    let owns = |entry: &&&Value| {
        let set = entry.get("fieldsV1");
        set.is_some_and(|set| fields.iter().any(|field| contains(set, field.segments())))
    };
    // RFC 3339 in UTC sorts as text.
    let last = |entries: Vec<&Value>| {
        entries.into_iter().max_by_key(|entry| text(entry, "time")).and_then(|entry| text(entry, "manager"))
    };
    last(others.iter().filter(owns).copied().collect()).or_else(|| last(others))
}

/// Whether a set in the form of `fieldsV1` owns a field, what it is in, or something in it.
fn contains(set: &Value, path: &[Segment]) -> bool {
    let Some(children) = set.as_object() else { return false };
    let Some((first, rest)) = path.split_first() else { return true };
    if children.is_empty() {
        return true;
    }
    children.iter().any(|(key, child)| is(key, first) && contains(child, rest))
}

/// Whether a key of `fieldsV1` (`f:name`, `k:{…}`, `i:0`) is a segment of a path.
fn is(key: &str, segment: &Segment) -> bool {
    match (key.split_once(':'), segment) {
        (Some(("f", name)), Segment::Field(field)) => name == field.as_str(),
        (Some(("i", index)), Segment::Index(at)) => index.parse() == Ok(*at),
        // Which item an index means isn't known here; any may be it.
        (Some(("k" | "v", _)), Segment::Index(_)) => true,
        (Some(("k", text)), item) => serde_json::from_str::<Value>(text)
            .is_ok_and(|keys| !matches!(item, Segment::Field(_)) && item.names(&keys)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(entries: Value) -> Value {
        json!({"metadata": {"managedFields": entries}})
    }

    fn entry(manager: &str, time: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields})
    }

    // Broken: a fight is blamed on a bystander.
    #[test]
    fn the_owner_of_the_field_is_named() {
        let object = live(json!([
            entry("fleetctl:1", "2026-01-03T00:00:00Z", json!({"f:spec": {"f:replicas": {}}})),
            entry("hpa", "2026-01-01T00:00:00Z", json!({"f:spec": {"f:replicas": {}}})),
            entry("annotator", "2026-01-02T00:00:00Z", json!({"f:metadata": {"f:annotations": {}}})),
        ]));
        let replicas = FieldPath::of_fields(["spec", "replicas"]);
        assert_eq!(of(&object, &[replicas], "fleetctl:1").as_deref(), Some("hpa"));
        let gone = FieldPath::of_fields(["spec", "paused"]);
        assert_eq!(of(&object, &[gone], "fleetctl:1").as_deref(), Some("annotator"), "the last who wrote");
    }

    #[test]
    fn items_are_known_by_their_keys() {
        let containers = json!({"f:spec": {"f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}});
        let object = live(json!([entry("kubectl-set", "2026-01-01T00:00:00Z", containers)]));
        let path = |name: &str| {
            let mut path = FieldPath::of_fields(["spec", "containers"]);
            path.push(Segment::item("name", name));
            path.push("image");
            path
        };
        assert!(contains(&object["metadata"]["managedFields"][0]["fieldsV1"], path("web").segments()));
        assert!(!contains(&object["metadata"]["managedFields"][0]["fieldsV1"], path("sidecar").segments()));
    }
}
