//! The kinds that a hub serves, and what a misspelt one means.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::propagation::{GROUPS, PolicyKind, groups::VERSION};
use fleet_placement::nearest;

/// The kinds that a hub serves.
#[derive(Debug, Clone, Default)]
pub struct KindTable {
    groups: BTreeMap<String, BTreeMap<String, KindEntry>>,
}

#[derive(Debug, Clone, Default)]
struct KindEntry {
    versions: BTreeSet<String>,
    namespaced: bool,
}

impl KindTable {
    /// The kinds that every Kubernetes has.
    #[must_use]
    pub fn builtin() -> Self {
        let mut table = Self::default();
        for kind in &fleet_schema::builtin().kinds {
            table.add(&kind.gvk.group, &kind.gvk.version, &kind.gvk.kind, kind.namespaced);
        }
        table
    }

    /// Adds a kind, as discovery or a definition says it.
    pub fn add(&mut self, group: &str, version: &str, kind: &str, namespaced: bool) {
        let entry = self.groups.entry(group.to_owned()).or_default().entry(kind.to_owned()).or_default();
        entry.versions.insert(version.to_owned());
        entry.namespaced = namespaced;
    }

    /// Whether a kind has namespaces, where it is known.
    #[must_use]
    pub fn namespaced(&self, group: &str, kind: &str) -> Option<bool> {
        Some(self.groups.get(group)?.get(kind)?.namespaced)
    }

    /// What is wrong with a type, in words; nothing where the hub serves it.
    #[must_use]
    pub fn problem(&self, group: &str, version: &str, kind: &str) -> Option<String> {
        let api_version = |group: &str, version: &str| {
            if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
        };
        let written = api_version(group, version);
        if let Some(entry) = self.groups.get(group).and_then(|kinds| kinds.get(kind)) {
            if entry.versions.contains(version) {
                return None;
            }
            let served = entry.versions.iter().map(|served| api_version(group, served));
            let served = served.collect::<Vec<_>>().join(", ");
            return Some(format!(
                "{kind} is served as {served}, not as {written}; its objects are matched all the same"
            ));
        }
        let elsewhere = self.groups.iter().find_map(|(other, kinds)| {
            let served = kinds.get(kind)?.versions.last()?;
            Some(api_version(other, served))
        });
        if let Some(elsewhere) = elsewhere {
            return Some(format!("there is no {kind} in {written}; it is of {elsewhere}"));
        }
        let own = self.groups.get(group).into_iter().flat_map(BTreeMap::keys).map(String::as_str);
        let advice = match nearest(kind, own) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "is it a custom kind whose definition isn't on the hub yet?".to_owned(),
        };
        Some(format!("the hub serves no {kind} of {written}; {advice}"))
    }
}

/// What was meant by a type that the hub doesn't serve, where it looks like a policy's: in words, with the way out.
#[must_use]
pub fn meant(api_version: &str, kind: &str) -> Option<String> {
    if PolicyKind::of(api_version, kind).is_some() {
        return None;
    }
    let (group, version) = api_version.split_once('/').unwrap_or((api_version, ""));
    let known = GROUPS.contains(&group);
    let near_group = if known { Some(group) } else { nearest(group, GROUPS) };
    let near_kind = nearest(kind, PolicyKind::ALL.map(PolicyKind::as_str))?;
    let near_group = near_group?;
    let right = format!("{near_group}/{VERSION}");
    if near_kind == kind {
        let wrong = if known { format!("version {version:?}") } else { format!("group {group:?}") };
        return Some(format!("{kind} isn't of {wrong}; write apiVersion: {right}"));
    }
    let also = if known && version == VERSION { String::new() } else { format!(" of {right}") };
    Some(format!("{kind} is no kind of {api_version}; did you mean {near_kind:?}{also}?"))
}
