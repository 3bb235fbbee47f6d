//! Native objects that follow a policy: to two members from nothing, one change, many changes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fleet_real::Fleet;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Resource, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bare;
use crate::counts::{self, Asked};
use crate::load::{Clients, apply_all};
use crate::manifests::{self, NAMESPACE};
use crate::scales::{Scales, clock, half_and_most, row, spent};

/// How many single changes are timed.
const SAMPLES: usize = 100;
/// What a Deployment says when it arrives.
const DEPLOYMENT: &str = "Deployment";
/// The longest that one thing is waited for.
const LONGEST: Duration = Duration::from_secs(300);

/// So many Deployments and as many ConfigMaps.
fn objects(count: usize) -> Vec<Value> {
    (0..count).flat_map(|index| [manifests::objects(index).remove(0), config(index, "first")]).collect()
}

fn config(index: usize, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("app-{index}"), "namespace": NAMESPACE, "labels": {"set": "all"}},
        "data": {"value": value}})
}

/// The same object where no policy selects it.
fn out_of_the_way(mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(bare::NAMESPACE);
    object
}

fn policy(members: &[&str]) -> Value {
    json!({"apiVersion": "one.alibabacloud.com/v1alpha1", "kind": "PropagationPolicy",
        "metadata": {"name": "all", "namespace": NAMESPACE}, "spec": {
            "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"},
                {"apiVersion": "v1", "kind": "ConfigMap", "labelSelector": {"matchLabels": {"set": "all"}}}],
            "placement": {"clusterAffinity": {"clusterNames": members}}}})
}

/// What arrives on a member.
struct Arrival {
    /// Which object, and where.
    what: String,
    /// The value of a ConfigMap; of a Deployment, that it is one.
    said: String,
    at: Instant,
}

/// What arrives on members.
struct Arrivals {
    seen: mpsc::UnboundedReceiver<Arrival>,
    _tasks: JoinSet<()>,
}

impl Arrivals {
    /// What arrives in a namespace.
    fn of(clients: &Clients, namespace: &str) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for (member, client) in clients.members.iter().enumerate() {
            let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            tasks.spawn(watch(maps, member, sender.clone(), |map| {
                map.data.as_ref().and_then(|data| data.get("value")).cloned().unwrap_or_default()
            }));
            let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
            tasks.spawn(watch(deployments, member, sender.clone(), |_| DEPLOYMENT.to_owned()));
        }
        Self { seen, _tasks: tasks }
    }

    /// When so many objects have come of which this holds.
    async fn come(&mut self, count: usize, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Instant> {
        let (mut there, mut last) = (BTreeSet::new(), clock());
        while there.len() < count {
            let next = tokio::time::timeout(LONGEST, self.seen.recv()).await;
            let next = next.with_context(|| format!("{} of {count} arrived", there.len()))?;
            let next = next.context("the watches ended")?;
            if wanted(&next.said) && there.insert(next.what) {
                last = next.at;
            }
        }
        Ok(last)
    }
}

async fn watch<K>(
    api: Api<K>,
    member: usize,
    sender: mpsc::UnboundedSender<Arrival>,
    said: impl Fn(&K) -> String + Send,
) where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let mut events =
        std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(event) = events.next().await {
        let Ok(object) = event else { continue };
        let (name, said) = (object.name_any(), said(&object));
        let what = format!("{member} {} {name}", said == DEPLOYMENT);
        if name.starts_with("app-") && sender.send(Arrival { what, said, at: clock() }).is_err() {
            return;
        }
    }
}

