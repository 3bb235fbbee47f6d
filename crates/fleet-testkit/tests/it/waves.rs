//! How a step goes over its targets: in waves, past members that don't answer, and as people ask.

use std::time::Duration;

use fleet_api::requests::with_request;
use fleet_api::{Application, RunStatus, TargetAction, TargetPhase, TargetRequest, names};
use fleet_testkit::{Engine, Fleet, Meter};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::small::{annotate, app, condition, config, deployment, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

fn impatient(fleet: &Fleet) -> Engine {
    let mut options = fleet.options();
    options.members.request_timeout = Duration::from_millis(300);
    Engine::with(fleet, Meter::new(), Meter::new(), options)
}

/// An Application with one step of these properties.
fn shipped(clusters: &[&str], properties: Value) -> Value {
    let mut app = app(&[CONFIG], clusters);
    app["spec"]["workflow"] = json!({"steps": [step("ship", properties)]});
    app
}

fn step(name: &str, mut properties: Value) -> Value {
    properties["policies"] = json!(["where"]);
    json!({"name": name, "type": "deploy", "properties": properties})
}

fn reason(app: &Application) -> String {
    condition(app, "Workflow").map(|condition| condition.reason.clone()).unwrap_or_default()
}

fn number(app: &Application) -> i64 {
    app.status.iter().filter_map(|status| status.latest_revision.as_ref()).map(|r| r.revision).sum()
}

/// Phase and reason of a target in the first step.
fn target(app: &Application, cluster: &str) -> (String, String) {
    let steps = app.status.iter().filter_map(|status| status.workflow.as_ref()).flat_map(|w| &w.steps);
    let found = steps.flat_map(|step| &step.targets).find(|target| target.cluster == cluster);
    found.map(|target| (target.phase.clone(), target.reason.clone())).unwrap_or_default()
}

async fn ask(fleet: &Fleet, app: &Application, action: TargetAction, cluster: &str) -> anyhow::Result<()> {
    let run = fleet.run_of(app).await?.name_any();
    let before = fleet.get("hub", "core.oam.dev/v1beta1", "Application", "web").await?.unwrap_or_default();
    let before = before["metadata"]["annotations"][names::TARGET_REQUESTS].as_str().map(str::to_owned);
    let request = TargetRequest {
        id: format!("{action:?}-{run}"),
        run,
        action,
        cluster: cluster.to_owned(),
        step: None,
        by: "ada".to_owned(),
        reason: "rack is being moved".to_owned(),
    };
    let text = with_request(before.as_deref(), request).map_err(anyhow::Error::msg)?;
    annotate(fleet, json!({ names::TARGET_REQUESTS: text })).await
}

async fn state(fleet: &Fleet, app: &Application) -> anyhow::Result<RunStatus> {
    Ok(fleet.run_of(app).await?.status.unwrap_or_default())
}

// Broken: more clusters change at once than may, or the last ring goes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_go_one_after_another_in_their_order() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let properties = json!({"maxParallelTargets": 1, "order": ["three"], "canary": {"clusters": ["m2"]}});
    fleet.apply("hub", &shipped(&["m1", "m2", "m3"], properties)).await?;
    let done = fleet.wait_phase("web", "running").await?;
    let status = state(&fleet, &done).await?;
    let targets = &status.steps[0].targets;
    let order: Vec<&str> = targets.iter().map(|state| state.target.cluster.as_str()).collect();
    assert_eq!(order, ["m2", "m3", "m1"]);
    assert!(targets[0].canary && !targets[1].canary);
    for pair in targets.windows(2) {
        assert!(pair[0].ended_at <= pair[1].started_at, "{targets:?}");
    }
    engine.stop().await
}

