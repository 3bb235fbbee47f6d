//! Kinds that a member doesn't serve, or soon no longer.

use super::{Case, Finding};

/// An API that Kubernetes took away: apiVersion, kinds (none: all of it), the version without it, and what to write instead.
struct Gone {
    api_version: &'static str,
    kinds: &'static [&'static str],
    since: (u32, u32),
    instead: &'static str,
}

const fn gone(
    api_version: &'static str,
    kinds: &'static [&'static str],
    since: u32,
    instead: &'static str,
) -> Gone {
    Gone { api_version, kinds, since: (1, since), instead }
}

/// Kubernetes' deprecation guide (<https://kubernetes.io/docs/reference/using-api/deprecation-guide/>).
const GONE: [Gone; 26] = [
    gone("extensions/v1beta1", &["Ingress"], 22, "networking.k8s.io/v1"),
    gone("extensions/v1beta1", &["NetworkPolicy"], 16, "networking.k8s.io/v1"),
    gone("extensions/v1beta1", &["PodSecurityPolicy"], 16, "Pod Security Admission"),
    gone("extensions/v1beta1", &[], 16, "apps/v1"),
    gone("apps/v1beta1", &[], 16, "apps/v1"),
    gone("apps/v1beta2", &[], 16, "apps/v1"),
    gone(
        "admissionregistration.k8s.io/v1beta1",
        &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
        22,
        "admissionregistration.k8s.io/v1",
    ),
    gone("apiextensions.k8s.io/v1beta1", &[], 22, "apiextensions.k8s.io/v1"),
    gone("apiregistration.k8s.io/v1beta1", &[], 22, "apiregistration.k8s.io/v1"),
    gone("authentication.k8s.io/v1beta1", &["TokenReview"], 22, "authentication.k8s.io/v1"),
    gone("authorization.k8s.io/v1beta1", &[], 22, "authorization.k8s.io/v1"),
    gone("certificates.k8s.io/v1beta1", &["CertificateSigningRequest"], 22, "certificates.k8s.io/v1"),
    gone("coordination.k8s.io/v1beta1", &["Lease"], 22, "coordination.k8s.io/v1"),
    gone("networking.k8s.io/v1beta1", &["Ingress", "IngressClass"], 22, "networking.k8s.io/v1"),
    gone("rbac.authorization.k8s.io/v1beta1", &[], 22, "rbac.authorization.k8s.io/v1"),
    gone("scheduling.k8s.io/v1beta1", &[], 22, "scheduling.k8s.io/v1"),
    gone(
        "storage.k8s.io/v1beta1",
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
        22,
        "storage.k8s.io/v1",
    ),
    gone("storage.k8s.io/v1beta1", &["CSIStorageCapacity"], 27, "storage.k8s.io/v1"),
    gone("batch/v1beta1", &["CronJob"], 25, "batch/v1"),
    gone("discovery.k8s.io/v1beta1", &["EndpointSlice"], 25, "discovery.k8s.io/v1"),
    gone("policy/v1beta1", &[], 25, "policy/v1 (PodSecurityPolicy has no successor)"),
    gone("autoscaling/v2beta1", &[], 25, "autoscaling/v2"),
    gone("autoscaling/v2beta2", &[], 26, "autoscaling/v2"),
    gone("flowcontrol.apiserver.k8s.io/v1beta1", &[], 26, "flowcontrol.apiserver.k8s.io/v1"),
    gone("flowcontrol.apiserver.k8s.io/v1beta2", &[], 29, "flowcontrol.apiserver.k8s.io/v1"),
    gone("flowcontrol.apiserver.k8s.io/v1beta3", &[], 32, "flowcontrol.apiserver.k8s.io/v1"),
];

fn of(case: &Case<'_>) -> Option<&'static Gone> {
    let id = &case.action.id;
    let named = |gone: &&Gone| gone.kinds.is_empty() || gone.kinds.contains(&id.kind.as_str());
    GONE.iter().find(|gone| gone.api_version == id.api_version && named(gone)).filter(|_| case.is_sent())
}

/// By what the member itself says that it serves.
pub(super) fn missing(case: &Case<'_>) -> Vec<Finding> {
    let id = &case.action.id;
    let Some(served) = case.member.and_then(|member| member.served.as_ref()) else { return Vec::new() };
    if !case.is_sent() || served.contains(&(id.api_version.clone(), id.kind.clone())) {
        return Vec::new();
    }
    // Its definition comes with it.
    let defines = |definition: &serde_json::Value| {
        let text = |at: &str| definition.pointer(at).and_then(serde_json::Value::as_str);
        text("/spec/group") == Some(id.group()) && text("/spec/names/kind") == Some(&id.kind)
    };
    if case.input.desired.iter().any(|one| one.id.kind == "CustomResourceDefinition" && defines(&one.object))
    {
        return Vec::new();
    }
    let mut versions: Vec<&str> = served
        .iter()
        .filter(|(api_version, kind)| {
            *kind == id.kind && api_version.split_once('/').map_or("", |(g, _)| g) == id.group()
        })
        .map(|(api_version, _)| api_version.as_str())
        .collect();
    versions.dedup();
    let advice = match (versions.is_empty(), of(case)) {
        (false, _) => format!("it has {} of it; write that version", versions.join(", ")),
        (true, Some(gone)) => format!("write {} instead", gone.instead),
        (true, None) => {
            "install its CustomResourceDefinition there first, or deliver it with the application".to_owned()
        }
    };
    vec![
        Finding::new(format!("the member serves no {} {}; {advice}", id.api_version, id.kind))
            .at("apiVersion"),
    ]
}

/// By the member's version, where it isn't asked what it serves.
pub(super) fn removed(case: &Case<'_>) -> Vec<Finding> {
    let Some((gone, member)) = of(case).zip(case.member) else { return Vec::new() };
    match member.version {
        Some(version) if version >= gone.since && member.served.is_none() => {
            let (major, minor) = version;
            let said = format!(
                "{} {} isn't there since Kubernetes 1.{}, and the member runs {major}.{minor}; write {} instead",
                gone.api_version, case.action.id.kind, gone.since.1, gone.instead
            );
            vec![Finding::new(said).at("apiVersion")]
        }
        _ => Vec::new(),
    }
}

/// What the member still has and its next versions won't.
pub(super) fn deprecated(case: &Case<'_>) -> Vec<Finding> {
    let Some(gone) = of(case) else { return Vec::new() };
    let version = case.member.and_then(|member| member.version);
    if version.is_some_and(|version| version >= gone.since) {
        return Vec::new();
    }
    let said = format!(
        "{} {} isn't there from Kubernetes 1.{} on; write {} instead",
        gone.api_version, case.action.id.kind, gone.since.1, gone.instead
    );
    vec![Finding::new(said).at("apiVersion")]
}
