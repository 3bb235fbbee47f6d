//! Requests to members.

use http::{Method, Request};
use serde_json::{Value, json};

use crate::object::{name, namespace};
use crate::{Action, Kind};

/// Whom managed fields name.
const MANAGER: &str = "fleet-sim";

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The request couldn't be made.
    #[error("{method} {path} can't be asked for: {source}")]
    Request {
        /// Its method.
        method: Method,
        /// Its path.
        path: String,
        /// The cause.
        source: http::Error,
    },
    /// The server refused it or couldn't be reached.
    #[error("{method} {path} failed: {source}")]
    Refused {
        /// Its method.
        method: Method,
        /// Its path.
        path: String,
        /// The cause.
        source: Box<kube::Error>,
    },
}

impl SimError {
    /// The status code that the server answered with; 0 if it didn't.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::Refused { source, .. } => match &**source {
                kube::Error::Api(status) => status.code,
                _ => 0,
            },
            Self::Request { .. } => 0,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Refused { source, .. } => match &**source {
                kube::Error::Api(status) => &status.reason,
                _ => "",
            },
            Self::Request { .. } => "",
        }
    }
}

/// How a write went.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The object as it is now.
    Written(Value),
    /// The object isn't there (any more).
    Gone,
    /// An object of that name is there already.
    Exists,
    /// The object is another one than thought.
    Conflict,
}

/// Makes one write.
pub(crate) async fn send(client: &kube::Client, action: &Action) -> Result<Sent, SimError> {
    let write = Write::of(action);
    match ask(client, write.method, write.path, write.content_type, &write.body).await {
        Ok(answer) if matches!(action, Action::Delete { .. }) => Ok(deleted(answer)),
        Ok(answer) if matches!(action, Action::Bind { .. }) => Ok(Sent::Written(answer)),
        Ok(answer) => Ok(Sent::Written(answer)),
        Err(error) => match (error.code(), action) {
            // For a create it is the namespace, or the member, that is missing.
            (404, Action::Create { .. } | Action::Publish { .. }) => Err(error),
            (404 | 410, _) => Ok(Sent::Gone),
            (409, Action::Create { .. }) if error.reason() == "AlreadyExists" => Ok(Sent::Exists),
            (409, _) => Ok(Sent::Conflict),
            _ => Err(error),
        },
    }
}

/// Some servers answer a delete with the object as it was; only finalizers keep it there.
fn deleted(answer: Value) -> Sent {
    let kept =
        answer.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if kept { Sent::Written(answer) } else { Sent::Gone }
}

/// Reads one object; `None` if it isn't there.
pub(crate) async fn read(
    client: &kube::Client,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, SimError> {
    match get(client, kind.path(namespace, name)).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.code() == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads what is at a path.
pub(crate) async fn get(client: &kube::Client, path: String) -> Result<Value, SimError> {
    ask(client, Method::GET, path, "", &Value::Null).await
}

async fn ask(
    client: &kube::Client,
    method: Method,
    path: String,
    content_type: &str,
    body: &Value,
) -> Result<Value, SimError> {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let mut request =
        Request::builder().method(method.clone()).uri(&path).header("accept", "application/json");
    if !content_type.is_empty() {
        request = request.header("content-type", content_type);
    }
    let request = match request.body(bytes) {
        Ok(request) => request,
        Err(source) => return Err(SimError::Request { method, path, source }),
    };
    client.request(request).await.map_err(|source| SimError::Refused {
        method,
        path,
        source: Box::new(source),
    })
}

struct Write {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Value,
}

impl Write {
    fn of(action: &Action) -> Self {
        const JSON: &str = "application/json";
        const MERGE: &str = "application/merge-patch+json";
        let by = format!("?fieldManager={MANAGER}");
        match action {
            Action::Create { kind, body } => Self {
                method: Method::POST,
                path: kind.path(namespace(body), "") + &by,
                content_type: JSON,
                body: body.clone(),
            },
            Action::Patch { target, uid, patch } => {
                let mut body = patch.clone();
                fleet_json::merge_patch(&mut body, &json!({ "metadata": { "uid": uid } }));
                Self {
                    method: Method::PATCH,
                    path: target.kind.path(&target.namespace, &target.name) + &by,
                    content_type: MERGE,
                    body,
                }
            }
            // The uid holds the write to this very object, not to another of the same name; a stale status isn't
            // possible, because nobody else writes it.
            Action::PatchStatus { target, uid, status } => Self {
                method: Method::PATCH,
                path: target.kind.path(&target.namespace, &target.name) + "/status" + &by,
                content_type: MERGE,
                body: json!({ "metadata": { "uid": uid }, "status": status }),
            },
            Action::Delete { target, uid } => Self {
                method: Method::DELETE,
                path: target.kind.path(&target.namespace, &target.name),
                content_type: JSON,
                body: json!({
                    "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
                    "propagationPolicy": "Background", "preconditions": { "uid": uid },
                }),
            },
            Action::Bind { target, uid, node } => Self {
                method: Method::POST,
                path: target.kind.path(&target.namespace, &target.name) + "/binding" + &by,
                content_type: JSON,
                body: json!({
                    "apiVersion": "v1", "kind": "Binding",
                    "metadata": { "name": &*target.name, "namespace": &*target.namespace, "uid": uid },
                    "target": { "apiVersion": "v1", "kind": "Node", "name": node },
                }),
            },
            Action::Publish { kind, body } => Self {
                method: Method::PATCH,
                path: kind.path(namespace(body), name(body)) + &by + "&force=true",
                content_type: "application/apply-patch+yaml",
                body: body.clone(),
            },
        }
    }
}
