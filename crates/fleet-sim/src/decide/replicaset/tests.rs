//! ReplicaSets on their own.

use serde_json::json;

use crate::model::{Model, template};
use crate::object::{int, name, pod_ready};
use crate::{Kind, Settings};

/// If this fails, scaling down takes pods that work and leaves those that don't.
#[test]
fn surplus_pods_go_worst_first() {
    let mut model = Model::new(Settings::default(), 5);
    let body = |replicas: i64| {
        json!({
            "metadata": { "name": "set", "namespace": "ns" },
            "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "web" } }, "template": template("web:1") },
        })
    };
    model.put(Kind::ReplicaSet, body(3));
    model.settle();
    let kept: Vec<String> = model.all(Kind::Pod).iter().map(|pod| name(pod).to_owned()).collect();
    model.edit(
        Kind::ReplicaSet,
        "set",
        &json!({ "spec": { "replicas": 5, "template": template("web:broken") } }),
    );
    model.settle();
    assert_eq!(model.all(Kind::Pod).len(), 5);
    assert_eq!(int(&model.get(Kind::ReplicaSet, "set"), "/status/readyReplicas"), 3);
    model.edit(Kind::ReplicaSet, "set", &json!({ "spec": { "replicas": 3 } }));
    model.settle();
    let left = model.all(Kind::Pod);
    assert!(left.iter().all(pod_ready));
    assert_eq!(left.iter().map(|pod| name(pod).to_owned()).collect::<Vec<_>>(), kept);
    assert_eq!(int(&model.get(Kind::ReplicaSet, "set"), "/status/replicas"), 3);
}
