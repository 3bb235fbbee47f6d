//! An Application of what runs on members already.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Application, Phase, names};
use fleetctl::embedded::Embedded;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::{CommandLine, eventually, fleet_with, in_phase};

/// Makes an object as `kubectl create` does.
pub(crate) async fn make<K>(member: &kube::Client, object: Value)
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + serde::Serialize
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let params = PostParams { field_manager: Some("kubectl-create".to_owned()), ..PostParams::default() };
    let api: Api<K> = Api::namespaced(member.clone(), "demo");
    api.create(&params, &serde_json::from_value(object).unwrap()).await.unwrap();
}

pub(crate) async fn namespace(cluster: &kube::Client) {
    let api: Api<Namespace> = Api::all(cluster.clone());
    let demo = serde_json::from_value(json!({ "metadata": { "name": "demo" } })).unwrap();
    api.create(&PostParams::default(), &demo).await.unwrap();
}

/// A workload with its Service and its configuration, as it runs for years.
pub(crate) async fn running(fleet: &Embedded, member: &str, replicas: i32, address: &str) -> kube::Client {
    let client = fleet.client(member);
    namespace(&client).await;
    let labels = json!({ "app": "web" });
    make::<ConfigMap>(&client, json!({ "metadata": { "name": "web", "labels": labels }, "data": { "address": address, "mode": "fast" } })).await;
    make::<Service>(
        &client,
        json!({ "metadata": { "name": "web", "labels": labels }, "spec": { "selector": labels, "ports": [{ "port": 80 }] } }),
    )
    .await;
    make::<Deployment>(
        &client,
        json!({
            "metadata": { "name": "web", "labels": labels, "annotations": { "team": "shop" } },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "web", "image": "nginx:1", "ports": [{ "containerPort": 80 }] }] },
                },
            },
        }),
    )
    .await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "demo");
    eventually("it is ready", async || {
        let status = deployments.get("web").await.unwrap().status;
        status.is_some_and(|status| {
            status.ready_replicas == Some(replicas) && status.observed_generation.is_some()
        })
    })
    .await;
    client
}

/// What a touch would change: who the pods are, and what the objects say.
#[derive(Debug, PartialEq)]
pub(crate) struct Fingerprint {
    pods: BTreeSet<Option<String>>,
    replica_sets: BTreeMap<String, Option<String>>,
    generations: Vec<Option<i64>>,
    said: Vec<Value>,
}

pub(crate) async fn fingerprint(member: &kube::Client) -> Fingerprint {
    let all = ListParams::default();
    let pods: Api<Pod> = Api::namespaced(member.clone(), "demo");
    let sets: Api<ReplicaSet> = Api::namespaced(member.clone(), "demo");
    let deployment = Api::<Deployment>::namespaced(member.clone(), "demo").get("web").await.unwrap();
    let service = Api::<Service>::namespaced(member.clone(), "demo").get("web").await.unwrap();
    let map = Api::<ConfigMap>::namespaced(member.clone(), "demo").get("web").await.unwrap();
    Fingerprint {
        pods: pods.list(&all).await.unwrap().items.iter().map(|pod| pod.uid()).collect(),
        replica_sets: sets
            .list(&all)
            .await
            .unwrap()
            .items
            .iter()
            .map(|set| (set.name_any(), set.uid()))
            .collect(),
        generations: [&deployment.metadata, &service.metadata].iter().map(|meta| meta.generation).collect(),
        said: vec![
            json!([deployment.spec, deployment.metadata.uid, deployment.metadata.annotations]),
            json!([service.spec, service.metadata.uid, service.metadata.annotations]),
            json!([map.data, map.metadata.uid, map.metadata.annotations]),
        ],
    }
}

pub(crate) async fn owner(member: &kube::Client) -> Option<String> {
    let deployment = Api::<Deployment>::namespaced(member.clone(), "demo").get("web").await.unwrap();
    deployment.labels().get(names::OWNER).cloned()
}

