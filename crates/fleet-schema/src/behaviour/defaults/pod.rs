//! Defaults of Pods and of everything that holds a pod template.

use serde_json::{Value, json};

use crate::behaviour::tree::{Object, child, child_or_new, each, fill, unset};

/// A Pod, which gets more than the pod spec of a template.
pub(super) fn pod(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    for list in ["containers", "initContainers"] {
        each(spec, list, requests_from_limits);
    }
    fill(spec, "enableServiceLinks", true);
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        for list in ["containers", "initContainers"] {
            each(spec, list, |container| {
                each(container, "ports", |port| {
                    if let Some(number) = port.get("containerPort").cloned()
                        && port.get("hostPort").is_none_or(|port| port == &json!(0))
                    {
                        port.insert("hostPort".into(), number);
                    }
                });
            });
        }
    }
    pod_spec(spec);
}

/// `template` of a workload.
pub(super) fn template(spec: &mut Object) {
    if let Some(spec) = child_or_new(spec, "template").and_then(|template| child_or_new(template, "spec")) {
        pod_spec(spec);
    }
}

/// The spec of a Pod or pod template.
pub(super) fn pod_spec(spec: &mut Object) {
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "restartPolicy", "Always");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "securityContext", json!({}));
    fill(spec, "schedulerName", "default-scheduler");
    // The deprecated spelling follows the new one, in both directions.
    for (from, to) in [("serviceAccountName", "serviceAccount"), ("serviceAccount", "serviceAccountName")] {
        if !unset(spec, from)
            && let Some(name) = spec.get(from).cloned()
        {
            fill(spec, to, name);
        }
    }
    each(spec, "containers", container);
    each(spec, "initContainers", container);
    each(spec, "ephemeralContainers", container);
    each(spec, "volumes", volume);
}

fn requests_from_limits(container: &mut Object) {
    let Some(resources) = child(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if let Some(requests) = child_or_new(resources, "requests") {
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
    }
}

fn container(container: &mut Object) {
    let policy = pull_policy(container.get("image").and_then(Value::as_str).unwrap_or_default());
    fill(container, "imagePullPolicy", policy);
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    fill(container, "resources", json!({}));
    each(container, "ports", |port| fill(port, "protocol", "TCP"));
    each(container, "env", |env| {
        if let Some(from) = child(env, "valueFrom") {
            value_from(from);
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = child(container, name) {
            for (key, value) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                // These are plain numbers in Go: 0 is absent.
                if probe.get(key) == Some(&json!(0)) {
                    probe.remove(key);
                }
                fill(probe, key, value);
            }
            handler(probe);
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(hook) = child(lifecycle, name) {
                handler(hook);
            }
        }
    }
}

/// `latest`, written or meant, is pulled each time; a digest never changes.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, "latest")), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

fn handler(holder: &mut Object) {
    if let Some(get) = child(holder, "httpGet") {
        fill(get, "path", "/");
        fill(get, "scheme", "HTTP");
    }
    if let Some(grpc) = child(holder, "grpc") {
        fill(grpc, "service", "");
    }
}

fn value_from(from: &mut Object) {
    if let Some(field) = child(from, "fieldRef") {
        fill(field, "apiVersion", "v1");
    }
    if let Some(resource) = child(from, "resourceFieldRef") {
        fill(resource, "divisor", "0");
    }
}

fn volume(volume: &mut Object) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(source) = child(volume, source) {
            fill(source, "defaultMode", 420);
        }
    }
    if let Some(source) = child(volume, "downwardAPI") {
        each(source, "items", value_from);
    }
    if let Some(source) = child(volume, "projected") {
        each(source, "sources", |source| {
            if let Some(token) = child(source, "serviceAccountToken") {
                fill(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = child(source, "downwardAPI") {
                each(downward, "items", value_from);
            }
        });
    }
    if let Some(source) = child(volume, "hostPath") {
        fill(source, "type", "");
    }
    if let Some(source) = child(volume, "iscsi") {
        fill(source, "iscsiInterface", "default");
    }
    if let Some(source) = child(volume, "rbd") {
        fill(source, "pool", "rbd");
        fill(source, "user", "admin");
        fill(source, "keyring", "/etc/ceph/keyring");
    }
    if let Some(source) = child(volume, "image") {
        let policy = pull_policy(source.get("reference").and_then(Value::as_str).unwrap_or_default());
        fill(source, "pullPolicy", policy);
    }
    if let Some(spec) = child(volume, "ephemeral")
        .and_then(|source| child(source, "volumeClaimTemplate"))
        .and_then(|template| child(template, "spec"))
    {
        fill(spec, "volumeMode", "Filesystem");
        fill(spec, "resources", json!({}));
    }
}
