//! Hub and members in one process, asked over TLS.

use fleet_api::{Application, ManagedCluster};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::support::{client, eventually, fleet};

fn deployment() -> Deployment {
    serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "nginx" }] },
            },
        },
    }))
    .unwrap()
}

/// Everything that the program hands out depends on this: the port, the certificates, the paths, the kinds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hub_and_members_answer_over_tls() {
    let fleet = fleet().await;
    let hub = client(&fleet, "hub").await;
    let namespaces: Api<Namespace> = Api::all(hub.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": "demo" } })).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(hub.clone(), "demo");
    let map =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "k": "v" } });
    maps.patch("a", &PatchParams::apply("test"), &Patch::Apply(&map)).await.unwrap();
    assert_eq!(maps.get("a").await.unwrap().data.unwrap()["k"], "v");
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
    let applications: Api<Application> = Api::all(hub.clone());
    assert!(applications.list(&ListParams::default()).await.unwrap().items.is_empty());

    let member = client(&fleet, "mc-bj2").await;
    let deployments: Api<Deployment> = Api::namespaced(member, "default");
    deployments.create(&PostParams::default(), &deployment()).await.unwrap();
    eventually("the Deployment is ready", async || {
        let status = deployments.get("web").await.unwrap().status.unwrap_or_default();
        status.ready_replicas == Some(2)
    })
    .await;
    let elsewhere: Api<Deployment> = Api::all(client(&fleet, "mc-bj1").await);
    assert!(elsewhere.list(&ListParams::default()).await.unwrap().items.is_empty());
    let inert: Api<Deployment> = Api::namespaced(hub, "default");
    let made = inert.create(&PostParams::default(), &deployment()).await.unwrap();
    assert!(made.status.unwrap_or_default().replicas.is_none());
    fleet.shutdown().await;
}

/// Placement and every list rely on what is recorded of a member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_registered_in_the_order_of_joining() {
    let fleet = fleet().await;
    let clusters: Api<ManagedCluster> = Api::all(fleet.client("hub"));
    let mut clusters = clusters.list(&ListParams::default()).await.unwrap().items;
    clusters.sort_by_key(ManagedCluster::join_order);
    let seen: Vec<_> =
        clusters.iter().map(|c| (c.name_any(), c.alias().unwrap_or_default().to_owned())).collect();
    let expected =
        [("mc-bj1", "cluster1-beijing"), ("mc-bj2", "cluster2-beijing"), ("mc-hz1", "cluster1-hangzhou")];
    assert_eq!(seen, expected.map(|(name, alias)| (name.to_owned(), alias.to_owned())));
    for cluster in &clusters {
        assert!(cluster.spec.hub_accepts_client);
        let system: Api<Namespace> = Api::all(fleet.client(&cluster.name_any()));
        assert_eq!(cluster.recorded_uid(), system.get("kube-system").await.unwrap().uid().as_deref());
    }
    fleet.shutdown().await;
}

/// A stopped member must hang, not refuse, and the others must not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_member_does_not_answer() {
    let fleet = fleet().await;
    fleet.fleet().set_running("cluster2-beijing", false).await.unwrap();
    let stopped: Api<Namespace> = Api::all(client(&fleet, "mc-bj2").await);
    let asked = tokio::time::timeout(std::time::Duration::from_millis(200), stopped.get("default")).await;
    assert!(asked.is_err());
    let other: Api<Namespace> = Api::all(client(&fleet, "mc-bj1").await);
    other.get("default").await.unwrap();
    fleet.fleet().set_running("mc-bj2", true).await.unwrap();
    stopped.get("default").await.unwrap();
    fleet.shutdown().await;
}

/// Without a client certificate nobody may read or change anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused() {
    let fleet = fleet().await;
    let text = fleet.kubeconfig(None).unwrap().unwrap();
    let mut kubeconfig = kube::config::Kubeconfig::from_yaml(&text).unwrap();
    for user in &mut kubeconfig.auth_infos {
        user.auth_info = None;
    }
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let stranger = kube::Client::try_from(config).unwrap();
    let namespaces: Api<Namespace> = Api::all(stranger);
    let refused = namespaces.list(&ListParams::default()).await.unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 401 || status.code == 403),
        "{refused}"
    );
    fleet.shutdown().await;
}
