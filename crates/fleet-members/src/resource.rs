//! From kinds to paths. Built-in kinds are the same everywhere and cost no request; others are asked for once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_api::ObjectId;
use kube::core::{ApiResource, GroupVersionKind};

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

/// What one member is known to have.
#[derive(Default)]
pub(crate) struct Discovered(Mutex<BTreeMap<(String, String), ResourcePath>>);

impl Discovered {
    pub(crate) fn get(&self, known: &KnownKinds, id: &ObjectId) -> Option<ResourcePath> {
        if let Some((plural, namespaced)) = known(id.group(), id.version(), &id.kind) {
            let gvk = GroupVersionKind::gvk(id.group(), id.version(), &id.kind);
            return Some(ResourcePath {
                resource: ApiResource::from_gvk_with_plural(&gvk, &plural),
                namespaced,
            });
        }
        self.lock().get(&(id.api_version.clone(), id.kind.clone())).cloned()
    }

    pub(crate) fn insert(&self, id: &ObjectId, path: ResourcePath) {
        self.lock().insert((id.api_version.clone(), id.kind.clone()), path);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), ResourcePath>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
