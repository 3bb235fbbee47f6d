//! A member's autoscaler keeps its replicas.

use fleet_testkit::{Engine, Fleet};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{DEPLOYMENT, GROUP, deployment, policy, ready, wait_policy};

/// Scales as an autoscaler does.
async fn scale(fleet: &Fleet, cluster: &str, replicas: u64) -> anyhow::Result<()> {
    let api = fleet.resource(cluster, &json!({"apiVersion": "apps/v1", "kind": "Deployment"})).await?;
    let params =
        PatchParams { field_manager: Some("kube-controller-manager".to_owned()), ..PatchParams::default() };
    api.patch_scale("web", &params, &Patch::Merge(json!({"spec": {"replicas": replicas}}))).await?;
    Ok(())
}

async fn has(fleet: &Fleet, cluster: &str, image: &str, replicas: u64) -> anyhow::Result<()> {
    let says = |object: &Value| {
        object.pointer("/spec/replicas") == Some(&json!(replicas))
            && object.pointer("/spec/template/spec/containers/0/image") == Some(&json!(image))
    };
    fleet.wait_object(cluster, "apps/v1", "Deployment", "web", |object| object.is_some_and(says)).await?;
    Ok(())
}

/// Whether a policy says that the replicas on m1 are left to the autoscaler.
fn left(policy: &Value) -> bool {
    let places = policy.pointer("/status/claimed/0/places").and_then(Value::as_array);
    places.into_iter().flatten().any(|place| {
        place["cluster"] == json!("m1")
            && place["phase"] == json!("Delivered")
            && place["reason"] == json!("ReplicasLeft")
            && place["message"]
                .as_str()
                .is_some_and(|message| message.contains("HorizontalPodAutoscaler web"))
    })
}

/// The hub says how many replicas there are, and on one member an autoscaler does: there it decides, whatever changes on the
/// hub; where there is none, the hub does. Broken: each scaling is undone, or an edit takes the pods away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_an_autoscaler_scales_replicas_are_left_to_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["one", "two"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    let at_first = fleet.get("m1", "apps/v1", "Deployment", "web").await?.unwrap_or_default();
    let at_first = at_first.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or_default();
    assert!(at_first > 1, "sent when it is made");
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 9}});
    fleet.apply("m1", &autoscaler).await?;
    scale(&fleet, "m1", 6).await?;
    wait_policy(&fleet, "PropagationPolicy", "all", left).await?;
    has(&fleet, "m1", "web:1", 6).await?;

    // It goes on scaling, for which nothing is asked, and edits go around it.
    scale(&fleet, "m1", 8).await?;
    fleet.apply("hub", &deployment("web", "web:2")).await?;
    has(&fleet, "m1", "web:2", 8).await?;
    has(&fleet, "m2", "web:2", at_first).await?;
    let mut more = deployment("web", "web:3");
    more["spec"]["replicas"] = json!(5);
    fleet.apply("hub", &more).await?;
    has(&fleet, "m1", "web:3", 8).await?;
    has(&fleet, "m2", "web:3", 5).await?;

    // Nobody scales on the other: what somebody sets there is put right.
    scale(&fleet, "m2", 1).await?;
    has(&fleet, "m2", "web:3", 5).await?;
    let policy = wait_policy(&fleet, "PropagationPolicy", "all", left).await?;
    assert!(!policy.to_string().contains("DriftFought"), "{policy:#}");
    engine.stop().await?;
    Ok(())
}

/// What an autoscaler scaled before is taken over in place. Broken: its pods go down to what the hub says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_autoscaler_scaled_is_taken_over_as_it_is() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    fleet.apply("m1", &deployment("web", "web:1")).await?;
    let autoscaler = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 9}});
    fleet.apply("m1", &autoscaler).await?;
    scale(&fleet, "m1", 6).await?;
    // The member's own controller writes to it, too, before all six are up.
    let up = |object: &Value| object.pointer("/status/readyReplicas") == Some(&json!(6));
    let before = fleet
        .wait_object("m1", "apps/v1", "Deployment", "web", |object| object.is_some_and(up))
        .await?
        .unwrap_or_default();

    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut takes = policy("all", DEPLOYMENT, "web", &["one"]);
    takes["spec"]["conflictResolution"] = json!("Overwrite");
    fleet.apply("hub", &takes).await?;
    let engine = Engine::start(&fleet);
    wait_policy(&fleet, "PropagationPolicy", "all", left).await?;
    let after = fleet.get("m1", "apps/v1", "Deployment", "web").await?.unwrap_or_default();
    for field in ["/spec", "/metadata/generation", "/metadata/uid"] {
        assert_eq!(after.pointer(field), before.pointer(field), "{field}");
    }
    engine.stop().await?;
    Ok(())
}

/// Broken: an object that waits since scheduling is suspended is said to be on its way, with no reason and no way out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_without_clusters_says_why() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut suspended = policy("all", DEPLOYMENT, "web", &["one"]);
    suspended["spec"]["suspension"] = json!({"scheduling": true});
    fleet.apply("hub", &suspended).await?;
    let held = ready(&fleet, "all", "Held").await?;
    let entry = &held["status"]["claimed"][0];
    assert_eq!(entry["reason"], json!("SchedulingSuspended"), "{held:#}");
    assert!(entry["message"].as_str().is_some_and(|message| message.contains("spec.suspension.scheduling")));
    suspended["spec"].as_object_mut().map(|spec| spec.remove("suspension"));
    fleet.apply("hub", &suspended).await?;
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: a member refuses what an override made, and nobody is told which override that was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_the_overrides() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let overriding = json!({"apiVersion": GROUP, "kind": "OverridePolicy", "metadata": {"name": "bad", "namespace": "demo"},
        "spec": {"overrideRules": [{"overriders": {"plaintext": [
            {"operator": "add", "path": "/spec/replicas", "value": "3"}]}}]}});
    fleet.apply("hub", &overriding).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["one"])).await?;
    let failed = ready(&fleet, "all", "Failed").await?;
    assert!(failed["status"]["claimed"].to_string().contains("OverridePolicy demo/bad"), "{failed:#}");
    engine.stop().await?;
    Ok(())
}
