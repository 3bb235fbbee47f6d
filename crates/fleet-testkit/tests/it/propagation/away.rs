//! What happens while the controller is away, and what it left half done.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{CONFIG, config, marks, policy, ready, value};

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
    while marks(&fleet).await? < 2 {
        tokio::task::yield_now().await;
    }
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
