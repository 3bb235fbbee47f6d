//! What happens while the controller is away, and what it left half done.

use std::time::Duration;

use anyhow::Context as _;
use fleet_testkit::{Engine, Fleet, Meter};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::{
    CONFIG, DEPLOYMENT, GROUP, PATIENCE, config, delete, deployment, policy, ready, value, wait_marks,
    wait_policy, wait_recorded, wait_value,
};

/// While nobody looks, an object is changed on the hub, and on a member by somebody else: what was ours there is taken back
/// together with the change, as by a controller that lived on; what never was ours is not.
/// Broken: after a restart such an object keeps what somebody changed, and no edit arrives any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ours_is_taken_back_after_a_restart() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["ours", "theirs"] {
        fleet.apply("hub", &config(name, "1")).await?;
        fleet.apply("hub", &policy(name, CONFIG, name, &["one"])).await?;
        ready(&fleet, name, "Delivered").await?;
    }
    wait_marks(&fleet, 2).await?;
    engine.kill().await;
    fleet.merge("m1", "v1", "ConfigMap", "ours", &json!({"data": {"key": "changed"}})).await?;
    fleet.merge("m1", "v1", "ConfigMap", "theirs", &json!({"data": {"more": "theirs"}})).await?;
    for name in ["ours", "theirs"] {
        fleet.merge("hub", "v1", "ConfigMap", name, &json!({"data": {"more": "2"}})).await?;
    }
    let engine = Engine::start(&fleet);
    let has = |key: &'static str, wanted: &'static str| {
        move |object: Option<&Value>| {
            object.and_then(|o| o.pointer("/data")?.get(key)) == Some(&json!(wanted))
        }
    };
    fleet.wait_object("m1", "v1", "ConfigMap", "ours", has("more", "2")).await?;
    assert_eq!(value(&fleet, "m1", "ours").await?, Some(json!("1")));
    let refused = ready(&fleet, "theirs", "Failed").await?;
    assert!(refused.to_string().contains(".data.more"), "{refused:#}");
    fleet.wait_object("m1", "v1", "ConfigMap", "theirs", has("more", "theirs")).await?;
    engine.stop().await?;
    Ok(())
}

/// The controller delivers a change and dies before it is on record what it left. Broken: what somebody changes there then is
/// refused for ever, as if it never had been ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ours_is_taken_back_where_the_last_delivery_is_not_on_record() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "0")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    wait_marks(&fleet, 1).await?;
    engine.hub.stall_writes();
    let delivered = || async {
        let found = fleet.get("m1", "v1", "ConfigMap", "settings").await?.unwrap_or_default();
        let managed = found.pointer("/metadata/managedFields").and_then(Value::as_array).cloned();
        let ours = managed.into_iter().flatten().find(|entry| entry["operation"] == json!("Apply"));
        anyhow::Ok(ours.unwrap_or_default()["time"].clone())
    };
    // It tells of another second.
    let (first, mut value) = (delivered().await?, 0);
    while delivered().await? == first {
        value += 1;
        fleet.apply("hub", &config("settings", &value.to_string())).await?;
        wait_value(&fleet, "m1", "settings", Some(&value.to_string())).await?;
    }
    engine.kill().await;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "changed"}})).await?;
    fleet.apply("hub", &config("settings", "last")).await?;
    let engine = Engine::start(&fleet);
    wait_value(&fleet, "m1", "settings", Some("last")).await?;
    engine.stop().await
}

/// The same where nothing was left on record but that it goes there: the object shows what was delivered.
/// Broken: as above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ours_is_taken_back_where_no_delivery_is_on_record() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    let engine = Engine::start(&fleet);
    engine.members.stall_writes();
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    wait_recorded(&fleet, |recorded| !recorded.is_empty()).await?;
    engine.hub.stall_writes();
    engine.members.wake();
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    engine.kill().await;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "changed"}})).await?;
    // It is sent before the cluster tells what it has.
    let members = Meter::new();
    members.stall_lists("configmaps");
    let engine = Engine::with(&fleet, Meter::new(), members, fleet.options());
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    engine.stop().await
}

