//! Mistakes: told on the policy's status with the way out, and nothing that was delivered is lost by one.

use fleet_testkit::{Engine, Fleet, Meter};
use serde_json::{Value, json};

use super::{
    CONFIG, DEPLOYMENT, GROUP, app, config, delete, deployment, policy, ready, value, wait_policy, wait_value,
};

async fn told(fleet: &Fleet, name: &str, reason: &str) -> anyhow::Result<Value> {
    wait_policy(fleet, "PropagationPolicy", name, |policy| {
        let problems = policy.pointer("/status/problems").and_then(Value::as_array);
        problems.into_iter().flatten().any(|problem| problem["reason"] == json!(reason))
    })
    .await
}

/// A policy that says something that can't be meant says so; what can be meant is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_policy_is_on_its_status() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;

    fleet.apply("hub", &policy("typo", CONFIG, "setings", &["one"])).await?;
    let nothing = ready(&fleet, "typo", "MatchesNothing").await?;
    let near = told(&fleet, "typo", "SelectorMatchesNothing").await?;
    assert!(near.to_string().contains("did you mean \\\"settings\\\""), "{nothing:#}");

    fleet.apply("hub", &policy("misspelt", ("v1", "ConfigMapp"), "settings", &["one"])).await?;
    let kind = told(&fleet, "misspelt", "UnknownKind").await?;
    assert!(kind.to_string().contains("did you mean \\\"ConfigMap\\\""), "{kind:#}");

    // Twice by name and alias, and one that nobody knows: the others are served.
    fleet.apply("hub", &policy("clusters", CONFIG, "settings", &["one", "m1", "m3"])).await?;
    let unknown = told(&fleet, "clusters", "UnknownCluster").await?;
    assert_eq!(unknown.pointer("/status/claimed/0/places").and_then(Value::as_array).map(Vec::len), Some(1));
    wait_value(&fleet, "m1", "settings", Some("1")).await?;

    // An error takes nothing away.
    let mut broken = policy("clusters", CONFIG, "settings", &["two"]);
    broken["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided",
        "replicaDivisionPreference": "Weighted",
        "weightPreference": {"staticWeightList": [{"targetCluster": {}, "weight": 0}]}});
    fleet.apply("hub", &broken).await?;
    let weight = ready(&fleet, "clusters", "Invalid").await?;
    assert!(weight.to_string().contains("WeightInvalid"), "{weight:#}");
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    engine.stop().await?;
    Ok(())
}

/// Broken: an override policy that changes nothing since nothing stands in its rule is sent to look for a cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_that_says_nothing_is_told_so() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one"])).await?;
    let empty = json!({"apiVersion": GROUP, "kind": "OverridePolicy", "metadata": {"name": "empty", "namespace": "demo"},
        "spec": {"resourceSelectors": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "settings"}],
            "overrideRules": [{"targetCluster": {"clusterNames": ["one"]}, "overriders": {}}]}});
    fleet.apply("hub", &empty).await?;
    let told = wait_policy(&fleet, "OverridePolicy", "empty", |policy| {
        policy.pointer("/status/conditions/0/reason") == Some(&json!("ChangesNothing"))
    });
    let told = told.await?;
    let message = told.pointer("/status/conditions/0/message").and_then(Value::as_str).unwrap_or_default();
    assert_eq!(
        message, "spec.overrideRules[0].overriders: it changes nothing; give an overrider",
        "{told:#}"
    );
    engine.stop().await?;
    Ok(())
}

/// Two policies of one priority: both say so, and one has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_priorities_are_told_on_both() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("b", CONFIG, "settings", &["two"])).await?;
    fleet.apply("hub", &policy("a", CONFIG, "settings", &["one"])).await?;
    let engine = Engine::start(&fleet);
    for name in ["a", "b"] {
        told(&fleet, name, "EqualPriority").await?;
    }
    ready(&fleet, "a", "Delivered").await?;
    ready(&fleet, "b", "Lost").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    engine.stop().await?;
    Ok(())
}

