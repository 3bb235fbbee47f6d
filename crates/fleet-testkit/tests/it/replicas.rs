//! Several replicas of the controller share the work; whichever ends, stalls or comes, the outcome is that of one.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_api::Application;
use fleet_testkit::{Engine, Fleet, Meter};
use futures::StreamExt as _;
use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use kube::runtime::watcher;
use serde_json::json;
use tokio::time::Instant;

use crate::small::{all_runs, app, config, deployment, gated, value};

const FIVE: SignedDuration = SignedDuration::from_mins(5);
/// A lease of these tests lasts 3 s; beside it, time for what there is to do on a slow machine.
const TAKEN_OVER: Duration = Duration::from_secs(12);

/// An Application of its own ConfigMap, with a gate.
async fn make(fleet: &Fleet, index: usize) -> anyhow::Result<String> {
    let name = format!("app-{index}");
    fleet.apply("hub", &config(&name, "1")).await?;
    let mut manifest = gated(&[("v1", "ConfigMap", &name)], &["m1"]);
    manifest["metadata"]["name"] = json!(name);
    fleet.apply("hub", &manifest).await?;
    Ok(name)
}

/// Waits, by watch, until so many replicas have published that so many are alive.
async fn wait_replicas(fleet: &Fleet, count: usize) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(fleet.client("hub"), "fleetctl-system");
    let mut events = std::pin::pin!(watcher(leases.clone(), watcher::Config::default()));
    let seen = async {
        loop {
            let found = leases.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
            let agree = found.iter().all(|lease| {
                let view = lease.annotations().get(fleet_api::names::VIEW).cloned().unwrap_or_default();
                let view: serde_json::Value = serde_json::from_str(&view).unwrap_or_default();
                view["alive"].as_array().is_some_and(|alive| alive.len() == count)
            });
            if agree && found.len() == count {
                return;
            }
            events.next().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), seen).await?;
    Ok(())
}

fn starts(engine: &Engine) -> u64 {
    engine.hub.count().sum(|kind| kind == "POST runs")
}

/// Two replicas, their clocks ten minutes apart: each does a part, none does anything twice, and when one is killed in
/// the middle of its steps the other brings them to their end, gates included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_is_shared_and_taken_over_from_one_that_is_killed() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let (one, two) = (Engine::replica(&fleet, "one", FIVE), Engine::replica(&fleet, "two", -FIVE));
    wait_replicas(&fleet, 2).await?;
    let mut names = Vec::new();
    for index in 0..16 {
        names.push(make(&fleet, index).await?);
    }
    let mut waiting = Vec::new();
    for name in &names {
        waiting.push(fleet.wait_phase(name, "workflowSuspending").await?);
    }
    let (first, second) = (starts(&one), starts(&two));
    assert!(first > 0 && second > 0, "one replica did everything: {first} and {second}");
    assert_eq!(first + second, 16, "a run was started twice");
    // Requests to the member are held up, so that every step of the first is under way when it is killed.
    one.members.stall();
    for app in &waiting {
        fleet.approve(app).await?;
    }
    for name in &names {
        let begun = |app: &Application| {
            let phase = app.status.as_ref().map(|status| status.status.as_str());
            matches!(phase, Some("runningWorkflow" | "running"))
        };
        fleet.wait(name, begun).await?;
    }
    one.kill().await;
    let killed = Instant::now();
    for name in &names {
        fleet.wait_phase(name, "running").await?;
        assert_eq!(value(&fleet, "m1", name).await?, Some(json!("1")));
    }
    assert!(killed.elapsed() < TAKEN_OVER, "taken over after {:?}", killed.elapsed());
    assert_eq!(all_runs(&fleet).await?.len(), 16, "the takeover started runs");
    two.stop().await?;
    Ok(())
}

