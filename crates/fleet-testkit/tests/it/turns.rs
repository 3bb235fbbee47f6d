//! Runs that take turns: at most so many at once, at most one on a cluster, whoever works on them and whatever dies.

use fleet_api::{Application, Run, names};
use fleet_controller::{Limits, Options};
use fleet_testkit::{Engine, Fleet, Meter};
use fleet_workflow::Line;
use futures::StreamExt as _;
use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::crash::{after_every_death, survived_by};
use crate::small::{app, config, message, value};

const EACH: Limits = Limits { runs: None, one_per_cluster: true };
const ONE: Limits = Limits { runs: Some(1), one_per_cluster: false };

fn limited(fleet: &Fleet, limits: Limits) -> Options {
    Options { limits, ..fleet.options() }
}

fn start(fleet: &Fleet, limits: Limits) -> Engine {
    Engine::with(fleet, Meter::new(), Meter::new(), limited(fleet, limits))
}

/// An Application of its own ConfigMap. With a soak it acts on its clusters until somebody ends it.
async fn make(fleet: &Fleet, name: &str, clusters: &[&str], soak: Option<&str>) -> anyhow::Result<()> {
    fleet.apply("hub", &config(name, "1")).await?;
    let mut manifest = app(&[("v1", "ConfigMap", name)], clusters);
    manifest["metadata"]["name"] = json!(name);
    let mut properties = json!({"policies": ["where"]});
    if let Some(soak) = soak {
        properties["soak"] = json!(soak);
    }
    manifest["spec"]["workflow"] =
        json!({"steps": [{"name": "go", "type": "deploy", "timeout": "5h", "properties": properties}]});
    fleet.apply("hub", &manifest).await?;
    Ok(())
}

/// The reason of the first target of the first step.
fn reason(app: &Application) -> &str {
    let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
    let step = workflow.and_then(|workflow| workflow.steps.first());
    step.and_then(|step| step.targets.first()).map_or("", |target| target.reason.as_str())
}

async fn waits(fleet: &Fleet, name: &str, wanted: &str) -> anyhow::Result<Application> {
    fleet.wait(name, |app| reason(app) == wanted).await
}

