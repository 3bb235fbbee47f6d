//! What must not travel from one cluster to another.

use serde_json::Value;

use super::lifecycle::JOB_LABELS;
use super::tree::{drop_nulls, map_mut, remove_entries, text};

const METADATA: [&str; 10] = [
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "finalizers",
];

/// Annotations that clients and controllers keep for themselves.
fn is_bookkeeping(name: &str) -> bool {
    matches!(
        name,
        "kubectl.kubernetes.io/last-applied-configuration"
            | "deployment.kubernetes.io/revision"
            | "deployment.kubernetes.io/revision-history"
            | "deployment.kubernetes.io/desired-replicas"
            | "deployment.kubernetes.io/max-replicas"
            | "deprecated.daemonset.template.generation"
            | "batch.kubernetes.io/job-tracking"
            | "endpoints.kubernetes.io/last-change-trigger-time"
            | "endpoints.kubernetes.io/over-capacity"
            | "control-plane.alpha.kubernetes.io/leader"
            | "autoscaling.alpha.kubernetes.io/conditions"
            | "autoscaling.alpha.kubernetes.io/current-metrics"
            | "pv.kubernetes.io/bind-completed"
            | "pv.kubernetes.io/bound-by-controller"
            | "pv.kubernetes.io/provisioned-by"
            | "volume.kubernetes.io/storage-provisioner"
            | "volume.beta.kubernetes.io/storage-provisioner"
            | "volume.kubernetes.io/selected-node"
            | "volume.kubernetes.io/storage-resizer"
            // Ours: who changed an object of the hub says nothing about what it is to be.
            | "fleetctl.dev/author"
            | "fleetctl.dev/authors"
    )
}

/// Takes out of an object what belongs to the cluster it was read from: identity, versions, status, what
/// its controllers allocated or noted.
///
/// Node ports stay: only who knows who wrote them ([`super::Decided`]) can tell allocated from chosen ones;
/// [`super::referenced_content`] does.
pub fn sanitise(group: &str, kind: &str, object: &mut Value) {
    drop_nulls(object, 0);
    if let Some(map) = object.as_object_mut() {
        // Custom resources without a status subresource may keep data there, but by convention it's observed.
        map.remove("status");
    }
    remove_entries(object, &["metadata", "annotations"], |name, _| is_bookkeeping(name));
    remove_entries(object, &["metadata"], |name, value| {
        METADATA.contains(&name) || (matches!(name, "labels" | "annotations") && is_empty(value))
    });
    match (group, kind) {
        ("", "Service") => service(object),
        ("batch", "Job") => job(object),
        ("", "PersistentVolumeClaim") => remove_spec(object, &["volumeName"]),
        ("", "PersistentVolume") => remove_spec(object, &["claimRef"]),
        ("", "Pod") => pod(object),
        ("", "Namespace") => {
            remove_entries(object, &["spec"], |name, _| name == "finalizers");
        }
        ("", "ServiceAccount") => {
            if let Some(account) = object.as_object_mut() {
                account.remove("secrets");
            }
        }
        ("", "Secret") => {
            let annotations = ["metadata", "annotations"];
            remove_entries(object, &annotations, |name, _| name == "kubernetes.io/service-account.uid");
        }
        _ => {}
    }
    if matches!(
        (group, kind),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
            | ("batch", "Job")
            | ("", "ReplicationController")
    ) {
        prune_template(object, &["spec", "template"]);
    }
    if (group, kind) == ("batch", "CronJob") {
        prune_template(object, &["spec", "jobTemplate"]);
        prune_template(object, &["spec", "jobTemplate", "spec", "template"]);
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn prune_template(object: &mut Value, path: &[&str]) {
    let Some(template) = map_mut(object, path) else { return };
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, value| {
            name != "creationTimestamp"
                && !(matches!(name.as_str(), "labels" | "annotations") && is_empty(value))
        });
        if metadata.is_empty() {
            template.remove("metadata");
        }
    }
}

fn remove_spec(object: &mut Value, keys: &[&str]) {
    remove_entries(object, &["spec"], |name, _| keys.contains(&name));
}

fn service(object: &mut Value) {
    // "None" says that the Service is headless, an address only which one this cluster gave.
    if text(object, &["spec", "clusterIP"]) != "None" {
        remove_spec(object, &["clusterIP", "clusterIPs"]);
    }
    if let Some(spec) = map_mut(object, &["spec"]) {
        for key in ["healthCheckNodePort"] {
            if spec.get(key).and_then(Value::as_i64) == Some(0) {
                spec.remove(key);
            }
        }
    }
}

fn job(object: &mut Value) {
    if object.pointer("/spec/manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    remove_spec(object, &["selector"]);
    let generated = |name: &str, _: &Value| JOB_LABELS.contains(&name);
    remove_entries(object, &["spec", "template", "metadata", "labels"], generated);
    remove_entries(object, &["metadata", "labels"], |name, _| {
        matches!(name, "controller-uid" | "batch.kubernetes.io/controller-uid")
    });
}

/// The node, and the token volume that the ServiceAccount admission plugin injects.
fn pod(object: &mut Value) {
    remove_spec(object, &["nodeName", "priority", "preemptionPolicy"]);
    let injected = |name: Option<&Value>| {
        name.and_then(Value::as_str).is_some_and(|name| name.starts_with("kube-api-access-"))
    };
    let Some(spec) = map_mut(object, &["spec"]) else { return };
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        super::tree::each(spec, list, |container| {
            if let Some(Value::Array(mounts)) = container.get_mut("volumeMounts") {
                mounts.retain(|mount| !injected(mount.get("name")));
                if mounts.is_empty() {
                    container.remove("volumeMounts");
                }
            }
        });
    }
    if let Some(Value::Array(volumes)) = spec.get_mut("volumes") {
        volumes.retain(|volume| !injected(volume.get("name")));
        if volumes.is_empty() {
            spec.remove("volumes");
        }
    }
    if let Some(Value::Array(tolerations)) = spec.get_mut("tolerations") {
        tolerations.retain(|toleration| {
            !(matches!(
                text(toleration, &["key"]),
                "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable"
            ) && text(toleration, &["effect"]) == "NoExecute"
                && toleration.get("tolerationSeconds").and_then(Value::as_i64) == Some(300))
        });
        if tolerations.is_empty() {
            spec.remove("tolerations");
        }
    }
}
