//! Gates: what opens them, what doesn't, and what a crash changes about it.

use std::sync::Arc;

use fleet_api::{Application, Approval, ApprovalSpec, Run, StepPhase, names};
use fleet_testkit::{Engine, Fleet, Meter};
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::small::{annotate, app, config, gated, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

/// Two clusters, a step each; the second is gated.
pub(crate) fn two_steps() -> Value {
    let mut app = gated(&[CONFIG], &["m2"]);
    app["spec"]["policies"] = json!([
        {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
        {"name": "where", "type": "topology", "properties": {"clusters": ["m2"]}}]);
    app["spec"]["workflow"]["steps"] = json!([
        {"name": "one", "type": "deploy", "properties": {"policies": ["first"]}},
        {"name": "go", "type": "deploy", "properties": {"auto": false, "policies": ["where"]}}]);
    app
}

async fn approval(fleet: &Fleet, run: &str, step: &str, hash: &str) -> anyhow::Result<String> {
    let spec = ApprovalSpec {
        application: "web".to_owned(),
        run: run.to_owned(),
        step: step.to_owned(),
        plan_hash: hash.to_owned(),
        approver: "tester".to_owned(),
        ..ApprovalSpec::default()
    };
    let name = format!("{run}-{step}-{hash}");
    let api: Api<Approval> = Api::namespaced(fleet.client_of("tester", &["system:masters"]), "demo");
    Ok(api.create(&PostParams::default(), &Approval::new(&name, spec)).await?.name_any())
}

fn gate_of(run: &Run) -> (String, fleet_api::Gate) {
    let steps = run.status.iter().flat_map(|status| &status.steps);
    let step = steps.into_iter().find(|step| step.phase == StepPhase::Suspending).expect("a gate waits");
    (step.name.clone(), step.gate.clone().expect("with its plan on record"))
}

/// An approval for another plan is refused and put on record; one for another run or a step that isn't there opens
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_approval_of_this_plan_and_run_opens_a_gate() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &gated(&[CONFIG], &["m1"])).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let first = fleet.run_of(&waiting).await?;
    let (step, gate) = gate_of(&first);
    // The next revision's run waits at the same step for another plan.
    fleet.apply("hub", &config("settings", "2")).await?;
    let waiting = fleet.wait_run("web", 2, "workflowSuspending").await?;
    let second = fleet.run_of(&waiting).await?;
    assert_ne!(gate_of(&second).1.plan_hash, gate.plan_hash);
    approval(&fleet, &first.name_any(), &step, &gate_of(&second).1.plan_hash).await?;
    approval(&fleet, &second.name_any(), "removed", &gate_of(&second).1.plan_hash).await?;
    let stale = approval(&fleet, &second.name_any(), &step, &gate.plan_hash).await?;
    let runs: Api<Run> = Api::namespaced(fleet.client("hub"), "demo");
    // The one for a step that isn't there is on record as well.
    let lists = |run: Option<&Value>| {
        let refused =
            run.and_then(|run| run.pointer("/status/steps/0/gate/refused")).and_then(Value::as_array);
        refused.is_some_and(|all| all.iter().any(|refusal| refusal["approval"] == json!(stale)))
    };
    fleet.wait_object("hub", "fleetctl.dev/v1alpha1", "Run", &second.name_any(), lists).await?;
    assert_eq!(gate_of(&runs.get(&second.name_any()).await?).0, step, "still shut");
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("2")));
    engine.stop().await?;
    Ok(())
}

/// A gate that was approved doesn't stand open for the same revision run again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_same_revision_asks_again() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &gated(&[CONFIG], &["m1"])).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 1, "running").await?;
    annotate(&fleet, json!({names::RESTART: "again"})).await?;
    let waiting = fleet.wait_run("web", 2, "workflowSuspending").await?;
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 2, "running").await?;
    engine.stop().await?;
    Ok(())
}

/// A gate waits through a crash; what is approved while nobody looks opens it afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_given_while_the_controller_is_down_counts() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &two_steps()).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let since = gate_of(&fleet.run_of(&waiting).await?).1.since;
    engine.kill().await;
    fleet.approve(&waiting).await?;
    let engine = Engine::start(&fleet);
    let done = fleet.wait_phase("web", "running").await?;
    let run = fleet.run_of(&done).await?;
    let gate = run.status.and_then(|status| status.steps.into_iter().nth(1)).and_then(|step| step.gate);
    assert_eq!(gate.as_ref().and_then(|gate| gate.since), since, "it waits since it was shut");
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// Broken: a cluster whose label is taken away stays in the plan of a gate, and keeps what it has for ever, and nobody says
/// so or how to take it out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_no_longer_selected_is_named_until_a_run_leaves_it_out() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let (api_version, kind) = ("cluster.open-cluster-management.io/v1", "ManagedCluster");
    let north = json!({"metadata": {"labels": {"region": "north"}}});
    for cluster in ["m1", "m2"] {
        fleet.merge("hub", api_version, kind, cluster, &north).await?;
    }
    let mut manifest = gated(&[CONFIG], &[]);
    manifest["spec"]["policies"][0]["properties"] = json!({"clusterLabelSelector": {"region": "north"}});
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "workflowSuspending").await?;
    let south = json!({"metadata": {"labels": {"region": "south"}}});
    fleet.merge("hub", api_version, kind, "m2", &south).await?;
    let current = |app: &fleet_api::Application| {
        let conditions = app.status.iter().flat_map(|status| &status.conditions);
        conditions.filter(|c| c.type_ == "Current").map(|c| (c.reason.clone(), c.message.clone())).next()
    };
    let named = |app: &fleet_api::Application| {
        current(app).is_some_and(|(reason, said)| reason == "ClusterNotSelected" && said.contains("m2"))
    };
    let waiting = fleet.wait("web", named).await?;
    assert!(message(&waiting).contains("fleetctl workflow restart web -n demo"), "{}", message(&waiting));
    fleet.approve(&waiting).await?;
    let done = fleet.wait_phase("web", "running").await?;
    assert!(named(&done), "{:?}", current(&done));
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")), "membership is frozen");
    annotate(&fleet, json!({ fleet_api::names::RESTART: "again" })).await?;
    let again = fleet.wait_run("web", 2, "workflowSuspending").await?;
    assert!(!named(&again), "{:?}", current(&again));
    fleet.approve(&again).await?;
    let again = fleet.wait_phase("web", "running").await?;
    assert!(!named(&again), "{:?}", current(&again));
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    engine.stop().await?;
    Ok(())
}

