//! What a referenced object says.

use serde_json::Value;

use super::decided::{Decided, PathStep, decided_fields};
use super::sanitise::sanitise;
use super::string_data::fold_string_data;
use super::tree::{each, group_version, map_mut, remove_at, step_mut, text};
use super::undefault::undefault;

/// The content of an object on the hub as it travels to members: live, sanitised by kind, less defaults
/// that nobody decided, less what only hub controllers wrote.
///
/// The same decisions give the same content, whatever status, versions, allocated addresses and ports or
/// controller notes the object carries.
pub fn referenced_content(object: &Value) -> Value {
    let (group, version) = group_version(object);
    let kind = text(object, &["kind"]);
    let decided = decided_fields(object);
    let mut content = object.clone();
    // Nobody reads it back from a server; manifests that are looked at before they are applied have it.
    fold_string_data(&mut content);
    for (path, value) in decided.written_by_controllers(object) {
        match (value, step_mut(&mut content, &path)) {
            (Some(value), Some(place)) => *place = value,
            _ => {
                remove_at(&mut content, &path);
            }
        }
    }
    sanitise(group, kind, &mut content);
    if (group, kind) == ("", "Service") {
        drop_allocated_ports(&decided, &mut content);
    }
    undefault(group, version, kind, &mut content, &|path| decided.contains(path));
    content
}

