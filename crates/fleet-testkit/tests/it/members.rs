//! Members that don't answer, that join and that leave.

use std::time::Duration;

use fleet_api::{Application, ManagedCluster, ManagedClusterSpec};
use fleet_testkit::{Engine, Fleet, Meter};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::small::{app, config, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

fn impatient(fleet: &Fleet) -> Engine {
    let mut options = fleet.options();
    options.members.request_timeout = Duration::from_millis(300);
    Engine::with(fleet, Meter::new(), Meter::new(), options)
}

/// A member that is down when its step comes costs the others nothing, is named, and gets its share when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_down_is_waited_for_alone() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = impatient(&fleet);
    fleet.api().set_reachable("m2", false);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", |object| object.is_some()).await?;
    let waiting = fleet.wait("web", |app| message(app).contains("doesn't answer")).await?;
    assert_eq!(waiting.status.as_ref().map(|status| status.status.as_str()), Some("runningWorkflow"));
    assert!(message(&waiting).contains("m2"), "{}", message(&waiting));
    fleet.api().set_reachable("m2", true);
    fleet.wait_phase("web", "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// Deletion with a member that is down says what it waits for and ends at once with force.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_deletion_ends_without_the_member() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = impatient(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.api().set_reachable("m2", false);
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    let waiting = fleet.wait("web", |app| message(app).contains("doesn't answer")).await?;
    assert!(
        message(&waiting).contains("m2") && message(&waiting).contains("--force"),
        "{}",
        message(&waiting)
    );
    let force = json!({"metadata": {"annotations": {fleet_api::names::FORCE_DELETE: "true"}}});
    fleet.merge("hub", "core.oam.dev/v1beta1", "Application", "web", &force).await?;
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    fleet.api().set_reachable("m2", true);
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")), "left and recorded as orphaned");
    engine.stop().await?;
    Ok(())
}

fn by_label() -> serde_json::Value {
    let mut app = app(&[CONFIG], &[]);
    app["spec"]["policies"][0]["properties"] = json!({"clusterLabelSelector": {"region": "north"}});
    app
}

async fn label(fleet: &Fleet, member: &str, region: &str) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"labels": {"region": region}}});
    fleet.merge("hub", "cluster.open-cluster-management.io/v1", "ManagedCluster", member, &patch).await?;
    Ok(())
}

/// A cluster that joins a placement later gets what runs; behind a gate it asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_joins_later_catches_up() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    label(&fleet, "m1", "north").await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &by_label()).await?;
    fleet.wait_phase("web", "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    label(&fleet, "m2", "north").await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_joins_behind_a_gate_asks() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    label(&fleet, "m1", "north").await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut gated = by_label();
    gated["spec"]["workflow"] = json!({"steps": [
        {"name": "go", "type": "deploy", "properties": {"auto": false, "policies": ["where"]}}]});
    fleet.apply("hub", &gated).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 1, "running").await?;
    label(&fleet, "m2", "north").await?;
    let waiting = fleet.wait_run("web", 2, "workflowSuspending").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// A cluster that leaves in the middle becomes Removed, never a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_leaves_is_no_failure() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = impatient(&fleet);
    fleet.api().set_reachable("m2", false);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    fleet.wait("web", |app| message(app).contains("doesn't answer")).await?;
    let clusters: Api<ManagedCluster> = Api::all(fleet.client("hub"));
    clusters.delete("m2", &DeleteParams::default()).await?;
    let done = fleet.wait("web", |app| {
        app.status.as_ref().and_then(|s| s.workflow.as_ref()).is_some_and(|workflow| workflow.finished)
    });
    let done = done.await?;
    let workflow = done.status.and_then(|status| status.workflow).unwrap_or_default();
    assert_eq!(workflow.status, "succeeded", "{}", workflow.message);
    assert!(
        workflow.steps.iter().flat_map(|s| &s.targets).any(|t| t.cluster == "m2" && t.phase == "removed")
    );
    engine.stop().await?;
    Ok(())
}

/// Many applications find one namespace missing at the same time; one makes it, and none fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_that_need_one_missing_namespace_dont_fight_for_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let mut names = Vec::new();
    for n in 0..12 {
        let object = format!("settings-{n}");
        fleet.apply("hub", &config(&object, "1")).await?;
        let mut app = app(&[("v1", "ConfigMap", &object)], &["m1", "m2"]);
        app["metadata"]["name"] = json!(format!("web-{n}"));
        fleet.apply("hub", &app).await?;
        names.push(format!("web-{n}"));
    }
    let engine = Engine::start(&fleet);
    for name in &names {
        let ended = fleet.wait(name, |app| {
            app.status.as_ref().and_then(|s| s.workflow.as_ref()).is_some_and(|workflow| workflow.finished)
        });
        assert_eq!(message(&ended.await?), "", "{name}");
    }
    engine.stop().await?;
    Ok(())
}

/// What doesn't answer is neither failed nor unhealthy: with a member down the others go on, and health stays as it was
/// last seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_goes_down_is_not_unhealthy() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = impatient(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.api().set_reachable("m2", false);
    fleet.apply("hub", &config("settings", "2")).await?;
    let told = fleet.wait("web", |app| message(app).contains("doesn't answer")).await?;
    let status = told.status.unwrap_or_default();
    let ill: Vec<_> = status.services.iter().filter(|service| !service.healthy).collect();
    assert!(ill.is_empty(), "{ill:?}");
    let failed = status.workflow.iter().flat_map(|w| &w.steps).flat_map(|s| &s.targets);
    assert!(failed.clone().any(|t| t.cluster == "m1") && failed.clone().all(|t| t.phase != "failed"));
    fleet
        .wait_object("m1", "v1", "ConfigMap", "settings", |object| {
            object.and_then(|object| object.pointer("/data/key")) == Some(&json!("2"))
        })
        .await?;
    fleet.api().set_reachable("m2", true);
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("2")));
    engine.stop().await?;
    Ok(())
}

/// Keeping the objects of a member that is down says what it waits for, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphaning_deletion_names_the_member_that_is_down() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = impatient(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut manifest = app(&[CONFIG], &["m1", "m2"]);
    manifest["metadata"]["annotations"] = json!({fleet_api::names::ON_DELETE: "orphan"});
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.api().set_reachable("m2", false);
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    let waiting = fleet.wait("web", |app| message(app).contains("doesn't answer")).await?;
    assert!(message(&waiting).contains("m2"), "{}", message(&waiting));
    fleet.api().set_reachable("m2", true);
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// Clusters are registered while no controller runs; nobody accepts them, so nothing else tells of them.
/// Broken: each is looked at before the first list is through, and has no status until something of it changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_knocks_before_the_controller_starts_gets_a_status() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let clusters: Api<ManagedCluster> = Api::all(fleet.client("hub"));
    // More than come on one page.
    for at in 0..520 {
        let knocks = ManagedCluster::new(&format!("knocks-{at}"), ManagedClusterSpec::default());
        clusters.create(&PostParams::default(), &knocks).await?;
    }
    let engine = Engine::start(&fleet);
    for at in 0..50 {
        let told =
            |object: Option<&Value>| object.is_some_and(|o| o.pointer("/status/conditions/0").is_some());
        fleet
            .wait_object(
                "hub",
                "cluster.open-cluster-management.io/v1",
                "ManagedCluster",
                &format!("knocks-{at}"),
                told,
            )
            .await?;
    }
    engine.stop().await
}
