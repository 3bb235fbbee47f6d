//! Drift is judged by what was delivered last, in every phase, and repaired without bringing anything newer.

use std::time::Duration;

use fleet_api::{Application, ManagedCluster};
use fleet_testkit::{Engine, Fleet};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::mistakes::{widget, widgets};
use crate::small::{annotate, app, config, deployment, gated, looked_at, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

async fn wait_value(fleet: &Fleet, cluster: &str, name: &str, wanted: &str) -> anyhow::Result<()> {
    fleet
        .wait_object(cluster, "v1", "ConfigMap", name, |object| {
            object.and_then(|object| object.pointer("/data/key")) == Some(&json!(wanted))
        })
        .await?;
    Ok(())
}

/// Somebody edits and deletes on a member while no controller runs; it is noticed and repaired after the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_edited_while_the_controller_was_down_is_repaired() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["settings", "other"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    fleet.apply("hub", &app(&[CONFIG, ("v1", "ConfigMap", "other")], &["m1", "m2"])).await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "by hand"}})).await?;
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    fleet.resource("m2", &manifest).await?.delete("other", &DeleteParams::default()).await?;
    let engine = Engine::start(&fleet);
    wait_value(&fleet, "m1", "settings", "1").await?;
    wait_value(&fleet, "m2", "other", "1").await?;
    // What nobody touched wasn't sent again.
    let members = engine.members.count();
    assert_eq!(members.sum(|kind| kind.starts_with("PATCH")), 2, "{members:?}");
    engine.stop().await?;
    Ok(())
}

/// Broken: a definition is made anew on a member while the controller starts, and what goes with it is never repaired there,
/// while the status says that all is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_with_its_definition_comes_again_after_a_restart() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    widgets(&fleet).await?;
    fleet.apply("hub", &widget(3)).await?;
    fleet.apply("hub", &app(&[("example.com/v1", "Widget", "w")], &["m1"])).await?;
    fleet.wait_object("m1", "example.com/v1", "Widget", "w", |object| object.is_some()).await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    let definition = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com");
    let manifest = json!({"apiVersion": definition.0, "kind": definition.1});
    fleet.resource("m1", &manifest).await?.delete(definition.2, &DeleteParams::default()).await?;
    fleet.wait_object("m1", definition.0, definition.1, definition.2, |object| object.is_none()).await?;
    let engine = Engine::start(&fleet);
    looked_at(&fleet, "marker").await?;
    widgets(&fleet).await?;
    fleet.wait_object("m1", "example.com/v1", "Widget", "w", |object| object.is_some()).await?;
    engine.stop().await
}

/// API servers name fields with the keys of maps as they are. Broken: what somebody changed at a key with dots (`nginx.conf`)
/// counts as theirs, and the next run fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_edited_at_a_key_with_dots_is_taken_back_by_the_next_run() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let settings = |value: &str| {
        let mut settings = config("settings", value);
        settings["data"]["nginx.conf"] = json!("ours");
        settings
    };
    fleet.apply("hub", &settings("1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"nginx.conf": "theirs"}})).await?;
    fleet.apply("hub", &settings("2")).await?;
    let engine = Engine::start(&fleet);
    wait_value(&fleet, "m1", "settings", "2").await?;
    let found = fleet.get("m1", "v1", "ConfigMap", "settings").await?.unwrap_or_default();
    assert_eq!(found["data"]["nginx.conf"], json!("ours"));
    engine.stop().await
}

/// After a run failed on a target, what it had sent there stays and is what drift is judged by: nothing goes back by
/// itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_is_not_rolled_back_by_drift_repair() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut manifest = app(&[CONFIG, ("apps/v1", "Deployment", "web")], &["m1"]);
    manifest["metadata"]["annotations"] = json!({"app.oam.dev/publishVersion": "v1"});
    manifest["spec"]["workflow"] = json!({"steps": [{"name": "go", "type": "deploy",
        "properties": {"policies": ["where"]}}]});
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    manifest["spec"]["workflow"]["steps"][0]["timeout"] = json!("2s");
    let mut bad = deployment("web", "web:2");
    bad["spec"]["template"]["metadata"]["annotations"] = json!({"sim.fleetctl.dev/hold": "true"});
    manifest["metadata"]["annotations"] = json!({"app.oam.dev/publishVersion": "v2"});
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.apply("hub", &bad).await?;
    fleet.apply("hub", &manifest).await?;
    fleet
        .wait("web", |app| app.status.as_ref().is_some_and(|s| s.status.as_str() == "workflowFailed"))
        .await?;
    wait_value(&fleet, "m1", "settings", "2").await?;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "by hand"}})).await?;
    wait_value(&fleet, "m1", "settings", "2").await?;
    let there = fleet.get("m1", "apps/v1", "Deployment", "web").await?.expect("there");
    assert_eq!(there.pointer("/spec/template/spec/containers/0/image"), Some(&json!("web:2")), "rolled back");
    engine.stop().await?;
    Ok(())
}

