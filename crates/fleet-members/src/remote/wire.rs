//! The connection to one member: HTTP/2 with pings, made when it is needed, shared by all who ask.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::TokioTimer;
use kube::client::Body;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::body::Open;
use super::connect::{Connect, Connectors};
use super::error::{LinkError, address, cause};
use super::greeting::Greeting;

/// Times that hold for each member's connection.
#[derive(Debug, Clone)]
pub struct Timing {
    /// The longest that a connection may take, the proxy and the TLS handshake included.
    pub connect: Duration,
    /// The longest until an answer begins, and the longest silence within one that isn't a watch.
    pub answer: Duration,
    /// How often an HTTP/2 connection is pinged.
    pub ping_every: Duration,
    /// How long a ping may stay unanswered; then the connection is given up.
    pub ping_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            ping_every: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

/// The most connections to one member; the second and later ones are made only where a server's limit of streams is
/// reached.
const CONNECTIONS: usize = 4;
/// Idle HTTP/1.1 connections that are kept, for servers that don't offer HTTP/2.
const HTTP1_IDLE: usize = 2;
/// How long an idle HTTP/1.1 connection is kept.
const HTTP1_IDLE_TIME: Duration = Duration::from_secs(60);

/// The connections to one member with one set of credentials. Dropped, everything on them ends.
pub(super) struct Wire {
    endpoint: Uri,
    connector: Connect,
    http1: legacy::Client<Connect, Body>,
    slots: Mutex<Vec<Attempt>>,
    timing: Timing,
    /// Where somebody relies on the same cluster answering on every connection.
    greeting: Option<Arc<Greeting>>,
    owned: Owned,
    _ends: DropGuard,
}

/// A connection, or the making of one; everybody who needs it waits for the same.
type Attempt = Shared<BoxFuture<'static, Result<Protocol, LinkError>>>;

#[derive(Clone)]
enum Protocol {
    Http2 {
        sender: http2::SendRequest<Body>,
        /// Streams in use.
        open: Arc<AtomicUsize>,
        /// How many the server allows, as far as it has said.
        limit: Arc<AtomicUsize>,
    },
    /// The server doesn't offer HTTP/2.
    Http1,
}

impl Wire {
    pub(super) fn new(
        endpoint: Uri,
        connectors: Connectors,
        timing: Timing,
        greeting: Option<Arc<Greeting>>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let owned = Owned { tasks, stop: stop.clone() };
        let http1 = legacy::Client::builder(owned.clone())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(HTTP1_IDLE_TIME)
            .pool_max_idle_per_host(HTTP1_IDLE)
            .build(connectors.http1);
        Self {
            endpoint,
            connector: connectors.negotiated,
            http1,
            slots: Mutex::new(Vec::new()),
            timing,
            greeting,
            owned,
            _ends: stop.drop_guard(),
        }
    }

    /// Sends a request; the answer's body is still to come.
    ///
    /// # Errors
    /// Where no connection is there and none can be made, or it breaks.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Option<Open>), LinkError> {
        let mut last = false;
        loop {
            match self.attempt(request.headers().get(AUTHORIZATION)).await? {
                Protocol::Http1 => {
                    let answer = self.http1.request(request).await;
                    let answer = answer.map_err(|error| LinkError::broken(&self.endpoint, &error))?;
                    return Ok((answer, None));
                }
                Protocol::Http2 { mut sender, open, .. } => {
                    let open = Open::on(&open);
                    let authorization = request.headers().get(AUTHORIZATION).cloned();
                    let mut error = match sender.try_send_request(request).await {
                        Ok(answer) => {
                            if answer.status() != StatusCode::UNAUTHORIZED {
                                self.met(sender, authorization);
                            }
                            return Ok((answer, Some(open)));
                        }
                        Err(error) => error,
                    };
                    match error.take_message() {
                        // It closed between the look and the sending: nothing of the request is out, so send it anew.
                        Some(unsent) if !last => request = unsent,
                        _ => return Err(LinkError::broken(&self.endpoint, error.error())),
                    }
                    last = true;
                }
            }
        }
    }

