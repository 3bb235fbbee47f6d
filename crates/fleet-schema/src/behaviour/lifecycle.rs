//! What a create and an update do to an object besides storing it: `PrepareForCreate`, `PrepareForUpdate`
//! and generations, as the strategies in `pkg/registry` have them.

use serde_json::{Map, Value, json};

use super::tree::{Object, at, child, child_or_new, fill, int, items, some, text};

/// Labels by which a Job's pods are found, written on create.
pub(crate) const JOB_LABELS: [&str; 4] =
    ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

/// Whether the group belongs to Kubernetes, so that its kinds behave by the tables here and not as custom
/// resources.
pub(crate) fn is_builtin_group(group: &str) -> bool {
    matches!(group, "" | "apps" | "batch" | "autoscaling" | "policy" | "extensions")
        || matches!(
            group,
            "admissionregistration.k8s.io"
                | "apiextensions.k8s.io"
                | "apiregistration.k8s.io"
                | "authentication.k8s.io"
                | "authorization.k8s.io"
                | "certificates.k8s.io"
                | "coordination.k8s.io"
                | "discovery.k8s.io"
                | "events.k8s.io"
                | "flowcontrol.apiserver.k8s.io"
                | "internal.apiserver.k8s.io"
                | "networking.k8s.io"
                | "node.k8s.io"
                | "rbac.authorization.k8s.io"
                | "resource.k8s.io"
                | "scheduling.k8s.io"
                | "storage.k8s.io"
                | "storagemigration.k8s.io"
        )
}

/// Whether objects of the kind carry `metadata.generation`; it starts at 1.
///
/// Custom resources always do.
pub fn has_generation(group: &str, kind: &str) -> bool {
    !is_builtin_group(group)
        || matches!(
            (group, kind),
            ("", "Pod" | "ReplicationController")
                | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
                | ("batch", "Job" | "CronJob")
                | ("networking.k8s.io", "Ingress" | "IngressClass" | "NetworkPolicy" | "ServiceCIDR")
                | ("policy", "PodDisruptionBudget")
                | ("scheduling.k8s.io", "PriorityClass")
                | ("apiextensions.k8s.io", "CustomResourceDefinition")
                | ("admissionregistration.k8s.io", _)
                | ("flowcontrol.apiserver.k8s.io", _)
        )
}

/// Whether this update raises `metadata.generation` by one. Both objects carry the same status.
pub fn generation_moves(group: &str, kind: &str, old: &Value, new: &Value) -> bool {
    if !has_generation(group, kind) {
        return false;
    }
    let differs = |path: &[&str]| some(old, path) != some(new, path);
    match (group, kind) {
        ("scheduling.k8s.io", "PriorityClass") => false,
        // Deployment controllers read annotations (rollback, revision), so these count there.
        ("apps", "Deployment") => differs(&["spec"]) || differs(&["metadata", "annotations"]),
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => differs(&["webhooks"]),
        _ if is_builtin_group(group) => differs(&["spec"]),
        _ => content(old).ne(content(new)),
    }
}

fn content(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    // serde_json's map is sorted, so equal content gives equal sequences; with `preserve_order` keys are
    // collected and sorted here.
    let mut entries: Vec<_> = object
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status" | "apiVersion" | "kind"))
        .collect();
    entries.sort_by_key(|(key, _)| *key);
    entries.into_iter()
}

/// Fills in what a create generates for the kind; call after defaults, before validation.
///
/// `uid` is the one the object gets.
pub fn on_create(group: &str, kind: &str, object: &mut Value, uid: &str) {
    let name = text(object, &["metadata", "name"]).to_owned();
    let Some(map) = object.as_object_mut() else { return };
    match (group, kind) {
        ("batch", "Job") => job(map, &name, uid),
        ("", "Namespace") => {
            if let Some(spec) = child_or_new(map, "spec") {
                fill(spec, "finalizers", json!(["kubernetes"]));
            }
            map.insert("status".into(), json!({"phase": "Active"}));
        }
        ("", "Pod") => pod(map),
        _ => {}
    }
}

