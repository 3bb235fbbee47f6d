//! What takes its time to leave, and what was tampered with: nothing is forgotten, and policies tell of it.

use std::time::Duration;

use fleet_testkit::{Engine, Fleet};
use kube::api::PostParams;
use serde_json::{Value, json};

use super::{
    CONFIG, DEPLOYMENT, GROUP, config, delete, deployment, policy, ready, recorded, value, wait_policy,
    wait_recorded, wait_remembered, wait_value,
};
use crate::held::cordon;

const OWNER: &str = "/metadata/labels/fleetctl.dev~1owner";

fn is_ours(object: Option<&Value>) -> bool {
    object.is_some_and(|object| object.pointer(OWNER).is_some())
}

fn finalizers(finalizers: &Value) -> Value {
    json!({"metadata": {"finalizers": finalizers}})
}

async fn gone(fleet: &Fleet, cluster: &str, kind: &str, name: &str) -> anyhow::Result<()> {
    fleet.wait_object(cluster, "v1", kind, name, |object| object.is_none()).await?;
    Ok(())
}

async fn nothing_recorded(fleet: &Fleet) -> anyhow::Result<()> {
    wait_recorded(fleet, |recorded| recorded.is_empty()).await?;
    Ok(())
}

/// Broken: a namespace that was made, or distributed, stays for ever where what is in it takes a while to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_however_long_what_is_in_it_takes() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    // On the first it is made; on the second it is distributed itself.
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut wide = policy("wide", ("v1", "Namespace"), "demo", &["two"]);
    wide["kind"] = json!("ClusterPropagationPolicy");
    wide["metadata"] = json!({"name": "wide"});
    fleet.apply("hub", &wide).await?;
    fleet.wait_object("m2", "v1", "Namespace", "demo", is_ours).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one", "two"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    for cluster in ["m1", "m2"] {
        fleet
            .merge(cluster, "v1", "ConfigMap", "settings", &finalizers(&json!(["example.com/slow"])))
            .await?;
    }
    delete(&fleet, "hub", GROUP, "ClusterPropagationPolicy", "wide").await?;
    delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
    let leaves = |object: Option<&Value>| {
        object.is_some_and(|object| object.pointer("/metadata/deletionTimestamp").is_some())
    };
    for cluster in ["m1", "m2"] {
        fleet.wait_object(cluster, "v1", "ConfigMap", "settings", leaves).await?;
        let let_go = fleet.wait_object(cluster, "v1", "Namespace", "demo", |object| !is_ours(object));
        let let_go = tokio::time::timeout(Duration::from_secs(3), let_go).await;
        assert!(let_go.is_err(), "the namespace on {cluster} is ours as long as ours are in it");
    }
    // What was in them goes off the record a moment after it is deleted.
    wait_recorded(&fleet, |recorded| recorded.len() <= 2).await?;
    assert_eq!(recorded(&fleet).await?.len(), 2, "both namespaces are on record");
    engine.stop().await?;
    let engine = Engine::start(&fleet);
    for cluster in ["m1", "m2"] {
        fleet.merge(cluster, "v1", "ConfigMap", "settings", &finalizers(&Value::Null)).await?;
        gone(&fleet, cluster, "Namespace", "demo").await?;
    }
    nothing_recorded(&fleet).await?;
    engine.stop().await
}

/// A cluster is cordoned when its namespace is to be looked at. Broken: the namespace stays for ever when it is let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_when_its_cluster_is_let_go() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &finalizers(&json!(["example.com/slow"]))).await?;
    delete(&fleet, "hub", "v1", "ConfigMap", "settings").await?;
    wait_recorded(&fleet, |recorded| !recorded.iter().any(|(_, id)| id.name == "settings")).await?;
    engine.kill().await;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &finalizers(&Value::Null)).await?;
    cordon(&fleet, "m1", json!("maintenance")).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("last", "1")).await?;
    fleet.apply("hub", &policy("last", CONFIG, "last", &["two"])).await?;
    wait_value(&fleet, "m2", "last", Some("1")).await?;
    fleet.wait_object("m1", "v1", "Namespace", "demo", is_ours).await?;
    cordon(&fleet, "m1", Value::Null).await?;
    gone(&fleet, "m1", "Namespace", "demo").await?;
    engine.stop().await
}