/// Broken: adopting restarts pods, moves generations or changes fields; drift is repaired at once, or never; deleting the
/// Application takes away what ran before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_becomes_an_application_without_a_touch() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    namespace(&hub).await;
    let one = running(&fleet, "mc-bj1", 2, "bj1").await;
    let two = running(&fleet, "mc-bj2", 2, "bj1").await;
    let three = running(&fleet, "mc-hz1", 3, "hz1").await;
    let mut before = Vec::new();
    for member in [&one, &two, &three] {
        before.push(fingerprint(member).await);
    }
    let line = CommandLine::of(&fleet);
    let words = "fleetctl adopt web-demo -n demo --from mc-bj1,cluster2-beijing --from mc-hz1 deploy/web svc/web cm/web";
    let apps: Api<Application> = Api::namespaced(hub.clone(), "demo");

    // Looking changes nothing.
    let plan = line.done(&format!("{words} --dry-run")).await;
    assert!(plan.contains("tried on each cluster by a dry run"), "{plan}");
    assert!(
        plan.lines().any(|row| row.contains("mc-hz1 (cluster1-hangzhou)") && row.contains("spec.replicas")),
        "{plan}"
    );
    assert!(plan.lines().any(|row| row.contains("ConfigMap") && row.contains("data.address")), "{plan}");
    let written: Value = serde_json::from_str(&line.done(&format!("{words} -o json")).await).unwrap();
    let asked = line.run(words).await;
    assert_eq!(asked.code, 7, "{asked:?}");
    assert!(apps.get_opt("web-demo").await.unwrap().is_none());
    assert_eq!(owner(&one).await, None);
    // Members that are alike share their policies, and only what differs is an override.
    let policies = written["spec"]["policies"].as_array().unwrap();
    assert_eq!(policies[0]["properties"], json!({ "clusters": ["mc-bj1", "mc-bj2"] }));
    assert_eq!(policies[2]["type"], "override");
    assert_eq!(
        policies[2]["properties"]["components"][0]["traits"],
        json!([{ "type": "json-merge-patch", "properties": { "spec": { "replicas": 3 } } }])
    );
    let deployment = &written["spec"]["components"][0]["properties"]["objects"][0];
    assert!(deployment["spec"].get("revisionHistoryLimit").is_none(), "{deployment}");

    let made = line.done(&format!("{words} --yes")).await;
    assert!(made.contains("takes over 3 objects on 3 clusters"), "{made}");
    in_phase(&hub, Phase::Running).await;
    for (member, before) in [&one, &two, &three].into_iter().zip(&before) {
        assert!(owner(member).await.is_some());
        assert_eq!(&fingerprint(member).await, before);
    }
    let said = line.fails(&format!("{words} --yes"), 4).await;
    assert!(said.contains("Application demo/web-demo is there already"), "{said}");
    let said = line.fails("fleetctl adopt other -n demo --from mc-bj1 deploy/web --yes", 4).await;
    assert!(said.contains("belongs to the application demo/web-demo"), "{said}");

    // An edit is reported and left.
    let maps: Api<ConfigMap> = Api::namespaced(two.clone(), "demo");
    let params = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let edit = json!({ "data": { "mode": "slow" } });
    maps.patch("web", &params, &Patch::Merge(&edit)).await.unwrap();
    let mode = async || {
        maps.get("web").await.unwrap().data.unwrap_or_default().get("mode").cloned().unwrap_or_default()
    };
    eventually("the edit is reported", async || {
        let listed = line.run("fleetctl drift list web-demo -n demo").await.out;
        listed
            .lines()
            .any(|row| row.contains("Reported") && row.contains("kubectl-edit") && row.contains("data.mode"))
    })
    .await;
    assert_eq!(mode().await, "slow");
    assert_eq!(fingerprint(&one).await, before[0]);

    // Without the policy it is repaired; the command is in what adopt said.
    let patch = made.split("-p '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let patch: kube::core::params::Patch<Value> = Patch::Json(serde_json::from_str(patch).unwrap());
    apps.patch("web-demo", &PatchParams::default(), &patch).await.unwrap();
    eventually("the edit is taken back", async || mode().await == "fast").await;
    in_phase(&hub, Phase::Running).await;
    for (member, before) in [&one, &two, &three].into_iter().zip(&before) {
        assert_eq!(&fingerprint(member).await, before);
    }

    // What ran before the Application runs after it.
    line.done("fleetctl delete web-demo -n demo --wait").await;
    for (member, before) in [&one, &two, &three].into_iter().zip(&before) {
        assert_eq!(owner(member).await, None);
        assert_eq!(&fingerprint(member).await, before);
    }
    fleet.shutdown().await;
}

