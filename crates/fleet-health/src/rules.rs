//! The rules of the built-in kinds.

mod batch;
mod cluster;
mod network;
mod pod;
mod storage;
mod workload;

use crate::Health;
use crate::view::View;

type Rule = fn(&View<'_>) -> Health;

/// The rule of a kind. Kinds of the same name in other groups have none.
pub(crate) fn find(group: &str, kind: &str) -> Option<Rule> {
    Some(match (group, kind) {
        ("apps", "Deployment") => workload::deployment,
        ("apps", "StatefulSet") => workload::stateful_set,
        ("apps", "DaemonSet") => workload::daemon_set,
        ("apps", "ReplicaSet") | ("", "ReplicationController") => workload::replica_set,
        ("batch", "Job") => batch::job,
        ("batch", "CronJob") => batch::cron_job,
        ("", "Pod") => pod::pod,
        ("", "Service") => network::service,
        ("networking.k8s.io", "Ingress") => network::ingress,
        ("", "PersistentVolumeClaim") => storage::claim,
        ("", "PersistentVolume") => storage::volume,
        ("autoscaling", "HorizontalPodAutoscaler") => cluster::autoscaler,
        ("policy", "PodDisruptionBudget") => cluster::disruption_budget,
        ("", "Namespace") => cluster::namespace,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => cluster::custom_resource_definition,
        ("apiregistration.k8s.io", "APIService") => cluster::api_service,
        _ => return None,
    })
}
