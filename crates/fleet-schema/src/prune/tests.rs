use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::builtin::builtin;
use crate::kind::GroupVersionKind;
use crate::testing::{any_schema, any_value};
use crate::validate::place;

fn places(kind: &str, group: &str, value: &Value) -> Vec<String> {
    let info = builtin().by_kind(&GroupVersionKind::new(group, "v1", kind)).unwrap();
    let mut found: Vec<String> = unknown_fields(info.schema().unwrap(), value).iter().map(place).collect();
    found.sort();
    found
}

// `kubectl apply` with a misspelt field must be told which one.
#[test]
fn unknown_fields_of_built_in_kinds() {
    let value = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "creationTimestamp": null, "labels": {"a": "b"}, "nope": 1,
                     "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]},
        "spec": {"replicaz": 1, "template": {"spec": {"containers": [
            {"name": "a", "imagePullPolcy": "Always", "resources": {"limits": {"cpu": 1}}},
            {"name": "b", "ports": [{"containerport": 80}]},
        ]}}},
    });
    assert_eq!(
        places("Deployment", "apps", &value),
        [
            "metadata.nope",
            "spec.replicaz",
            "spec.template.spec.containers[0].imagePullPolcy",
            "spec.template.spec.containers[1].ports[0].containerport",
        ]
    );
}

// Types that hold any JSON must keep it: a ControllerRevision's data, a CRD's schema and default.
#[test]
fn open_types_keep_everything() {
    let revision = json!({"metadata": {}, "revision": 1, "data": {"spec": {"x": [{"y": 1}]}}});
    assert!(places("ControllerRevision", "apps", &revision).is_empty());
    let crd = json!({"spec": {"group": "g.io", "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"a": {"type": "array", "default": [{"q": 1}],
        "items": {"type": "object", "oneOf": [{"required": ["z"]}], "patternPropertiez": 1}}}}}}]}});
    // JSONSchemaPropsOrArray is opaque in the published schema, so nothing inside `items` is judged.
    assert!(places("CustomResourceDefinition", "apiextensions.k8s.io", &crd).is_empty());
}

fn pruned(schema: &Value, value: &Value) -> (Value, Vec<String>) {
    let definitions = &builtin().definitions;
    let schema = definitions.parse(schema).unwrap();
    let mut value = value.clone();
    let mut gone: Vec<String> =
        prune(SchemaRef::new(definitions, &schema), &mut value).iter().map(place).collect();
    gone.sort();
    (value, gone)
}

// The rules of apiextensions.k8s.io/v1: closed maps, open maps, preserve-unknown-fields with known fields below.
#[test]
fn custom_kinds() {
    let schema = json!({"type": "object", "properties": {
        "closed": {"type": "object"},
        "labels": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                 "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }});
    let (value, gone) = pruned(
        &schema,
        &json!({
            "closed": {"x": 1}, "labels": {"k": {"a": "1", "b": 2}},
            "free": {"x": {"y": 1}, "known": {"a": "1", "b": 2}}, "list": [{"b": 1}, {"a": "1", "c": 1, "d": 1}],
            "other": 1,
        }),
    );
    assert_eq!(
        value,
        json!({
            "closed": {}, "labels": {"k": {"a": "1"}}, "free": {"x": {"y": 1}, "known": {"a": "1"}},
            "list": [{}, {"a": "1"}],
        })
    );
    let expected = ["closed.x", "free.known.b", "labels.k.b", "list[0].b", "list[1].c", "list[1].d", "other"];
    assert_eq!(gone, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // Pruning twice must find nothing more, or an object changes each time it is written.
    #[test]
    fn pruning_is_idempotent(schema in any_schema(), value in any_value()) {
        let schema = builtin().definitions.parse(&schema).unwrap();
        let schema = SchemaRef::new(&builtin().definitions, &schema);
        let mut once = value;
        prune(schema, &mut once);
        let mut twice = once.clone();
        prop_assert!(prune(schema, &mut twice).is_empty());
        prop_assert_eq!(once, twice);
    }
}