fn job(job: &mut Object, name: &str, uid: &str) {
    let Some(spec) = child_or_new(job, "spec") else { return };
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    if let Some(labels) = child_or_new(spec, "template")
        .and_then(|template| child_or_new(template, "metadata"))
        .and_then(|metadata| child_or_new(metadata, "labels"))
    {
        for label in JOB_LABELS {
            let value = if label.ends_with("job-name") { name } else { uid };
            labels.insert(label.to_owned(), value.into());
        }
    }
    if let Some(labels) =
        child_or_new(spec, "selector").and_then(|selector| child_or_new(selector, "matchLabels"))
    {
        labels.insert("batch.kubernetes.io/controller-uid".into(), uid.into());
    }
}

/// What the admission plugins ServiceAccount, DefaultTolerationSeconds and Priority do with a plain Pod.
fn pod(pod: &mut Object) {
    let Some(spec) = child_or_new(pod, "spec") else { return };
    fill(spec, "serviceAccountName", "default");
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        fill(spec, "serviceAccount", account);
    }
    if spec.get("priorityClassName").is_none() {
        fill(spec, "priority", 0);
        fill(spec, "preemptionPolicy", "PreemptLowerPriority");
    }
    fill(spec, "tolerations", json!([]));
    if let Some(Value::Array(tolerations)) = spec.get_mut("tolerations") {
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            let covered = tolerations.iter().any(|toleration| {
                let same = |field: &str, want: &str| {
                    matches!(text(toleration, &[field]), "") || text(toleration, &[field]) == want
                };
                same("key", key) && same("effect", "NoExecute")
            });
            if !covered {
                tolerations.push(json!({
                    "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300
                }));
            }
        }
    }
}

/// Takes the status out that a create may not bring, and puts the kind's first one in.
///
/// `has_status`: the kind has a status subresource.
pub fn prepare_for_create(group: &str, kind: &str, object: &mut Value, has_status: bool) {
    let first = first_status(group, kind, object);
    let Some(map) = object.as_object_mut() else { return };
    if has_status {
        map.remove("status");
        if let Some(status) = first {
            map.insert("status".into(), status);
        }
    }
}

/// The status that a new object of the kind reads back with.
fn first_status(group: &str, kind: &str, object: &Value) -> Option<Value> {
    Some(match (group, kind) {
        ("", "Pod") => json!({"phase": "Pending", "qosClass": qos_class(object)}),
        ("", "Namespace") => json!({"phase": "Active"}),
        ("", "PersistentVolumeClaim" | "PersistentVolume") => json!({"phase": "Pending"}),
        ("", "Service") | ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("", "ReplicationController") | ("apps", "ReplicaSet") => json!({"replicas": 0}),
        ("apps", "StatefulSet") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "DaemonSet") => json!({
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0
        }),
        ("apps", "Deployment") | ("batch", "Job" | "CronJob") | ("", "Node" | "ResourceQuota") => json!({}),
        ("policy", "PodDisruptionBudget") => json!({
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0
        }),
        ("autoscaling", "HorizontalPodAutoscaler") => json!({"desiredReplicas": 0, "currentReplicas": 0}),
        _ => return None,
    })
}

