//! A small HTTPS server whose connections are counted, frozen, cut and sent away.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fleet_apiserver::ApiServer;
use fleet_apiserver::pki::Authority;
use fleet_members::remote::Timing;
use fleet_members::{Credentials, Identity, RemoteOptions};
use fleet_store::Store;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What tells who a server is.
pub(crate) const WHO: &str = "/api/v1/namespaces/kube-system";

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Handler = Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// What a server is like.
pub(crate) struct Setup {
    pub(crate) alpn: &'static [&'static str],
    /// The most HTTP/2 streams on one connection.
    pub(crate) streams: u32,
    /// When its certificate was made, which lasts for less than two years.
    pub(crate) made: Timestamp,
}

impl Default for Setup {
    fn default() -> Self {
        Self { alpn: &["h2", "http/1.1"], streams: 100, made: Timestamp::now() }
    }
}

/// What happens to all connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Cut,
    GoAway,
}

/// The server; dropped, it is gone.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Arc<Authority>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    frozen: Arc<AtomicBool>,
    orders: broadcast::Sender<Order>,
    _tasks: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start(setup: Setup, handler: Handler) -> Self {
        let authority = Arc::new(Authority::in_memory(setup.made).unwrap());
        let serving = authority.issue_server(&[], setup.made).unwrap();
        let mut tls = authority.server_config(&serving).unwrap();
        tls.alpn_protocols = setup.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let orders = broadcast::channel(16).0;
        let telling = orders.clone();
        let (accepted, open, frozen) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let mut tasks = JoinSet::new();
        let (counted, gauge, ice) = (Arc::clone(&accepted), Arc::clone(&open), Arc::clone(&frozen));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let stream = Freezable { stream, frozen: Arc::clone(&ice) };
                let open = Open::new(&gauge);
                let (acceptor, handler, told) = (acceptor.clone(), Arc::clone(&handler), telling.subscribe());
                let streams = setup.streams;
                connections.spawn(async move {
                    let _open = open;
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = Serve(handler);
                    let io = TokioIo::new(stream);
                    if http2 {
                        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .timer(TokioTimer::new())
                            .max_concurrent_streams(streams)
                            .serve_connection(io, service);
                        obey(serving, told, |serving| serving.graceful_shutdown()).await;
                    } else {
                        let serving = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .serve_connection(io, service);
                        obey(serving, told, |serving| serving.graceful_shutdown()).await;
                    }
                });
            }
        });
        Self { address, authority, accepted, open, frozen, orders, _tasks: tasks }
    }

    /// A server that answers requests with objects. Who it is it says by itself: that is asked on each new connection.
    pub(crate) async fn answering(
        handler: impl Fn(&Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let handler = move |request: &Request<Incoming>| match request.uri().path().ends_with(WHO) {
            true => answer(200, &serde_json::json!({"metadata": {"name": "kube-system", "uid": "uid-1"}})),
            false => handler(request),
        };
        Self::start(Setup::default(), handler_of(handler)).await
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.address.port())
    }

    pub(crate) fn credentials(&self) -> Credentials {
        self.credentials_at(&self.endpoint())
    }

    pub(crate) fn credentials_at(&self, endpoint: &str) -> Credentials {
        let authority = Some(self.authority.certificate_pem().to_owned());
        Credentials::new(endpoint, authority, Identity::Token("token".to_owned().into())).unwrap()
    }

    pub(crate) fn client(&self) -> kube::Client {
        self.credentials().client_with(&options()).unwrap()
    }

    /// Connections that were ever accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// From now on nothing is read or written any more, on open connections and new ones.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// New connections are served again; the frozen ones stay so.
    pub(crate) fn thaw(&self) {
        self.frozen.store(false, Ordering::SeqCst);
    }

    /// Ends every open connection at once.
    pub(crate) fn cut(&self) {
        let _ = self.orders.send(Order::Cut);
    }

    /// Sends every client away: what is under way is finished.
    pub(crate) fn go_away(&self) {
        let _ = self.orders.send(Order::GoAway);
    }
}

/// The handler as hyper takes it.
struct Serve(Handler);

impl hyper::service::Service<Request<Incoming>> for Serve {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

async fn obey<C>(serving: C, mut told: broadcast::Receiver<Order>, go_away: fn(Pin<&mut C>))
where
    C: Future + Send,
{
    let mut serving = std::pin::pin!(serving);
    loop {
        let order = tokio::select! {
            _ = &mut serving => return,
            order = told.recv() => order,
        };
        match order {
            Ok(Order::GoAway) => go_away(serving.as_mut()),
            _ => return,
        }
    }
}

/// An API server in memory, without clusters.
pub(crate) fn api_server() -> ApiServer {
    let options = fleet_apiserver::Options {
        clock: Arc::new(Timestamp::now),
        seed: 7,
        version: String::new(),
        token_key: None,
        certificate_authority: String::new(),
        author: None,
        advisor: None,
    };
    ApiServer::new(Store::memory(fleet_store::Options::default()), options)
}

/// A handler of a plain function.
pub(crate) fn handler_of(
    handler: impl Fn(&Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
) -> Handler {
    Arc::new(move |request| {
        let answer = handler(&request);
        Box::pin(async move { answer })
    })
}

/// An answer that is all there.
pub(crate) fn answer(code: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()).boxed_unsync())
        .unwrap()
}

/// A ConfigMap of a name.
pub(crate) fn config_map(name: &str) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "demo",
        "uid": "uid-1", "resourceVersion": "41", "labels": {}}})
}

/// An answer that goes on for as long as the sender lives.
pub(crate) fn stream() -> (mpsc::Sender<String>, Response<Body>) {
    let (sender, receiver) = mpsc::channel::<String>(16);
    let frames = futures::stream::unfold(receiver, |mut receiver| async {
        let text = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), receiver))
    });
    let body = StreamBody::new(frames);
    (sender, Response::new(body.boxed_unsync()))
}

/// Times that fit a test.
pub(crate) fn options() -> RemoteOptions {
    let mut options = RemoteOptions::new(Arc::new(Timestamp::now));
    options.timing = Timing {
        connect: Duration::from_secs(5),
        answer: Duration::from_secs(20),
        ping_every: Duration::from_millis(100),
        ping_timeout: Duration::from_millis(200),
    };
    options
}

/// Long before now.
pub(crate) fn years_ago(years: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(24 * 366 * years)
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        while !holds() {
            pause.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "{what} never came true");
}

struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A TCP stream that can become a black hole.
struct Freezable {
    stream: TcpStream,
    frozen: Arc<AtomicBool>,
}

impl Freezable {
    fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::SeqCst)
    }
}

impl AsyncRead for Freezable {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.is_frozen() {
            return Poll::Pending;
        }
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Freezable {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.is_frozen() {
            return Poll::Pending;
        }
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// The spec of a cluster that the hub accepts.
pub(crate) fn accepted() -> fleet_api::ManagedClusterSpec {
    fleet_api::ManagedClusterSpec { hub_accepts_client: true, ..fleet_api::ManagedClusterSpec::default() }
}
