//! The connection to a member.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::{AsyncBufReadExt as _, AsyncReadExt as _, TryStreamExt as _};
use http::{Request, Version};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use serde_json::json;

use crate::support::{Fake, Setup, answer, config_map, eventually, handler_of, options, stream, years_ago};

fn is_watch(request: &Request<hyper::body::Incoming>) -> bool {
    request.uri().query().is_some_and(|query| query.contains("watch=true"))
}

fn watch_request(name: usize) -> Request<Vec<u8>> {
    Request::get(format!("/api/v1/namespaces/n{name}/configmaps?watch=true")).body(Vec::new()).unwrap()
}

/// A server whose watches each begin with a line, and stay open while the returned senders live.
async fn watching(setup: Setup) -> (Fake, Arc<Mutex<Vec<tokio::sync::mpsc::Sender<String>>>>) {
    let senders: Arc<Mutex<Vec<_>>> = Arc::default();
    let kept = Arc::clone(&senders);
    let fake = Fake::start(
        setup,
        handler_of(move |request| {
            if !is_watch(request) {
                return answer(200, &config_map("settings"));
            }
            let (sender, answer) = stream();
            sender.try_send("begun\n".to_owned()).unwrap();
            kept.lock().unwrap().push(sender);
            answer
        }),
    )
    .await;
    (fake, senders)
}

/// One member costs one descriptor, whatever is watched on it: with one connection a watch, 1,000 members of 20
/// kinds would need 20,000.
#[tokio::test]
async fn watches_and_requests_share_one_connection() {
    let (fake, senders) = watching(Setup::default()).await;
    let client = fake.client();
    let mut watches =
        futures::future::join_all((0..20).map(|n| client.request_stream(watch_request(n)))).await;
    let maps: Api<ConfigMap> = Api::namespaced(client, "demo");
    let asked = futures::future::join_all((0..50).map(|_| maps.get("settings"))).await;
    assert!(asked.iter().all(Result::is_ok), "{asked:?}");
    for sender in senders.lock().unwrap().iter() {
        sender.try_send("more\n".to_owned()).unwrap();
    }
    for watch in &mut watches {
        let watch = watch.as_mut().unwrap();
        let mut lines = String::new();
        watch.read_line(&mut lines).await.unwrap();
        watch.read_line(&mut lines).await.unwrap();
        assert_eq!(lines, "begun\nmore\n");
    }
    assert_eq!(fake.accepted(), 1, "connections for 20 watches and 50 requests");
}

/// A server that allows few streams must not make requests wait behind watches for ever.
#[tokio::test]
async fn a_low_limit_of_streams_is_met_with_another_connection() {
    let (fake, _senders) = watching(Setup { streams: 4, ..Setup::default() }).await;
    let client = fake.client();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "demo");
    // The limit is known with the first answer.
    maps.get("settings").await.unwrap();
    let mut watches = Vec::new();
    for n in 0..6 {
        watches.push(client.request_stream(watch_request(n)).await.unwrap());
    }
    maps.get("settings").await.unwrap();
    assert_eq!(fake.accepted(), 2, "connections for 6 watches of 4 at most on each");
}

/// What doesn't speak HTTP/2 is spoken to in HTTP/1.1.
#[tokio::test]
async fn servers_without_http2_are_spoken_to() {
    let versions: Arc<Mutex<Vec<Version>>> = Arc::default();
    let seen = Arc::clone(&versions);
    let setup = Setup { alpn: &["http/1.1"], ..Setup::default() };
    let handler = handler_of(move |request| {
        seen.lock().unwrap().push(request.version());
        answer(200, &config_map("settings"))
    });
    let fake = Fake::start(setup, handler).await;
    let maps: Api<ConfigMap> = Api::namespaced(fake.client(), "demo");
    maps.get("settings").await.unwrap();
    maps.get("settings").await.unwrap();
    assert_eq!(*versions.lock().unwrap(), [Version::HTTP_11; 2]);
}

/// Requests carry the token, and the path that the endpoint has.
#[tokio::test]
async fn requests_carry_the_token_and_the_endpoints_path() {
    let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let fake = Fake::answering(move |request| {
        let token = request.headers()["authorization"].to_str().unwrap().to_owned();
        kept.lock().unwrap().push((request.uri().path().to_owned(), token));
        answer(200, &config_map("settings"))
    })
    .await;
    let authority = Some(fake.authority.certificate_pem().to_owned());
    let endpoint = format!("{}/clusters/m1/", fake.endpoint());
    let identity = fleet_members::Identity::Token("hush".to_owned().into());
    let credentials = fleet_members::Credentials::new(&endpoint, authority, identity).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(credentials.client().unwrap(), "demo");
    maps.get("settings").await.unwrap();
    let path = "/clusters/m1/api/v1/namespaces/demo/configmaps/settings".to_owned();
    assert_eq!(*seen.lock().unwrap(), [(path, "Bearer hush".to_owned())]);
}