async fn change(clients: &Clients, namespace: &str, index: usize, value: &str) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(clients.hub.clone(), namespace);
    let patch = Patch::Merge(json!({"data": {"value": value}}));
    api.patch(&format!("app-{index}"), &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until the policy tells that all is where it is to be.
async fn told(clients: &Clients, count: usize) -> anyhow::Result<()> {
    let kind = GroupVersionKind::gvk("one.alibabacloud.com", "v1alpha1", "PropagationPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "propagationpolicies");
    let api: Api<DynamicObject> = Api::namespaced_with(clients.hub.clone(), NAMESPACE, &resource);
    let mut events =
        std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    let all = async {
        while let Some(policy) = events.next().await {
            if policy?.data.pointer("/status/objects/delivered") == Some(&json!(count)) {
                return Ok(());
            }
        }
        anyhow::bail!("the watch ended")
    };
    tokio::time::timeout(LONGEST, all).await.context("the policy doesn't tell that all is delivered")?
}

/// So many Deployments and ConfigMaps to all members, beside a bare loop of the same applies; then changes.
pub(crate) async fn measure(
    fleet: &Fleet,
    clients: &Clients,
    scales: &Scales,
    members: &[&str],
    count: usize,
) -> anyhow::Result<()> {
    let places = 2 * count * members.len();
    let bare = |from: usize| {
        let all =
            (from..from + count).flat_map(|index| [manifests::objects(index).remove(0), config(index, "")]);
        let mut sends = Vec::new();
        for object in all.map(out_of_the_way) {
            sends.extend(clients.members.iter().map(|client| (client.clone(), object.clone())));
        }
        spent(apply_all(sends.into_iter()))
    };
    clients.apply_to_hub(objects(count)).await?;
    counts::rest(fleet).await?;
    let before = bare(0).await?;
    let asked = Asked::until_now(fleet)?;
    let mut arrivals = Arrivals::of(clients, NAMESPACE);
    let (cpu, begun) = (scales.cpu_ms(), clock());
    clients.apply_to_hub(vec![policy(members)]).await?;
    let (last, ended) =
        tokio::try_join!(arrivals.come(places, |said| said == "first" || said == DEPLOYMENT), async {
            told(clients, 2 * count).await.map(|()| clock())
        })?;
    let cpu = scales.cpu_ms() - cpu;
    let memory = scales.memory();
    counts::rest(fleet).await?;
    let asked = Asked::until_now(fleet)?.since(&asked);
    let seconds = last.duration_since(begun).as_secs_f64();
    row(
        &format!("{count} Deployments + {count} ConfigMaps, one policy, cold, to {} members", members.len()),
        format!("{seconds:.2} s"),
        "",
    );
    let told = ended.duration_since(begun).as_secs_f64();
    row("  until the policy tells so", format!("{told:.2} s"), "");
    let each = 2.0 * count as f64;
    row("  CPU of the controller per object", format!("{:.2} ms", cpu / each), "1.5 ms");
    row(
        "  memory of the controller then",
        memory,
        if count > 1_000 { "300 MiB at 10,000" } else { "40 MiB" },
    );
    row("  requests to the hub per object, Events aside", asked.of_hub(each), "2");
    row("  requests to members per object and member", asked.of_members(places as f64), "2");

    single_changes(clients, &mut arrivals, count).await?;
    let (cpu, begun) = (scales.cpu_ms(), clock());
    let changes = (0..count).map(|index| change(clients, NAMESPACE, index, "all"));
    let changes = futures::stream::iter(changes).buffer_unordered(crate::AT_ONCE).collect::<Vec<_>>();
    let (changed, last) = tokio::join!(changes, arrivals.come(count * members.len(), |said| said == "all"));
    changed.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    let taken = last?.duration_since(begun).as_secs_f64();
    row(&format!("{count} changes → all members"), format!("{taken:.2} s"), "2 s");
    counts::rest(fleet).await?;
    let each = (scales.cpu_ms() - cpu) / count as f64;
    row("  CPU of the controller for each", format!("{each:.2} ms"), "");
    row("memory of the controller at rest", scales.memory(), "");
    // At the end: the members' own controllers take long to roll out what it applies.
    let after = bare(count).await?;
    row(
        &format!("bare loop: the same {places} applies, {} at once; before / after", crate::AT_ONCE),
        format!("{:.2} / {:.2} s", before.seconds, after.seconds),
        "",
    );
    let times = seconds / ((before.seconds + after.seconds) / 2.0);
    row("  cold beside it", format!("{times:.2} ×"), "1.5 ×");
    Ok(())
}

/// One change after another, each beside the same by hand: on the hub, then on all members at once.
async fn single_changes(clients: &Clients, arrivals: &mut Arrivals, count: usize) -> anyhow::Result<()> {
    clients
        .apply_to_hub((0..SAMPLES.min(count)).map(|index| out_of_the_way(config(index, ""))).collect())
        .await?;
    let mut by_hand = Arrivals::of(clients, bare::NAMESPACE);
    let (mut samples, mut bare_samples) = (Vec::new(), Vec::new());
    for sample in 0..SAMPLES {
        let (index, value) = (sample % count, format!("single-{sample}"));
        let begun = clock();
        change(clients, bare::NAMESPACE, index, &value).await?;
        let object = out_of_the_way(config(index, &value));
        apply_all(clients.members.iter().map(|client| (client.clone(), object.clone()))).await?;
        let last = by_hand.come(clients.members.len(), |said| said == value).await?;
        bare_samples.push(last.duration_since(begun).as_secs_f64() * 1000.0);

        let begun = clock();
        change(clients, NAMESPACE, index, &value).await?;
        let last = arrivals.come(clients.members.len(), |said| said == value).await?;
        samples.push(last.duration_since(begun).as_secs_f64() * 1000.0);
    }
    row(
        "one change by hand, on the hub and then on all members at once, p50 / p99",
        half_and_most(&mut bare_samples),
        "",
    );
    row("one change → all members, p50 / p99", half_and_most(&mut samples), "25 ms");
    Ok(())
}
