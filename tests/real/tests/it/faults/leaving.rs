//! Members that somebody cordons, renames or takes away while something is being delivered to them.

use anyhow::{Result, ensure};
use fleet_api::Phase;
use fleet_real::gateway::{Gateway, Weather};
use fleet_real::{ClusterSpec, Fleet, Life};

use super::web;

/// Broken: a member that is cordoned, renamed or detached in the middle of its step ends the run, stays in its way, gets
/// something after it was held or let go, or lets the next step go before its gate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_cordoned_renamed_and_detached_in_the_middle_of_their_step() -> Result<()> {
    let members = ["m1", "m2", "m3", "m4"].map(|name| ClusterSpec::new(name, Life::Bare).audited());
    let fleet = Fleet::start(ClusterSpec::new("hub", Life::Bare), members).await?;
    let (second, third) = (fleet.member("m2")?, fleet.member("m3")?);
    let held = Gateway::before(&fleet, second).await?;
    let leaving = Gateway::before(&fleet, third).await?;
    let mut controller = web::controller(&fleet)?;
    // What is under way there is the delivery itself, not the namespace before it.
    for member in &fleet.members {
        fleet.namespace(member, web::NAMESPACE).await?;
    }
    held.set(Weather::Crowded);
    leaving.set(Weather::Crowded);
    web::paint(&fleet, "blue").await?;
    web::deploy_gated(&fleet, "m1, m2, m3", "m4").await?;
    web::painted(&fleet, "m1", "blue").await?;
    held.met(1).await?;
    leaving.met(1).await?;

    // Inventories and runs name members: a name that is in use stays.
    let renamed = fleet.try_shell("fleetctl cluster rename m2 other")?;
    let why = String::from_utf8_lossy(&renamed.stderr).into_owned();
    ensure!(renamed.status.code() == Some(4) && why.contains("cluster alias m2"), "{why}");
    fleet.fleetctl("cluster cordon m2 --reason 'disks are swapped'")?;
    fleet.fleetctl("cluster detach m3 --keep-objects")?;
    for gateway in [&held, &leaving] {
        gateway.set(Weather::Fair);
    }
    let app = web::until_told(&fleet, &[("m2", "disks are swapped"), ("m3", "left the fleet")]).await?;
    ensure!(
        app.status.as_ref().map(|status| status.status) == Some(Phase::RunningWorkflow),
        "the gate was reached"
    );
    ensure!(web::told(&app, "m2").is_some_and(|(_, why)| why.contains("fleetctl cluster uncordon m2")));
    ensure!(web::writes(&fleet, "m2")? == 0, "m2 got something although it is cordoned");

    fleet.fleetctl("cluster uncordon m2")?;
    web::painted(&fleet, "m2", "blue").await?;
    web::until_status(&fleet, "at its gate", |phase, _| phase == Phase::WorkflowSuspending).await?;
    ensure!(web::settings(&fleet, "m4").await?.is_none(), "m4 has it and nobody approved");
    fleet.fleetctl("workflow resume web -n demo")?;
    web::running(&fleet).await?;
    web::painted(&fleet, "m4", "blue").await?;
    ensure!(web::settings(&fleet, "m3").await?.is_none(), "m3 got something after it had left");
    for member in ["m1", "m2", "m4"] {
        let writes = web::writes(&fleet, member)?;
        ensure!(writes == 1, "{member} was written {writes} times");
    }
    controller.stop().await?;
    fleet.end();
    Ok(())
}
