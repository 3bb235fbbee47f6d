//! One connection: handshake, identity, protocol, and its end.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::body::{RequestBody, ResponseBody};
use super::stall::Stalling;
use super::{Handler, Limits, path};
use crate::identity::Identity;
use crate::pki::identity_of;
use crate::status::ApiError;

/// The largest HTTP/2 header list and HTTP/1.1 head. Selectors and continue tokens travel in them.
const MAX_HEADERS: u32 = 64 * 1024;
/// A silent HTTP/2 client is asked whether it is still there, and has that long to answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(20);

/// Serves a connection to its end. Failures are the client's affair and only logged.
pub(super) async fn serve<S, H>(
    stream: S,
    acceptor: &TlsAcceptor,
    handler: H,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let handshake = acceptor.accept(Stalling::new(stream, limits.stalled));
    let stream = tokio::select! {
        () = shutdown.cancelled() => return,
        done = tokio::time::timeout(limits.handshake, handshake) => match done {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        },
    };
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let identity = certificate.and_then(identity_of).unwrap_or_else(Identity::anonymous);
    let speaks_http2 = session.alpn_protocol() == Some(b"h2".as_slice());

    let activity = Arc::new(Activity::default());
    let answers = Answers {
        handler,
        identity,
        limits: Arc::clone(&limits),
        shutdown: shutdown.clone(),
        activity: Arc::clone(&activity),
    };
    let service = service_fn(move |request| {
        let answers = answers.clone();
        async move { Ok::<_, Infallible>(answers.answer(request).await) }
    });
    let io = TokioIo::new(stream);
    let ended = if speaks_http2 {
        let tasks = StreamTasks::default();
        let mut builder = http2::Builder::new(tasks.clone());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(MAX_HEADERS)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_ANSWER);
        let connection = std::pin::pin!(builder.serve_connection(io, service));
        // However the connection ends, its streams end with it.
        let _guard = tasks.end_with();
        drive(connection, http2::Connection::graceful_shutdown, Some(&activity), &limits, &shutdown).await
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.headers)
            .max_header_size(MAX_HEADERS as usize)
            .half_close(false);
        let connection = std::pin::pin!(builder.serve_connection(io, service));
        drive(connection, http1::Connection::graceful_shutdown, None, &limits, &shutdown).await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

/// Runs a connection until it ends, is idle for too long (where `activity` is given), or the listener shuts
/// down.
async fn drive<C>(
    mut connection: std::pin::Pin<&mut C>,
    end: impl Fn(std::pin::Pin<&mut C>),
    activity: Option<&Activity>,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let idle = async {
        match activity {
            Some(activity) => activity.idle_for(limits.idle).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = shutdown.cancelled() => {}
        () = idle => {}
    }
    end(connection.as_mut());
    // A client that doesn't answer the farewell is cut.
    tokio::time::timeout(limits.grace, connection).await.unwrap_or(Ok(()))
}

/// What a connection's requests have in common.
#[derive(Clone)]
struct Answers<H> {
    handler: H,
    identity: Identity,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
    activity: Arc<Activity>,
}

impl<H: Handler> Answers<H> {
    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Response<Either<ResponseBody<H::Body>, Full<Bytes>>> {
        let in_flight = Arc::new(InFlight::new(self.activity));
        let (mut parts, incoming) = request.into_parts();
        let body = RequestBody::new(incoming, self.limits.body, self.limits.request_body);
        if body.is_too_large() {
            return refused(&ApiError::too_large(self.limits.body)).map(Either::Right);
        }
        let (cluster, uri) = path::split(parts.uri);
        parts.uri = uri;
        let response = self.handler.handle(cluster, self.identity, Request::from_parts(parts, body)).await;
        response.map(|body| Either::Left(ResponseBody::new(body, &self.shutdown, in_flight)))
    }
}

fn refused(error: &ApiError) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(error.to_status().to_string()));
    *response.status_mut() =
        http::StatusCode::from_u16(error.code()).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Whether anything happens on a connection.
#[derive(Default)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    /// Returns once no request has been there for at least `limit`, and at most twice that.
    async fn idle_for(&self, limit: Duration) {
        let mut before = None;
        loop {
            let (begun, ended) = (self.begun.load(Ordering::Acquire), self.ended.load(Ordering::Acquire));
            if begun == ended && before == Some(begun) {
                return;
            }
            before = (begun == ended).then_some(begun);
            tokio::time::sleep(limit).await;
        }
    }
}

/// A request in flight, from its arrival until its answer has been sent or given up.
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    fn new(activity: Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::AcqRel);
        Self(activity)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}

/// Runs an HTTP/2 connection's streams, which are tasks of their own, and ends them with the connection.
#[derive(Clone, Default)]
struct StreamTasks {
    tasks: TaskTracker,
    end: CancellationToken,
}

impl StreamTasks {
    fn end_with(&self) -> DropGuard {
        self.end.clone().drop_guard()
    }
}

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let end = self.end.clone();
        self.tasks.spawn(async move { end.run_until_cancelled(stream).await });
    }
}
