//! Prints what it costs to distribute native objects by policies: `cargo bench -p fleet-testkit --bench propagation`.
//!
//! Hub, members and controller are in this process; the bare loop beside it sends the same applies without a controller.
//! `-- cold`, `-- fleet` or `-- decisions` does one part only.

#![allow(clippy::indexing_slicing, reason = "a benchmark makes its own JSON")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fleet_placement::{Demand, Fleet as Known, Member, Placed, Survey, decide};
use fleet_propagation::{KindTable, Reader};
use fleet_testkit::{Engine, Fleet, Meter};
use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// How many Deployments there are, and as many ConfigMaps.
const OBJECTS: usize = 500;
const MEMBERS: [(&str, &str); 2] = [("m1", "one"), ("m2", "two")];
/// How many single changes are timed.
const SAMPLES: usize = 100;
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
const GROUP: &str = "one.alibabacloud.com/v1alpha1";

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn clock() -> Instant {
    Instant::now()
}

/// User and system time of this process, in milliseconds (proc(5): clock ticks of 10 ms).
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: f64 = after.split(' ').skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks * 10.0
}

/// Resident memory of this process, in MiB.
fn memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn row(what: &str, value: String, budget: &str) {
    #[expect(clippy::print_stdout, reason = "printing is what this is for")]
    {
        println!("{what:<62} {value:>18}   {budget}");
    }
}

fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let index = ((samples.len() as f64 * share).ceil() as usize).clamp(1, samples.len());
    samples[index - 1]
}

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

