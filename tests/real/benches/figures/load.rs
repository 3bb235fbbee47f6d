//! Applies to hub and members.

use std::collections::BTreeSet;

use anyhow::Context as _;
use fleet_api::Application;
use fleet_real::Fleet;
use futures::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::manifests::NAMESPACE;

/// Clients of all clusters, made once.
pub(crate) struct Clients {
    pub(crate) hub: kube::Client,
    pub(crate) members: Vec<kube::Client>,
}

impl Clients {
    pub(crate) async fn new(fleet: &Fleet) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for member in &fleet.members {
            members.push(member.client().await?);
        }
        Ok(Self { hub: fleet.hub.client().await?, members })
    }

    /// Makes a namespace on hub and members.
    pub(crate) async fn namespace_everywhere(&self, name: &str) -> anyhow::Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        for client in self.members.iter().chain([&self.hub]) {
            apply(client.clone(), namespace.clone()).await?;
        }
        Ok(())
    }

    /// Applies to the hub, some at once.
    pub(crate) async fn apply_to_hub(&self, objects: Vec<Value>) -> anyhow::Result<()> {
        let all = objects.into_iter().map(|object| (self.hub.clone(), object));
        apply_all(all).await
    }

    /// Waits until so many Applications run this revision.
    pub(crate) async fn all_run(&self, count: usize, revision: i64) -> anyhow::Result<()> {
        let names: BTreeSet<String> = (0..count).map(|index| format!("app-{index}")).collect();
        let api: Api<Application> = Api::namespaced(self.hub.clone(), NAMESPACE);
        let mut events =
            std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
        let mut running = BTreeSet::new();
        while running.len() < count {
            let app = events.next().await.context("the watch ended")??;
            let name = app.name_any();
            let status = app.status.unwrap_or_default();
            let latest = status.latest_revision.is_some_and(|latest| latest.revision >= revision);
            if names.contains(&name) && latest && status.status.as_str() == "running" {
                running.insert(name);
            }
        }
        Ok(())
    }
}

/// Applies all, some at once.
pub(crate) async fn apply_all(all: impl Iterator<Item = (kube::Client, Value)>) -> anyhow::Result<()> {
    let sends = all.map(|(client, object)| apply(client, object));
    let outcomes: Vec<_> = futures::stream::iter(sends).buffer_unordered(crate::AT_ONCE).collect().await;
    outcomes.into_iter().collect()
}

/// One server-side apply, nothing else.
async fn apply(client: kube::Client, object: Value) -> anyhow::Result<()> {
    let plural = match object["kind"].as_str().unwrap_or_default() {
        "Application" => "applications",
        "ConfigMap" => "configmaps",
        "Deployment" => "deployments",
        "Namespace" => "namespaces",
        "PropagationPolicy" => "propagationpolicies",
        "Service" => "services",
        other => anyhow::bail!("no such kind here: {other}"),
    };
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let root = if version.contains('/') { "apis" } else { "api" };
    let space = object["metadata"]["namespace"].as_str();
    let space = space.map(|name| format!("namespaces/{name}/")).unwrap_or_default();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let uri = format!("/{root}/{version}/{space}{plural}/{name}?fieldManager=figures&force=true");
    let request = http::Request::patch(&uri)
        .header("content-type", "application/apply-patch+yaml")
        .body(serde_json::to_vec(&object)?)?;
    client.request::<Value>(request).await.with_context(|| uri)?;
    Ok(())
}
