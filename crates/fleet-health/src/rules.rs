//! The rules of the built-in kinds.

mod access;
mod batch;
mod cluster;
mod network;
mod node;
mod pod;
mod storage;
mod workload;

use crate::view::View;
use crate::{Health, generic};

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
        ("", "Node") => node::node,
        ("storage.k8s.io", "VolumeAttachment") => storage::attachment,
        ("resource.k8s.io", "ResourceClaim") => storage::resource_claim,
        ("networking.k8s.io", "ServiceCIDR") => generic::by_conditions,
        ("certificates.k8s.io", "CertificateSigningRequest") => access::signing_request,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => access::admission_policy,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => access::flow_schema,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => generic::by_conditions,
        _ => return None,
    })
}
