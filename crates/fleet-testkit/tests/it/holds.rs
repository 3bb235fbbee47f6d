//! Drift that a person holds, and drift that somebody fights for.

use std::sync::Arc;
use std::time::Duration;

use fleet_api::{Application, DriftHold, DriftHoldSpec, DriftState, DriftStatus, ManagedCluster};
use fleet_apiserver::{ApiServer, Identity};
use fleet_members::{Transport, TransportError};
use fleet_sim::{Fault, Faults};
use fleet_testkit::{Engine, Fleet, Meter};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::small::{app, config, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

fn holds(fleet: &Fleet) -> Api<DriftHold> {
    Api::namespaced(fleet.client("hub"), "demo")
}

#[expect(clippy::disallowed_methods, reason = "tests run in real time")]
async fn hold(fleet: &Fleet, cluster: &str, lasts: Duration) -> anyhow::Result<()> {
    let spec = DriftHoldSpec {
        application: "web".to_owned(),
        clusters: vec![cluster.to_owned()],
        until: jiff::Timestamp::now() + lasts,
        reason: "INC-4711".to_owned(),
        by: "ada".to_owned(),
    };
    holds(fleet).create(&PostParams::default(), &DriftHold::new("night", spec)).await?;
    Ok(())
}

/// Somebody's edit, under a name of their own.
async fn edit(fleet: &Fleet, cluster: &str, by: &str, to: &str) -> anyhow::Result<()> {
    let api = fleet.resource(cluster, &json!({"apiVersion": "v1", "kind": "ConfigMap"})).await?;
    let params = PatchParams { field_manager: Some(by.to_owned()), ..PatchParams::default() };
    api.patch("settings", &params, &Patch::Merge(json!({"data": {"key": to}}))).await?;
    Ok(())
}

fn drift(app: &Application) -> Vec<DriftStatus> {
    app.status.as_ref().map(|status| status.drift.clone()).unwrap_or_default()
}

fn held(app: &Application) -> bool {
    app.status
        .iter()
        .flat_map(|status| &status.conditions)
        .any(|c| c.type_ == "Held" && c.reason == "DriftHeld")
}

async fn wait_value(fleet: &Fleet, wanted: &str) -> anyhow::Result<()> {
    fleet
        .wait_object("m1", "v1", "ConfigMap", "settings", |object| {
            object.and_then(|object| object.pointer("/data/key")) == Some(&json!(wanted))
        })
        .await?;
    Ok(())
}

async fn running(fleet: &Fleet) -> anyhow::Result<()> {
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    fleet.wait_phase("web", "running").await?;
    Ok(())
}

/// Broken: a person's work on a member is overwritten during their hold, by repair or by a new revision, or nobody
/// sees it, or it stays after the release.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_edit_is_shown_and_left_until_the_release() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    running(&fleet).await?;
    hold(&fleet, "m1", Duration::from_secs(3600)).await?;
    let shown = fleet.wait("web", held).await?;
    let said = message(&shown);
    assert!(said.contains("ada holds web on m1") && said.contains("INC-4711"), "{said}");
    edit(&fleet, "m1", "ada-at-night", "by hand").await?;
    let shown = fleet.wait("web", |app| !drift(app).is_empty()).await?;
    let found = drift(&shown).remove(0);
    assert_eq!((found.state, found.cluster.as_str()), (DriftState::Held, "m1"));
    assert_eq!((found.fields, found.manager.as_str()), (vec!["data.key".to_owned()], "ada-at-night"));
    // A new revision reaches the other member and waits for this one.
    fleet.apply("hub", &config("settings", "2")).await?;
    let waiting = fleet.wait("web", |app| {
        let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
        let mut targets = workflow.iter().flat_map(|w| &w.steps).flat_map(|step| &step.targets);
        targets.any(|t| t.cluster == "m1" && t.phase == "pending" && t.reason == "DriftHeld")
    });
    let waiting = waiting.await?;
    assert!(message(&waiting).contains("fleetctl drift release web -n demo -m m1"), "{}", message(&waiting));
    fleet
        .wait_object("m2", "v1", "ConfigMap", "settings", |object| {
            object.and_then(|object| object.pointer("/data/key")) == Some(&json!("2"))
        })
        .await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("by hand")));
    holds(&fleet).delete("night", &DeleteParams::default()).await?;
    wait_value(&fleet, "2").await?;
    let done = fleet.wait("web", |app| drift(app).is_empty() && !held(app)).await?;
    assert!(done.status.is_some());
    engine.stop().await?;
    Ok(())
}

