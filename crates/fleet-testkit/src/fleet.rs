//! Hub and members with everything but the controller.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fleet_api::{Application, Approval, ApprovalSpec, Run};
use fleet_apiserver::{ApiServer, Identity};
use fleet_controller::Options;
use fleetctl::embedded::{Embedded, EmbeddedOptions, MemberSpec};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

/// How long a condition may take to come about before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fleet for one test.
pub struct Fleet {
    embedded: Embedded,
}

#[expect(clippy::disallowed_methods, reason = "tests run in real time")]
fn now() -> Timestamp {
    Timestamp::now()
}

impl Fleet {
    /// Hub and members with these names and aliases, in memory.
    ///
    /// # Errors
    /// Where it doesn't start.
    pub async fn start(members: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::listening(members, None).await
    }

    /// The same, for other processes as well: by TLS at an address (port 0 takes a free one).
    ///
    /// # Errors
    /// Where it doesn't start.
    pub async fn listening(members: &[(&str, &str)], listen: Option<SocketAddr>) -> anyhow::Result<Self> {
        let mut options = EmbeddedOptions::in_memory(Arc::new(now), 7);
        options.members = members.iter().map(|(name, alias)| MemberSpec::new(name, alias)).collect();
        options.controller = false;
        options.listen = listen;
        let embedded = Embedded::start(options).await?;
        let fleet = Self { embedded };
        for namespace in ["demo"] {
            let manifest =
                serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            fleet.apply(ApiServer::HUB, &manifest).await?;
        }
        Ok(fleet)
    }

    /// One that runs already.
    pub fn of(embedded: Embedded) -> Self {
        Self { embedded }
    }

    /// The three centres.
    ///
    /// # Errors
    /// Where it doesn't start.
    pub async fn three_centres() -> anyhow::Result<Self> {
        let members =
            [("mc-bj1", "cluster1-beijing"), ("mc-bj2", "cluster2-beijing"), ("mc-hz1", "cluster1-hangzhou")];
        Self::start(&members).await
    }

    /// The server below.
    pub fn api(&self) -> &ApiServer {
        self.embedded.api()
    }

    /// The fleet below.
    pub fn embedded(&self) -> &Embedded {
        &self.embedded
    }

    /// Defaults for a controller.
    pub fn options(&self) -> Options {
        let author = fleet_controller::AuthorSource::BuiltIn;
        // Servers that steps ask are on this machine.
        let addresses = fleet_controller::Addresses::Local;
        Options { author, addresses, ..Options::new(Arc::new(now)) }
    }

    /// A client of a cluster; `hub` is the hub.
    pub fn client(&self, cluster: &str) -> Client {
        self.embedded.client(cluster)
    }

    /// A client of the hub that calls as somebody.
    pub fn client_of(&self, user: &str, groups: &[&str]) -> Client {
        let identity = Identity::new(user, groups.iter().map(|group| (*group).to_owned()));
        self.embedded.client_as(ApiServer::HUB, identity)
    }

