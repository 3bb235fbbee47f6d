//! Rows of the registry from a definition.

use fleet_json::path::FieldPath;
use serde_json::{Value, json};

use super::{CustomKinds, by_preference, flag, structural, text, texts, version_rows};
use crate::builtin::builtin;
use crate::jsonpath::JsonPath;
use crate::kind::{Column, GroupVersionKind, KindInfo, KindSchema, ScalePaths, Subresource};
use crate::schema::{Additional, Schema, SchemaType};
use crate::validate::FieldError;

const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];
const MAX_SELECTABLE: usize = 8;

pub(super) fn kinds(definition: &Value, errors: &mut Vec<FieldError>) -> CustomKinds {
    let mut out = CustomKinds {
        name: text(definition, "/metadata/name").to_owned(),
        group: text(definition, "/spec/group").to_owned(),
        plural: text(definition, "/spec/names/plural").to_owned(),
        kinds: Vec::new(),
        storage_version: String::new(),
        webhook_conversion: text(definition, "/spec/conversion/strategy") == "Webhook",
    };
    for (at, version) in version_rows(definition) {
        let path = FieldPath::of_fields(["spec", "versions"]).child(at);
        let kind = kind(definition, version, &path, errors);
        if kind.storage {
            out.storage_version.clone_from(&kind.gvk.version);
        }
        if flag(version, "served") {
            out.kinds.push(kind);
        }
    }
    out.kinds.sort_by(by_preference);
    out
}

fn kind(definition: &Value, version: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) -> KindInfo {
    let names = |key: &str| text(definition, &format!("/spec/names/{key}")).to_owned();
    let gvk = GroupVersionKind::new(text(definition, "/spec/group"), text(version, "/name"), names("kind"));
    let schema = schema(version, &path.child("schema").child("openAPIV3Schema"), errors);
    let scale = scale(version, &path.child("subresources").child("scale"), errors);
    let selectable_fields = selectable(version, &schema, &path.child("selectableFields"), errors);
    let deprecation = flag(version, "deprecated").then(|| {
        let warning = text(version, "/deprecationWarning");
        if warning.is_empty() {
            format!("{} {} is deprecated", gvk.api_version(), gvk.kind)
        } else {
            warning.to_owned()
        }
    });
    KindInfo {
        plural: names("plural"),
        singular: names("singular"),
        list_kind: names("listKind"),
        short_names: texts(definition, "/spec/names/shortNames"),
        categories: texts(definition, "/spec/names/categories"),
        namespaced: text(definition, "/spec/scope") == "Namespaced",
        verbs: VERBS.map(str::to_owned).to_vec(),
        subresources: subresources(version, &gvk, scale.is_some()),
        columns: columns(version, &path.child("additionalPrinterColumns"), errors),
        schema: KindSchema::Own(Box::new(served_schema(schema))),
        custom: true,
        storage: flag(version, "storage"),
        deprecation,
        scale,
        selectable_fields,
        gvk,
    }
}

fn schema(version: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) -> Schema {
    let Some(value) = version.pointer("/schema/openAPIV3Schema").filter(|value| !value.is_null()) else {
        errors.push(FieldError::required(path.clone(), "schemas are required"));
        return Schema::default();
    };
    // Nothing in a custom schema may refer to a definition, so every `$ref` is unknown here.
    match crate::schema::parse_schema(value, &|_| None) {
        Ok(schema) => {
            structural::check(&schema, path, errors);
            schema
        }
        Err(error) => {
            let message = format!("{}: {}", error.path, error.problem);
            errors.push(FieldError::invalid(path.clone(), json!(""), message));
            Schema::default()
        }
    }
}

/// Adds what every object has, here and in embedded objects.
fn served_schema(mut schema: Schema) -> Schema {
    fn embedded(schema: &mut Schema) {
        for (_, field) in &mut schema.properties {
            embedded(field);
        }
        if let Some(items) = &mut schema.items {
            embedded(items);
        }
        if let Additional::Schema(entry) = &mut schema.additional {
            embedded(entry);
        }
        if schema.embedded_resource {
            add_object_fields(schema);
        }
    }
    embedded(&mut schema);
    if !schema.embedded_resource {
        add_object_fields(&mut schema);
    }
    schema
}

fn add_object_fields(schema: &mut Schema) {
    for name in ["apiVersion", "kind"] {
        if schema.property(name).is_none() {
            schema.set_property(name, Schema::of_type(SchemaType::String));
        }
    }
    let Some(id) = builtin().object_meta() else { return };
    let mut metadata = Schema::reference_to(id);
    if let Some(own) = schema.property("metadata")
        && !own.properties.is_empty()
    {
        let narrowed =
            Schema { ty: SchemaType::Object, properties: own.properties.clone(), ..Schema::default() };
        metadata.extras_mut().all_of.push(narrowed);
    }
    schema.set_property("metadata", metadata);
}

fn subresources(version: &Value, gvk: &GroupVersionKind, scaled: bool) -> Vec<Subresource> {
    let mut out = Vec::new();
    let verbs = || SUBRESOURCE_VERBS.map(str::to_owned).to_vec();
    if scaled {
        out.push(Subresource {
            name: "scale".to_owned(),
            kind: GroupVersionKind::new("autoscaling", "v1", "Scale"),
            verbs: verbs(),
            schema: builtin().definitions.id("io.k8s.api.autoscaling.v1.Scale"),
        });
    }
    if version.pointer("/subresources/status").is_some_and(Value::is_object) {
        out.push(Subresource { name: "status".to_owned(), kind: gvk.clone(), verbs: verbs(), schema: None });
    }
    out
}

