//! Prints what it costs to distribute native objects by policies: `cargo bench -p fleet-testkit --bench propagation`.
//!
//! | part | what |
//! |---|---|
//! | `decisions` | where an object goes among 1,000 members, decided one after the other |
//! | `cold` | 500 Deployments and 500 ConfigMaps to two members, beside a bare loop of the same applies; then changes |
//! | `apart` | the same with a controller of its own process, by TLS: what it alone weighs; `apart 5000` takes 10,000 objects |
//! | `fleet` | 100 objects to 1,000 members, each to 100 of them; then changes |
//!
//! Hub and members are in this process, and, but for `apart`, the controller too. `-- cold` does one part only, `--`
//! without any all of them. Behind `apart N` may follow a profiler: `apart 500 perf record -g -o /tmp/it`.

#![allow(clippy::indexing_slicing, reason = "a benchmark makes its own JSON")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fleet_placement::{Demand, Fleet as Known, Member, Placed, Survey, decide};
use fleet_propagation::{KindTable, Reader};
use fleet_testkit::measure::apart::{Apart, apply_all, is_controller};
use fleet_testkit::measure::{Scales, bare_loop, clock, half_and_most, head, row};
use fleet_testkit::{Engine, Fleet};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Resource, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// How many Deployments there are, and as many ConfigMaps.
const OBJECTS: usize = 500;
/// The same where there are many.
const MANY: usize = 5_000;
const MEMBERS: [(&str, &str); 2] = [("m1", "one"), ("m2", "two")];
/// How many single changes are timed.
const SAMPLES: usize = 200;
/// The large fleet: members, policies, and how many members each is about.
const LARGE: usize = 1_000;
const POLICIES: usize = 10;
const EACH: usize = 100;
/// Objects of a policy there.
const PER_POLICY: usize = 10;
/// How many decisions are timed.
const DECISIONS: usize = 20_000;
/// The longest that anything is waited for.
const LONGEST: Duration = Duration::from_secs(300);
/// How long a controller is watched at rest.
const REST: Duration = Duration::from_secs(10);
const GROUP: &str = "one.alibabacloud.com/v1alpha1";

fn deployment(index: usize) -> Value {
    let name = format!("object-{index}");
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "demo"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "nginx"}]}}}})
}

fn config(index: usize, policy: usize, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("object-{index}"), "namespace": "demo", "labels": {"set": policy.to_string()}},
        "data": {"value": value}})
}

/// So many Deployments, and as many ConfigMaps.
fn objects(count: usize) -> Vec<Value> {
    (0..count).flat_map(|index| [deployment(index), config(index, 0, "first")]).collect()
}

fn policy(name: &str, selectors: Value, clusters: &[String]) -> Value {
    json!({"apiVersion": GROUP, "kind": "PropagationPolicy", "metadata": {"name": name, "namespace": "demo"},
        "spec": {"resourceSelectors": selectors, "placement": {"clusterAffinity": {"clusterNames": clusters}}}})
}

/// One policy for all of [`objects`].
fn policy_for_all() -> Value {
    let selectors = json!([{"apiVersion": "apps/v1", "kind": "Deployment"},
        {"apiVersion": "v1", "kind": "ConfigMap", "labelSelector": {"matchLabels": {"set": "0"}}}]);
    policy("all", selectors, &members())
}

fn members() -> Vec<String> {
    MEMBERS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let parts: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if is_controller(&runtime, &parts)? {
        return Ok(());
    }
    head();
    match parts.as_slice() {
        [] => {
            decisions()?;
            runtime.block_on(cold())?;
            runtime.block_on(apart(OBJECTS, &[]))?;
            runtime.block_on(apart(MANY, &[]))?;
            runtime.block_on(large())
        }
        [part] if part == "decisions" => decisions(),
        [part] if part == "cold" => runtime.block_on(cold()),
        [part] if part == "fleet" => runtime.block_on(large()),
        [part, more @ ..] if part == "apart" => {
            let count = more.first().map_or(Ok(OBJECTS), |count| count.parse())?;
            runtime.block_on(apart(count, more.get(1..).unwrap_or_default()))
        }
        other => anyhow::bail!("no such part: {}", other.join(" ")),
    }
}

