//! The controller alone, members by the Secrets of the hub.

use std::sync::Arc;

use fleet_api::Phase;
use fleet_controller::{Controller, Options};
use fleet_members::{Remote, RemoteOptions};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{CommandLine, apply, apply_example, fleet, in_phase};

/// The way of a hub elsewhere: each member by an endpoint, an authority and a certificate, over HTTPS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_reached_by_their_secrets() {
    let fleet = fleet().await;
    let hub = fleet.client("hub");
    let kubeconfig: Value = serde_saphyr::from_str(&fleet.kubeconfig(None).unwrap().unwrap()).unwrap();
    let entry = |list: &str, name: &str, key: &str| {
        let entries = kubeconfig[list].as_array().unwrap();
        entries.iter().find(|entry| entry["name"] == name).unwrap()[key].clone()
    };
    let system = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleetctl-system"}});
    apply(&hub, &system).await;
    for name in ["mc-bj1", "mc-bj2", "mc-hz1"] {
        let cluster = entry("clusters", name, "cluster");
        let user = entry("users", &format!("{name}-admin"), "user");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": name, "namespace": "fleetctl-system",
                "labels": { "cluster.core.oam.dev/cluster-credential-type": "X509Certificate" },
            },
            "stringData": { "endpoint": cluster["server"] },
            "data": {
                "ca.crt": cluster["certificate-authority-data"],
                "tls.crt": user["client-certificate-data"],
                "tls.key": user["client-key-data"],
            },
        });
        apply(&hub, &secret).await;
    }
    let stop = CancellationToken::new();
    let remote =
        Remote::open(hub.clone(), RemoteOptions::new(Arc::new(jiff::Timestamp::now)), stop.child_token())
            .await
            .unwrap();
    let options = Options::new(Arc::new(jiff::Timestamp::now));
    let controller = Controller::new(hub.clone(), Arc::new(remote.clone()), options);
    let mut running = tokio::task::JoinSet::new();
    running.spawn(controller.run(stop.clone()));
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    CommandLine::of(&fleet).done("fleetctl workflow resume web-demo -n demo").await;
    in_phase(&hub, Phase::Running).await;
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
    remote.finished().await;
    fleet.shutdown().await;
}
