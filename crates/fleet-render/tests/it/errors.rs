//! Every mistake is told in one line with place, cause and next step.

use fleet_render::{Definitions, Override, check};
use serde_json::{Value, json};

use crate::{after_trait, components, deployment, policy, rendered, with_trait};

/// A user finds the mistake from the line alone.
#[test]
fn wrong_traits() {
    let cases: &[(&str, Value, &str, &str)] = &[
        (
            "scaler",
            json!({ "replicas": "three" }),
            "InvalidParameter",
            r#"component "web", trait "scaler": properties.replicas: expected integer, got string "three"; write it without quotes"#,
        ),
        ("scaler", json!({ "replicas": -1 }), "InvalidParameter", "properties.replicas: Invalid value: -1"),
        (
            "scaler",
            json!({ "replica": 1 }),
            "InvalidParameter",
            r#"properties.replica: unknown parameter; did you mean "replicas"?"#,
        ),
        ("scaler", json!([1]), "InvalidParameter", "properties: expected object, got a list"),
        (
            "env",
            json!({ "env": { "A": 1 } }),
            "InvalidParameter",
            "properties.env.A: expected string, got integer 1; put it in quotes",
        ),
        (
            "env",
            json!({ "containerName": "wbe", "env": {} }),
            "CheckFailed",
            r#"there is no container "wbe" in Deployment "web"; it has "web", "log""#,
        ),
        (
            "env",
            json!({ "containers": [{ "containerName": "x" }, { "containerName": "y" }] }),
            "CheckFailed",
            r#"there is no container "x", "y" in"#,
        ),
        (
            "env",
            json!({ "containers": [{ "containerName": "web" }], "env": {} }),
            "CheckFailed",
            "give either containers, or containerName with env and unset",
        ),
        (
            "env",
            json!({ "containers": [{ "env": {} }] }),
            "InvalidParameter",
            "properties.containers[0].containerName: required: expected string, got nothing",
        ),
        ("container-image", json!({}), "CheckFailed", "give either image"),
        (
            "container-image",
            json!({ "image": "x", "imagePullPolicy": "always" }),
            "InvalidParameter",
            r#"properties.imagePullPolicy: Unsupported value: "always""#,
        ),
        (
            "container-image",
            json!({ "containerName": "db", "image": "x" }),
            "CheckFailed",
            r#"no container "db""#,
        ),
        (
            "labels",
            json!({ "a": { "b": 1 } }),
            "InvalidParameter",
            "properties.a: expected string, got a map",
        ),
        ("json-patch", json!({}), "InvalidParameter", "properties.operations: required: expected array"),
        (
            "json-patch",
            json!({ "operations": [{ "op": "ad", "path": "/a" }] }),
            "InvalidParameter",
            "operations[0].op",
        ),
        (
            "json-patch",
            json!({ "operations": [{ "op": "remove", "path": "/nope" }] }),
            "PatchFailed",
            r#"the patch doesn't fit Deployment "web": operation 0 (remove /nope)"#,
        ),
        (
            "json-merge-patch",
            json!({ "metadata": { "name": "other" } }),
            "IdentityChanged",
            r#"it would change metadata.name of Deployment "web"; refer to another object instead"#,
        ),
        (
            "json-merge-patch",
            json!({ "metadata": { "namespace": "x" } }),
            "IdentityChanged",
            "topology policy",
        ),
        (
            "json-merge-patch",
            json!({ "metadata": { "ownerReferences": [{ "kind": "ConfigMap", "name": "x", "uid": "1" }] } }),
            "ClustersOwn",
            r#"it would change metadata.ownerReferences of Deployment "web": an owner is known by its UID"#,
        ),
        (
            "json-merge-patch",
            json!({ "status": { "replicas": 9 } }),
            "ClustersOwn",
            r#"it would change status of Deployment "web": each cluster writes it itself; take it out"#,
        ),
        (
            "json-merge-patch",
            json!("text"),
            "InvalidParameter",
            r#"properties: expected object, got string "text""#,
        ),
        (
            "json-patch",
            json!({ "operations": [{ "op": "replace", "path": "", "value": 1 }] }),
            "IdentityChanged",
            "it would change apiVersion",
        ),
        (
            "scalar",
            json!({}),
            "UnknownTraitType",
            r#"there is no trait type "scalar"; did you mean "scaler"?"#,
        ),
        ("teleport", json!({}), "UnknownTraitType", "; traits: annotations, container-image, env,"),
    ];
    for (type_, properties, code, expected) in cases {
        let error = after_trait(type_, properties).expect_err(expected);
        assert!(
            error.to_string().contains(expected),
            "{type_} {properties}\n  got: {error}\n want: {expected}"
        );
        assert_eq!(error.code(), *code, "{error}");
        assert!(!error.to_string().contains('\n'), "one line: {error}");
    }
}

