//! Replicas that find no room on a cluster are told, and move where the policy says so.

use std::collections::BTreeSet;

use fleet_testkit::{Engine, Fleet};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{DynamicObject, WatchEvent, WatchParams};
use serde_json::{Value, json};

use super::{DEPLOYMENT, policy, ready, wait_policy};
use crate::small::deployment;

/// A Deployment whose pods request a processor each; a simulated member has 64.
fn hungry(name: &str, replicas: u64) -> Value {
    let mut hungry = deployment(name, "web:1");
    hungry["spec"]["replicas"] = json!(replicas);
    hungry["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    hungry
}

/// A member that has so many processors in use by others.
async fn fill(fleet: &Fleet, member: &str, used: u64) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply(member, &namespace).await?;
    fleet.apply(member, &hungry("others", used)).await?;
    wait_number(fleet, member, "others", "/status/readyReplicas", Some(used)).await
}

async fn wait_number(
    fleet: &Fleet,
    member: &str,
    name: &str,
    at: &str,
    wanted: Option<u64>,
) -> anyhow::Result<()> {
    let has = |object: Option<&Value>| object.and_then(|object| object.pointer(at)?.as_u64());
    fleet.wait_object(member, "apps/v1", "Deployment", name, |object| has(object) == wanted).await?;
    Ok(())
}

async fn told(fleet: &Fleet, policy: &str, wanted: &str) -> anyhow::Result<Value> {
    wait_policy(fleet, "PropagationPolicy", policy, |policy| policy.to_string().contains(wanted)).await
}

fn split() -> Value {
    let mut split = policy("split", DEPLOYMENT, "web", &["one", "two"]);
    split["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided"});
    split
}

/// Every number of replicas that a member was told to have from now on, in order: its watch has begun, and is read when this is
/// awaited.
async fn numbers(
    pods: &kube::Api<DynamicObject>,
    until: u64,
) -> anyhow::Result<impl Future<Output = anyhow::Result<Vec<u64>>> + use<>> {
    let mut events = pods.watch(&WatchParams::default(), "0").await?.boxed();
    Ok(async move {
        let mut seen = Vec::new();
        while let Some(event) = events.try_next().await? {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
            if object.metadata.name.as_deref() != Some("web") {
                continue;
            }
            let number = object.data.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or_default();
            if seen.last() != Some(&number) {
                seen.push(number);
            }
            if number == until {
                break;
            }
        }
        Ok(seen)
    })
}

/// Broken: replicas wait for ever on a full cluster although the policy lets them go, move although it doesn't, or nobody is told
/// why they wait; what runs there is moved, too, or more moves at once than is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_is_told_and_moves_where_the_policy_says_so() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    fill(&fleet, "m1", 63).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &hungry("web", 8)).await?;
    fleet.apply("hub", &split()).await?;
    wait_number(&fleet, "m1", "web", "/status/readyReplicas", Some(1)).await?;
    let waits = told(&fleet, "split", "Unschedulable").await?;
    assert!(
        waits.to_string().contains("3 pods find no node: 0/1 nodes are available: 1 Insufficient cpu."),
        "{waits:#}"
    );
    assert!(waits.to_string().contains("set failover.cluster"), "{waits:#}");
    wait_number(&fleet, "m1", "web", "/spec/replicas", Some(4)).await?;
    let pods = fleet.resource("m1", &json!({"apiVersion": "v1", "kind": "Pod"})).await?;
    let running = || async {
        let pods = pods.list(&kube::api::ListParams::default().labels("app=web")).await?.items;
        let ready = pods.into_iter().filter(|pod| pod.data.pointer("/spec/nodeName").is_some());
        anyhow::Ok(ready.filter_map(|pod| pod.metadata.uid).collect::<BTreeSet<String>>())
    };
    let before = running().await?;
    assert_eq!(before.len(), 1);

    let mut lets_go = split();
    lets_go["spec"]["failover"] = json!({"cluster": {"tolerationSeconds": 1, "maxMoving": 2}});
    let seen = numbers(&fleet.resource("m2", &hungry("web", 0)).await?, 7).await?;
    fleet.apply("hub", &lets_go).await?;
    wait_number(&fleet, "m2", "web", "/status/readyReplicas", Some(7)).await?;
    wait_number(&fleet, "m1", "web", "/spec/replicas", Some(1)).await?;
    let seen = seen.await?;
    assert!(seen.windows(2).all(|two| two[1] <= two[0] + 2), "{seen:?}");
    ready(&fleet, "split", "Delivered").await?;
    assert_eq!(running().await?, before, "what ran there still runs");
    engine.stop().await
}

/// Broken: where every cluster is full, replicas are given up instead of waiting, what runs is taken away, or what waited stays
/// away once there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_every_cluster_is_full_what_runs_stays_and_the_rest_waits() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    fill(&fleet, "m1", 63).await?;
    fill(&fleet, "m2", 64).await?;
    let engine = Engine::start(&fleet);
    let mut split = split();
    split["spec"]["failover"] = json!({"cluster": {"tolerationSeconds": 0}});
    fleet.apply("hub", &hungry("web", 4)).await?;
    fleet.apply("hub", &split).await?;
    let short = told(&fleet, "split", "NoRoom").await?;
    assert!(short.to_string().contains("of 4 replicas find no room"), "{short:#}");
    wait_number(&fleet, "m1", "web", "/status/readyReplicas", Some(1)).await?;
    let asked = |object: Option<&Value>| {
        object.and_then(|object| object.pointer("/spec/replicas")?.as_u64()).unwrap_or_default()
    };
    let mut sum = 0;
    for member in ["m1", "m2"] {
        sum += asked(fleet.get(member, "apps/v1", "Deployment", "web").await?.as_ref());
    }
    assert_eq!(sum, 4);
    // Room comes: everything runs.
    for member in ["m1", "m2"] {
        fleet.apply(member, &hungry("others", 1)).await?;
    }
    ready(&fleet, "split", "Delivered").await?;
    let shows = |object: Option<&Value>| {
        object.and_then(|object| object.pointer("/status/readyReplicas")?.as_u64()) == Some(4)
    };
    fleet.wait_object("hub", "apps/v1", "Deployment", "web", shows).await?;
    engine.stop().await
}
