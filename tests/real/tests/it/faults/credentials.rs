//! Credentials that hold no longer.

use anyhow::{Result, ensure};
use fleet_api::Phase;
use fleet_real::fleet::{SYSTEM, credentials};
use fleet_real::kubeconfig::User;
use fleet_real::{ClusterSpec, Fleet, Life};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};

use super::web;

/// Broken: a certificate that has expired is taken for a dead member, isn't told with the way out, or the new one is
/// used after a restart only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_told_and_rotated() -> Result<()> {
    let members = ["m1", "m2"].map(|name| ClusterSpec::new(name, Life::Bare).audited());
    let fleet = Fleet::start(ClusterSpec::new("hub", Life::Bare), members).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1, m2").await?;
    let before = web::running(&fleet).await?;
    let member = fleet.member("m2")?;
    let expired = member.pki()?.expired_client(Fleet::CONTROLLER, &["system:masters"])?;
    let secret = credentials("m2", &member.kubeconfig_as(&User::Certificate(expired)))?;
    let secrets: Api<Secret> = Api::namespaced(fleet.hub.client().await?, SYSTEM);
    secrets.patch("m2", &PatchParams::apply("fleet-real").force(), &Patch::Apply(&secret)).await?;
    web::paint(&fleet, "green").await?;
    web::painted(&fleet, "m1", "green").await?;
    let app = web::until_told(&fleet, &[("m2", "fleetctl cluster rotate m2")]).await?;
    let phase = app.status.as_ref().map(|status| status.status);
    ensure!(phase == Some(Phase::RunningWorkflow), "{phase:?}");
    web::painted(&fleet, "m2", "blue").await?;

    // What is advised is tried, and says what it needs for a member whose account nobody made.
    let asked = fleet.try_shell("fleetctl cluster rotate m2")?;
    let advice = String::from_utf8_lossy(&asked.stderr).into_owned();
    ensure!(
        asked.status.code() == Some(4) && advice.contains("rotate m2 KUBECONFIG --keep-credentials"),
        "{advice}"
    );
    let path = member.kubeconfig_path().display();
    let said = fleet.fleetctl(&format!("cluster rotate m2 {path} --keep-credentials"))?;
    ensure!(said.contains("has new credentials"), "{said}");
    web::running_after(&fleet, &before).await?;
    web::painted(&fleet, "m2", "green").await?;
    controller.process().must_run()?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Broken: a member that was rebuilt, whose account went with it, gets something unasked, or can't be taken back with one
/// command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_rebuilt_is_rejoined_with_a_new_account() -> Result<()> {
    let member = ClusterSpec::new("m1", Life::Inert).own_etcd();
    let mut fleet = Fleet::clusters(ClusterSpec::new("hub", Life::Inert), [member]).await?;
    fleet.install_kinds().await?;
    let path = fleet.member("m1")?.kubeconfig_path().display().to_string();
    fleet_real::eventually("joined", || async { fleet.fleetctl(&format!("cluster join {path}")).map(drop) })
        .await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1").await?;
    let before = web::running(&fleet).await?;
    fleet.member_mut("m1")?.restore(None).await?;
    web::paint(&fleet, "green").await?;
    // Its account is gone, so nobody can tell yet which cluster it is.
    web::until_told(&fleet, &[("m1", "fleetctl cluster rotate m1")]).await?;
    let asked = fleet.try_shell(&format!("fleetctl cluster rotate m1 {path}"))?;
    let advice = String::from_utf8_lossy(&asked.stderr).into_owned();
    ensure!(asked.status.code() == Some(4) && advice.contains("cluster rejoin m1"), "{advice}");
    ensure!(web::settings(&fleet, "m1").await?.is_none(), "a cluster that nobody knows got something");

    fleet.fleetctl(&format!("cluster rejoin m1 {path} --yes"))?;
    web::running_after(&fleet, &before).await?;
    web::painted(&fleet, "m1", "green").await?;
    let probed = fleet.fleetctl("cluster probe m1")?;
    ensure!(probed.contains("the one that joined"), "{probed}");
    // It is followed again.
    web::repaint(&fleet, "m1", "red").await?;
    web::painted(&fleet, "m1", "green").await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}
