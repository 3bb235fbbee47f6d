//! What each embedded trait does.

use serde_json::{Value, json};

use crate::{after_trait, components, deployment, rendered, with_trait};

const CONTAINERS: &str = "/spec/template/spec/containers";

fn env_after(properties: Value) -> Value {
    after_trait("env", &properties).unwrap().pointer(CONTAINERS).unwrap()[0]["env"].clone()
}

/// Variables keep their place, so a rollout of an unchanged application changes nothing.
#[test]
fn env() {
    let secret = json!({ "name": "S", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } });
    let (a, b) = (json!({ "name": "A", "value": "1" }), json!({ "name": "B", "value": "2" }));
    let set = |name: &str, value: &str| json!({ "name": name, "value": value });
    let cases = [
        (json!({}), json!([a, secret, b])),
        (json!({ "env": { "B": "9" } }), json!([a, secret, set("B", "9")])),
        (json!({ "env": { "Z": "9", "C": "8" } }), json!([a, secret, b, set("C", "8"), set("Z", "9")])),
        // A value takes the place of a reference; both together would be refused by the API server.
        (json!({ "env": { "S": "x" } }), json!([a, set("S", "x"), b])),
        (json!({ "unset": ["A", "nope"] }), json!([secret, b])),
        (json!({ "unset": ["A"], "env": { "A": "3" } }), json!([set("A", "3"), secret, b])),
        (json!({ "replace": true, "env": { "X": "1" } }), json!([set("X", "1")])),
        (json!({ "replace": true }), json!([])),
        (json!({ "containerName": "web", "env": { "A": "3" } }), json!([set("A", "3"), secret, b])),
        (json!({ "containers": [{ "containerName": "web", "unset": ["S"] }] }), json!([a, b])),
    ];
    for (properties, expected) in cases {
        assert_eq!(env_after(properties.clone()), expected, "{properties}");
    }
    let both = json!({ "containers": [
        { "containerName": "log", "env": { "L": "1" } }, { "containerName": "web", "replace": true },
    ] });
    let object = after_trait("env", &both).unwrap();
    assert_eq!(object.pointer(CONTAINERS).unwrap()[1]["env"], json!([set("L", "1")]));
    assert_eq!(object.pointer(CONTAINERS).unwrap()[0]["env"], json!([]));
}

/// Pods and CronJobs have their containers elsewhere.
#[test]
fn env_and_image_find_containers_where_the_kind_has_them() {
    let pod = json!({ "containers": [{ "name": "c", "image": "i" }] });
    let cases = [
        ("v1", "Pod", pod.clone(), "/spec/containers/0"),
        (
            "batch/v1",
            "CronJob",
            json!({ "jobTemplate": { "spec": { "template": { "spec": pod } } } }),
            "/spec/jobTemplate/spec/template/spec/containers/0",
        ),
        ("batch/v1", "Job", json!({ "template": { "spec": pod } }), "/spec/template/spec/containers/0"),
    ];
    for (version, kind, spec, pointer) in cases {
        let object =
            json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "x" }, "spec": spec });
        let component = components(json!([{ "name": "web", "type": "ref-objects", "traits": [
            { "type": "env", "properties": { "env": { "A": "1" } } },
            { "type": "container-image", "properties": { "image": "new" } },
        ] }]));
        let made = rendered(&component, &[], &[object]).unwrap();
        let expected = json!({ "name": "c", "image": "new", "env": [{ "name": "A", "value": "1" }] });
        assert_eq!(made[0].object.pointer(pointer), Some(&expected), "{kind}");
    }
}

#[test]
fn container_image() {
    let images = |properties: Value| {
        let object = after_trait("container-image", &properties).unwrap();
        let containers = object.pointer(CONTAINERS).unwrap().as_array().unwrap().clone();
        containers.iter().map(|c| (c["image"].clone(), c["imagePullPolicy"].clone())).collect::<Vec<_>>()
    };
    let none = Value::Null;
    assert_eq!(
        images(json!({ "image": "n:2" })),
        [(json!("n:2"), none.clone()), (json!("fluent:2"), none.clone())]
    );
    assert_eq!(
        images(json!({ "containerName": "log", "image": "f:3", "imagePullPolicy": "Always" })),
        [(json!("nginx:1"), none.clone()), (json!("f:3"), json!("Always"))]
    );
    assert_eq!(
        images(json!({ "containers": [
            { "containerName": "web", "image": "n:2" }, { "containerName": "log", "image": "f:3" },
        ] })),
        [(json!("n:2"), none.clone()), (json!("f:3"), none)]
    );
}