/// Guaranteed, Burstable or BestEffort, by the requests and limits of all containers.
fn qos_class(pod: &Value) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    for list in ["initContainers", "containers"] {
        for container in items(pod, &["spec", list]) {
            let amount = |which: &str, resource: &str| some(container, &["resources", which, resource]);
            for resource in ["cpu", "memory"] {
                let (request, limit) = (amount("requests", resource), amount("limits", resource));
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && (request.is_none() || request == limit);
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Keeps from the old object what a plain update may not change or leave out: the status, and the addresses
/// and ports that were allocated to a Service.
pub fn prepare_for_update(group: &str, kind: &str, old: &Value, new: &mut Value, has_status: bool) {
    if has_status {
        keep(old, new, "status");
    }
    if (group, kind) == ("", "Service") {
        keep_allocated(old, new);
    }
}

/// For a write of the status subresource: all but the status (and managedFields) stays as it was.
pub fn prepare_for_status_update(old: &Value, new: &mut Value) {
    let Some(map) = new.as_object_mut() else { return };
    let status = map.remove("status");
    let managed = map.get("metadata").and_then(|metadata| metadata.get("managedFields")).cloned();
    let mut kept = old.as_object().cloned().unwrap_or_else(Map::new);
    match status {
        Some(status) => kept.insert("status".into(), status),
        None => kept.remove("status"),
    };
    if let (Some(metadata), Some(managed)) = (child(&mut kept, "metadata"), managed) {
        metadata.insert("managedFields".into(), managed);
    }
    *map = kept;
}

fn keep(old: &Value, new: &mut Value, key: &str) {
    let Some(map) = new.as_object_mut() else { return };
    match at(old, &[key]) {
        Some(value) => map.insert(key.to_owned(), value.clone()),
        None => map.remove(key),
    };
}

/// A replace or apply that doesn't name them keeps cluster addresses and node ports.
fn keep_allocated(old: &Value, new: &mut Value) {
    let kind = |service: &Value| text(service, &["spec", "type"]).to_owned();
    let addressed = |kind: &str| matches!(kind, "" | "ClusterIP" | "NodePort" | "LoadBalancer");
    let on_nodes = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    let (old_kind, new_kind) = (kind(old), kind(new));
    let health_checked = |service: &Value| {
        text(service, &["spec", "type"]) == "LoadBalancer"
            && text(service, &["spec", "externalTrafficPolicy"]) == "Local"
    };
    let keep_health_check = health_checked(old) && health_checked(new);
    let Some(spec) = new.as_object_mut().and_then(|new| child(new, "spec")) else { return };
    if addressed(&old_kind) && addressed(&new_kind) && !text(old, &["spec", "clusterIP"]).is_empty() {
        for key in ["clusterIP", "clusterIPs"] {
            if let Some(value) = some(old, &["spec", key]) {
                fill(spec, key, value.clone());
            }
        }
    }
    if on_nodes(&old_kind) && on_nodes(&new_kind) {
        let mut used: Vec<i64> = Vec::new();
        if let Some(Value::Array(ports)) = spec.get("ports") {
            used.extend(ports.iter().filter_map(|port| int(port, &["nodePort"])));
        }
        let protocol = |port: &Value| match text(port, &["protocol"]) {
            "" => "TCP".to_owned(),
            protocol => protocol.to_owned(),
        };
        if let Some(Value::Array(ports)) = spec.get_mut("ports") {
            for port in ports.iter_mut().filter(|port| int(port, &["nodePort"]).unwrap_or(0) == 0) {
                let same = items(old, &["spec", "ports"]).iter().find(|old| {
                    int(old, &["port"]) == int(port, &["port"]) && protocol(old) == protocol(port)
                });
                if let Some(number) = same.and_then(|old| int(old, &["nodePort"]))
                    && !used.contains(&number)
                    && let Some(port) = port.as_object_mut()
                {
                    used.push(number);
                    port.insert("nodePort".into(), number.into());
                }
            }
        }
    }
    if keep_health_check && let Some(number) = some(old, &["spec", "healthCheckNodePort"]) {
        fill(spec, "healthCheckNodePort", number.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waiting for `observedGeneration` hangs where a generation moves that shouldn't, and ends too early
    /// where it stays.
    #[test]
    fn generations_move_by_kind() {
        let object = |spec: i64, note: &str, status: i64| {
            json!({"metadata": {"annotations": {"n": note}, "labels": {"n": note}},
                   "spec": spec, "status": status, "webhooks": spec, "data": spec})
        };
        let old = object(1, "a", 1);
        for (group, kind, spec, note) in [
            ("apps", "Deployment", true, true),
            ("apps", "StatefulSet", true, false),
            ("", "Pod", true, false),
            ("networking.k8s.io", "Ingress", true, false),
            ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", true, false),
            ("scheduling.k8s.io", "PriorityClass", false, false),
            ("", "ConfigMap", false, false),
            ("", "Service", false, false),
            ("example.org", "Widget", true, false),
        ] {
            assert_eq!(generation_moves(group, kind, &old, &object(2, "a", 1)), spec, "{kind} spec");
            assert_eq!(generation_moves(group, kind, &old, &object(1, "b", 1)), note, "{kind} annotation");
            assert!(!generation_moves(group, kind, &old, &object(1, "a", 2)), "{kind} status");
        }
    }

    #[test]
    fn a_job_finds_its_pods_by_its_uid() {
        let mut job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {}}}});
        on_create("batch", "Job", &mut job, "u1");
        assert_eq!(
            job["spec"]["selector"]["matchLabels"],
            json!({"batch.kubernetes.io/controller-uid": "u1"})
        );
        let labels = job["spec"]["template"]["metadata"]["labels"].as_object().unwrap();
        assert_eq!(labels.len(), 4);
        assert_eq!(labels["batch.kubernetes.io/job-name"], "j");
        let mut manual = json!({"spec": {"manualSelector": true}});
        on_create("batch", "Job", &mut manual, "u1");
        assert_eq!(manual, json!({"spec": {"manualSelector": true}}));
    }

    #[test]
    fn a_pod_tolerates_short_outages() {
        let mut pod = json!({"spec": {"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}});
        on_create("", "Pod", &mut pod, "u");
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 1);
        let mut pod = json!({"spec": {}});
        on_create("", "Pod", &mut pod, "u");
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 2);
        assert_eq!(pod["spec"]["serviceAccountName"], "default");
    }

    #[test]
    fn the_status_is_not_the_writers() {
        let mut new = json!({"spec": 2, "status": {"forged": true}});
        prepare_for_create("apps", "Deployment", &mut new, true);
        assert_eq!(new, json!({"spec": 2, "status": {}}));
        let mut custom = json!({"status": 1});
        prepare_for_create("example.org", "Widget", &mut custom, false);
        assert_eq!(custom, json!({"status": 1}), "without a subresource it is a field like others");
        let old = json!({"spec": 1, "status": {"replicas": 3}});
        let mut new = json!({"spec": 2, "status": {"forged": true}});
        prepare_for_update("apps", "Deployment", &old, &mut new, true);
        assert_eq!(new, json!({"spec": 2, "status": {"replicas": 3}}));
        let old = json!({"metadata": {"labels": {"a": "b"}}, "spec": 1});
        let mut new = json!({"metadata": {"managedFields": [1]}, "spec": 2, "status": 3});
        prepare_for_status_update(&old, &mut new);
        assert_eq!(
            new,
            json!({"metadata": {"labels": {"a": "b"}, "managedFields": [1]}, "spec": 1, "status": 3})
        );
    }

    #[test]
    fn a_replaced_service_keeps_its_address_and_ports() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}, {"port": 81, "nodePort": 30002}]}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80}, {"port": 82}]}});
        prepare_for_update("", "Service", &old, &mut new, true);
        assert_eq!(new["spec"]["clusterIP"], "10.0.0.1");
        assert_eq!(new["spec"]["ports"], json!([{"port": 80, "nodePort": 30001}, {"port": 82}]));
    }

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let class =
            |resources: Value| qos_class(&json!({"spec": {"containers": [{"resources": resources}]}}));
        assert_eq!(class(json!({})), "BestEffort");
        assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1"}})), "Guaranteed");
    }
}