/// Waits until a policy says that so many of its objects are where they are to be.
async fn delivered(fleet: &Fleet, name: &str, count: u64) -> anyhow::Result<()> {
    let api = fleet.resource("hub", &policy(name, json!([]), &[])).await?;
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(api, only).default_backoff().applied_objects());
    let mut last = Value::Null;
    let seen = async {
        while let Some(found) = events.next().await {
            let found = found?;
            last = found.data.get("status").cloned().unwrap_or_default();
            if last.pointer("/objects/delivered") == Some(&json!(count)) {
                return anyhow::Ok(());
            }
        }
        anyhow::bail!("the watch ended")
    };
    match tokio::time::timeout(LONGEST, seen).await {
        Ok(seen) => seen,
        Err(_) => anyhow::bail!("policy {name} isn't through: {}", last["conditions"]),
    }
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
struct Arrivals(mpsc::UnboundedReceiver<Arrival>);

impl Arrivals {
    /// Watches ConfigMaps.
    fn of_maps(fleet: &Fleet, members: &[String]) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        for member in members {
            let api: Api<ConfigMap> = Api::namespaced(fleet.client(member), "demo");
            watch(api, member, &sender, |map: &ConfigMap| {
                map.data.as_ref().and_then(|data| data.get("value")).cloned().unwrap_or_default()
            });
        }
        Self(receiver)
    }

    /// Watches Deployments, too.
    fn of_all(fleet: &Fleet, members: &[String]) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        for member in members {
            let api: Api<ConfigMap> = Api::namespaced(fleet.client(member), "demo");
            watch(api, member, &sender, |_| "ConfigMap".to_owned());
            let api: Api<Deployment> = Api::namespaced(fleet.client(member), "demo");
            watch(api, member, &sender, |_| "Deployment".to_owned());
        }
        Self(receiver)
    }

    /// When so many objects have come of which this holds.
    async fn come(&mut self, count: usize, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Instant> {
        let (mut there, mut last) = (BTreeSet::new(), clock());
        while there.len() < count {
            let next = tokio::time::timeout(LONGEST, self.0.recv()).await;
            let next = next.with_context(|| format!("{} of {count} arrived", there.len()))?;
            let next = next.context("the watches ended")?;
            if wanted(&next.said) && there.insert(next.what) {
                last = next.at;
            }
        }
        Ok(last)
    }
}

fn watch<K>(
    api: Api<K>,
    member: &str,
    sender: &mpsc::UnboundedSender<Arrival>,
    said: impl Fn(&K) -> String + Send + 'static,
) where
    K: Resource + Clone + std::fmt::Debug + k8s_openapi::serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let (member, sender) = (member.to_owned(), sender.clone());
    #[expect(clippy::disallowed_methods, reason = "it ends with the receiver")]
    tokio::spawn(async move {
        let mut events =
            std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
        while let Some(Ok(object)) = events.next().await {
            let said = said(&object);
            let what = format!("{member} {} {}", said == "Deployment", object.name_any());
            if sender.send(Arrival { what, said, at: clock() }).is_err() {
                return;
            }
        }
    });
}

