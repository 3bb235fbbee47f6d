//! Writes what clusters answered, as kubectl would.

use fleet_schema::JsonPath;
use serde_json::{Value, json};

use crate::args::Output;
use crate::exit::Outcome;
use crate::table::Table;
use crate::version::write;

use super::fetch::{Answer, Found, rows};
use super::request::{Format, Request};

/// Writes one cluster's answer.
pub(super) struct Printer<'a> {
    pub(super) request: &'a Request,
}

impl Printer<'_> {
    pub(super) fn print(&self, answer: &Answer) -> Outcome<String> {
        match &self.request.format {
            Format::Table { wide } => Ok(self.tables(answer, *wide)),
            Format::Name => {
                let name = |found: &Found, object: &Value| {
                    format!("{}/{}\n", found.type_.prefix(), text(object, "/metadata/name"))
                };
                Ok(answer
                    .found
                    .iter()
                    .flat_map(|found| found.parts.iter().map(move |object| name(found, object)))
                    .collect())
            }
            Format::Json | Format::Yaml => {
                let all: Vec<Value> = answer.clone().into_objects().collect();
                if all.is_empty() && !answer.missing.is_empty() {
                    Ok(String::new())
                } else {
                    objects(self.request, all)
                }
            }
            Format::Columns(columns) => {
                let objects = answer.clone().into_objects();
                let rows: Vec<Vec<String>> = objects.map(|object| own_columns(columns, &object)).collect();
                if rows.is_empty() {
                    return Ok(String::new());
                }
                let headings = columns.iter().map(|(heading, _)| heading.as_str());
                let mut table = if self.request.no_headers { Table::bare() } else { Table::new(headings) };
                rows.into_iter().for_each(|row| table.row(row));
                Ok(table.to_string())
            }
            Format::JsonPath(template) => {
                let all: Vec<Value> = answer.clone().into_objects().collect();
                match whole(self.request, all) {
                    Some(value) => Ok(template.fill(&value)),
                    None => Ok(String::new()),
                }
            }
        }
    }

    fn tables(&self, answer: &Answer, wide: bool) -> String {
        let shown: Vec<&Found> = answer.found.iter().filter(|found| !all_rows(found).is_empty()).collect();
        let with_type = self.request.wanted.len() > 1 || answer.found.len() > 1;
        let tables = shown.iter().map(|found| self.table(found, wide, with_type).to_string());
        tables.collect::<Vec<_>>().join("\n")
    }

    fn table(&self, found: &Found, wide: bool, with_type: bool) -> Table {
        let with_namespace = self.request.all_namespaces && found.type_.namespaced;
        let columns = columns(found, wide);
        let mut headings: Vec<String> = Vec::new();
        headings.extend(with_namespace.then(|| "NAMESPACE".to_owned()));
        headings.extend(columns.iter().map(|(_, name)| name.to_uppercase()));
        headings.extend(self.request.show_labels.then(|| "LABELS".to_owned()));
        let mut table = if self.request.no_headers { Table::bare() } else { Table::new(headings) };
        for row in all_rows(found) {
            let object = row.get("object").unwrap_or(row);
            let mut cells: Vec<String> = Vec::new();
            if with_namespace {
                cells.push(text(object, "/metadata/namespace").to_owned());
            }
            for (position, (index, _)) in columns.iter().enumerate() {
                let cell = match index {
                    Some(index) => {
                        row.pointer(&format!("/cells/{index}")).map_or_else(|| "<none>".to_owned(), cell)
                    }
                    None => text(object, "/metadata/name").to_owned(),
                };
                cells.push(if position == 0 && with_type {
                    format!("{}/{cell}", found.type_.prefix())
                } else {
                    cell
                });
            }
            if self.request.show_labels {
                cells.push(labels(object));
            }
            table.row(cells);
        }
        table
    }
}

/// The cells of columns of one's own: several values stand with commas between, none as `<none>`.
fn own_columns(columns: &[(String, JsonPath)], object: &Value) -> Vec<String> {
    let of = |path: &JsonPath| {
        let found: Vec<String> = path.find(object).into_iter().map(cell).collect();
        if found.is_empty() { "<none>".to_owned() } else { found.join(",") }
    };
    columns.iter().map(|(_, path)| of(path)).collect()
}

/// `No resources found in demo namespace`, without a stop.
pub(super) fn none_found(answer: &Answer, request: &Request, namespace: &str) -> String {
    let namespaced = answer.found.is_empty() || answer.found.iter().any(|found| found.type_.namespaced);
    if namespaced && !request.all_namespaces {
        format!("No resources found in {namespace} namespace")
    } else {
        "No resources found".to_owned()
    }
}

/// One object alone, several or none as a List.
pub(super) fn objects(request: &Request, all: Vec<Value>) -> Outcome<String> {
    let format = match request.format {
        Format::Yaml => Output::Yaml,
        _ => Output::Json,
    };
    match whole(request, all) {
        Some(value) => write(format, &value),
        None => write(format, &list(Vec::new())),
    }
}

fn whole(request: &Request, mut all: Vec<Value>) -> Option<Value> {
    for object in &mut all {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    match (request.single, all.len()) {
        (true, 0) => None,
        (true, 1) => all.pop(),
        _ => Some(list(all)),
    }
}

fn list(items: Vec<Value>) -> Value {
    json!({ "apiVersion": "v1", "items": items, "kind": "List", "metadata": { "resourceVersion": "" } })
}

fn all_rows(found: &Found) -> Vec<&Value> {
    found.parts.iter().filter_map(rows).flatten().collect()
}

/// The columns to show: their place among the cells, and their name. A server that makes no tables has names only.
fn columns(found: &Found, wide: bool) -> Vec<(Option<usize>, String)> {
    let defined = found.parts.iter().find_map(|part| part.get("columnDefinitions").and_then(Value::as_array));
    let Some(defined) = defined else { return vec![(None, "Name".to_owned())] };
    let shown = defined.iter().enumerate().filter(|(_, column)| {
        wide || column.get("priority").and_then(Value::as_i64).unwrap_or_default() == 0
    });
    shown.map(|(index, column)| (Some(index), text(column, "/name").to_owned())).collect()
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // What an object says must not move the cursor or break the table.
    match text.find(['\n', '\r']) {
        Some(end) => format!("{}...", clean(text.get(..end).unwrap_or_default())),
        None => clean(&text),
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn labels(object: &Value) -> String {
    let map = object.pointer("/metadata/labels").and_then(Value::as_object);
    let mut all: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    all.sort();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