/// A cluster that starts to match in the middle of a run isn't added to it; it gets its own run afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn membership_is_frozen_when_a_run_starts() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let north = json!({"metadata": {"labels": {"region": "north"}}});
    let cluster = ("cluster.open-cluster-management.io/v1", "ManagedCluster");
    fleet.merge("hub", cluster.0, cluster.1, "m1", &north).await?;
    let mut manifest = gated(&[CONFIG], &[]);
    manifest["spec"]["policies"][0]["properties"] = json!({"clusterLabelSelector": {"region": "north"}});
    fleet.apply("hub", &manifest).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let before = fleet.run_of(&waiting).await?;
    fleet.merge("hub", cluster.0, cluster.1, "m2", &north).await?;
    fleet.approve(&waiting).await?;
    // It goes on with the plan that was approved, and asks for the joiner at a gate of its own.
    fleet.wait_run("web", 2, "workflowSuspending").await?;
    let runs: Api<Run> = Api::namespaced(fleet.client("hub"), "demo");
    let first = runs.get(&before.name_any()).await?.status.unwrap_or_default();
    let clusters: Vec<_> = first.steps[0].targets.iter().map(|t| t.target.cluster.as_str()).collect();
    assert_eq!(clusters, ["m1"]);
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    engine.stop().await?;
    Ok(())
}

/// A person suspends a run, lets it go on, and ends it, by annotations that name the run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_suspends_resumes_and_terminates() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &two_steps()).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let run = fleet.run_of(&waiting).await?.name_any();
    annotate(&fleet, json!({names::SUSPEND: run})).await?;
    let suspended = |app: &Application| {
        let run = app.status.as_ref().and_then(|status| status.workflow.as_ref());
        run.is_some_and(|run| run.message.contains("suspended by a person"))
    };
    fleet.wait("web", suspended).await?;
    fleet.approve(&waiting).await?;
    let held = fleet.wait("web", |app| message(app).contains("suspended by a person")).await?;
    assert!(message(&held).contains("workflow resume"), "{}", message(&held));
    assert_eq!(value(&fleet, "m2", "settings").await?, None, "nothing begins while it is suspended");
    annotate(&fleet, json!({names::SUSPEND: null})).await?;
    fleet.wait_run("web", 1, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));

    fleet.apply("hub", &config("settings", "2")).await?;
    let waiting = fleet.wait_run("web", 2, "workflowSuspending").await?;
    // A request about another run does nothing to this one.
    annotate(&fleet, json!({names::TERMINATE: run})).await?;
    let second = fleet.run_of(&waiting).await?.name_any();
    annotate(&fleet, json!({names::TERMINATE: second})).await?;
    let ended = fleet.wait_run("web", 2, "workflowTerminated").await?;
    assert!(message(&ended).contains("workflow restart"), "{}", message(&ended));
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    annotate(&fleet, json!({names::RESTART: "1"})).await?;
    let waiting = fleet.wait_run("web", 3, "workflowSuspending").await?;
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 3, "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("2")));
    engine.stop().await?;
    Ok(())
}

/// A suspend step with a duration opens by itself at a time that a crash doesn't move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspend_step_opens_when_its_time_is_up() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let later = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let options = || {
        let (mut options, later) = (fleet.options(), Arc::clone(&later));
        let clock = Arc::clone(&options.clock);
        options.clock = Arc::new(move || {
            let ahead = later.load(std::sync::atomic::Ordering::SeqCst);
            clock().checked_add(jiff::SignedDuration::from_secs(ahead)).expect("in range")
        });
        options
    };
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options());
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut manifest = app(&[CONFIG], &["m1"]);
    manifest["spec"]["workflow"] = json!({"steps": [
        {"name": "look", "type": "suspend", "properties": {"duration": "1h", "message": "watch the graphs"}},
        {"name": "go", "type": "deploy", "properties": {"policies": ["where"]}}]});
    fleet.apply("hub", &manifest).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let shown = waiting.status.as_ref().and_then(|s| s.workflow.clone()).unwrap_or_default();
    assert!(shown.message.contains("watch the graphs"), "{}", shown.message);
    let opens_at = gate_of(&fleet.run_of(&waiting).await?).1.opens_at;
    engine.kill().await;
    later.store(3000, std::sync::atomic::Ordering::SeqCst);
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options());
    // Another Application's run shows that this one was looked at too.
    fleet.apply("hub", &config("other", "1")).await?;
    let mut marker = app(&[("v1", "ConfigMap", "other")], &["m1"]);
    marker["metadata"]["name"] = json!("marker");
    fleet.apply("hub", &marker).await?;
    fleet.wait_phase("marker", "running").await?;
    assert_eq!(gate_of(&fleet.run_of(&waiting).await?).1.opens_at, opens_at);
    engine.kill().await;
    later.store(3700, std::sync::atomic::Ordering::SeqCst);
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options());
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    Ok(())
}
