//! The table of kinds: discovery, joined with schemas and table columns.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::definitions::read;

type Schemas = BTreeMap<String, Value>;

/// Builds the first line of the data file.
pub(crate) fn build(inputs: &Path, schemas: &Schemas, version: &str) -> Result<Value> {
    let columns = read(&inputs.join("table-columns.json"))?;
    let kinds = Kinds { by_gvk: definitions_by_kind(schemas), columns };
    let mut groups = Vec::new();
    for file in ["discovery-core.json", "discovery-groups.json"] {
        let document = read(&inputs.join(file))?;
        for group in list(&document, "items").with_context(|| format!("{file}: items"))? {
            let name = group.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let mut versions = Vec::new();
            for version in list(group, "versions")? {
                let version_name = text(version, "version")?;
                let rows = list(version, "resources")?.iter();
                let rows =
                    rows.map(|row| kinds.row(name, version_name, row)).collect::<Result<Vec<Value>>>()?;
                versions.push(json!({ "name": version_name, "kinds": rows }));
            }
            groups.push(json!({ "name": name, "versions": versions }));
        }
    }
    Ok(json!({ "kubernetes": version, "groups": groups }))
}

/// Calls `found` with every definition that the table names.
pub(crate) fn schemas_of(table: &Value, found: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    match table {
        Value::Array(items) => items.iter().try_for_each(|item| schemas_of(item, found)),
        Value::Object(map) => map.iter().try_for_each(|(key, item)| match item {
            Value::String(target) if key == "schema" => found(target),
            other => schemas_of(other, found),
        }),
        _ => Ok(()),
    }
}

struct Kinds {
    by_gvk: BTreeMap<(String, String, String), String>,
    columns: Value,
}

impl Kinds {
    fn row(&self, group: &str, version: &str, resource: &Value) -> Result<Value> {
        let plural = text(resource, "resource")?;
        let kind = resource.pointer("/responseKind/kind").and_then(Value::as_str).context("responseKind")?;
        let mut row = Map::new();
        row.insert("kind".into(), json!(kind));
        row.insert("plural".into(), json!(plural));
        row.insert("singular".into(), json!(text(resource, "singularResource")?));
        for key in ["shortNames", "categories"] {
            if let Some(value) = resource.get(key) {
                row.insert(key.into(), value.clone());
            }
        }
        row.insert("namespaced".into(), json!(text(resource, "scope")? == "Namespaced"));
        row.insert("verbs".into(), resource.get("verbs").cloned().context("verbs")?);
        row.insert("schema".into(), json!(self.schema(group, version, kind)));
        if let Some(subresources) = resource.get("subresources").and_then(Value::as_array) {
            let rows = subresources.iter().map(|sub| self.subresource(group, version, sub));
            row.insert("subresources".into(), rows.collect::<Result<Vec<Value>>>()?.into());
        }
        let place = format!("{}/{version}/{plural}", if group.is_empty() { "core" } else { group });
        if let Some(columns) = self.columns.get(&place).and_then(Value::as_array) {
            let columns = columns.iter().map(|column| {
                let part = |key: &str| column.get(key).cloned().unwrap_or(Value::Null);
                json!([part("name"), part("type"), part("format"), part("priority")])
            });
            row.insert("columns".into(), columns.collect::<Vec<Value>>().into());
        }
        Ok(Value::Object(row))
    }

    /// Discovery leaves group and version empty where they are the parent's.
    fn subresource(&self, group: &str, version: &str, sub: &Value) -> Result<Value> {
        let part = |key: &str| {
            let value = sub.get("responseKind").and_then(|kind| kind.get(key)).and_then(Value::as_str);
            value.unwrap_or_default()
        };
        let kind = part("kind");
        let mut row = Map::new();
        row.insert("name".into(), json!(text(sub, "subresource")?));
        row.insert("kind".into(), json!(kind));
        row.insert("verbs".into(), sub.get("verbs").cloned().context("verbs")?);
        let own = part("version").is_empty();
        if !own {
            row.insert("group".into(), json!(part("group")));
            row.insert("version".into(), json!(part("version")));
        }
        let (group, version) = if own { (group, version) } else { (part("group"), part("version")) };
        row.insert("schema".into(), json!(self.schema(group, version, kind)));
        Ok(Value::Object(row))
    }

    fn schema(&self, group: &str, version: &str, kind: &str) -> Option<&String> {
        self.by_gvk.get(&(group.to_owned(), version.to_owned(), kind.to_owned()))
    }
}

/// Definitions that are the type of exactly one kind; `DeleteOptions` and `WatchEvent` belong to all groups.
fn definitions_by_kind(schemas: &Schemas) -> BTreeMap<(String, String, String), String> {
    let mut out = BTreeMap::new();
    for (name, schema) in schemas {
        let Some([gvk]) =
            schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array).map(Vec::as_slice)
        else {
            continue;
        };
        let part = |key: &str| gvk.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        out.insert((part("group"), part("version"), part("kind")), name.clone());
    }
    out
}

fn list<'v>(value: &'v Value, key: &str) -> Result<&'v Vec<Value>> {
    value.get(key).and_then(Value::as_array).with_context(|| format!("no list {key:?}"))
}

fn text<'v>(value: &'v Value, key: &str) -> Result<&'v str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("no text {key:?}"))
}
