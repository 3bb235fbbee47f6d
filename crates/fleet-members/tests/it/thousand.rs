//! A thousand members from one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleet_api::{ManagedCluster, ObjectId, names};
use fleet_apiserver::{ApiServer, ClusterProfile, Identity as Caller};
use fleet_members::{MemberEvent, Members, Options, Remote};
use futures::StreamExt as _;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, PostParams};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{Fake, Setup, api_server, eventually, options};

const MEMBERS: usize = 1_000;
/// How much is done at once: the test is about connections, not about the speed of handshakes.
const AT_ONCE: usize = 64;

fn kinds() -> [ObjectId; 3] {
    let id = |api_version: &str, kind: &str| ObjectId::new(api_version, kind, "default", "settings");
    [id("v1", "ConfigMap"), id("v1", "Service"), id("apps/v1", "Deployment")]
}

fn known(_: &str, _: &str, kind: &str) -> Option<(String, bool)> {
    Some((format!("{}s", kind.to_lowercase()), true))
}

/// With a connection for each watch and request, 1,000 members would need tens of thousands of descriptors, and a hub
/// with the usual 1,024 would stop at the fiftieth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_members_hold_a_connection_each() {
    // Both ends are in this process.
    let descriptors = rlimit::increase_nofile_limit(8_192).unwrap();
    assert!(descriptors >= 4_096, "the test needs some 2,100 descriptors; the limit here is {descriptors}");
    let began = Instant::now();
    let fleet = api_server();
    fleet.create_cluster(ApiServer::HUB, ClusterProfile { workloads: false }).await.unwrap();
    for n in 0..MEMBERS {
        fleet.create_cluster(&format!("m{n}"), ClusterProfile { workloads: true }).await.unwrap();
    }
    let api = fleet.clone();
    let server = Fake::start(
        Setup::default(),
        Arc::new(move |request| {
            let api = api.clone();
            Box::pin(async move {
                let (mut parts, body) = request.into_parts();
                let whole = parts.uri.path_and_query().unwrap().as_str().to_owned();
                let (cluster, rest) = whole.strip_prefix("/clusters/").unwrap().split_once('/').unwrap();
                parts.uri = format!("/{rest}").parse().unwrap();
                let request = http::Request::from_parts(parts, body);
                api.handle(cluster, Caller::admin("test"), request).await.map(BodyExt::boxed_unsync)
            })
        }),
    )
    .await;

    let hub = kube::Client::new(fleet.service(ApiServer::HUB, Caller::admin("test")), "default");
    let namespace = serde_json::from_value(json!({"metadata": {"name": names::SYSTEM_NAMESPACE}})).unwrap();
    Api::<Namespace>::all(hub.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(hub.clone(), names::SYSTEM_NAMESPACE);
    for n in 0..MEMBERS {
        let endpoint = format!("{}/clusters/m{n}", server.endpoint());
        let secret = server.credentials_at(&endpoint).secret(names::SYSTEM_NAMESPACE, &format!("m{n}"));
        secrets.create(&PostParams::default(), &secret).await.unwrap();
    }
    let made = began.elapsed();

    let stop = CancellationToken::new();
    let mut remote = options();
    remote.namespaces = vec![names::SYSTEM_NAMESPACE.to_owned()];
    // A thousand handshakes of two busy cores in a test take their time.
    remote.timing.connect = Duration::from_secs(60);
    remote.timing.ping_every = Duration::from_secs(20);
    remote.timing.ping_timeout = Duration::from_secs(20);
    let remote = Remote::open(hub, remote, stop.child_token()).await.unwrap();
    let synced = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&synced);
    let members = Members::new(
        Arc::new(remote.clone()),
        Arc::new(known),
        Options { request_timeout: Duration::from_secs(60), ..Options::default() },
        stop.child_token(),
        Box::new(move |event| {
            if matches!(event, MemberEvent::Synced { .. }) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }),
    );
    let before = began.elapsed();
    let joined = futures::stream::iter(0..MEMBERS).map(|n| {
        let name = format!("m{n}");
        members.upsert(ManagedCluster::new(&name, crate::support::accepted()));
        let member = members.get(&name).unwrap();
        async move {
            for id in kinds() {
                let path = member.path(&id).await.unwrap();
                member.watch(&id, &path);
            }
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings",
                "namespace": "default", "labels": {names::OWNER: "us"}}, "data": {"n": name}});
            member.apply(&kinds()[0], &object, "fleetctl:us", false).await.unwrap();
            member.metadata(&kinds()[0]).await.unwrap().unwrap();
        }
    });
    joined.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    eventually("every watch has listed", || synced.load(Ordering::SeqCst) >= MEMBERS * kinds().len()).await;
    println!(
        "{MEMBERS} members made in {made:?}; each over TLS with 3 watches, an apply and a read in {:?}; {} connections open, {} ever accepted",
        began.elapsed() - before,
        server.open(),
        server.accepted()
    );
    assert_eq!((server.open(), server.accepted()), (MEMBERS, MEMBERS), "open and accepted connections");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), remote.finished()).await.expect("every connection ends");
    eventually("the connections are gone", || server.open() == 0).await;
}
