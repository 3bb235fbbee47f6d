//! Labels and annotations that belong to members.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{CONFIG, policy, ready};
use crate::small::config;

async fn rules(fleet: &Fleet, text: &str) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleetctl-system"}});
    fleet.apply("hub", &namespace).await?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "ours", "namespace": "fleetctl-system", "labels": {"fleetctl.dev/key-rules": ""}},
        "data": {"rules.yaml": text}});
    fleet.apply("hub", &map).await?;
    Ok(())
}

/// Broken: what a controller on the member notes is fought over with the hub, or a rule counts only after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_say_which_keys_belong_to_members() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    rules(
        &fleet,
        "[{kinds: [ConfigMap], annotations: {member: ['lb.example.com/*'], hub: ['lb.example.com/size']}}]",
    )
    .await?;
    let engine = Engine::start(&fleet);
    let mut settings = config("settings", "1");
    settings["metadata"]["annotations"] =
        json!({"lb.example.com/id": "of-the-hub", "lb.example.com/size": "large", "note": "ours"});
    fleet.apply("hub", &settings).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    let annotations =
        |object: Option<&Value>| object.and_then(|o| o.pointer("/metadata/annotations")).cloned();
    let there = fleet.get("m1", "v1", "ConfigMap", "settings").await?;
    assert_eq!(annotations(there.as_ref()), Some(json!({"lb.example.com/size": "large", "note": "ours"})));
    // What the member's controller notes stays.
    let note = json!({"metadata": {"annotations": {"lb.example.com/id": "of-the-member"}}});
    fleet.merge("m1", "v1", "ConfigMap", "settings", &note).await?;
    let edit = json!({"data": {"key": "2"}});
    fleet.merge("hub", "v1", "ConfigMap", "settings", &edit).await?;
    let changed = |object: Option<&Value>| object.and_then(|o| o.pointer("/data/key")) == Some(&json!("2"));
    let there = fleet.wait_object("m1", "v1", "ConfigMap", "settings", changed).await?;
    let id =
        |object: Option<&Value>| annotations(object).and_then(|all| all.get("lb.example.com/id").cloned());
    assert_eq!(id(there.as_ref()), Some(json!("of-the-member")));
    // Another rule counts at once, for what is there already too.
    rules(&fleet, "[{kinds: [ConfigMap], annotations: {member: ['lb.example.com/*', note]}}]").await?;
    let left =
        |object: Option<&Value>| annotations(object) == Some(json!({"lb.example.com/id": "of-the-member"}));
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", left).await?;
    engine.stop().await
}
