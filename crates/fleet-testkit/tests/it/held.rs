//! What an operator cordoned is left as it is until told.

use fleet_api::{Application, TargetPhase, names};
use fleet_testkit::{Engine, Fleet};
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

use crate::small::{app, config, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

pub(crate) async fn cordon(fleet: &Fleet, member: &str, why: Value) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"annotations": {names::CORDONED: why}}});
    fleet.merge("hub", "cluster.open-cluster-management.io/v1", "ManagedCluster", member, &patch).await?;
    Ok(())
}

fn shows(app: &Application, cluster: &str, reason: &str) -> bool {
    let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
    let mut targets = workflow.iter().flat_map(|w| &w.steps).flat_map(|step| &step.targets);
    targets.any(|t| t.cluster == cluster && t.reason == reason && t.phase == TargetPhase::Pending.as_str())
}

fn is_held(app: &Application) -> bool {
    let conditions = app.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|c| c.type_ == "Held" && c.is_true())
}

/// Broken: a cordoned member is delivered to, or holds up the others, or isn't served once it is let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cordoned_member_waits_and_goes_on_when_let_go() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    cordon(&fleet, "m2", json!("disks are swapped")).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    let waiting = fleet.wait("web", |app| shows(app, "m2", "Cordoned") && is_held(app)).await?;
    let said = message(&waiting);
    assert!(said.contains("disks are swapped") && said.contains("fleetctl cluster uncordon m2"), "{said}");
    assert_eq!(waiting.status.as_ref().map(|status| status.status.as_str()), Some("runningWorkflow"));
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", |object| object.is_some()).await?;
    let namespaces = fleet.resource("m2", &json!({"apiVersion": "v1", "kind": "Namespace"})).await?;
    assert!(namespaces.get_opt("demo").await?.is_none(), "something was sent to m2");
    cordon(&fleet, "m2", Value::Null).await?;
    let done = fleet.wait_phase("web", "running").await?;
    assert!(!is_held(&done));
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// Broken: drift on a cordoned member is repaired, or what happened meanwhile is forgotten when it is let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_on_a_cordoned_member_is_left_until_it_is_let_go() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    cordon(&fleet, "m1", json!("true")).await?;
    fleet.wait("web", is_held).await?;
    let before = engine.members.count();
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "by hand"}})).await?;
    // A new revision waits as well; its turn comes after the event of the edit.
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait("web", |app| shows(app, "m1", "Cordoned")).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("by hand")));
    let after = engine.members.count();
    let writes = |count: &fleet_testkit::Count| count.sum(|kind| kind.starts_with("PATCH"));
    assert_eq!(writes(&before), writes(&after), "{after:?}");
    fleet.apply("hub", &config("settings", "1")).await?;
    cordon(&fleet, "m1", Value::Null).await?;
    fleet
        .wait_object("m1", "v1", "ConfigMap", "settings", |object| {
            object.and_then(|object| object.pointer("/data/key")) == Some(&json!("1"))
        })
        .await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: deleting an Application deletes on a cordoned member, or never ends, or forgets what stays there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_leaves_what_is_on_a_cordoned_member() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    fleet.wait_phase("web", "running").await?;
    cordon(&fleet, "m2", json!("true")).await?;
    fleet.wait("web", is_held).await?;
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    let waiting = fleet.wait("web", |app| message(app).starts_with("deleting: m2")).await?;
    assert!(
        message(&waiting).contains("cordoned") && message(&waiting).contains("--force"),
        "{}",
        message(&waiting)
    );
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", |object| object.is_none()).await?;
    let force = json!({"metadata": {"annotations": {names::FORCE_DELETE: "true"}}});
    fleet.merge("hub", "core.oam.dev/v1beta1", "Application", "web", &force).await?;
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}
