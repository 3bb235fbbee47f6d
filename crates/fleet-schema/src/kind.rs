//! One row of the registry: what the API server knows of a kind.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::builtin::builtin;
use crate::definitions::DefinitionId;
use crate::jsonpath::JsonPath;
use crate::schema::{Schema, SchemaRef};

/// Group, version and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupVersionKind {
    /// The group; empty for the core group.
    pub group: String,
    /// The version, `v1`.
    pub version: String,
    /// The kind, `Deployment`.
    pub kind: String,
}

impl GroupVersionKind {
    /// From its three parts.
    pub fn new(
        group: impl Into<String>,
        version: impl Into<String>,
        kind: impl Into<String>,
    ) -> GroupVersionKind {
        GroupVersionKind { group: group.into(), version: version.into(), kind: kind.into() }
    }

    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, Kind={}", self.api_version(), self.kind)
    }
}

/// `apps/v1`, or `v1` for the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// A column of a kind's table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub column_type: String,
    /// `name` for the object's name, else mostly empty.
    pub format: String,
    /// 0 is always shown, more only with `-o wide`.
    pub priority: i32,
    /// Prose.
    pub description: String,
    /// Where a custom kind's cell comes from; built-in kinds are printed by code.
    pub path: Option<JsonPath>,
}

/// Where `scale` reads and writes in a custom kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// `.spec.replicas`
    pub spec_replicas: String,
    /// `.status.replicas`
    pub status_replicas: String,
    /// `.status.selector`: a selector in its text form.
    pub label_selector: Option<String>,
}

/// A subresource of a kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Subresource {
    /// `status`, `scale`, `log`, …
    pub name: String,
    /// The kind that requests and responses have.
    pub kind: GroupVersionKind,
    /// `get`, `patch`, `update`, `create`, `delete`.
    pub verbs: Vec<String>,
    /// The definition of that kind, where one is published.
    pub schema: Option<DefinitionId>,
}

/// Where a kind's schema lives.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum KindSchema {
    /// None is known: any object.
    #[default]
    Unknown,
    /// A built-in definition.
    Definition(DefinitionId),
    /// A custom kind's own; its references lead to the built-in definitions.
    Own(Box<Schema>),
}

/// One kind in one version: a row of the registry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KindInfo {
    /// Group, version and kind.
    pub gvk: GroupVersionKind,
    /// `deployments`
    pub plural: String,
    /// `deployment`
    pub singular: String,
    /// `DeploymentList`
    pub list_kind: String,
    /// `deploy`
    pub short_names: Vec<String>,
    /// `all`
    pub categories: Vec<String>,
    /// Objects live in a namespace.
    pub namespaced: bool,
    /// `create`, `delete`, `deletecollection`, `get`, `list`, `patch`, `update`, `watch`.
    pub verbs: Vec<String>,
    /// In the order of their names.
    pub subresources: Vec<Subresource>,
    /// The columns of its table.
    pub columns: Vec<Column>,
    /// Its schema.
    pub schema: KindSchema,
    /// Comes from a CustomResourceDefinition: no strategic merge patch, structural pruning and defaults.
    pub custom: bool,
    /// This version is the one stored.
    pub storage: bool,
    /// Deprecated, with the warning that clients get.
    pub deprecation: Option<String>,
    /// Paths of a custom kind's scale.
    pub scale: Option<ScalePaths>,
    /// Fields that field selectors may name besides `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Vec<JsonPath>,
}

impl KindInfo {
    /// The schema, if one is known.
    pub fn schema(&self) -> Option<SchemaRef<'_>> {
        let definitions = &builtin().definitions;
        match &self.schema {
            KindSchema::Unknown => None,
            KindSchema::Definition(id) => Some(definitions.view(*id)),
            KindSchema::Own(schema) => Some(SchemaRef::new(definitions, schema)),
        }
    }

    /// `apps/v1`
    pub fn api_version(&self) -> String {
        self.gvk.api_version()
    }

    /// Whether a verb is served.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|have| have == verb)
    }

    /// A subresource by its name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// Whether `status` is written apart from the rest.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }
}
