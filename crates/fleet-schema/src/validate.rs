//! Whether a value fits its schema, in Kubernetes' words.

mod compare;
mod decode;
mod embedded;
mod error;
mod format;
mod lists;
mod rules;
mod scalar;
mod walk;

use serde_json::Value;

pub use decode::decode_message;
pub use error::{ErrorKind, FieldError, place};
pub(crate) use format::{is_label, is_subdomain};
pub use lists::item_keys;
pub use rules::{RuleFailure, RuleRunner, run_rules};

use crate::schema::SchemaRef;

/// Values nested deeper than this are refused (JSON parsers stop there as well).
pub const MAX_VALUE_DEPTH: usize = 128;

/// How strictly a schema binds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// A custom kind: everything the schema says. Below a reference to a built-in definition (metadata),
    /// as [`Mode::BuiltIn`].
    #[default]
    Custom,
    /// A built-in kind, whose schema describes a Go type: `null` means absent, and a required field that
    /// has a default is filled rather than missed.
    BuiltIn,
}

/// What validation needs besides schema and value.
#[derive(Clone, Copy, Default)]
pub struct Context<'a> {
    /// How strictly the schema binds.
    pub mode: Mode,
    /// The value before, on update: what didn't change isn't judged again (ratcheting).
    pub old: Option<&'a Value>,
    /// Runs CEL rules; without it they are skipped.
    pub rules: Option<&'a dyn RuleRunner>,
}

/// Judges a value; an empty list means that it fits. CEL rules run only where nothing before them failed.
///
/// The words are those of `kube-apiserver`:
/// `spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"`.
pub fn validate(schema: SchemaRef<'_>, value: &Value, context: Context<'_>) -> Vec<FieldError> {
    let mut errors = walk::check(schema, value, context);
    if let Some(runner) = context.rules {
        if errors.is_empty() {
            errors.extend(run_rules(schema, value, context.old, runner));
        } else if errors.iter().any(|error| error.kind.blocks_rules()) {
            errors.push(rules::skipped());
        }
    }
    errors
}

/// The word for a value's JSON type: `integer` and `number` are told apart.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;