// Broken: a cluster that is down keeps the run from its end, or never gets what it missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_cluster_is_passed_over_and_catches_up() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = impatient(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &shipped(&["m1", "m2"], json!({}))).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.api().set_reachable("m2", false);
    fleet.apply("hub", &config("settings", "2")).await?;
    let skips = json!({"onUnreachable": "Skip", "unreachableAfter": "1s"});
    fleet.apply("hub", &shipped(&["m1", "m2"], skips)).await?;
    let owed = fleet.wait("web", |app| reason(app) == "CatchUpPending").await?;
    assert_eq!(owed.status.as_ref().map(|status| status.status.as_str()), Some("runningWorkflow"));
    assert_eq!(target(&owed, "m2"), ("pending".to_owned(), "Unreachable".to_owned()));
    assert!(message(&owed).contains("m2/demo"), "{}", message(&owed));
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("2")));
    fleet.api().set_reachable("m2", true);
    let run = number(&owed);
    let done = fleet.wait_run("web", run, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("2")));
    let status = state(&fleet, &done).await?;
    assert!(status.steps[0].targets.iter().all(|state| state.phase == TargetPhase::Succeeded));
    engine.stop().await
}

// Broken: what is owed blocks the next revision, or a member that returns gets the one that was superseded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_revision_takes_over_what_is_owed() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = impatient(&fleet);
    fleet.api().set_reachable("m2", false);
    fleet.apply("hub", &config("settings", "1")).await?;
    let skips = json!({"onUnreachable": "Skip", "unreachableAfter": "1s"});
    fleet.apply("hub", &shipped(&["m1", "m2"], skips)).await?;
    let owed = fleet.wait("web", |app| reason(app) == "CatchUpPending").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait("web", |app| number(app) > number(&owed) && reason(app) == "CatchUpPending").await?;
    // A restart of the controller forgets none of it.
    engine.kill().await;
    let engine = impatient(&fleet);
    fleet.api().set_reachable("m2", true);
    fleet.wait_run("web", number(&owed) + 1, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("2")));
    engine.stop().await
}

// Broken: a cluster that somebody took out for maintenance is delivered to by the next revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_skips_is_left_until_it_is_asked_for() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = impatient(&fleet);
    fleet.api().set_reachable("m2", false);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &shipped(&["m1", "m2"], json!({}))).await?;
    let waiting = fleet.wait("web", |app| message(app).contains("doesn't answer")).await?;
    ask(&fleet, &waiting, TargetAction::Skip, "m2").await?;
    let skipped = fleet.wait("web", |app| reason(app) == "CatchUpPending").await?;
    assert_eq!(target(&skipped, "m2"), ("skipped".to_owned(), "SkippedByUser".to_owned()));
    assert!(message(&skipped).contains("skipped by ada (rack is being moved)"), "{}", message(&skipped));
    fleet.api().set_reachable("m2", true);
    fleet.apply("hub", &config("settings", "2")).await?;
    let second = fleet.wait("web", |app| number(app) == 2 && reason(app) == "CatchUpPending").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("2")));
    assert_eq!(value(&fleet, "m2", "settings").await?, None, "nobody asked for it");
    ask(&fleet, &second, TargetAction::Retry, "m2").await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("2")));
    engine.stop().await
}

// Broken: the only way on from one failed cluster is a new run over all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_target_is_tried_again_in_the_same_run() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = Engine::start(&fleet);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m2", &namespace).await?;
    fleet.apply("m2", &config("settings", "of somebody else")).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &shipped(&["m1", "m2", "m3"], json!({"maxParallelTargets": 1}))).await?;
    let failed = fleet.wait_phase("web", "workflowFailed").await?;
    assert_eq!(target(&failed, "m3"), ("pending".to_owned(), "NotBegun".to_owned()));
    assert!(
        message(&failed).contains("fleetctl workflow retry web -n demo --target m2"),
        "{}",
        message(&failed)
    );
    assert_eq!(value(&fleet, "m3", "settings").await?, None);
    let api = fleet.resource("m2", &config("settings", "")).await?;
    api.delete("settings", &kube::api::DeleteParams::default()).await?;
    ask(&fleet, &failed, TargetAction::Retry, "m2").await?;
    fleet.wait_run("web", 1, "running").await?;
    for member in ["m1", "m2", "m3"] {
        assert_eq!(value(&fleet, member, "settings").await?, Some(json!("1")), "{member}");
    }
    engine.stop().await
}