async fn change(fleet: &Fleet, index: usize, value: &str) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(fleet.client("hub"), "demo");
    let patch = json!({"data": {"value": value}});
    api.patch(&format!("object-{index}"), &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// Single changes, one after the other: how long each takes to be on so many members, in milliseconds.
async fn singles(
    fleet: &Fleet,
    arrivals: &mut Arrivals,
    objects: usize,
    members: usize,
) -> anyhow::Result<Vec<f64>> {
    let mut samples = Vec::new();
    for sample in 0..SAMPLES {
        let value = format!("single-{sample}");
        let begun = clock();
        change(fleet, sample % objects, &value).await?;
        let last = arrivals.come(members, |said| said == value).await?;
        samples.push(last.duration_since(begun).as_secs_f64() * 1000.0);
    }
    Ok(samples)
}

/// Changes of so many objects at once: when the last is on every member, in seconds.
async fn all_at_once(fleet: &Fleet, arrivals: &mut Arrivals, count: usize) -> anyhow::Result<f64> {
    let begun = clock();
    let changes = (0..count).map(|index| change(fleet, index, "all"));
    let changes = futures::stream::iter(changes).buffer_unordered(48).collect::<Vec<_>>();
    let (changed, last) = tokio::join!(changes, arrivals.come(count * MEMBERS.len(), |said| said == "all"));
    changed.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    Ok(last?.duration_since(begun).as_secs_f64())
}

/// 500 Deployments and 500 ConfigMaps to two members; then single changes, then all.
async fn cold() -> anyhow::Result<()> {
    let fleet = Fleet::start(&MEMBERS).await?;
    let own = Scales::own();
    apply_all(&fleet, &objects(OBJECTS)).await?;
    let names = members();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (bare_cpu, bare_time) = bare_loop(&fleet, &names, &objects(OBJECTS)).await?;
    row("bare loop: the same 2,000 applies", format!("{bare_time:.2} s"), "");

    let mut arrivals = Arrivals::of_all(&fleet, &members());
    fleet.apply("hub", &policy_for_all()).await?;
    let (cpu, begun) = (own.cpu_ms(), clock());
    let engine = Engine::start(&fleet);
    let last = arrivals.come(2 * OBJECTS * MEMBERS.len(), |_| true).await?;
    let all_time = last.duration_since(begun).as_secs_f64();
    delivered(&fleet, "all", 2 * OBJECTS as u64).await?;
    let (all_cpu, told) = (own.cpu_ms() - cpu, begun.elapsed().as_secs_f64());
    let objects = 2.0 * OBJECTS as f64;
    row(
        "500 Deployments + 500 ConfigMaps, cold, to 2 members",
        format!("{all_time:.2} s ({:.2} ×)", all_time / bare_time),
        "1.5 × the bare loop",
    );
    row("until the policy tells so", format!("{told:.2} s"), "");
    let hub = engine.hub.count();
    let requests = hub.sum(|kind| !kind.contains("events")) as f64 / objects;
    row("requests to the hub per object, Events aside", format!("{requests:.2}"), "2");
    let asked = engine.members.count().sum(|kind| !kind.starts_with("WATCH"));
    let requests = asked as f64 / (objects * MEMBERS.len() as f64);
    row("requests to members per object and member", format!("{requests:.2}"), "2 (apply, metadata read)");
    row("CPU of the whole process per object: the bare loop", format!("{:.2} ms", bare_cpu / objects), "");
    row("CPU of the whole process per object: distributed", format!("{:.2} ms", all_cpu / objects), "");
    row("memory of the process, hub and members included", format!("{:.1} MiB", own.memory_mib()), "");

    let mut arrivals = Arrivals::of_maps(&fleet, &members());
    arrivals.come(OBJECTS * MEMBERS.len(), |said| said == "first").await?;
    let mut samples = singles(&fleet, &mut arrivals, OBJECTS, MEMBERS.len()).await?;
    row("one change → both members, p50 / p99", half_and_most(&mut samples), "25 ms");
    let cpu = own.cpu_ms();
    let taken = all_at_once(&fleet, &mut arrivals, OBJECTS).await?;
    row("500 changes → both members", format!("{taken:.2} s"), "2 s");
    row("CPU of the whole process for each", format!("{:.2} ms", (own.cpu_ms() - cpu) / OBJECTS as f64), "");
    drop(arrivals);
    engine.stop().await?;
    fleet.stop().await;
    Ok(())
}

/// So many Deployments and ConfigMaps to two members by a controller of its own process: what it alone weighs.
async fn apart(count: usize, under: &[String]) -> anyhow::Result<()> {
    let fleet = Fleet::listening(&MEMBERS, Some(([127, 0, 0, 1], 0).into())).await?;
    apply_all(&fleet, &objects(count)).await?;
    let names = members();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let controller = Apart::start(&fleet, &names, under).await?;
    // One that is there before: the first of all pays for connections and watches.
    fleet.apply("hub", &config(2 * count, 1, "first")).await?;
    let one =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "labelSelector": {"matchLabels": {"set": "1"}}}]);
    fleet.apply("hub", &policy("one", one, &members())).await?;
    delivered(&fleet, "one", 1).await?;
    let scales = controller.scales();
    row("the controller alone, with one object: memory", format!("{:.1} MiB", scales.memory_mib()), "");

    let mut arrivals = Arrivals::of_all(&fleet, &members());
    let (cpu, begun) = (scales.cpu_ms(), clock());
    fleet.apply("hub", &policy_for_all()).await?;
    let last = arrivals.come((2 * count + 1) * MEMBERS.len(), |_| true).await?;
    let time = last.duration_since(begun).as_secs_f64();
    delivered(&fleet, "all", 2 * count as u64).await?;
    let (cpu, told) = (scales.cpu_ms() - cpu, begun.elapsed().as_secs_f64());
    let objects = 2 * count;
    row(&format!("{objects} objects, cold, to 2 members by TLS"), format!("{time:.2} s"), "");
    row("until the policy tells so", format!("{told:.2} s"), "");
    row("the controller alone: CPU per object", format!("{:.2} ms", cpu / objects as f64), "1.5 ms");
    let budget = if objects > 1_000 { "300 MiB at 10,000" } else { "40 MiB at 1,000" };
    row("the controller alone: memory", format!("{:.1} MiB", scales.memory_mib()), budget);

    let mut arrivals = Arrivals::of_maps(&fleet, &members());
    arrivals.come((count + 1) * MEMBERS.len(), |said| said == "first").await?;
    let mut samples = singles(&fleet, &mut arrivals, count, MEMBERS.len()).await?;
    row("one change → both members, p50 / p99", half_and_most(&mut samples), "25 ms");
    let (cpu, changed) = (scales.cpu_ms(), count.min(500));
    let taken = all_at_once(&fleet, &mut arrivals, changed).await?;
    row(&format!("{changed} changes → both members"), format!("{taken:.2} s"), "2 s");
    let each = (scales.cpu_ms() - cpu) / changed as f64;
    row("the controller alone: CPU for each", format!("{each:.2} ms"), "");
    drop(arrivals);

    // What isn't urgent is written by then.
    tokio::time::sleep(REST).await;
    let cpu = scales.cpu_ms();
    tokio::time::sleep(REST).await;
    let share = (scales.cpu_ms() - cpu) / REST.as_secs_f64() / 10.0;
    row("the controller alone: CPU at rest", format!("{share:.2} % of a core"), "");
    row("the controller alone: memory at rest", format!("{:.1} MiB", scales.memory_mib()), budget);
    row("the controller alone: most memory at any time", format!("{:.1} MiB", scales.peak_mib()), budget);
    controller.stop()?;
    fleet.stop().await;
    Ok(())
}

