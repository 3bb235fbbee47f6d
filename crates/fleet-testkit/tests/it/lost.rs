//! Runs that somebody deletes, and objects that were another application's all along.

use fleet_api::Run;
use fleet_testkit::{Engine, Fleet};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams};
use serde_json::json;

use crate::gates::two_steps;
use crate::small::{app, condition, config, looked_at, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

/// Broken: the Application stands at a gate of a run that isn't there, which no command moves; and what comes next has
/// the deleted run's name and is taken for delivered already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_deleted_is_followed_by_another_one() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &two_steps()).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let first = fleet.run_of(&waiting).await?;
    let runs: Api<Run> = Api::namespaced(fleet.client("hub"), "demo");
    runs.delete(&first.name_any(), &DeleteParams::default()).await?;
    // Nobody touches anything else.
    let waiting = fleet.wait_run("web", 2, "workflowSuspending").await?;
    let second = fleet.run_of(&waiting).await?;
    assert_ne!(second.name_any(), first.name_any(), "a name is given once");
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));
    // And what is edited now goes out.
    runs.delete(&second.name_any(), &DeleteParams::default()).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    let settled = |app: &fleet_api::Application| {
        let status = app.status.clone().unwrap_or_default();
        status.status.as_str() == "workflowSuspending"
            && status.latest_revision.is_some_and(|latest| latest.revision > 2)
    };
    fleet.wait("web", settled).await?;
    fleet
        .wait_object("m1", "v1", "ConfigMap", "settings", |found| {
            found.is_some_and(|found| found.pointer("/data/key") == Some(&json!("2")))
        })
        .await?;
    engine.stop().await?;
    fleet.stop().await;
    Ok(())
}

/// Broken: an Application whose object another one has had all along is said to have lost it to a take-over, and an alert
/// about drift sends people after somebody who did nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_application_has_was_not_taken_over() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let mut second = app(&[CONFIG], &["m1"]);
    second["metadata"]["name"] = json!("second");
    fleet.apply("hub", &second).await?;
    let failed = fleet.wait_phase("second", "workflowFailed").await?;
    assert!(message(&failed).contains("demo/web"), "it says whose the object is: {:?}", message(&failed));
    // Some turns later, too.
    let patch = json!({"metadata": {"labels": {"touched": "1"}}});
    fleet.merge("hub", "core.oam.dev/v1beta1", "Application", "second", &patch).await?;
    looked_at(&fleet, "marker").await?;
    let later = fleet.wait("second", |_| true).await?;
    for app in [failed, later] {
        let drifted = condition(&app, "Drifted");
        assert!(drifted.is_none(), "{drifted:?}");
        let healthy = condition(&app, "Healthy").expect("it says how it is");
        assert_ne!(healthy.reason, "Drift", "{healthy:?}");
    }
    engine.stop().await?;
    fleet.stop().await;
    Ok(())
}