/// A controller dies between the record and the request, and then no cluster fits any more: what never came doesn't come.
/// Broken: a cluster that no policy wants gets an object, since it is on record of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_came_does_not_come_where_nothing_fits() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut all = policy("all", CONFIG, "settings", &["one"]);
    fleet.apply("hub", &all).await?;
    ready(&fleet, "all", "Delivered").await?;
    wait_marks(&fleet, 1).await?;
    engine.members.stall_writes();
    all["spec"]["placement"]["clusterAffinity"]["clusterNames"] = json!(["one", "two"]);
    fleet.apply("hub", &all).await?;
    wait_recorded(&fleet, |recorded| recorded.iter().any(|(cluster, _)| cluster == "m2")).await?;
    engine.kill().await;
    all["spec"]["placement"]["clusterAffinity"] = json!({"labelSelector": {"matchLabels": {"tier": "gold"}}});
    fleet.apply("hub", &all).await?;
    let engine = Engine::start(&fleet);
    let told = wait_policy(&fleet, "PropagationPolicy", "all", |policy| {
        policy.pointer("/status/claimed/0/reason") == Some(&json!("NoClusterFits"))
    });
    told.await?;
    // What is there follows the hub, and what comes after it has come.
    fleet.merge("hub", "v1", "ConfigMap", "settings", &json!({"data": {"key": "2"}})).await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    fleet.apply("hub", &config("last", "1")).await?;
    fleet.apply("hub", &policy("last", CONFIG, "last", &["two"])).await?;
    wait_value(&fleet, "m2", "last", Some("1")).await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    // Where it fits again, it comes; and nothing of it stays on record.
    let gold = json!({"metadata": {"labels": {"tier": "gold"}}});
    fleet.merge("hub", "cluster.open-cluster-management.io/v1", "ManagedCluster", "m2", &gold).await?;
    wait_value(&fleet, "m2", "settings", Some("2")).await?;
    wait_value(&fleet, "m1", "settings", None).await?;
    delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
    wait_value(&fleet, "m2", "settings", None).await?;
    wait_recorded(&fleet, |recorded| !recorded.iter().any(|(_, id)| id.name == "settings")).await?;
    engine.stop().await?;
    Ok(())
}

/// A controller dies between the record and the request, and then the object is to be elsewhere: it doesn't come to leave again.
/// Broken: a cluster that no policy wants gets an object until it is ready where it is wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_came_does_not_come_to_leave() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    for cluster in ["m1", "m2"] {
        fleet.apply(cluster, &namespace).await?;
    }
    let engine = Engine::start(&fleet);
    engine.members.stall_writes();
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["two"])).await?;
    wait_recorded(&fleet, |recorded| !recorded.is_empty()).await?;
    engine.kill().await;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    let engine = Engine::start(&fleet);
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    wait_recorded(&fleet, |recorded| !recorded.iter().any(|(cluster, _)| cluster == "m2")).await?;
    let members = engine.members.count();
    assert_eq!(members.sum(|kind| kind == "PATCH configmaps"), 1, "{members:?}");
    engine.stop().await?;
    Ok(())
}

