//! Objects on members in states that nobody meant.

use anyhow::{Context as _, Result, ensure};
use fleet_api::Phase;
use fleet_real::{ClusterSpec, Fleet, Life, until};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::web;

/// Broken: a namespace that can't finish its deletion ends the run, holds up other members, or is never filled again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_stuck_in_deletion_is_told_and_waited_for() -> Result<()> {
    let members = [ClusterSpec::new("m1", Life::Bare), ClusterSpec::new("m2", Life::Inert)];
    let fleet = Fleet::start(ClusterSpec::new("hub", Life::Bare), members).await?;
    let member = fleet.member("m2")?;
    fleet.namespace(member, web::NAMESPACE).await?;
    let stuck = r#"{"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "stuck", "namespace": "demo", "finalizers": ["house.example/never"]}}"#;
    fleet.apply(member, stuck).await?;
    let namespaces: Api<Namespace> = Api::all(member.client().await?);
    namespaces.delete(web::NAMESPACE, &DeleteParams::default()).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1, m2").await?;
    web::painted(&fleet, "m1", "blue").await?;
    let waiting = web::until_status(&fleet, "waiting for the namespace", |phase, text| {
        phase == Phase::RunningWorkflow && text.contains("m2") && text.contains("terminat")
    });
    waiting.await?;
    let release = json!({ "metadata": { "finalizers": null } });
    let objects: Api<ConfigMap> = Api::namespaced(member.client().await?, web::NAMESPACE);
    objects.patch("stuck", &PatchParams::default(), &Patch::Merge(&release)).await?;
    web::running(&fleet).await?;
    web::painted(&fleet, "m2", "blue").await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Broken: an object whose managedFields were cleared is lost to us: fields that go on the hub stay on the member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_without_managed_fields_stays_ours() -> Result<()> {
    let fleet = Fleet::small(1).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue, shape: round").await?;
    web::deploy(&fleet, "m1").await?;
    let before = web::running(&fleet).await?;
    let api: Api<ConfigMap> = Api::namespaced(fleet.member("m1")?.client().await?, web::NAMESPACE);
    let cleared = json!({ "metadata": { "managedFields": [{}] } });
    api.patch("web", &PatchParams::default(), &Patch::Merge(&cleared)).await?;
    until(api.clone(), "web", "ours again", |object| {
        let entries = object.and_then(|object| object.metadata.managed_fields.as_ref());
        entries.is_some_and(|entries| {
            entries
                .iter()
                .any(|entry| entry.manager.as_deref().is_some_and(|name| name.starts_with("fleetctl:")))
        })
    })
    .await?;
    // A key that goes on the hub goes on the member too.
    web::paint(&fleet, "green").await?;
    web::running_after(&fleet, &before).await?;
    let now = web::painted(&fleet, "m1", "green").await?.data.context("data")?;
    ensure!(!now.contains_key("shape"), "what was taken away stays: {now:?}");
    let phase = web::running(&fleet).await?.status.map(|status| status.status);
    ensure!(phase == Some(Phase::Running));
    controller.stop().await?;
    fleet.end();
    Ok(())
}
