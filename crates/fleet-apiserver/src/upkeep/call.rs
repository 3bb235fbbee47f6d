//! Changes go through the API as everybody's do: with preconditions, admission and finalizers.

use std::fmt;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::{Meta, Upkeep};
use crate::identity::Identity;
use crate::registry::Kind;

/// The API refused a change.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    message: String,
}

impl Refusal {
    pub(super) fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// An object's path in the API.
pub(crate) fn object_path(kind: &Kind, namespace: &str, name: &str) -> String {
    let root = if kind.group().is_empty() { "/api" } else { "/apis" };
    let (version, plural) = (&kind.api_version, &kind.plural);
    match namespace {
        "" => format!("{root}/{version}/{plural}/{name}"),
        namespace => format!("{root}/{version}/namespaces/{namespace}/{plural}/{name}"),
    }
}

impl Upkeep {
    /// Sends a request as one of the built-in controllers.
    pub(crate) async fn call(
        &self,
        cluster: &str,
        controller: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<(), Refusal> {
        let content = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content)
            .header(header::USER_AGENT, controller)
            .body(Full::<Bytes>::from(body.to_string()))
            .map_err(|error| Refusal::new(400, error.to_string()))?;
        let identity = Identity::admin(format!("system:serviceaccount:kube-system:{controller}"));
        let response = self.server.handle(cluster, identity, request).await;
        let code = response.status().as_u16();
        if response.status().is_success() {
            return Ok(());
        }
        let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        let status: Value =
            body.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let message = status.get("message").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
        Err(Refusal::new(code, message))
    }

    /// Deletes an object as it was seen. One that has gone or been replaced meanwhile is no failure.
    pub(crate) async fn delete(
        &self,
        cluster: &str,
        controller: &str,
        path: &str,
        seen: &Meta,
        policy: &str,
    ) -> Result<(), Refusal> {
        let options = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": policy,
            "preconditions": {"uid": seen.uid, "resourceVersion": seen.resource_version},
        });
        gone_is_fine(self.call(cluster, controller, Method::DELETE, path, &options).await)
    }
}

/// Takes "not found" for success.
pub(crate) fn gone_is_fine(result: Result<(), Refusal>) -> Result<(), Refusal> {
    match result {
        Err(Refusal { code: 404, .. }) => Ok(()),
        other => other,
    }
}