/// A member that stops answering without closing anything must not look alive for the length of a watch.
#[tokio::test]
async fn pings_notice_a_silent_black_hole() {
    let (fake, _senders) = watching(Setup::default()).await;
    let client = fake.client();
    let mut watch = client.request_stream(watch_request(0)).await.unwrap();
    let mut line = String::new();
    watch.read_line(&mut line).await.unwrap();
    fake.freeze();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(15), watch.read_to_end(&mut rest)).await;
    let error = ended.expect("pings end the watch").expect_err("the watch is broken");
    assert!(error.to_string().contains("broke"), "{error}");
    // What it does afterwards is on a new connection.
    fake.thaw();
    let maps: Api<ConfigMap> = Api::namespaced(client, "demo");
    maps.get("settings").await.unwrap();
    assert_eq!(fake.accepted(), 2);
}

/// A server that is about to end, or sheds load (`--goaway-chance`), sends clients away: what is under way is
/// finished, nothing fails.
#[tokio::test]
async fn a_server_that_sends_away_costs_no_request() {
    let (fake, senders) = watching(Setup::default()).await;
    let client = fake.client();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "demo");
    let mut watch = client.request_stream(watch_request(0)).await.unwrap();
    maps.get("settings").await.unwrap();
    fake.go_away();
    for _ in 0..20 {
        maps.get("settings").await.unwrap();
        tokio::task::yield_now().await;
    }
    eventually("a second connection", || {
        let waker = futures::task::noop_waker();
        let mut asked = std::pin::pin!(maps.get("settings"));
        let _ = asked.as_mut().poll(&mut std::task::Context::from_waker(&waker));
        fake.accepted() == 2
    })
    .await;
    senders.lock().unwrap()[0].try_send("still here\n".to_owned()).unwrap();
    let mut lines = String::new();
    watch.read_line(&mut lines).await.unwrap();
    watch.read_line(&mut lines).await.unwrap();
    assert_eq!(lines, "begun\nstill here\n");
}

/// A connection that is cut fails what is under way, and nothing after it.
#[tokio::test]
async fn a_cut_connection_is_made_anew() {
    let (fake, _senders) = watching(Setup::default()).await;
    let client = fake.client();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "demo");
    let mut watch = client.request_stream(watch_request(0)).await.unwrap();
    fake.cut();
    let mut rest = Vec::new();
    assert!(watch.read_to_end(&mut rest).await.is_err(), "a cut watch that looks complete would lose events");
    eventually("the cut is seen", || fake.open() == 0).await;
    maps.get("settings").await.unwrap();
    assert_eq!(fake.accepted(), 2);
}

/// Behind the address stands another cluster since the connection broke: what was meant for the one before must not
/// reach it, not even the request that opens the new connection.
#[tokio::test]
async fn nothing_is_sent_to_a_cluster_that_took_anothers_place() {
    let who = Arc::new(Mutex::new("before"));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (answering, kept) = (Arc::clone(&who), Arc::clone(&asked));
    let handler = handler_of(move |request| {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let mut object = config_map(&name);
        object["metadata"]["uid"] = json!(*answering.lock().unwrap());
        assert_eq!(request.headers()["authorization"], "Bearer token", "{name}");
        kept.lock().unwrap().push(name);
        answer(200, &object)
    });
    let fake = Fake::start(Setup::default(), handler).await;
    let maps: Api<ConfigMap> = Api::namespaced(fake.client(), "demo");
    maps.get("settings").await.unwrap();
    eventually("it is known who answers", || asked.lock().unwrap().contains(&"kube-system".to_owned())).await;
    // The same cluster on a new connection: nothing is lost.
    fake.cut();
    eventually("the cut is seen", || fake.open() == 0).await;
    maps.get("settings").await.unwrap();
    fake.cut();
    eventually("the cut is seen", || fake.open() == 0).await;
    *who.lock().unwrap() = "after";
    asked.lock().unwrap().clear();
    let error = maps.get("settings").await.unwrap_err();
    assert!(format!("{error:?}").contains("Replaced"), "{error:?}");
    assert_eq!(*asked.lock().unwrap(), ["kube-system"]);
    // Whoever heard that asks who it is before anything else.
    maps.get("settings").await.unwrap();
}

/// An API server closes a connection after a 401. Each request must still learn that it was refused, and not that the
/// connection broke: else nobody is told to renew credentials, and no plugin is asked for new ones.
#[tokio::test]
async fn credentials_that_are_refused_are_told_to_every_request() {
    let refuses = Arc::new(AtomicBool::new(false));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (refusing, kept) = (Arc::clone(&refuses), Arc::clone(&asked));
    let handler = handler_of(move |request| {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        kept.lock().unwrap().push(name.clone());
        if refusing.load(Ordering::SeqCst) {
            return answer(
                401,
                &json!({"kind": "Status", "status": "Failure", "reason": "Unauthorized", "code": 401}),
            );
        }
        let mut object = config_map(&name);
        object["metadata"]["uid"] = json!("one");
        answer(200, &object)
    });
    let fake = Fake::start(Setup::default(), handler).await;
    let maps: Api<ConfigMap> = Api::namespaced(fake.client(), "demo");
    maps.get("settings").await.unwrap();
    eventually("it is known who answers", || asked.lock().unwrap().contains(&"kube-system".to_owned())).await;
    refuses.store(true, Ordering::SeqCst);
    fake.cut();
    eventually("the cut is seen", || fake.open() == 0).await;
    let error = maps.get("settings").await.unwrap_err();
    assert!(format!("{error:?}").contains("Refused"), "{error:?}");
    for _ in 0..2 {
        fake.cut();
        eventually("the cut is seen", || fake.open() == 0).await;
        asked.lock().unwrap().clear();
        let error = maps.get("settings").await.unwrap_err();
        assert!(matches!(&error, kube::Error::Api(status) if status.code == 401), "{error:?}");
        assert_eq!(*asked.lock().unwrap(), ["settings"], "a question before it had closed the connection");
    }
}