/// What is about to leave is taken by a policy that no cluster fits. Broken: an empty choice deletes something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_choice_deletes_nothing_that_was_about_to_leave() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    for object in [config("settings", "1"), deployment("web", "web:1")] {
        fleet.apply("hub", &object).await?;
    }
    let mut split = policy("split", DEPLOYMENT, "web", &["one"]);
    split["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided"});
    fleet.apply("hub", &split).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    for policy in ["all", "split"] {
        ready(&fleet, policy, "Delivered").await?;
    }
    cordon(&fleet, "m1", json!("maintenance")).await?;
    for policy in ["all", "split"] {
        delete(&fleet, "hub", GROUP, "PropagationPolicy", policy).await?;
    }
    // Until it is on record that they leave.
    wait_remembered(&fleet, |objects| objects.iter().all(|object| object.shares.is_empty())).await?;
    for (name, kind, object) in [("none", CONFIG, "settings"), ("nowhere", DEPLOYMENT, "web")] {
        let mut empty = policy(name, kind, object, &[]);
        empty["spec"]["placement"] =
            json!({"clusterAffinity": {"labelSelector": {"matchLabels": {"tier": "gold"}}}});
        fleet.apply("hub", &empty).await?;
        let told = |policy: &Value| policy.to_string().contains("NoClusterFits");
        wait_policy(&fleet, "PropagationPolicy", name, told).await?;
    }
    cordon(&fleet, "m1", Value::Null).await?;
    fleet.apply("hub", &config("last", "1")).await?;
    fleet.apply("hub", &policy("last", CONFIG, "last", &["one"])).await?;
    wait_value(&fleet, "m1", "last", Some("1")).await?;
    // What is there follows the hub.
    fleet.apply("hub", &config("settings", "2")).await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    fleet
        .merge("hub", "apps/v1", "Deployment", "web", &json!({"metadata": {"labels": {"new": "yes"}}}))
        .await?;
    let web = |object: Option<&Value>| {
        object.is_some_and(|object| {
            object.pointer("/metadata/labels/new").is_some()
                && object.pointer("/spec/replicas") == Some(&json!(2))
        })
    };
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", web).await?;
    engine.stop().await
}

/// What a mask held on its way out is taken by a policy that no cluster fits. Broken: it is deleted, or gets other replicas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_choice_deletes_nothing_that_a_mask_held() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    for object in [config("settings", "1"), deployment("web", "web:1")] {
        fleet.apply("hub", &object).await?;
    }
    let mut split = policy("split", DEPLOYMENT, "web", &["one", "two"]);
    split["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided"});
    let mut policies = [split, policy("all", CONFIG, "settings", &["one", "two"])];
    for policy in &policies {
        fleet.apply("hub", policy).await?;
    }
    for policy in ["all", "split"] {
        ready(&fleet, policy, "Delivered").await?;
    }
    for policy in &mut policies {
        policy["spec"]["placement"]["clusterAffinity"]["clusterNames"] = json!(["two"]);
        policy["spec"]["mask"] = json!(["two"]);
        fleet.apply("hub", policy).await?;
    }
    for policy in ["all", "split"] {
        ready(&fleet, policy, "Held").await?;
    }
    for (name, kind, object) in [("none", CONFIG, "settings"), ("nowhere", DEPLOYMENT, "web")] {
        let mut empty = policy(name, kind, object, &[]);
        empty["spec"]["placement"] =
            json!({"clusterAffinity": {"labelSelector": {"matchLabels": {"tier": "gold"}}}});
        fleet.apply("hub", &empty).await?;
    }
    for policy in &mut policies {
        policy["spec"]["resourceSelectors"][0]["name"] = json!("another");
        fleet.apply("hub", policy).await?;
    }
    for name in ["none", "nowhere"] {
        let told = |policy: &Value| policy.to_string().contains("NoClusterFits");
        wait_policy(&fleet, "PropagationPolicy", name, told).await?;
    }
    // What is there follows the hub.
    fleet.apply("hub", &config("settings", "2")).await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    fleet
        .merge("hub", "apps/v1", "Deployment", "web", &json!({"metadata": {"labels": {"new": "yes"}}}))
        .await?;
    let web = |object: Option<&Value>| {
        object.is_some_and(|object| {
            object.pointer("/metadata/labels/new").is_some()
                && object.pointer("/spec/replicas") == Some(&json!(1))
        })
    };
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", web).await?;
    engine.stop().await
}