/// Broken: a field that somebody took, and whose value they gave back themselves, stays theirs, and the next edit shows
/// nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_was_given_back_is_ours_again() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    running(&fleet).await?;
    hold(&fleet, "m1", Duration::from_secs(3600)).await?;
    fleet.wait("web", held).await?;
    edit(&fleet, "m1", "ada", "by hand").await?;
    fleet.wait("web", |app| !drift(app).is_empty()).await?;
    edit(&fleet, "m1", "ada", "1").await?;
    holds(&fleet).delete("night", &DeleteParams::default()).await?;
    fleet.wait("web", |app| drift(app).is_empty() && !held(app)).await?;
    edit(&fleet, "m1", "ada", "by hand again").await?;
    wait_value(&fleet, "1").await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: a hold lasts longer than its end, and drift with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_ends_by_its_time() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    running(&fleet).await?;
    hold(&fleet, "m1", Duration::from_secs(8)).await?;
    fleet.wait("web", held).await?;
    edit(&fleet, "m1", "ada", "by hand").await?;
    fleet.wait("web", |app| drift(app).iter().any(|drift| drift.state == DriftState::Held)).await?;
    wait_value(&fleet, "1").await?;
    fleet.wait("web", |app| drift(app).is_empty() && !held(app)).await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: deleting an Application waits for a hold of its drift.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_keeps_no_application_alive() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    running(&fleet).await?;
    hold(&fleet, "m1", Duration::from_secs(3600)).await?;
    fleet.wait("web", held).await?;
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    engine.stop().await?;
    Ok(())
}

/// Broken: somebody who keeps writing what we take back isn't named, and both write as fast as they can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fights_is_named_and_answered_more_slowly() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    running(&fleet).await?;
    for round in 0..4 {
        wait_value(&fleet, "1").await?;
        edit(&fleet, "m1", "stubborn-operator", &format!("mine {round}")).await?;
    }
    let fought = |app: &Application| drift(app).iter().any(|drift| drift.state == DriftState::Fought);
    let shown = fleet.wait("web", fought).await?;
    assert_eq!(drift(&shown)[0].manager, "stubborn-operator");
    let said = message(&shown);
    assert!(said.contains("\"stubborn-operator\" keeps changing data.key"), "{said}");
    // Taken back after a wait, and still shown: the fight isn't over yet.
    wait_value(&fleet, "1").await?;
    edit(&fleet, "m1", "stubborn-operator", "mine again").await?;
    fleet.wait("web", fought).await?;
    let api: Api<Event> = Api::namespaced(fleet.client("hub"), "demo");
    let events = api.list(&ListParams::default()).await?;
    let told = events.items.iter().filter(|event| event.reason.as_deref() == Some("DriftFought")).count();
    assert_eq!(told, 1, "one Event for one fight");
    engine.stop().await?;
    Ok(())
}

struct Through(ApiServer, Faults);

impl Transport for Through {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let service = self.0.service(&cluster.name_any(), Identity::admin("fleetctl-controller"));
        Ok(kube::Client::new(self.1.before(service), "default"))
    }
}

/// Broken: a member that refuses everything (503) just when a hold ends keeps its drift. Its watches break with it, and their
/// new lists ask for the look; that a single refused look is taken again isn't shown by this.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_refuses_when_a_hold_ends_is_put_right_afterwards() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let faults = Faults::new();
    let transport = Arc::new(Through(fleet.api().clone(), faults.clone()));
    let engine = Engine::through(&fleet, transport, Meter::new(), Meter::new(), fleet.options());
    running(&fleet).await?;
    hold(&fleet, "m1", Duration::from_secs(3600)).await?;
    fleet.wait("web", held).await?;
    edit(&fleet, "m1", "ada-at-night", "by hand").await?;
    fleet.wait("web", |app| !drift(app).is_empty()).await?;
    faults.set(Fault::Refuse);
    holds(&fleet).delete("night", &DeleteParams::default()).await?;
    // The release was taken in: the look that it asks for is refused.
    fleet.wait("web", |app| !held(app)).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    faults.set(Fault::None);
    wait_value(&fleet, "1").await?;
    engine.stop().await?;
    Ok(())
}