async fn terminate(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    let run = fleet.run_of(&api.get(name).await?).await?.name_any();
    let patch = json!({"metadata": {"annotations": {names::TERMINATE: run}}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

async fn line(fleet: &Fleet) -> anyhow::Result<Option<Line>> {
    let leases: Api<Lease> = Api::namespaced(fleet.client("hub"), names::SYSTEM_NAMESPACE);
    let lease = leases.get_opt("fleetctl-runs").await?;
    let text = lease.and_then(|lease| lease.annotations().get(names::LINE).cloned());
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// Waits, by watch, until nobody stands in line.
async fn wait_empty(fleet: &Fleet) -> anyhow::Result<()> {
    let empty = |lease: Option<&Value>| {
        let text = lease.and_then(|lease| lease.pointer("/metadata/annotations"));
        let text = text.and_then(|all| all.get(names::LINE)).and_then(Value::as_str).unwrap_or_default();
        serde_json::from_str::<Line>(text).is_ok_and(|line| line.claims.is_empty())
    };
    let leases: Api<Lease> = Api::namespaced(fleet.client("hub"), names::SYSTEM_NAMESPACE);
    let watched = async {
        let mut objects = std::pin::pin!(kube::runtime::watcher::watch_object(leases, "fleetctl-runs"));
        while let Some(event) = objects.next().await {
            let shown = event.ok().flatten().and_then(|lease| serde_json::to_value(lease).ok());
            if empty(shown.as_ref()) {
                return;
            }
        }
    };
    Ok(tokio::time::timeout(std::time::Duration::from_secs(60), watched).await?)
}

/// Broken: two runs act on one cluster at once, who waits isn't told for whom, or isn't woken when its turn comes. The
/// controller dies in between: what is held is the run's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_run_acts_on_a_cluster_and_outlives_the_controller() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = start(&fleet, EACH);
    make(&fleet, "first", &["m1"], Some("4h")).await?;
    waits(&fleet, "first", "Soaking").await?;
    engine.kill().await;
    let engine = start(&fleet, EACH);
    make(&fleet, "second", &["m1", "m2"], None).await?;
    waits(&fleet, "second", "WaitingForCluster").await?;
    let waiting = fleet.wait("second", |app| message(app).contains("waits since")).await?;
    let run = fleet.run_of(&fleet.wait_phase("first", "runningWorkflow").await?).await?.name_any();
    let said = message(&waiting);
    assert!(said.contains(&format!("for run demo/{run}, which acts on m1")), "{said}");
    assert!(
        said.contains("waits since 20") && said.contains("fleetctl workflow terminate first -n demo"),
        "{said}"
    );
    fleet.wait_object("m2", "v1", "ConfigMap", "second", |found| found.is_some()).await?;
    assert_eq!(value(&fleet, "m1", "second").await?, None, "m2 needn't wait for m1, and m1 waits");
    let since = fleet.run_of(&waiting).await?.status.unwrap_or_default().steps[0].targets[0].held_since;
    assert!(since.is_some(), "its time doesn't run");
    terminate(&fleet, "first").await?;
    fleet.wait_phase("second", "running").await?;
    assert_eq!(value(&fleet, "m1", "second").await?, Some(json!("1")));
    wait_empty(&fleet).await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: more runs act than may, the last to come goes first, or a run that waits for a person takes a place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_runs_act_at_once_the_oldest_first() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = start(&fleet, ONE);
    // At its gate it holds nothing.
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &crate::small::gated(&[("v1", "ConfigMap", "settings")], &["m1"])).await?;
    let gate = fleet.wait_phase("web", "workflowSuspending").await?;
    make(&fleet, "first", &["m1"], Some("4h")).await?;
    waits(&fleet, "first", "Soaking").await?;
    make(&fleet, "second", &["m2"], Some("4h")).await?;
    let waiting = waits(&fleet, "second", "WaitingForOtherRuns").await?;
    assert!(message(&waiting).contains("1 run acts, as many as may at once"), "{}", message(&waiting));
    fleet.wait("second", |app| message(app).contains("waits since")).await?;
    make(&fleet, "third", &["m3"], None).await?;
    fleet.wait("third", |app| message(app).contains("waits since")).await?;
    terminate(&fleet, "first").await?;
    waits(&fleet, "second", "Soaking").await?;
    assert_eq!(value(&fleet, "m3", "third").await?, None);
    fleet.approve(&gate).await?;
    waits(&fleet, "web", "WaitingForOtherRuns").await?;
    terminate(&fleet, "second").await?;
    fleet.wait_phase("third", "running").await?;
    fleet.wait_phase("web", "running").await?;
    wait_empty(&fleet).await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: an Application that was taken away by force, while nobody looked, keeps its cluster for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_held_that_is_gone_is_free() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = start(&fleet, EACH);
    make(&fleet, "first", &["m1"], Some("4h")).await?;
    waits(&fleet, "first", "Soaking").await?;
    engine.kill().await;
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    let no_finalizers = json!({"metadata": {"finalizers": null}});
    api.patch("first", &PatchParams::default(), &Patch::Merge(&no_finalizers)).await?;
    api.delete("first", &Default::default()).await?;
    let runs: Api<Run> = Api::namespaced(fleet.client("hub"), "demo");
    runs.delete_collection(&Default::default(), &ListParams::default()).await?;
    assert_eq!(line(&fleet).await?.map(|line| line.claims.len()), Some(1));
    let engine = start(&fleet, EACH);
    make(&fleet, "second", &["m1"], None).await?;
    fleet.wait_phase("second", "running").await?;
    wait_empty(&fleet).await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: replicas don't see each other's runs, and two act on one cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_one_line() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let replica = |name: &str| {
        let mut options = Engine::shared(&fleet, name, SignedDuration::ZERO);
        options.limits = EACH;
        Engine::with(&fleet, Meter::new(), Meter::new(), options)
    };
    let engines = [replica("a"), replica("b")];
    let names: Vec<String> = (0..8).map(|n| format!("app-{n}")).collect();
    for name in &names {
        make(&fleet, name, &["m1", "m2"], Some("100ms")).await?;
    }
    for name in &names {
        fleet.wait_phase(name, "running").await?;
    }
    wait_empty(&fleet).await?;
    let runs: Api<Run> = Api::namespaced(fleet.client("hub"), "demo");
    for cluster in ["m1", "m2"] {
        let mut spans = Vec::new();
        for run in runs.list(&ListParams::default()).await?.items {
            let steps = run.status.clone().unwrap_or_default().steps;
            let state = steps.iter().flat_map(|step| &step.targets).find(|t| t.target.cluster == cluster);
            spans.push(state.map(|state| (state.started_at, state.ended_at, run.spec.application.clone())));
        }
        spans.sort();
        for pair in spans.windows(2) {
            let (before, after) = (pair[0].as_ref().unwrap(), pair[1].as_ref().unwrap());
            assert!(
                before.1 <= after.0,
                "{} and {} acted on {cluster} at once: {spans:?}",
                before.2,
                after.2
            );
        }
    }
    for engine in engines {
        engine.stop().await?;
    }
    Ok(())
}

/// Broken: who doesn't want turns pays for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_limits_nothing_is_asked_of_the_hub() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    make(&fleet, "first", &["m1"], None).await?;
    fleet.wait_phase("first", "running").await?;
    assert_eq!(line(&fleet).await?, None);
    engine.stop().await?;
    Ok(())
}

/// Broken: a crash between a grant and its use, or between an end and what is given back, leaves somebody waiting for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_write_keeps_nobody_waiting() -> anyhow::Result<()> {
    let limits = Limits { runs: Some(1), one_per_cluster: true };
    let walk = async |death: Option<(u64, bool)>| -> anyhow::Result<(u64, Vec<Option<Value>>)> {
        let fleet = Fleet::start(&[("m1", "one")]).await?;
        for name in ["first", "second"] {
            make(&fleet, name, &["m1"], None).await?;
        }
        let meter = death.map_or_else(Meter::new, |(n, carried_out)| Meter::killing(n, carried_out));
        let engine = Engine::with(&fleet, meter.clone(), meter.clone(), limited(&fleet, limits));
        let both = async {
            fleet.wait_phase("first", "running").await?;
            fleet.wait_phase("second", "running").await?;
            wait_empty(&fleet).await
        };
        survived_by(engine, || start(&fleet, limits), both).await?;
        let values = vec![value(&fleet, "m1", "first").await?, value(&fleet, "m1", "second").await?];
        Ok((meter.writes(), values))
    };
    after_every_death(10, walk).await
}
