//! The rules of structural schemas.
//!
//! A node's type is known at every place, unknown keywords have no meaning, and `allOf`, `anyOf`, `oneOf`,
//! `not` only narrow what is declared outside of them. See "Specifying a structural schema" in the
//! Kubernetes documentation.

use fleet_json::path::{FieldPath, Segment};
use fleet_json::shape::ListType;
use serde_json::{Value, json};

use super::value_validation;
use crate::builtin::builtin;
use crate::schema::{Additional, Schema, SchemaRef, SchemaType};
use crate::validate::{Context, ErrorKind, FieldError, validate};

/// More than this says nothing new.
const MAX_ERRORS: usize = 64;

/// Checks the schema of a custom kind's version.
pub(super) fn check(schema: &Schema, path: &FieldPath, errors: &mut Vec<FieldError>) {
    match schema.ty {
        SchemaType::Object => {}
        SchemaType::Any => {
            errors.push(FieldError::required(path.child("type"), "must not be empty at the root"));
        }
        other => {
            let error =
                FieldError::invalid(path.child("type"), json!(other.name()), "must be object at the root");
            errors.push(error);
        }
    }
    let mut checker = Checker { errors, path: path.clone() };
    checker.node(schema, Place::Root);
    if let Some(metadata) = schema.property("metadata") {
        checker.metadata(metadata);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Field,
    Item,
}

struct Checker<'e> {
    errors: &'e mut Vec<FieldError>,
    path: FieldPath,
}

