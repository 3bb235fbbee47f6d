use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::builtin;

const OPERATIONS: &str = include_str!("../../tests/data/operations.txt");
const APPS_SCHEMAS: &str = include_str!("../../tests/data/apps-v1-schemas.txt");

fn document(group: &str, version: &str) -> Value {
    let kinds: Vec<&KindInfo> = builtin().kinds_of(group, version).collect();
    v3_document(group, version, &kinds)
}

// kubectl and client generators go by paths, verbs and operation ids: they are those of a real server
// (1.35.4, without the deprecated watch paths and proxies).
#[test]
fn operations_are_those_of_a_real_server() {
    let mut ours = BTreeSet::new();
    for group in &builtin().groups {
        for version in &group.versions {
            let document = document(&group.name, version);
            for (path, item) in document["paths"].as_object().unwrap() {
                for (method, operation) in item.as_object().unwrap() {
                    let Some(id) = operation.get("operationId").and_then(Value::as_str) else { continue };
                    let action = operation.get("x-kubernetes-action").and_then(Value::as_str).unwrap_or("-");
                    ours.insert(format!("{path} {method} {action} {id}"));
                }
            }
        }
    }
    let real: BTreeSet<String> = OPERATIONS.lines().map(str::to_owned).collect();
    let missing: Vec<_> = real.difference(&ours).collect();
    let extra: Vec<_> = ours.difference(&real).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}\nextra {extra:#?}");
}

// `kubectl explain` and client-side validation read these; a property lost here is "unknown field" there.
#[test]
fn apps_schemas_are_those_of_a_real_server() {
    let document = document("apps", "v1");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for line in APPS_SCHEMAS.lines() {
        let (name, expected) = line.split_once(' ').unwrap();
        // Only the deprecated watch paths lead to this one.
        if name.ends_with("meta.v1.WatchEvent") || name.ends_with("runtime.RawExtension") {
            continue;
        }
        let schema = schemas.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        let mut have: Vec<&str> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        have.sort_unstable();
        assert_eq!(have.join(","), expected, "{name}");
    }
}

// A dangling reference makes kubectl refuse the whole document.
#[test]
fn references_lead_somewhere() {
    fn check(value: &Value, schemas: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    let name = target.strip_prefix("#/components/schemas/").unwrap();
                    assert!(schemas.get(name).is_some(), "{target} leads nowhere");
                }
                map.values().for_each(|value| check(value, schemas));
            }
            Value::Array(items) => items.iter().for_each(|value| check(value, schemas)),
            _ => {}
        }
    }
    for (group, version) in
        [("", "v1"), ("apps", "v1"), ("apiextensions.k8s.io", "v1"), ("autoscaling", "v2")]
    {
        let document = document(group, version);
        check(&document, &document["components"]["schemas"]);
    }
}

// kubectl asks a PATCH operation whether the server validates fields and which patches it takes.
#[test]
fn marks_that_kubectl_looks_for() {
    let document = document("apps", "v1");
    let item = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    let patch = &item["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let names: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    let bodies = patch["requestBody"]["content"].as_object().unwrap();
    assert!(bodies.contains_key("application/strategic-merge-patch+json") && bodies.len() == 4);
    let schema = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        schema["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    let containers =
        &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(
        containers["items"],
        json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}], "default": {}})
    );
}

// Custom kinds take no strategic merge patch, and their metadata is ObjectMeta.
#[test]
fn custom_kinds() {
    let crd = crate::crd::tests::crontab();
    let custom = crate::crd::parse(&crd).unwrap();
    let kinds: Vec<&KindInfo> = custom.kinds.iter().filter(|kind| kind.gvk.version == "v1").collect();
    let document = v3_document("stable.example.com", "v1", &kinds);
    let base = "/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}";
    let patch = &document["paths"][base]["patch"];
    assert_eq!(patch["operationId"], "patchStableExampleComV1NamespacedCronTab");
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_none());
    assert!(document["paths"].get(format!("{base}/scale")).is_some());
    let schemas = &document["components"]["schemas"];
    let schema = &schemas["com.example.stable.v1.CronTab"];
    assert_eq!(
        schema["properties"]["metadata"],
        json!({"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"})
    );
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "CronTab");
    assert!(schemas.get("com.example.stable.v1.CronTabList").is_some());
    assert!(schemas.get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").is_some());
}

#[test]
fn index_names_the_content() {
    let hash = content_hash(&document("apps", "v1"));
    assert_eq!(hash, content_hash(&document("apps", "v1")));
    assert_ne!(hash, content_hash(&document("batch", "v1")));
    let index = v3_index([(group_path("apps", "v1"), hash.as_str()), (group_path("", "v1"), "X")]);
    assert_eq!(
        index["paths"]["apis/apps/v1"]["serverRelativeURL"],
        format!("/openapi/v3/apis/apps/v1?hash={hash}")
    );
    assert_eq!(index["paths"]["api/v1"]["serverRelativeURL"], "/openapi/v3/api/v1?hash=X");
}
