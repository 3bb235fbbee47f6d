//! Refusals as Kubernetes tells them: a `Status` object with reason, details and causes.

use std::fmt;

use serde_json::{Map, Value, json};

/// One cause inside a [`ApiError`]'s details: what is wrong, with which field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The machine-readable kind of cause (`FieldValueInvalid`, `FieldManagerConflict`, …).
    pub reason: String,
    /// What is wrong, for people.
    pub message: String,
    /// The field's path in the object, in dotted form; empty where no field is to blame.
    pub field: String,
}

/// A refused request. It becomes a `kind: Status` response whose code is the HTTP status.
///
/// Reasons, codes and wording follow Kubernetes' `apimachinery` errors, since clients match on them.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiError(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    code: u16,
    reason: &'static str,
    message: String,
    name: String,
    group: String,
    kind: String,
    uid: String,
    causes: Vec<Cause>,
    retry_after_seconds: u32,
    continue_token: String,
}

impl ApiError {
    /// A refusal with this HTTP code, reason and message.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            reason,
            message: message.into(),
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
            continue_token: String::new(),
        }))
    }

    /// 400: the request can't be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 404 for a path that names nothing.
    pub fn no_such_path() -> Self {
        let mut error = Self::new(404, "NotFound", "the server could not find the requested resource");
        error.0.causes.push(Cause {
            reason: "UnexpectedServerResponse".into(),
            message: "404 page not found".into(),
            field: String::new(),
        });
        error
    }

    /// 404 for an object.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", qualified(group, resource)))
            .about(group, resource, name)
    }

    /// 409: an object of that name is there already.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", qualified(group, resource)))
            .about(group, resource, name)
    }

    /// 409: a precondition or the optimistic lock didn't hold.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(group, resource)),
        )
        .about(group, resource, name)
    }

    /// 409: somebody else has written in between.
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 403 for an object.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let subject = qualified(group, resource);
        let message = match (subject.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{subject} is forbidden: {why}"),
            (false, false) => format!("{subject} \"{name}\" is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", message).about(group, resource, name)
    }

    /// 422: the object's content is refused, with the fields to blame.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let mut texts: Vec<String> = causes
            .iter()
            .map(|cause| match cause.field.is_empty() {
                true => cause.message.clone(),
                false => format!("{}: {}", cause.field, cause.message),
            })
            .collect();
        texts.dedup();
        let text = match texts.len() {
            0 | 1 => texts.concat(),
            _ => format!("[{}]", texts.join(", ")),
        };
        let subject = qualified(group, kind);
        Self::new(422, "Invalid", format!("{subject} \"{name}\" is invalid: {text}"))
            .about(group, kind, name)
            .with_causes(causes)
    }

    /// 405: the resource doesn't have that verb.
    pub fn method_not_allowed(group: &str, resource: &str) -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .about(group, resource, "")
    }

    /// 406: none of the accepted media types can be had.
    pub fn not_acceptable(accepted: &str) -> Self {
        Self::new(406, "NotAcceptable", format!("only the following media types are accepted: {accepted}"))
    }

    /// 415: the body's media type isn't read here.
    pub fn unsupported_media_type(got: &str, accepted: &str) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {accepted}; got {got:?}"
            ),
        )
    }

    /// 413: the body is larger than what is read.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 410: that resource version or continue token is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 504: the asked-for resource version isn't there yet.
    pub fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let mut error = Self::new(
            504,
            "Timeout",
            format!("Timeout: Too large resource version: {asked}, current: {current}"),
        )
        .retry_after(1);
        error.0.causes.push(Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        });
        error
    }

    /// 500: something that must not happen has.
    pub fn internal(why: impl fmt::Display) -> Self {
        let mut error = Self::new(500, "InternalError", format!("Internal error occurred: {why}"));
        error.0.causes.push(Cause { reason: String::new(), message: why.to_string(), field: String::new() });
        error
    }

    /// 503: the server can't answer this now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// The same refusal, naming the object it is about. `kind` is the resource or the kind, as Kubernetes
    /// fills `details.kind` for this reason.
    #[must_use]
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        self.0.group = group.into();
        self.0.kind = kind.into();
        self.0.name = name.into();
        self
    }

    /// The same refusal with the object's uid.
    #[must_use]
    pub fn with_uid(mut self, uid: &str) -> Self {
        self.0.uid = uid.into();
        self
    }

    /// The same refusal with these causes.
    #[must_use]
    pub fn with_causes(mut self, causes: Vec<Cause>) -> Self {
        self.0.causes = causes;
        self
    }

    /// The same refusal, asking the client to come back after that many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = seconds;
        self
    }

    /// The same refusal with a token by which an interrupted list can go on, inconsistently.
    #[must_use]
    pub fn with_continue(mut self, token: String) -> Self {
        self.0.continue_token = token;
        self
    }

    /// The HTTP code.
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// The machine-readable reason.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// What is wrong, for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The causes.
    pub fn causes(&self) -> &[Cause] {
        &self.0.causes
    }

    /// After how many seconds the client should come back; 0 where nothing is said.
    pub fn retry_after_seconds(&self) -> u32 {
        self.0.retry_after_seconds
    }

    /// Whether this is the optimistic lock's conflict, which a patch without a resource version retries.
    pub fn is_conflict(&self) -> bool {
        self.0.reason == "Conflict"
    }

    /// The `kind: Status` object.
    pub fn to_status(&self) -> Value {
        let inner = &*self.0;
        let mut details = Map::new();
        for (key, value) in
            [("name", &inner.name), ("group", &inner.group), ("kind", &inner.kind), ("uid", &inner.uid)]
        {
            if !value.is_empty() {
                details.insert(key.into(), json!(value));
            }
        }
        if !inner.causes.is_empty() {
            let causes = inner.causes.iter().map(Cause::to_value).collect();
            details.insert("causes".into(), Value::Array(causes));
        }
        if inner.retry_after_seconds > 0 {
            details.insert("retryAfterSeconds".into(), json!(inner.retry_after_seconds));
        }
        let mut metadata = Map::new();
        if !inner.continue_token.is_empty() {
            metadata.insert("continue".into(), json!(inner.continue_token));
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": inner.message,
            "reason": inner.reason,
            "code": inner.code,
        });
        if let (false, Some(fields)) = (details.is_empty(), status.as_object_mut()) {
            fields.insert("details".into(), Value::Object(details));
        }
        status
    }
}

impl Cause {
    /// A cause about a field.
    pub fn field(reason: &str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), field: field.into(), message: message.into() }
    }

    fn to_value(&self) -> Value {
        let mut cause = Map::new();
        for (key, value) in [("reason", &self.reason), ("message", &self.message), ("field", &self.field)] {
            if !value.is_empty() {
                cause.insert(key.into(), json!(value));
            }
        }
        Value::Object(cause)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.0.code, self.0.reason, self.0.message)
    }
}

impl std::error::Error for ApiError {}

/// A success that has no object to show, as `delete` answers it.
pub(crate) fn success(group: &str, resource: &str, name: &str, uid: &str) -> Value {
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", resource), ("uid", uid)] {
        if !value.is_empty() {
            details.insert(key.into(), json!(value));
        }
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}
