//! A cluster that the hub doesn't accept any more.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{CONFIG, DEPLOYMENT, config, deployment, policy, ready, wait_policy, wait_value};

/// Broken: somebody takes back the acceptance of a cluster to be on the safe side, and what runs there is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_or_deleted_where_the_hub_accepts_no_more() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    let mut wide = policy("all", CONFIG, "settings", &[]);
    wide["spec"]["placement"] = json!({});
    fleet.apply("hub", &wide).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    for cluster in ["m1", "m2"] {
        wait_value(&fleet, cluster, "settings", Some("1")).await?;
    }
    let accept = |accepts: bool| json!({"spec": {"hubAcceptsClient": accepts}});
    let of = "cluster.open-cluster-management.io/v1";
    fleet.merge("hub", of, "ManagedCluster", "m2", &accept(false)).await?;
    let told =
        wait_policy(&fleet, "PropagationPolicy", "all", |policy| policy.to_string().contains("NotAccepted"));
    let told = told.await?;
    assert!(told.to_string().contains("hubAcceptsClient"), "{told:#}");
    fleet.apply("hub", &config("settings", "2")).await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    wait_value(&fleet, "m2", "settings", Some("1")).await?;
    fleet.merge("hub", of, "ManagedCluster", "m2", &accept(true)).await?;
    wait_value(&fleet, "m2", "settings", Some("2")).await?;
    engine.stop().await
}

/// Broken: the cluster that isn't accepted any more counts for ever, so that a part of its share is nowhere else; or what it
/// has is changed, by then or when it is accepted again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_share_of_a_cluster_that_is_not_accepted_goes_to_others() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    let mut web = deployment("web", "web:1");
    web["spec"]["replicas"] = json!(8);
    fleet.apply("hub", &web).await?;
    let mut split = policy("split", DEPLOYMENT, "web", &["one", "two"]);
    split["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided"});
    fleet.apply("hub", &split).await?;
    ready(&fleet, "split", "Delivered").await?;
    let before = fleet.get("m2", "apps/v1", "Deployment", "web").await?.unwrap_or_default();
    let accept = |accepts: bool| json!({"spec": {"hubAcceptsClient": accepts}});
    let of = "cluster.open-cluster-management.io/v1";
    let has = |replicas: u64| {
        move |object: Option<&Value>| {
            object.is_some_and(|object| object.pointer("/spec/replicas") == Some(&json!(replicas)))
        }
    };
    fleet.merge("hub", of, "ManagedCluster", "m2", &accept(false)).await?;
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", has(8)).await?;
    fleet.merge("hub", of, "ManagedCluster", "m2", &accept(true)).await?;
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", has(4)).await?;
    ready(&fleet, "split", "Delivered").await?;
    let after = fleet.get("m2", "apps/v1", "Deployment", "web").await?.unwrap_or_default();
    assert_eq!(before["metadata"]["generation"], after["metadata"]["generation"]);
    assert_eq!(before["spec"], after["spec"]);
    engine.stop().await
}
