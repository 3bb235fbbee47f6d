//! The other kinds, in a member in memory.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::model::{Model, image, template};
use crate::object::{condition, int, label, list, name, pod_ready, text};
use crate::{Kind, ObjectRef, Pods, Settings};

fn model(pods: Pods) -> Model {
    let mut model = Model::new(Settings { pods, ..Settings::default() }, 11);
    model.put(Kind::Node, crate::seed::node());
    model
}

/// If this fails, a full member runs what a real one leaves waiting, or what waits isn't told of, or waits for ever.
#[test]
fn pods_that_request_more_than_is_left_wait_until_others_have_gone() {
    let mut model = model(Pods::Full);
    model.settle();
    let hungry = |replicas: i64| {
        let mut pods = template("web:1");
        pods["spec"]["containers"][0]["resources"] =
            json!({"limits": {"cpu": "20"}, "requests": {"memory": "1Mi"}});
        json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": {"replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}}, "template": pods}})
    };
    model.put(Kind::ReplicaSet, hungry(5));
    model.settle();
    let count = |model: &Model| {
        let pods = model.all(Kind::Pod);
        let ready = pods.iter().filter(|pod| pod_ready(pod)).count();
        let told = pods.iter().filter(|pod| {
            condition(&pod["status"], "PodScheduled").is_some_and(|scheduled| {
                text(scheduled, "/status") == "False"
                    && text(scheduled, "/reason") == "Unschedulable"
                    && text(scheduled, "/message") == "0/1 nodes are available: 1 Insufficient cpu."
            })
        });
        (ready, told.count())
    };
    assert_eq!(count(&model), (3, 2));
    let running = model.all(Kind::Pod).into_iter().find(pod_ready).unwrap();
    model.delete(Kind::Pod, name(&running));
    model.settle();
    assert_eq!(count(&model), (3, 2));
    model.edit(Kind::ReplicaSet, "web", &json!({"spec": {"replicas": 3}}));
    model.settle();
    assert_eq!(count(&model), (3, 0));
    model.edit(Kind::ReplicaSet, "web", &json!({"spec": {"replicas": 4}}));
    model.settle();
    assert_eq!(count(&model), (3, 1));
    let more = json!({"status": {"allocatable": {"cpu": "80", "memory": "256Gi"}}});
    model.edit(Kind::Node, crate::seed::NODE, &more);
    model.settle();
    assert_eq!(count(&model), (4, 0));
}

fn stateful(replicas: i64) -> Value {
    json!({
        "metadata": { "name": "db", "namespace": "ns" },
        "spec": {
            "replicas": replicas, "serviceName": "db", "podManagementPolicy": "OrderedReady",
            "selector": { "matchLabels": { "app": "web" } }, "template": template("db:1"),
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
            }],
        },
    })
}

/// If this fails, stateful applications start all at once, or their pods have no names and volumes of their own.
#[test]
fn stateful_pods_come_one_after_the_other() {
    let mut model = model(Pods::Full);
    model.put(Kind::StatefulSet, stateful(3));
    model.settle_watched(3_000, Duration::from_secs(60), &mut |model| {
        let unready = model.all(Kind::Pod).iter().filter(|pod| !pod_ready(pod)).count();
        assert!(unready <= 1);
    });
    let pods = model.all(Kind::Pod);
    assert_eq!(pods.iter().map(name).collect::<Vec<_>>(), ["db-0", "db-1", "db-2"]);
    assert_eq!(label(&pods[1], "statefulset.kubernetes.io/pod-name"), "db-1");
    assert_eq!(text(&pods[1], "/spec/volumes/0/persistentVolumeClaim/claimName"), "data-db-1");
    let claims = model.all(Kind::PersistentVolumeClaim);
    assert_eq!(claims.len(), 3);
    assert!(claims.iter().all(|claim| text(claim, "/status/phase") == "Bound"));
    let status = &model.get(Kind::StatefulSet, "db")["status"];
    for field in ["replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"] {
        assert_eq!(status[field], 3, "{field}");
    }
    assert_eq!(status["currentRevision"], status["updateRevision"]);
}