/// Broken: a namespace that others use is deleted under them, or stays marked as ours for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_others_use_is_let_go() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.apply("m1", &config("theirs", "1")).await?;
    delete(&fleet, "hub", "v1", "ConfigMap", "settings").await?;
    gone(&fleet, "m1", "ConfigMap", "settings").await?;
    let nobodys =
        |object: Option<&Value>| object.is_some_and(|object| !object.to_string().contains("fleetctl.dev/"));
    fleet.wait_object("m1", "v1", "Namespace", "demo", nobodys).await?;
    nothing_recorded(&fleet).await?;
    assert_eq!(value(&fleet, "m1", "theirs").await?, Some(json!("1")));
    engine.stop().await
}

/// Broken: whoever takes a label off orphans what was delivered; or what somebody made anew is taken from them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lost_our_label_is_still_ours() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["settings", "anew"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    fleet.apply("hub", &policy("all", CONFIG, "", &["one"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    let off = json!({"metadata": {"labels": {"fleetctl.dev/owner": null}}});
    fleet.merge("m1", "v1", "ConfigMap", "settings", &off).await?;
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", is_ours).await?;
    engine.stop().await?;

    // Nor while nobody looks.
    fleet.merge("m1", "v1", "ConfigMap", "settings", &off).await?;
    delete(&fleet, "m1", "v1", "ConfigMap", "anew").await?;
    gone(&fleet, "m1", "ConfigMap", "anew").await?;
    fleet.apply("m1", &config("anew", "theirs")).await?;
    let engine = Engine::start(&fleet);
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", is_ours).await?;
    let failed = ready(&fleet, "all", "Failed").await?;
    assert!(failed.to_string().contains("ExistsAlready"), "{failed:#}");
    assert_eq!(value(&fleet, "m1", "anew").await?, Some(json!("theirs")));
    delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
    wait_value(&fleet, "m1", "settings", None).await?;
    engine.stop().await
}

/// Broken: where something was to be and never came is on record for ever, as if it were there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_before_it_came_goes_off_the_record() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    fleet
        .apply("m2", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}))
        .await?;
    fleet.apply("m2", &config("settings", "theirs")).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one", "two"])).await?;
    let failed = ready(&fleet, "all", "Failed").await?;
    assert!(failed.to_string().contains("ExistsAlready"), "{failed:#}");
    wait_recorded(&fleet, |recorded| recorded.iter().any(|(on, _)| on == "m2")).await?;
    cordon(&fleet, "m2", json!("maintenance")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    wait_remembered(&fleet, |objects| objects.iter().all(|object| !object.shares.contains_key("m2"))).await?;
    cordon(&fleet, "m2", Value::Null).await?;
    ready(&fleet, "all", "Delivered").await?;
    wait_recorded(&fleet, |recorded| !recorded.iter().any(|(on, _)| on == "m2")).await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("theirs")));
    engine.stop().await
}

fn places(policy: &Value) -> Vec<(String, String, String)> {
    let objects = policy.pointer("/status/claimed").and_then(Value::as_array).into_iter().flatten();
    let gone = objects.filter(|object| object["name"] == json!("settings"));
    let places = gone.filter_map(|object| object["places"].as_array()).flatten();
    let text = |place: &Value, key: &str| place[key].as_str().unwrap_or_default().to_owned();
    places.map(|place| (text(place, "cluster"), text(place, "phase"), text(place, "reason"))).collect()
}

