//! A hub that isn't inert: its controllers touch what Applications refer to.

use anyhow::{Context as _, Result, ensure};
use fleet_api::{Application, ApplicationRevision, Phase, Run};
use fleet_real::{ClusterSpec, Fleet, Life, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};

const RULES: &str = r"
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: web-demo, namespace: demo}
spec:
  components:
    - name: everything
      type: ref-objects
      properties:
        objects:
          - {apiVersion: apps/v1, kind: Deployment, name: web-demo}
          - {apiVersion: v1, kind: Service, name: web-demo}
          - {apiVersion: networking.k8s.io/v1, kind: Ingress, name: web-demo}
          - {apiVersion: v1, kind: ConfigMap, name: web-demo}
  policies:
    - {name: there, type: topology, properties: {clusters: [m1]}}
";

const LATER: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: later, namespace: demo}
data: {a: b}
---
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: later, namespace: demo}
spec:
  components:
    - name: later
      type: ref-objects
      properties: {objects: [{apiVersion: v1, kind: ConfigMap, name: later}]}
  policies:
    - {name: there, type: topology, properties: {clusters: [m1]}}
";

/// Broken: on a hub with workload controllers each status, revision annotation or address starts a rollout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hub_controllers_write_starts_nothing() -> Result<()> {
    let hub = ClusterSpec::new("hub", Life::Living);
    let fleet = Fleet::start(hub, [ClusterSpec::new("m1", Life::Living)]).await?;
    let mut controller = fleet.controller()?;
    let client = fleet.hub.client().await?;
    fleet.kubectl("create namespace demo")?;
    // The Application is first, so that it meets the objects before the controllers do.
    fleet.apply(&fleet.hub, RULES).await?;
    fleet.kubectl("apply -f examples/three-centres/app-meta.yaml")?;
    let apps: Api<Application> = Api::namespaced(client.clone(), "demo");
    let running = |app: Option<&Application>| {
        app.and_then(|app| app.status.as_ref()).is_some_and(|status| status.status == Phase::Running)
    };
    let app = until(apps.clone(), "web-demo", "running", running).await?.context("it is there")?;
    let before = app.status.and_then(|status| status.latest_revision).context("a revision")?;

    // The hub's controllers have their way: pods, addresses, and pods again after they were lost.
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "demo");
    let ready = |object: Option<&Deployment>| {
        object.is_some_and(|object| {
            object.annotations().contains_key("deployment.kubernetes.io/revision")
                && object.status.as_ref().and_then(|status| status.ready_replicas) == Some(5)
        })
    };
    until(deployments.clone(), "web-demo", "ready on the hub", ready).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "demo");
    let first = pods.list(&ListParams::default()).await?.items;
    ensure!(first.len() == 5, "{} pods on the hub", first.len());
    pods.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default()).await?;
    for pod in &first {
        until(pods.clone(), &pod.name_any(), "gone", |now| now.is_none_or(|now| now.uid() != pod.uid()))
            .await?;
    }
    until(deployments, "web-demo", "ready on the hub again", ready).await?;
    let ingresses: Api<Ingress> = Api::namespaced(client.clone(), "demo");
    until(ingresses, "web-demo", "with an address on the hub", |object| {
        object
            .is_some_and(|object| object.status.as_ref().is_some_and(|status| status.load_balancer.is_some()))
    })
    .await?;

    // Whatever was written before this one has been seen when this one runs.
    fleet.apply(&fleet.hub, LATER).await?;
    until(apps.clone(), "later", "running", running).await?;
    let app = apps.get("web-demo").await?;
    let status = app.status.context("a status")?;
    ensure!(status.status == Phase::Running, "{:?}", status.status);
    ensure!(
        status.latest_revision.as_ref() == Some(&before),
        "{before:?} became {:?}",
        status.latest_revision
    );
    let of_it = ListParams::default().labels("fleetctl.dev/application=web-demo");
    let runs = Api::<Run>::namespaced(client.clone(), "demo").list(&of_it).await?.items;
    ensure!(runs.len() == 1, "{:?}", runs.iter().map(Run::name_any).collect::<Vec<_>>());
    let revisions = Api::<ApplicationRevision>::namespaced(client, "demo").list(&of_it).await?.items;
    ensure!(
        revisions.len() == 1,
        "{:?}",
        revisions.iter().map(ApplicationRevision::name_any).collect::<Vec<_>>()
    );
    controller.stop().await?;
    fleet.end();
    Ok(())
}
