use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use super::{Handler, Limits, MAX_BODY, RequestBody, connection, serve};
use crate::cluster::ClusterProfile;
use crate::identity::Identity;
use crate::pki::{Authority, KeyedCertificate};
use crate::server::{ApiServer, Options};
use crate::status::ApiError;

fn now() -> jiff::Timestamp {
    // The TLS library compares with the real clock.
    jiff::Timestamp::try_from(std::time::UNIX_EPOCH + std::time::UNIX_EPOCH.elapsed().unwrap()).unwrap()
}

type Body = Either<Full<Bytes>, StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

/// Tells who asked for what; `/watch` sends one event and then stays open, `/slow` never answers.
async fn echo(cluster: String, identity: Identity, request: Request<RequestBody>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/watch" {
        let event = stream::iter([Ok(Frame::data(Bytes::from_static(b"event\n")))]);
        return Response::new(Either::Right(StreamBody::new(event.chain(stream::pending()).boxed())));
    }
    if parts.uri.path() == "/slow" {
        std::future::pending::<()>().await;
    }
    let (status, answer) = match body.read().await {
        Ok(bytes) => (
            StatusCode::OK,
            json!({
                "cluster": cluster, "user": identity.user, "groups": identity.groups,
                "uri": parts.uri.to_string(), "bytes": bytes.len(), "version": format!("{:?}", parts.version),
            }),
        ),
        Err(error) => {
            let error = ApiError::from(error);
            (StatusCode::from_u16(error.code()).unwrap(), error.to_status())
        }
    };
    let mut response = Response::new(Either::Left(Full::from(answer.to_string())));
    *response.status_mut() = status;
    response
}

struct Server {
    authority: Authority,
    address: SocketAddr,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::of(echo, limits).await
    }

    async fn of(handler: impl Handler, limits: Limits) -> Self {
        let authority = Authority::in_memory(now()).unwrap();
        let tls = authority.server_config(&authority.server(&[], now()).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(serve(listener, Arc::new(tls), handler, limits, shutdown.clone()));
        Self { authority, address, shutdown, tasks }
    }

    fn client(&self, groups: &[&str]) -> KeyedCertificate {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        self.authority.issue_client("alice", &groups, now()).unwrap()
    }

    async fn connect(
        &self,
        certificate: Option<&KeyedCertificate>,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        connect(&self.authority, stream, certificate, alpn).await
    }

    async fn http1(&mut self, certificate: Option<&KeyedCertificate>) -> http1::SendRequest<Full<Bytes>> {
        let stream = self.connect(certificate, &[]).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.tasks.spawn(async { connection.await.unwrap_or_default() });
        sender
    }
}

async fn connect<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    authority: &Authority,
    stream: S,
    certificate: Option<&KeyedCertificate>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<S>> {
    let (chain, _) = KeyedCertificate {
        certificate_pem: authority.certificate_pem().to_owned(),
        key_pem: authority.issue_client("x", &[], now()).unwrap().key_pem,
    }
    .der()
    .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain);
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match certificate {
        Some(certificate) => {
            let (chain, key) = certificate.der().unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "localhost").body(Full::default()).unwrap()
}

async fn json_of(response: Response<hyper::body::Incoming>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

/// Nothing in these tests takes long; what does, hangs.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("took too long")
}

#[tokio::test]
async fn a_client_certificate_tells_who_asks_and_the_path_which_cluster() {
    let mut server = Server::start(Limits::default()).await;
    let certificate = server.client(&["system:masters", "approvers"]);
    let mut sender = server.http1(Some(&certificate)).await;
    let told = json_of(sender.send_request(get("/clusters/m1/api/v1/pods?watch=0")).await.unwrap()).await;
    assert_eq!(told["cluster"], "m1");
    assert_eq!(told["uri"], "/api/v1/pods?watch=0");
    assert_eq!(told["user"], "alice");
    assert_eq!(told["groups"], json!(["system:masters", "approvers", "system:authenticated"]));
    let told = json_of(sender.send_request(get("/api")).await.unwrap()).await;
    assert_eq!(told["cluster"], "hub");
}

#[tokio::test]
async fn without_a_certificate_a_request_is_anonymous() {
    let mut server = Server::start(Limits::default()).await;
    let mut sender = server.http1(None).await;
    let told = json_of(sender.send_request(get("/version")).await.unwrap()).await;
    assert_eq!(told["user"], "system:anonymous");
    assert_eq!(told["groups"], json!(["system:unauthenticated"]));
}

