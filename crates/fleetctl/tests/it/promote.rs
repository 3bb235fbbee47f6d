//! A running cluster's objects come to the hub, and go from there to others.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::adopt::{fingerprint, make, namespace, owner, running};
use crate::support::{CommandLine, apply, eventually, fleet_with};

fn policies(hub: &kube::Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("one.alibabacloud.com", "v1alpha1", "PropagationPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "propagationpolicies");
    Api::namespaced_with(hub.clone(), "demo", &resource)
}

/// Broken: taking over restarts pods or moves generations, the other clusters get nothing, or a deletion on the hub takes
/// away what ran before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_one_cluster_to_many_without_a_touch() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    let one = running(&fleet, "mc-bj1", 2, "bj1").await;
    make::<Secret>(&one, json!({ "metadata": { "name": "key", "labels": { "app": "web" } }, "stringData": { "password": "hunter2" } })).await;
    make::<HorizontalPodAutoscaler>(
        &one,
        json!({ "metadata": { "name": "web" }, "spec": { "maxReplicas": 9,
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } } }),
    )
    .await;
    // Its only annotation is left there.
    let balancer = json!({ "metadata": { "annotations": { "kubernetes.io/elb.id": "lb-1" } } });
    let services: Api<Service> = Api::namespaced(one.clone(), "demo");
    services.patch("web", &PatchParams::default(), &Patch::Merge(&balancer)).await.unwrap();
    let before = fingerprint(&one).await;
    let line = CommandLine::of(&fleet);
    let words =
        "fleetctl promote -n demo --from cluster1-beijing deploy,svc,cm,secret -l app=web --policy web";

    // Looking changes nothing, and shows no Secret.
    let plan = line.run(&format!("{words} --dry-run")).await;
    assert_eq!(plan.code, 0, "{plan:?}");
    assert!(plan.out.contains("Nothing of them changes there but labels: tried by a dry run."), "{plan:?}");
    assert!(plan.out.contains("spec.replicas"), "an autoscaler decides on them: {plan:?}");
    assert!(plan.out.contains("Secret demo/key") && !plan.out.contains("hunter2"), "{plan:?}");
    assert_eq!(line.run(words).await.code, 7);
    assert_eq!(owner(&one).await, None);
    assert!(policies(&hub).get_opt("web").await.unwrap().is_none());

    // As manifests it is complete: without its namespace nothing of it could be applied.
    let manifests = line.done(&format!("{words} -o json")).await;
    let manifests: Value = serde_json::from_str(&manifests).unwrap();
    let kinds: Vec<&str> =
        manifests["items"].as_array().unwrap().iter().filter_map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds[..2], ["Namespace", "PropagationPolicy"], "{kinds:?}");

    let made = line.done(&format!("{words} --yes")).await;
    assert!(made.contains("4 objects on mc-bj1 (cluster1-beijing) taken over in place"), "{made}");
    assert!(owner(&one).await.is_some());
    assert_eq!(fingerprint(&one).await, before);
    // Again it finds everything done.
    let again = line.done(&format!("{words} --yes")).await;
    assert!(!again.contains("created") && again.contains("taken over in place"), "{again}");
    assert!(
        !line.done(&format!("{words} -o json")).await.contains(r#""kind": "Namespace""#),
        "the hub has it"
    );

    // Another cluster in the list has the same.
    let clusters =
        json!({ "spec": { "placement": { "clusterAffinity": { "clusterNames": ["mc-bj1", "mc-bj2"] } } } });
    policies(&hub).patch("web", &PatchParams::default(), &Patch::Merge(&clusters)).await.unwrap();
    let two: Api<Deployment> = Api::namespaced(fleet.client("mc-bj2"), "demo");
    eventually("the second cluster has it", async || two.get_opt("web").await.unwrap().is_some()).await;
    let secrets: Api<Secret> = Api::namespaced(fleet.client("mc-bj2"), "demo");
    eventually("its Secret, too", async || secrets.get_opt("key").await.unwrap().is_some()).await;
    assert_eq!(fingerprint(&one).await, before);

    // What is gone on the hub still runs.
    let maps: Api<ConfigMap> = Api::namespaced(hub.clone(), "demo");
    maps.delete("web", &Default::default()).await.unwrap();
    let there: Api<ConfigMap> = Api::namespaced(one.clone(), "demo");
    eventually("it is nobody's again", async || {
        let left = there.get("web").await.unwrap();
        !left.labels().contains_key(fleet_api::names::OWNER)
    })
    .await;
    fleet.shutdown().await;
}

