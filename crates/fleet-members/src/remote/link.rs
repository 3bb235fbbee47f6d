//! What a member's client sends through: the credentials under it can be changed while it is in use.

use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use kube::client::{Body, ConfigExt as _};
use kube::core::Status;
use kube::core::response::StatusDetails;
use tower::{BoxError, Layer as _, Service, ServiceExt as _};

use super::bearer::Bearer;
use super::body::{Idle, Streamed};
use super::error::{LinkError, address};
use super::wire::Wire;

/// How much of a refusal's body is read.
const REFUSAL_LIMIT: usize = 64 * 1024;

/// A service for [`kube::Client`] whose way to the member can be swapped. Clones share it.
#[derive(Clone)]
pub(super) struct Link(Arc<RwLock<Result<Arc<Way>, String>>>);

/// One set of credentials in use.
pub(super) struct Way {
    endpoint: Uri,
    wire: Wire,
    bearer: Bearer,
    answer: Duration,
}

type Answer = Either<Streamed<Way>, Full<Bytes>>;

impl Link {
    pub(super) fn new(way: Result<Way, String>) -> Self {
        Self(Arc::new(RwLock::new(way.map(Arc::new))))
    }

    /// From now on requests go another way; what is under way on the old one is finished, its watches end.
    pub(super) fn swap(&self, way: Result<Way, String>) {
        let old = {
            let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, way.map(Arc::new))
        };
        drop(old);
    }

    fn way(&self) -> Result<Arc<Way>, LinkError> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().map_err(LinkError::Unaddressed)
    }

    /// Whether there is a way at all; if not, why.
    pub(super) fn addressed(&self) -> Result<(), String> {
        let way = self.0.read().unwrap_or_else(PoisonError::into_inner);
        way.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    pub(super) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }
}

impl Service<Request<Body>> for Link {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let way = self.way();
        Box::pin(async move { Ok(way?.answer(request).await?) })
    }
}

impl Way {
    pub(super) fn new(endpoint: Uri, wire: Wire, bearer: Bearer, answer: Duration) -> Self {
        Self { endpoint, wire, bearer, answer }
    }

    async fn answer(self: Arc<Self>, request: Request<Body>) -> Result<Response<Answer>, LinkError> {
        let watch = is_watch(request.uri());
        let limit = self.answer;
        let silent = || LinkError::Silent { endpoint: address(&self.endpoint), seconds: limit.as_secs() };
        let sent = tokio::time::timeout(limit, Arc::clone(&self).authorized(request, watch)).await;
        let answer = sent.map_err(|_| silent())??;
        let asks_to_wait =
            matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        match answer.headers().get(RETRY_AFTER).and_then(seconds) {
            Some(wait) if asks_to_wait => {
                tokio::time::timeout(limit, refusal(answer, wait)).await.map_err(|_| silent())
            }
            _ => Ok(answer.map(Either::Left)),
        }
    }

    /// Sends it with our token; a token that is refused is fetched anew, once.
    async fn authorized(
        self: Arc<Self>,
        mut request: Request<Body>,
        watch: bool,
    ) -> Result<Response<Streamed<Self>>, LinkError> {
        let again = if self.bearer.is_fetched() { copy(&request) } else { None };
        let token = self.bearer.header().await?;
        authorize(&mut request, token.as_ref());
        let answer = Arc::clone(&self).send(request, watch).await?;
        let (StatusCode::UNAUTHORIZED, Some(mut again), Some(refused)) = (answer.status(), again, token)
        else {
            return Ok(answer);
        };
        drop(answer);
        let token = self.bearer.after_refusal(&refused).await?;
        authorize(&mut again, token.as_ref());
        self.send(again, watch).await
    }

    async fn send(
        self: Arc<Self>,
        request: Request<Body>,
        watch: bool,
    ) -> Result<Response<Streamed<Self>>, LinkError> {
        let base = kube::Config::new(self.endpoint.clone()).base_uri_layer();
        let send = base.layer(tower::service_fn(|request| self.wire.send(request)));
        let (answer, open) = send.oneshot(request).await?;
        let idle = (!watch).then(|| Idle::new(self.answer, address(&self.endpoint)));
        let keep = (!watch).then(|| Arc::clone(&self));
        Ok(answer.map(|incoming| Streamed { incoming, idle, open, keep }))
    }
}

/// Whether the answer to a request goes on for as long as anything happens.
pub fn is_watch(uri: &Uri) -> bool {
    let mut pairs = uri.query().into_iter().flat_map(|query| query.split('&'));
    pairs.any(|pair| matches!(pair, "watch=true" | "watch=1" | "follow=true"))
}

fn authorize(request: &mut Request<Body>, token: Option<&HeaderValue>) {
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token.clone());
    }
}

fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

fn seconds(value: &HeaderValue) -> Option<u32> {
    value.to_str().ok()?.trim().parse().ok()
}

/// A refusal that says when to come back. Behind priority and fairness, and before proxies, only the header says so
/// (RFC 9110 10.2.3), and the client above sees bodies only: it is put into the Status.
async fn refusal(answer: Response<Streamed<Way>>, wait: u32) -> Response<Answer> {
    let (mut parts, body) = answer.into_parts();
    let body = Limited::new(body, REFUSAL_LIMIT).collect().await.map(http_body_util::Collected::to_bytes);
    let body = body.unwrap_or_default();
    let mut status = serde_json::from_slice::<Status>(&body).ok().filter(|status| status.code != 0);
    let mut said = status.take().unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        let text = if text.is_empty() { parts.status.to_string() } else { text };
        let reason = if parts.status == StatusCode::TOO_MANY_REQUESTS { "TooManyRequests" } else { "" };
        Status::failure(&text, reason).with_code(parts.status.as_u16())
    });
    let details = said.details.get_or_insert(StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    });
    details.retry_after_seconds = details.retry_after_seconds.max(wait);
    let body = serde_json::to_vec(&said).unwrap_or_default();
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Response::from_parts(parts, Either::Right(Full::new(Bytes::from(body))))
}
