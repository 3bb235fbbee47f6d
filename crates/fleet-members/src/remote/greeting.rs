//! Which cluster answers on a new connection, asked before the connection takes anything else.
//!
//! A connection that breaks quietly is made anew by whatever request comes next, and by then another cluster may stand
//! behind the address: rebuilt, or a load balancer that was pointed elsewhere. That request was meant for the cluster
//! before, so it must not be the one that finds out.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http2::SendRequest;
use kube::client::{Body, ConfigExt as _};
use kube::core::PartialObjectMeta;
use tower::{Layer as _, ServiceExt as _};

use super::error::{LinkError, address};
use crate::recognition::SYSTEM;

/// Metadata alone, as API servers give it since 1.15.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// How much of the answer is read.
const LIMIT: usize = 64 * 1024;

/// Who was met so far at one address.
#[derive(Default)]
pub(super) struct Greeting(Mutex<Met>);

#[derive(Default)]
enum Met {
    #[default]
    Nobody,
    /// It answered, and didn't say who it is: what it refuses that to, it will refuse the rest.
    Somebody,
    Cluster(String),
}

impl Greeting {
    /// Whether nobody answered yet: there is nobody to mistake another one for.
    pub(super) fn is_first(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Met::Nobody)
    }

    /// Somebody has answered; true where it is the first time.
    pub(super) fn answered(&self) -> bool {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = matches!(*met, Met::Nobody);
        if first {
            *met = Met::Somebody;
        }
        first
    }

    /// Asks who answers.
    ///
    /// # Errors
    /// [`LinkError::Replaced`], once, where it is another cluster than on the connection before; [`LinkError::Refused`]
    /// where our credentials hold no longer; [`LinkError::Silent`] and [`LinkError::Broken`] where the connection is of no
    /// use.
    pub(super) async fn meet(
        &self,
        sender: SendRequest<Body>,
        endpoint: &Uri,
        authorization: Option<HeaderValue>,
        limit: Duration,
    ) -> Result<(), LinkError> {
        let silent = |_| LinkError::Silent { endpoint: address(endpoint), seconds: limit.as_secs() };
        let asked = tokio::time::timeout(limit, who(sender, endpoint, authorization)).await;
        let found = match asked.map_err(silent)? {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(refused @ LinkError::Refused { .. }) => {
                // An API server closes a connection after a 401. The next request learns it by itself: only so are
                // tokens fetched anew.
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Met::Nobody;
                return Err(refused);
            }
            Err(error) => return Err(error),
        };
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = matches!(&*met, Met::Cluster(before) if *before != found);
        *met = Met::Cluster(found);
        if replaced { Err(LinkError::Replaced { endpoint: address(endpoint) }) } else { Ok(()) }
    }
}

/// The UID of its `kube-system` namespace, where it says it.
async fn who(
    mut sender: SendRequest<Body>,
    endpoint: &Uri,
    authorization: Option<HeaderValue>,
) -> Result<Option<String>, LinkError> {
    let mut request = Request::new(Body::empty());
    let path = Uri::try_from(format!("/api/v1/namespaces/{SYSTEM}"));
    *request.uri_mut() = path.map_err(|error| LinkError::broken(endpoint, &error))?;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ONLY));
    if let Some(token) = authorization {
        request.headers_mut().insert(AUTHORIZATION, token);
    }
    let base = kube::Config::new(endpoint.clone()).base_uri_layer();
    let send = base.layer(tower::service_fn(|request| sender.send_request(request)));
    let answer = send.oneshot(request).await.map_err(|error| LinkError::broken(endpoint, &error))?;
    if answer.status() == StatusCode::UNAUTHORIZED {
        return Err(LinkError::Refused { endpoint: address(endpoint) });
    }
    if !answer.status().is_success() {
        return Ok(None);
    }
    let body = Limited::new(answer.into_body(), LIMIT).collect().await;
    let body = body.map_err(|error| LinkError::broken(endpoint, error.as_ref()))?.to_bytes();
    let found = serde_json::from_slice::<PartialObjectMeta>(&body).ok();
    Ok(found.and_then(|found| found.metadata.uid))
}