/// If this fails, updates of stateful applications go from the wrong end, touch what the partition protects, or lose
/// volumes when they shrink.
#[test]
fn stateful_updates_go_from_the_top_to_the_partition() {
    let mut model = model(Pods::Full);
    model.put(Kind::StatefulSet, stateful(4));
    model.settle();
    model.edit(
        Kind::StatefulSet,
        "db",
        &json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 2 } } } }),
    );
    model.edit(Kind::StatefulSet, "db", &image("db:2"));
    model.settle_watched(3_000, Duration::from_secs(60), &mut |model| {
        let images: Vec<_> =
            model.all(Kind::Pod).iter().map(|pod| text(pod, "/spec/containers/0/image").to_owned()).collect();
        assert!(images.is_sorted(), "the old ones are below: {images:?}");
    });
    let images = |model: &Model| {
        let pods = model.all(Kind::Pod);
        pods.iter().map(|pod| text(pod, "/spec/containers/0/image").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(images(&model), ["db:1", "db:1", "db:2", "db:2"]);
    let status = model.get(Kind::StatefulSet, "db")["status"].clone();
    assert_eq!((int(&status, "/currentReplicas"), int(&status, "/updatedReplicas")), (2, 2));
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    model.edit(
        Kind::StatefulSet,
        "db",
        &json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 0 } } } }),
    );
    model.settle();
    assert_eq!(images(&model), ["db:2"; 4]);
    model.edit(Kind::StatefulSet, "db", &json!({ "spec": { "replicas": 1 } }));
    model.settle();
    assert_eq!(model.all(Kind::Pod).len(), 1);
    assert_eq!(model.all(Kind::PersistentVolumeClaim).len(), 4, "volumes outlive their pods");
    assert_eq!(int(&model.get(Kind::StatefulSet, "db"), "/status/currentReplicas"), 1);
}

