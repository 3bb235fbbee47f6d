//! What can be wrong with an override: policy, place, object, cause, next step.

use serde_json::Value;
use thiserror::Error;

/// An override that can't be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct OverriderError(pub Box<OverriderProblem>);

/// What is wrong with an override, or isn't as it seems to say.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{policy}: {place}: {object}: {message}")]
pub struct OverriderProblem {
    /// The policy: `OverridePolicy demo/example`.
    pub policy: String,
    /// Where in it: `spec.overrideRules[0].overriders.plaintext[2]`.
    pub place: String,
    /// The object: `Deployment demo/nginx`.
    pub object: String,
    /// A stable word for scripts and conditions: `PathNotFound`.
    pub code: &'static str,
    /// Cause and next step.
    pub message: String,
}

/// What is wrong with one overrider, before anybody knows where it stands.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    /// Below the overrider's place: `.value`, `[2].path`.
    pub(super) below: String,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, below: String::new(), message: message.into() }
    }

    /// What is said is wrong, whatever the object.
    pub(super) fn invalid(below: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: "InvalidOverride", below: below.into(), message: message.into() }
    }

    pub(super) fn below(mut self, place: impl Into<String>) -> Self {
        self.below = place.into();
        self
    }

    pub(super) fn at(self, policy: String, place: &str, object: String) -> OverriderError {
        let Self { code, below, message } = self;
        OverriderError(Box::new(OverriderProblem {
            policy,
            place: format!("{place}{below}"),
            object,
            code,
            message,
        }))
    }
}

/// `Deployment demo/nginx`
pub(super) fn object(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match text("/metadata/namespace") {
        "" => format!("{} {}", text("/kind"), text("/metadata/name")),
        namespace => format!("{} {namespace}/{}", text("/kind"), text("/metadata/name")),
    }
}

/// Whether its values must not show.
pub(super) fn is_secret(object: &Value) -> bool {
    let is = |field: &str, text: &str| object.get(field).and_then(Value::as_str) == Some(text);
    is("kind", "Secret") && is("apiVersion", "v1")
}