/// Without a name the component's namesake is meant, else the first container.
#[test]
fn the_default_container() {
    for (component, expected) in [("log", [1, 2]), ("shop", [2, 1])] {
        let component = components(json!([{ "name": component, "type": "ref-objects", "traits": [
            { "type": "container-image", "properties": { "image": "new" } },
        ] }]));
        let made = rendered(&component, &[], &[deployment()]).unwrap();
        let containers = made[0].object.pointer(CONTAINERS).unwrap().as_array().unwrap();
        let changed = containers.iter().map(|c| if c["image"] == "new" { 2 } else { 1 }).collect::<Vec<_>>();
        assert_eq!(changed, expected);
    }
}

#[test]
fn scaler() {
    assert_eq!(after_trait("scaler", &json!({ "replicas": 0 })).unwrap()["spec"]["replicas"], json!(0));
    assert_eq!(after_trait("scaler", &Value::Null).unwrap()["spec"]["replicas"], json!(1), "the default");
}

/// Labels reach the pods too, and `null` removes; an object without pods gets no `spec`.
#[test]
fn labels_and_annotations() {
    let object = after_trait("labels", &json!({ "app": null, "tier": "front" })).unwrap();
    assert_eq!(object["metadata"]["labels"], json!({ "tier": "front" }));
    assert_eq!(object["spec"]["template"]["metadata"]["labels"], json!({ "tier": "front" }));
    let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" }, "data": {} });
    let made = rendered(&with_trait("annotations", &json!({ "a": "b" })), &[], &[config]).unwrap();
    let expected = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": {},
        "metadata": { "name": "c", "annotations": { "a": "b" } } });
    assert_eq!(made[0].object, expected);
}

#[test]
fn json_patches() {
    let object =
        after_trait("json-merge-patch", &json!({ "spec": { "replicas": null, "paused": true } })).unwrap();
    assert_eq!((object["spec"].get("replicas"), &object["spec"]["paused"]), (None, &json!(true)));
    let operations = json!({ "operations": [
        { "op": "test", "path": "/spec/replicas", "value": 3 },
        { "op": "replace", "path": "/spec/replicas", "value": 5 },
        { "op": "add", "path": "/metadata/labels/a~1b", "value": "c" },
        { "op": "add", "path": "/spec/minReadySeconds", "value": null },
    ] });
    let object = after_trait("json-patch", &operations).unwrap();
    assert_eq!(object["spec"]["replicas"], json!(5));
    assert_eq!(object["metadata"]["labels"]["a/b"], json!("c"));
    assert_eq!(object["spec"].get("minReadySeconds"), Some(&Value::Null));
}

/// A trait changes the first object that it applies to, in whatever place that stands; the others stay.
#[test]
fn the_first_object_that_a_trait_applies_to_is_patched() {
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" }, "spec": {} });
    let mut second = deployment();
    second["metadata"]["name"] = json!("web2");
    let objects = [service, deployment(), second];
    let component = components(json!([{ "name": "web", "type": "ref-objects", "traits": [
        { "type": "scaler", "properties": { "replicas": 7 } },
        { "type": "labels", "properties": { "first": "yes" } },
    ] }]));
    let made = rendered(&component, &[], &objects).unwrap();
    let replicas: Vec<_> = made.iter().map(|object| object.object["spec"].get("replicas").cloned()).collect();
    assert_eq!(replicas, [None, Some(json!(7)), Some(json!(3))]);
    let labelled: Vec<_> =
        made.iter().map(|o| o.object.pointer("/metadata/labels/first").is_some()).collect();
    assert_eq!(labelled, [true, false, false]);
}