/// An edit that falls into the time in which a target is being delivered to is repaired afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_during_a_delivery_is_repaired_after_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    // So many objects, one after another, that there is time for an edit of the first before the last is sent.
    let names: Vec<String> = (0..150).map(|n| format!("settings-{n:03}")).collect();
    for name in &names {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    // The watch is there before, so that no first list asks for a look at everything.
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let objects: Vec<_> = names.iter().map(|name| ("v1", "ConfigMap", name.as_str())).collect();
    let mut manifest = app(&objects, &["m1"]);
    manifest["spec"]["workflow"] = json!({"steps": [{"name": "go", "type": "deploy",
        "properties": {"policies": ["where"], "parallelism": 1}}]});
    fleet.apply("hub", &manifest).await?;
    wait_value(&fleet, "m1", "settings-000", "1").await?;
    fleet.merge("m1", "v1", "ConfigMap", "settings-000", &json!({"data": {"key": "by hand"}})).await?;
    assert_eq!(value(&fleet, "m1", "settings-149").await?, None, "the delivery was over before the edit");
    fleet.wait_run("web", 2, "running").await?;
    wait_value(&fleet, "m1", "settings-000", "1").await?;
    engine.stop().await?;
    Ok(())
}

/// An autoscaler keeps its replicas where nobody set them on the hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscaler_keeps_replicas_that_nobody_set() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let mut free = deployment("web", "web:1");
    free["spec"].as_object_mut().expect("a map").remove("replicas");
    fleet.apply("hub", &free).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG, ("apps/v1", "Deployment", "web")], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let patch = kube::api::Patch::Merge(json!({"spec": {"replicas": 4}}));
    let api = fleet.resource("m1", &json!({"apiVersion": "apps/v1", "kind": "Deployment"})).await?;
    api.patch_scale("web", &Default::default(), &patch).await?;
    let ready =
        |object: Option<&Value>| object.and_then(|o| o.pointer("/status/readyReplicas")) == Some(&json!(4));
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", ready).await?;
    // A new revision is delivered around it.
    let mut free = free.clone();
    free["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    fleet.apply("hub", &free).await?;
    fleet.wait_run("web", 2, "running").await?;
    let there = fleet.get("m1", "apps/v1", "Deployment", "web").await?.expect("there");
    assert_eq!(there.pointer("/spec/replicas"), Some(&json!(4)));
    assert_eq!(there.pointer("/spec/template/spec/containers/0/image"), Some(&json!("web:2")));
    engine.stop().await?;
    Ok(())
}

/// While a gate waits over a run that was superseded in the middle, what that run had sent is what stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_superseded_run_sent_is_what_drift_is_judged_by() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let objects = [CONFIG, ("apps/v1", "Deployment", "web")];
    fleet.apply("hub", &app(&objects, &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let mut slow = deployment("web", "web:2");
    slow["spec"]["template"]["metadata"]["annotations"] = json!({"sim.fleetctl.dev/hold": "true"});
    fleet.apply("hub", &slow).await?;
    fleet.wait_run("web", 2, "runningWorkflow").await?;
    fleet
        .wait("web", |app| {
            let steps = app.status.iter().flat_map(|s| &s.workflow).flat_map(|w| &w.steps);
            steps.flat_map(|step| &step.targets).any(|target| target.phase == "waiting")
        })
        .await?;
    fleet.apply("hub", &config("settings", "3")).await?;
    let waiting = gated(&objects, &["m1"]);
    fleet.apply("hub", &waiting).await?;
    fleet
        .wait("web", |app| app.status.as_ref().is_some_and(|s| s.status.as_str() == "workflowSuspending"))
        .await?;
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "by-hand:1"}]}}}});
    fleet.merge("m1", "apps/v1", "Deployment", "web", &image).await?;
    fleet
        .wait_object("m1", "apps/v1", "Deployment", "web", |object| {
            object.and_then(|o| o.pointer("/spec/template/spec/containers/0/image")) == Some(&json!("web:2"))
        })
        .await?;
    engine.stop().await?;
    Ok(())
}

