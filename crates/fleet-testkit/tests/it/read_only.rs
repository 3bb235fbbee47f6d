//! Objects that an Application only reads: waited for, never written, never deleted.

use fleet_api::Application;
use fleet_testkit::{Engine, Fleet};
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

use crate::small::{app, config, deployment, gated, message, value};

const MINE: (&str, &str, &str) = ("v1", "ConfigMap", "mine");
const THEIRS: (&str, &str, &str) = ("v1", "ConfigMap", "theirs");

/// The Application `web`, which only reads what is called `theirs`.
fn reading(mut app: Value) -> Value {
    app["spec"]["policies"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"name": "reads", "type": "read-only",
        "properties": {"rules": [{"selector": {"resourceNames": ["theirs"]}}]}}));
    app
}

/// A ConfigMap as somebody else has it on a member.
fn foreign(text: &str) -> Value {
    config("theirs", text)
}

async fn hub_with_both() -> anyhow::Result<(Fleet, Engine)> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    for name in ["mine", "theirs"] {
        fleet.apply("hub", &config(name, "from the hub")).await?;
    }
    Ok((fleet, engine))
}

async fn delete(fleet: &Fleet) -> anyhow::Result<()> {
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    Ok(())
}

/// A run that reaches the step says what is missing; once it comes, the run goes on, and the object stays as it is
/// through edits, a new revision and the deletion of the Application.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_only_is_waited_for_and_never_written() -> anyhow::Result<()> {
    let (fleet, engine) = hub_with_both().await?;
    fleet.apply("hub", &reading(app(&[MINE, THEIRS], &["m1"]))).await?;
    let missing =
        |app: &Application| message(app).contains("ConfigMap demo/theirs isn't on m1: a read-only policy");
    let waiting = fleet.wait("web", missing).await?;
    let targets =
        waiting.status.iter().flat_map(|s| &s.workflow).flat_map(|w| &w.steps).flat_map(|s| &s.targets);
    assert_eq!(targets.map(|t| t.reason.as_str()).collect::<Vec<_>>(), ["ReadOnlyMissing"]);
    let before = fleet.apply("m1", &foreign("theirs")).await?;
    let done = fleet.wait_phase("web", "running").await?;
    assert_eq!(
        done.status.as_ref().map(|s| s.applied_resources_total),
        Some(2),
        "one of ours and the namespace"
    );
    // Others' edits are none of ours, and neither is a new revision of what the hub has under that name.
    fleet.merge("m1", "v1", "ConfigMap", "theirs", &json!({"data": {"key": "edited"}})).await?;
    fleet.apply("hub", &config("theirs", "newer")).await?;
    fleet.apply("hub", &config("mine", "newer")).await?;
    fleet
        .wait_object("m1", "v1", "ConfigMap", "mine", |o| {
            o.and_then(|o| o.pointer("/data/key")) == Some(&json!("newer"))
        })
        .await?;
    fleet.wait_phase("web", "running").await?;
    delete(&fleet).await?;
    assert_eq!(value(&fleet, "m1", "mine").await?, None);
    let after =
        fleet.get("m1", "v1", "ConfigMap", "theirs").await?.expect("it was deleted with the Application");
    assert_eq!(after.pointer("/data/key"), Some(&json!("edited")));
    assert_eq!(after.pointer("/metadata/uid"), before.metadata.uid.map(Value::String).as_ref());
    assert_eq!(after.pointer("/metadata/labels"), None, "it carries labels of ours");
    let managers = after.pointer("/metadata/managedFields").and_then(Value::as_array).expect("there");
    assert!(
        managers.iter().all(|entry| !entry["manager"].as_str().unwrap_or_default().starts_with("fleetctl"))
    );
    engine.stop().await?;
    Ok(())
}