/// After a restart a cluster misses a request before it tells what it has. Broken: its replicas are taken for what doesn't
/// run, and given up before others are ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_misses_a_request_after_a_restart_gives_nothing_up() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    let mut web = deployment("web", "web:1");
    web["spec"]["replicas"] = json!(4);
    fleet.apply("hub", &web).await?;
    let mut split = policy("split", DEPLOYMENT, "web", &["one"]);
    split["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided"});
    fleet.apply("hub", &split).await?;
    ready(&fleet, "split", "Delivered").await?;
    wait_marks(&fleet, 1).await?;
    engine.kill().await;
    // On the second no pod comes up.
    let breaks = json!({"apiVersion": GROUP, "kind": "OverridePolicy",
        "metadata": {"name": "breaks", "namespace": "demo"},
        "spec": {"overrideRules": [{"targetCluster": {"clusterNames": ["two"]}, "overriders": {"imageOverrider": [
            {"component": "Tag", "operator": "replace", "value": "broken"}]}}]}});
    fleet.apply("hub", &breaks).await?;
    split["spec"]["placement"]["clusterAffinity"]["clusterNames"] = json!(["one", "two"]);
    let weighs =
        |cluster: &str, weight: u64| json!({"targetCluster": {"clusterNames": [cluster]}, "weight": weight});
    split["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided",
        "replicaDivisionPreference": "Weighted",
        "weightPreference": {"staticWeightList": [weighs("one", 3), weighs("two", 1)]}});
    fleet.apply("hub", &split).await?;
    let (mut options, members) = (fleet.options(), Meter::new());
    options.members.request_timeout = Duration::from_millis(300);
    members.stall_lists("deployments");
    let engine = Engine::with(&fleet, Meter::new(), members.clone(), options);
    let one = |object: Option<&Value>| {
        object.and_then(|object| object.pointer("/spec/replicas")) == Some(&json!(1))
    };
    fleet.wait_object("m2", "apps/v1", "Deployment", "web", one).await?;
    fleet.api().set_reachable("m1", false);
    let tells = |of: &'static str| move |policy: &Value| policy.to_string().contains(of);
    wait_policy(&fleet, "PropagationPolicy", "split", tells("doesn't answer")).await?;
    fleet.api().set_reachable("m1", true);
    members.wake();
    let all = json!({"cluster": "m1", "phase": "Delivered", "replicas": 4});
    let keeps = |policy: &Value| policy.pointer("/status/claimed/0/places/0") == Some(&all);
    wait_policy(&fleet, "PropagationPolicy", "split", keeps).await?;
    let found = fleet.get("m1", "apps/v1", "Deployment", "web").await?.unwrap_or_default();
    assert_eq!(found.pointer("/spec/replicas"), Some(&json!(4)), "{found:#}");
    engine.stop().await
}

/// A member lets the controller list by namespace only. Broken: after a restart, what is in any but the first namespace that is
/// looked at gets nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_namespace_of_a_member_is_looked_at_after_a_restart() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let start = || {
        let members = Meter::new();
        members.forbid_everywhere("configmaps");
        Engine::with(&fleet, Meter::new(), members, fleet.options())
    };
    let within = |namespace: &str, value: &str| {
        let mut object = config("settings", value);
        object["metadata"]["namespace"] = json!(namespace);
        object
    };
    let arrives = async |namespace: &str, value: &str| {
        let api = fleet.resource("m1", &within(namespace, value)).await?;
        let mut seen = std::pin::pin!(kube::runtime::watcher::watch_object(api, "settings"));
        while let Some(object) = seen.next().await {
            if object?.is_some_and(|object| object.data.pointer("/data/key") == Some(&json!(value))) {
                break;
            }
        }
        anyhow::Ok(())
    };
    let engine = start();
    let mut wide = policy("wide", CONFIG, "settings", &["one"]);
    wide["kind"] = json!("ClusterPropagationPolicy");
    wide["metadata"] = json!({"name": "wide"});
    fleet.apply("hub", &wide).await?;
    for namespace in ["first", "second"] {
        let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        fleet.apply("hub", &made).await?;
        fleet.apply("hub", &within(namespace, "1")).await?;
        tokio::time::timeout(PATIENCE, arrives(namespace, "1")).await.context(namespace)??;
    }
    wait_marks(&fleet, 2).await?;
    engine.stop().await?;
    let engine = start();
    for namespace in ["first", "second"] {
        fleet.apply("hub", &within(namespace, "2")).await?;
        tokio::time::timeout(PATIENCE, arrives(namespace, "2")).await.context(namespace)??;
    }
    engine.stop().await
}
