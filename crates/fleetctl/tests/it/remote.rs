//! The controller alone, members by the Secrets of the hub.

use std::sync::Arc;

use fleet_api::{ManagedCluster, Phase};
use fleet_controller::{Controller, ControllerError, Options};
use fleet_members::{Remote, RemoteOptions};
use fleetctl::embedded::Embedded;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{CommandLine, apply, apply_example, eventually, fleet, fleet_of, fleet_with, in_phase};

/// A member of the fleet as a Secret has it.
fn secret(fleet: &Embedded, name: &str, alias: &str) -> Value {
    let kubeconfig: Value = serde_saphyr::from_str(&fleet.kubeconfig(None).unwrap().unwrap()).unwrap();
    let entry = |list: &str, name: &str, key: &str| {
        let entries = kubeconfig[list].as_array().unwrap();
        entries.iter().find(|entry| entry["name"] == name).unwrap()[key].clone()
    };
    let cluster = entry("clusters", name, "cluster");
    let user = entry("users", &format!("{name}-admin"), "user");
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": name, "namespace": "fleetctl-system",
            "labels": { "cluster.core.oam.dev/cluster-credential-type": "X509Certificate", "region": "north" },
            "annotations": { "cluster.core.oam.dev/cluster-alias": alias },
        },
        "stringData": { "endpoint": cluster["server"] },
        "data": {
            "ca.crt": cluster["certificate-authority-data"],
            "tls.crt": user["client-certificate-data"],
            "tls.key": user["client-key-data"],
        },
    })
}

const MEMBERS: [(&str, &str); 3] =
    [("mc-bj1", "cluster1-beijing"), ("mc-bj2", "cluster2-beijing"), ("mc-hz1", "cluster1-hangzhou")];

/// A controller of its own for the fleet's hub, members by their Secrets.
struct Alone {
    stop: CancellationToken,
    remote: Remote,
    running: tokio::task::JoinSet<Result<(), ControllerError>>,
}

impl Alone {
    async fn start(hub: &kube::Client) -> Self {
        let stop = CancellationToken::new();
        let options = RemoteOptions::new(Arc::new(jiff::Timestamp::now));
        let remote = Remote::open(hub.clone(), options, stop.child_token()).await.unwrap();
        let options = Options::new(Arc::new(jiff::Timestamp::now));
        let controller = Controller::new(hub.clone(), Arc::new(remote.clone()), options);
        let mut running = tokio::task::JoinSet::new();
        running.spawn(controller.run(stop.clone()));
        Self { stop, remote, running }
    }

    async fn end(mut self) {
        self.stop.cancel();
        self.running.join_next().await.unwrap().unwrap().unwrap();
        self.remote.finished().await;
    }
}

async fn with_secrets(fleet: &Embedded, hub: &kube::Client) {
    let system = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleetctl-system"}});
    apply(hub, &system).await;
    for (name, alias) in MEMBERS {
        apply(hub, &secret(fleet, name, alias)).await;
    }
}

/// The way of a hub elsewhere: each member by an endpoint, an authority and a certificate, over HTTPS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_reached_by_their_secrets() {
    let fleet = fleet().await;
    let hub = fleet.client("hub");
    with_secrets(&fleet, &hub).await;
    let alone = Alone::start(&hub).await;
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    CommandLine::of(&fleet).done("fleetctl workflow resume web-demo -n demo").await;
    in_phase(&hub, Phase::Running).await;
    alone.end().await;
    fleet.shutdown().await;
}

/// A hub that has members in the established form needs no registration: the Secrets are enough for the whole scenario,
/// and aliases and labels that stand on them count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_alone_make_members() {
    let fleet = fleet().await;
    let hub = fleet.client("hub");
    let clusters: Api<ManagedCluster> = Api::all(hub.clone());
    for (name, _) in MEMBERS {
        clusters.delete(name, &DeleteParams::default()).await.unwrap();
    }
    with_secrets(&fleet, &hub).await;
    let alone = Alone::start(&hub).await;
    eventually("members by their Secrets", async || {
        clusters.list(&ListParams::default()).await.unwrap().items.len() == 3
    })
    .await;
    for (name, alias) in MEMBERS {
        let cluster = clusters.get(name).await.unwrap();
        assert!(cluster.spec.hub_accepts_client);
        assert_eq!(cluster.alias(), Some(alias));
        assert_eq!(cluster.labels()["region"], "north");
    }
    let listed = CommandLine::of(&fleet).done("fleetctl cluster list").await;
    assert!(listed.contains("cluster1-hangzhou"), "{listed}");
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    CommandLine::of(&fleet).done("fleetctl workflow resume web-demo -n demo").await;
    in_phase(&hub, Phase::Running).await;

    // A Secret that goes takes nothing with it: the member stays, and says what is missing.
    let secrets: Api<Secret> = Api::namespaced(hub.clone(), "fleetctl-system");
    secrets.delete("mc-hz1", &DeleteParams::default()).await.unwrap();
    let available = async |status: &str| {
        let cluster = clusters.get("mc-hz1").await.unwrap();
        let all = cluster.status.map(|status| status.conditions).unwrap_or_default();
        all.into_iter().find(|c| c.type_ == "Available" && c.status == status)
    };
    eventually("its absence is said", async || available("False").await.is_some()).await;
    let said = available("False").await.unwrap();
    assert_eq!(said.reason, "NotAddressed");
    assert!(said.message.contains("no Secret \"mc-hz1\""), "{}", said.message);
    // And back.
    apply(&hub, &secret(&fleet, "mc-hz1", "cluster1-hangzhou")).await;
    eventually("it is available again", async || available("True").await.is_some()).await;
    alone.end().await;
    fleet.shutdown().await;
}

/// The stand-alone hub has members elsewhere, too, beside those of its own process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_hub_has_members_elsewhere() {
    let (here, there) = (fleet_with(true).await, fleet_of(false, 11).await);
    let hub = here.client("hub");
    let mut far = secret(&there, "mc-bj1", "far-away");
    far["metadata"]["name"] = json!("far");
    for name in ["fleetctl-system", "demo"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        apply(&hub, &namespace).await;
    }
    apply(&hub, &far).await;
    let clusters: Api<ManagedCluster> = Api::all(hub.clone());
    eventually("it is registered", async || clusters.get_opt("far").await.unwrap().is_some()).await;
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web-demo"}});
    apply(
        &hub,
        &json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": "web-demo", "namespace": "demo"},
        "spec": {
            "components": [{"name": "main", "type": "k8s-objects", "properties": {"objects": [settings]}}],
            "policies": [{"name": "where", "type": "topology",
                "properties": {"clusters": ["mc-bj2", "far-away"]}}],
        }}),
    )
    .await;
    in_phase(&hub, Phase::Running).await;
    for member in [here.client("mc-bj2"), there.client("mc-bj1")] {
        let maps: Api<ConfigMap> = Api::namespaced(member, "demo");
        assert!(maps.get_opt("web-demo").await.unwrap().is_some());
    }
    let listed = CommandLine::of(&here).done("fleetctl cluster list").await;
    let far = listed.lines().find(|line| line.starts_with("far ")).unwrap();
    assert!(far.contains("True"), "{listed}");
    here.shutdown().await;
    there.shutdown().await;
}
