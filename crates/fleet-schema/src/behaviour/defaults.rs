//! Defaults that Kubernetes sets in Go (`pkg/apis/*/v1/defaults.go`, conversions, and what its storage
//! fills in that doesn't depend on other objects).

mod cluster;
mod network;
mod pod;
mod workloads;

use serde_json::Value;

use super::tree::{Object, drop_nulls};

type Defaulter = fn(&mut Object);

/// Sets the defaults of a built-in kind; other kinds stay as they are.
///
/// Null fields are dropped on the way, as decoding into Go's types does. Applying twice changes nothing.
pub fn apply_defaults(group: &str, version: &str, kind: &str, object: &mut Value) {
    let Some(defaulter) = defaulter(group, version, kind) else { return };
    drop_nulls(object, 0);
    if let Some(object) = object.as_object_mut() {
        defaulter(object);
    }
}

/// Whether [`apply_defaults`] knows the kind.
pub fn has_defaults(group: &str, version: &str, kind: &str) -> bool {
    defaulter(group, version, kind).is_some()
}

fn defaulter(group: &str, version: &str, kind: &str) -> Option<Defaulter> {
    Some(match (group, kind) {
        ("", "Pod") => pod::pod,
        ("", "PodTemplate") => workloads::pod_template_object,
        ("", "ReplicationController") => workloads::replication_controller,
        ("apps", "Deployment") => workloads::deployment,
        ("apps", "StatefulSet") => workloads::stateful_set,
        ("apps", "DaemonSet") => workloads::daemon_set,
        ("apps", "ReplicaSet") => workloads::replica_set,
        ("batch", "Job") => workloads::job,
        ("batch", "CronJob") => workloads::cron_job,
        ("autoscaling", "HorizontalPodAutoscaler") if version == "v1" => workloads::autoscaler_v1,
        ("autoscaling", "HorizontalPodAutoscaler") => workloads::autoscaler_v2,
        ("", "Service") => network::service,
        ("", "Endpoints") => network::endpoints,
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice,
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy,
        ("networking.k8s.io", "IngressClass") => network::ingress_class,
        ("", "Namespace") => cluster::namespace,
        ("", "Secret") => cluster::secret,
        ("", "PersistentVolumeClaim") => cluster::persistent_volume_claim,
        ("", "PersistentVolume") => cluster::persistent_volume,
        ("", "LimitRange") => cluster::limit_range,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => cluster::role_binding,
        ("storage.k8s.io", "StorageClass") => cluster::storage_class,
        ("storage.k8s.io", "CSIDriver") => cluster::csi_driver,
        ("scheduling.k8s.io", "PriorityClass") => cluster::priority_class,
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => cluster::validating_webhooks,
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => cluster::mutating_webhooks,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => cluster::admission_policy,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            cluster::admission_policy_binding
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => cluster::custom_resource_definition,
        ("apiregistration.k8s.io", "APIService") => cluster::api_service,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A built-in kind that misses a default reads back differently from a real API server, and what nobody
    /// set would be delivered as a decision.
    #[test]
    fn defaults_as_kubernetes_sets_them() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/data/behaviour/defaults.json")).unwrap();
        for case in cases {
            let (input, want) = (&case["in"], &case["out"]);
            let (group, version) = super::super::tree::group_version(input);
            let kind = input["kind"].as_str().unwrap();
            let mut got = input.clone();
            apply_defaults(group, version, kind, &mut got);
            assert_eq!(&got, want, "{kind}: {}", case["name"]);
            apply_defaults(group, version, kind, &mut got);
            assert_eq!(&got, want, "{kind}: a second time changes nothing");
        }
    }

    #[test]
    fn image_tags_decide_the_pull_policy() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.25", "IfNotPresent"),
            ("registry:5000/team/nginx", "Always"),
            ("registry:5000/team/nginx:v1", "IfNotPresent"),
            ("nginx@sha256:0123", "IfNotPresent"),
            ("nginx:latest@sha256:0123", "Always"),
        ] {
            let mut pod = json!({"spec": {"containers": [{"name": "a", "image": image}]}});
            apply_defaults("", "v1", "Pod", &mut pod);
            assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
        }
    }

    #[test]
    fn malformed_objects_do_not_panic() {
        for kind in ["Pod", "Service", "Namespace", "Secret", "PersistentVolumeClaim", "LimitRange"] {
            for mut odd in [
                json!(null),
                json!([]),
                json!({"spec": 1, "metadata": []}),
                json!({"spec": {"containers": {}, "ports": [1, null], "volumes": ["x"], "template": 3}}),
            ] {
                apply_defaults("", "v1", kind, &mut odd);
            }
        }
    }
}
