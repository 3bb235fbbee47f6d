//! The controller is killed between any two writes of the three-centre scenario; nothing but time may change.

use std::collections::BTreeMap;

use fleet_api::Application;
use fleet_testkit::{Engine, Fleet, Meter, manifests};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

const MEMBERS: [&str; 3] = ["mc-bj1", "mc-bj2", "mc-hz1"];
const KINDS: [(&str, &str); 4] =
    [("apps/v1", "Deployment"), ("v1", "Service"), ("networking.k8s.io/v1", "Ingress"), ("v1", "ConfigMap")];

/// What counts in the end: the spec, data and labels of everything delivered, and how the Application ended.
async fn outcome(fleet: &Fleet, app: &Application) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut outcome = BTreeMap::new();
    for member in MEMBERS {
        for (api_version, kind) in KINDS {
            let object = fleet.get(member, api_version, kind, "web-demo").await?.unwrap_or_default();
            let mut spec = object.get("spec").cloned().unwrap_or_default();
            if let Some(spec) = spec.as_object_mut() {
                // Addresses are given out by the member.
                spec.retain(|key, _| key != "clusterIP" && key != "clusterIPs");
            }
            let kept = json!({"spec": spec, "data": object.get("data"),
                "labels": object.pointer("/metadata/labels"), "generation": object.pointer("/metadata/generation")});
            outcome.insert(format!("{member} {kind}"), kept);
        }
    }
    let status = app.status.clone().unwrap_or_default();
    outcome.insert("phase".to_owned(), json!(status.status.as_str()));
    outcome.insert("applied".to_owned(), json!(status.applied_resources_total));
    Ok(outcome)
}

/// Carries a scenario out with an engine that may die; another takes over then.
pub(crate) async fn survived<T>(
    fleet: &Fleet,
    engine: Engine,
    scenario: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    survived_by(engine, || Engine::start(fleet), scenario).await
}

/// The same with another that isn't started as usual.
pub(crate) async fn survived_by<T>(
    engine: Engine,
    start: impl FnOnce() -> Engine,
    scenario: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let killed = engine.hub.killed();
    let again = async {
        killed.cancelled().await;
        engine.kill().await;
        let _again = start();
        std::future::pending::<()>().await
    };
    tokio::select! {
        done = scenario => done,
        () = again => unreachable!("it never ends"),
    }
}

/// Whenever the engine dies, before or after which of its writes, what comes out is the same as without. A walk answers
/// how many writes it made, at least so many, and what came out.
pub(crate) async fn after_every_death<T, W>(
    least: u64,
    walk: impl Fn(Option<(u64, bool)>) -> W,
) -> anyhow::Result<()>
where
    T: PartialEq + std::fmt::Debug,
    W: Future<Output = anyhow::Result<(u64, T)>>,
{
    use futures::StreamExt as _;
    let (writes, expected) = walk(None).await?;
    assert!(writes > least, "the scenario makes {writes} writes");
    let deaths = (1..=writes).flat_map(|n| [(n, false), (n, true)]);
    let walk = &walk;
    let walks = futures::stream::iter(deaths.map(|death| async move { (death, walk(Some(death)).await) }));
    let outcomes: Vec<_> = walks.buffer_unordered(4).collect().await;
    for ((n, carried_out), outcome) in outcomes {
        let when = if carried_out { "after" } else { "before" };
        let (_, outcome) =
            outcome.map_err(|error| error.context(format!("killed {when} write {n} of {writes}")))?;
        assert_eq!(outcome, expected, "killed {when} write {n} of {writes}");
    }
    Ok(())
}

/// Walks the scenario with an engine that may die; returns how many writes it made, and the outcome.
async fn walk(killed_at: Option<(u64, bool)>) -> anyhow::Result<(u64, BTreeMap<String, Value>)> {
    let fleet = Fleet::three_centres().await?;
    let (n, carried_out) = killed_at.unwrap_or((u64::MAX, false));
    let engine = Engine::killed_at(&fleet, n, carried_out);
    walk_with(fleet, engine).await
}

async fn walk_with(fleet: Fleet, engine: Engine) -> anyhow::Result<(u64, BTreeMap<String, Value>)> {
    let first = engine.hub.clone();
    fleet.apply_all("hub", manifests::APP_META).await?;
    fleet.apply_all("hub", manifests::APP).await?;
    let scenario = async {
        let waiting = fleet.wait_phase("web-demo", "workflowSuspending").await?;
        for early in ["mc-bj2", "mc-hz1"] {
            let there = fleet.get(early, "apps/v1", "Deployment", "web-demo").await?;
            anyhow::ensure!(there.is_none(), "{early} got something before the gate was opened");
        }
        fleet.approve(&waiting).await?;
        let app = fleet.wait_phase("web-demo", "running").await?;
        Ok((app, crate::record::recorded(&fleet, "web-demo", "RunEnded", 1).await?))
    };
    let (app, record) = survived(&fleet, engine, Box::pin(scenario)).await?;
    let runs: Api<fleet_api::Run> = Api::namespaced(fleet.client("hub"), "demo");
    let runs: Vec<String> =
        runs.list(&ListParams::default()).await?.items.iter().map(|run| run.name_any()).collect();
    anyhow::ensure!(runs.len() == 1, "one run, not {runs:?}");
    let mut outcome = outcome(&fleet, &app).await?;
    let mut record: Vec<Value> = record.iter().map(|e| json!([e.event, e.step, e.targets])).collect();
    record.sort_by_key(Value::to_string);
    outcome.insert("record".to_owned(), json!(record));
    fleet.stop().await;
    Ok((first.writes(), outcome))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_any_two_writes_the_end_is_the_same() -> anyhow::Result<()> {
    after_every_death(10, walk).await
}

/// Broken: what was written isn't taken up where its answer was lost, and its run turns in circles until a step's time is up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_changes_nothing_but_time() -> anyhow::Result<()> {
    use futures::StreamExt as _;
    let (writes, expected) = walk(None).await?;
    let walks = (1..=writes).map(|n| async move {
        let fleet = Fleet::three_centres().await?;
        let engine = Engine::losing(&fleet, n);
        anyhow::Ok((n, walk_with(fleet, engine).await))
    });
    let outcomes: Vec<_> = futures::stream::iter(walks).buffer_unordered(4).collect().await;
    for outcome in outcomes {
        let (n, outcome) = outcome?;
        let (_, outcome) = outcome.map_err(|error| error.context(format!("write {n} of {writes}")))?;
        assert_eq!(outcome, expected, "write {n} of {writes}");
    }
    Ok(())
}

/// A pod that doesn't end when told is killed, and its Applications wait until its Lease has run out.
#[tokio::test]
async fn a_controller_that_is_told_to_end_while_it_starts_ends() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let ends = |engine: Engine| async {
        tokio::time::timeout(std::time::Duration::from_secs(20), engine.stop()).await
    };
    for moment in 0..40 {
        let engine = Engine::start(&fleet);
        for _ in 0..moment * 4 {
            tokio::task::yield_now().await;
        }
        ends(engine).await.map_err(|_| anyhow::anyhow!("it still runs, told at moment {moment}"))??;
    }
    let silent = Meter::new();
    silent.stall();
    let engine = Engine::with(&fleet, silent, Meter::new(), fleet.options());
    tokio::task::yield_now().await;
    ends(engine).await.map_err(|_| anyhow::anyhow!("it waits for a hub that doesn't answer"))??;
    Ok(())
}