/// 100 objects on 1,000 members, each of them on 100: how soon a change is everywhere.
async fn large() -> anyhow::Result<()> {
    let names: Vec<(String, String)> = (0..LARGE).map(|n| (format!("m{n}"), format!("member-{n}"))).collect();
    let members: Vec<(&str, &str)> =
        names.iter().map(|(name, alias)| (name.as_str(), alias.as_str())).collect();
    let own = Scales::own();
    let begun = clock();
    let fleet = Fleet::start(&members).await?;
    row("hub and 1,000 members ready", format!("{:.1} s", begun.elapsed().as_secs_f64()), "");
    row("memory of the process then", format!("{:.1} MiB", own.memory_mib()), "");
    let begun = clock();
    let engine = Engine::start(&fleet);
    for set in 0..POLICIES {
        for index in set * PER_POLICY..(set + 1) * PER_POLICY {
            fleet.apply("hub", &config(index, set, "first")).await?;
        }
        let about: Vec<String> = (set * EACH..(set + 1) * EACH).map(|n| format!("m{n}")).collect();
        let labels = json!({"matchLabels": {"set": set.to_string()}});
        let selectors = json!([{"apiVersion": "v1", "kind": "ConfigMap", "labelSelector": labels}]);
        fleet.apply("hub", &policy(&format!("set-{set}"), selectors, &about)).await?;
    }
    for set in 0..POLICIES {
        delivered(&fleet, &format!("set-{set}"), PER_POLICY as u64).await?;
    }
    let taken = begun.elapsed().as_secs_f64();
    row("100 objects to 1,000 members, 100 each (10,000 places)", format!("{taken:.1} s"), "");
    row("memory of the process, hub and members included", format!("{:.1} MiB", own.memory_mib()), "");
    let watched: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
    let mut arrivals = Arrivals::of_maps(&fleet, &watched);
    arrivals.come(POLICIES * PER_POLICY * EACH, |said| said == "first").await?;
    let mut samples = singles(&fleet, &mut arrivals, POLICIES * PER_POLICY, EACH).await?;
    row("one change → 100 of 1,000 members, p50 / p99", half_and_most(&mut samples), "p99 ≤ 1 s");
    let maps: Api<DynamicObject> = fleet.resource("m0", &config(0, 0, "")).await?;
    let there = maps.list(&ListParams::default()).await?.items.len();
    anyhow::ensure!(there >= PER_POLICY, "not everything is there: {there}");
    drop(arrivals);
    engine.stop().await?;
    fleet.stop().await;
    Ok(())
}

