//! From kinds to paths. Built-in kinds are the same everywhere and cost no request; `discovery` has the others.

use std::sync::Arc;

use kube::core::ApiResource;

/// Where a kind lives in the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourcePath {
    /// Group, version, kind and plural.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// Looks up kinds that every cluster has: (group, version, kind) to (plural, namespaced).
pub type KnownKinds = Arc<dyn Fn(&str, &str, &str) -> Option<(String, bool)> + Send + Sync>;
