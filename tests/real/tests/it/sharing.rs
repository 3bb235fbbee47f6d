//! What belongs to somebody else, on real API servers: only read, or shared.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use fleet_api::{Application, Phase, names};
use fleet_real::{Cluster, Fleet, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt as _};

const SHARED: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: shared}, data: {from: NAME}}";
const WEB: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: shared}, spec: {replicas: 0, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: 'nginx:1.27'}]}}}}";
const READ: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs}, data: {from: hub}}";

fn application(name: &str, objects: &[&str]) -> String {
    let objects = objects.join(", ").replace("NAME", name);
    format!(
        "
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {{name: {name}, namespace: demo}}
spec:
  components:
    - {{name: main, type: k8s-objects, properties: {{objects: [{objects}]}}}}
  policies:
    - {{name: where, type: topology, properties: {{clusters: [m1]}}}}
    - {{name: shares, type: shared-resource, properties: {{rules: [{{selector: {{resourceNames: [shared]}}}}]}}}}
    - {{name: reads, type: read-only, properties: {{rules: [{{selector: {{resourceNames: [theirs]}}}}]}}}}
"
    )
}

async fn applications(fleet: &Fleet) -> Result<Api<Application>> {
    Ok(Api::namespaced(fleet.hub.client().await?, "demo"))
}

async fn wait_for(
    fleet: &Fleet,
    name: &str,
    what: &str,
    wanted: impl Fn(&fleet_api::ApplicationStatus) -> bool,
) -> Result<()> {
    let is = |app: Option<&Application>| app.and_then(|app| app.status.as_ref()).is_some_and(&wanted);
    until(applications(fleet).await?, name, what, is).await?;
    Ok(())
}

async fn running(fleet: &Fleet, name: &str) -> Result<()> {
    wait_for(fleet, name, "running", |status| status.status == Phase::Running).await
}

async fn delete(fleet: &Fleet, name: &str) -> Result<()> {
    let api = applications(fleet).await?;
    api.delete(name, &DeleteParams::default()).await?;
    let gone = |app: Option<&Application>| app.is_none();
    tokio::time::timeout(std::time::Duration::from_secs(60), await_condition(api, name, gone))
        .await
        .context("not deleted in time")??;
    Ok(())
}

fn sharers(labels: &BTreeMap<String, String>) -> Vec<&str> {
    let mut all: Vec<&str> = labels
        .iter()
        .filter(|(label, _)| names::sharer(label).is_some())
        .map(|(_, name)| name.as_str())
        .collect();
    all.sort_unstable();
    all
}

async fn config_maps(member: &Cluster) -> Result<Api<ConfigMap>> {
    Ok(Api::namespaced(member.client().await?, "demo"))
}

async fn wait_shared(member: &Cluster, from: &str, all: &[&str]) -> Result<ConfigMap> {
    let is = |map: Option<&ConfigMap>| {
        map.is_some_and(|map| {
            sharers(map.labels()) == all
                && map.data.as_ref().and_then(|data| data.get("from")).is_some_and(|value| value == from)
        })
    };
    until(config_maps(member).await?, "shared", &format!("{from}'s, shared by {all:?}"), is)
        .await?
        .context("gone")
}

/// Broken: what several Applications share is deleted or made anew when one of them goes, or stays when all have gone; or
/// a Deployment's generation moves because somebody shares it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shared_is_passed_on() -> Result<()> {
    let fleet = Fleet::small(1).await?;
    let member = fleet.member("m1")?;
    for cluster in [&fleet.hub, member] {
        fleet.namespace(cluster, "demo").await?;
    }
    let mut controller = fleet.controller()?;
    fleet.apply(&fleet.hub, &application("a", &[SHARED])).await?;
    running(&fleet, "a").await?;
    let first = wait_shared(member, "a", &["demo.a"]).await?;
    fleet.apply(&fleet.hub, &application("b", &[SHARED])).await?;
    running(&fleet, "b").await?;
    wait_shared(member, "a", &["demo.a", "demo.b"]).await?;
    delete(&fleet, "a").await?;
    let passed = wait_shared(member, "b", &["demo.b"]).await?;
    ensure!(passed.uid() == first.uid(), "it was made anew");
    delete(&fleet, "b").await?;
    ensure!(config_maps(member).await?.get_opt("shared").await?.is_none(), "nobody shares it, and it stays");

    // No controller runs Deployments there, so these are never done; what counts is what stands on them.
    for name in ["c", "d"] {
        fleet.apply(&fleet.hub, &application(name, &[WEB])).await?;
    }
    let client: Client = member.client().await?;
    let web: Api<Deployment> = Api::namespaced(client, "demo");
    let both =
        |web: Option<&Deployment>| web.is_some_and(|web| sharers(web.labels()) == ["demo.c", "demo.d"]);
    let shared = until(web.clone(), "shared", "shared by both", both).await?.context("gone")?;
    ensure!(shared.metadata.generation == Some(1), "its generation moved: {:?}", shared.metadata.generation);
    delete(&fleet, "c").await?;
    let one = |web: Option<&Deployment>| {
        web.is_some_and(|web| {
            sharers(web.labels()) == ["demo.d"] && web.labels().contains_key(names::CONTENT)
        })
    };
    let left = until(web.clone(), "shared", "the other's", one).await?.context("gone")?;
    ensure!(
        left.uid() == shared.uid() && left.metadata.generation == Some(1),
        "restarted: {:?}",
        left.metadata.generation
    );
    delete(&fleet, "d").await?;
    ensure!(web.get_opt("shared").await?.is_none(), "nobody shares it, and it stays");
    ensure!(controller.stop().await?.is_some_and(|status| status.success()), "{}", controller.log());
    fleet.end();
    Ok(())
}

/// Broken: an object that an Application only reads is written or deleted, or its coming isn't noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_only_is_waited_for() -> Result<()> {
    let fleet = Fleet::small(1).await?;
    let member = fleet.member("m1")?;
    for cluster in [&fleet.hub, member] {
        fleet.namespace(cluster, "demo").await?;
    }
    let mut controller = fleet.controller()?;
    fleet.apply(&fleet.hub, &application("a", &[READ])).await?;
    let missing = |status: &fleet_api::ApplicationStatus| {
        let targets = status.workflow.iter().flat_map(|w| &w.steps).flat_map(|step| &step.targets);
        targets.into_iter().any(|target| target.reason == "ReadOnlyMissing")
    };
    wait_for(&fleet, "a", "waiting for what it reads", missing).await?;
    fleet.apply(member, "{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs, namespace: demo}, data: {from: member}}").await?;
    running(&fleet, "a").await?;
    let maps = config_maps(member).await?;
    let before = maps.get("theirs").await?;
    delete(&fleet, "a").await?;
    ensure!(maps.get("theirs").await? == before, "it was touched");
    ensure!(controller.stop().await?.is_some_and(|status| status.success()), "{}", controller.log());
    fleet.end();
    Ok(())
}
