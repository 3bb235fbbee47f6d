//! Policies about single objects and placements, as users write them.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use crate::small::{app, config, deployment, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");
const OTHER: (&str, &str, &str) = ("v1", "ConfigMap", "other");

fn with_policy(mut app: Value, type_: &str, properties: Value) -> Value {
    app["spec"]["policies"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"name": "more", "type": type_, "properties": properties}));
    app
}

/// Delivers two ConfigMaps, takes one out of the Application, and says whether it stayed on the member; then
/// deletes the Application and says so again.
async fn kept(policy: Option<Value>) -> anyhow::Result<(bool, bool)> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    for name in ["settings", "other"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let manifest = |objects: &[(&str, &str, &str)]| match &policy {
        Some(policy) => with_policy(app(objects, &["m1"]), "garbage-collect", policy.clone()),
        None => app(objects, &["m1"]),
    };
    fleet.apply("hub", &manifest(&[CONFIG, OTHER])).await?;
    fleet.wait_run("web", 1, "running").await?;
    fleet.apply("hub", &manifest(&[CONFIG])).await?;
    fleet.wait_run("web", 2, "running").await?;
    let after_update = value(&fleet, "m1", "other").await?.is_some();
    let api: kube::Api<fleet_api::Application> = kube::Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &Default::default()).await?;
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    let after_deletion = value(&fleet, "m1", "other").await?.is_some();
    engine.stop().await?;
    Ok((after_update, after_deletion))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_revision_no_longer_has_goes_or_stays_as_the_policy_says() -> anyhow::Result<()> {
    let rule =
        |strategy: &str| json!({"rules": [{"selector": {"resourceNames": ["other"]}, "strategy": strategy}]});
    assert_eq!(kept(None).await?, (false, false));
    assert_eq!(kept(Some(json!({"keepLegacyResource": true}))).await?, (true, false));
    assert_eq!(kept(Some(rule("onAppDelete"))).await?, (true, false));
    assert_eq!(kept(Some(rule("never"))).await?, (true, true));
    assert_eq!(kept(Some(rule("onAppUpdate"))).await?, (false, false));
    Ok(())
}

/// An override takes a trait away, by a name with a glob.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_disables_a_trait() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut manifest = app(&[("apps/v1", "Deployment", "web")], &["m1"]);
    manifest["spec"]["components"][0]["traits"] = json!([{"type": "scaler", "properties": {"replicas": 3}}]);
    manifest["spec"]["policies"] = json!([
        {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
        {"name": "second", "type": "topology", "properties": {"clusters": ["m2"]}},
        {"name": "plain", "type": "override", "properties": {"components": [
            {"name": "ma*", "traits": [{"type": "scaler", "disable": true}]}]}}]);
    manifest["spec"]["workflow"] = json!({"steps": [
        {"name": "one", "type": "deploy", "properties": {"policies": ["first"]}},
        {"name": "two", "type": "deploy", "properties": {"policies": ["second", "plain"]}}]});
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    for (member, replicas) in [("m1", 3), ("m2", 2)] {
        let there = fleet.get(member, "apps/v1", "Deployment", "web").await?.expect("delivered");
        assert_eq!(there.pointer("/spec/replicas"), Some(&json!(replicas)), "{member}");
    }
    engine.stop().await?;
    Ok(())
}
