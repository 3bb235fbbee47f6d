//! Requests are counted: design section 7.

use fleet_testkit::{Engine, Fleet, Meter};
use serde_json::json;

use crate::small::{app, config, deployment};

/// One application of 3 objects to 3 members, one step: first delivery, a second revision, and rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_per_object_and_per_step_stay_within_the_budget() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    // Progress is shown at most once a second, which on a slow machine adds a write; here only transitions count.
    let mut options = fleet.options();
    options.progress_interval = jiff::SignedDuration::from_mins(10);
    let metrics = options.metrics.clone();
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    for name in ["settings", "other"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    // A first application makes the namespace and starts the watches that all share.
    let mut first = app(&[("v1", "ConfigMap", "other")], &["m1", "m2", "m3"]);
    first["metadata"]["name"] = json!("first");
    fleet.apply("hub", &config("another", "1")).await?;
    fleet.apply("hub", &first).await?;
    fleet.wait_phase("first", "running").await?;

    engine.hub.reset();
    engine.members.reset();
    let before = turns(&metrics)?;
    let began = tokio::time::Instant::now();
    let objects =
        [("apps/v1", "Deployment", "web"), ("v1", "ConfigMap", "settings"), ("v1", "ConfigMap", "another")];
    fleet.apply("hub", &app(&objects, &["m1", "m2", "m3"])).await?;
    fleet.wait_run("web", 1, "running").await?;
    crate::record::recorded(&fleet, "web", "RunEnded", 1).await?;
    let (hub, members) = (engine.hub.count(), engine.members.count());
    let delivered = 9;
    let applies = members.sum(|kind| kind.starts_with("PATCH"));
    let reads = members.sum(|kind| kind.starts_with("GET"));
    assert_eq!((applies, reads), (delivered, delivered), "one apply and one metadata read each: {members:?}");
    // Beside the budget of 5: the finalizer, and the one read of a tracker, at the first sight of an Application.
    let once = hub.sum(|kind| kind == "PATCH applications" || kind == "GET resourcetrackers");
    assert!(hub.requests() - once <= 5, "hub: {hub:?}");
    // A turn for each answer and each event of nine objects would be some thirty. Where what happens is further apart than
    // it is gathered for, there are more.
    let taken = turns(&metrics)? - before;
    let gathered = u64::try_from(began.elapsed().as_millis() / 20)?;
    assert!(taken <= gathered.clamp(16, 24), "{taken} turns for one run");

    engine.hub.reset();
    engine.members.reset();
    fleet.apply("hub", &deployment("web", "web:2")).await?;
    fleet.wait_run("web", 2, "running").await?;
    crate::record::recorded(&fleet, "web", "RunEnded", 2).await?;
    let (hub, members) = (engine.hub.count(), engine.members.count());
    assert_eq!(members.requests(), 3, "only what changed is sent: {members:?}");
    assert!(hub.requests() <= 5, "hub: {hub:?}");
    let recorded = hub.sum(|kind| kind.ends_with(" auditlogs"));
    assert_eq!(recorded, 1, "what happened goes on record in one request: {hub:?}");
    engine.stop().await?;
    Ok(())
}

/// How many turns were taken so far.
fn turns(metrics: &fleet_controller::Metrics) -> anyhow::Result<u64> {
    let text = metrics.encode()?;
    let line = text.lines().find_map(|line| line.strip_prefix("fleetctl_turns_total{outcome=\"done\"} "));
    Ok(line.unwrap_or("0").trim().parse()?)
}