fn scale(version: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) -> Option<ScalePaths> {
    let scale = version.pointer("/subresources/scale").filter(|scale| !scale.is_null())?;
    for (field, roots, required) in [
        ("specReplicasPath", &[".spec."][..], true),
        ("statusReplicasPath", &[".status."][..], true),
        ("labelSelectorPath", &[".spec.", ".status."][..], false),
    ] {
        let value = scale.get(field).and_then(Value::as_str).unwrap_or_default();
        let path = path.child(field);
        if value.is_empty() {
            if required {
                errors.push(FieldError::required(path, ""));
            }
            continue;
        }
        let plain = JsonPath::compile(value).is_ok_and(|path| path.plain_fields().is_some());
        if !plain {
            errors.push(FieldError::invalid(
                path,
                json!(value),
                "should be a valid json path of field names",
            ));
        } else if !roots.iter().any(|root| value.starts_with(root)) {
            let allowed: Vec<&str> = roots.iter().map(|root| root.trim_end_matches('.')).collect();
            let message = format!("should be a json path under {}", allowed.join(" or "));
            errors.push(FieldError::invalid(path, json!(value), message));
        }
    }
    let selector = text(scale, "/labelSelectorPath");
    Some(ScalePaths {
        spec_replicas: text(scale, "/specReplicasPath").to_owned(),
        status_replicas: text(scale, "/statusReplicasPath").to_owned(),
        label_selector: (!selector.is_empty()).then(|| selector.to_owned()),
    })
}

fn columns(version: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) -> Vec<Column> {
    let column = |name: &str, column_type: &str, format: &str, path: &str| Column {
        name: name.to_owned(),
        column_type: column_type.to_owned(),
        format: format.to_owned(),
        path: JsonPath::compile(path).ok(),
        ..Column::default()
    };
    let mut out = vec![column("Name", "string", "name", ".metadata.name")];
    let rows = version.get("additionalPrinterColumns").and_then(Value::as_array);
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        out.push(column("Age", "date", "", ".metadata.creationTimestamp"));
    }
    for (at, row) in rows.iter().enumerate() {
        let path = path.child(at);
        for field in ["name", "type", "jsonPath"] {
            if text(row, &format!("/{field}")).is_empty() {
                errors.push(FieldError::required(path.child(field), ""));
            }
        }
        let types = ["boolean", "date", "integer", "number", "string"];
        let formats = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
        for (field, allowed) in [("type", &types[..]), ("format", &formats[..])] {
            let word = text(row, &format!("/{field}"));
            if !word.is_empty() && !allowed.contains(&word) {
                errors.push(FieldError::not_supported(path.child(field), json!(word), allowed));
            }
        }
        let source = text(row, "/jsonPath");
        match JsonPath::compile(source) {
            Ok(compiled) => out.push(Column {
                name: text(row, "/name").to_owned(),
                column_type: text(row, "/type").to_owned(),
                format: text(row, "/format").to_owned(),
                priority: row
                    .get("priority")
                    .and_then(Value::as_i64)
                    .map_or(0, |p| i32::try_from(p).unwrap_or(1)),
                description: text(row, "/description").to_owned(),
                path: Some(compiled),
            }),
            Err(error) => {
                errors.push(FieldError::invalid(path.child("jsonPath"), json!(source), error.to_string()));
            }
        }
    }
    out
}

fn selectable(
    version: &Value,
    schema: &Schema,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) -> Vec<JsonPath> {
    let rows = version.get("selectableFields").and_then(Value::as_array);
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    if rows.len() > MAX_SELECTABLE {
        let message = format!("must have at most {MAX_SELECTABLE} items");
        let kind = crate::validate::ErrorKind::TooMany;
        errors.push(FieldError::with_value(kind, path.clone(), json!(rows.len()), message));
    }
    let mut out: Vec<JsonPath> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let path = path.child(at).child("jsonPath");
        let source = text(row, "/jsonPath");
        let compiled = JsonPath::compile(source).ok();
        let fields = compiled.as_ref().and_then(JsonPath::plain_fields);
        let (Some(compiled), Some(fields)) = (compiled, fields) else {
            errors.push(FieldError::invalid(path, json!(source), "is an invalid path"));
            continue;
        };
        let mut node = Some(schema);
        for field in &fields {
            node = node.and_then(|node| node.property(field));
        }
        let scalar =
            |node: &Schema| matches!(node.ty, SchemaType::String | SchemaType::Boolean | SchemaType::Integer);
        if !node.is_some_and(scalar) {
            let message = "must refer to a field of type string, boolean or integer in the schema";
            errors.push(FieldError::invalid(path, json!(source), message));
        } else if out.contains(&compiled) {
            errors.push(FieldError::with_value(
                crate::validate::ErrorKind::Duplicate,
                path,
                json!(source),
                "",
            ));
        } else {
            out.push(compiled);
        }
    }
    out
}
