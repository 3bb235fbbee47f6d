//! Which kinds a cluster serves: the built-in ones, and those that its custom resource definitions add.
//!
//! Registries are values, named by the hash of the definitions they were made from: clusters with equal
//! definitions share one, schemas, rules and discovery documents included.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fleet_schema::{KindInfo, builtin};

use crate::crd::{Custom, CustomResource};
use crate::discovery::METRICS;

/// One kind in one version, as it is served.
#[derive(Debug)]
pub(crate) struct Kind {
    info: Info,
    /// What the store calls the resource: `deployments.apps`.
    pub(crate) store_name: Arc<str>,
    /// `apps/v1`
    pub(crate) api_version: String,
    /// The version that objects are stored in, where it may differ from this one.
    pub(crate) stored_as: Option<StoredAs>,
    /// What a custom kind's versions share; `None` for built-in kinds.
    pub(crate) custom: Option<Arc<Custom>>,
}

/// How objects of a kind with several versions are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredAs {
    /// Only `apiVersion` differs between versions.
    SameShape,
    /// `autoscaling/v1` beside `autoscaling/v2`, which is stored.
    Autoscaler,
    /// `events.k8s.io/v1` beside the core group's events, which are stored.
    Event,
}

#[derive(Debug)]
enum Info {
    Builtin(&'static KindInfo),
    Own(Box<KindInfo>),
}

impl Deref for Kind {
    type Target = KindInfo;
    fn deref(&self) -> &KindInfo {
        match &self.info {
            Info::Builtin(info) => info,
            Info::Own(info) => info,
        }
    }
}

impl Kind {
    fn builtin(info: &'static KindInfo) -> Self {
        let group = info.gvk.group.as_str();
        let (storage, stored_as) = match (group, info.plural.as_str(), info.gvk.version.as_str()) {
            ("events.k8s.io", "events", _) => ("events".to_owned(), Some(StoredAs::Event)),
            ("autoscaling", plural @ "horizontalpodautoscalers", "v1") => {
                (storage_name(group, plural), Some(StoredAs::Autoscaler))
            }
            (group, plural, _) => (storage_name(group, plural), None),
        };
        Self {
            info: Info::Builtin(info),
            store_name: storage.into(),
            api_version: info.api_version(),
            stored_as,
            custom: None,
        }
    }

    /// A custom kind in one of its versions.
    pub(crate) fn custom(info: KindInfo, custom: Arc<Custom>) -> Self {
        Self {
            store_name: storage_name(&info.gvk.group, &info.plural).into(),
            api_version: info.api_version(),
            stored_as: (custom.served > 1).then_some(StoredAs::SameShape),
            custom: Some(custom),
            info: Info::Own(Box::new(info)),
        }
    }

    pub(crate) fn info(&self) -> &KindInfo {
        self
    }

    pub(crate) fn group(&self) -> &str {
        &self.gvk.group
    }

    pub(crate) fn kind(&self) -> &str {
        &self.gvk.kind
    }

    /// Whether this is that resource of a built-in group.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.custom.is_none() && self.plural == plural && self.gvk.group == group
    }
}

