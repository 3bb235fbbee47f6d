//! How long until something is done: drift, an opened gate, a member that is ready.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use fleet_api::{Application, Approval, ApprovalSpec, Run, StepPhase};
use fleet_real::eventually;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Resource, ResourceExt as _};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::load::Clients;
use crate::manifests::{self, NAMESPACE};
use crate::scales::{clock, percentile, row};

/// So long nothing is asked before a latency is taken, so that it isn't the one before's.
const PAUSE: Duration = Duration::from_millis(300);

/// Something seen: on which member (none is the hub), the object's name, what it says, when.
struct Sight {
    member: Option<usize>,
    name: String,
    said: String,
    at: Instant,
}

/// Watches of our own on hub and members.
struct Watchers {
    sights: mpsc::Receiver<Sight>,
    _tasks: JoinSet<()>,
}

impl Watchers {
    fn start(clients: &Clients) -> Self {
        let (sender, sights) = mpsc::channel(1024);
        let mut tasks = JoinSet::new();
        for (number, client) in clients.members.iter().enumerate() {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
            let id = |object: &ConfigMap| object.data.as_ref().and_then(|data| data.get("id").cloned());
            tasks.spawn(watch(api, Some(number), sender.clone(), id));
        }
        let api: Api<Application> = Api::namespaced(clients.hub.clone(), NAMESPACE);
        let phase = |app: &Application| app.status.as_ref().map(|status| status.status.as_str().to_owned());
        tasks.spawn(watch(api, None, sender, phase));
        Self { sights, _tasks: tasks }
    }

    /// Waits until something is seen.
    async fn until(&mut self, wanted: impl Fn(&Sight) -> bool) -> anyhow::Result<Sight> {
        loop {
            let sight = self.sights.recv().await.context("the watches ended")?;
            if wanted(&sight) {
                return Ok(sight);
            }
        }
    }

    /// Forgets what was seen until now.
    async fn forget(&mut self) {
        tokio::time::sleep(PAUSE).await;
        while self.sights.try_recv().is_ok() {}
    }
}

async fn watch<K>(
    api: Api<K>,
    member: Option<usize>,
    sender: mpsc::Sender<Sight>,
    said: impl Fn(&K) -> Option<String> + Send,
) where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let mut events =
        std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(event) = events.next().await {
        let Ok(object) = event else { continue };
        let (name, said) = (object.name_any(), said(&object).unwrap_or_default());
        if sender.send(Sight { member, name, said, at: clock() }).await.is_err() {
            return;
        }
    }
}

fn show(what: &str, samples: &mut [f64], budget: &str) {
    let (half, most) = (percentile(samples, 0.5), percentile(samples, 0.99));
    row(what, format!("{half:.1} / {most:.1} ms"), budget);
}

/// From the answer to somebody's edit on a member to the object as it should be.
pub(crate) async fn drift(clients: &Clients, samples: usize) -> anyhow::Result<()> {
    let mut watchers = Watchers::start(clients);
    let mut repaired = Vec::new();
    for index in 0..samples {
        watchers.forget().await;
        let (member, name) = (index % clients.members.len(), format!("app-{index}"));
        let api: Api<ConfigMap> = Api::namespaced(clients.members[member].clone(), NAMESPACE);
        let edit = Patch::Merge(json!({"data": {"id": "edited"}}));
        api.patch(&name, &PatchParams::default(), &edit).await?;
        let edited = clock();
        let here = |sight: &Sight| sight.member == Some(member) && sight.name == name;
        watchers.until(|sight| here(sight) && sight.said == "edited").await?;
        let sight = watchers.until(|sight| here(sight) && sight.said == index.to_string()).await?;
        repaired.push(sight.at.saturating_duration_since(edited).as_secs_f64() * 1e3);
    }
    show(&format!("drift → repaired, {samples} edits"), &mut repaired, "p50 / p99 ≤ 1000 ms");
    Ok(())
}

/// From an approval to the first object on a member, and from the last member's readiness to the step's end.
pub(crate) async fn gates(clients: &Clients, first: usize, samples: usize) -> anyhow::Result<()> {
    let mut watchers = Watchers::start(clients);
    let (mut resumed, mut ended) = (Vec::new(), Vec::new());
    for index in first..first + samples {
        let name = format!("app-{index}");
        let (objects, app) = manifests::gated(index);
        clients.apply_to_hub(objects).await?;
        clients.apply_to_hub(vec![app]).await?;
        watchers.until(|sight| sight.name == name && sight.said == "workflowSuspending").await?;
        let approval = approval(clients, &name).await?;
        watchers.forget().await;
        let api: Api<Approval> = Api::namespaced(clients.hub.clone(), NAMESPACE);
        let asked = clock();
        api.create(&PostParams::default(), &approval).await?;
        let there = watchers.until(|sight| sight.member.is_some() && sight.name == name).await?;
        resumed.push(there.at.saturating_duration_since(asked).as_secs_f64() * 1e3);

        let (last, before) = clients.members.split_last().context("members")?;
        for member in before {
            give_address(member, &name).await?;
        }
        let services: Api<Service> = Api::namespaced(last.clone(), NAMESPACE);
        eventually("delivered", || async { Ok(services.get(&name).await.map(drop)?) }).await?;
        watchers.forget().await;
        give_address(last, &name).await?;
        let ready = clock();
        let over = watchers.until(|sight| sight.name == name && sight.said == "running").await?;
        ended.push(over.at.saturating_duration_since(ready).as_secs_f64() * 1e3);
    }
    show(
        &format!("approval sent → first object on a member, {samples} gates"),
        &mut resumed,
        "p50 / p99 ≤ 100 ms",
    );
    show("last member ready → `running` shown", &mut ended, "p50 / p99 ≤ 100 ms");
    Ok(())
}

/// Makes a Service ready, as a cloud would.
async fn give_address(member: &kube::Client, name: &str) -> anyhow::Result<()> {
    let api: Api<Service> = Api::namespaced(member.clone(), NAMESPACE);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.10"}]}}});
    eventually("delivered", || async {
        Ok(api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.map(drop)?)
    })
    .await
}

/// The approval of the gate that waits.
async fn approval(clients: &Clients, name: &str) -> anyhow::Result<Approval> {
    let apps: Api<Application> = Api::namespaced(clients.hub.clone(), NAMESPACE);
    let workflow = apps.get(name).await?.status.and_then(|status| status.workflow).context("a run")?;
    let runs: Api<Run> = Api::namespaced(clients.hub.clone(), NAMESPACE);
    let steps = runs.get(&workflow.run).await?.status.unwrap_or_default().steps;
    let step = steps.iter().find(|step| step.phase == StepPhase::Suspending).context("a gate waits")?;
    let spec = ApprovalSpec {
        application: name.to_owned(),
        run: workflow.run.clone(),
        step: step.name.clone(),
        plan_hash: step.gate.as_ref().map(|gate| gate.plan_hash.clone()).unwrap_or_default(),
        approver: "admin".to_owned(),
        ..ApprovalSpec::default()
    };
    Ok(Approval::new(&format!("{}-{}-{}", workflow.run, step.name, spec.plan_hash), spec))
}
