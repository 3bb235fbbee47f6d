//! What an object says after `kubectl apply`, without asking a server to try it: whoever may only read can look ahead, too.

use fleet_json::{ChangeKind, Untyped, diff_with, merge_patch, strategic_merge_patch};
use fleet_schema::{GroupVersionKind, SchemaRef, builtin};
use fleet_ssa::{ApplyRequest, FieldSet, Operation, apply, decode_managed_fields};
use serde_json::{Value, json};

/// The annotation of client-side apply.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Who applies where nobody did before: the manager of `kubectl apply --server-side`.
const KUBECTL: &str = "kubectl";

/// The object as it stands after the manifest was applied, in the manner in which it was applied before: by server-side
/// apply where its records say so, else as `kubectl apply` does.
///
/// # Errors
/// In words: where the manifest doesn't fit the object.
pub(super) fn applied(live: Option<&Value>, manifest: &Value) -> Result<Value, String> {
    let Some(live) = live else {
        let mut object = manifest.clone();
        note(&mut object, manifest);
        return Ok(object);
    };
    let annotation = live.pointer("/metadata/annotations").and_then(|all| all.get(LAST_APPLIED));
    match annotation.and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        Some(before) => by_client(live, &before, manifest),
        None => by_server(live, manifest),
    }
}

fn shape(object: &Value) -> Option<SchemaRef<'static>> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    builtin().by_kind(&GroupVersionKind::new(group, version, text("kind")))?.schema()
}

/// Three ways: what the last manifest had and this one hasn't goes, what this one says comes, the rest stays.
fn by_client(live: &Value, before: &Value, manifest: &Value) -> Result<Value, String> {
    let mut object = live.clone();
    let shape = shape(manifest);
    let changes = match shape {
        Some(shape) => diff_with(before, manifest, Some(shape)),
        None => diff_with(before, manifest, None::<Untyped>),
    };
    for change in changes {
        if matches!(change.change, ChangeKind::Removed(_)) {
            change.path.remove(&mut object);
        }
    }
    match shape {
        Some(shape) => {
            strategic_merge_patch(&mut object, manifest, Some(shape)).map_err(|e| e.to_string())?
        }
        None => merge_patch(&mut object, manifest),
    }
    note(&mut object, manifest);
    Ok(object)
}

fn by_server(live: &Value, manifest: &Value) -> Result<Value, String> {
    let managers = decode_managed_fields(live).unwrap_or_default();
    let applied =
        managers.iter().find(|entry| entry.operation == Operation::Apply && entry.subresource.is_empty());
    let manager = applied.map_or(KUBECTL, |entry| entry.manager.as_str());
    let api_version = manifest.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let status = FieldSet::of_fields(&[&["status"]]);
    let (live, config, subresource, force, now) = (Some(live), manifest, "", true, "1970-01-01T00:00:00Z");
    let ignore = &status;
    let result = match shape(manifest) {
        Some(shape) => {
            apply(ApplyRequest { live, config, manager, subresource, api_version, force, now, shape, ignore })
        }
        None => {
            let shape = Untyped;
            apply(ApplyRequest { live, config, manager, subresource, api_version, force, now, shape, ignore })
        }
    };
    result.map(|applied| applied.object).map_err(|error| error.to_string())
}

/// Takes note of the manifest, as `kubectl apply` does: what stands in it is a decision.
fn note(object: &mut Value, manifest: &Value) {
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(LAST_APPLIED.to_owned(), Value::String(manifest.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_schema::behaviour::referenced_content;

    fn deployment(image: &str, extra: Value) -> Value {
        let mut object = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "demo" },
            "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": image }] } } } });
        let spec = object["spec"].as_object_mut().unwrap();
        spec.extend(extra.as_object().unwrap().clone());
        object
    }

    /// Broken: the plan of files is another one than that of the gate after they were applied.
    #[test]
    fn an_apply_is_foreseen() {
        let first = deployment("web:1", json!({ "paused": true, "replicas": 3 }));
        let there = applied(None, &first).unwrap();
        assert_eq!(referenced_content(&there), referenced_content(&first));
        // Somebody's sidecar stays, what the manifest no longer has goes, what it changes changes.
        let mut edited = there;
        let sidecar = json!({ "name": "mesh", "image": "mesh:1" });
        edited["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
        let second = applied(Some(&edited), &deployment("web:2", json!({ "replicas": 3 }))).unwrap();
        let containers = second["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        assert_eq!((containers.len(), second["spec"].get("paused")), (2, None), "{second}");
        assert!(containers.contains(&json!({ "name": "web", "image": "web:2" })), "{second}");
        // The same where a server applied it.
        let manage = |object: &mut Value| {
            object["metadata"].as_object_mut().unwrap().remove("annotations");
            object["metadata"]["managedFields"] = json!([{ "manager": "ci", "operation": "Apply", "apiVersion": "apps/v1",
                "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:paused": {}, "f:replicas": {}, "f:template": { "f:spec": {
                    "f:containers": { "k:{\"name\":\"web\"}": { ".": {}, "f:name": {}, "f:image": {} } } } } } } }]);
        };
        manage(&mut edited);
        let second = applied(Some(&edited), &deployment("web:2", json!({ "replicas": 3 }))).unwrap();
        let containers = second["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        assert_eq!((containers.len(), second["spec"].get("paused")), (2, None), "{second}");
    }
}