/// The store's name of a resource.
pub(crate) fn storage_name(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// The kinds of one group in one version, in discovery's order.
#[derive(Debug, Default)]
pub(crate) struct VersionRows {
    pub(crate) name: String,
    pub(crate) kinds: Vec<Arc<Kind>>,
    by_plural: HashMap<String, Arc<Kind>>,
}

/// One API group, its preferred version first.
#[derive(Debug, Default)]
pub(crate) struct GroupRows {
    pub(crate) name: String,
    pub(crate) versions: Vec<VersionRows>,
}

impl GroupRows {
    fn version(&self, name: &str) -> Option<&VersionRows> {
        self.versions.iter().find(|version| version.name == name)
    }

    pub(crate) fn add(&mut self, version: &str, kind: Arc<Kind>) {
        let at = match self.versions.iter().position(|rows| rows.name == version) {
            Some(at) => at,
            None => {
                self.versions.push(VersionRows { name: version.to_owned(), ..VersionRows::default() });
                self.versions.len() - 1
            }
        };
        if let Some(rows) = self.versions.get_mut(at) {
            rows.by_plural.insert(kind.plural.clone(), Arc::clone(&kind));
            rows.kinds.push(kind);
        }
    }
}

/// Documents made from a registry once and then handed out.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    pub(crate) core: [OnceLock<Document>; 3],
    pub(crate) groups: [OnceLock<Document>; 3],
    pub(crate) openapi_index: OnceLock<Document>,
    pub(crate) openapi_v2: OnceLock<Document>,
    pub(crate) openapi_v2_protobuf: OnceLock<Document>,
    pub(crate) openapi: parking_lot::Mutex<HashMap<String, Document>>,
}

/// A document with the tag of its content.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) bytes: Bytes,
    pub(crate) tag: String,
}

/// All kinds that a cluster serves.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// The built-in kinds, shared by all registries; `None` in that one itself.
    base: Option<Arc<Registry>>,
    groups: Vec<GroupRows>,
    by_group: HashMap<String, usize>,
    pub(crate) customs: Vec<Arc<CustomResource>>,
    pub(crate) documents: Documents,
}

impl Registry {
    /// The registry of a cluster without definitions of its own.
    pub(crate) fn builtin() -> Self {
        let table = builtin();
        let mut registry = Self::default();
        for group in &table.groups {
            let at = registry.group_index(&group.name);
            for version in &group.versions {
                for info in table.kinds_of(&group.name, version) {
                    if let Some(rows) = registry.groups.get_mut(at) {
                        rows.add(version, Arc::new(Kind::builtin(info)));
                    }
                }
            }
        }
        registry
    }

    /// The built-in kinds and these.
    pub(crate) fn with(base: &Arc<Registry>, customs: Vec<Arc<CustomResource>>) -> Self {
        let mut registry = Self { base: Some(Arc::clone(base)), ..Self::default() };
        for custom in &customs {
            let at = registry.group_index(&custom.group);
            for kind in &custom.kinds {
                if let Some(rows) = registry.groups.get_mut(at) {
                    rows.add(&kind.gvk.version, Arc::clone(kind));
                }
            }
        }
        for rows in &mut registry.groups {
            rows.versions.sort_by(|a, b| crate::discovery::version_order(&a.name, &b.name));
        }
        registry.customs = customs;
        registry
    }

    fn group_index(&mut self, name: &str) -> usize {
        if let Some(at) = self.by_group.get(name) {
            return *at;
        }
        self.groups.push(GroupRows { name: name.to_owned(), ..GroupRows::default() });
        self.by_group.insert(name.to_owned(), self.groups.len() - 1);
        self.groups.len() - 1
    }

    /// Where documents about these kinds are kept: with the built-in kinds, for all clusters, if there are no others.
    pub(crate) fn documents(&self, kinds: &[&Arc<Kind>]) -> &Documents {
        match &self.base {
            Some(base) if kinds.iter().all(|kind| kind.custom.is_none()) => &base.documents,
            _ => &self.documents,
        }
    }