/// If this fails, daemons run twice on a node, nowhere, or in their old version for ever.
#[test]
fn a_daemon_runs_once_on_each_node() {
    let mut model = model(Pods::Full);
    let mut second = crate::seed::node();
    second["metadata"]["name"] = json!("node-1");
    let spec = json!({ "selector": { "matchLabels": { "app": "web" } }, "template": template("agent:1"),
        "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } } });
    model.put(Kind::DaemonSet, json!({ "metadata": { "name": "agent", "namespace": "ns" }, "spec": spec }));
    model.settle();
    model.put(Kind::Node, second);
    model.settle();
    let nodes = |model: &Model| {
        let mut nodes: Vec<_> =
            model.all(Kind::Pod).iter().map(|pod| text(pod, "/spec/nodeName").to_owned()).collect();
        nodes.sort();
        nodes
    };
    assert_eq!(nodes(&model), ["node-0", "node-1"]);
    model.edit(Kind::DaemonSet, "agent", &image("agent:2"));
    model.settle_watched(3_000, Duration::from_secs(60), &mut |model| {
        assert!(
            model.all(Kind::Pod).iter().filter(|pod| pod_ready(pod)).count() >= 1,
            "at most one is missing"
        );
    });
    assert_eq!(nodes(&model), ["node-0", "node-1"]);
    let status = &model.get(Kind::DaemonSet, "agent")["status"];
    for field in [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "numberAvailable",
        "updatedNumberScheduled",
    ] {
        assert_eq!(status[field], 2, "{field}");
    }
    assert!(model.all(Kind::Pod).iter().all(|pod| text(pod, "/spec/containers/0/image") == "agent:2"));
}

fn job(image: &str, restart: &str, completions: i64) -> Value {
    json!({
        "metadata": { "name": "work", "namespace": "ns" },
        "spec": { "completions": completions, "parallelism": 2, "backoffLimit": 2, "template": {
            "metadata": {}, "spec": { "restartPolicy": restart, "containers": [{ "name": "main", "image": image }] },
        } },
    })
}

fn says(object: &Value, kind: &str) -> bool {
    condition(&object["status"], kind).is_some_and(|found| text(found, "/status") == "True")
}

/// If this fails, Jobs never end, or say success where there was none.
#[test]
fn jobs_end_as_their_image_says() {
    for pods in [Pods::Full, Pods::Counted] {
        let mut good = model(pods);
        good.put(Kind::Job, job("tool:1", "Never", 5));
        good.settle_watched(3_000, Duration::from_secs(60), &mut |model| {
            let active = model.all(Kind::Pod).iter().filter(|pod| crate::object::pod_active(pod)).count();
            assert!(active <= 2, "no more than parallelism");
        });
        let done = good.get(Kind::Job, "work");
        assert!(says(&done, "Complete") && !says(&done, "Failed"));
        assert_eq!((int(&done, "/status/succeeded"), int(&done, "/status/active")), (5, 0));
        assert!(text(&done, "/status/completionTime") >= text(&done, "/status/startTime"));
        for restart in ["Never", "OnFailure"] {
            let mut bad = model(pods);
            bad.put(Kind::Job, job("crash:1", restart, 5));
            bad.settle();
            let failed = bad.get(Kind::Job, "work");
            assert!(says(&failed, "Failed") && !says(&failed, "Complete"), "{restart}");
            assert_eq!(
                text(condition(&failed["status"], "Failed").unwrap(), "/reason"),
                "BackoffLimitExceeded"
            );
            assert!(!bad.all(Kind::Pod).iter().any(crate::object::pod_active));
        }
    }
}

/// If this fails, a suspended Job runs, or one that is resumed doesn't.
#[test]
fn a_suspended_job_waits() {
    let mut model = model(Pods::Full);
    let mut body = job("tool:1", "Never", 2);
    body["spec"]["suspend"] = json!(true);
    body["spec"]["ttlSecondsAfterFinished"] = json!(30);
    model.put(Kind::Job, body);
    model.settle();
    assert!(model.all(Kind::Pod).is_empty() && says(&model.get(Kind::Job, "work"), "Suspended"));
    model.edit(Kind::Job, "work", &json!({ "spec": { "suspend": false } }));
    model.settle_watched(3_000, Duration::from_secs(10), &mut |_| {});
    assert!(says(&model.get(Kind::Job, "work"), "Complete"));
    model.settle();
    assert!(model.all(Kind::Job).is_empty(), "gone when its time is over");
}

/// If this fails, clients find no address, or traffic goes to pods that aren't ready.
#[test]
fn services_get_addresses_and_endpoints() {
    let mut model = model(Pods::Full);
    let service = |name: &str, kind: &str| {
        json!({
            "metadata": { "name": name, "namespace": "ns", "uid": name },
            "spec": { "type": kind, "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80, "targetPort": "web" }] },
        })
    };
    model.put(Kind::Service, service("inner", "ClusterIP"));
    model.put(Kind::Service, service("outer", "LoadBalancer"));
    let mut pod = json!({ "metadata": { "name": "p", "namespace": "ns" } });
    fleet_json::merge_patch(&mut pod, &template("web:1"));
    pod["spec"]["containers"][0]["ports"] = json!([{ "name": "web", "containerPort": 8080 }]);
    model.put(Kind::Pod, pod.clone());
    pod["metadata"]["name"] = json!("q");
    pod["spec"]["containers"][0]["image"] = json!("web:broken");
    model.put(Kind::Pod, pod);
    model.settle();
    let [inner, outer] = ["inner", "outer"].map(|name| model.get(Kind::Service, name));
    let ip = text(&inner, "/spec/clusterIP");
    assert!(ip.starts_with("10.96.") && ip != text(&outer, "/spec/clusterIP"));
    assert_eq!(inner["spec"]["clusterIPs"], json!([ip]));
    assert!(list(&inner, "/status/loadBalancer/ingress").is_empty());
    assert!(!list(&outer, "/status/loadBalancer/ingress").is_empty());
    let endpoints = &model.published[&ObjectRef::new(Kind::Endpoints, "ns", "inner")];
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["targetRef"]["name"], "p");
    assert_eq!(endpoints["subsets"][0]["notReadyAddresses"][0]["targetRef"]["name"], "q");
    assert_eq!(
        endpoints["subsets"][0]["ports"],
        json!([{ "name": "http", "port": 8080, "protocol": "TCP" }])
    );
    let slices: Vec<_> =
        model.published.iter().filter(|(target, _)| target.kind == Kind::EndpointSlice).collect();
    assert_eq!(slices.len(), 2);
    let ready: Vec<_> =
        list(slices[0].1, "/endpoints").iter().map(|one| one["conditions"]["ready"].clone()).collect();
    assert_eq!(ready, [true, false]);
}

/// If this fails, an Ingress without a class is served by nobody although there is a default.
#[test]
fn an_ingress_takes_the_default_class() {
    let mut model = model(Pods::Full);
    let ingress = |name: &str| json!({ "metadata": { "name": name, "namespace": "ns" }, "spec": {} });
    model.put(Kind::Ingress, ingress("early"));
    model.settle();
    assert!(model.get(Kind::Ingress, "early").get("status").is_none(), "no class, no service");
    let class = json!({ "ingressclass.kubernetes.io/is-default-class": "true" });
    model.put(
        Kind::IngressClass,
        json!({ "metadata": { "name": "nginx", "annotations": class }, "spec": {} }),
    );
    model.put(
        Kind::Ingress,
        json!({ "metadata": { "name": "own", "namespace": "ns" }, "spec": { "ingressClassName": "x" } }),
    );
    model.settle();
    let early = model.get(Kind::Ingress, "early");
    assert_eq!(text(&early, "/spec/ingressClassName"), "nginx");
    assert!(!list(&early, "/status/loadBalancer/ingress").is_empty());
    assert_eq!(text(&model.get(Kind::Ingress, "own"), "/spec/ingressClassName"), "x");
}

/// If this fails, `kubectl run` makes a pod that never starts, or one that is deleted gracefully never goes.
#[test]
fn bare_pods_are_bound_run_and_go() {
    let mut model = model(Pods::Full);
    let mut pod = json!({ "metadata": { "name": "p", "namespace": "ns" } });
    fleet_json::merge_patch(&mut pod, &template("web:1"));
    model.put(Kind::Pod, pod);
    model.settle();
    let pod = model.get(Kind::Pod, "p");
    assert!(pod_ready(&pod) && text(&pod, "/spec/nodeName") == "node-0");
    model.edit(Kind::Pod, "p", &json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }));
    model.settle();
    assert!(model.all(Kind::Pod).is_empty());
}