/// Broken: what can't be adopted is half adopted, or nobody knows why not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_adopted_is_told_apart() {
    let fleet = fleet_with(false).await;
    let hub = fleet.client("hub");
    namespace(&hub).await;
    let one = running(&fleet, "mc-bj1", 1, "bj1").await;
    running(&fleet, "mc-bj2", 1, "bj2").await;
    make::<Secret>(&one, json!({ "metadata": { "name": "key" }, "stringData": { "password": "hunter2" } }))
        .await;
    make::<ConfigMap>(&one, json!({ "metadata": { "name": "only-here" } })).await;
    let foreign = json!({ names::APP_NAME: "shop", names::APP_NAMESPACE: "prod" });
    make::<ConfigMap>(&one, json!({ "metadata": { "name": "velas", "labels": foreign } })).await;
    let pods: Api<Pod> = Api::namespaced(one.clone(), "demo");
    let pod = pods.list(&ListParams::default()).await.unwrap().items[0].name_any();
    let line = CommandLine::of(&fleet);
    let of_pod = format!("--from mc-bj1 pod/{pod}");
    for (words, code, said) in [
        ("--from mc-bj9 deploy/web", 3, "no member \"mc-bj9\"; did you mean \"mc-bj1\"?"),
        ("--from , deploy/web", 2, "--from names no member"),
        (
            "--from mc-bj1,mc-bj2 cm/web cm/only-here",
            3,
            "mc-bj2 (cluster2-beijing) has no ConfigMap demo/only-here",
        ),
        ("--from mc-bj1 cm/nowhere", 3, "has no configmaps \"nowhere\""),
        (
            "--from mc-bj1 deploymnt/web",
            3,
            "mc-bj1 (cluster1-beijing): the server doesn't have a resource type",
        ),
        (
            "--from mc-bj1 deploy",
            2,
            "\"deploy\" names no object; write deploy/NAME, or choose by labels with -l",
        ),
        ("--from mc-bj1 deploy/web -l app=web", 2, "names and -l exclude each other"),
        ("--from mc-bj1 deploy/web deployment/web", 2, "Deployment demo/web is named twice"),
        ("--from mc-bj1 deploy/web svc", 2, "isn't TYPE/NAME"),
        ("--from mc-bj1 all web", 2, "a category such as all"),
        ("--from mc-bj1 namespace/demo", 2, "Namespace is a kind without namespaces"),
        ("--from mc-bj1 secret/key", 4, "a Secret isn't adopted"),
        ("--from mc-bj1 cm/velas", 4, "belongs to the application prod/shop, which another engine delivers"),
        ("--from mc-bj1 cm -l app=nothing", 3, "has the labels app=nothing"),
        (of_pod.as_str(), 4, "is made by ReplicaSet web-"),
    ] {
        let told = line.fails(&format!("fleetctl adopt web-demo -n demo --yes {words}"), code).await;
        assert!(told.contains(said), "{words}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let told = line.fails(&format!("fleetctl adopt web-demo -n demo {of_pod}"), 4).await;
    assert!(told.contains("take deployment/web instead"), "{told}");
    let told = line.fails("fleetctl adopt web-demo -n nowhere --from mc-bj1 deploy/web --yes", 3).await;
    assert!(told.contains("kubectl create namespace nowhere"), "{told}");
    let told = line.fails("fleetctl adopt Web_Demo -n demo --from mc-bj1 deploy/web --yes", 1).await;
    assert!(told.contains("Web_Demo"), "{told}");
    let apps: Api<Application> = Api::namespaced(hub, "demo");
    assert!(apps.list(&ListParams::default()).await.unwrap().items.is_empty());
    assert_eq!(owner(&one).await, None);

    // A whole Application has to fit into one object of the hub.
    for name in ["large-1", "large-2"] {
        make::<ConfigMap>(
            &one,
            json!({ "metadata": { "name": name }, "data": { "text": "x".repeat(700_000) } }),
        )
        .await;
    }
    let told =
        line.fails("fleetctl adopt web-demo -n demo --from mc-bj1 cm/large-1 cm/large-2 --yes", 4).await;
    assert!(told.contains("adopt the objects in several Applications"), "{told}");

    // The hub's namespace needn't be the member's.
    let apart = line
        .done(
            "fleetctl adopt web-demo -n default --namespace-on-member demo --from mc-bj1 deploy/web -o json",
        )
        .await;
    let apart: Value = serde_json::from_str(&apart).unwrap();
    assert_eq!(apart["metadata"]["namespace"], "default");
    assert_eq!(
        apart["spec"]["policies"][0]["properties"],
        json!({ "clusters": ["mc-bj1"], "namespace": "demo" })
    );

    // By labels: what controllers make is passed over.
    let plan =
        line.run("fleetctl adopt web-demo -n demo --from mc-bj1 deploy,rs,pod,cm -l app=web --dry-run").await;
    assert_eq!(plan.code, 0, "{plan:?}");
    assert!(plan.err.contains("passed over, since others make them: ReplicaSet web-"), "{plan:?}");
    assert!(plan.out.contains("ConfigMap demo/web") && !plan.out.contains("only-here"), "{plan:?}");

    // A member that doesn't answer is named; one that is held is warned about.
    line.done("fleetctl cluster cordon mc-bj2 --reason racks").await;
    let held = line.run("fleetctl adopt web-demo -n demo --from mc-bj2 deploy/web --dry-run").await;
    assert!(held.err.contains("mc-bj2 (cluster2-beijing) is cordoned"), "{held:?}");
    fleet.fleet().set_running("mc-bj2", false).await.unwrap();
    let told = line
        .fails("fleetctl adopt web-demo -n demo --from all deploy/web --yes --request-timeout 2s", 6)
        .await;
    assert!(told.contains("mc-bj2 (cluster2-beijing): its identity"), "{told}");
    fleet.shutdown().await;
}