// Broken: a restart starts the soak over, or ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_survives_a_restart() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &shipped(&["m1"], json!({"soak": "3s"}))).await?;
    let soaking = fleet.wait("web", |app| target(app, "m1").1 == "Soaking").await?;
    let until = state(&fleet, &soaking).await?.steps[0].targets[0].soak_until;
    assert!(until.is_some());
    engine.kill().await;
    let engine = Engine::start(&fleet);
    let done = fleet.wait_phase("web", "running").await?;
    let ended = state(&fleet, &done).await?.steps[0].targets[0].ended_at;
    let late = ended.zip(until).map(|(ended, until)| ended.duration_since(until).as_millis());
    assert!(late.is_some_and(|late| (0..2500).contains(&late)), "{late:?} ms after {until:?}");
    engine.stop().await
}

fn by_label(steps: Value) -> Value {
    let mut app = app(&[CONFIG], &[]);
    app["spec"]["policies"] = json!([
        {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
        {"name": "where", "type": "topology", "properties": {"clusterLabelSelector": {"region": "north"}}},
    ]);
    app["spec"]["workflow"] = json!({ "steps": steps });
    app
}

async fn label(fleet: &Fleet, member: &str) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"labels": {"region": "north"}}});
    fleet.merge("hub", "cluster.open-cluster-management.io/v1", "ManagedCluster", member, &patch).await?;
    Ok(())
}

// Broken: a cluster that joins is delivered to by an approval of a plan that didn't name it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_is_appended_to_a_step_that_waits_and_its_gate_asks_again() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = Engine::start(&fleet);
    label(&fleet, "m2").await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    let steps = json!([
        {"name": "first", "type": "deploy", "properties": {"policies": ["first"]}},
        step("then", json!({"auto": false, "onJoin": "Append"})),
    ]);
    fleet.apply("hub", &by_label(steps)).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let before = state(&fleet, &waiting).await?;
    let asked = before.steps[1].gate.clone().unwrap_or_default().plan_hash;
    label(&fleet, "m3").await?;
    let hash = |app: &Application| {
        let steps = app.status.iter().filter_map(|s| s.workflow.as_ref()).flat_map(|w| &w.steps);
        steps.last().map(|step| (step.plan_hash.clone(), step.targets_total)).unwrap_or_default()
    };
    let again = fleet.wait("web", |app| hash(app).0 != asked && hash(app).1 == 2).await?;
    fleet.approve(&again).await?;
    fleet.wait_run("web", 1, "running").await?;
    for member in ["m2", "m3"] {
        assert_eq!(value(&fleet, member, "settings").await?, Some(json!("1")), "{member}");
    }
    engine.stop().await
}

// Broken: somebody says that clusters that join wait for the next revision, and they don't.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_that_is_ignored_gets_the_next_revision() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = Engine::start(&fleet);
    label(&fleet, "m2").await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &by_label(json!([step("then", json!({"onJoin": "Ignore"}))]))).await?;
    fleet.wait_phase("web", "running").await?;
    label(&fleet, "m3").await?;
    crate::small::looked_at(&fleet, "marker").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m3", "settings").await?, Some(json!("2")), "no run of its own came between");
    engine.stop().await
}

// Broken: as long as one cluster is down, no cluster that joins gets anything; or what is owed is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_doesnt_wait_for_one_that_is_owed() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = impatient(&fleet);
    label(&fleet, "m1").await?;
    label(&fleet, "m2").await?;
    fleet.api().set_reachable("m2", false);
    fleet.apply("hub", &config("settings", "1")).await?;
    let skips = json!({"onUnreachable": "Skip", "unreachableAfter": "1s"});
    fleet.apply("hub", &by_label(json!([step("then", skips)]))).await?;
    fleet.wait("web", |app| reason(app) == "CatchUpPending").await?;
    label(&fleet, "m3").await?;
    fleet.wait("web", |app| number(app) == 2 && reason(app) == "CatchUpPending").await?;
    assert_eq!(value(&fleet, "m3", "settings").await?, Some(json!("1")));
    fleet.api().set_reachable("m2", true);
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await
}

