//! Credentials that change on the hub while they are in use.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_api::{ManagedCluster, names};
use fleet_apiserver::{ApiServer, ClusterProfile, Identity as Caller};
use fleet_members::remote::CREDENTIAL_NAMESPACES;
use fleet_members::{Credentials, Identity, Remote, Transport as _};
use futures::{AsyncBufReadExt as _, AsyncReadExt as _, StreamExt as _};
use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{Fake, answer, config_map, options, stream};

struct Hub {
    client: kube::Client,
    remote: Remote,
    changes: futures::stream::BoxStream<'static, String>,
    stop: CancellationToken,
}

impl Hub {
    async fn with(secrets: &[Secret]) -> Self {
        let api = crate::support::api_server();
        api.create_cluster(ApiServer::HUB, ClusterProfile { workloads: false }).await.unwrap();
        let client = kube::Client::new(api.service(ApiServer::HUB, Caller::admin("test")), "default");
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for name in CREDENTIAL_NAMESPACES {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        }
        for secret in secrets {
            put(&client, secret).await;
        }
        let stop = CancellationToken::new();
        let remote = Remote::open(client.clone(), options(), stop.child_token()).await.unwrap();
        let changes = remote.changes();
        Self { client, remote, changes, stop }
    }

    async fn changed(&mut self, name: &str) {
        let next = tokio::time::timeout(Duration::from_secs(20), self.changes.next()).await;
        assert_eq!(next.expect("a change").as_deref(), Some(name));
    }

    fn connect(&self, name: &str) -> Result<kube::Client, String> {
        let cluster = ManagedCluster::new(name, crate::support::accepted());
        self.remote.connect(&cluster).map_err(|error| error.message)
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.remote.finished()).await.expect("nothing is left");
    }
}

async fn put(hub: &kube::Client, secret: &Secret) {
    let namespace = secret.metadata.namespace.clone().unwrap();
    let api: Api<Secret> = Api::namespaced(hub.clone(), &namespace);
    let mut secret = serde_json::to_value(secret).unwrap();
    secret["apiVersion"] = json!("v1");
    secret["kind"] = json!("Secret");
    let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
    api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&secret)).await.unwrap();
}

fn credentials(fake: &Fake, token: &str) -> Credentials {
    let authority = Some(fake.authority.certificate_pem().to_owned());
    Credentials::new(&fake.endpoint(), authority, Identity::Token(token.to_owned().into())).unwrap()
}

type Seen = Arc<Mutex<Vec<String>>>;

/// Keeps the tokens that it got, and holds watches open.
async fn member() -> (Fake, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let held: Mutex<Vec<mpsc::Sender<String>>> = Mutex::default();
    let fake = Fake::answering(move |request| {
        kept.lock().unwrap().push(request.headers()["authorization"].to_str().unwrap().to_owned());
        if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            let (sender, answer) = stream();
            sender.try_send("begun\n".to_owned()).unwrap();
            held.lock().unwrap().push(sender);
            return answer;
        }
        answer(200, &config_map("settings"))
    })
    .await;
    (fake, seen)
}

async fn ask(client: &kube::Client) -> Result<(), String> {
    let request = Request::get("/api/v1/namespaces/demo/configmaps/settings").body(Vec::new()).unwrap();
    client.request_text(request).await.map(|_| ()).map_err(|error| format!("{error:?}"))
}

