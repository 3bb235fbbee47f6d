//! The words for a value that doesn't decode into a built-in kind.

use fleet_json::path::Segment;
use fleet_json::shape::Shape;
use serde_json::Value;

use super::{FieldError, type_name};
use crate::kind::KindInfo;
use crate::schema::{SchemaRef, SchemaType};

/// What a server answers (400) when a field of a built-in kind has the wrong type, for a finding of kind
/// [`TypeInvalid`](super::ErrorKind::TypeInvalid) in `object`:
///
/// `Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct
/// field DeploymentSpec.spec.replicas of type int32`
pub fn decode_message(kind: &KindInfo, object: &Value, error: &FieldError) -> String {
    let name = &kind.gvk.kind;
    let mut at = kind.schema();
    let mut value = Some(object);
    let mut owner = name.clone();
    let mut fields = Vec::new();
    for segment in error.path.segments() {
        let from = at;
        match segment {
            Segment::Field(field) => {
                if let Some(definition) = from.and_then(short_name) {
                    owner = definition;
                }
                fields.push(field.as_str());
                at = from.and_then(|schema| schema.field(field));
                value = value.and_then(|value| value.get(field));
            }
            Segment::Index(index) => {
                at = from.and_then(SchemaRef::item);
                value = value.and_then(|value| value.get(*index));
            }
            _ => at = None,
        }
    }
    let found = match value.map_or("null", type_name) {
        "integer" => "number",
        "boolean" => "bool",
        other => other,
    };
    let wanted = at.map_or_else(|| "unknown".to_owned(), go_type);
    let path = fields.join(".");
    format!(
        "{name} in version \"{}\" cannot be handled as a {name}: json: cannot unmarshal {found} into Go struct \
         field {owner}.{path} of type {wanted}",
        kind.gvk.version
    )
}

/// `DeploymentSpec` of `io.k8s.api.apps.v1.DeploymentSpec`.
fn short_name(schema: SchemaRef<'_>) -> Option<String> {
    let id = schema.site().reference?;
    let name = schema.definitions().name(id)?;
    Some(name.rsplit('.').next().unwrap_or(name).to_owned())
}

fn go_type(schema: SchemaRef<'_>) -> String {
    if let Some(id) = schema.site().reference
        && let Some(name) = schema.definitions().name(id)
    {
        let mut parts = name.rsplit('.');
        let (kind, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        return format!("{package}.{kind}");
    }
    let node = schema.node();
    match node.ty {
        SchemaType::Integer => node.format.as_deref().unwrap_or("int64").to_owned(),
        SchemaType::Number => "float64".to_owned(),
        SchemaType::Boolean => "bool".to_owned(),
        SchemaType::String if node.format.as_deref() == Some("byte") => "[]uint8".to_owned(),
        SchemaType::String => "string".to_owned(),
        SchemaType::Array => {
            format!("[]{}", schema.item().map_or_else(|| "interface {}".to_owned(), go_type))
        }
        SchemaType::Object => {
            let entry = schema.additional().map_or_else(|| "interface {}".to_owned(), go_type);
            format!("map[string]{entry}")
        }
        SchemaType::Any => "interface {}".to_owned(),
    }
}
