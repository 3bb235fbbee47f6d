//! Custom kinds: from a `CustomResourceDefinition` to rows of the registry.

mod build;
mod defaults;
mod names;
mod structural;
mod value_validation;
mod versions;

use std::cmp::Ordering;

use serde_json::Value;

pub use defaults::{accepted_status, set_defaults};
pub use versions::compare_versions;

use crate::kind::KindInfo;
use crate::validate::FieldError;

/// What one CustomResourceDefinition adds.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomKinds {
    /// Name of the definition, `applications.core.oam.dev`.
    pub name: String,
    /// The group.
    pub group: String,
    /// The plural, part of every URL.
    pub plural: String,
    /// The served versions, the preferred one first; the stored one is marked ([`KindInfo::storage`]).
    pub kinds: Vec<KindInfo>,
    /// The version that objects are stored in, served or not.
    pub storage_version: String,
    /// Conversion is by webhook, which needs someone to call it; else versions differ in `apiVersion` only.
    pub webhook_conversion: bool,
}

/// Reads and checks a CustomResourceDefinition (`apiextensions.k8s.io/v1`) whose defaults are set
/// ([`set_defaults`]).
///
/// # Errors
/// Everything that breaks the rules of structural schemas, names and versions.
pub fn parse(definition: &Value) -> Result<CustomKinds, Vec<FieldError>> {
    let mut errors = Vec::new();
    names::check(definition, &mut errors);
    versions::check(definition, &mut errors);
    let kinds = build::kinds(definition, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(kinds)
}

/// A text below a pointer, or nothing.
fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The texts of a list below a pointer.
fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let items = value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The versions with their positions.
fn version_rows(definition: &Value) -> impl Iterator<Item = (usize, &Value)> {
    let rows = definition.pointer("/spec/versions").and_then(Value::as_array);
    rows.map(Vec::as_slice).unwrap_or_default().iter().enumerate()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn by_preference(left: &KindInfo, right: &KindInfo) -> Ordering {
    compare_versions(&left.gvk.version, &right.gvk.version)
}

#[cfg(test)]
pub(crate) mod tests;