/// What can be wrong with certificates, and the words that a person needs.
#[tokio::test]
async fn certificates_are_judged_in_words() {
    let fine = Fake::answering(|_| answer(200, &config_map("settings"))).await;
    let other = Fake::answering(|_| answer(200, &config_map("settings"))).await;
    let expired = Setup { made: years_ago(30), ..Setup::default() };
    let expired = Fake::start(expired, handler_of(|_| answer(200, &config_map("settings")))).await;
    let token = || fleet_members::Identity::Token("token".to_owned().into());
    let authority = |fake: &Fake| Some(fake.authority.certificate_pem().to_owned());
    for (endpoint, authority, said) in [
        (fine.endpoint(), authority(&other), "isn't signed by the authority"),
        (expired.endpoint(), authority(&expired), "has expired"),
        ("https://127.0.0.1:1".to_owned(), authority(&fine), "refused"),
    ] {
        let credentials = fleet_members::Credentials::new(&endpoint, authority, token()).unwrap();
        let error = credentials.client().unwrap().apiserver_version().await.unwrap_err();
        let chain = format!("{error} / {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(chain.contains(said), "{endpoint}: {chain}");
    }
    // Ours ran out: the member says so after the handshake (RFC 8446 4.4.2.4), in an alert.
    let ours = fine.authority.issue_client("us", &[], years_ago(3)).unwrap();
    let ours =
        fleet_members::Identity::Certificate { certificate: ours.certificate_pem, key: ours.key_pem.into() };
    let ours = fleet_members::Credentials::new(&fine.endpoint(), authority(&fine), ours).unwrap();
    let error = ours.client().unwrap().apiserver_version().await.unwrap_err();
    assert!(format!("{error:?}").contains("refuses our client certificate as expired"), "{error:?}");
    let mut named = fine.credentials().secret("fleetctl-system", "m1");
    named.data.as_mut().unwrap().insert("tls-server-name".to_owned(), ByteString(b"elsewhere".to_vec()));
    let named = fleet_members::Credentials::read(&named).unwrap().client().unwrap();
    let error = named.apiserver_version().await.unwrap_err().to_string();
    assert!(error.contains("is for another name"), "{error}");
    let error = fleet_members::Credentials::new(&fine.endpoint(), Some("nonsense".to_owned()), token())
        .unwrap()
        .client()
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "key \"ca.crt\": it holds no certificate in PEM form");
}

/// Priority and fairness refuses with a header and plain text; whoever reads bodies only must still learn when to
/// come back.
#[tokio::test]
async fn a_refusal_says_when_to_come_back() {
    let fake = Fake::answering(|request| match request.uri().path() {
        "/version" => {
            let mut refusal = answer(429, &json!("Too many requests, please try again later."));
            refusal.headers_mut().insert("retry-after", "7".parse().unwrap());
            refusal
        }
        _ => answer(503, &json!({"kind": "Status", "status": "Failure", "message": "etcd", "code": 503})),
    })
    .await;
    let client = fake.client();
    let Err(kube::Error::Api(status)) = client.apiserver_version().await else { panic!("no refusal") };
    assert_eq!((status.code, status.details.unwrap().retry_after_seconds), (429, 7));
    let Err(kube::Error::Api(status)) = client.list_api_groups().await else { panic!("no refusal") };
    assert_eq!((status.code, status.message.as_str()), (503, "etcd"));
}

/// A body that stops in the middle must end the request, not hold it for ever; a watch may be silent.
#[tokio::test]
async fn a_body_that_falls_silent_ends_the_request() {
    let senders: Arc<Mutex<Vec<_>>> = Arc::default();
    let kept = Arc::clone(&senders);
    let fake = Fake::answering(move |_| {
        let (sender, answer) = stream();
        sender.try_send("{\"kind\":".to_owned()).unwrap();
        kept.lock().unwrap().push(sender);
        answer
    })
    .await;
    let mut options = options();
    options.timing.answer = std::time::Duration::from_millis(200);
    let client = fake.credentials().client_with(&options).unwrap();
    let watch = client.request_stream(watch_request(0)).await.unwrap();
    let error = client.apiserver_version().await.unwrap_err();
    assert!(format!("{error:?}").contains("Silent"), "{error:?}");
    let sender = senders.lock().unwrap()[0].clone();
    sender.try_send(" 1}\n".to_owned()).unwrap();
    assert_eq!(watch.lines().try_next().await.unwrap(), Some("{\"kind\": 1}".to_owned()));
}
