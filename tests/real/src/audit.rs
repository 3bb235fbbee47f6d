//! What an API server was asked.

use serde_json::Value;

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The resource, with its subresource after a slash.
    pub resource: String,
    /// The object's namespace and name, with a slash between; either may be empty.
    pub object: String,
    /// What was answered, as an HTTP status.
    pub code: u64,
}

impl Request {
    /// Reads an audit event.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let resource = match text("/objectRef/subresource") {
            "" => text("/objectRef/resource").to_owned(),
            part => format!("{}/{part}", text("/objectRef/resource")),
        };
        Some(Self {
            user: text("/user/username").to_owned(),
            verb: text("/verb").to_owned(),
            resource,
            object: format!("{}/{}", text("/objectRef/namespace"), text("/objectRef/name")),
            code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
        })
    }

    /// Whether it may change something.
    pub fn writes(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}