    /// Applies a manifest as kubectl would with `--server-side`.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn apply(&self, cluster: &str, manifest: &Value) -> anyhow::Result<DynamicObject> {
        let api = self.resource(cluster, manifest).await?;
        let name = manifest.pointer("/metadata/name").and_then(Value::as_str).context("no name")?;
        Ok(api.patch(name, &PatchParams::apply("kubectl").force(), &Patch::Apply(manifest)).await?)
    }

    /// Applies every document of a file.
    ///
    /// # Errors
    /// Where the server refuses one.
    pub async fn apply_all(&self, cluster: &str, text: &str) -> anyhow::Result<()> {
        for manifest in crate::manifests::read(text)? {
            self.apply(cluster, &manifest).await?;
        }
        Ok(())
    }

    /// The API of an object's kind and namespace.
    ///
    /// # Errors
    /// Where the server doesn't have the kind.
    pub async fn resource(&self, cluster: &str, manifest: &Value) -> anyhow::Result<Api<DynamicObject>> {
        let text = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
        let gvk = GroupVersionKind::gvk(group, version, text("kind"));
        let client = self.client(cluster);
        let (resource, capabilities) = kube::discovery::pinned_kind(&client, &gvk).await?;
        let namespace = manifest.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("demo");
        Ok(if capabilities.scope == kube::discovery::Scope::Namespaced {
            Api::namespaced_with(client, namespace, &resource)
        } else {
            Api::all_with(client, &resource)
        })
    }

    /// An object, or nothing.
    ///
    /// # Errors
    /// Where the server doesn't have the kind.
    pub async fn get(
        &self,
        cluster: &str,
        api_version: &str,
        kind: &str,
        name: &str,
    ) -> anyhow::Result<Option<Value>> {
        let manifest = serde_json::json!({"apiVersion": api_version, "kind": kind});
        let found = self.resource(cluster, &manifest).await?.get_opt(name).await?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// Waits, by watch, until an Application is as wanted.
    ///
    /// # Errors
    /// Where it isn't in time; says how it was last.
    pub async fn wait(
        &self,
        name: &str,
        wanted: impl Fn(&Application) -> bool,
    ) -> anyhow::Result<Application> {
        let api: Api<Application> = Api::namespaced(self.client(ApiServer::HUB), "demo");
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = std::pin::pin!(watcher(api, config).default_backoff().applied_objects());
        let mut last = None;
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(event) = events.next().await {
                if let Ok(app) = event {
                    if wanted(&app) {
                        return Some(app);
                    }
                    last = Some(app);
                }
            }
            None
        })
        .await;
        match found {
            Ok(Some(app)) => Ok(app),
            _ => bail!(
                "{name} isn't as wanted in time; last: {}",
                serde_json::to_string_pretty(&last.and_then(|app| app.status))?
            ),
        }
    }

    /// Waits until a phase shows.
    ///
    /// # Errors
    /// Where it doesn't in time.
    pub async fn wait_phase(&self, name: &str, phase: &str) -> anyhow::Result<Application> {
        self.wait(name, |app| app.status.as_ref().is_some_and(|status| status.status.as_str() == phase)).await
    }

    /// Waits until a run of this number shows a phase.
    ///
    /// # Errors
    /// Where it doesn't in time.
    pub async fn wait_run(&self, name: &str, number: i64, phase: &str) -> anyhow::Result<Application> {
        self.wait(name, |app| {
            let Some(status) = &app.status else { return false };
            status.status.as_str() == phase
                && status.latest_revision.as_ref().is_some_and(|r| r.revision == number)
        })
        .await
    }

    /// The Run that an Application shows.
    ///
    /// # Errors
    /// Where it shows none.
    pub async fn run_of(&self, app: &Application) -> anyhow::Result<Run> {
        let workflow =
            app.status.as_ref().and_then(|status| status.workflow.as_ref()).context("no run yet")?;
        let api: Api<Run> = Api::namespaced(self.client(ApiServer::HUB), "demo");
        Ok(api.get(&workflow.run).await?)
    }

    /// Approves the gate that waits.
    ///
    /// # Errors
    /// Where none waits.
    pub async fn approve(&self, app: &Application) -> anyhow::Result<Approval> {
        let run = self.run_of(app).await?;
        let status = run.status.clone().unwrap_or_default();
        let step = status.steps.iter().find(|step| step.shut_gate().is_some());
        let step = step.context("no gate waits")?;
        let spec = ApprovalSpec {
            application: app.name_any(),
            run: run.name_any(),
            step: step.name.clone(),
            plan_hash: step.gate.as_ref().map(|gate| gate.plan_hash.clone()).unwrap_or_default(),
            approver: "tester".to_owned(),
            ..ApprovalSpec::default()
        };
        let name = format!("{}-{}-{}", run.name_any(), step.name, spec.plan_hash);
        let api: Api<Approval> = Api::namespaced(self.client_of("tester", &[Identity::MASTERS]), "demo");
        Ok(api.create(&PostParams::default(), &Approval::new(&name, spec)).await?)
    }

    /// Merges into an object.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn merge(
        &self,
        cluster: &str,
        api_version: &str,
        kind: &str,
        name: &str,
        patch: &Value,
    ) -> anyhow::Result<DynamicObject> {
        let manifest = serde_json::json!({"apiVersion": api_version, "kind": kind});
        let api = self.resource(cluster, &manifest).await?;
        Ok(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Waits, by watch, until an object on a cluster is as wanted; `None` stands for its absence.
    ///
    /// # Errors
    /// Where it isn't in time.
    pub async fn wait_object(
        &self,
        cluster: &str,
        api_version: &str,
        kind: &str,
        name: &str,
        wanted: impl Fn(Option<&Value>) -> bool,
    ) -> anyhow::Result<Option<Value>> {
        let manifest = serde_json::json!({"apiVersion": api_version, "kind": kind});
        let api = self.resource(cluster, &manifest).await?;
        let mut last = None;
        let found = tokio::time::timeout(PATIENCE, async {
            let mut objects = std::pin::pin!(watcher::watch_object(api, name));
            while let Some(event) = objects.next().await {
                if let Ok(object) = event {
                    let value = object.map(serde_json::to_value).transpose().ok().flatten();
                    if wanted(value.as_ref()) {
                        return Some(value);
                    }
                    last = value;
                }
            }
            None
        })
        .await;
        match found {
            Ok(Some(value)) => Ok(value),
            _ => bail!(
                "{kind} {name} on {cluster} isn't as wanted in time; last: {}",
                serde_json::to_string(&last)?
            ),
        }
    }

    /// Ends everything.
    pub async fn stop(self) {
        self.embedded.shutdown().await;
    }
}
