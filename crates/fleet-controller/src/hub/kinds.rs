//! Kinds by the names that users write.

use fleet_members::KnownKinds;
use fleet_schema::{GroupVersionKind, KindInfo, builtin};
use std::sync::Arc;

/// Looks up built-in kinds, for [`fleet_members::Members`].
pub fn known_kinds() -> KnownKinds {
    Arc::new(|group, version, kind| {
        let info = builtin().by_kind(&GroupVersionKind::new(group, version, kind))?;
        Some((info.plural.clone(), info.namespaced))
    })
}

/// A built-in kind by group and one of its names (`deployments`, `deployment`, `deploy`, `Deployment`), in the
/// group's preferred version.
pub(crate) fn by_resource(group: &str, resource: &str) -> Option<&'static KindInfo> {
    let table = builtin();
    let wanted = resource.to_lowercase();
    let named = |info: &&KindInfo| {
        info.gvk.group == group
            && (info.plural == wanted
                || info.singular == wanted
                || info.gvk.kind.to_lowercase() == wanted
                || info.short_names.contains(&wanted))
    };
    let versions = table.groups.iter().find(|g| g.name == group).map(|g| g.versions.as_slice())?;
    versions
        .iter()
        .find_map(|version| table.kinds.iter().filter(named).find(|info| info.gvk.version == *version))
}

/// Whether a built-in kind has no namespace; kinds that aren't built in are taken for namespaced until their
/// cluster says otherwise.
pub(crate) fn is_cluster_scoped(api_version: &str, kind: &str) -> bool {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    builtin().by_kind(&GroupVersionKind::new(group, version, kind)).is_some_and(|info| !info.namespaced)
}