/// Takes out the node ports that nobody named.
fn drop_allocated_ports(decided: &Decided, service: &mut Value) {
    let before = service.clone();
    let named = |port: &Value, index: usize, name: &str| {
        let path = [
            PathStep::Field("spec"),
            PathStep::Field("ports"),
            PathStep::Item(index, port),
            PathStep::Field(name),
        ];
        decided.named_by_anyone(&path)
    };
    let Some(spec) = map_mut(service, &["spec"]) else { return };
    if !decided.named_by_anyone(&[PathStep::Field("spec"), PathStep::Field("healthCheckNodePort")]) {
        spec.remove("healthCheckNodePort");
    }
    let mut index = 0;
    each(spec, "ports", |port| {
        let live = before.pointer(&format!("/spec/ports/{index}")).unwrap_or(&Value::Null);
        if !named(live, index, "nodePort") {
            port.remove("nodePort");
        }
        index += 1;
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::{apply_defaults, on_create};
    use serde_json::json;

    const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

    fn manifests() -> Vec<Value> {
        serde_json::from_str(include_str!("../../tests/data/behaviour/three-centres.json")).unwrap()
    }

    /// The object as a hub shows it: defaulted, with identity and status.
    fn live(manifest: &Value) -> Value {
        let mut object = manifest.clone();
        let (group, version) = group_version(manifest);
        let kind = text(manifest, &["kind"]);
        apply_defaults(group, version, kind, &mut object);
        on_create(group, kind, &mut object, "0a1b");
        let metadata = map_mut(&mut object, &["metadata"]).unwrap();
        metadata.insert("uid".into(), json!("0a1b"));
        metadata.insert("resourceVersion".into(), json!("42"));
        metadata.insert("creationTimestamp".into(), json!("2026-01-01T00:00:00Z"));
        object.as_object_mut().unwrap().insert("status".into(), json!({"observedGeneration": 1}));
        object
    }

    fn annotate(object: &mut Value, key: &str, value: &str) {
        let metadata = map_mut(object, &["metadata"]).unwrap();
        let annotations = metadata.entry("annotations").or_insert(json!({}));
        annotations.as_object_mut().unwrap().insert(key.into(), value.into());
    }

    fn manage(object: &mut Value, manager: &str, operation: &str, fields: Value) {
        let entry =
            json!({"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields});
        let metadata = map_mut(object, &["metadata"]).unwrap();
        metadata.entry("managedFields").or_insert(json!([])).as_array_mut().unwrap().push(entry);
    }

    /// What people wrote is delivered, neither more nor less: defaults aren't, and a written default
    /// (`protocol: TCP`) is.
    #[test]
    fn a_client_side_applied_object_says_its_manifest() {
        for manifest in manifests() {
            let mut object = live(&manifest);
            annotate(&mut object, APPLIED, &manifest.to_string());
            assert_eq!(referenced_content(&object), manifest);
        }
    }

    #[test]
    fn without_any_record_a_default_counts_as_a_default() {
        for mut manifest in manifests() {
            let object = live(&manifest);
            if let Some(ports) = manifest.pointer_mut("/spec/ports/0") {
                ports.as_object_mut().unwrap().remove("protocol");
            }
            assert_eq!(referenced_content(&object), manifest);
        }
    }

    #[test]
    fn a_field_that_an_apply_manager_owns_is_decided() {
        let mut object = live(&manifests()[0]);
        let image = json!({"k:{\"name\":\"web-demo\"}": {".": {}, "f:name": {}, "f:imagePullPolicy": {}}});
        let spec = json!({"f:revisionHistoryLimit": {}, "f:template": {"f:spec": {"f:containers": image}}});
        manage(&mut object, "kubectl", "Apply", json!({"f:spec": spec}));
        let content = referenced_content(&object);
        assert_eq!(content["spec"]["revisionHistoryLimit"], 10);
        assert_eq!(content["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
        assert_eq!(content["spec"].get("progressDeadlineSeconds"), None);
    }

    #[test]
    fn an_imperative_edit_counts_and_a_controllers_write_does_not() {
        let manifest = manifests()[0].clone();
        let mut object = live(&manifest);
        annotate(&mut object, APPLIED, &manifest.to_string());
        let before = referenced_content(&object);
        // The autoscaler of a hub that runs controllers, and the deployment controller's notes.
        object["spec"]["replicas"] = json!(9);
        manage(&mut object, "kube-controller-manager", "Update", json!({"f:spec": {"f:replicas": {}}}));
        annotate(&mut object, "deployment.kubernetes.io/revision", "7");
        object["status"] = json!({"readyReplicas": 9});
        object["metadata"]["resourceVersion"] = json!("99");
        assert_eq!(referenced_content(&object), before);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
        manage(&mut object, "kubectl-set", "Update", json!({"f:spec": {"f:template": {}}}));
        assert_ne!(referenced_content(&object), before);
    }

    #[test]
    fn replicas_that_nobody_set_are_not_delivered() {
        let mut manifest = manifests()[0].clone();
        manifest["spec"].as_object_mut().unwrap().remove("replicas");
        let mut object = live(&manifest);
        annotate(&mut object, APPLIED, &manifest.to_string());
        object["spec"]["replicas"] = json!(9);
        manage(&mut object, "kube-controller-manager", "Update", json!({"f:spec": {"f:replicas": {}}}));
        assert_eq!(referenced_content(&object), manifest);
    }

    #[test]
    fn allocated_addresses_and_ports_stay_on_the_hub_and_chosen_ones_travel() {
        let ports = json!([{"port": 80, "name": "a"}, {"port": 81, "name": "b", "nodePort": 30081}]);
        let manifest = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": ports}
        });
        let mut object = live(&manifest);
        annotate(&mut object, APPLIED, &manifest.to_string());
        object["spec"]["clusterIP"] = json!("10.0.0.7");
        object["spec"]["clusterIPs"] = json!(["10.0.0.7"]);
        object["spec"]["ports"][0]["nodePort"] = json!(31234);
        assert_eq!(referenced_content(&object), manifest);
    }

    #[test]
    fn a_jobs_generated_selector_stays_on_the_hub() {
        let manifest = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b:1"}]}}}
        });
        let object = live(&manifest);
        assert!(object.pointer("/spec/selector").is_some());
        assert_eq!(referenced_content(&object), manifest);
    }

    /// A custom resource has no defaults here; it travels as it is, less identity and status.
    #[test]
    fn custom_resources_are_only_sanitised() {
        let manifest = json!({
            "apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"replicas": 1}
        });
        assert_eq!(referenced_content(&live(&manifest)), manifest);
    }
}