/// A replica that comes while steps are under way gets its part in acknowledged order; nobody waits for a lease to run
/// out, nothing is applied with effect twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handover_in_the_middle_of_a_step_does_nothing_twice() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let one = Engine::replica(&fleet, "one", FIVE);
    let mut names = Vec::new();
    for index in 0..8 {
        let name = format!("app-{index}");
        let mut held = deployment(&name, "web:1");
        // It isn't ready before that is taken away, so the step stays under way.
        held["spec"]["template"]["metadata"]["annotations"] = json!({"sim.fleetctl.dev/hold": "true"});
        fleet.apply("hub", &held).await?;
        let mut manifest = app(&[("apps/v1", "Deployment", &name)], &["m1"]);
        manifest["metadata"]["name"] = json!(name);
        fleet.apply("hub", &manifest).await?;
        names.push(name);
    }
    for name in &names {
        fleet.wait_phase(name, "runningWorkflow").await?;
        fleet.wait_object("m1", "apps/v1", "Deployment", name, |object| object.is_some()).await?;
    }
    let two = Engine::replica(&fleet, "two", -FIVE);
    wait_replicas(&fleet, 2).await?;
    for name in &names {
        let mut ready = deployment(name, "web:1");
        ready["spec"]["template"]["metadata"]["annotations"] = json!({"note": "ready"});
        fleet.apply("hub", &ready).await?;
    }
    for name in &names {
        fleet.wait_run(name, 2, "running").await?;
        let there = fleet.get("m1", "apps/v1", "Deployment", name).await?.expect("there");
        // Each of the two revisions moves it, and the member's own note of each rollout (an annotation).
        let generation = there.pointer("/metadata/generation");
        assert_eq!(generation, Some(&json!(4)), "{name} was written with effect more than twice");
    }
    assert!(starts(&two) > 0, "the second got nothing");
    assert_eq!(all_runs(&fleet).await?.len(), 16, "the handover started runs");
    one.stop().await?;
    two.stop().await?;
    Ok(())
}

/// An upgrade: the new one comes, the old one ends in order. No gap as long as a lease, no new run, and nothing is sent
/// to members again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_leaves_no_gap_and_starts_no_run() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let old = Engine::replica(&fleet, "old", FIVE);
    let mut waiting = Vec::new();
    for index in 0..6 {
        let name = make(&fleet, index).await?;
        waiting.push(fleet.wait_phase(&name, "workflowSuspending").await?);
    }
    for app in waiting.iter().take(3) {
        fleet.approve(app).await?;
        fleet.wait_phase(&app.name_any(), "running").await?;
    }
    let new = Engine::replica(&fleet, "new", -FIVE);
    wait_replicas(&fleet, 2).await?;
    old.stop().await?;
    let stopped = Instant::now();
    wait_replicas(&fleet, 1).await?;
    assert!(
        stopped.elapsed() < Duration::from_secs(2),
        "released leases are waited for: {:?}",
        stopped.elapsed()
    );
    for app in waiting.iter().skip(3) {
        fleet.approve(app).await?;
        fleet.wait_phase(&app.name_any(), "running").await?;
    }
    assert_eq!(all_runs(&fleet).await?.len(), 6, "the upgrade started runs");
    let members = new.members.count();
    assert_eq!(
        members.sum(|kind| kind.starts_with("PATCH")),
        3,
        "what was delivered is sent again: {members:?}"
    );
    // Drift on what the old one delivered is the new one's.
    fleet.merge("m1", "v1", "ConfigMap", "app-0", &json!({"data": {"key": "by hand"}})).await?;
    let repaired =
        |object: Option<&serde_json::Value>| object.and_then(|o| o.pointer("/data/key")) == Some(&json!("1"));
    fleet.wait_object("m1", "v1", "ConfigMap", "app-0", repaired).await?;
    new.stop().await?;
    Ok(())
}

/// A replica whose requests hang in the network is taken over from; when they arrive after all, an older revision lands
/// on the member, is recognised and taken back, and its writes to the hub lose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_writes_of_a_stalled_replica_are_taken_back() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let one = Engine::replica(&fleet, "one", FIVE);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &config("other", "1")).await?;
    let manifest = app(&[("v1", "ConfigMap", "settings"), ("v1", "ConfigMap", "other")], &["m1"]);
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    // The second revision's applies hang on their way to the member; then so does everything.
    one.members.stall();
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run("web", 2, "runningWorkflow").await?;
    tokio::time::timeout(Duration::from_secs(30), one.members.until_held()).await?;
    one.hub.stall();
    let two = Engine::replica(&fleet, "two", -FIVE);
    fleet.wait_run("web", 2, "running").await?;
    fleet.apply("hub", &config("settings", "3")).await?;
    fleet.wait_run("web", 3, "running").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("3")));
    let before = all_runs(&fleet).await?.len();
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let mut watch = std::pin::pin!(kube::runtime::watcher::watch_object(
        fleet.resource("m1", &manifest).await?,
        "settings"
    ));
    let (mut late, mut values) = (false, Vec::new());
    // From now on every change is seen: a watch begins when it is first asked.
    watch.next().await.transpose()?;
    one.members.wake();
    one.hub.wake();
    let seen = async {
        while let Some(object) = watch.next().await {
            let key = object?.and_then(|o| o.data.pointer("/data/key").cloned());
            late |= key == Some(json!("2"));
            values.push(key.clone());
            if late && key == Some(json!("3")) {
                break;
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(30), seen)
        .await
        .map_err(|_| anyhow::anyhow!("seen: {values:?}"))??;
    wait_replicas(&fleet, 2).await?;
    assert_eq!(all_runs(&fleet).await?.len(), before, "late writes started a run");
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("3")));
    one.stop().await?;
    two.stop().await?;
    Ok(())
}

