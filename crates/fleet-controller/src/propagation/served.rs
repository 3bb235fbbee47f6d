//! The kinds that the hub serves: built-in ones, and those of its definitions.

use std::collections::{BTreeMap, BTreeSet};

use fleet_propagation::KindTable;
use fleet_schema::builtin;
use kube::api::{DynamicObject, Object};
use kube::core::{ApiResource, GroupVersionKind, NotUsed, TypeMeta};
use kube::runtime::watcher::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A definition as far as it says which kind is served: most of one is the schema, which nobody here asks for.
pub(super) type Definition = Object<Outline, NotUsed>;

/// What is read of the spec of a definition.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Outline {
    group: String,
    names: Names,
    scope: String,
    versions: Vec<Version>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Names {
    kind: String,
    plural: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Version {
    name: String,
    served: bool,
    storage: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    subresources: Option<Value>,
}

/// What a watch of definitions says, as other watches do.
pub(super) fn outlined(event: Event<Definition>) -> Event<DynamicObject> {
    let plain = |definition: Definition| DynamicObject {
        types: None::<TypeMeta>,
        metadata: definition.metadata,
        data: serde_json::json!({ "spec": definition.spec }),
    };
    match event {
        Event::Apply(definition) => Event::Apply(plain(definition)),
        Event::Delete(definition) => Event::Delete(plain(definition)),
        Event::Init => Event::Init,
        Event::InitApply(definition) => Event::InitApply(plain(definition)),
        Event::InitDone => Event::InitDone,
    }
}

/// A kind of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Defined {
    /// Which definition it is: one that is installed anew under the name is another.
    uid: String,
    /// It is being deleted: the hub first deletes its objects, then it.
    deleting: bool,
    group: String,
    kind: String,
    plural: String,
    namespaced: bool,
    /// The versions that are served, the stored one first.
    versions: Vec<String>,
    /// Its objects have a status of its own.
    has_status: bool,
}

/// The kinds that the hub serves.
#[derive(Default)]
pub(super) struct Served {
    defined: BTreeMap<String, Defined>,
    listing: BTreeSet<String>,
    /// Definitions that went, or were installed anew, since that was asked last.
    went: BTreeSet<String>,
}

impl Served {
    /// A definition is there, or has changed. True where something is news.
    pub(super) fn put(&mut self, definition: &Value) -> bool {
        let Some((name, defined)) = read(definition) else { return false };
        self.listing.insert(name.clone());
        let before = self.defined.get(&name);
        if before.is_some_and(|before| before.uid != defined.uid) {
            self.went.insert(name.clone());
        }
        self.defined.get(&name) != Some(&defined) && {
            self.defined.insert(name, defined);
            true
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> bool {
        let known = self.defined.remove(name).is_some();
        if known {
            self.went.insert(name.to_owned());
        }
        known
    }

    pub(super) fn list_begins(&mut self) {
        self.listing.clear();
    }

    /// What wasn't listed is gone.
    pub(super) fn list_ends(&mut self) {
        let listed = std::mem::take(&mut self.listing);
        let gone: Vec<String> = self.defined.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        for name in gone {
            self.remove(&name);
        }
    }

    /// Whether the hub serves a definition of this name (`plural.group`).
    pub(super) fn has(&self, name: &str) -> bool {
        self.defined.contains_key(name)
    }

    /// The UID of a definition that isn't being deleted.
    pub(super) fn standing(&self, name: &str) -> Option<&str> {
        self.defined.get(name).filter(|defined| !defined.deleting).map(|defined| defined.uid.as_str())
    }

    /// The definitions that went since this was asked last, and their objects with them.
    pub(super) fn take_gone(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.went)
    }

    /// Whether objects of a kind have a status that is written by itself.
    pub(super) fn has_status(&self, group: &str, kind: &str) -> bool {
        let defined = self.defined.values().find(|defined| defined.group == group && defined.kind == kind);
        if let Some(defined) = defined {
            return defined.has_status;
        }
        let mut known =
            builtin().kinds.iter().filter(|info| info.gvk.group == group && info.gvk.kind == kind);
        known.any(|info| info.subresources.iter().any(|subresource| subresource.name == "status"))
    }

    /// All kinds, as policies are judged by.
    pub(super) fn table(&self) -> KindTable {
        let mut table = KindTable::builtin();
        for defined in self.defined.values() {
            for version in &defined.versions {
                table.add(&defined.group, version, &defined.kind, defined.namespaced);
            }
        }
        table
    }

    /// How objects of a kind are asked for: in the version that is asked for where it is served, else in another.
    pub(super) fn resource(&self, group: &str, version: &str, kind: &str) -> Option<ApiResource> {
        let of = |version: &str, plural: &str| {
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
        };
        let defined = self.defined.values().find(|defined| defined.group == group && defined.kind == kind);
        if let Some(defined) = defined {
            let asked = defined.versions.iter().find(|served| *served == version);
            return Some(of(asked.or(defined.versions.first())?, &defined.plural));
        }
        let known = || builtin().kinds.iter().filter(|info| info.gvk.group == group && info.gvk.kind == kind);
        let preferred = builtin().groups.iter().find(|known| known.name == group)?;
        let in_order = || preferred.versions.iter();
        let found = known()
            .find(|info| info.gvk.version == version)
            .or_else(|| in_order().find_map(|version| known().find(|info| info.gvk.version == *version)))?;
        Some(of(&found.gvk.version, &found.plural))
    }
}

fn read(definition: &Value) -> Option<(String, Defined)> {
    let text = |at: &str| Some(definition.pointer(at)?.as_str()?.to_owned());
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    let flag = |version: &Value, field: &str| version.get(field).and_then(Value::as_bool) == Some(true);
    let mut served: Vec<&Value> = versions.iter().filter(|version| flag(version, "served")).collect();
    served.sort_by_key(|version| !flag(version, "storage"));
    let versions = served.iter().filter_map(|version| Some(version.get("name")?.as_str()?.to_owned()));
    let defined = Defined {
        uid: text("/metadata/uid").unwrap_or_default(),
        deleting: definition.pointer("/metadata/deletionTimestamp").is_some(),
        group: text("/spec/group")?,
        kind: text("/spec/names/kind")?,
        plural: text("/spec/names/plural")?,
        namespaced: text("/spec/scope")? == "Namespaced",
        has_status: served.iter().any(|version| version.pointer("/subresources/status").is_some()),
        versions: versions.collect(),
    };
    Some((text("/metadata/name")?, defined))
}
