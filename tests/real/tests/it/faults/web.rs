//! A small application that needs no workload controllers: a ConfigMap and a Service.

use anyhow::{Context as _, Result};
use fleet_api::{Application, Phase};
use fleet_real::{Controller, Fleet, until};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::Api;
use kube::api::{Patch, PatchParams};

/// Where it is, on the hub and on members.
pub(super) const NAMESPACE: &str = "demo";

const OBJECTS: &str = r"
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: web, namespace: demo}
spec:
  components:
    - name: all
      type: ref-objects
      properties:
        objects:
          - {apiVersion: v1, kind: ConfigMap, name: web}
          - {apiVersion: v1, kind: Service, name: web}
";

/// Starts a controller that gives up on a silent member soon.
pub(super) fn controller(fleet: &Fleet) -> Result<Controller> {
    fleet.controller_with(&["--member-timeout=2s"])
}

/// The objects on the hub.
pub(super) async fn paint(fleet: &Fleet, colour: &str) -> Result<()> {
    fleet.namespace(&fleet.hub, NAMESPACE).await?;
    let objects = format!(
        r"
apiVersion: v1
kind: ConfigMap
metadata: {{name: web, namespace: demo}}
data: {{colour: {colour}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: demo}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
"
    );
    fleet.apply(&fleet.hub, &objects).await
}

/// The Application: one step to all members that are named.
pub(super) async fn deploy(fleet: &Fleet, members: &str) -> Result<()> {
    let app = format!(
        "{OBJECTS}  policies:\n    - {{name: there, type: topology, properties: {{clusters: [{members}]}}}}\n"
    );
    fleet.apply(&fleet.hub, &app).await
}

/// The Application: a step to the first, a gate, a step to the second.
pub(super) async fn deploy_gated(fleet: &Fleet, first: &str, second: &str) -> Result<()> {
    let app = format!(
        r"{OBJECTS}  policies:
    - {{name: first, type: topology, properties: {{clusters: [{first}]}}}}
    - {{name: second, type: topology, properties: {{clusters: [{second}]}}}}
  workflow:
    steps:
      - {{name: first, type: deploy, properties: {{policies: [first]}}}}
      - {{name: second, type: deploy, properties: {{policies: [second], auto: false}}}}
"
    );
    fleet.apply(&fleet.hub, &app).await
}

/// Applications on the hub.
pub(super) async fn apps(fleet: &Fleet) -> Result<Api<Application>> {
    Ok(Api::namespaced(fleet.hub.client().await?, NAMESPACE))
}

/// Waits until the Application's status is as wanted.
pub(super) async fn until_status(
    fleet: &Fleet,
    what: &str,
    wanted: impl Fn(Phase, &str) -> bool,
) -> Result<Application> {
    let app = until(apps(fleet).await?, "web", what, |app| {
        let Some(app) = app else { return false };
        let Some(status) = &app.status else { return false };
        let text = serde_json::to_string(status).unwrap_or_default();
        Some(status.observed_generation) == app.metadata.generation && wanted(status.status, &text)
    });
    app.await?.context("it is there")
}

/// What the status says of a member: its phase, and why.
pub(super) fn told(app: &Application, member: &str) -> Option<(String, String)> {
    let steps = &app.status.as_ref()?.workflow.as_ref()?.steps;
    let mut targets = steps.iter().flat_map(|step| &step.targets);
    let target = targets.find(|target| target.cluster == member)?;
    Some((target.phase.clone(), format!("{}: {}", target.reason, target.message)))
}

/// Waits until the status says of members what is wanted: the phase, and a part of why.
pub(super) async fn until_told(fleet: &Fleet, wanted: &[(&str, &str)]) -> Result<Application> {
    let what = format!("told of {wanted:?}");
    let app = until(apps(fleet).await?, "web", &what, |app| {
        let Some(app) = app else { return false };
        let said = |member: &str| told(app, member).map(|(_, why)| why).unwrap_or_default();
        wanted.iter().all(|(member, why)| said(member).contains(why))
    });
    app.await?.context("it is there")
}

/// How often the controller has written the ConfigMap to a member, which is audited.
pub(super) fn writes(fleet: &Fleet, member: &str) -> Result<usize> {
    let requests = fleet.member(member)?.audit()?;
    let ours = requests.iter().filter(|request| {
        request.user == Fleet::CONTROLLER
            && request.verb == "patch"
            && request.resource == "configmaps"
            && request.object == "demo/web"
            && request.code < 300
    });
    Ok(ours.count())
}

/// Somebody else changes the colour on a member.
pub(super) async fn repaint(fleet: &Fleet, member: &str, colour: &str) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(fleet.member(member)?.client().await?, NAMESPACE);
    let other = serde_json::json!({ "data": { "colour": colour } });
    api.patch("web", &PatchParams::default(), &Patch::Merge(&other)).await?;
    Ok(())
}

/// Waits until it is delivered everywhere and healthy.
pub(super) async fn running(fleet: &Fleet) -> Result<Application> {
    until_status(fleet, "running", |phase, _| phase == Phase::Running).await
}

/// Waits until a run of a later revision has ended well.
pub(super) async fn running_after(fleet: &Fleet, before: &Application) -> Result<Application> {
    let run = run_of(before);
    let app = until(apps(fleet).await?, "web", "running anew", |app| {
        app.is_some_and(|app| {
            let phase = app.status.as_ref().map(|status| status.status);
            phase == Some(Phase::Running) && run_of(app) != run
        })
    });
    app.await?.context("it is there")
}

/// The Run that its status shows.
pub(super) fn run_of(app: &Application) -> Option<String> {
    Some(app.status.as_ref()?.workflow.as_ref()?.run.clone())
}

/// The ConfigMap on a member.
pub(super) async fn settings(fleet: &Fleet, member: &str) -> Result<Option<ConfigMap>> {
    let api: Api<ConfigMap> = Api::namespaced(fleet.member(member)?.client().await?, NAMESPACE);
    Ok(api.get_opt("web").await?)
}

/// Waits for a colour on a member, and for the Service beside it.
pub(super) async fn painted(fleet: &Fleet, member: &str, colour: &str) -> Result<ConfigMap> {
    let client = fleet.member(member)?.client().await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let what = format!("{colour} on {member}");
    let found = until(api, "web", &what, |object| {
        object.and_then(|object| object.data.as_ref()?.get("colour")).is_some_and(|now| now == colour)
    });
    let found = found.await?;
    until(Api::<Service>::namespaced(client, NAMESPACE), "web", "there", |object| object.is_some()).await?;
    found.context("it is there")
}
