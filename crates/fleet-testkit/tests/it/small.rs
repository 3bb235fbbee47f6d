//! A small application for tests that aren't about the scenario.

use fleet_api::{Application, Condition, Run, conditions};
use fleet_testkit::Fleet;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

/// A ConfigMap on the hub.
pub(crate) fn config(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "demo"}, "data": {"key": value}})
}

/// A Deployment on the hub.
pub(crate) fn deployment(name: &str, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "demo"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "web", "image": image}]}}}})
}

/// An Application that delivers hub objects to clusters, one ungated step.
pub(crate) fn app(objects: &[(&str, &str, &str)], clusters: &[&str]) -> Value {
    let objects: Vec<Value> = objects
        .iter()
        .map(|(api_version, kind, name)| json!({"apiVersion": api_version, "kind": kind, "name": name}))
        .collect();
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
    "metadata": {"name": "web", "namespace": "demo"},
    "spec": {
        "components": [{"name": "main", "type": "ref-objects", "properties": {"objects": objects}}],
        "policies": [{"name": "where", "type": "topology", "properties": {"clusters": clusters}}],
    }})
}

/// The same with a gate.
pub(crate) fn gated(objects: &[(&str, &str, &str)], clusters: &[&str]) -> Value {
    let mut app = app(objects, clusters);
    app["spec"]["workflow"] = json!({"steps": [
        {"name": "go", "type": "deploy", "properties": {"auto": false, "policies": ["where"]}}]});
    app
}

/// The value of a delivered ConfigMap.
pub(crate) async fn value(fleet: &Fleet, cluster: &str, name: &str) -> anyhow::Result<Option<Value>> {
    let found = fleet.get(cluster, "v1", "ConfigMap", name).await?;
    Ok(found.and_then(|config| config.pointer("/data/key").cloned()))
}

/// The first line of status.
pub(crate) fn message(app: &Application) -> String {
    let services = app.status.iter().flat_map(|status| &status.services);
    services.into_iter().next().map(|service| service.message.clone()).unwrap_or_default()
}

/// Sets annotations of the Application `web`; null takes one away.
pub(crate) async fn annotate(fleet: &Fleet, annotations: Value) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"annotations": annotations}});
    fleet.merge("hub", "core.oam.dev/v1beta1", "Application", "web", &patch).await?;
    Ok(())
}

/// A condition of an Application.
pub(crate) fn condition<'a>(app: &'a Application, type_: &str) -> Option<&'a Condition> {
    conditions::find(&app.status.as_ref()?.conditions, type_)
}

/// Every Run in the namespace, as they were numbered.
pub(crate) async fn all_runs(fleet: &Fleet) -> anyhow::Result<Vec<Run>> {
    let api: Api<Run> = Api::namespaced(fleet.client("hub"), "demo");
    let mut runs = api.list(&ListParams::default()).await?.items;
    runs.sort_by_key(|run| run.spec.number);
    Ok(runs)
}

/// The Runs of an Application, the oldest first.
pub(crate) async fn runs(fleet: &Fleet, application: &str) -> anyhow::Result<Vec<Run>> {
    let mut runs = all_runs(fleet).await?;
    runs.retain(|run| run.spec.application == application);
    Ok(runs)
}

/// Shows that everything which happened before was looked at: a second Application is rolled out.
pub(crate) async fn looked_at(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    fleet.apply("hub", &config(name, "1")).await?;
    let mut marker = app(&[("v1", "ConfigMap", name)], &["m1"]);
    marker["metadata"]["name"] = json!(name);
    fleet.apply("hub", &marker).await?;
    fleet.wait_phase(name, "running").await?;
    Ok(())
}
