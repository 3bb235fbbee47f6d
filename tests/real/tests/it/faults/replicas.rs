//! More than one replica of the controller.

use std::path::Path;

use anyhow::{Result, ensure};
use fleet_api::{Phase, Run, names};
use fleet_real::fleet::SYSTEM;
use fleet_real::gateway::{Gateway, Weather};
use fleet_real::{ClusterSpec, Fleet, Life, eventually};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};

use super::web;

/// Five minutes.
const AHEAD: i64 = 300;

fn shifted() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_shifted"))
}

async fn runs(fleet: &Fleet) -> Result<usize> {
    let api: Api<Run> = Api::namespaced(fleet.hub.client().await?, web::NAMESPACE);
    Ok(api.list(&ListParams::default()).await?.items.len())
}

/// Waits until so many replicas agree that so many are alive.
async fn agreed(fleet: &Fleet, count: usize) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(fleet.hub.client().await?, SYSTEM);
    eventually(&format!("{count} replicas agree"), || async {
        let leases = leases.list(&ListParams::default()).await?.items;
        let agree = leases.iter().all(|lease| {
            let view = lease.metadata.annotations.as_ref().and_then(|all| all.get(names::VIEW));
            let view: Option<serde_json::Value> = view.and_then(|view| serde_json::from_str(view).ok());
            let alive = view.as_ref().and_then(|view| view.get("alive")).and_then(|alive| alive.as_array());
            alive.is_some_and(|alive| alive.len() == count)
        });
        ensure!(agree && leases.len() == count, "{} leases", leases.len());
        Ok(())
    })
    .await
}

async fn at_the_gate(fleet: &Fleet, colour: &str) -> Result<()> {
    web::painted(fleet, "m2", colour).await?;
    let what = format!("at the gate with {colour} behind it");
    web::until_status(fleet, &what, |phase, _| phase == Phase::WorkflowSuspending).await?;
    Ok(())
}

/// Broken: a replica that slept past its Lease and believes that it still leads, whose clock is five minutes ahead
/// besides, undoes or repeats what its successor did, or its successor waits for a time that its own clock hasn't reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_believe_they_lead_five_minutes_apart_deliver_once() -> Result<()> {
    let members = ["m1", "m2"].map(|name| ClusterSpec::new(name, Life::Bare).audited());
    let fleet = Fleet::start(ClusterSpec::new("hub", Life::Bare), members).await?;
    let gateway = Gateway::before(&fleet, fleet.member("m2")?).await?;
    let mut early = fleet.replica("early", shifted(), AHEAD)?;
    web::paint(&fleet, "blue").await?;
    web::deploy_gated(&fleet, "m2", "m1").await?;
    at_the_gate(&fleet, "blue").await?;
    fleet.fleetctl("workflow resume web -n demo")?;
    web::running(&fleet).await?;

    // The first is refused, notes when it will try again, and is stopped in the middle of its next try.
    gateway.set(Weather::Failing);
    web::paint(&fleet, "green").await?;
    web::until_told(&fleet, &[("m2", "the weather is bad")]).await?;
    gateway.set(Weather::Keeping);
    gateway.met(1).await?;
    early.process().pause()?;
    gateway.set(Weather::Fair);
    let mut late = fleet.replica("late", shifted(), 0)?;
    at_the_gate(&fleet, "green").await?;
    ensure!(runs(&fleet).await? == 2, "the takeover started a run");
    web::painted(&fleet, "m1", "blue").await?;
    fleet.fleetctl("workflow resume web -n demo")?;
    web::painted(&fleet, "m1", "green").await?;
    web::running(&fleet).await?;

    // What the first had sent arrives after a newer revision, and is taken back; the gate beyond isn't concerned.
    web::paint(&fleet, "red").await?;
    at_the_gate(&fleet, "red").await?;
    let before = web::writes(&fleet, "m2")?;
    gateway.release().await;
    ensure!(web::writes(&fleet, "m2")? > before, "nothing arrived late");
    let back = eventually("m2 is red again", || async {
        let written = web::writes(&fleet, "m2")?;
        ensure!(written >= before + 2, "it isn't repaired");
        Ok(())
    });
    back.await?;
    web::painted(&fleet, "m2", "red").await?;

    // The first wakes up, sees that it doesn't lead any more, and takes its part again.
    early.process().resume()?;
    agreed(&fleet, 2).await?;
    let green = web::painted(&fleet, "m1", "green").await?;
    fleet.fleetctl("workflow resume web -n demo")?;
    let red = web::painted(&fleet, "m1", "red").await?;
    ensure!(red.metadata.uid == green.metadata.uid);
    web::running(&fleet).await?;
    ensure!(runs(&fleet).await? == 3, "a run was started twice");
    let writes = web::writes(&fleet, "m1")?;
    ensure!(writes == 3, "m1 was written {writes} times, for three revisions");
    for replica in [&mut early, &mut late] {
        replica.process().must_run()?;
        replica.stop().await?;
    }
    fleet.end();
    Ok(())
}
