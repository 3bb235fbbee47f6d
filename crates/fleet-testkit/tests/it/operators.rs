//! What operators see of a run: Events, counters, health.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_testkit::{Engine, Fleet, Meter};
use futures::StreamExt as _;
use k8s_openapi::api::events::v1::Event;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;

use crate::small::{app, config, gated};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

/// Waits until Events with these reasons are there about an object; answers `REASON: NOTE` of all about it.
async fn told(
    fleet: &Fleet,
    namespace: &str,
    about: &str,
    reasons: &[&str],
) -> anyhow::Result<BTreeSet<String>> {
    let api: Api<Event> = Api::namespaced(fleet.client("hub"), namespace);
    let mut events =
        std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    let mut told = BTreeSet::new();
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while let Some(event) = events.next().await {
            let Ok(event) = event else { continue };
            if event.regarding.as_ref().and_then(|about| about.name.as_deref()) == Some(about) {
                let (reason, note) = (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
                told.insert(format!("{reason}: {note}"));
            }
            if reasons.iter().all(|reason| told.iter().any(|told| told.starts_with(&format!("{reason}:")))) {
                return;
            }
        }
    });
    let in_time = waited.await.is_ok();
    anyhow::ensure!(in_time, "not all of {reasons:?} were told: {told:#?}");
    Ok(told)
}

/// Waits until a scrape shows these lines: the controller's caches follow what a test sees by a watch of its own.
async fn shows(metrics: &fleet_controller::Metrics, lines: &[&str]) -> anyhow::Result<()> {
    let shown = tokio::time::timeout(Duration::from_secs(20), async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while !metrics.encode().is_ok_and(|text| lines.iter().all(|line| text.contains(line))) {
            pause.tick().await;
        }
    });
    let in_time = shown.await.is_ok();
    let text = metrics.encode()?;
    let missing: Vec<&&str> = lines.iter().filter(|line| !text.contains(**line)).collect();
    anyhow::ensure!(in_time, "{missing:?} not in:\n{text}");
    Ok(())
}

/// Whoever is on call reads `kubectl describe application` and the dashboard: each must show what happened, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_told_and_counted() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let options = fleet.options();
    let (metrics, health) = (options.metrics.clone(), options.health.clone());
    assert_eq!(health.waits_for(), ["the controller to begin"]);
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &gated(&[CONFIG], &["m1", "m2"])).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let said = told(&fleet, "demo", "web", &["WorkflowStarted", "WaitingForApproval"]).await?;
    assert!(said.iter().any(|told| told.contains("fleetctl workflow resume web -n demo")), "{said:#?}");
    let waiting_there =
        ["fleetctl_approvals_waiting 1.0", "fleetctl_applications{phase=\"workflowSuspending\"} 1"];
    shows(&metrics, &waiting_there).await?;
    assert_eq!((health.waits_for(), health.ailments()), (vec![], vec![]));

    fleet.approve(&waiting).await?;
    fleet.wait_phase("web", "running").await?;
    let reasons = ["Approved", "StepStarted", "StepSucceeded", "WorkflowSucceeded"];
    let said = told(&fleet, "demo", "web", &reasons).await?;
    assert!(said.iter().any(|told| told.starts_with("Approved: step go: plan ") && told.contains("tester")));

    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "by hand"}})).await?;
    let said = told(&fleet, "demo", "web", &["DriftRepaired"]).await?;
    assert!(said.contains("DriftRepaired: ConfigMap demo/settings on m1: data.key"), "{said:#?}");

    let lines = [
        "fleetctl_runs_started_total{cause=\"Created\"} 1",
        "fleetctl_runs_ended_total{phase=\"succeeded\"} 1",
        "fleetctl_steps_total{type=\"deploy\",state=\"suspending\"} 1",
        "fleetctl_steps_total{type=\"deploy\",state=\"running\"} 1",
        "fleetctl_steps_total{type=\"deploy\",state=\"succeeded\"} 1",
        "fleetctl_step_duration_seconds_count{type=\"deploy\",state=\"succeeded\"} 1",
        "fleetctl_approvals_total{proven=\"false\"} 1",
        "fleetctl_approvals_waiting 0.0",
        "fleetctl_applications{phase=\"running\"} 1",
        "fleetctl_member_requests_total{cluster=\"m2\",verb=\"apply\",code=\"200\"}",
        "fleetctl_member_reachable{cluster=\"m1\"} 1",
        "fleetctl_member_breaker_open{cluster=\"m1\"} 0",
        "fleetctl_drift_found_total{cluster=\"m1\"} 1",
        "fleetctl_drift_repaired_total{cluster=\"m1\"} 1",
        "fleetctl_drift_repaired_total{cluster=\"m2\"} 0",
        "fleetctl_turns_total{outcome=\"failed\"} 0",
        "fleetctl_queue_length",
        "process_resident_memory_bytes",
    ];
    shows(&metrics, &lines).await?;
    engine.stop().await?;
    Ok(())
}

