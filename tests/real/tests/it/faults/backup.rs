//! Clusters that were set back, or made anew.

use anyhow::{Context as _, Result, ensure};
use fleet_api::{Phase, names};
use fleet_real::{ClusterSpec, Controller, Fleet, Life};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::web;

fn own_etcd(name: &str) -> ClusterSpec {
    ClusterSpec::new(name, Life::Bare).own_etcd()
}

/// Broken: a member that was restored from an older backup, whose resource versions so go backwards, keeps the older
/// content or is watched in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_from_an_older_backup_gets_what_it_lacks() -> Result<()> {
    let hub = ClusterSpec::new("hub", Life::Bare);
    let mut fleet = Fleet::start(hub, [own_etcd("m1")]).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1").await?;
    let before = web::running(&fleet).await?;
    let copy = fleet.member_mut("m1")?.back_up("older").await?;
    web::paint(&fleet, "green").await?;
    web::running_after(&fleet, &before).await?;
    web::painted(&fleet, "m1", "green").await?;
    // Leaves versions behind that the restored one doesn't reach soon.
    for number in 0..50 {
        let note = json!({ "metadata": { "annotations": { "note": number.to_string() } } });
        let api: Api<Namespace> = Api::all(fleet.member("m1")?.client().await?);
        api.patch("default", &PatchParams::default(), &Patch::Merge(&note)).await?;
    }
    fleet.member_mut("m1")?.restore(Some(&copy)).await?;
    web::painted(&fleet, "m1", "green").await?;

    // And it is followed again.
    let api: Api<ConfigMap> = Api::namespaced(fleet.member("m1")?.client().await?, web::NAMESPACE);
    let red = json!({ "data": { "colour": "red" } });
    api.patch("web", &PatchParams::default(), &Patch::Merge(&red)).await?;
    web::painted(&fleet, "m1", "green").await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Broken: another cluster under a member's address is taken for the member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_made_anew_gets_nothing_until_it_is_rejoined() -> Result<()> {
    let hub = ClusterSpec::new("hub", Life::Bare);
    let mut fleet = Fleet::start(hub, [own_etcd("m1"), ClusterSpec::new("m2", Life::Bare)]).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1, m2").await?;
    let before = web::running(&fleet).await?;
    fleet.member_mut("m1")?.restore(None).await?;
    web::paint(&fleet, "green").await?;
    web::painted(&fleet, "m2", "green").await?;
    let waiting = web::until_status(&fleet, "said to be another cluster", |_, text| text.contains("rejoin"));
    waiting.await?;
    ensure!(web::settings(&fleet, "m1").await?.is_none(), "a cluster that nobody knows got something");
    fleet.fleetctl("cluster rejoin m1 --yes")?;
    web::running_after(&fleet, &before).await?;
    web::painted(&fleet, "m1", "green").await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Broken: a hub that was restored to a time before the last revision takes the newer one back from members without
/// being told to, or loses what it owns there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_one_revision_behind_deletes_nothing() -> Result<()> {
    let mut fleet = Fleet::start(own_etcd("hub"), [ClusterSpec::new("m1", Life::Bare)]).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1").await?;
    let before = web::running(&fleet).await?;
    controller.stop().await?;
    let copy = fleet.hub.back_up("behind").await?;
    controller.start_again()?;
    web::paint(&fleet, "green").await?;
    web::running_after(&fleet, &before).await?;
    let uid = web::painted(&fleet, "m1", "green").await?.metadata.uid;
    controller.kill();
    fleet.hub.restore(Some(&copy)).await?;
    controller.start_again()?;
    // The hub is the truth: it says blue. What is on the member is the same object throughout.
    let now = web::painted(&fleet, "m1", "blue").await?;
    ensure!(now.metadata.uid == uid, "the object was made anew");
    web::paint(&fleet, "green").await?;
    web::painted(&fleet, "m1", "green").await?;
    web::running(&fleet).await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// A hub that delivered, was lost, and is set up again from its manifests; its controller isn't started yet. Also what
/// is on the member, and the identity that the hub had.
async fn made_anew() -> Result<(Fleet, Controller, ConfigMap, String)> {
    let mut fleet = Fleet::start(own_etcd("hub"), [ClusterSpec::new("m1", Life::Bare)]).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue, shape: round").await?;
    web::deploy(&fleet, "m1").await?;
    web::running(&fleet).await?;
    let there = web::settings(&fleet, "m1").await?.context("delivered")?;
    let identity = fleet_real::fleet::uid(&fleet.hub).await?;
    controller.kill();
    fleet.hub.restore(None).await?;
    fleet.install_kinds().await?;
    fleet.register_all().await?;
    web::paint(&fleet, "blue, shape: round").await?;
    web::deploy(&fleet, "m1").await?;
    Ok((fleet, controller, there, identity))
}

/// Broken: a hub that is set up again from its manifests, its identity among them, deletes or restarts what it has
/// forgotten, or doesn't own it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_made_anew_with_its_identity_owns_what_it_delivered() -> Result<()> {
    let (fleet, mut controller, there, identity) = made_anew().await?;
    fleet.kubectl(&format!("annotate namespace kube-system {}={identity}", names::HUB_ID))?;
    controller.start_again()?;
    let before = web::running(&fleet).await?;
    let now = web::settings(&fleet, "m1").await?.context("still there")?;
    // The same version: it wasn't even written to.
    ensure!(now.metadata.resource_version == there.metadata.resource_version, "it was touched");
    // It is owned: a change arrives, and a key that goes on the hub goes on the member.
    web::paint(&fleet, "green").await?;
    web::running_after(&fleet, &before).await?;
    let now = web::painted(&fleet, "m1", "green").await?;
    ensure!(now.metadata.uid == there.metadata.uid, "it was made anew");
    ensure!(!now.data.unwrap_or_default().contains_key("shape"), "what was taken away stays");
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Broken: a hub takes over what another hub delivered under the same name, or doesn't say what to do about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_of_another_identity_touches_nothing_and_is_told() -> Result<()> {
    let (fleet, mut controller, there, _) = made_anew().await?;
    controller.start_again()?;
    let refused = web::until_status(&fleet, "refused", |phase, text| {
        phase == Phase::WorkflowFailed && text.contains("of another hub") && text.contains(names::HUB_ID)
    });
    refused.await?;
    let now = web::settings(&fleet, "m1").await?.context("still there")?;
    ensure!(now.metadata.resource_version == there.metadata.resource_version, "it was touched");
    controller.stop().await?;
    fleet.end();
    Ok(())
}