    /// Somebody has answered on a connection: for the later ones it is found out who.
    fn met(&self, sender: http2::SendRequest<Body>, authorization: Option<HeaderValue>) {
        let Some(greeting) = self.greeting.clone().filter(|greeting| greeting.answered()) else { return };
        let (endpoint, limit) = (self.endpoint.clone(), self.timing.answer);
        self.owned.execute(async move { _ = greeting.meet(sender, &endpoint, authorization, limit).await });
    }

    /// A connection with room, the one that is being made, or a new one.
    fn attempt(&self, authorization: Option<&HeaderValue>) -> Attempt {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|attempt| !is_over(attempt));
        if let Some(found) = slots.iter().find(|attempt| has_room(attempt)) {
            return found.clone();
        }
        if slots.len() >= CONNECTIONS
            && let Some(first) = slots.first()
        {
            return first.clone();
        }
        let attempt = self.connect(authorization.cloned());
        slots.push(attempt.clone());
        attempt
    }

    fn connect(&self, authorization: Option<HeaderValue>) -> Attempt {
        let (connector, endpoint) = (self.connector.clone(), self.endpoint.clone());
        let (timing, owned, greeting) = (self.timing.clone(), self.owned.clone(), self.greeting.clone());
        let making = async move {
            let (limit, answer) = (timing.connect, timing.answer);
            let making = handshake(connector, endpoint.clone(), timing, owned);
            let made = tokio::time::timeout(limit, making).await.map_err(|_| LinkError::Connect {
                endpoint: address(&endpoint),
                why: format!("not within {} s", limit.as_secs_f32()),
            })??;
            let (Protocol::Http2 { sender, .. }, Some(greeting)) = (&made, greeting) else { return Ok(made) };
            // The first is met by its first request: were that refused, the connection would be closed under it.
            if !greeting.is_first() {
                greeting.meet(sender.clone(), &endpoint, authorization, answer).await?;
            }
            Ok(made)
        };
        // A task of its own: who asked first may lose interest, the others still wait for it.
        let endpoint = address(&self.endpoint);
        let task = self.owned.tasks.spawn(self.owned.stop.clone().run_until_cancelled_owned(making));
        let ended = move |ended: Result<Option<_>, _>| match ended {
            Ok(Some(made)) => made,
            Ok(None) => Err(LinkError::Connect { endpoint, why: "the credentials have changed".to_owned() }),
            Err(error) => Err(LinkError::Connect { endpoint, why: cause(&error) }),
        };
        task.map(ended).boxed().shared()
    }
}

fn is_over(attempt: &Attempt) -> bool {
    match attempt.peek() {
        None | Some(Ok(Protocol::Http1)) => false,
        Some(Ok(Protocol::Http2 { sender, .. })) => sender.is_closed(),
        Some(Err(_)) => true,
    }
}

fn has_room(attempt: &Attempt) -> bool {
    match attempt.peek() {
        Some(Ok(Protocol::Http2 { open, limit, .. })) => {
            open.load(Ordering::Relaxed) < limit.load(Ordering::Relaxed)
        }
        _ => true,
    }
}

async fn handshake(
    connector: Connect,
    endpoint: Uri,
    timing: Timing,
    owned: Owned,
) -> Result<Protocol, LinkError> {
    let stream = connector.oneshot(endpoint.clone()).await;
    let stream = stream.map_err(|error| LinkError::connect(&endpoint, error.as_ref()))?;
    if !stream.connected().is_negotiated_h2() {
        return Ok(Protocol::Http1);
    }
    let (sender, connection) = http2::Builder::new(owned.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(timing.ping_every)
        .keep_alive_timeout(timing.ping_timeout)
        .keep_alive_while_idle(true)
        .handshake(stream)
        .await
        .map_err(|error| LinkError::connect(&endpoint, &error))?;
    let address = address(&endpoint);
    let limit = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
    let said = Arc::clone(&limit);
    let mut connection = connection;
    owned.execute(async move {
        let ended = std::future::poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            said.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled
        });
        if let Err(error) = ended.await {
            tracing::debug!(endpoint = address, error = cause(&error), "a connection ended");
        }
    });
    Ok(Protocol::Http2 { sender, open: Arc::default(), limit })
}

/// Runs what a connection needs, as tasks that are counted and end with it.
#[derive(Clone)]
struct Owned {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<F> Executor<F> for Owned
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(future));
    }
}