/// Accepting a foreign authority's certificate would let anybody be `system:masters`.
#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let server = Server::start(Limits::default()).await;
    let foreign = Authority::in_memory(now()).unwrap();
    let certificate = foreign.issue_client("mallory", &["system:masters".into()], now()).unwrap();
    // With TLS 1.3 the client's handshake is over before the server judges it: the refusal shows on reading.
    let refused = match server.connect(Some(&certificate), &[]).await {
        Err(_) => true,
        Ok(mut stream) => {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            soon(stream.read_u8()).await.is_err()
        }
    };
    assert!(refused);
    // A serving certificate is no client certificate either.
    let serving = server.authority.issue_server(&[], now()).unwrap();
    let refused = match server.connect(Some(&serving), &[]).await {
        Err(_) => true,
        Ok(mut stream) => soon(stream.read_u8()).await.is_err(),
    };
    assert!(refused);
    // And the client refuses a server that it doesn't know.
    let stream = TcpStream::connect(server.address).await.unwrap();
    assert!(connect(&foreign, stream, None, &[]).await.is_err());
}

#[tokio::test]
async fn http2_is_negotiated_and_carries_many_requests_at_once() {
    let server = Server::start(Limits::default()).await;
    let certificate = server.client(&[]);
    let stream = server.connect(Some(&certificate), &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async { connection.await.unwrap_or_default() });
    let mut answers = JoinSet::new();
    for number in 0..20 {
        let mut sender = sender.clone();
        let request = get(&format!("https://localhost/clusters/m{number}/api"));
        answers.spawn(async move { (number, json_of(sender.send_request(request).await.unwrap()).await) });
    }
    while let Some(answer) = soon(answers.join_next()).await {
        let (number, told) = answer.unwrap();
        assert_eq!(told["cluster"], format!("m{number}"));
        assert_eq!(told["version"], "HTTP/2.0");
        assert_eq!(told["user"], "alice");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let mut server = Server::start(Limits::default()).await;
    let post = |bytes: usize| {
        Request::post("/api").header("host", "localhost").body(Full::from(vec![b' '; bytes])).unwrap()
    };
    let mut sender = server.http1(None).await;
    let told = json_of(sender.send_request(post(MAX_BODY)).await.unwrap()).await;
    assert_eq!(told["bytes"], MAX_BODY);
    // Announced: refused before a byte is read.
    let mut stream = server.connect(None, &[]).await.unwrap();
    let head = format!("POST /api HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", MAX_BODY + 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    // Not announced: refused once it is past the limit.
    let mut stream = server.connect(None, &[]).await.unwrap();
    stream
        .write_all(b"POST /api HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 65536], b"\r\n"].concat();
        while writing.write_all(&chunk).await.is_ok() {}
    });
    let mut answer = vec![0; 12];
    soon(reading.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

/// A TLS connection over memory, where time can be paused.
async fn in_memory(
    limits: Limits,
    alpn: &[&str],
) -> (TlsStream<tokio::io::DuplexStream>, CancellationToken, JoinSet<()>) {
    let authority = Authority::in_memory(now()).unwrap();
    let tls = authority.server_config(&authority.server(&[], now()).unwrap()).unwrap();
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let (acceptor, token) = (TlsAcceptor::from(Arc::new(tls)), shutdown.clone());
    tasks.spawn(async move { connection::serve(theirs, &acceptor, echo, Arc::new(limits), token).await });
    (connect(&authority, ours, None, alpn).await.unwrap(), shutdown, tasks)
}

/// Clients that dribble would otherwise hold every connection there may be.
#[tokio::test(start_paused = true)]
async fn slow_clients_are_dropped() {
    // Headers, one byte every five seconds.
    let (stream, _shutdown, mut tasks) =
        in_memory(Limits { headers: Duration::from_secs(20), ..Limits::default() }, &[]).await;
    let before = tokio::time::Instant::now();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let dribble = async {
        for byte in b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ".iter().chain(std::iter::repeat(&b'x')) {
            if writing.write_all(&[*byte]).await.is_err() || writing.flush().await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    };
    let ended = async { while !matches!(reading.read(&mut [0; 64]).await, Ok(0) | Err(_)) {} };
    tokio::join!(
        async {
            tokio::select! { () = dribble => {}, () = ended => {} }
        },
        async { while tasks.join_next().await.is_some() {} }
    );
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(30), "{took:?}");

    // An HTTP/2 client that never asks anything.
    let (_stream, _shutdown, mut tasks) = in_memory(Limits::default(), &["h2"]).await;
    let before = tokio::time::Instant::now();
    tasks.join_next().await.unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(200), "{:?}", before.elapsed());

    // A body that doesn't come.
    let (mut stream, _shutdown, _tasks) = in_memory(Limits::default(), &[]).await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    let before = tokio::time::Instant::now();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    assert!(before.elapsed() >= Duration::from_secs(60));
}

/// A client that connects and says nothing must not hold its place for ever.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_is_given_up() {
    let authority = Authority::in_memory(now()).unwrap();
    let tls = authority.server_config(&authority.server(&[], now()).unwrap()).unwrap();
    let (_ours, theirs) = tokio::io::duplex(1024);
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let before = tokio::time::Instant::now();
    connection::serve(theirs, &acceptor, echo, Arc::new(Limits::default()), CancellationToken::new()).await;
    assert_eq!(before.elapsed().as_secs(), 10);
}