/// A rotated token, CA or address is taken up by the clients in use, and their watches move over; other changes of the
/// Secret touch no connection.
#[tokio::test]
async fn changed_credentials_are_taken_up_in_use() {
    let (old, seen_old) = member().await;
    let (new, seen_new) = member().await;
    let mut hub = Hub::with(&[credentials(&old, "one").secret("fleetctl-system", "m1")]).await;
    hub.changed("m1").await;
    let client = hub.connect("m1").unwrap();
    let watch = Request::get("/api/v1/configmaps?watch=true").body(Vec::new()).unwrap();
    let mut watch = client.request_stream(watch).await.unwrap();
    let mut line = String::new();
    watch.read_line(&mut line).await.unwrap();
    ask(&client).await.unwrap();

    let mut labelled = credentials(&old, "one").secret("fleetctl-system", "m1");
    labelled.metadata.labels.as_mut().unwrap().insert("region".to_owned(), "bj".to_owned());
    put(&hub.client, &labelled).await;
    hub.changed("m1").await;
    assert_eq!(hub.remote.announced("m1").unwrap().labels["region"], "bj");
    ask(&client).await.unwrap();
    assert_eq!(old.accepted(), 1, "a label is no reason to connect anew");

    // Another server, another CA, another token: the same client.
    put(&hub.client, &credentials(&new, "two").secret("fleetctl-system", "m1")).await;
    hub.changed("m1").await;
    ask(&client).await.unwrap();
    assert_eq!(*seen_new.lock().unwrap(), ["Bearer two"]);
    assert_eq!(seen_old.lock().unwrap().len(), 3);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), watch.read_to_end(&mut rest)).await;
    assert!(ended.expect("the watch on the old way ends").is_err());
    hub.end().await;
}

/// A deleted Secret ends what goes by it, in words; one that comes back is used again.
#[tokio::test]
async fn a_deleted_secret_leaves_the_member_unaddressed() {
    let (fake, seen) = member().await;
    let secret = credentials(&fake, "one").secret("fleetctl-system", "m1");
    let mut hub = Hub::with(std::slice::from_ref(&secret)).await;
    hub.changed("m1").await;
    let client = hub.connect("m1").unwrap();
    ask(&client).await.unwrap();
    let api: Api<Secret> = Api::namespaced(hub.client.clone(), "fleetctl-system");
    api.delete("m1", &DeleteParams::default()).await.unwrap();
    hub.changed("m1").await;
    let error = ask(&client).await.unwrap_err();
    assert!(error.contains("no Secret") && error.contains("fleetctl cluster join"), "{error}");
    assert!(hub.connect("m1").is_err());
    assert_eq!(hub.remote.announced("m1"), None);
    put(&hub.client, &secret).await;
    hub.changed("m1").await;
    ask(&client).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2);
    hub.end().await;
}

/// A Secret that makes no sense says which key, and is used as soon as it is mended.
#[tokio::test]
async fn a_secret_that_makes_no_sense_is_said_and_mended() {
    let (fake, _) = member().await;
    let good = credentials(&fake, "one").secret("vela-system", "m1");
    let mut bad = good.clone();
    bad.data.as_mut().unwrap().remove("token");
    let mut hub = Hub::with(&[bad]).await;
    hub.changed("m1").await;
    assert_eq!(hub.connect("m1").err().unwrap(), "its Secret vela-system/m1: key \"token\" is missing");
    put(&hub.client, &good).await;
    hub.changed("m1").await;
    ask(&hub.connect("m1").unwrap()).await.unwrap();
    hub.end().await;
}

/// Where two namespaces have credentials of one name, the one that the administrator named first counts; Secrets
/// elsewhere don't: whoever may write those could turn deliveries to a server of theirs.
#[tokio::test]
async fn the_first_namespace_counts_and_others_do_not() {
    let (right, seen) = member().await;
    let (wrong, seen_wrong) = member().await;
    let secrets = [
        credentials(&wrong, "wrong").secret("vela-system", "m1"),
        credentials(&right, "right").secret("fleetctl-system", "m1"),
        credentials(&wrong, "wrong").secret("default", "m2"),
    ];
    let mut hub = Hub::with(&secrets).await;
    hub.changed("m1").await;
    ask(&hub.connect("m1").unwrap()).await.unwrap();
    assert!(hub.connect("m2").is_err());
    assert_eq!((seen.lock().unwrap().len(), seen_wrong.lock().unwrap().len()), (1, 0));
    // The first one gone, the next one counts.
    let client = hub.connect("m1").unwrap();
    let api: Api<Secret> = Api::namespaced(hub.client.clone(), names::SYSTEM_NAMESPACE);
    api.delete("m1", &DeleteParams::default()).await.unwrap();
    hub.changed("m1").await;
    ask(&client).await.unwrap();
    assert_eq!(seen_wrong.lock().unwrap().len(), 1);
    hub.end().await;
}
