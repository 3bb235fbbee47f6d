//! What members show comes back to the object on the hub.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{DEPLOYMENT, deployment, policy, ready};

fn number(object: Option<&Value>, at: &str) -> Option<i64> {
    object.and_then(|object| object.pointer(at)).and_then(Value::as_i64)
}

/// A Deployment on the hub says what it is on all members together, and follows when that changes.
/// Broken: `kubectl rollout status` and `kubectl wait` on the hub wait for ever, or believe what isn't so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_members_show_is_on_the_hubs_object() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["one", "two"])).await?;
    let all = |available: i64| {
        move |object: Option<&Value>| {
            number(object, "/status/availableReplicas") == Some(available)
                && number(object, "/status/observedGeneration") == number(object, "/metadata/generation")
        }
    };
    let hub = fleet.wait_object("hub", "apps/v1", "Deployment", "web", all(4)).await?.unwrap_or_default();
    let conditions = hub.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let available = conditions.iter().find(|condition| condition["type"] == json!("Available"));
    assert_eq!(available.map(|condition| &condition["status"]), Some(&json!("True")), "{hub:#}");
    ready(&fleet, "all", "Delivered").await?;
    // It is written when it changes, and never because it was written.
    let written = engine.hub.count().sum(|kind| kind == "PATCH deployments");
    assert!(written <= 6, "{:?}", engine.hub.count());
    let uid = hub.pointer("/metadata/uid").cloned();

    fleet.merge("hub", "apps/v1", "Deployment", "web", &json!({"spec": {"replicas": 3}})).await?;
    let hub = fleet.wait_object("hub", "apps/v1", "Deployment", "web", all(6)).await?.unwrap_or_default();
    assert_eq!(hub.pointer("/metadata/uid").cloned(), uid);
    // A status of its own is nothing that travels.
    let there = fleet.get("m1", "apps/v1", "Deployment", "web").await?;
    assert_eq!(number(there.as_ref(), "/status/availableReplicas"), Some(3));
    engine.stop().await?;
    Ok(())
}
