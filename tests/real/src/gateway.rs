//! A gateway before a member's API server. It breaks what a healthy server can't be made to break: it is slow, refuses,
//! loses answers, keeps writes back, and lets watches fall silent, while connections and their pings stay sound.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::fleet::SYSTEM;
use crate::{Cluster, Fleet};

/// What it does with requests that come from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Passes them on.
    Fair,
    /// Passes each on after a while.
    Slow(Duration),
    /// Answers as an API server that has too much to do: 429, come back in a second.
    Crowded,
    /// Answers as an API server that is broken inside: 500.
    Failing,
    /// Passes writes on and never answers them; the rest it passes on.
    Mute,
    /// Keeps writes back until [`Gateway::release`], even those whose senders have given up meanwhile; the rest it
    /// passes on.
    Keeping,
}

type Answer = UnsyncBoxBody<Bytes, hyper::Error>;

struct State {
    weather: watch::Sender<Weather>,
    /// How many requests met other than fair weather.
    met: watch::Sender<usize>,
    released: watch::Sender<bool>,
    /// How often open watches were silenced.
    silenced: AtomicU64,
    upstream: Uri,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A running gateway. Dropped, it is gone with all its connections.
pub struct Gateway {
    state: Arc<State>,
    _accepting: JoinSet<()>,
    _ends: DropGuard,
}

impl Gateway {
    /// Starts one before a member, in fair weather, and leads the controller through it. To the member it is the
    /// controller, whoever comes.
    ///
    /// # Errors
    /// Where the member isn't registered, or no port is free.
    pub async fn before(fleet: &Fleet, member: &Cluster) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let stop = CancellationToken::new();
        let state = Arc::new(State {
            weather: watch::Sender::new(Weather::Fair),
            met: watch::Sender::new(0),
            released: watch::Sender::new(false),
            silenced: AtomicU64::new(0),
            upstream: member.server().parse()?,
            client: client(member)?,
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("https://{}", listener.local_addr()?);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, acceptor(member)?, Arc::clone(&state)));
        let secrets: Api<Secret> = Api::namespaced(fleet.hub.client().await?, SYSTEM);
        let there = json!({ "stringData": { "endpoint": endpoint } });
        secrets.patch(member.name(), &PatchParams::default(), &Patch::Merge(&there)).await?;
        Ok(Self { state, _accepting: accepting, _ends: stop.drop_guard() })
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.state.weather.send_replace(weather);
        self.state.met.send_replace(0);
    }

    /// Waits until so many requests have met the present weather, which isn't fair.
    ///
    /// # Errors
    /// Where they don't come.
    pub async fn met(&self, number: usize) -> Result<()> {
        let mut met = self.state.met.subscribe();
        let wait = tokio::time::timeout(crate::wait::LONG, met.wait_for(|met| *met >= number)).await;
        wait.with_context(|| format!("not {number} requests in that weather"))??;
        Ok(())
    }

    /// Watches that are open now stay open and deliver nothing more.
    pub fn silence(&self) {
        self.state.silenced.fetch_add(1, Ordering::SeqCst);
    }

    /// Passes on what was kept back, and waits until it was answered.
    pub async fn release(&self) {
        self.state.released.send_replace(true);
        self.state.tasks.close();
        self.state.tasks.wait().await;
        self.state.tasks.reopen();
        self.state.released.send_replace(false);
    }
}

/// Goes to the member as the controller.
fn client(member: &Cluster) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>> {
    let pki = member.pki()?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.file("ca.crt"))?)?;
    let identity = pki.client(Fleet::CONTROLLER, &["system:masters"])?;
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http2().build();
    Ok(Client::builder(TokioExecutor::new()).http2_only(true).build(connector))
}

fn acceptor(member: &Cluster) -> Result<TlsAcceptor> {
    let pki = member.pki()?;
    let certificate = CertificateDer::from_pem_file(pki.file("server.crt"))?;
    let key = PrivateKeyDer::from_pem_file(pki.file("server.key"))?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => return,
            },
        };
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            let server = auto::Builder::new(TokioExecutor::new());
            // How a connection ends is the client's to tell.
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(state: &Arc<State>, request: Request<Incoming>) -> Response<Answer> {
    // Whole before it is counted: whoever waits for it may stop its sender then.
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return failing("the request broke") };
    let request = Request::from_parts(parts, body.to_bytes());
    let weather = *state.weather.borrow();
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let concerned = match weather {
        Weather::Fair => false,
        Weather::Mute | Weather::Keeping => writes,
        Weather::Slow(_) | Weather::Crowded | Weather::Failing => true,
    };
    if !concerned {
        return forward(state, request).await;
    }
    if let Weather::Slow(time) = weather {
        tokio::time::sleep(time).await;
    }
    state.met.send_modify(|met| *met += 1);
    match weather {
        Weather::Crowded => crowded(),
        Weather::Failing => failing("the weather is bad"),
        Weather::Fair | Weather::Slow(_) => forward(state, request).await,
        Weather::Mute => {
            forward(state, request).await;
            std::future::pending().await
        }
        Weather::Keeping => keep(state, request).await,
    }
}

/// Passes it on later, as a task of its own: it arrives even when the sender is gone.
async fn keep(state: &Arc<State>, request: Request<Bytes>) -> Response<Answer> {
    let (later, stop, mut released) = (Arc::clone(state), state.stop.clone(), state.released.subscribe());
    let kept = state.tasks.spawn(stop.run_until_cancelled_owned(async move {
        let _ = released.wait_for(|released| *released).await;
        forward(&later, request).await
    }));
    match kept.await {
        Ok(Some(answer)) => answer,
        _ => failing("the gateway ends"),
    }
}

async fn forward(state: &Arc<State>, request: Request<Bytes>) -> Response<Answer> {
    let (mut parts, body) = request.into_parts();
    let watches = parts.uri.query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
    let mut there = state.upstream.clone().into_parts();
    there.path_and_query = parts.uri.path_and_query().cloned();
    let Ok(there) = Uri::from_parts(there) else { return failing("no such place") };
    parts.uri = there;
    parts.version = http::Version::HTTP_2;
    parts.headers.remove(HOST);
    let answer = match state.client.request(Request::from_parts(parts, Full::new(body))).await {
        Ok(answer) => answer,
        Err(error) => return failing(&error.to_string()),
    };
    if !watches {
        return answer.map(BodyExt::boxed_unsync);
    }
    let (state, begun) = (Arc::clone(state), state.silenced.load(Ordering::SeqCst));
    answer.map(|body| {
        let heard = move |frame| {
            let silent = state.silenced.load(Ordering::SeqCst) > begun;
            std::future::ready((!silent).then_some(frame))
        };
        BodyExt::boxed_unsync(StreamBody::new(BodyStream::new(body).filter_map(heard)))
    })
}

/// Word for word what kube-apiserver's priority and fairness says.
fn crowded() -> Response<Answer> {
    let mut answer = said("Too many requests, please try again later.\n".to_owned());
    *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("1"));
    answer
}

fn failing(why: &str) -> Response<Answer> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "InternalError", "code": 500,
        "message": format!("Internal error occurred: {why}"),
    });
    let mut answer = said(status.to_string());
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}

fn said(text: String) -> Response<Answer> {
    Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync())
}
