//! The hub's API server and its etcd.

use anyhow::{Context as _, Result, ensure};
use fleet_api::Phase;
use fleet_real::{ClusterSpec, Fleet, Life};

use super::web;

/// An application on m1 whose delivery to m2 is under way and can't end.
async fn in_the_middle(fleet: &Fleet) -> Result<Option<String>> {
    fleet.member("m2")?.pause()?;
    web::paint(fleet, "blue").await?;
    web::deploy(fleet, "m1, m2").await?;
    let first = web::painted(fleet, "m1", "blue").await?;
    let app = web::until_status(fleet, "waiting for m2", |phase, text| {
        phase == Phase::RunningWorkflow && text.contains("Unreachable")
    });
    app.await?;
    Ok(first.metadata.resource_version)
}

async fn goes_on(fleet: &Fleet, first: Option<String>) -> Result<()> {
    fleet.member("m2")?.resume()?;
    web::running(fleet).await?;
    web::painted(fleet, "m2", "blue").await?;
    let now = web::settings(fleet, "m1").await?.context("it is there")?.metadata.resource_version;
    ensure!(now == first, "m1 got it twice: version {first:?} became {now:?}");
    Ok(())
}

/// Broken: a restart of the hub's API server in the middle of a step ends the controller, the run, or delivers again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_restarts_in_the_middle_of_a_step() -> Result<()> {
    let mut fleet = Fleet::small(2).await?;
    let mut controller = web::controller(&fleet)?;
    let first = in_the_middle(&fleet).await?;
    fleet.hub.restart().await?;
    goes_on(&fleet, first).await?;
    controller.process().must_run()?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Broken: losing the hub's etcd for a while ends the controller, loses the run, or delivers what isn't on record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hubs_etcd_is_lost_and_comes_back() -> Result<()> {
    let hub = ClusterSpec::new("hub", Life::Bare).own_etcd();
    let fleet = Fleet::start(hub, ["m1", "m2"].map(|name| ClusterSpec::new(name, Life::Bare))).await?;
    let mut controller = web::controller(&fleet)?;
    let first = in_the_middle(&fleet).await?;
    let etcd = fleet.hub.etcd()?;
    etcd.lock().await.kill();
    // While nothing can be written down, m2 is there again.
    fleet.member("m2")?.resume()?;
    let silent = fleet.try_shell("kubectl get app web -n demo --request-timeout=3s")?;
    ensure!(!silent.status.success(), "the hub still answers");
    etcd.lock().await.restart().await?;
    goes_on(&fleet, first).await?;
    controller.process().must_run()?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}
