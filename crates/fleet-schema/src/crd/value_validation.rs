//! What may stand inside `allOf`, `anyOf`, `oneOf` and `not` of a structural schema.

use fleet_json::path::{FieldPath, Segment};
use serde_json::json;

use crate::schema::{Additional, Schema, SchemaType};
use crate::validate::{FieldError, place};

/// Checks the junctors of one node; nodes below are checked on their own.
pub(super) fn check(schema: &Schema, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for (part, at) in junctors(schema, path) {
        inside(part, schema, &at, path, schema.int_or_string, errors);
    }
}

fn junctors<'s>(schema: &'s Schema, path: &FieldPath) -> Vec<(&'s Schema, FieldPath)> {
    let extras = schema.extras();
    let mut out = Vec::new();
    for (keyword, parts) in [("allOf", &extras.all_of), ("anyOf", &extras.any_of), ("oneOf", &extras.one_of)]
    {
        for (at, part) in parts.iter().enumerate() {
            out.push((part, path.child(keyword).child(at)));
        }
    }
    if let Some(part) = &extras.not {
        out.push((part.as_ref(), path.child("not")));
    }
    out
}

/// `part` narrows `outer`: it declares nothing of its own, and names only fields that `outer` declares.
/// `scalar_types` allows `type: integer` and `type: string`, the idiom of int-or-string.
fn inside(
    part: &Schema,
    outer: &Schema,
    at: &FieldPath,
    outer_path: &FieldPath,
    scalar_types: bool,
    errors: &mut Vec<FieldError>,
) {
    let idiom = scalar_types && matches!(part.ty, SchemaType::Integer | SchemaType::String);
    let extras = part.extras();
    for (keyword, set) in [
        ("type", part.ty != SchemaType::Any && !idiom),
        ("default", part.default.is_some()),
        ("nullable", part.nullable),
        ("additionalProperties", part.additional != Additional::Unset),
        ("description", extras.description.is_some()),
        ("title", extras.title.is_some()),
        ("x-kubernetes-int-or-string", part.int_or_string),
        ("x-kubernetes-embedded-resource", part.embedded_resource),
        ("x-kubernetes-preserve-unknown-fields", part.preserve_unknown_fields),
    ] {
        if set {
            let message = "must be empty to be structural";
            errors.push(FieldError::forbidden(at.child(keyword), message));
        }
    }
    let because = |at: &FieldPath| format!("because it is defined in {}", place(at));
    for (name, field) in &part.properties {
        let at = at.child("properties").child(Segment::Element(json!(name)));
        let outer_path = outer_path.child("properties").child(Segment::Element(json!(name)));
        match (outer.property(name), &outer.additional) {
            (Some(declared), _) => inside(field, declared, &at, &outer_path, declared.int_or_string, errors),
            (None, Additional::Schema(entry)) => {
                inside(field, entry, &at, &outer_path, entry.int_or_string, errors);
            }
            (None, _) => errors.push(FieldError::required(outer_path, because(&at))),
        }
    }
    if let Some(items) = &part.items {
        let at = at.child("items");
        let outer_path = outer_path.child("items");
        match &outer.items {
            Some(declared) => inside(items, declared, &at, &outer_path, declared.int_or_string, errors),
            None => errors.push(FieldError::required(outer_path, because(&at))),
        }
    }
    for (deeper, at) in junctors(part, at) {
        inside(deeper, outer, &at, outer_path, scalar_types, errors);
    }
}
