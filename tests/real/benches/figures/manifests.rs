//! What is delivered.

use serde_json::{Value, json};

/// Where it is, on the hub and on members.
pub(crate) const NAMESPACE: &str = "demo";

/// The objects of an application. A Deployment of no replicas is ready as soon as its controller has seen it.
pub(crate) fn objects(index: usize) -> Vec<Value> {
    let name = format!("app-{index}");
    vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "nginx"}]}}}}),
        service(index, "ClusterIP"),
        settings(index, "1"),
    ]
}

/// The ConfigMap of an application.
pub(crate) fn settings(index: usize, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("app-{index}"), "namespace": NAMESPACE},
        "data": {"id": index.to_string(), "value": value}})
}

/// The Service of an application.
pub(crate) fn service(index: usize, sort: &str) -> Value {
    let name = format!("app-{index}");
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"type": sort, "selector": {"app": name}, "ports": [{"port": 80, "targetPort": 80}]}})
}

/// An Application of these objects in one step to all members.
pub(crate) fn application(index: usize) -> Value {
    of(index, &objects(index))
}

/// The same, with a gate in front, of a ConfigMap and a Service that is ready when it has an address.
pub(crate) fn gated(index: usize) -> (Vec<Value>, Value) {
    let objects = vec![service(index, "LoadBalancer"), settings(index, "1")];
    let mut app = of(index, &objects);
    app["spec"]["workflow"] = json!({"steps": [
        {"name": "go", "type": "deploy", "properties": {"auto": false, "policies": ["where"]}}]});
    (objects, app)
}

fn of(index: usize, objects: &[Value]) -> Value {
    let named =
        |o: &Value| json!({"apiVersion": o["apiVersion"], "kind": o["kind"], "name": o["metadata"]["name"]});
    let objects: Vec<Value> = objects.iter().map(named).collect();
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": format!("app-{index}"), "namespace": NAMESPACE}, "spec": {
            "components": [{"name": "main", "type": "ref-objects", "properties": {"objects": objects}}],
            "policies": [{"name": "where", "type": "topology", "properties": {"clusters": crate::MEMBERS}}]}})
}