/// A listener that can't end holds `local down` up; one that cuts watches makes clients report errors.
#[tokio::test]
async fn shutdown_ends_watches_cleanly_and_cuts_what_stays() {
    let mut server = Server::start(Limits { grace: Duration::from_millis(300), ..Limits::default() }).await;
    let mut sender = server.http1(None).await;
    let mut watch = sender.send_request(get("/watch")).await.unwrap().into_body();
    assert_eq!(watch.frame().await.unwrap().unwrap().into_data().unwrap(), "event\n");
    let mut stuck = server.http1(None).await;
    let stuck = stuck.send_request(get("/slow"));
    let idle = server.http1(None).await;
    server.shutdown.cancel();
    assert!(soon(watch.frame()).await.is_none(), "the watch ends without an error");
    soon(async { while server.tasks.join_next().await.is_some() {} }).await;
    assert!(stuck.await.is_err());
    assert!(idle.is_closed());
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// One client's connections must not keep another's waiting for ever once they end.
#[tokio::test]
async fn over_the_limit_a_connection_waits_for_its_turn() {
    let mut server = Server::start(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = server.http1(None).await;
    json_of(first.send_request(get("/")).await.unwrap()).await;
    let mut second = Box::pin(server.connect(None, &[]));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut second).await.is_err());
    drop(first);
    soon(second).await.unwrap();
}

/// The whole way: TLS, identity, cluster, verb, store, watch, shutdown.
#[tokio::test]
async fn the_api_server_answers_behind_the_listener() {
    let options = Options {
        clock: Arc::new(now),
        seed: 1,
        version: String::new(),
        token_key: None,
        certificate_authority: String::new(),
        author: None,
        advisor: None,
    };
    let api = ApiServer::new(fleet_store::Store::memory(fleet_store::Options::default()), options);
    for cluster in ["hub", "m1"] {
        api.create_cluster(cluster, ClusterProfile::default()).await.unwrap();
    }
    let mut server = Server::of(api, Limits::default()).await;
    let certificate = server.client(&["system:masters"]);
    let mut sender = server.http1(Some(&certificate)).await;
    let maps = "/clusters/m1/api/v1/namespaces/default/configmaps";
    let watch = get(&format!("{maps}?watch=1&fieldSelector=metadata.name%3Dours"));
    let mut watcher = server.http1(Some(&certificate)).await;
    let mut watch = watcher.send_request(watch).await.unwrap().into_body();
    let post = |path: &str, body: String| {
        let request =
            Request::post(path).header("host", "localhost").header("content-type", "application/json");
        request.body(Full::<Bytes>::from(body)).unwrap()
    };
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ours"}}).to_string();
    let response = soon(sender.send_request(post(maps, map))).await.unwrap();
    assert_eq!(response.status(), 201);
    let created = json_of(response).await;
    let event = soon(watch.frame()).await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!((&event["type"], &event["object"]["metadata"]), (&json!("ADDED"), &created["metadata"]));
    let missing = get("/api/v1/namespaces/default/configmaps/ours");
    assert_eq!(sender.send_request(missing).await.unwrap().status(), 404, "the hub is another cluster");
    let large = post(maps, " ".repeat(MAX_BODY + 1));
    let refused = soon(sender.send_request(large)).await.unwrap();
    assert_eq!(refused.status(), 413);
    assert_eq!(json_of(refused).await["reason"], "RequestEntityTooLarge");

    let mut nobody = server.http1(None).await;
    assert_eq!(nobody.send_request(get("/version")).await.unwrap().status(), 200);
    let refused = json_of(nobody.send_request(get(maps)).await.unwrap()).await;
    assert_eq!(refused["code"], 403, "{refused}");

    server.shutdown.cancel();
    assert!(soon(watch.frame()).await.is_none(), "the watch ends without an error");
    soon(async { while server.tasks.join_next().await.is_some() {} }).await;
}

/// Broken: every second small answer on a connection, an event of a watch say, comes 40 ms late.
#[tokio::test]
async fn small_answers_are_sent_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slots = Arc::new(tokio::sync::Semaphore::new(1));
    let (accepted, client) =
        tokio::join!(super::accept(&listener, &slots), TcpStream::connect(listener.local_addr().unwrap()));
    client.unwrap();
    assert!(accepted.unwrap().0.nodelay().unwrap());
}