/// Broken: a policy says that all is done while what it had is still on clusters, and nobody says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_is_told_until_it_is_gone() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["settings", "stays"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let mut all = policy("all", CONFIG, "", &["one", "two", "three"]);
    fleet.apply("hub", &all).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.merge("m2", "v1", "ConfigMap", "settings", &finalizers(&json!(["example.com/slow"]))).await?;
    all["spec"]["mask"] = json!(["two", "three"]);
    fleet.apply("hub", &all).await?;
    fleet.api().set_reachable("m3", false);
    ready(&fleet, "all", "Held").await?;
    delete(&fleet, "hub", "v1", "ConfigMap", "settings").await?;
    let place =
        |cluster: &str, phase: &str, reason: &str| (cluster.to_owned(), phase.to_owned(), reason.to_owned());
    let told = wait_policy(&fleet, "PropagationPolicy", "all", |policy| {
        let places = places(policy);
        places.len() == 3
            && places.contains(&place("m1", "Held", "Masked"))
            && places.contains(&place("m2", "Leaving", "BeingDeleted"))
            && places.contains(&place("m3", "Leaving", "Unreachable"))
    })
    .await?;
    assert_eq!(told.pointer("/status/conditions/0/status"), Some(&json!("False")), "{told:#}");
    assert_eq!(told.pointer("/status/objects/claimed"), Some(&json!(1)), "{told:#}");

    fleet.api().set_reachable("m3", true);
    fleet.merge("m2", "v1", "ConfigMap", "settings", &finalizers(&Value::Null)).await?;
    let held = |policy: &Value| places(policy) == vec![place("m1", "Held", "Masked")];
    wait_policy(&fleet, "PropagationPolicy", "all", held).await?;
    all["spec"].as_object_mut().expect("a map").remove("mask");
    fleet.apply("hub", &all).await?;
    wait_value(&fleet, "m1", "settings", None).await?;
    let done = ready(&fleet, "all", "Delivered").await?;
    assert_eq!(places(&done), Vec::new(), "{done:#}");

    // The last one, so that the policy has nothing any more.
    fleet.merge("m1", "v1", "ConfigMap", "stays", &finalizers(&json!(["example.com/slow"]))).await?;
    all["spec"]["resourceSelectors"][0]["name"] = json!("another");
    fleet.apply("hub", &all).await?;
    let leaving = ready(&fleet, "all", "Leaving").await?;
    assert!(leaving.to_string().contains("no policy takes it any more"), "{leaving:#}");
    fleet.merge("m1", "v1", "ConfigMap", "stays", &finalizers(&Value::Null)).await?;
    ready(&fleet, "all", "MatchesNothing").await?;
    engine.stop().await
}

/// Broken: a policy that divides divides nothing, and nobody says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_replicas_to_divide_is_told() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    let mut web = deployment("web", "web:1");
    web["spec"]["replicas"] = json!(1);
    let api = fleet.resource("hub", &web).await?;
    api.create(&PostParams::default(), &serde_json::from_value(web)?).await?;
    let mut split = policy("split", DEPLOYMENT, "web", &["one", "two"]);
    split["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided"});
    fleet.apply("hub", &split).await?;
    let told = |reason: &'static str| {
        move |policy: &Value| {
            policy.pointer("/status/claimed/0/reason").and_then(Value::as_str).unwrap_or_default() == reason
                && policy.pointer("/status/conditions/0/reason") == Some(&json!("Delivered"))
        }
    };
    let undivided = wait_policy(&fleet, "PropagationPolicy", "split", told("NotDivided")).await?;
    assert!(undivided.to_string().contains("kubectl apply"), "{undivided:#}");
    fleet.merge("hub", "apps/v1", "Deployment", "web", &json!({"spec": {"replicas": 4}})).await?;
    for cluster in ["m1", "m2"] {
        let half = |object: Option<&Value>| {
            object.and_then(|object| object.pointer("/spec/replicas")) == Some(&json!(2))
        };
        fleet.wait_object(cluster, "apps/v1", "Deployment", "web", half).await?;
    }
    wait_policy(&fleet, "PropagationPolicy", "split", told("")).await?;
    engine.stop().await
}

/// Broken: a policy tells for ever that something is being deleted on a cluster that has left the fleet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_being_deleted_goes_with_its_cluster() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["stays", "goes"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let mut all = policy("all", CONFIG, "", &[]);
    all["spec"]["placement"]["clusterAffinity"] = json!({});
    fleet.apply("hub", &all).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.merge("m1", "v1", "ConfigMap", "goes", &finalizers(&json!(["example.com/slow"]))).await?;
    delete(&fleet, "hub", "v1", "ConfigMap", "goes").await?;
    wait_recorded(&fleet, |recorded| !recorded.iter().any(|(_, id)| id.name == "goes")).await?;
    let told = ready(&fleet, "all", "Leaving").await?;
    assert!(told.to_string().contains("BeingDeleted"), "{told:#}");
    delete(&fleet, "hub", "cluster.open-cluster-management.io/v1", "ManagedCluster", "m1").await?;
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await
}