/// A member that goes is said on its ManagedCluster and on the Application that waits for it, and so is its return.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_goes_and_comes_back_is_told() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let options = fleet.options();
    let metrics = options.metrics.clone();
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options);
    fleet.api().set_reachable("m2", false);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    told(&fleet, "demo", "web", &["TargetUnreachable"]).await?;
    told(&fleet, "default", "m2", &["Unreachable"]).await?;
    shows(&metrics, &["fleetctl_member_breaker_open{cluster=\"m2\"} 1"]).await?;
    fleet.api().set_reachable("m2", true);
    fleet.wait_phase("web", "running").await?;
    told(&fleet, "demo", "web", &["TargetReachable", "WorkflowSucceeded"]).await?;
    told(&fleet, "default", "m2", &["ManagedClusterAvailable"]).await?;
    shows(&metrics, &["fleetctl_member_reachable{cluster=\"m2\"} 1"]).await?;
    engine.stop().await?;
    Ok(())
}

/// Two controllers that share a hub by namespaces must leave each other's Applications alone; one whose namespaces
/// are listed one by one must still see all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_listed_namespaces_are_watched() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    for namespace in ["other", "third"] {
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        fleet.apply("hub", &manifest).await?;
    }
    let mut options = fleet.options();
    options.namespaces = ["demo", "third"].map(str::to_owned).into();
    let metrics = options.metrics.clone();
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options);
    for namespace in ["other", "third", "demo"] {
        for mut manifest in [config("settings", "1"), app(&[CONFIG], &["m1"])] {
            manifest["metadata"]["namespace"] = json!(namespace);
            fleet.apply("hub", &manifest).await?;
        }
    }
    fleet.wait_phase("web", "running").await?;
    told(&fleet, "third", "web", &["WorkflowSucceeded"]).await?;
    let others: Api<fleet_api::Application> = Api::namespaced(fleet.client("hub"), "other");
    assert_eq!(others.get("web").await?.status, None, "somebody else's");
    shows(&metrics, &["fleetctl_runs_started_total{cause=\"Created\"} 2"]).await?;
    engine.stop().await?;
    Ok(())
}

/// A setting for those who begin: nothing on the members is taken back until a person has looked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_can_be_reported_by_default() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let mut options = fleet.options();
    options.on_drift = fleet_controller::OnDrift::Report;
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "by hand"}})).await?;
    let said = told(&fleet, "demo", "web", &["DriftReported"]).await?;
    assert!(said.iter().any(|told| told.contains("left so (--drift report): data.key")), "{said:#?}");
    assert_eq!(crate::small::value(&fleet, "m1", "settings").await?, Some(json!("by hand")));
    engine.stop().await?;
    Ok(())
}

/// A status that changes and changes back while the hub's watch is late must end as it is, not as it was in between:
/// what the cache shows then is what is to be shown, and not what stands on the hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_changes_back_is_written_though_the_watch_is_late() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let mut options = fleet.options();
    options.on_drift = fleet_controller::OnDrift::Report;
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    // The cache shows all that was written so far.
    engine.hub.hush("applications");
    for (data, drifted) in [("by hand", true), ("1", false), ("again", true), ("1", false)] {
        fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": data}})).await?;
        let shown = |app: &fleet_api::Application| {
            app.status.as_ref().is_some_and(|status| status.drift.is_empty() != drifted)
        };
        fleet.wait("web", shown).await?;
    }
    engine.hub.hear();
    engine.stop().await?;
    Ok(())
}

/// The hub's etcd must not fill with history; and what a member that was away for ten edits still holds must stay on
/// record, or nobody could say what to delete there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_bounded_and_what_is_needed_stays() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let mut options = fleet.options();
    (options.kept_runs, options.kept_revisions) = (2, 2);
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options);
    fleet.apply("hub", &config("settings", "0")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    let first = fleet.wait_phase("web", "running").await?;
    let first = first.status.and_then(|status| status.latest_revision).expect("there").name;
    // From now on nothing newer reaches the second member: runs are superseded before it.
    fleet.api().set_reachable("m2", false);
    for edit in 1..=10 {
        fleet.apply("hub", &config("settings", &edit.to_string())).await?;
        fleet
            .wait("web", |app| {
                let latest = app.status.as_ref().and_then(|status| status.latest_revision.as_ref());
                latest.is_some_and(|latest| latest.revision == edit + 1)
            })
            .await?;
    }
    let hub = fleet.client("hub");
    let runs: Api<fleet_api::Run> = Api::namespaced(hub.clone(), "demo");
    let revisions: Api<fleet_api::ApplicationRevision> = Api::namespaced(hub, "demo");
    let runs = runs.list(&Default::default()).await?.items;
    let revisions = revisions.list_metadata(&Default::default()).await?.items;
    let revisions: BTreeSet<String> = revisions.iter().map(kube::ResourceExt::name_any).collect();
    assert!((2..=4).contains(&runs.len()), "{} runs", runs.len());
    assert!((3..=6).contains(&revisions.len()), "{revisions:?}");
    assert!(revisions.contains(&first), "the second member still has {first}: {revisions:?}");
    for run in &runs {
        assert!(revisions.contains(&run.spec.revision), "{:?} is needed by a kept run", run.spec.revision);
    }
    fleet.api().set_reachable("m2", true);
    fleet.wait_run("web", 11, "running").await?;
    assert_eq!(crate::small::value(&fleet, "m2", "settings").await?, Some(json!("10")));
    engine.stop().await?;
    Ok(())
}