impl Checker<'_> {
    fn report(&mut self, kind: ErrorKind, keyword: &str, value: Option<Value>, message: &str) {
        if self.errors.len() < MAX_ERRORS {
            let path = self.path.child(keyword);
            self.errors.push(FieldError { path, kind, message: message.to_owned(), value });
        }
    }

    fn below(&mut self, steps: &[Segment], schema: &Schema, place: Place) {
        for step in steps {
            self.path.push(step.clone());
        }
        self.node(schema, place);
        for _ in steps {
            self.path.pop();
        }
    }

    fn node(&mut self, schema: &Schema, place: Place) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        self.types(schema, place);
        self.forbidden(schema);
        self.lists(schema);
        self.default(schema);
        let extras = schema.extras();
        if let Some(pattern) = &extras.pattern
            && !pattern.is_valid()
        {
            let message = "must be a valid regular expression (RE2 syntax), but isn't";
            self.report(ErrorKind::Invalid, "pattern", Some(json!(pattern.source())), message);
        }
        for (at, rule) in extras.validations.iter().enumerate() {
            if rule.rule.trim().is_empty() {
                let path = self.path.child("x-kubernetes-validations").child(at).child("rule");
                self.errors.push(FieldError::required(path, "rule is not specified"));
            }
        }
        value_validation::check(schema, &self.path, self.errors);
        for (name, field) in &schema.properties {
            let steps = ["properties".into(), Segment::Element(json!(name))];
            self.below(&steps, field, Place::Field);
        }
        if let Additional::Schema(entry) = &schema.additional {
            self.below(&["additionalProperties".into()], entry, Place::Field);
        }
        if let Some(items) = &schema.items {
            self.below(&["items".into()], items, Place::Item);
        }
    }

    fn types(&mut self, schema: &Schema, place: Place) {
        if schema.ty == SchemaType::Any && !schema.int_or_string && !schema.preserve_unknown_fields {
            let message = match place {
                Place::Root => return,
                Place::Field => "must not be empty for specified object fields",
                Place::Item => "must not be empty for specified array items",
            };
            self.report(ErrorKind::Required, "type", None, message);
        }
        if schema.int_or_string && schema.ty != SchemaType::Any {
            let message = "must be empty if x-kubernetes-int-or-string is true";
            self.report(ErrorKind::Invalid, "type", Some(json!(schema.ty.name())), message);
        }
        if schema.preserve_unknown_fields && !matches!(schema.ty, SchemaType::Any | SchemaType::Object) {
            let message = "must be object if x-kubernetes-preserve-unknown-fields is true";
            self.report(ErrorKind::Invalid, "type", Some(json!(schema.ty.name())), message);
        }
        if schema.embedded_resource {
            if schema.ty != SchemaType::Object {
                let message = "must be object if x-kubernetes-embedded-resource is true";
                self.report(ErrorKind::Invalid, "type", Some(json!(schema.ty.name())), message);
            }
            if schema.properties.is_empty() && !schema.preserve_unknown_fields {
                let message = "must not be empty if x-kubernetes-embedded-resource is true without \
                               x-kubernetes-preserve-unknown-fields";
                self.report(ErrorKind::Required, "properties", None, message);
            }
        }
        if schema.ty == SchemaType::Array && schema.items.is_none() {
            self.report(ErrorKind::Required, "items", None, "must be specified");
        }
        if !schema.properties.is_empty()
            && matches!(schema.additional, Additional::Schema(_) | Additional::Any)
        {
            let message = "additionalProperties and properties are mutual exclusive";
            self.report(ErrorKind::Forbidden, "additionalProperties", None, message);
        }
        if schema.additional == Additional::Forbidden {
            let message = "additionalProperties cannot be set to false";
            self.report(ErrorKind::Forbidden, "additionalProperties", None, message);
        }
    }

    fn forbidden(&mut self, schema: &Schema) {
        if schema.unique_items {
            let message = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.report(ErrorKind::Forbidden, "uniqueItems", None, message);
        }
        for keyword in
            ["definitions", "dependencies", "patternProperties", "additionalItems", "id", "$schema"]
        {
            if schema.extras().other.contains_key(keyword) {
                self.report(ErrorKind::Forbidden, keyword, None, &format!("{keyword} is not supported"));
            }
        }
    }

    fn lists(&mut self, schema: &Schema) {
        const LIST: &str = "x-kubernetes-list-type";
        const KEYS: &str = "x-kubernetes-list-map-keys";
        if schema.list_type.is_some() && schema.ty != SchemaType::Array {
            let message = format!("must be array if {LIST} is specified");
            let shown = Some(json!(schema.ty.name()));
            self.report(ErrorKind::Invalid, "type", shown, &message);
        }
        if schema.map_type.is_some() && schema.ty != SchemaType::Object {
            let shown = Some(json!(schema.ty.name()));
            self.report(
                ErrorKind::Invalid,
                "type",
                shown,
                "must be object if x-kubernetes-map-type is specified",
            );
        }
        if schema.list_type != Some(ListType::Map) {
            if !schema.list_map_keys.is_empty() {
                let message = format!("must be empty if {LIST} is not map");
                self.report(ErrorKind::Forbidden, KEYS, None, &message);
            }
            return;
        }
        if schema.list_map_keys.is_empty() {
            let message = format!("must not be empty if {LIST} is map");
            self.report(ErrorKind::Required, KEYS, None, &message);
        }
        let Some(items) = &schema.items else { return };
        if items.ty != SchemaType::Object {
            let message = format!("must be object if {LIST} is map");
            self.path.push("items");
            self.report(ErrorKind::Invalid, "type", Some(json!(items.ty.name())), &message);
            self.path.pop();
        }
        for key in &schema.list_map_keys {
            match items.property(key) {
                None => {
                    let message = "entries must all be names of item properties";
                    self.report(ErrorKind::Invalid, KEYS, Some(json!(key)), message);
                }
                Some(field) if matches!(field.ty, SchemaType::Object | SchemaType::Array) => {
                    let message = "must be a scalar field";
                    self.report(ErrorKind::Invalid, KEYS, Some(json!(key)), message);
                }
                Some(field) if field.default.is_none() && !items.is_required(key) => {
                    self.path.push("items");
                    self.path.push("properties");
                    self.path.push(Segment::Element(json!(key)));
                    let message = format!(
                        "this property is in {KEYS}, so it must have a default or be a required property"
                    );
                    self.report(ErrorKind::Required, "default", None, &message);
                    for _ in 0..3 {
                        self.path.pop();
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn default(&mut self, schema: &Schema) {
        let Some(default) = &schema.default else { return };
        let view = SchemaRef::new(&builtin().definitions, schema);
        for unknown in crate::unknown_fields(view, default) {
            let path = self.path.child("default").join(&unknown);
            self.errors.push(FieldError::invalid(path, json!(""), "unknown field, would be pruned"));
        }
        for error in validate(view, default, Context::default()) {
            let path = self.path.child("default").join(&error.path);
            self.errors.push(FieldError { path, ..error });
        }
    }

    /// Metadata is everybody's; a custom kind may only narrow the names.
    fn metadata(&mut self, metadata: &Schema) {
        let fits =
            metadata.properties.iter().all(|(name, _)| matches!(name.as_ref(), "name" | "generateName"))
                && metadata.required.is_empty()
                && metadata.default.is_none()
                && metadata.additional == Additional::Unset;
        if !fits {
            self.path.push("properties");
            let path = self.path.child(Segment::Element(json!("metadata")));
            self.path.pop();
            let message = "must not specify anything other than name and generateName, but metadata is \
                           implicitly specified";
            self.errors.push(FieldError::forbidden(path, message));
        }
    }
}
