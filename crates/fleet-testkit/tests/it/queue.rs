//! Newer revisions that wait until the run is over, where an Application says so.

use fleet_api::{Application, names};
use fleet_testkit::{Engine, Fleet};
use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::{Value, json};

use crate::small::{annotate, condition, config, gated, message, runs, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

/// A gated Application whose newer revisions wait.
fn queueing() -> Value {
    let mut app = gated(&[CONFIG], &["m1"]);
    app["metadata"]["annotations"] = json!({names::ON_NEW_REVISION: "Queue"});
    app
}

fn queued(app: &Application) -> Option<&fleet_api::QueuedRevision> {
    app.status.as_ref()?.queued.as_ref()
}

/// Waits until Events with a reason name these subjects.
async fn told(fleet: &Fleet, reason: &str, subject: &str) -> anyhow::Result<()> {
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(fleet.client("hub"), "demo");
    let mut stream = std::pin::pin!(kube::runtime::watcher(events, Default::default()));
    let seen = async {
        use futures::StreamExt as _;
        while let Some(event) = stream.next().await {
            let (Ok(kube::runtime::watcher::Event::Apply(event))
            | Ok(kube::runtime::watcher::Event::InitApply(event))) = event
            else {
                continue;
            };
            if event.reason.as_deref() == Some(reason) && event.action.as_deref() == Some(subject) {
                return;
            }
        }
    };
    Ok(tokio::time::timeout(std::time::Duration::from_secs(30), seen).await?)
}

/// Broken: an edit voids what people are approving, the newest edit is lost, or nobody says that one waits. The
/// controller dies while something waits, and nothing is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_revision_waits_until_the_run_is_over() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &queueing()).await?;
    fleet.wait_phase("web", "workflowSuspending").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    let second = fleet.wait("web", |app| queued(app).is_some()).await?;
    let second = queued(&second).cloned().unwrap_or_default();
    fleet.apply("hub", &config("settings", "3")).await?;
    let waiting = fleet.wait("web", |app| queued(app).is_some_and(|q| q.revision != second.revision)).await?;
    let third = queued(&waiting).cloned().unwrap_or_default();
    assert_eq!(third.skipped, std::slice::from_ref(&second.revision));
    assert_eq!(third.behind, runs(&fleet, "web").await?[0].name_any());
    let said = message(&waiting);
    assert!(said.contains("waits for approval: fleetctl workflow resume web -n demo"), "{said}");
    assert!(
        said.contains(&third.revision) && said.contains("fleetctl workflow terminate web -n demo"),
        "{said}"
    );
    let current = condition(&waiting, "Current").map(|c| (c.status.as_str(), c.reason.as_str()));
    assert_eq!(current, Some(("False", "Queued")));
    told(&fleet, "RevisionSkipped", &second.revision).await?;

    engine.kill().await;
    let engine = Engine::start(&fleet);
    fleet.approve(&waiting).await?;
    let next = fleet.wait_run("web", 2, "workflowSuspending").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")), "the run went to its end first");
    let all = runs(&fleet, "web").await?;
    assert_eq!(all.len(), 2, "the one between never ran");
    assert_eq!(all[0].status.as_ref().map(|s| s.phase.as_str()), Some("succeeded"));
    assert_eq!(all[1].spec.revision, third.revision);
    assert_eq!((all[1].spec.queued_since, &all[1].spec.skipped_revisions), (third.since, &third.skipped));
    fleet.wait("web", |app| queued(app).is_none()).await?;
    fleet.approve(&next).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("3")));
    engine.stop().await?;
    Ok(())
}

/// Broken: whoever wants out of a run that nobody will approve has no way, or a restart waits behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_end_the_wait_by_ending_the_run_or_by_a_restart() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &queueing()).await?;
    let first = fleet.wait_phase("web", "workflowSuspending").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait("web", |app| queued(app).is_some()).await?;
    let run = fleet.run_of(&first).await?.name_any();
    annotate(&fleet, json!({names::TERMINATE: run})).await?;
    fleet.wait_run("web", 2, "workflowSuspending").await?;
    fleet.apply("hub", &config("settings", "3")).await?;
    fleet.wait("web", |app| queued(app).is_some()).await?;
    annotate(&fleet, json!({names::RESTART: "now"})).await?;
    let third = fleet.wait_run("web", 3, "workflowSuspending").await?;
    fleet.wait("web", |app| queued(app).is_none()).await?;
    let all = runs(&fleet, "web").await?;
    let ended: Vec<_> = all.iter().map(|run| run.status.clone().unwrap_or_default().phase.as_str()).collect();
    assert_eq!(ended, ["terminated", "superseded", "suspending"]);
    fleet.approve(&third).await?;
    fleet.wait_run("web", 3, "running").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("3")), "a restart takes the newest along");
    engine.stop().await?;
    Ok(())
}

/// Broken: somebody asks to go back, somebody else edits, the edit waits for the run, and the way back waits with it: what
/// is wrong stays. Or the edit is taken for what was left, and never runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_waits_keeps_nobody_from_going_back() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["settings", "other"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    fleet.apply("hub", &queueing()).await?;
    let first = fleet.wait_phase("web", "workflowSuspending").await?;
    fleet.approve(&first).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    let second = fleet.wait_run("web", 2, "workflowSuspending").await?;
    let run = fleet.run_of(&second).await?.name_any();
    let mut edited = queueing();
    let objects = &mut edited["spec"]["components"][0]["properties"]["objects"];
    objects
        .as_array_mut()
        .expect("a list")
        .push(json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "other"}));
    fleet.apply("hub", &edited).await?;
    let waiting = fleet.wait("web", |app| queued(app).is_some()).await?;
    assert!(waiting.metadata.generation > second.metadata.generation);
    // Asked before the edit, seen after it.
    let request = fleet_api::RollbackRequest {
        run,
        by: "ada".to_owned(),
        generation: second.metadata.generation,
        ..Default::default()
    };
    annotate(&fleet, json!({names::ROLLBACK: request.write().map_err(anyhow::Error::msg)?})).await?;
    let back = fleet.wait_run("web", 3, "workflowSuspending").await?;
    let all = runs(&fleet, "web").await?;
    assert_eq!(all[2].spec.revision, all[0].spec.revision);
    fleet.wait("web", |app| queued(app).is_some_and(|queued| queued.behind == all[2].name_any())).await?;
    fleet.approve(&back).await?;
    let next = fleet.wait_run("web", 4, "workflowSuspending").await?;
    fleet.approve(&next).await?;
    fleet.wait_run("web", 4, "running").await?;
    assert_eq!(value(&fleet, "m1", "other").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// Broken: a word that nobody knows is taken for the default, and the run that it was to protect is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_such_word_is_said_and_ends_no_run() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &queueing()).await?;
    fleet.wait_phase("web", "workflowSuspending").await?;
    annotate(&fleet, json!({names::ON_NEW_REVISION: "queue"})).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    let said = |app: &Application| message(app).contains("neither Supersede");
    let wrong = fleet.wait("web", said).await?;
    assert_eq!(wrong.status.as_ref().map(|status| status.status.as_str()), Some("workflowSuspending"));
    annotate(&fleet, json!({names::ON_NEW_REVISION: "Supersede"})).await?;
    fleet.wait_run("web", 2, "workflowSuspending").await?;
    engine.stop().await?;
    Ok(())
}
