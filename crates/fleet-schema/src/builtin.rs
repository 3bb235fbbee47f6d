//! The kinds of Kubernetes itself, from committed data.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::definitions::{DefinitionId, Definitions};
use crate::kind::{Column, GroupVersionKind, KindInfo, KindSchema, Subresource};

/// First line: the table. Every further line: a definition's name and its schema. Made by `cargo xtask codegen`.
const DATA: &str = include_str!("../data/kubernetes-1.35.jsonl");

/// A group of the built-in API with its versions, the preferred one first.
#[derive(Debug, Clone)]
pub struct BuiltinGroup {
    /// Its name; empty for the core group.
    pub name: String,
    /// Its versions in the order of discovery.
    pub versions: Vec<String>,
}

/// Everything known of the built-in kinds.
#[derive(Debug)]
pub struct BuiltinTable {
    /// `1.35`
    pub kubernetes: String,
    /// Groups in the order of discovery, the core group first.
    pub groups: Vec<BuiltinGroup>,
    /// Kinds in the order of discovery.
    pub kinds: Vec<KindInfo>,
    /// The named schemas.
    pub definitions: Definitions,
    by_plural: HashMap<String, Vec<usize>>,
    by_kind: HashMap<GroupVersionKind, usize>,
}

static TABLE: LazyLock<BuiltinTable> = LazyLock::new(|| BuiltinTable::read(DATA));

/// The built-in kinds; read at the first call.
pub fn builtin() -> &'static BuiltinTable {
    &TABLE
}

impl BuiltinTable {
    fn read(data: &'static str) -> BuiltinTable {
        let (table, definitions) = data.split_once('\n').unwrap_or((data, ""));
        let definitions = Definitions::from_lines(definitions.lines());
        // The committed data is checked by tests, so there is nobody to report to here.
        let table: TableRow = serde_json::from_str(table).unwrap_or_default();
        let mut out = BuiltinTable {
            kubernetes: table.kubernetes,
            groups: Vec::new(),
            kinds: Vec::new(),
            definitions,
            by_plural: HashMap::new(),
            by_kind: HashMap::new(),
        };
        for group in table.groups {
            let versions = group.versions.iter().map(|version| version.name.clone()).collect();
            for version in group.versions {
                for kind in version.kinds {
                    let kind = kind.into_info(&group.name, &version.name, &out.definitions);
                    let at = out.kinds.len();
                    out.by_plural.entry(kind.plural.clone()).or_default().push(at);
                    out.by_kind.insert(kind.gvk.clone(), at);
                    out.kinds.push(kind);
                }
            }
            out.groups.push(BuiltinGroup { name: group.name, versions });
        }
        out
    }

    /// A kind by group, version and plural.
    pub fn by_resource(&self, group: &str, version: &str, plural: &str) -> Option<&KindInfo> {
        let same_name = self.by_plural.get(plural)?.iter().filter_map(|at| self.kinds.get(*at));
        same_name.into_iter().find(|kind| kind.gvk.group == group && kind.gvk.version == version)
    }

    /// A kind by group, version and kind.
    pub fn by_kind(&self, gvk: &GroupVersionKind) -> Option<&KindInfo> {
        self.by_kind.get(gvk).and_then(|at| self.kinds.get(*at))
    }

    /// The kinds of one group and version, in the order of discovery.
    pub fn kinds_of<'t>(&'t self, group: &'t str, version: &'t str) -> impl Iterator<Item = &'t KindInfo> {
        self.kinds.iter().filter(move |kind| kind.gvk.group == group && kind.gvk.version == version)
    }

    /// The definition of an object's metadata.
    pub fn object_meta(&self) -> Option<DefinitionId> {
        self.definitions.id("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    }
}

#[derive(Default, Deserialize)]
struct TableRow {
    kubernetes: String,
    groups: Vec<GroupRow>,
}

#[derive(Deserialize)]
struct GroupRow {
    name: String,
    versions: Vec<VersionRow>,
}

#[derive(Deserialize)]
struct VersionRow {
    name: String,
    kinds: Vec<KindRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KindRow {
    kind: String,
    plural: String,
    singular: String,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    namespaced: bool,
    verbs: Vec<String>,
    schema: Option<String>,
    #[serde(default)]
    subresources: Vec<SubresourceRow>,
    #[serde(default)]
    columns: Vec<(String, String, String, i32)>,
}

#[derive(Deserialize)]
struct SubresourceRow {
    name: String,
    group: Option<String>,
    version: Option<String>,
    kind: String,
    verbs: Vec<String>,
    schema: Option<String>,
}

impl KindRow {
    fn into_info(self, group: &str, version: &str, definitions: &Definitions) -> KindInfo {
        let find = |name: Option<String>| name.and_then(|name| definitions.id(&name));
        let subresources = self.subresources.into_iter().map(|row| Subresource {
            kind: GroupVersionKind::new(
                row.group.as_deref().unwrap_or(group),
                row.version.as_deref().unwrap_or(version),
                row.kind,
            ),
            name: row.name,
            verbs: row.verbs,
            schema: find(row.schema),
        });
        let columns = self.columns.into_iter().map(|(name, column_type, format, priority)| Column {
            name,
            column_type,
            format,
            priority,
            ..Column::default()
        });
        KindInfo {
            list_kind: format!("{}List", self.kind),
            gvk: GroupVersionKind::new(group, version, self.kind),
            plural: self.plural,
            singular: self.singular,
            short_names: self.short_names,
            categories: self.categories,
            namespaced: self.namespaced,
            verbs: self.verbs,
            subresources: subresources.collect(),
            columns: columns.collect(),
            schema: find(self.schema).map_or(KindSchema::Unknown, KindSchema::Definition),
            storage: true,
            ..KindInfo::default()
        }
    }
}

#[cfg(test)]
mod tests;
