//! The tables are sound and lead where they should.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::TABLES;
use crate::settings::{Moment, Settings};
use crate::world::Held;
use crate::{Action, Decision, Kind};

/// If this fails, a table is silently empty and its kind never moves.
#[test]
fn every_table_is_read() {
    for (kind, source) in [
        (Kind::Pod, include_str!("../../stages/pod.json")),
        (Kind::Service, include_str!("../../stages/service.json")),
        (Kind::Ingress, include_str!("../../stages/ingress.json")),
        (Kind::PersistentVolumeClaim, include_str!("../../stages/persistentvolumeclaim.json")),
        (Kind::Node, include_str!("../../stages/node.json")),
    ] {
        serde_json::from_str::<super::Table>(source).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert!(!TABLES[&kind].stages.is_empty());
    }
    let images: Value = serde_json::from_str(include_str!("../../stages/images.json")).unwrap();
    assert_eq!(images["outcomes"].as_array().unwrap().len(), 2);
}

/// Runs an object through its stages until it stays (or `steps` are done); gives phase and waiting reason of each.
fn walk(kind: Kind, object: Value, steps: usize) -> (Value, Vec<(String, String)>) {
    let settings = Settings::default();
    let mut held = Held { value: object, since: Timestamp::UNIX_EPOCH };
    let mut now = Timestamp::UNIX_EPOCH;
    let mut seen = Vec::new();
    for _ in 0..steps {
        let mut decision = Decision::default();
        super::next(kind, &held, Moment { now, settings: &settings }, &mut decision);
        if let Some(wake) = decision.wake {
            assert!(wake > now);
            now = wake;
        } else if decision.actions.is_empty() {
            break;
        }
        for action in decision.actions {
            match action {
                Action::PatchStatus { status, .. } => {
                    fleet_json::merge_patch(&mut held.value, &json!({ "status": status }));
                    held.since = now;
                    let status = &held.value["status"];
                    let waiting = &status["containerStatuses"][0]["state"]["waiting"]["reason"];
                    let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    seen.push((words(&status["phase"]), words(waiting)));
                }
                Action::Patch { patch, .. } => fleet_json::merge_patch(&mut held.value, &patch),
                other => panic!("{other:?}"),
            }
        }
    }
    (held.value, seen)
}

fn pod(image: &str, restart: &str) -> Value {
    json!({
        "metadata": { "name": "p", "namespace": "ns", "uid": "u" },
        "spec": { "restartPolicy": restart, "containers": [
            { "name": "main", "image": image }, { "name": "side", "image": "envoy:1" },
        ]},
        "status": { "phase": "Pending" },
    })
}

fn steps(seen: &[(String, String)]) -> Vec<(&str, &str)> {
    seen.iter().map(|(phase, waiting)| (phase.as_str(), waiting.as_str())).collect()
}

/// If this fails, pods don't become ready, or not by the way that clients show.
#[test]
fn a_good_pod_becomes_ready() {
    let (pod, seen) = walk(Kind::Pod, pod("registry.example.com/fail-safe/web:1", "Always"), 20);
    assert_eq!(steps(&seen), [("Pending", "ContainerCreating"), ("Running", "")]);
    assert!(crate::object::pod_ready(&pod));
    assert_eq!(pod["status"]["containerStatuses"][1]["ready"], true);
    assert_eq!(pod["status"]["qosClass"], "BestEffort");
}

/// If this fails, a fault that a user injects by the image's name shows nowhere.
#[test]
fn failing_pods_fail_as_their_image_says() {
    let (unpullable, seen) = walk(Kind::Pod, pod("web:broken", "Always"), 20);
    assert_eq!(
        steps(&seen),
        [("Pending", "ContainerCreating"), ("Pending", "ErrImagePull"), ("Pending", "ImagePullBackOff")]
    );
    assert!(!crate::object::pod_ready(&unpullable));
    let statuses = &unpullable["status"]["containerStatuses"];
    assert_eq!(statuses[0]["state"]["waiting"]["message"], "Back-off pulling image \"web:broken\"");
    assert_eq!(statuses[1]["ready"], true, "the other container runs");

    let (crashing, seen) = walk(Kind::Pod, pod("crash", "Always"), 12);
    assert_eq!(seen[1], ("Running".to_owned(), "CrashLoopBackOff".to_owned()));
    assert!(crashing["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap() > 2);
    let (failed, _) = walk(Kind::Pod, pod("crash", "Never"), 12);
    assert_eq!(failed["status"]["phase"], "Failed");
}

/// If this fails, annotations that steer the simulation are ignored.
#[test]
fn annotations_hold_and_fail() {
    let mut held = pod("web", "Always");
    held["metadata"]["annotations"] = json!({ "sim.fleetctl.dev/hold": "true" });
    assert_eq!(steps(&walk(Kind::Pod, held, 9).1), [("Pending", "ContainerCreating")]);
    let mut fails = pod("web", "Always");
    fails["metadata"]["annotations"] = json!({ "sim.fleetctl.dev/fail": "true" });
    assert_eq!(walk(Kind::Pod, fails, 6).1[1].1, "CrashLoopBackOff");
}

/// If this fails, claims, load balancers, ingresses or nodes never come to be what applications wait for.
#[test]
fn the_rest_arrives_too() {
    let claim = json!({
        "metadata": { "name": "c", "namespace": "ns", "uid": "u" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    let (claim, _) = walk(Kind::PersistentVolumeClaim, claim, 9);
    assert_eq!(claim["status"]["phase"], "Bound");
    assert_eq!(claim["status"]["capacity"]["storage"], "1Gi");
    assert_eq!(claim["spec"]["volumeName"], "pvc-u");
    let meta = json!({ "name": "x", "namespace": "ns", "uid": "u" });
    let (service, _) =
        walk(Kind::Service, json!({ "metadata": meta, "spec": { "type": "LoadBalancer" } }), 9);
    assert!(service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().unwrap().starts_with("198.18."));
    let (inner, seen) = walk(Kind::Service, json!({ "metadata": meta, "spec": { "type": "ClusterIP" } }), 9);
    assert!(inner.get("status").is_none() && seen.is_empty());
    let (ingress, _) = walk(Kind::Ingress, json!({ "metadata": meta, "spec": {} }), 9);
    assert!(ingress["status"]["loadBalancer"]["ingress"][0]["ip"].is_string());
    let (node, _) = walk(Kind::Node, crate::seed::node(), 9);
    assert_eq!(crate::object::condition(&node["status"], "Ready").unwrap()["status"], "True");
}