/// Broken: what stands on the hub already is overwritten, or the objects go where another policy sends them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_is_told_before_anything_is_written() {
    let fleet = fleet_with(false).await;
    let hub = fleet.client("hub");
    let one = running(&fleet, "mc-bj1", 1, "bj1").await;
    namespace(&hub).await;
    let line = CommandLine::of(&fleet);
    let words = "fleetctl promote -n demo --from mc-bj1 cm/web --yes";
    let other = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "web", "namespace": "demo" },
        "data": { "address": "elsewhere" } });
    apply(&hub, &other).await;
    let said = line.fails(words, 4).await;
    assert!(said.contains("is on the hub already and differs in") && said.contains("data.address"), "{said}");
    let maps: Api<ConfigMap> = Api::namespaced(hub.clone(), "demo");
    maps.delete("web", &Default::default()).await.unwrap();

    let policy = |name: &str, priority: i64| -> Value {
        json!({ "apiVersion": "one.alibabacloud.com/v1alpha1", "kind": "PropagationPolicy",
            "metadata": { "name": name, "namespace": "demo" },
            "spec": { "priority": priority, "resourceSelectors": [{ "apiVersion": "v1", "kind": "ConfigMap" }],
                "placement": { "clusterAffinity": { "clusterNames": ["mc-hz1"] } } } })
    };
    apply(&hub, &policy("everything", 5)).await;
    let said = line.fails(words, 4).await;
    assert!(said.contains("would be taken by another policy") && said.contains("demo/everything"), "{said}");
    policies(&hub).delete("everything", &Default::default()).await.unwrap();

    let application = json!({ "apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": { "name": "pages", "namespace": "demo" },
        "spec": { "components": [{ "name": "web", "type": "ref-objects",
            "properties": { "objects": [{ "apiVersion": "v1", "kind": "ConfigMap" }] } }] } });
    apply(&hub, &application).await;
    let said = line.fails(words, 4).await;
    assert!(
        said.contains("ConfigMap demo/web: Application demo/pages refers to it and delivers it"),
        "{said}"
    );
    let applications: Api<fleet_api::Application> = Api::namespaced(hub.clone(), "demo");
    applications.delete("pages", &Default::default()).await.unwrap();

    apply(&hub, &policy("promoted-mc-bj1", 0)).await;
    let said = line.fails(words, 4).await;
    assert!(said.contains("is there already and says something else") && said.contains("--policy"), "{said}");
    policies(&hub).delete("promoted-mc-bj1", &Default::default()).await.unwrap();

    for (words, code, text) in [
        ("--from mc-bj9 cm/web", 3, "no member \"mc-bj9\"; did you mean \"mc-bj1\"?"),
        ("--from mc-bj1 ns/demo", 2, "is a kind without namespaces"),
        ("--from mc-bj1 cm/nowhere", 3, "nowhere"),
        ("--from mc-bj1 sa/default", 4, "every cluster has one of its own"),
    ] {
        let said = line.fails(&format!("fleetctl promote -n demo {words} --yes"), code).await;
        assert!(said.contains(text), "{said}");
    }
    // Nobody distributes here: it says what it waited for.
    let said = line.fails(&format!("{words} --timeout 1s"), 5).await;
    assert!(said.contains("nobody has looked at the policy yet"), "{said}");
    assert_eq!(owner(&one).await, None);
    assert!(maps.get_opt("web").await.unwrap().is_some());
    fleet.shutdown().await;
}

/// Broken: what a policy for all namespaces distributes is promoted by a namespaced one, which goes first where nobody has it, and
/// never gets it: the command ends with "not everything is taken over", and leaves a policy that has nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_policy_has_already_is_refused_with_its_name() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    namespace(&hub).await;
    for text in [
        include_str!("../../../../examples/propagation/nginx.yaml"),
        include_str!("../../../../examples/propagation/policies.yaml"),
    ] {
        for manifest in serde_saphyr::from_multiple::<Value>(text).unwrap() {
            apply(&hub, &manifest).await;
        }
    }
    let there: Api<Deployment> = Api::namespaced(fleet.client("mc-bj2"), "demo");
    eventually("it is delivered", async || there.get_opt("nginx").await.unwrap().is_some()).await;
    let line = CommandLine::of(&fleet);
    let words = "fleetctl promote -n demo --from mc-bj2 deploy/nginx --policy late";
    for more in ["--dry-run", "-o yaml", "--yes --timeout 4s"] {
        let said = line.fails(&format!("{words} {more}"), 4).await;
        assert!(said.contains("is distributed by ClusterPropagationPolicy example already"), "{said}");
    }
    assert!(policies(&hub).get_opt("late").await.unwrap().is_none());
    fleet.shutdown().await;
}