/// Where an object goes among 1,000 members, by labels, its replicas divided by room: decided one after the other.
fn decisions() -> anyhow::Result<()> {
    let manifest = json!({"apiVersion": GROUP, "kind": "PropagationPolicy",
        "metadata": {"name": "divided", "namespace": "demo"}, "spec": {
            "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
            "placement": {
                "clusterAffinity": {"labelSelector": {"matchLabels": {"region": "r1"}}},
                "spreadConstraints": [{"spreadByField": "cluster", "minGroups": 2, "maxGroups": 10}],
                "replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted",
                    "weightPreference": {"dynamicWeight": "AvailableReplicas"}}}}});
    let read = Reader::new(KindTable::builtin()).propagation(&manifest);
    let policy = read.map_err(|problem| anyhow::anyhow!("{}", problem.message))?;
    anyhow::ensure!(policy.problems.is_empty(), "{:?}", policy.problems);
    let members = (0..LARGE).map(|n| {
        let cluster = json!({"apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
            "metadata": {"name": format!("m{n}"), "labels": {"region": format!("r{}", n % 4)}},
            "spec": {"hubAcceptsClient": true},
            "status": {"conditions": [{"type": "ManagedClusterConditionAvailable", "status": "True", "reason": "Up",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Available", "status": "True", "reason": "Up",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        serde_json::from_value(cluster).map(|cluster| Member::of(&cluster))
    });
    let fleet = Known::new(members.collect::<Result<_, _>>()?);
    let survey = Survey::of(&policy.rules, &fleet);
    let (placed, trouble) = (Placed::default(), BTreeMap::new());
    let room = |name: &str| Some(10 + name.len() as u64);
    let begun = clock();
    let mut replicas = 0;
    for index in 0..DECISIONS {
        let seed = format!("apps/Deployment demo/object-{index}");
        let demand = Demand {
            seed: &seed,
            replicas: Some(7 + index as u64 % 5),
            placed: &placed,
            room: &room,
            trouble: &trouble,
            fresh: false,
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        let decision = decide(&policy.rules, &survey, &fleet, &demand);
        replicas += decision.placed.shares.values().flatten().sum::<u64>();
    }
    let each = begun.elapsed().as_secs_f64() / DECISIONS as f64;
    anyhow::ensure!(replicas >= 7 * DECISIONS as u64, "something found no place: {replicas}");
    row("decisions a second, among 1,000 members", format!("{:.0}", 1.0 / each), "2,000");
    Ok(())
}
