//! A cluster that the hub doesn't accept any more.

use fleet_testkit::{Engine, Fleet};
use serde_json::json;

use super::{CONFIG, config, policy, wait_policy, wait_value};

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
