//! A place in a schema, with its references resolved.

use fleet_json::shape::{ListType, PatchStrategy, Shape};
use serde_json::Value;

use super::{Additional, MapType, Schema};
use crate::definitions::Definitions;

/// How many definitions may merely point to the next one.
const MAX_HOPS: usize = 8;

/// A node of a type: what the parent says of it (`site`) and, behind a `$ref`, the definition (`node`).
///
/// Keywords beside a `$ref` (merge keys, defaults) come before the definition's own.
#[derive(Debug, Clone, Copy)]
pub struct SchemaRef<'a> {
    definitions: &'a Definitions,
    site: &'a Schema,
    node: &'a Schema,
}

impl<'a> SchemaRef<'a> {
    /// Stands at a node.
    pub fn new(definitions: &'a Definitions, schema: &'a Schema) -> SchemaRef<'a> {
        let mut node = schema;
        for _ in 0..MAX_HOPS {
            match node.reference {
                Some(id) => node = definitions.get(id),
                None => break,
            }
        }
        SchemaRef { definitions, site: schema, node }
    }

    /// The definitions that references lead to.
    pub fn definitions(self) -> &'a Definitions {
        self.definitions
    }

    /// The node as its parent declares it.
    pub fn site(self) -> &'a Schema {
        self.site
    }

    /// The node behind its reference.
    pub fn node(self) -> &'a Schema {
        self.node
    }

    /// Whether a definition stands between the parent and this node.
    pub fn is_reference(self) -> bool {
        self.site.reference.is_some()
    }

    /// The same definitions at another node.
    pub fn at(self, schema: &'a Schema) -> SchemaRef<'a> {
        SchemaRef::new(self.definitions, schema)
    }

    /// A declared field.
    pub fn property(self, name: &str) -> Option<SchemaRef<'a>> {
        self.site.property(name).or_else(|| self.node.property(name)).map(|schema| self.at(schema))
    }

    /// The type of further entries of a map.
    pub fn additional(self) -> Option<SchemaRef<'a>> {
        match &self.node.additional {
            Additional::Schema(schema) => Some(self.at(schema)),
            _ => None,
        }
    }

    /// The type of a list's items.
    pub fn item(self) -> Option<SchemaRef<'a>> {
        self.node.items.as_deref().or(self.site.items.as_deref()).map(|schema| self.at(schema))
    }

    /// Whether `null` is a value here.
    pub fn nullable(self) -> bool {
        self.site.nullable || self.node.nullable
    }

    /// The default, if one is declared.
    pub fn default(self) -> Option<&'a Value> {
        self.site.default.as_deref().or(self.node.default.as_deref())
    }

    /// Whether unknown fields stay.
    pub fn preserves_unknown(self) -> bool {
        self.site.preserve_unknown_fields || self.node.preserve_unknown_fields || self.node.opaque
    }

    fn pick<T>(self, get: impl Fn(&'a Schema) -> Option<T>) -> Option<T> {
        get(self.site).or_else(|| get(self.node))
    }
}

impl<'a> Shape<'a> for SchemaRef<'a> {
    fn field(self, name: &str) -> Option<Self> {
        self.property(name).or_else(|| self.additional())
    }

    fn items(self) -> Option<Self> {
        self.item()
    }

    fn list_type(self) -> ListType {
        self.pick(|schema| schema.list_type).unwrap_or(ListType::Atomic)
    }

    fn list_map_keys(self) -> &'a [String] {
        if self.site.list_map_keys.is_empty() { &self.node.list_map_keys } else { &self.site.list_map_keys }
    }

    fn default_value(self) -> Option<&'a Value> {
        self.default()
    }

    fn is_atomic_map(self) -> bool {
        self.pick(|schema| schema.map_type) == Some(MapType::Atomic)
    }

    fn patch_merge_key(self) -> Option<&'a str> {
        self.pick(|schema| schema.patch_merge_key.as_deref())
    }

    fn patch_strategy(self) -> PatchStrategy {
        let (site, node) = (self.site.patch_strategy, self.node.patch_strategy);
        PatchStrategy { merge: site.merge || node.merge, retain_keys: site.retain_keys || node.retain_keys }
    }
}