    /// The kind that a path names.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        if let Some(kind) = self.base.as_deref().and_then(|base| base.find(group, version, plural)) {
            return Some(kind);
        }
        self.groups.get(*self.by_group.get(group)?)?.version(version)?.by_plural.get(plural)
    }

    /// A kind by its store name, in the version that is stored or else preferred.
    pub(crate) fn stored(&self, storage: &str) -> Option<&Arc<Kind>> {
        let (plural, group) = storage.split_once('.').unwrap_or((storage, ""));
        let own = self.all_groups().filter(|rows| rows.name == group);
        own.flat_map(|rows| &rows.versions)
            .filter_map(|version| version.by_plural.get(plural))
            .min_by_key(|kind| !(kind.storage_version() && kind.stored_as != Some(StoredAs::Autoscaler)))
    }

    /// The kind of an object by group and kind, in any version.
    pub(crate) fn by_kind(&self, group: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.all_groups()
            .filter(|rows| rows.name == group)
            .flat_map(|rows| &rows.versions)
            .flat_map(|version| &version.kinds)
            .find(|row| row.gvk.kind == kind)
    }

    /// The other versions in which a kind is served, those in other groups included.
    pub(crate) fn versions_of<'r>(&'r self, kind: &'r Kind) -> impl Iterator<Item = Arc<Kind>> + 'r {
        let kinds = self.all_groups().flat_map(|rows| &rows.versions).flat_map(|version| &version.kinds);
        let same =
            kinds.filter(|row| row.store_name == kind.store_name && row.api_version != kind.api_version);
        same.cloned()
    }

    /// A kind by group, version and kind.
    pub(crate) fn by_version_and_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Kind>> {
        let groups = self.all_groups().filter(|rows| rows.name == group);
        groups
            .filter_map(|rows| rows.version(version))
            .flat_map(|rows| &rows.kinds)
            .find(|row| row.gvk.kind == kind)
    }

    fn all_groups(&self) -> impl Iterator<Item = &GroupRows> {
        self.base.iter().flat_map(|base| base.groups.iter()).chain(self.groups.iter())
    }

    /// Every group with its versions and kinds, definitions in built-in groups merged into them.
    pub(crate) fn groups(&self) -> Vec<GroupView<'_>> {
        let mut views: Vec<GroupView<'_>> = Vec::new();
        for rows in self.all_groups() {
            let at = match views.iter().position(|view| view.name == rows.name) {
                Some(at) => at,
                None => {
                    views.push(GroupView { name: &rows.name, versions: Vec::new() });
                    views.len() - 1
                }
            };
            let Some(view) = views.get_mut(at) else { continue };
            for version in &rows.versions {
                match view.versions.iter_mut().find(|(name, _)| *name == version.name) {
                    Some((_, kinds)) => kinds.extend(&version.kinds),
                    None => view.versions.push((&version.name, version.kinds.iter().collect())),
                }
            }
        }
        if !views.iter().any(|view| view.name == METRICS) {
            views.push(GroupView { name: METRICS, versions: vec![("v1beta1", Vec::new())] });
        }
        views
    }

    /// Every kind once, in its stored or preferred version: what a collector of garbage walks over.
    pub(crate) fn stored_kinds(&self) -> Vec<&Arc<Kind>> {
        let mut seen: HashMap<&str, &Arc<Kind>> = HashMap::new();
        let kinds = self.all_groups().flat_map(|rows| &rows.versions).flat_map(|version| &version.kinds);
        for kind in kinds.filter(|kind| kind.allows("list")) {
            let better =
                kind.storage_version() && kind.stored_as.is_none_or(|stored| stored == StoredAs::SameShape);
            match seen.get(&*kind.store_name) {
                Some(_) if !better => {}
                _ => {
                    seen.insert(&kind.store_name, kind);
                }
            }
        }
        let mut kinds: Vec<_> = seen.into_values().collect();
        kinds.sort_by(|a, b| a.store_name.cmp(&b.store_name));
        kinds
    }
}

impl Kind {
    /// Whether objects are stored in this version.
    pub(crate) fn storage_version(&self) -> bool {
        self.storage && !matches!(self.stored_as, Some(StoredAs::Autoscaler | StoredAs::Event))
    }
}

/// A group as discovery shows it.
#[derive(Debug)]
pub(crate) struct GroupView<'r> {
    pub(crate) name: &'r str,
    pub(crate) versions: Vec<(&'r str, Vec<&'r Arc<Kind>>)>,
}
