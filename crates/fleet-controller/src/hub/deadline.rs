//! Requests to the hub end: with an answer, or by their deadline.

use std::time::Duration;

use fleet_members::is_watch;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use tower::BoxError;

/// The longest that the hub may take for an answer, all of its body included. API servers end requests after 60 s by
/// themselves (`--request-timeout`), and refuse long before where they have too much to do.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The hub took a request and didn't answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer from the hub to {method} {path} within {} s", DEADLINE.as_secs())]
struct Silent {
    method: http::Method,
    path: String,
}

/// A client whose requests end within [`DEADLINE`]. Watches may be silent for longer: kube's watcher begins those anew
/// by itself.
pub(crate) fn bounded(client: kube::Client) -> kube::Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request| answer(client.clone(), request));
    kube::Client::new(service, namespace)
}

async fn answer(client: kube::Client, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    if is_watch(request.uri()) {
        return Ok(client.send(request).await?);
    }
    let silent = Silent { method: request.method().clone(), path: request.uri().path().to_owned() };
    let whole = async {
        let (parts, body) = client.send(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok::<_, BoxError>(Response::from_parts(parts, Body::from(body)))
    };
    tokio::time::timeout(DEADLINE, whole).await.map_err(|_| silent)?
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A hub that accepts connections and never answers must not hold the controller for ever; a watch may wait.
    #[tokio::test(start_paused = true)]
    async fn a_silent_hub_ends_requests_and_no_watch() {
        let silent = tower::service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let client = bounded(kube::Client::new(silent, "default"));
        let error = client.apiserver_version().await.unwrap_err();
        let error = fleet_members::innermost(&error);
        assert_eq!(error, "no answer from the hub to GET /version within 30 s");
        let watch = Request::get("/api/v1/pods?watch=true").body(Vec::new()).unwrap();
        let watched = tokio::time::timeout(10 * DEADLINE, client.request_stream(watch)).await;
        assert!(watched.is_err(), "the watch ended");
    }

    /// The body counts too: an answer that stops in the middle is none.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_ends_the_request() {
        let stuck = tower::service_fn(|_: Request<Body>| async {
            let body = http_body_util::StreamBody::new(futures::stream::pending::<
                Result<http_body::Frame<bytes::Bytes>, Infallible>,
            >());
            Ok::<_, Infallible>(Response::new(body))
        });
        let client = bounded(kube::Client::new(stuck, "default"));
        let asked = tokio::time::timeout(2 * DEADLINE, client.apiserver_version()).await;
        assert!(asked.expect("it ends by itself").is_err());
    }
}
