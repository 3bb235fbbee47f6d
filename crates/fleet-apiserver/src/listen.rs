//! The listener: TLS on one port for the hub (at `/`) and the members (at `/clusters/NAME`).
//!
//! ```text
//! TcpListener ─► TLS ─► HTTP/1.1 or HTTP/2 ─► (cluster, identity, request) ─► Handler
//!   connection limit    by ALPN                path    client certificate
//! ```
//!
//! Client certificates are optional: a request without one is anonymous. What a slow or silent client can hold
//! is bounded by [`Limits`]. When `shutdown` fires no connection is accepted any more, answers under way are
//! finished, open watches end cleanly, and after `Limits::grace` whatever is left is cut.

mod api;
mod body;
mod connection;
mod path;
mod stall;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use body::{BodyError, RequestBody};

use crate::identity::Identity;

/// The largest request body that is read, as in kube-apiserver.
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// The cluster of requests whose path names none.
pub const HUB: &str = "hub";

/// Any error, as hyper takes it from a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What answers the requests.
///
/// Implemented for closures `Fn(cluster, identity, request) -> Future<Output = Response<Body>>`.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The answers' body. One whose size isn't known beforehand counts as a stream (a watch): it is ended when
    /// the listener shuts down, at a moment when it has nothing more to say.
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;

    /// Answers one request to a cluster. The request's path is the one within the cluster.
    fn handle(
        &self,
        cluster: String,
        identity: Identity,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

impl<F, A, B> Handler for F
where
    F: Fn(String, Identity, Request<RequestBody>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Body = B;

    fn handle(
        &self,
        cluster: String,
        identity: Identity,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<B>> + Send {
        self(cluster, identity, request)
    }
}

/// What clients may hold, and for how long.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; more wait in the system's queue.
    pub connections: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// The largest request body in bytes.
    pub body: usize,
    /// From the connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the beginning of a request's wait to the end of its headers; also how long HTTP/1.1 may be idle.
    pub headers: Duration,
    /// From the first read of a request body to its end.
    pub request_body: Duration,
    /// How long an HTTP/2 connection may be without a request.
    pub idle: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub stalled: Duration,
    /// How long answers under way have once the listener shuts down.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            streams: 250,
            body: MAX_BODY,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(30),
            request_body: Duration::from_secs(60),
            idle: Duration::from_secs(90),
            stalled: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// Accepts connections until `shutdown` fires, then ends the open ones and returns, at the latest after
/// `limits.grace`.
///
/// A connection that fails ends alone: nothing a client does reaches another client or ends the listener.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    handler: H,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let limits = Arc::new(limits);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((stream, slot)) = accepted else { continue };
        let (acceptor, handler) = (acceptor.clone(), handler.clone());
        let (limits, shutdown) = (Arc::clone(&limits), shutdown.clone());
        connections.spawn(async move {
            connection::serve(stream, &acceptor, handler, limits, shutdown).await;
            drop(slot);
        });
    }
    drop(listener);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(limits.grace, drained).await.is_err() {
        tracing::debug!(left = connections.len(), "connections cut at shutdown");
        connections.shutdown().await;
    }
}

type Accepted = (tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit);

/// The next connection, once there is room for it; nothing if accepting failed (the caller tries again).
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<Accepted> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // A small answer after another would wait for the client's delayed acknowledgement, 40 ms (RFC 1122, 4.2.3).
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection ended as it began");
                return None;
            }
            Some((stream, slot))
        }
        Err(error) => {
            // Mostly too many open files: without a pause this would spin until some are closed.
            tracing::warn!(%error, "can't accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

#[cfg(test)]
mod tests;
