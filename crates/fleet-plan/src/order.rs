//! In which order kinds are applied; deletes go the other way round.

use fleet_api::ObjectId;

/// Kinds of one wave are applied together; a wave begins when the one before was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wave {
    /// Namespaces.
    Namespaces,
    /// CustomResourceDefinitions: what comes after waits until they are established.
    Definitions,
    /// Accounts, rights and configuration that workloads read when they start.
    Configuration,
    /// Everything else.
    Rest,
}

/// The wave of an object.
pub fn wave(id: &ObjectId) -> Wave {
    match (id.group(), id.kind.as_str()) {
        ("", "Namespace") => Wave::Namespaces,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Wave::Definitions,
        (
            "",
            "ServiceAccount"
            | "ConfigMap"
            | "Secret"
            | "LimitRange"
            | "ResourceQuota"
            | "PersistentVolume"
            | "PersistentVolumeClaim",
        )
        | ("rbac.authorization.k8s.io" | "scheduling.k8s.io" | "storage.k8s.io" | "node.k8s.io", _)
        | ("networking.k8s.io", "NetworkPolicy" | "IngressClass") => Wave::Configuration,
        _ => Wave::Rest,
    }
}
