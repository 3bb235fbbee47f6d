//! Members that don't answer.

use anyhow::{Result, ensure};
use fleet_api::Phase;
use fleet_real::Fleet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::web;

/// Broken: an API server that hangs with open connections holds up the others, counts as a failure or as unhealthy, or
/// is never asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hangs_delays_only_itself() -> Result<()> {
    let fleet = Fleet::small(2).await?;
    let mut controller = web::controller(&fleet)?;
    fleet.member("m2")?.pause()?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1, m2").await?;
    web::painted(&fleet, "m1", "blue").await?;
    // It is told which one is waited for, and nothing is called failed.
    let app = web::until_status(&fleet, "waiting for m2", |phase, text| {
        phase == Phase::RunningWorkflow && text.contains("Unreachable") && text.contains("m2")
    });
    app.await?;
    fleet.member("m2")?.resume()?;
    let before = web::running(&fleet).await?;
    web::painted(&fleet, "m2", "blue").await?;

    // Hanging while all is done makes nothing unhealthy; a change goes where it can.
    fleet.member("m2")?.pause()?;
    web::paint(&fleet, "green").await?;
    web::painted(&fleet, "m1", "green").await?;
    let app = web::until_status(&fleet, "waiting for m2", |phase, text| {
        phase == Phase::RunningWorkflow && text.contains("Unreachable")
    });
    let app = app.await?;
    let healthy = app.status.map(|status| status.services.iter().all(|service| service.healthy));
    ensure!(healthy == Some(true), "an unreachable member is shown as unhealthy");
    fleet.member("m2")?.resume()?;
    web::running_after(&fleet, &before).await?;
    web::painted(&fleet, "m2", "green").await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Broken: a member whose API server crashed is given up, or what changed there meanwhile is never seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_killed_catches_up() -> Result<()> {
    let mut fleet = Fleet::small(2).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1, m2").await?;
    let before = web::running(&fleet).await?;
    fleet.member_mut("m2")?.kill()?;
    web::paint(&fleet, "green").await?;
    web::painted(&fleet, "m1", "green").await?;
    let app = web::until_status(&fleet, "waiting for m2", |phase, text| {
        phase == Phase::RunningWorkflow && text.contains("m2")
    });
    app.await?;
    fleet.member_mut("m2")?.restart().await?;
    web::running_after(&fleet, &before).await?;
    web::painted(&fleet, "m2", "green").await?;

    // Its watches are back as well: drift is repaired.
    let api: Api<ConfigMap> = Api::namespaced(fleet.member("m2")?.client().await?, web::NAMESPACE);
    let red = json!({ "data": { "colour": "red" } });
    api.patch("web", &PatchParams::default(), &Patch::Merge(&red)).await?;
    web::painted(&fleet, "m2", "green").await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}
