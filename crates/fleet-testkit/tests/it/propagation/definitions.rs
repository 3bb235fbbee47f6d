//! Policies that go with the definition of their kind: what they distributed stays.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{
    CONFIG, GROUP, config, delete, policy, ready, remembered, wait_recorded, wait_remembered, wait_value,
};
use crate::held::cordon;

const DEFINITION: (&str, &str) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
const NAME: &str = "propagationpolicies.one.alibabacloud.com";

/// One ConfigMap by one policy on one cluster: its UID there.
async fn delivered(fleet: &Fleet) -> anyhow::Result<Value> {
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    ready(fleet, "all", "Delivered").await?;
    uid(fleet).await
}

async fn uid(fleet: &Fleet) -> anyhow::Result<Value> {
    let there = fleet.get("m1", "v1", "ConfigMap", "settings").await?;
    Ok(there.as_ref().and_then(|there| there.pointer("/metadata/uid")).cloned().unwrap_or_default())
}

async fn wait_definition(fleet: &Fleet, wanted: impl Fn(Option<&Value>) -> bool) -> anyhow::Result<()> {
    fleet.wait_object("hub", DEFINITION.0, DEFINITION.1, NAME, wanted).await?;
    Ok(())
}

async fn delete_definition(fleet: &Fleet) -> anyhow::Result<()> {
    delete(fleet, "hub", DEFINITION.0, DEFINITION.1, NAME).await
}

/// The policies are gone, and it is on record that nobody decided on what they had.
async fn wait_orphaned(fleet: &Fleet) -> anyhow::Result<()> {
    wait_remembered(fleet, |objects| !objects.is_empty() && objects.iter().any(|object| object.orphaned))
        .await
}

/// Something else comes and goes meanwhile: whatever was to leave has left by then.
async fn another_comes_and_goes(fleet: &Fleet) -> anyhow::Result<()> {
    fleet.apply("hub", &config("another", "1")).await?;
    let mut wide = policy("wide", CONFIG, "another", &["one"]);
    wide["kind"] = json!("ClusterPropagationPolicy");
    wide["metadata"] = json!({"name": "wide"});
    wide["spec"]["resourceSelectors"][0]["namespace"] = json!("demo");
    fleet.apply("hub", &wide).await?;
    wait_value(fleet, "m1", "another", Some("1")).await?;
    delete(fleet, "hub", GROUP, "ClusterPropagationPolicy", "wide").await?;
    wait_value(fleet, "m1", "another", None).await?;
    wait_recorded(fleet, |recorded| !recorded.iter().any(|(_, id)| id.name == "another")).await
}

/// A definition is deleted and takes its time; then it is installed again, and the policy later.
/// Broken: whoever uninstalls or restores definitions of policies loses the workloads on all members.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_policies_had_stays_when_they_go_with_their_definition() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let before = delivered(&fleet).await?;
    let slow = json!({"metadata": {"finalizers": ["example.com/slow"]}});
    let definition = fleet.get("hub", DEFINITION.0, DEFINITION.1, NAME).await?.unwrap_or_default();
    fleet.merge("hub", DEFINITION.0, DEFINITION.1, NAME, &slow).await?;
    delete_definition(&fleet).await?;
    wait_orphaned(&fleet).await?;
    another_comes_and_goes(&fleet).await?;
    assert_eq!(uid(&fleet).await?, before, "its definition goes");
    engine.stop().await?;
    let engine = Engine::start(&fleet);
    another_comes_and_goes(&fleet).await?;
    assert_eq!(uid(&fleet).await?, before, "its definition still goes after a restart");

    let done = json!({"metadata": {"finalizers": null}});
    fleet.merge("hub", DEFINITION.0, DEFINITION.1, NAME, &done).await?;
    wait_definition(&fleet, |definition| definition.is_none()).await?;
    another_comes_and_goes(&fleet).await?;
    assert_eq!(uid(&fleet).await?, before, "its definition is gone");
    let again = json!({"apiVersion": DEFINITION.0, "kind": DEFINITION.1, "metadata": {"name": NAME},
        "spec": definition["spec"]});
    fleet.apply("hub", &again).await?;
    let served = |definition: Option<&Value>| {
        definition.is_some_and(|definition| definition.to_string().contains("\"Established\""))
    };
    wait_definition(&fleet, served).await?;
    fleet.apply("hub", &config("other", "1")).await?;
    fleet.apply("hub", &policy("other", CONFIG, "other", &["one"])).await?;
    wait_value(&fleet, "m1", "other", Some("1")).await?;
    another_comes_and_goes(&fleet).await?;
    assert_eq!(uid(&fleet).await?, before, "its definition is installed again, and its policy not yet");
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.merge("hub", "v1", "ConfigMap", "settings", &json!({"data": {"key": "2"}})).await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    assert_eq!(uid(&fleet).await?, before, "its policy is there again");
    wait_remembered(&fleet, |objects| objects.iter().all(|object| !object.orphaned)).await?;
    delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
    wait_value(&fleet, "m1", "settings", None).await?;
    engine.stop().await
}

/// The end of the policies is heard of before the end of their definition, or after it; and what was about to leave stays, too.
/// Broken: which of two watches tells first decides whether workloads are deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_policies_had_stays_whichever_watch_tells_first() -> anyhow::Result<()> {
    for hushed in ["customresourcedefinitions", "propagationpolicies"] {
        let fleet = Fleet::start(&[("m1", "one")]).await?;
        let engine = Engine::start(&fleet);
        let before = delivered(&fleet).await?;
        engine.hub.hush(hushed);
        delete_definition(&fleet).await?;
        wait_definition(&fleet, |definition| definition.is_none()).await?;
        wait_orphaned(&fleet).await?;
        another_comes_and_goes(&fleet).await?;
        engine.hub.hear();
        another_comes_and_goes(&fleet).await?;
        assert_eq!(uid(&fleet).await?, before, "{hushed} were heard of last");
        engine.stop().await?;
    }
    Ok(())
}

/// Broken: a delete that waits for its cluster is carried out although nothing is to be deleted any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_about_to_leave_stays_when_the_definition_goes() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let before = delivered(&fleet).await?;
    cordon(&fleet, "m1", json!("maintenance")).await?;
    delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
    wait_remembered(&fleet, |objects| objects.iter().all(|object| object.shares.is_empty())).await?;
    delete_definition(&fleet).await?;
    wait_orphaned(&fleet).await?;
    cordon(&fleet, "m1", Value::Null).await?;
    another_comes_and_goes(&fleet).await?;
    assert_eq!(uid(&fleet).await?, before);
    assert_eq!(remembered(&fleet).await?.len(), 1, "it is still on record");
    engine.stop().await
}
