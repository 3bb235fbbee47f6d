//! One finding: where, what kind, and the words.

use std::fmt::{self, Write};

use fleet_json::path::{FieldPath, Segment};
use serde_json::Value;

/// The kind of a finding (`field.ErrorType` of Kubernetes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A field is missing.
    Required,
    /// A value breaks a rule.
    Invalid,
    /// A value has the wrong JSON type.
    TypeInvalid,
    /// A value is none of the allowed ones.
    NotSupported,
    /// Two items that must differ don't.
    Duplicate,
    /// A string is too long.
    TooLong,
    /// A list or map is too long.
    TooMany,
    /// A field may not be set here.
    Forbidden,
    /// What a value names isn't there.
    NotFound,
    /// A rule couldn't be evaluated.
    Internal,
}

impl ErrorKind {
    /// The words in a message, `Invalid value`.
    pub fn label(self) -> &'static str {
        match self {
            ErrorKind::Required => "Required value",
            ErrorKind::Invalid | ErrorKind::TypeInvalid => "Invalid value",
            ErrorKind::NotSupported => "Unsupported value",
            ErrorKind::Duplicate => "Duplicate value",
            ErrorKind::TooLong => "Too long",
            ErrorKind::TooMany => "Too many",
            ErrorKind::Forbidden => "Forbidden",
            ErrorKind::NotFound => "Not found",
            ErrorKind::Internal => "Internal error",
        }
    }

    /// The reason of a cause in a `Status`, `FieldValueInvalid`.
    pub fn reason(self) -> &'static str {
        match self {
            ErrorKind::Required => "FieldValueRequired",
            ErrorKind::Invalid => "FieldValueInvalid",
            ErrorKind::TypeInvalid => "FieldValueTypeInvalid",
            ErrorKind::NotSupported => "FieldValueNotSupported",
            ErrorKind::Duplicate => "FieldValueDuplicate",
            ErrorKind::TooLong => "FieldValueTooLong",
            ErrorKind::TooMany => "FieldValueTooMany",
            ErrorKind::Forbidden => "FieldValueForbidden",
            ErrorKind::NotFound => "FieldValueNotFound",
            ErrorKind::Internal => "InternalError",
        }
    }

    /// The kind of a reason that a CEL rule may name; [`ErrorKind::Invalid`] for others.
    pub fn from_rule_reason(reason: &str) -> ErrorKind {
        match reason {
            "FieldValueRequired" => ErrorKind::Required,
            "FieldValueForbidden" => ErrorKind::Forbidden,
            "FieldValueDuplicate" => ErrorKind::Duplicate,
            _ => ErrorKind::Invalid,
        }
    }

    /// After such a finding a rule in CEL could meet a value that its types exclude.
    pub(crate) fn blocks_rules(self) -> bool {
        use ErrorKind::{Duplicate, Required, TooLong, TooMany, TypeInvalid};
        matches!(self, Required | TooLong | TooMany | TypeInvalid | Duplicate)
    }
}

/// One finding. Displays as Kubernetes words it: `spec.replicas: Invalid value: -1: should be …`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The field; [`place`] writes it as messages do.
    pub path: FieldPath,
    /// The kind.
    pub kind: ErrorKind,
    /// What is wrong; may be empty where the kind says it all.
    pub message: String,
    /// The value that was found, where the message shows one.
    pub value: Option<Value>,
}

impl FieldError {
    /// A finding without a value.
    pub fn new(kind: ErrorKind, path: FieldPath, message: impl Into<String>) -> FieldError {
        FieldError { path, kind, message: message.into(), value: None }
    }

    /// A finding that shows a value.
    pub fn with_value(
        kind: ErrorKind,
        path: FieldPath,
        value: Value,
        message: impl Into<String>,
    ) -> FieldError {
        FieldError { path, kind, message: message.into(), value: Some(value) }
    }

    /// [`ErrorKind::Invalid`] with its value.
    pub fn invalid(path: FieldPath, value: Value, message: impl Into<String>) -> FieldError {
        FieldError::with_value(ErrorKind::Invalid, path, value, message)
    }

    /// [`ErrorKind::Required`].
    pub fn required(path: FieldPath, message: impl Into<String>) -> FieldError {
        FieldError::new(ErrorKind::Required, path, message)
    }

    /// [`ErrorKind::Forbidden`].
    pub fn forbidden(path: FieldPath, message: impl Into<String>) -> FieldError {
        FieldError::new(ErrorKind::Forbidden, path, message)
    }

    /// [`ErrorKind::NotSupported`], naming what is.
    pub fn not_supported(path: FieldPath, value: Value, allowed: &[&str]) -> FieldError {
        let allowed: Vec<String> = allowed.iter().map(|word| quoted(word)).collect();
        let message = format!("supported values: {}", allowed.join(", "));
        FieldError::with_value(ErrorKind::NotSupported, path, value, message)
    }

    /// The field as messages write it, `spec.containers[0].image`.
    pub fn field(&self) -> String {
        place(&self.path)
    }

    /// The text behind the field: kind, value, words.
    pub fn body(&self) -> String {
        let mut out = self.kind.label().to_owned();
        let silent = matches!(
            self.kind,
            ErrorKind::Required | ErrorKind::Forbidden | ErrorKind::TooLong | ErrorKind::Internal
        );
        if let Some(value) = self.value.as_ref().filter(|_| !silent) {
            out.push_str(": ");
            match value {
                Value::String(text) => out.push_str(&quoted(text)),
                Value::Null => out.push_str("null"),
                other => out.push_str(&other.to_string()),
            }
        }
        if !self.message.is_empty() {
            out.push_str(": ");
            out.push_str(&self.message);
        }
        out
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.field(), self.body())
    }
}

impl std::error::Error for FieldError {}

/// A path as messages of Kubernetes write it: `spec.containers[0].image`, `properties[spec]`; a root is
/// `<nil>`. Unlike [`FieldPath`]'s own form it can't be read back.
pub fn place(path: &FieldPath) -> String {
    let mut out = String::new();
    for segment in path.segments() {
        match segment {
            Segment::Field(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Segment::Index(index) => {
                let _ = write!(out, "[{index}]");
            }
            Segment::Element(Value::String(key)) => {
                let _ = write!(out, "[{key}]");
            }
            other => {
                let _ = write!(out, "{other}");
            }
        }
    }
    if out.is_empty() { "<nil>".to_owned() } else { out }
}

/// A string as Go's `%q` writes it, for the characters that occur in manifests.
pub(crate) fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}
