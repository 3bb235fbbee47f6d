//! The walk over value and schema.

use fleet_json::path::{FieldPath, Segment};
use serde_json::{Map, Value, json};

use super::compare::equal;
use super::{Context, ErrorKind, FieldError, MAX_VALUE_DEPTH, Mode, embedded, lists, scalar, type_name};
use crate::schema::{Additional, Schema, SchemaRef, SchemaType};

/// More findings help nobody, and a hostile value could make millions.
const MAX_ERRORS: usize = 100;

pub(super) fn check(schema: SchemaRef<'_>, value: &Value, context: Context<'_>) -> Vec<FieldError> {
    let mut walk = Walk { path: FieldPath::default(), errors: Vec::new() };
    walk.node(schema, value, context.mode, context.old);
    walk.errors
}

pub(super) struct Walk {
    pub(super) path: FieldPath,
    pub(super) errors: Vec<FieldError>,
}

impl Walk {
    pub(super) fn report(&mut self, error: FieldError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    pub(super) fn child(&self, name: &str) -> FieldPath {
        self.path.child(name)
    }

    /// An error in the words `<path> in body <rest>`.
    pub(super) fn in_body(&mut self, kind: ErrorKind, value: Value, rest: &str) {
        let at = super::place(&self.path);
        let at = if self.path.is_empty() { "" } else { at.as_str() };
        let message = format!("{at} in body {rest}").trim_start().to_owned();
        self.report(FieldError::with_value(kind, self.path.clone(), value, message));
    }

    pub(super) fn below(
        &mut self,
        step: impl Into<Segment>,
        schema: SchemaRef<'_>,
        value: &Value,
        mode: Mode,
        old: Option<&Value>,
    ) {
        self.path.push(step);
        self.node(schema, value, mode, old);
        self.path.pop();
    }

    fn node(&mut self, schema: SchemaRef<'_>, value: &Value, mode: Mode, old: Option<&Value>) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        if self.path.len() > MAX_VALUE_DEPTH {
            let message = format!("nested deeper than {MAX_VALUE_DEPTH} levels");
            self.report(FieldError::new(ErrorKind::Invalid, self.path.clone(), message));
            return;
        }
        if old.is_some_and(|old| equal(old, value)) {
            return;
        }
        let mode = if schema.is_reference() { Mode::BuiltIn } else { mode };
        if value.is_null() && (mode == Mode::BuiltIn || schema.nullable()) {
            return;
        }
        if !self.has_type(schema.node(), value) {
            return;
        }
        scalar::check(self, schema.node(), value, mode);
        if schema.node().quantity {
            scalar::quantity(self, value);
        }
        if schema.is_reference() {
            self.composites(schema, schema.site(), value, mode);
        }
        self.composites(schema, schema.node(), value, mode);
        match value {
            Value::Object(map) => self.object(schema, map, mode, old),
            Value::Array(items) => self.array(schema, items, mode, old),
            _ => {}
        }
    }

    fn has_type(&mut self, node: &Schema, value: &Value) -> bool {
        if node.int_or_string {
            if scalar::is_integer(value) || value.is_string() {
                return true;
            }
            let rest = format!("must be of type integer,string: {:?}", type_name(value));
            self.in_body(ErrorKind::TypeInvalid, json!(type_name(value)), &rest);
            return false;
        }
        let fits = match node.ty {
            SchemaType::Any => !value.is_null() || !constrains(node),
            SchemaType::Object => value.is_object(),
            SchemaType::Array => value.is_array(),
            SchemaType::String => value.is_string(),
            SchemaType::Integer => scalar::is_integer(value),
            SchemaType::Number => value.is_number(),
            SchemaType::Boolean => value.is_boolean(),
        };
        if !fits {
            let found = type_name(value);
            let rest = format!("must be of type {}: {found:?}", node.ty.name());
            self.in_body(ErrorKind::TypeInvalid, json!(found), &rest);
        }
        fits
    }

    fn composites(&mut self, schema: SchemaRef<'_>, node: &Schema, value: &Value, mode: Mode) {
        let Some(extras) = &node.rare else { return };
        let fits = |this: &Walk, part: &Schema| {
            let mut trial = Walk { path: this.path.clone(), errors: Vec::new() };
            trial.node(schema.at(part), value, mode, None);
            trial.errors
        };
        let name = super::error::quoted(&super::place(&self.path));
        let mut broken = Vec::new();
        for part in &extras.all_of {
            let errors = fits(self, part);
            if !errors.is_empty() {
                errors.into_iter().for_each(|error| self.report(error));
                broken.push("must validate all the schemas (allOf)");
            }
        }
        broken.truncate(1);
        if !extras.any_of.is_empty() && !extras.any_of.iter().any(|part| fits(self, part).is_empty()) {
            broken.push("must validate at least one schema (anyOf)");
        }
        if !extras.one_of.is_empty() {
            let count = extras.one_of.iter().filter(|part| fits(self, part).is_empty()).count();
            let how = match count {
                0 => Some("Found none valid".to_owned()),
                1 => None,
                more => Some(format!("Found {more} valid alternatives")),
            };
            if let Some(how) = how {
                let message = format!("{name} must validate one and only one schema (oneOf). {how}");
                self.report(FieldError::invalid(self.path.clone(), json!(""), message));
            }
        }
        if extras.not.as_ref().is_some_and(|part| fits(self, part).is_empty()) {
            broken.push("must not validate the schema (not)");
        }
        for words in broken {
            let message = format!("{name} {words}");
            self.report(FieldError::invalid(self.path.clone(), json!(""), message));
        }
    }

    fn object(&mut self, schema: SchemaRef<'_>, map: &Map<String, Value>, mode: Mode, old: Option<&Value>) {
        let node = schema.node();
        for name in &node.required {
            let absent = match map.get(name.as_ref()) {
                None => true,
                Some(Value::Null) => mode == Mode::BuiltIn,
                Some(_) => false,
            };
            let filled = || {
                mode == Mode::BuiltIn && schema.property(name).is_some_and(|field| field.default().is_some())
            };
            if absent && !filled() {
                let path = self.child(name);
                self.report(FieldError::required(path, ""));
            }
        }
        if node.embedded_resource {
            embedded::check(self, map);
        }
        for (name, value) in map {
            let before = old.and_then(|old| old.get(name));
            if let Some(field) = schema.property(name) {
                self.below(name.as_str(), field, value, mode, before);
            } else if let Some(field) = schema.additional() {
                self.below(name.as_str(), field, value, mode, before);
            } else if node.additional == Additional::Forbidden {
                let message = format!("{} in body is a forbidden property", super::place(&self.child(name)));
                let path = self.child(name);
                self.report(FieldError::forbidden(path, message));
            }
        }
    }

    fn array(&mut self, schema: SchemaRef<'_>, items: &[Value], mode: Mode, old: Option<&Value>) {
        // Built-in kinds take duplicates in most lists (ports, env), whatever their schema says.
        if mode == Mode::Custom {
            lists::check(self, schema, items);
        }
        let Some(item) = schema.item() else { return };
        let before = lists::Correlation::new(schema, old);
        for (at, value) in items.iter().enumerate() {
            self.below(at, item, value, mode, before.of(schema, value));
        }
    }
}

/// Whether a typeless node says anything that `null` could break.
fn constrains(node: &Schema) -> bool {
    !node.preserve_unknown_fields && (!node.properties.is_empty() || node.items.is_some())
}
