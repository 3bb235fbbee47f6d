//! The control plane as helm installs it.

use anyhow::{Result, ensure};
use fleet_real::fleet::three_centres;
use fleet_real::{ClusterSpec, Fleet, Life};

use crate::scenario;

/// Broken: the chart lacks a definition, a right or an argument that the controller needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scenario_runs_under_the_installed_control_plane() -> Result<()> {
    let fleet = Fleet::clusters(ClusterSpec::new("hub", Life::Inert), three_centres()).await?;
    fleet.helm_install("")?;
    fleet.register_all().await?;
    let mut controller = fleet.installed_controller("controller").await?;
    scenario::walk(&fleet).await?;
    scenario::clear(&fleet).await?;
    let log = controller.log();
    let refused = log.lines().find(|line| line.contains("orbidden"));
    ensure!(refused.is_none(), "the chart's rights don't suffice: {refused:?}");
    controller.stop().await?;
    fleet.end();
    Ok(())
}
