//! What is known must only ever get newer.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Cluster, ObjectRef};
use crate::Kind;

fn pod(version: u64, uid: &str, phase: &str) -> Value {
    json!({
        "metadata": {
            "name": "p", "namespace": "ns", "uid": uid, "resourceVersion": version.to_string(),
            "managedFields": [{}], "annotations": { "fleetctl.dev/cluster": "m", "own": "kept" },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": "set", "uid": "set-uid", "controller": true }],
        },
        "status": { "phase": phase },
    })
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn phase(cluster: &Cluster) -> Option<&str> {
    cluster.get(&target()).and_then(|held| held.value["status"]["phase"].as_str())
}

fn target() -> ObjectRef {
    ObjectRef::new(Kind::Pod, "ns", "p")
}

/// If this fails, a watch event that comes late takes back what a write of ours has already answered.
#[test]
fn older_states_are_ignored() {
    let mut cluster = Cluster::default();
    let concerned = cluster.upsert(Kind::Pod, pod(5, "a", "Running"), at(1));
    assert_eq!(concerned, [ObjectRef::new(Kind::ReplicaSet, "ns", "set"), target()]);
    assert!(cluster.upsert(Kind::Pod, pod(4, "a", "Pending"), at(2)).is_empty());
    assert!(cluster.upsert(Kind::Pod, pod(5, "a", "Running"), at(2)).is_empty(), "the echo of our own write");
    assert_eq!(phase(&cluster), Some("Running"));
    let held = cluster.get(&target()).unwrap();
    assert_eq!(
        held.value["metadata"]["annotations"],
        json!({ "own": "kept" }),
        "the mark of the member isn't its own"
    );
    assert!(held.value["metadata"].get("managedFields").is_none());
}

/// If this fails, an owner sees a pod that it has deleted, and deletes another one in its place.
#[test]
fn what_we_deleted_does_not_come_back() {
    let mut cluster = Cluster::default();
    cluster.upsert(Kind::Pod, pod(5, "a", "Running"), at(1));
    assert_eq!(cluster.remove(&target(), "a", false), [ObjectRef::new(Kind::ReplicaSet, "ns", "set")]);
    assert!(cluster.upsert(Kind::Pod, pod(6, "a", "Running"), at(2)).is_empty());
    assert_eq!(phase(&cluster), None);
    assert!(!cluster.is_empty(), "the watch has yet to tell it");
    cluster.upsert(Kind::Pod, pod(8, "b", "Pending"), at(2));
    assert!(cluster.remove(&target(), "a", true).is_empty());
    assert_eq!(phase(&cluster), Some("Pending"), "the next one of the same name stays");
    cluster.remove(&target(), "b", true);
    assert!(cluster.is_empty(), "nothing is kept of what is gone");
}

/// If this fails, a fresh list brings back the past, or what vanished while nobody watched lives on.
#[test]
fn a_list_removes_what_it_would_have_shown() {
    let mut cluster = Cluster::default();
    cluster.upsert(Kind::Pod, pod(5, "a", "Running"), at(1));
    assert!(cluster.retain(Kind::Pod, &BTreeSet::new(), 4).is_empty(), "written after the list was made");
    assert_eq!(phase(&cluster), Some("Running"));
    assert!(cluster.retain(Kind::Service, &BTreeSet::new(), 9).is_empty(), "another kind");
    assert_eq!(cluster.retain(Kind::Pod, &BTreeSet::new(), 9).len(), 1);
    assert!(cluster.is_empty());
}

/// If this fails, an edit of a label starts a pod's delay anew, or a stage begins with the delay of the last one.
#[test]
fn delays_count_from_the_last_stage() {
    let mut cluster = Cluster::default();
    cluster.upsert(Kind::Pod, pod(5, "a", "Pending"), at(1));
    let mut labelled = pod(6, "a", "Pending");
    labelled["metadata"]["labels"] = json!({ "x": "y" });
    cluster.upsert(Kind::Pod, labelled, at(2));
    assert_eq!(cluster.get(&target()).unwrap().since, at(1));
    cluster.upsert(Kind::Pod, pod(7, "a", "Running"), at(3));
    assert_eq!(cluster.get(&target()).unwrap().since, at(3));
}
