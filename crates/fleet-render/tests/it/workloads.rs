//! Component types that are definitions.

use serde_json::{Value, json};

use crate::{components, rendered};

fn made(type_: &str, properties: Value) -> Vec<Value> {
    let component = components(json!([{ "name": "api", "type": type_, "properties": properties }]));
    rendered(&component, &[], &[]).unwrap().into_iter().map(|made| made.object).collect()
}

/// The least that a user of the established engine writes, and gets.
#[test]
fn a_small_webservice() {
    let objects = made("webservice", json!({ "image": "nginx" }));
    let labels = json!({ "app.oam.dev/component": "api", "app.oam.dev/name": "shop" });
    let expected = json!([{
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "api" },
        "spec": {
            "selector": { "matchLabels": { "app.oam.dev/component": "api" } },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "api", "image": "nginx" }] },
            },
        },
    }]);
    assert_eq!(json!(objects), expected);
    assert_eq!(json!(made("worker", json!({ "image": "nginx" }))), expected);
}

#[test]
fn a_large_webservice() {
    let objects = made(
        "webservice",
        json!({
            "image": "nginx", "imagePullPolicy": "Always", "imagePullSecrets": ["reg"],
            "labels": { "tier": "front" }, "annotations": { "a": "b" },
            "ports": [{ "port": 80, "containerPort": 8080, "expose": true }, { "port": 53, "protocol": "UDP" }],
            "exposeType": "LoadBalancer",
            "cmd": ["run"], "args": ["-v"], "env": [{ "name": "A", "value": "1" }],
            "cpu": "500m", "memory": "1Gi", "limit": { "cpu": 2 },
            "volumeMounts": {
                "configMap": [{ "name": "cfg", "mountPath": "/cfg", "cmName": "c", "subPath": "x" }],
                "emptyDir": [{ "name": "tmp", "mountPath": "/tmp" }],
            },
            "readinessProbe": { "httpGet": { "path": "/", "port": 8080 } },
            "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["db"] }],
        }),
    );
    let pod = &objects[0]["spec"]["template"];
    assert_eq!(
        pod["metadata"],
        json!({
            "labels": { "tier": "front", "app.oam.dev/component": "api", "app.oam.dev/name": "shop" },
            "annotations": { "a": "b" },
        })
    );
    assert_eq!(
        pod["spec"],
        json!({
            "containers": [{
                "name": "api", "image": "nginx", "imagePullPolicy": "Always", "command": ["run"], "args": ["-v"],
                "env": [{ "name": "A", "value": "1" }],
                "ports": [
                    { "name": "port-80", "containerPort": 8080, "protocol": "TCP" },
                    { "name": "port-53-udp", "containerPort": 53, "protocol": "UDP" },
                ],
                "resources": { "requests": { "cpu": "500m", "memory": "1Gi" }, "limits": { "cpu": 2, "memory": "1Gi" } },
                "volumeMounts": [
                    { "name": "cfg", "mountPath": "/cfg", "subPath": "x" }, { "name": "tmp", "mountPath": "/tmp" },
                ],
                "readinessProbe": { "httpGet": { "path": "/", "port": 8080 } },
            }],
            "imagePullSecrets": [{ "name": "reg" }],
            "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["db"] }],
            "volumes": [
                { "name": "cfg", "configMap": { "name": "c", "defaultMode": 420 } }, { "name": "tmp", "emptyDir": {} },
            ],
        })
    );
    assert_eq!(
        objects[1],
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "api" },
            "spec": {
                "type": "LoadBalancer",
                "selector": { "app.oam.dev/component": "api" },
                "ports": [{ "name": "port-80", "port": 80, "protocol": "TCP", "targetPort": 8080 }],
            },
        })
    );
}

/// Traits reach what a definition makes, by kind as well as by component type.
#[test]
fn traits_apply_to_defined_components() {
    let component =
        components(json!([{ "name": "api", "type": "webservice", "properties": { "image": "nginx" },
        "traits": [
            { "type": "scaler", "properties": { "replicas": 4 } },
            { "type": "env", "properties": { "env": { "A": "1" } } },
        ] }]));
    let made = rendered(&component, &[], &[]).unwrap();
    assert_eq!(made[0].object["spec"]["replicas"], json!(4));
    let leaves: Vec<(String, String)> = made[0]
        .provenance
        .leaves(&made[0].object)
        .into_iter()
        .map(|(path, source)| (path.to_string(), source.to_string()))
        .collect();
    let source = |path: &str| leaves.iter().find(|(have, _)| have == path).map(|(_, source)| source.as_str());
    assert_eq!(source(".spec.replicas"), Some("trait scaler of api"));
    assert_eq!(
        source(r#".spec.template.spec.containers[name="api"].env[name="A"].value"#),
        Some("trait env of api")
    );
    assert_eq!(
        source(r#".spec.template.spec.containers[name="api"].image"#),
        Some("component type webservice")
    );
}

/// Broken: `stringData` is delivered as it is, so that who changes what it became in `data` is never noticed.
#[test]
fn what_can_only_be_written_is_delivered_as_it_is_read() {
    let objects = made(
        "k8s-objects",
        json!({ "objects": [{ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" },
            "data": { "p": "QQ==", "q": "QQ==" }, "stringData": { "p": "hunter2" } }] }),
    );
    let expected = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" },
        "data": { "p": "aHVudGVyMg==", "q": "QQ==" } });
    assert_eq!(objects, [expected]);
}

/// What belongs to a cluster doesn't travel with an inline object.
#[test]
fn inline_objects_are_sanitised() {
    let objects = made(
        "k8s-objects",
        json!({ "objects": [{
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "c", "namespace": "x", "uid": "1", "resourceVersion": "5" },
        "data": { "a": "b" }, "status": {},
    }] }),
    );
    let expected =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" }, "data": { "a": "b" } });
    assert_eq!(objects, [expected]);
}
