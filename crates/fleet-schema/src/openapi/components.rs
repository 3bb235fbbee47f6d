//! The schemas of a document, closed under references.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::names;
use crate::builtin::builtin;
use crate::definitions::DefinitionId;
use crate::kind::{GroupVersionKind, KindInfo, KindSchema};
use crate::schema::{Additional, Schema};

const PREFIX: &str = "#/components/schemas/";

/// Collects what paths refer to.
#[derive(Default)]
pub(super) struct Components {
    wanted: Vec<DefinitionId>,
    own: BTreeMap<String, Value>,
}

impl Components {
    /// A reference to a definition of the meta group, `Status`.
    pub(super) fn meta(&mut self, name: &str) -> Value {
        self.named(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"))
    }

    fn named(&mut self, name: &str) -> Value {
        match builtin().definitions.id(name) {
            Some(id) => self.definition(id),
            None => json!({ "type": "object" }),
        }
    }

    pub(super) fn definition(&mut self, id: DefinitionId) -> Value {
        self.wanted.push(id);
        let name = builtin().definitions.name(id).unwrap_or_default();
        json!({ "$ref": format!("{PREFIX}{name}") })
    }

    /// A reference to a kind's schema.
    pub(super) fn kind(&mut self, kind: &KindInfo) -> Value {
        match &kind.schema {
            KindSchema::Definition(id) => self.definition(*id),
            KindSchema::Own(schema) => {
                let name = names::component(&kind.gvk, &kind.gvk.kind);
                if !self.own.contains_key(&name) {
                    references(schema, &mut self.wanted);
                    let mut value = schema.to_openapi(&builtin().definitions);
                    put_gvk(&mut value, &kind.gvk);
                    // Clients expect metadata to be ObjectMeta and nothing beside it.
                    if let Some(metadata) = value.pointer_mut("/properties/metadata") {
                        *metadata = self.meta("ObjectMeta");
                    }
                    self.own.insert(name.clone(), value);
                }
                json!({ "$ref": format!("{PREFIX}{name}") })
            }
            KindSchema::Unknown => json!({ "type": "object" }),
        }
    }

    /// A reference to the schema of a kind's list.
    pub(super) fn list(&mut self, kind: &KindInfo) -> Value {
        match &kind.schema {
            KindSchema::Definition(id) => {
                let name = builtin().definitions.name(*id).unwrap_or_default();
                self.named(&format!("{name}List"))
            }
            KindSchema::Own(_) => {
                let name = names::component(&kind.gvk, &kind.list_kind);
                let items = self.kind(kind);
                let meta = self.meta("ListMeta");
                let mut value = json!({
                    "type": "object",
                    "required": ["items"],
                    "properties": {
                        "apiVersion": { "type": "string" },
                        "kind": { "type": "string" },
                        "items": { "type": "array", "items": items },
                        "metadata": meta,
                    },
                });
                let list = GroupVersionKind { kind: kind.list_kind.clone(), ..kind.gvk.clone() };
                put_gvk(&mut value, &list);
                self.own.insert(name.clone(), value);
                json!({ "$ref": format!("{PREFIX}{name}") })
            }
            KindSchema::Unknown => json!({ "type": "object" }),
        }
    }

    /// Every schema that was asked for, and all that they refer to.
    pub(super) fn close(self) -> Map<String, Value> {
        let definitions = &builtin().definitions;
        let mut done: BTreeMap<String, Value> = self.own;
        let mut wanted = self.wanted;
        while let Some(id) = wanted.pop() {
            let Some(name) = definitions.name(id) else { continue };
            if done.contains_key(name) {
                continue;
            }
            let schema = definitions.get(id);
            references(schema, &mut wanted);
            done.insert(name.to_owned(), schema.to_openapi(definitions));
        }
        done.into_iter().collect()
    }
}

fn put_gvk(value: &mut Value, gvk: &GroupVersionKind) {
    if let Value::Object(map) = value {
        map.insert("x-kubernetes-group-version-kind".to_owned(), json!([gvk]));
    }
}

/// The definitions that a schema refers to. A schema's depth is bounded when it is read.
fn references(schema: &Schema, out: &mut Vec<DefinitionId>) {
    out.extend(schema.reference);
    for (_, field) in &schema.properties {
        references(field, out);
    }
    if let Some(items) = &schema.items {
        references(items, out);
    }
    if let Additional::Schema(entry) = &schema.additional {
        references(entry, out);
    }
    if let Some(extras) = &schema.rare {
        let junctors = extras.all_of.iter().chain(&extras.any_of).chain(&extras.one_of);
        for part in junctors.chain(extras.not.as_deref()) {
            references(part, out);
        }
    }
}
