//! `/metrics`, `/healthz` and `/readyz`, over plain HTTP for a scraper and for probes. Nothing here is secret, and
//! nothing can be changed by it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_controller::{Health, Metrics};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections at once; more wait in the system's queue.
const CONNECTIONS: usize = 64;
/// How long a client has for the head of a request, and may be silent between two.
const HEAD: Duration = Duration::from_secs(30);
/// How long a connection may last: a client that takes its answer byte by byte holds no place for ever.
const LIFETIME: Duration = Duration::from_secs(300);
/// The largest head.
const HEAD_SIZE: usize = 16 * 1024;
/// How long the hub has to answer a probe's question.
const HUB_DEADLINE: Duration = Duration::from_secs(2);
/// For so long the hub's last answer counts, whoever asks.
const HUB_ANSWER: Duration = Duration::from_secs(1);

/// What is told.
pub struct Sources {
    metrics: Metrics,
    health: Health,
    hub: kube::Client,
    answered: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Sources {
    /// Of a controller and its hub.
    pub fn new(metrics: Metrics, health: Health, hub: kube::Client) -> Self {
        Self { metrics, health, hub, answered: Mutex::new(None) }
    }

    /// What isn't ready.
    async fn waits_for(&self) -> Vec<String> {
        let mut waits = self.health.waits_for();
        if let Err(why) = self.hub_answers().await {
            waits.push(format!("the hub: {why}"));
        }
        waits
    }

    async fn hub_answers(&self) -> Result<(), String> {
        let known = self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, answer)) = known.filter(|(at, _)| at.elapsed() < HUB_ANSWER) {
            return answer;
        }
        let answer = match tokio::time::timeout(HUB_DEADLINE, self.hub.apiserver_version()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(fleet_members::innermost(&error)),
            Err(_) => Err(format!("no answer within {} s", HUB_DEADLINE.as_secs())),
        };
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), answer.clone()));
        answer
    }

    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/metrics" => match self.metrics.encode() {
                Ok(metrics) => {
                    let mut answer = text(StatusCode::OK, metrics);
                    let media = HeaderValue::from_static(Metrics::MEDIA_TYPE);
                    answer.headers_mut().insert(header::CONTENT_TYPE, media);
                    answer
                }
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            "/healthz" | "/livez" => verdict("not alive", &self.health.ailments()),
            "/readyz" => verdict("waits for", &self.waits_for().await),
            _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz and /readyz are here\n".to_owned()),
        }
    }
}

/// `ok`, or what is the matter, a line each.
fn verdict(word: &str, troubles: &[String]) -> Response<Full<Bytes>> {
    if troubles.is_empty() {
        return text(StatusCode::OK, "ok\n".to_owned());
    }
    let lines: String = troubles.iter().map(|trouble| format!("{word}: {trouble}\n")).collect();
    text(StatusCode::SERVICE_UNAVAILABLE, lines)
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// Answers until `stop` fires.
pub async fn serve(listener: TcpListener, sources: Sources, stop: CancellationToken) {
    let (sources, slots) = (Arc::new(sources), Arc::new(Semaphore::new(CONNECTIONS)));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        if let Some((stream, slot)) = accepted {
            connections.spawn(connection(stream, Arc::clone(&sources), slot));
        }
    }
    connections.shutdown().await;
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            // Mostly too many open files: without a pause this would spin until some are closed.
            tracing::warn!(%error, "can't accept a connection for metrics and probes");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, sources: Arc<Sources>, _slot: OwnedSemaphorePermit) {
    let service = service_fn(move |request: Request<Incoming>| {
        let sources = Arc::clone(&sources);
        async move { Ok::<_, Infallible>(sources.answer(request.method(), request.uri().path()).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(LIFETIME, served).await {
        tracing::debug!(%error, "a connection for metrics or probes failed");
    }
}
