//! The control plane as helm installs it.

use anyhow::{Result, ensure};
use fleet_real::fleet::three_centres;
use fleet_real::{Cluster, ClusterSpec, Fleet, Life};

use crate::scenario;

/// Broken: the chart lacks a definition, a right or an argument that the controller needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scenario_runs_under_the_installed_control_plane() -> Result<()> {
    let fleet = Fleet::clusters(ClusterSpec::new("hub", Life::Inert).audited(), three_centres()).await?;
    fleet.helm_install("")?;
    fleet.register_all().await?;
    let mut controller = fleet.installed_controller("controller").await?;
    scenario::walk(&fleet).await?;
    scenario::clear(&fleet).await?;
    nothing_refused(&fleet.hub)?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Sees that the hub answered each request of the chart's account, and refused none.
fn nothing_refused(hub: &Cluster) -> Result<()> {
    let requests = hub.audit()?;
    let account = "system:serviceaccount:fleetctl-system:fleetctl-controller";
    let of_it: Vec<_> = requests.iter().filter(|request| request.user == account).collect();
    ensure!(of_it.len() > 20, "only {} requests on record", of_it.len());
    let refused = of_it.iter().find(|request| request.code == 403);
    ensure!(refused.is_none(), "the chart's rights don't suffice: {refused:?}");
    Ok(())
}
