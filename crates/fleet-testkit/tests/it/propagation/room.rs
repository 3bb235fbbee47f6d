//! Replicas that are divided by the room that clusters have.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{DEPLOYMENT, policy, ready};
use crate::small::deployment;

/// A Deployment whose pods request a processor each.
fn hungry(name: &str, replicas: u64) -> Value {
    let mut hungry = deployment(name, "web:1");
    hungry["spec"]["replicas"] = json!(replicas);
    hungry["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    hungry
}

fn divided(by: Value) -> Value {
    let mut policy = policy("by-room", DEPLOYMENT, "web", &["m1", "m2"]);
    policy["spec"]["placement"]["replicaScheduling"] = by;
    policy
}

/// Waits until the members have so many replicas of `web` asked for.
async fn wait_shares(fleet: &Fleet, shares: &[(&str, Option<u64>)]) -> anyhow::Result<()> {
    for (member, wanted) in shares {
        let has =
            |object: Option<&Value>| object.and_then(|object| object.pointer("/spec/replicas")?.as_u64());
        fleet.wait_object(member, "apps/v1", "Deployment", "web", |object| has(object) == *wanted).await?;
    }
    Ok(())
}

/// A fleet whose first member has 48 of its 64 processors in use.
async fn half_full() -> anyhow::Result<Fleet> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    fleet.apply("m1", &hungry("others", 48)).await?;
    let all = |object: Option<&Value>| {
        object.and_then(|object| object.pointer("/status/readyReplicas")) == Some(&json!(48))
    };
    fleet.wait_object("m1", "apps/v1", "Deployment", "others", all).await?;
    Ok(fleet)
}

/// Broken: a full cluster gets as much as an empty one, what was placed moves when more is added, or replicas that fit
/// nowhere are sent somewhere without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_go_where_there_is_room() -> anyhow::Result<()> {
    let fleet = half_full().await?;
    let engine = Engine::start(&fleet);
    let weight = json!({"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted",
        "weightPreference": {"dynamicWeight": "AvailableReplicas"}});
    fleet.apply("hub", &hungry("web", 20)).await?;
    fleet.apply("hub", &divided(weight)).await?;
    wait_shares(&fleet, &[("m1", Some(4)), ("m2", Some(16))]).await?;
    ready(&fleet, "by-room", "Delivered").await?;

    // What is there stays; ten more go by what is left, 12 and 48.
    fleet.apply("hub", &hungry("web", 30)).await?;
    wait_shares(&fleet, &[("m1", Some(6)), ("m2", Some(24))]).await?;
    fleet.apply("hub", &hungry("web", 100)).await?;
    wait_shares(&fleet, &[("m1", Some(16)), ("m2", Some(64))]).await?;
    let told = ready(&fleet, "by-room", "Failed").await?;
    let message = told.pointer("/status/claimed/0/message").and_then(Value::as_str).unwrap_or_default();
    assert!(message.contains("20 of 100 replicas find no room"), "{told:#}");
    engine.stop().await
}

/// Broken: `Aggregated` spreads what one cluster has room for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_stay_together_where_one_cluster_has_room() -> anyhow::Result<()> {
    let fleet = half_full().await?;
    let engine = Engine::start(&fleet);
    let together = json!({"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Aggregated"});
    fleet.apply("hub", &hungry("web", 20)).await?;
    fleet.apply("hub", &divided(together)).await?;
    wait_shares(&fleet, &[("m2", Some(20)), ("m1", None)]).await?;
    fleet.apply("hub", &hungry("web", 70)).await?;
    wait_shares(&fleet, &[("m2", Some(64)), ("m1", Some(6))]).await?;
    engine.stop().await
}

/// All replicas are to be on a cluster that is cordoned: what it doesn't take stays where it runs until it does.
/// Broken: replicas that run are given up for such as find no place, and the workload is smaller than asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_for_what_finds_no_place() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    let mut web = deployment("web", "web:1");
    web["spec"]["replicas"] = json!(4);
    fleet.apply("hub", &web).await?;
    let mut split =
        divided(json!({"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted",
        "weightPreference": {"staticWeightList": [
            {"targetCluster": {"clusterNames": ["m1", "m2"]}, "weight": 1}]}}));
    fleet.apply("hub", &split).await?;
    wait_shares(&fleet, &[("m1", Some(2)), ("m2", Some(2))]).await?;
    let ready_there = |object: Option<&Value>| {
        object.and_then(|object| object.pointer("/status/readyReplicas")?.as_u64()) == Some(2)
    };
    for member in ["m1", "m2"] {
        fleet.wait_object(member, "apps/v1", "Deployment", "web", ready_there).await?;
    }
    const FLEET: &str = "cluster.open-cluster-management.io/v1";
    let cordon = |value: Value| json!({"metadata": {"annotations": {"fleetctl.dev/cordoned": value}}});
    fleet.merge("hub", FLEET, "ManagedCluster", "m2", &cordon(json!("true"))).await?;
    // What finds no place there tells that it is known by now.
    fleet.apply("hub", &super::config("first", "1")).await?;
    fleet.apply("hub", &policy("first", super::CONFIG, "first", &["m2"])).await?;
    let cordoned = Some(&json!("Cordoned"));
    super::wait_policy(&fleet, "PropagationPolicy", "first", |policy| {
        policy.pointer("/status/claimed/0/places/0/reason") == cordoned
    })
    .await?;
    split["spec"]["placement"]["clusterAffinity"]["clusterNames"] = json!(["m2"]);
    fleet.apply("hub", &split).await?;
    super::wait_policy(&fleet, "PropagationPolicy", "by-room", |policy| {
        policy.pointer("/status/claimed/0/reason") == Some(&json!("NoRoom"))
    })
    .await?;
    // What is sent after that has come.
    fleet.apply("hub", &super::config("last", "1")).await?;
    fleet.apply("hub", &policy("last", super::CONFIG, "last", &["m1"])).await?;
    super::wait_value(&fleet, "m1", "last", Some("1")).await?;
    wait_shares(&fleet, &[("m1", Some(2)), ("m2", Some(2))]).await?;
    fleet.merge("hub", FLEET, "ManagedCluster", "m2", &cordon(Value::Null)).await?;
    wait_shares(&fleet, &[("m2", Some(4)), ("m1", None)]).await?;
    engine.stop().await?;
    Ok(())
}
