//! Members whose API servers are slow, overloaded, broken inside, or lose what they should have said.

use std::time::Duration;

use anyhow::{Result, ensure};
use fleet_api::Phase;
use fleet_real::gateway::{Gateway, Weather};
use fleet_real::{ClusterSpec, Fleet, Life};
use tokio::time::Instant;

use super::web;

/// Broken: a member that is slow, pushes back or loses answers holds up the others, is given up, or gets
/// something twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_in_bad_weather_are_waited_for_alone() -> Result<()> {
    let names = ["m1", "m2", "m3", "m4", "m5"];
    let members = names.map(|name| ClusterSpec::new(name, Life::Bare).audited());
    let fleet = Fleet::start(ClusterSpec::new("hub", Life::Bare), members).await?;
    let slow = Gateway::before(&fleet, fleet.member("m2")?).await?;
    let crowded = Gateway::before(&fleet, fleet.member("m3")?).await?;
    let failing = Gateway::before(&fleet, fleet.member("m4")?).await?;
    let mute = Gateway::before(&fleet, fleet.member("m5")?).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1, m2, m3, m4, m5").await?;
    let before = web::running(&fleet).await?;
    slow.set(Weather::Slow(Duration::from_millis(700)));
    crowded.set(Weather::Crowded);
    failing.set(Weather::Failing);
    mute.set(Weather::Mute);
    web::paint(&fleet, "green").await?;
    web::painted(&fleet, "m1", "green").await?;
    web::painted(&fleet, "m2", "green").await?;
    let waiting = [("m3", "Too many requests"), ("m4", "the weather is bad")];
    let app = web::until_told(&fleet, &waiting).await?;
    let phase = app.status.as_ref().map(|status| status.status);
    ensure!(phase == Some(Phase::RunningWorkflow), "{phase:?}");
    // What m5 doesn't answer it has done all the same: that is seen, or it is asked again, to no effect.
    mute.met(1).await?;
    let landed = web::painted(&fleet, "m5", "green").await?;

    for gateway in [&slow, &crowded, &failing, &mute] {
        gateway.set(Weather::Fair);
    }
    web::running_after(&fleet, &before).await?;
    for member in names {
        web::painted(&fleet, member, "green").await?;
    }
    for member in ["m1", "m2", "m3", "m4"] {
        let writes = web::writes(&fleet, member)?;
        ensure!(writes == 2, "{member} was written {writes} times, for two revisions");
    }
    let now = web::painted(&fleet, "m5", "green").await?;
    ensure!(now.metadata.resource_version == landed.metadata.resource_version, "m5 got it twice with effect");
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Broken: a watch that stays open and tells nothing any more leaves us blind for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_falls_silent_is_begun_anew() -> Result<()> {
    let fleet = Fleet::small(1).await?;
    let gateway = Gateway::before(&fleet, fleet.member("m1")?).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1").await?;
    web::running(&fleet).await?;
    // It is watched: an edit is taken back.
    web::repaint(&fleet, "m1", "red").await?;
    web::painted(&fleet, "m1", "blue").await?;
    gateway.silence();
    let silent = Instant::now();
    web::repaint(&fleet, "m1", "red").await?;
    web::painted(&fleet, "m1", "blue").await?;
    // Two minutes after the last word; sooner, and nothing was silent.
    let after = silent.elapsed();
    ensure!(after > Duration::from_secs(60), "it was seen after {after:?}");
    // And seen at once from then on.
    let heard = Instant::now();
    web::repaint(&fleet, "m1", "red").await?;
    web::painted(&fleet, "m1", "blue").await?;
    ensure!(heard.elapsed() < Duration::from_secs(30), "the new watch is silent, too");
    controller.stop().await?;
    fleet.end();
    Ok(())
}
