//! Objects that pass from one policy to another: what the new one takes never leaves.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{CONFIG, GROUP, config, delete, policy, wait_remembered, wait_value};

const NARROW: &str = "PropagationPolicy";
const WIDE: &str = "ClusterPropagationPolicy";

/// A policy of either kind that has the settings on cluster one.
fn of_kind(kind: &str, name: &str) -> Value {
    let mut policy = policy(name, CONFIG, "settings", &["one"]);
    if kind == WIDE {
        policy["kind"] = json!(kind);
        policy["metadata"] = json!({"name": name});
        policy["spec"]["resourceSelectors"][0]["namespace"] = json!("demo");
    }
    policy
}

async fn uid(fleet: &Fleet) -> anyhow::Result<Value> {
    let there = fleet.get("m1", "v1", "ConfigMap", "settings").await?;
    Ok(there.as_ref().and_then(|there| there.pointer("/metadata/uid")).cloned().unwrap_or_default())
}

/// It is on record that a policy has the settings.
async fn had_by(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    wait_remembered(fleet, |objects| {
        objects.iter().any(|object| object.policy.as_ref().is_some_and(|policy| policy.name == name))
    })
    .await
}

/// The new policy is applied, then the old one deleted, or edited so that it has the object no more; the hub tells of it in the
/// other order.
/// Broken: objects that move from one policy to another of another kind are deleted on all members and made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handed_over_stays_whatever_is_heard_of_first() -> anyhow::Result<()> {
    for (from, to, deleted) in [(NARROW, WIDE, true), (WIDE, NARROW, true), (NARROW, WIDE, false)] {
        let fleet = Fleet::start(&[("m1", "one")]).await?;
        let engine = Engine::start(&fleet);
        fleet.apply("hub", &config("settings", "1")).await?;
        fleet.apply("hub", &of_kind(from, "old")).await?;
        wait_value(&fleet, "m1", "settings", Some("1")).await?;
        had_by(&fleet, "old").await?;
        let before = uid(&fleet).await?;

        engine.hub.hush(if to == WIDE { "clusterpropagationpolicies" } else { "propagationpolicies" });
        fleet.apply("hub", &of_kind(to, "new")).await?;
        if deleted {
            delete(&fleet, "hub", GROUP, from, "old").await?;
        } else {
            let mut old = of_kind(from, "old");
            old["spec"]["resourceSelectors"][0]["name"] = json!("other");
            fleet.apply("hub", &old).await?;
        }
        had_by(&fleet, "new").await?;
        assert_eq!(uid(&fleet).await?, before, "from {from} to {to}");
        engine.hub.hear();
        fleet.merge("hub", "v1", "ConfigMap", "settings", &json!({"data": {"key": "2"}})).await?;
        wait_value(&fleet, "m1", "settings", Some("2")).await?;
        assert_eq!(uid(&fleet).await?, before, "from {from} to {to}");
        delete(&fleet, "hub", GROUP, to, "new").await?;
        wait_value(&fleet, "m1", "settings", None).await?;
        engine.stop().await?;
    }
    Ok(())
}

/// A mask holds what its policy has let go; long after, another policy takes it, and the old one is deleted.
/// Broken: that nobody had it once counts for ever, so it leaves when the mask goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mask_held_is_handed_over_too() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut old = of_kind(NARROW, "old");
    fleet.apply("hub", &old).await?;
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    let before = uid(&fleet).await?;
    old["spec"]["resourceSelectors"][0]["name"] = json!("other");
    old["spec"]["mask"] = json!([]);
    fleet.apply("hub", &old).await?;
    wait_remembered(&fleet, |objects| objects.iter().all(|object| object.shares.is_empty())).await?;
    engine.hub.hush("clusterpropagationpolicies");
    fleet.apply("hub", &of_kind(WIDE, "new")).await?;
    delete(&fleet, "hub", GROUP, NARROW, "old").await?;
    had_by(&fleet, "new").await?;
    assert_eq!(uid(&fleet).await?, before);
    engine.stop().await
}