/// A replica whose creation of an object hangs in the network: meanwhile another delivers that object and collects it
/// again. When the creation arrives after all, the object doesn't stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_creation_of_what_was_collected_does_not_stay() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let one = Engine::replica(&fleet, "one", FIVE);
    for name in ["settings", "extra"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let small = app(&[("v1", "ConfigMap", "settings")], &["m1"]);
    fleet.apply("hub", &small).await?;
    fleet.wait_phase("web", "running").await?;
    one.members.stall_writes();
    fleet
        .apply("hub", &app(&[("v1", "ConfigMap", "settings"), ("v1", "ConfigMap", "extra")], &["m1"]))
        .await?;
    fleet.wait_run("web", 2, "runningWorkflow").await?;
    tokio::time::timeout(Duration::from_secs(30), one.members.until_held()).await?;
    one.hub.stall();
    let two = Engine::replica(&fleet, "two", -FIVE);
    fleet.wait_run("web", 2, "running").await?;
    fleet.apply("hub", &small).await?;
    fleet.wait_run("web", 3, "running").await?;
    assert_eq!(value(&fleet, "m1", "extra").await?, None);
    let mut watch = std::pin::pin!(kube::runtime::watcher::watch_object(
        fleet.resource("m1", &json!({"apiVersion": "v1", "kind": "ConfigMap"})).await?,
        "extra"
    ));
    watch.next().await.transpose()?;
    one.members.wake();
    one.hub.wake();
    let seen = async {
        let mut late = false;
        while let Some(object) = watch.next().await {
            let there = object?.is_some();
            if late && !there {
                return anyhow::Ok(());
            }
            late |= there;
        }
        anyhow::bail!("the watch ended")
    };
    tokio::time::timeout(Duration::from_secs(30), seen).await??;
    one.stop().await?;
    two.stop().await?;
    Ok(())
}

/// Both believe that they lead, at any time: what they write twice has one effect, gates hold, the end is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_know_nothing_of_each_other_come_to_the_same_end() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let clock_off_by = |by: SignedDuration| {
        let mut options = fleet.options();
        let right = std::sync::Arc::clone(&options.clock);
        options.clock = std::sync::Arc::new(move || right() + by);
        options
    };
    let one = Engine::with(&fleet, Meter::new(), Meter::new(), clock_off_by(FIVE));
    let two = Engine::with(&fleet, Meter::new(), Meter::new(), clock_off_by(-FIVE));
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut manifest =
        gated(&[("v1", "ConfigMap", "settings"), ("apps/v1", "Deployment", "web")], &["m1", "m2"]);
    manifest["spec"]["workflow"]["steps"][0]["properties"]["parallelism"] = json!(1);
    fleet.apply("hub", &manifest).await?;
    for round in 1..=4 {
        let waiting = fleet.wait_run("web", round, "workflowSuspending").await?;
        let wanted = (round > 1).then(|| json!((round - 1).to_string()));
        assert_eq!(value(&fleet, "m1", "settings").await?, wanted, "the gate was passed by");
        fleet.approve(&waiting).await?;
        fleet.wait_run("web", round, "running").await?;
        for member in ["m1", "m2"] {
            assert_eq!(value(&fleet, member, "settings").await?, Some(json!(round.to_string())));
        }
        fleet.apply("hub", &config("settings", &(round + 1).to_string())).await?;
    }
    fleet.wait_run("web", 5, "workflowSuspending").await?;
    let numbers: BTreeSet<i64> = all_runs(&fleet).await?.iter().map(|run| run.spec.number).collect();
    assert_eq!(numbers, (1..=5).collect(), "a run was started twice or not at all");
    for member in ["m1", "m2"] {
        let there = fleet.get(member, "apps/v1", "Deployment", "web").await?.expect("there");
        // One by the delivery, one by the member's own note of the rollout.
        let generation = there.pointer("/metadata/generation");
        assert_eq!(generation, Some(&json!(2)), "it was written with effect twice");
    }
    one.stop().await?;
    two.stop().await?;
    Ok(())
}

/// One that is alone has no Lease and asks for none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_alone_has_no_lease() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    make(&fleet, 0).await?;
    fleet.wait_phase("app-0", "workflowSuspending").await?;
    assert_eq!(engine.hub.count().sum(|kind| kind.contains("lease")), 0);
    engine.stop().await?;
    Ok(())
}