// Broken: a hand-written request that nobody can answer is passed over without a word, or ends something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_said() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &shipped(&["m1"], json!({}))).await?;
    let done = fleet.wait_phase("web", "running").await?;
    let told = |word: &'static str| {
        move |app: &Application| {
            let conditions = app.status.iter().flat_map(|status| &status.conditions);
            let mut about = conditions.filter(|condition| condition.type_ == "TargetRequests");
            about.any(|condition| condition.message.contains(word))
        }
    };
    annotate(&fleet, json!({ names::TARGET_REQUESTS: "[{\"id\":" })).await?;
    fleet.wait("web", told("isn't a list of requests")).await?;
    annotate(&fleet, json!({ names::TARGET_REQUESTS: null })).await?;
    ask(&fleet, &done, TargetAction::Skip, "m9").await?;
    fleet.wait("web", told("\"m9\" is no target of run")).await?;
    annotate(&fleet, json!({ names::TARGET_REQUESTS: null })).await?;
    let quiet = fleet.wait("web", |app| !told("m9")(app)).await?;
    assert_eq!(quiet.status.map(|status| status.status.as_str()), Some("running"));
    engine.stop().await
}

// Broken: a step whose rules don't fit its targets begins, and is found out in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_dont_fit_the_targets_are_refused_at_apply_time() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    for (properties, words) in [
        (json!({"maxFailures": 3}), ["maxFailures", "only 2"]),
        (json!({"canary": {"clusterLabelSelector": {"region": "mars"}}}), ["canary", "none of the step's 2"]),
        (json!({"order": ["m22"]}), ["order", "did you mean \"m2\""]),
        (json!({"unreachableAfter": "1m"}), ["unreachableAfter", "Skip"]),
    ] {
        fleet.apply("hub", &shipped(&["m1", "m2"], properties)).await?;
        let told = fleet.wait("web", |app| words.iter().all(|word| message(app).contains(word))).await?;
        assert_eq!(told.status.as_ref().map(|status| status.status.as_str()), Some("rendering"));
        assert!(message(&told).contains("ship") && !message(&told).contains('\n'), "{}", message(&told));
    }
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    engine.stop().await
}

/// Broken: a controller that was down past a step's time comes back and fails a target that has been well all along,
/// before it has seen anything of the member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_was_down_past_the_time_looks_first() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &shipped(&["m1"], json!({"soak": "10m"}))).await?;
    fleet.wait("web", |app| target(app, "m1").1 == "Soaking").await?;
    engine.kill().await;
    let mut options = fleet.options();
    let right = std::sync::Arc::clone(&options.clock);
    options.clock = std::sync::Arc::new(move || right() + jiff::SignedDuration::from_hours(10));
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options);
    let over = |app: &Application| !matches!(reason(app).as_str(), "" | "Soaking" | "NotListed");
    let done = fleet.wait("web", over).await?;
    assert_eq!((reason(&done).as_str(), target(&done, "m1").0.as_str()), ("Succeeded", "succeeded"));
    engine.stop().await?;
    Ok(())
}

/// Broken: a run is ended in the middle of a soak, and what it sent passes for healthy (or for soaking) whatever becomes
/// of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_that_was_ended_left_behind_is_judged_as_it_is() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("shop", "shop:1")).await?;
    let mut manifest = shipped(&["m1"], json!({"soak": "10m"}));
    manifest["spec"]["components"][0]["properties"]["objects"] =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}]);
    fleet.apply("hub", &manifest).await?;
    let soaking = fleet.wait("web", |app| target(app, "m1").1 == "Soaking").await?;
    annotate(&fleet, json!({ names::TERMINATE: fleet.run_of(&soaking).await?.name_any() })).await?;
    let ended = fleet.wait_phase("web", "workflowTerminated").await?;
    assert_eq!(target(&ended, "m1").1, "Terminated");
    let healthy = |app: &Application| {
        let conditions = app.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.type_ == "Healthy" && condition.is_true())
    };
    assert!(healthy(&ended));
    let stuck =
        json!({"spec": {"template": {"metadata": {"annotations": {"sim.fleetctl.dev/hold": "true"}}}}});
    fleet.merge("m1", "apps/v1", "Deployment", "shop", &stuck).await?;
    fleet.wait("web", |app| !healthy(app)).await?;
    engine.stop().await?;
    Ok(())
}
