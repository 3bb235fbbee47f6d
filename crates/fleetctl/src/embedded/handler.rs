//! The listener's handler: the API, and a few requests that are about the process itself.

use bytes::Bytes;
use fleet_apiserver::listen::{Handler, RequestBody};
use fleet_apiserver::{ApiServer, Body, Identity};
use http::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{EmbeddedError, Fleet};

/// Requests about the process have paths that begin so; only `system:masters` may ask.
pub const ADMIN_PREFIX: &str = "/fleetctl/v1/";

#[derive(Clone)]
pub(super) struct FleetHandler {
    api: ApiServer,
    fleet: Fleet,
    quit: CancellationToken,
}

impl FleetHandler {
    pub(super) fn new(api: ApiServer, fleet: Fleet, quit: CancellationToken) -> Self {
        Self { api, fleet, quit }
    }

    async fn administer(&self, identity: &Identity, method: &Method, path: &str) -> Response<Body> {
        if !identity.groups.iter().any(|group| group == Identity::MASTERS) {
            return status(StatusCode::FORBIDDEN, "Forbidden", "only system:masters may ask this");
        }
        let words: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        match (method.as_str(), words.as_slice()) {
            ("GET", ["status"]) => answer(StatusCode::OK, &json!({ "members": self.fleet.members() })),
            ("POST", ["shutdown"]) => {
                self.quit.cancel();
                answer(StatusCode::ACCEPTED, &json!({ "stopping": true }))
            }
            ("POST", ["members", name, "stop"]) => self.set_running(name, false).await,
            ("POST", ["members", name, "start"]) => self.set_running(name, true).await,
            _ => status(StatusCode::NOT_FOUND, "NotFound", "there is no such request"),
        }
    }

    async fn set_running(&self, name: &str, running: bool) -> Response<Body> {
        match self.fleet.set_running(name, running).await {
            Ok(member) => answer(StatusCode::OK, &json!(member)),
            Err(error @ EmbeddedError::Member { .. }) => {
                status(StatusCode::NOT_FOUND, "NotFound", &error.to_string())
            }
            Err(error) => status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &error.to_string()),
        }
    }
}

impl Handler for FleetHandler {
    type Body = Body;

    async fn handle(
        &self,
        cluster: String,
        identity: Identity,
        request: Request<RequestBody>,
    ) -> Response<Body> {
        match request.uri().path().strip_prefix(ADMIN_PREFIX) {
            Some(path) if cluster == ApiServer::HUB => {
                self.administer(&identity, request.method(), path).await
            }
            _ => Handler::handle(&self.api, cluster, identity, request).await,
        }
    }
}

fn answer(code: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::from(value.to_string())));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response<Body> {
    answer(
        code,
        &json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        }),
    )
}