fn policy(name: &str, selectors: Value, clusters: &[String]) -> Value {
    json!({"apiVersion": GROUP, "kind": "PropagationPolicy", "metadata": {"name": name, "namespace": "demo"},
        "spec": {"resourceSelectors": selectors, "placement": {"clusterAffinity": {"clusterNames": clusters}}}})
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let parts: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    row("what", "measured".to_owned(), "budget");
    if wanted("decisions") {
        decisions()?;
    }
    if wanted("cold") {
        cold().await?;
    }
    if wanted("fleet") {
        large().await?;
    }
    Ok(())
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

/// What arrives on members: member, name and value of each ConfigMap, and when.
fn arrivals(fleet: &Fleet, members: &[String]) -> mpsc::UnboundedReceiver<(String, String, Instant)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for member in members {
        let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(fleet.client(member), "demo");
        let sender = sender.clone();
        #[expect(clippy::disallowed_methods, reason = "it ends with the receiver")]
        tokio::spawn(async move {
            let mut events =
                std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
            while let Some(Ok(map)) = events.next().await {
                let value = map.data.as_ref().and_then(|data| data.get("value")).cloned().unwrap_or_default();
                if sender.send((map.name_any(), value, clock())).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

async fn change(fleet: &Fleet, index: usize, value: &str) -> anyhow::Result<()> {
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(fleet.client("hub"), "demo");
    let patch = json!({"data": {"value": value}});
    api.patch(&format!("object-{index}"), &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// When so many objects have come with a value.
async fn come(
    arrived: &mut mpsc::UnboundedReceiver<(String, String, Instant)>,
    value: &str,
    mut count: usize,
) -> anyhow::Result<Instant> {
    let mut last = clock();
    while count > 0 {
        let next = tokio::time::timeout(LONGEST, arrived.recv()).await;
        let (_, seen, at) =
            next.with_context(|| format!("{count} didn't arrive"))?.context("the watches ended")?;
        if seen == value {
            count -= 1;
            last = at;
        }
    }
    Ok(last)
}

/// 500 Deployments and 500 ConfigMaps to two members; then single changes, then all.
async fn cold() -> anyhow::Result<()> {
    let fleet = Fleet::start(&MEMBERS).await?;
    for index in 0..OBJECTS {
        fleet.apply("hub", &deployment(index)).await?;
        fleet.apply("hub", &config(index, 0, "first")).await?;
    }
    let (cpu, begun) = (cpu_ms(), clock());
    bare(&fleet).await?;
    let (bare_cpu, bare_time) = (cpu_ms() - cpu, begun.elapsed().as_secs_f64());
    row("bare loop: the same 2,000 applies", format!("{bare_time:.2} s"), "");

    let members: Vec<String> = MEMBERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let selectors = json!([{"apiVersion": "apps/v1", "kind": "Deployment"},
        {"apiVersion": "v1", "kind": "ConfigMap", "labelSelector": {"matchLabels": {"set": "0"}}}]);
    fleet.apply("hub", &policy("all", selectors, &members)).await?;
    let (cpu, begun) = (cpu_ms(), clock());
    let engine = Engine::start(&fleet);
    delivered(&fleet, "all", 2 * OBJECTS as u64).await?;
    let (all_cpu, all_time) = (cpu_ms() - cpu, begun.elapsed().as_secs_f64());
    let objects = 2.0 * OBJECTS as f64;
    row(
        "500 Deployments + 500 ConfigMaps, cold, to 2 members",
        format!("{all_time:.2} s ({:.2} ×)", all_time / bare_time),
        "1.5 × the bare loop",
    );
    let hub = engine.hub.count();
    let requests = hub.sum(|kind| !kind.contains("events")) as f64 / objects;
    row("requests to the hub per object, Events aside", format!("{requests:.2}"), "2");
    let requests = engine.members.count().requests() as f64 / (objects * MEMBERS.len() as f64);
    row("requests to members per object and member", format!("{requests:.2}"), "2 (apply, metadata read)");
    row(
        "CPU of the whole process per object, less the bare loop's",
        format!("{:.2} ms", (all_cpu - bare_cpu) / objects),
        "1.5 ms for the controller alone",
    );
    row("memory of the process, hub and members included", format!("{:.1} MiB", memory_mib()), "");

    let mut arrived = arrivals(&fleet, &members);
    come(&mut arrived, "first", OBJECTS * MEMBERS.len()).await?;
    let mut samples = Vec::new();
    for sample in 0..SAMPLES {
        let value = format!("single-{sample}");
        let begun = clock();
        change(&fleet, sample, &value).await?;
        let last = come(&mut arrived, &value, MEMBERS.len()).await?;
        samples.push(last.duration_since(begun).as_secs_f64() * 1000.0);
    }
    let (half, most) = (percentile(&mut samples, 0.5), percentile(&mut samples, 0.99));
    row("one change → both members, p50 / p99", format!("{half:.1} / {most:.1} ms"), "25 ms");
    let (cpu, begun) = (cpu_ms(), clock());
    let changes = (0..OBJECTS).map(|index| change(&fleet, index, "all"));
    let changes = futures::stream::iter(changes).buffer_unordered(48).collect::<Vec<_>>();
    let (changed, last) = tokio::join!(changes, come(&mut arrived, "all", OBJECTS * MEMBERS.len()));
    changed.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    let taken = last?.duration_since(begun).as_secs_f64();
    row("500 changes → both members", format!("{taken:.2} s"), "2 s");
    row("CPU of the whole process for each", format!("{:.2} ms", (cpu_ms() - cpu) / OBJECTS as f64), "");
    drop(arrived);
    engine.stop().await?;
    fleet.stop().await;
    Ok(())
}

/// The same applies without a controller.
async fn bare(fleet: &Fleet) -> anyhow::Result<()> {
    let meter = Meter::new();
    let mut sends = Vec::new();
    for (member, _) in MEMBERS {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bare"}});
        fleet.apply(member, &namespace).await?;
        let client = meter.client(fleet.api().service(member, fleet_apiserver::Identity::admin("bare")));
        for index in 0..OBJECTS {
            sends.push(send(client.clone(), "apis/apps/v1", "deployments", deployment(index)));
            sends.push(send(client.clone(), "api/v1", "configmaps", config(index, 0, "first")));
        }
    }
    let sent: Vec<anyhow::Result<()>> = futures::stream::iter(sends).buffer_unordered(48).collect().await;
    sent.into_iter().collect()
}

async fn send(client: kube::Client, group: &str, plural: &str, mut object: Value) -> anyhow::Result<()> {
    object["metadata"]["namespace"] = json!("bare");
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let uri = format!("/{group}/namespaces/bare/{plural}/{name}?fieldManager=bare");
    let request = http::Request::patch(uri)
        .header("content-type", "application/apply-patch+yaml")
        .body(serde_json::to_vec(&object)?)?;
    client.request::<Value>(request).await?;
    Ok(())
}

/// 100 objects on 1,000 members, each of them on 100: how soon a change is everywhere.
async fn large() -> anyhow::Result<()> {
    let names: Vec<(String, String)> = (0..LARGE).map(|n| (format!("m{n}"), format!("member-{n}"))).collect();
    let members: Vec<(&str, &str)> =
        names.iter().map(|(name, alias)| (name.as_str(), alias.as_str())).collect();
    let fleet = Fleet::start(&members).await?;
    let engine = Engine::start(&fleet);
    let begun = clock();
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
    row("memory of the process, hub and members included", format!("{:.1} MiB", memory_mib()), "");
    let watched: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
    let mut arrived = arrivals(&fleet, &watched);
    come(&mut arrived, "first", POLICIES * PER_POLICY * EACH).await?;
    let mut samples = Vec::new();
    for sample in 0..SAMPLES {
        let value = format!("single-{sample}");
        let begun = clock();
        change(&fleet, sample % (POLICIES * PER_POLICY), &value).await?;
        let last = come(&mut arrived, &value, EACH).await?;
        samples.push(last.duration_since(begun).as_secs_f64() * 1000.0);
    }
    let (half, most) = (percentile(&mut samples, 0.5), percentile(&mut samples, 0.99));
    row("one change → 100 of 1,000 members, p50 / p99", format!("{half:.0} / {most:.0} ms"), "p99 ≤ 1 s");
    let maps: Api<DynamicObject> = fleet.resource("m0", &config(0, 0, "")).await?;
    anyhow::ensure!(
        maps.list(&ListParams::default()).await?.items.len() >= PER_POLICY,
        "not everything is there"
    );
    drop(arrived);
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