/// The same holds of what a delivery sent before it failed, object by object. Broken: the repair brings back what was there
/// before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_delivery_sent_is_what_drift_is_judged_by() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &config("other", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    fleet.apply("m1", &config("other", "theirs")).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    let objects = [CONFIG, ("v1", "ConfigMap", "other")];
    fleet.apply("hub", &app(&objects, &["m1"])).await?;
    let engine = Engine::start(&fleet);
    fleet.wait_run("web", 2, "workflowFailed").await?;
    wait_value(&fleet, "m1", "settings", "2").await?;
    fleet.apply("hub", &gated(&objects, &["m1"])).await?;
    fleet.wait_run("web", 3, "workflowSuspending").await?;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "by hand"}})).await?;
    wait_value(&fleet, "m1", "settings", "2").await?;
    engine.stop().await?;
    Ok(())
}

/// The same holds of what was sent to a cluster that left before the delivery was over, and came back. Broken: the repair
/// brings back what was there before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_a_cluster_left_is_what_drift_is_judged_by() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    fleet.apply("hub", &app(&[CONFIG, ("apps/v1", "Deployment", "web")], &["m1", "m2"])).await?;
    fleet.wait_phase("web", "running").await?;
    let mut bad = deployment("web", "web:2");
    bad["spec"]["template"]["metadata"]["annotations"] = json!({"sim.fleetctl.dev/hold": "true"});
    fleet.apply("hub", &bad).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    wait_value(&fleet, "m1", "settings", "2").await?;
    let clusters: Api<ManagedCluster> = Api::all(fleet.client("hub"));
    let before = clusters.get("m1").await?;
    clusters.delete("m1", &DeleteParams::default()).await?;
    fleet
        .wait("web", |app| {
            let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
            let mut targets = workflow.iter().flat_map(|w| &w.steps).flat_map(|step| &step.targets);
            targets.any(|target| target.cluster == "m1" && target.phase == "removed")
        })
        .await?;
    let mut anew = ManagedCluster::new("m1", before.spec.clone());
    anew.metadata.labels = before.metadata.labels.clone();
    anew.metadata.annotations = before.metadata.annotations.clone();
    clusters.create(&PostParams::default(), &anew).await?;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "by hand"}})).await?;
    wait_value(&fleet, "m1", "settings", "2").await?;
    engine.stop().await?;
    Ok(())
}

/// A repair that waits because somebody fights back brings nothing back after the Application was deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_repaired_after_a_deletion() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    // Three repairs are made at once, the fourth after a second.
    for round in 0..4 {
        wait_value(&fleet, "m1", "settings", "1").await?;
        let edit = json!({"data": {"key": format!("by hand {round}")}});
        fleet.merge("m1", "v1", "ConfigMap", "settings", &edit).await?;
    }
    fleet.wait("web", |app| crate::small::message(app).contains("keeps changing")).await?;
    annotate(&fleet, json!({"note": "deleted in the middle of a fight"})).await?;
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    let back = fleet.wait_object("m1", "v1", "ConfigMap", "settings", |object| object.is_some());
    let back = tokio::time::timeout(Duration::from_millis(1500), back).await;
    assert!(back.is_err(), "brought back after the deletion");
    engine.stop().await?;
    Ok(())
}

/// A namespace that somebody deletes on a member comes back with what we delivered into it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_namespace_comes_back_with_its_objects() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[("v1", "ConfigMap", "settings")], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let namespaces = fleet.resource("m1", &json!({"apiVersion": "v1", "kind": "Namespace"})).await?;
    let before = namespaces.get("demo").await?.metadata.uid;
    namespaces.delete("demo", &Default::default()).await?;
    fleet
        .wait_object("m1", "v1", "Namespace", "demo", |namespace| {
            let uid = namespace
                .and_then(|namespace| namespace.pointer("/metadata/uid"))
                .and_then(|uid| uid.as_str());
            uid.is_some() && uid != before.as_deref()
        })
        .await?;
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", |object| object.is_some()).await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    Ok(())
}
