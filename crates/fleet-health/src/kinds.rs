//! What is known of kinds without looking at an object.

/// Whether nothing but an object's metadata is needed to judge a kind: it is data, or nobody reports on it. Rules that
/// people gave aren't asked for here.
#[must_use]
pub fn is_judged_by_metadata(api_version: &str, kind: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match group {
        "" => matches!(
            kind,
            "ConfigMap"
                | "Secret"
                | "ServiceAccount"
                | "LimitRange"
                | "ResourceQuota"
                | "PodTemplate"
                | "Endpoints"
                | "Event"
        ),
        "apps" => kind == "ControllerRevision",
        "rbac.authorization.k8s.io"
        | "scheduling.k8s.io"
        | "node.k8s.io"
        | "coordination.k8s.io"
        | "discovery.k8s.io"
        | "events.k8s.io" => true,
        "storage.k8s.io" => kind != "VolumeAttachment",
        "networking.k8s.io" => matches!(kind, "NetworkPolicy" | "IngressClass" | "IPAddress"),
        "resource.k8s.io" => kind != "ResourceClaim",
        "admissionregistration.k8s.io" => {
            kind.ends_with("WebhookConfiguration")
                || kind.ends_with("Binding")
                || kind == "MutatingAdmissionPolicy"
        }
        _ => false,
    }
}