/// An override that can't be made is told on both policies, and nothing is delivered without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_that_can_not_be_made_delivers_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    let overriding = |overriders: Value| {
        json!({"apiVersion": GROUP, "kind": "OverridePolicy", "metadata": {"name": "differs", "namespace": "demo"},
            "spec": {"overrideRules": [{"targetCluster": {"clusterNames": ["one"]}, "overriders": overriders}]}})
    };
    fleet
        .apply(
            "hub",
            &overriding(json!({"plaintext": [
        {"path": "/spec/nowhere/deep", "operator": "replace", "value": 1}]})),
        )
        .await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["one", "two"])).await?;
    let failed = ready(&fleet, "all", "Failed").await?;
    assert!(failed.to_string().contains("PathNotFound"), "{failed:#}");
    let differs = |reason: &'static str| {
        wait_policy(&fleet, "OverridePolicy", "differs", move |policy| policy.to_string().contains(reason))
    };
    differs("PathNotFound").await?;
    fleet.wait_object("m2", "apps/v1", "Deployment", "web", |object| object.is_some()).await?;
    assert!(fleet.get("m1", "apps/v1", "Deployment", "web").await?.is_none());
    fleet
        .apply(
            "hub",
            &overriding(json!({"imageOverrider": [
        {"component": "Registry", "operator": "replace", "value": "not a host"}]})),
        )
        .await?;
    differs("InvalidImage").await?;
    fleet
        .apply(
            "hub",
            &overriding(json!({"imageOverrider": [
        {"component": "Registry", "operator": "replace", "value": "r.io"}]})),
        )
        .await?;
    let mended = |object: Option<&Value>| {
        object.and_then(|o| o.pointer("/spec/template/spec/containers/0/image")) == Some(&json!("r.io/web:1"))
    };
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", mended).await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: a field that clusters drop hides that the image isn't pinned any more, or the other way round, and what is told
/// depends on the order of clusters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_told_of_what_an_override_does() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    let pinned = format!("web:1@sha256:{}", "a".repeat(64));
    fleet.apply("hub", &deployment("web", &pinned)).await?;
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["one", "two"])).await?;
    let overriding = |plaintext: Value| {
        json!({"apiVersion": GROUP, "kind": "OverridePolicy", "metadata": {"name": "differs", "namespace": "demo"},
            "spec": {"overrideRules": [{"overriders": {"plaintext": plaintext,
                "imageOverrider": [{"component": "Tag", "operator": "replace", "value": "2"}]}}]}})
    };
    let unknown = json!([{"path": "/spec/replicass", "operator": "add", "value": 1},
        {"path": "/spec/pausedd", "operator": "add", "value": true}]);
    fleet.apply("hub", &overriding(unknown)).await?;
    let told = async |reason: &'static str| {
        let said = move |policy: &Value| policy.pointer("/status/objects/0/reason") == Some(&json!(reason));
        wait_policy(&fleet, "OverridePolicy", "differs", said).await
    };
    let differs = told("DigestLost").await?;
    assert_eq!(differs.pointer("/status/objects/0/clusters"), Some(&json!(["m1", "m2"])));
    assert!(differs.to_string().contains("NotAsWritten"), "{differs:#}");
    let message = differs.pointer("/status/objects/0/message").and_then(Value::as_str).unwrap_or_default();
    let parts: Vec<&str> = message.split("; ").collect();
    let at = |words: &str| parts.iter().position(|part| part.contains(words));
    let [digest, paused, replicas] = ["was pinned", "pausedd", "replicass"].map(at);
    assert!(digest.is_some() && digest < paused && paused < replicas, "{message}");
    assert_eq!(message.matches("was pinned").count(), 1, "once, not for each cluster: {message}");
    assert!(message.contains("UnknownField: spec.overrideRules[0].overriders.plaintext"), "{message}");
    engine.stop().await?;
    Ok(())
}

/// A policy that is deleted while its cluster is down takes its objects along when the cluster returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_deleted_while_its_cluster_is_down_is_remembered() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one", "two"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.api().set_reachable("m1", false);
    delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
    wait_value(&fleet, "m2", "settings", None).await?;
    engine.stop().await?;
    fleet.api().set_reachable("m1", true);
    let engine = Engine::start(&fleet);
    wait_value(&fleet, "m1", "settings", None).await?;
    engine.stop().await?;
    Ok(())
}

/// What an Application refers to is the Application's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applications_objects_are_left_alone() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[("v1", "ConfigMap", "settings")], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one", "two"])).await?;
    let lost = ready(&fleet, "all", "Lost").await?;
    assert!(lost.to_string().contains("Application demo/web refers to"), "{lost:#}");
    told(&fleet, "all", "OwnedByApplication").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    engine.stop().await?;
    Ok(())
}

/// A kind of policies that can't be listed takes nothing away and gives nothing away; the others go on, and it is told where
/// people look.
/// Broken: one right that is missing stops all distribution without a word, or an object goes out without its override.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_can_not_be_listed_stop_only_what_they_are_about() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    for name in ["wide", "narrow"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let mut wide = policy("wide", CONFIG, "wide", &["one"]);
    wide["kind"] = json!("ClusterPropagationPolicy");
    wide["metadata"] = json!({"name": "wide"});
    wide["spec"]["resourceSelectors"][0]["namespace"] = json!("demo");
    fleet.apply("hub", &wide).await?;
    let engine = Engine::start(&fleet);
    wait_value(&fleet, "m1", "wide", Some("1")).await?;
    engine.stop().await?;

    let hub = Meter::new();
    hub.forbid("clusterpropagationpolicies");
    let engine = Engine::with(&fleet, hub, Meter::new(), fleet.options());
    fleet.apply("hub", &policy("narrow", CONFIG, "", &["two"])).await?;
    fleet.merge("hub", "v1", "ConfigMap", "wide", &json!({"data": {"key": "2"}})).await?;
    wait_value(&fleet, "m2", "narrow", Some("1")).await?;
    let blind = told(&fleet, "narrow", "CannotListPolicies").await?;
    assert!(blind.to_string().contains("clusterpropagationpolicies"), "{blind:#}");
    assert_eq!(value(&fleet, "m1", "wide").await?, Some(json!("1")));
    assert_eq!(value(&fleet, "m2", "wide").await?, None, "another policy took what it had");
    engine.hub.permit();
    wait_value(&fleet, "m1", "wide", Some("2")).await?;
    engine.stop().await?;

    let hub = Meter::new();
    hub.forbid("overridepolicies");
    let engine = Engine::with(&fleet, hub, Meter::new(), fleet.options());
    fleet
        .apply(
            "hub",
            &json!({"apiVersion": GROUP, "kind": "OverridePolicy",
                "metadata": {"name": "differs", "namespace": "demo"},
                "spec": {"overrideRules": [{"overriders": {"plaintext": [
                    {"path": "/data/key", "operator": "replace", "value": "own"}]}}]}}),
        )
        .await?;
    fleet.apply("hub", &config("late", "1")).await?;
    ready(&fleet, "narrow", "CannotListOverrides").await?;
    assert_eq!(value(&fleet, "m2", "late").await?, None, "its override isn't known");
    engine.hub.permit();
    wait_value(&fleet, "m2", "late", Some("own")).await?;
    engine.stop().await
}
