//! Prints what the controller alone weighs: `cargo bench -p fleet-testkit --bench weight`.
//!
//! Hub and members are in this process and listen on loopback with TLS; `fleetctl controller` is a process of its own,
//! whose processor time and resident memory are read from the kernel (Linux: proc(5)).
//!
//! `cargo bench -p fleet-testkit --bench weight -- 10000` takes another number of Applications;
//! `-- 200 perf record -g -o /tmp/weight.data` starts the controller under a profiler.

#![allow(clippy::indexing_slicing, reason = "a benchmark makes its own JSON")]

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use fleet_api::Application;
use fleet_testkit::Fleet;
use fleet_testkit::measure::apart::{Apart, apply_all, is_controller};
use fleet_testkit::measure::{clock, head, row};
use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};

/// How many Applications there are unless told otherwise.
const APPLICATIONS: usize = 200;
const MEMBERS: [(&str, &str); 3] = [("m1", "one"), ("m2", "two"), ("m3", "three")];
/// How long it is watched at rest.
const REST: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if is_controller(&runtime, &arguments)? {
        return Ok(());
    }
    let count = arguments.first().and_then(|n| n.parse().ok()).unwrap_or(APPLICATIONS);
    runtime.block_on(measure(count, arguments.get(1..).unwrap_or_default()))
}

fn objects(index: usize, value: &str) -> Vec<Value> {
    let name = format!("app-{index}");
    let config = |name: String| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "demo"},
            "data": {"id": index.to_string(), "value": value}})
    };
    vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "demo"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "nginx"}]}}}}),
        config(format!("{name}-one")),
        config(format!("{name}-two")),
    ]
}

fn application(index: usize) -> Value {
    let objects: Vec<Value> = objects(index, "")
        .iter()
        .map(|o| json!({"apiVersion": o["apiVersion"], "kind": o["kind"], "name": o["metadata"]["name"]}))
        .collect();
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": format!("app-{index}"), "namespace": "demo"}, "spec": {
            "components": [{"name": "main", "type": "ref-objects", "properties": {"objects": objects}}],
            "policies": [{"name": "where", "type": "topology", "properties": {"clusters": ["m1", "m2", "m3"]}}]}})
}

/// Waits until so many Applications run this revision.
async fn all_run(fleet: &Fleet, count: usize, revision: i64) -> anyhow::Result<()> {
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    let mut events =
        std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    let mut running = BTreeSet::new();
    while running.len() < count {
        let app = events.next().await.context("the watch ended")??;
        let status = app.status.clone().unwrap_or_default();
        if status.status.as_str() == "running"
            && status.latest_revision.is_some_and(|r| r.revision >= revision)
        {
            running.insert(app.name_any());
        }
    }
    Ok(())
}

async fn measure(count: usize, under: &[String]) -> anyhow::Result<()> {
    let fleet = Fleet::listening(&MEMBERS, Some(([127, 0, 0, 1], 0).into())).await?;
    let all: Vec<Value> = (0..count).flat_map(|index| objects(index, "1")).collect();
    apply_all(&fleet, &all).await?;

    head();
    let members: Vec<&str> = MEMBERS.iter().map(|(name, _)| *name).collect();
    let controller = Apart::start(&fleet, &members, under).await?;
    // One that is there before: the first of all pays for connections, watches and the members' namespace.
    apply_all(&fleet, &objects(count, "1")).await?;
    apply_all(&fleet, &[application(count)]).await?;
    all_run(&fleet, 1, 1).await?;
    let scales = controller.scales();
    row("memory of the controller with one application", format!("{:.1} MiB", scales.memory_mib()), "");

    let (cpu, begun) = (scales.cpu_ms(), clock());
    apply_all(&fleet, &(0..count).map(application).collect::<Vec<_>>()).await?;
    all_run(&fleet, count + 1, 1).await?;
    let per_application = (scales.cpu_ms() - cpu) / count as f64;
    let time = begun.elapsed().as_secs_f64();
    row(&format!("{count} applications from nothing to running"), format!("{time:.2} s"), "");
    row("CPU of the controller per application", format!("{per_application:.2} ms"), "5 ms");
    let budget = if count > 1000 { "256 MiB at 10,000" } else { "30 MiB at 200" };
    row(&format!("memory of the controller with {count}"), format!("{:.1} MiB", scales.memory_mib()), budget);

    let cpu = scales.cpu_ms();
    let changed: Vec<Value> = (0..count).map(|index| objects(index, "2").remove(1)).collect();
    apply_all(&fleet, &changed).await?;
    all_run(&fleet, count, 2).await?;
    let per_run = (scales.cpu_ms() - cpu) / count as f64;
    row("CPU per run that changes one object on 3 members", format!("{per_run:.2} ms"), "");

    let cpu = scales.cpu_ms();
    tokio::time::sleep(REST).await;
    let share = (scales.cpu_ms() - cpu) / REST.as_secs_f64() / 10.0;
    row("CPU at rest", format!("{share:.2} % of a core"), "");
    row("memory at rest", format!("{:.1} MiB", scales.memory_mib()), budget);

    controller.stop()?;
    fleet.stop().await;
    Ok(())
}