/// If this fails, counted simulations of the other kinds never get ready.
#[test]
fn counted_kinds_get_ready_without_pods() {
    let mut model = model(Pods::Counted);
    model.put(Kind::StatefulSet, stateful(3));
    let spec = json!({ "selector": { "matchLabels": { "app": "web" } }, "template": template("agent:1") });
    model.put(Kind::DaemonSet, json!({ "metadata": { "name": "agent", "namespace": "ns" }, "spec": spec }));
    model.settle();
    assert_eq!(int(&model.get(Kind::StatefulSet, "db"), "/status/readyReplicas"), 3);
    assert_eq!(int(&model.get(Kind::DaemonSet, "agent"), "/status/numberReady"), 1);
    model.edit(Kind::StatefulSet, "db", &image("db:2"));
    model.edit(Kind::DaemonSet, "agent", &image("agent:2"));
    model.settle();
    let db = model.get(Kind::StatefulSet, "db");
    assert_eq!(int(&db, "/status/observedGeneration"), int(&db, "/metadata/generation"));
    assert_eq!(db["status"]["currentRevision"], db["status"]["updateRevision"]);
    assert!(model.all(Kind::Pod).is_empty());
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z%0-9:/${}é-]{0,8}".prop_map(Value::from),
        Just(json!(i64::MAX)),
        Just(json!("9999999999999h")),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        let key = prop::sample::select(vec![
            "replicas",
            "template",
            "metadata",
            "spec",
            "strategy",
            "rollingUpdate",
            "maxSurge",
            "maxUnavailable",
            "type",
            "containers",
            "image",
            "labels",
            "annotations",
            "conditions",
            "lastUpdateTime",
            "status",
            "name",
            "ports",
            "selector",
            "partition",
            "minReadySeconds",
            "completions",
            "parallelism",
            "backoffLimit",
            "paused",
            "start",
            "sim.fleetctl.dev/ready-delay",
            "ordinals",
            "updateStrategy",
            "progressDeadlineSeconds",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5).prop_map(|map| map
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Value>()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// If this fails, an object with strange contents stops the simulation of all members.
    #[test]
    fn strange_objects_stop_nobody(kind in 0..Kind::WATCHED.len(), spec in tree(), status in tree(), counted in any::<bool>()) {
        let kind = Kind::WATCHED[kind];
        let pods = if counted { Pods::Counted } else { Pods::Full };
        let settings = Settings { pods, ..Settings::default() };
        let namespace = if kind.namespaced() { "ns" } else { "" };
        let object = json!({ "metadata": { "name": "x", "namespace": namespace, "uid": "u", "labels": spec },
            "spec": spec, "status": status });
        let mut cluster = crate::Cluster::default();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        for target in cluster.upsert(kind, object, now) {
            let decision = super::decide(&cluster, &target, crate::Moment { now, settings: &settings });
            prop_assert!(decision.actions.len() <= 600);
        }
    }
}
