//! Rows of server-side tables for built-in kinds, as `pkg/printers/internalversion` prints them.
//!
//! ```text
//! row ─► pod | workloads | network | cluster (by kind) ─► cells, in the order of the kind's columns
//! ```

mod cell;
mod cluster;
mod duration;
mod network;
mod pod;
mod storage;
mod workloads;

use serde_json::{Value, json};

use cell::{age, text};
pub use duration::{human_duration, short_human_duration};

/// The cells of an object's row, in the order of the kind's columns (wide ones included).
///
/// `now_unix_secs` is what ages count to. Kinds without a printer get name and age. `None` if the value is
/// no object.
pub fn row(group: &str, kind: &str, object: &Value, now_unix_secs: i64) -> Option<Vec<Value>> {
    object.as_object()?;
    let now = now_unix_secs;
    let mut cells = match (group, kind) {
        // An Event's name comes last.
        ("" | "events.k8s.io", "Event") => return Some(cluster::event(object, now)),
        ("", "Pod") => pod::pod(object, now),
        ("apps", "Deployment") => workloads::deployment(object, now),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => workloads::replicas(object, now),
        ("apps", "StatefulSet") => workloads::stateful_set(object, now),
        ("apps", "DaemonSet") => workloads::daemon_set(object, now),
        ("apps", "ControllerRevision") => workloads::controller_revision(object, now),
        ("batch", "Job") => workloads::job(object, now),
        ("batch", "CronJob") => workloads::cron_job(object, now),
        ("", "PodTemplate") => workloads::pod_template(object),
        ("autoscaling", "HorizontalPodAutoscaler") => workloads::autoscaler(object, now),
        ("policy", "PodDisruptionBudget") => workloads::disruption_budget(object, now),
        ("", "Service") => network::service(object, now),
        ("", "Endpoints") => network::endpoints(object, now),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object, now),
        ("networking.k8s.io", "Ingress") => network::ingress(object, now),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(object, now),
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy(object, now),
        ("networking.k8s.io", "ServiceCIDR") => network::service_cidr(object, now),
        ("networking.k8s.io", "IPAddress") => network::ip_address(object),
        ("", "PersistentVolumeClaim") => storage::claim(object, now),
        ("", "PersistentVolume") => storage::volume(object, now),
        ("storage.k8s.io", _) => storage::storage_kind(kind, object, now),
        ("", "ResourceQuota") => storage::quota(object, now),
        ("", "ConfigMap") => {
            let size = cell::size(object, "data") + cell::size(object, "binaryData");
            vec![json!(size), age(object, now)]
        }
        ("", "Secret") => {
            vec![json!(text(object, &["type"])), json!(cell::size(object, "data")), age(object, now)]
        }
        ("", "Namespace") => vec![json!(text(object, &["status", "phase"])), age(object, now)],
        ("", "Node") => cluster::node(object, now),
        ("", "ComponentStatus") => cluster::component_status(object),
        ("coordination.k8s.io", "Lease") => {
            vec![json!(text(object, &["spec", "holderIdentity"])), age(object, now)]
        }
        ("", "LimitRange")
        | ("rbac.authorization.k8s.io", "Role" | "ClusterRole")
        | ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            vec![json!(text(object, &["metadata", "creationTimestamp"]))]
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            cluster::role_binding(object, now)
        }
        ("scheduling.k8s.io", "PriorityClass") => cluster::priority_class(object, now),
        ("admissionregistration.k8s.io", _) => cluster::admission(kind, object, now),
        ("apiregistration.k8s.io", "APIService") => cluster::api_service(object, now),
        ("certificates.k8s.io", "CertificateSigningRequest") => cluster::signing_request(object, now),
        ("flowcontrol.apiserver.k8s.io", _) => cluster::flow_control(kind, object, now),
        ("node.k8s.io", "RuntimeClass") => vec![json!(text(object, &["handler"])), age(object, now)],
        ("resource.k8s.io", "ResourceSlice") => storage::resource_slice(object, now),
        ("resource.k8s.io", "ResourceClaim") => storage::resource_claim(object, now),
        _ => vec![age(object, now)],
    };
    let name = storage::marked_name(group, kind, object);
    cells.insert(0, json!(name));
    Some(cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const NOW: i64 = 1_767_225_600;

    /// A cell in the wrong column, or a word that differs from Kubernetes', breaks what people and scripts
    /// read from `kubectl get`.
    #[test]
    fn rows_as_kubernetes_prints_them() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../tests/data/printers/rows.json")).unwrap();
        for case in cases {
            let (group, kind) = (case["group"].as_str().unwrap(), case["kind"].as_str().unwrap());
            let got = row(group, kind, &case["object"], NOW).unwrap();
            assert_eq!(json!(got), case["row"], "{kind}: {}", case["name"]);
        }
    }

    /// Clients pair cells with columns by position: a row of another length shifts or loses values. Checked
    /// with objects that hold nothing, on which printers must not panic either.
    #[test]
    fn rows_are_as_long_as_the_columns() {
        let columns: BTreeMap<String, usize> =
            serde_json::from_str(include_str!("../tests/data/printers/column-counts.json")).unwrap();
        for (key, count) in columns {
            let (group, kind) = key.split_once('/').unwrap();
            for object in [json!({}), json!({"metadata": {"name": "x"}, "spec": [], "status": 1})] {
                assert_eq!(row(group, kind, &object, NOW).unwrap().len(), count, "{key}");
            }
        }
        assert_eq!(row("example.org", "Widget", &json!({}), NOW).unwrap().len(), 2);
        assert_eq!(row("", "Pod", &json!(3), NOW), None);
    }
}