/// It is waited for by a watch: nothing is asked again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_watched_by_its_name_and_its_health_counts() -> anyhow::Result<()> {
    let (fleet, engine) = hub_with_both().await?;
    fleet.apply("hub", &deployment("theirs", "web:1")).await?;
    fleet.apply("hub", &reading(app(&[MINE, ("apps/v1", "Deployment", "theirs")], &["m1"]))).await?;
    fleet.wait("web", |app| message(app).contains("isn't on m1")).await?;
    let mut held = deployment("theirs", "web:1");
    held["spec"]["template"]["metadata"]["annotations"] = json!({"sim.fleetctl.dev/hold": "true"});
    fleet.apply("m1", &held).await?;
    let progressing = |app: &Application| message(app).contains("Deployment demo/theirs: ");
    fleet.wait("web", progressing).await?;
    fleet.apply("m1", &deployment("theirs", "web:1")).await?;
    fleet.wait_phase("web", "running").await?;
    let count = engine.members.count();
    let of = |verb: &str| count.sum(|kind| kind == format!("{verb} deployments"));
    assert_eq!((of("LIST"), of("WATCH"), of("GET"), of("PATCH")), (1, 1, 0, 0), "{count:?}");
    // It goes: the Application says so, and nobody makes it anew.
    let manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    fleet.resource("m1", &manifest).await?.delete("theirs", &DeleteParams::default()).await?;
    let gone = fleet.wait_phase("web", "unhealthy").await?;
    assert!(message(&gone).contains("Deployment demo/theirs"), "{}", message(&gone));
    fleet.apply("m1", &deployment("theirs", "web:2")).await?;
    fleet.wait_phase("web", "running").await?;
    // Nobody looks any more once the Application is gone.
    delete(&fleet).await?;
    engine.stop().await?;
    Ok(())
}

/// What was delivered and is only read from a new revision on stays, without our labels, and outlives the Application.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_read_only_is_released_and_stays() -> anyhow::Result<()> {
    let (fleet, engine) = hub_with_both().await?;
    fleet.apply("hub", &app(&[MINE, THEIRS], &["m1"])).await?;
    fleet.wait_run("web", 1, "running").await?;
    fleet.apply("hub", &reading(gated(&[MINE, THEIRS], &["m1"]))).await?;
    let waiting = fleet.wait_run("web", 2, "workflowSuspending").await?;
    let labels = "/metadata/labels/fleetctl.dev~1owner";
    let there = fleet.get("m1", "v1", "ConfigMap", "theirs").await?.expect("there");
    assert!(there.pointer(labels).is_some(), "released before the gate was opened");
    fleet.approve(&waiting).await?;
    let done = fleet.wait_run("web", 2, "running").await?;
    let listed =
        done.status.iter().flat_map(|s| &s.applied_resources).map(|r| r.name.as_str()).collect::<Vec<_>>();
    assert_eq!(listed, ["mine"], "it is in the inventory still");
    let there = fleet.get("m1", "v1", "ConfigMap", "theirs").await?.expect("there");
    assert_eq!(there.pointer(labels), None);
    assert_eq!(there.pointer("/data/key"), Some(&json!("from the hub")));
    // Deleted by hand it isn't made anew; taken out of the policy it exists already and isn't ours.
    fleet.merge("m1", "v1", "ConfigMap", "theirs", &json!({"data": {"key": "edited"}})).await?;
    fleet.apply("hub", &app(&[MINE, THEIRS], &["m1"])).await?;
    fleet.wait("web", |app| message(app).contains("no application owns it")).await?;
    delete(&fleet).await?;
    assert_eq!(value(&fleet, "m1", "theirs").await?, Some(json!("edited")));
    engine.stop().await?;
    Ok(())
}

/// Where everything is only read, there is nothing in the inventory; the Application is done all the same, a cluster
/// that joins is served once, and one that is left is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_only_reads_ends_its_runs() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    for member in ["m1", "m2"] {
        fleet.apply(member, &namespace).await?;
        fleet.apply(member, &foreign(member)).await?;
    }
    fleet.apply("hub", &foreign("hub")).await?;
    fleet.apply("hub", &reading(app(&[THEIRS], &["m1", "m2"]))).await?;
    fleet.wait_run("web", 1, "running").await?;
    fleet.apply("hub", &reading(app(&[THEIRS], &["m1"]))).await?;
    let done = fleet.wait_run("web", 2, "running").await?;
    let services = done.status.iter().flat_map(|s| &s.services).filter(|s| !s.cluster.is_empty());
    assert_eq!(services.map(|s| s.cluster.as_str()).collect::<Vec<_>>(), ["m1"]);
    assert_eq!(engine.members.count().sum(|kind| kind.starts_with("PATCH") || kind.starts_with("DELETE")), 0);
    delete(&fleet).await?;
    for member in ["m1", "m2"] {
        assert_eq!(value(&fleet, member, "theirs").await?, Some(json!(member)));
    }
    engine.stop().await?;
    Ok(())
}