/// Whoever brought the wrong value by a policy is sent there.
#[test]
fn wrong_traits_from_a_policy_name_it() {
    let change = policy(
        "slow",
        &json!({ "components": [
        { "traits": [{ "type": "scaler", "properties": { "replicas": "1" } }] } ] }),
    );
    let error =
        rendered(&with_trait("scaler", &json!({ "replicas": 2 })), &[&change], &[deployment()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"component "web", trait "scaler", changed by policy "slow": properties.replicas: expected integer, got string "1"; write it without quotes"#
    );
}

#[test]
fn a_trait_that_fits_no_object() {
    let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" } });
    let error = rendered(&with_trait("scaler", &json!({})), &[], &[config]).unwrap_err();
    assert!(
        error.to_string().contains("it applies to deployments.apps, statefulsets.apps")
            && error.to_string().ends_with(r#"and the component has ConfigMap "c""#),
        "{error}"
    );
    let error = rendered(&with_trait("scaler", &json!({})), &[], &[]).unwrap_err();
    assert!(error.to_string().ends_with("and the component has no objects"), "{error}");
}

#[test]
fn wrong_components() {
    let inline = |objects: Value| json!([{ "name": "a", "type": "k8s-objects", "properties": { "objects": objects } }]);
    let config = |name: &str, ns: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": ns } });
    let cases = [
        (inline(json!([])), "properties.objects: required"),
        (inline(json!("x")), r#"properties.objects: expected a list, got string "x""#),
        (inline(json!([1])), "properties.objects[0]: expected an object, got integer 1"),
        (inline(json!([{ "kind": "X" }])), "properties.objects[0].apiVersion: required: expected a string"),
        (
            inline(json!([{ "apiVersion": "v1", "kind": "X", "metadata": {} }])),
            "properties.objects[0].metadata.name: required",
        ),
        (
            inline(json!([{ "apiVersion": "v1", "kind": 5, "metadata": {} }])),
            "properties.objects[0].kind: expected a string, got integer 5",
        ),
        (
            json!([{ "name": "a", "type": "k8s-objects", "properties": { "object": [] } }]),
            r#"did you mean "objects"?"#,
        ),
        (
            json!([{ "name": "a", "type": "ref-object" }]),
            r#"there is no component type "ref-object"; did you mean "ref-objects"?"#,
        ),
        (
            json!([{ "name": "a", "type": "ref-objects" }, { "name": "a", "type": "ref-objects" }]),
            r#"component "a" is there twice"#,
        ),
        (
            json!([{ "name": "w", "type": "webservice" }]),
            r#"component "w" (webservice): properties.image: required"#,
        ),
        // The namespace comes from the target, so these two meet there.
        (
            json!([
                { "name": "a", "type": "k8s-objects", "properties": { "objects": [config("c", "x")] } },
                { "name": "b", "type": "k8s-objects", "properties": { "objects": [config("c", "y")] } },
            ]),
            r#"components "a" and "b" both deliver ConfigMap "c""#,
        ),
    ];
    for (value, expected) in cases {
        let error = rendered(&components(value.clone()), &[], &[]).expect_err(expected);
        assert!(error.to_string().contains(expected), "{value}\n  got: {error}\n want: {expected}");
    }
}

/// A mistake is told at once, not only when the referenced objects have appeared.
#[test]
fn checking_needs_no_objects() {
    let told = |value: Value| match check(&components(value), &[], &Definitions::builtin()) {
        Ok(effective) => effective.len().to_string(),
        Err(error) => error.code().to_owned(),
    };
    let with = |type_: &str, properties: Value| {
        json!([{ "name": "web", "type": "ref-objects",
        "traits": [{ "type": type_, "properties": properties }] }])
    };
    assert_eq!(told(with("scaler", json!({ "replicas": 1 }))), "1");
    assert_eq!(told(with("scaler", json!({ "replicas": "x" }))), "InvalidParameter");
    assert_eq!(told(with("scalr", json!({}))), "UnknownTraitType");
    assert_eq!(told(json!([{ "name": "web", "type": "webservice" }])), "InvalidParameter");
    assert_eq!(told(json!([{ "name": "web", "type": "web" }])), "UnknownComponentType");
    assert_eq!(told(json!([{ "name": "web", "type": "k8s-objects" }])), "InvalidObject");
}

#[test]
fn unreadable_overrides() {
    let cases = [
        (json!(null), "properties: expected a map, got null"),
        (json!({}), "properties: it changes nothing"),
        (json!({ "component": [] }), r#"properties.component: unknown field; did you mean "components"?"#),
        (json!({ "components": {} }), "properties.components: expected a list, got a map"),
        (
            json!({ "components": [{ "nmae": "x" }] }),
            r#"properties.components[0].nmae: unknown field; did you mean "name"?"#,
        ),
        (
            json!({ "components": [{ "name": 1 }] }),
            "properties.components[0].name: expected a string, got integer 1",
        ),
        (
            json!({ "components": [{ "traits": [{}] }] }),
            "properties.components[0].traits[0]: a trait needs its type",
        ),
        (
            json!({ "components": [{ "traits": [{ "type": "env", "disable": "yes" }] }] }),
            r#"properties.components[0].traits[0].disable: expected a boolean, got string "yes""#,
        ),
        (
            json!({ "components": [{ "traits": [{ "type": "env", "properties": [] }] }] }),
            "expected a map, got a list",
        ),
        (
            json!({ "components": [{ "properties": "x" }] }),
            "properties.components[0].properties: expected a map",
        ),
        (json!({ "selector": [""] }), "properties.selector[0]: must not be empty"),
    ];
    for (properties, expected) in cases {
        let error = Override::parse("p", &properties).expect_err(expected).to_string();
        assert!(
            error.starts_with(r#"policy "p" (override): "#) && error.contains(expected),
            "{properties}: {error}"
        );
    }
}

/// A message goes into status, events and logs; a Secret's values must not.
#[test]
fn a_secrets_values_stay_in_it() {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "p": "hunter2" } });
    let operations =
        json!({ "operations": [{ "op": "test", "path": "/stringData/p", "value": "swordfish" }] });
    let error = rendered(&with_trait("json-patch", &operations), &[], &[secret]).unwrap_err().to_string();
    assert!(error.ends_with("operation 0 (test /stringData/p): the value is another"), "{error}");
}
