//! Prints the figures of the README: `cargo bench -p fleet-testkit --bench figures`.
//!
//! Times, memory and CPU are of this process, which holds the hub, the members, the simulator and the
//! controller; the bare loop beside it sends the same applies without a controller.

#![allow(clippy::indexing_slicing, reason = "a benchmark makes its own JSON")]

use std::time::Instant;

use fleet_testkit::measure::{Scales, bare_loop, clock, half_and_most, head, row};
use fleet_testkit::{Engine, Fleet};
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};

/// How many applications are delivered at once.
const APPLICATIONS: usize = 200;
/// How many latencies are taken.
const SAMPLES: usize = 50;
const MEMBERS: [(&str, &str); 3] = [("m1", "one"), ("m2", "two"), ("m3", "three")];

fn objects(index: usize) -> Vec<Value> {
    let name = format!("app-{index}");
    let config = |name: String| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "demo"},
            "data": {"id": index.to_string()}})
    };
    vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "demo"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "nginx"}]}}}}),
        config(format!("{name}-one")),
        config(format!("{name}-two")),
    ]
}

fn application(index: usize, gated: bool) -> Value {
    let objects: Vec<Value> = objects(index)
        .iter()
        .map(|o| json!({"apiVersion": o["apiVersion"], "kind": o["kind"], "name": o["metadata"]["name"]}))
        .collect();
    let mut app = json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": format!("app-{index}"), "namespace": "demo"}, "spec": {
            "components": [{"name": "main", "type": "ref-objects", "properties": {"objects": objects}}],
            "policies": [{"name": "where", "type": "topology", "properties": {"clusters": ["m1", "m2", "m3"]}}]}});
    if gated {
        app["spec"]["workflow"] = json!({"steps": [
            {"name": "go", "type": "deploy", "properties": {"auto": false, "policies": ["where"]}}]});
    }
    app
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    head();
    let begun = clock();
    let fleet = Fleet::start(&MEMBERS).await?;
    let engine = Engine::start(&fleet);
    row("hub + 3 members ready", format!("{:.3} s", begun.elapsed().as_secs_f64()), "0.3 s");
    row("memory of the process then", format!("{:.1} MiB", Scales::own().memory_mib()), "40 MiB");
    requests(&fleet, &engine).await?;
    latencies(&fleet).await?;
    engine.stop().await?;
    fleet.stop().await;
    many().await
}

/// Requests for one application of 3 objects on 3 members.
async fn requests(fleet: &Fleet, engine: &Engine) -> anyhow::Result<()> {
    for object in objects(0).iter().chain(&objects(1)) {
        fleet.apply("hub", object).await?;
    }
    fleet.apply("hub", &application(0, false)).await?;
    fleet.wait_phase("app-0", "running").await?;
    engine.hub.reset();
    engine.members.reset();
    fleet.apply("hub", &application(1, false)).await?;
    fleet.wait_phase("app-1", "running").await?;
    let (hub, members) = (engine.hub.count(), engine.members.count());
    let per_object = members.requests() as f64 / 9.0;
    row(
        "requests to members per delivered object, first delivery",
        format!("{per_object:.2}"),
        "2 (apply, metadata read)",
    );
    row("requests to the hub for an application's first run", hub.requests().to_string(), "5, + 2 once");
    engine.hub.reset();
    engine.members.reset();
    let mut object = objects(1).remove(1);
    object["data"]["id"] = json!("changed");
    fleet.apply("hub", &object).await?;
    fleet.wait_run("app-1", 2, "running").await?;
    let (hub, members) = (engine.hub.count(), engine.members.count());
    row("requests to members for one changed object on 3 members", members.requests().to_string(), "3");
    row("requests to the hub for a run of one step", hub.requests().to_string(), "5");
    Ok(())
}

/// From an approval to the first object on a member, and from the last ready object to the end of the step.
async fn latencies(fleet: &Fleet) -> anyhow::Result<()> {
    let (mut resume, mut done) = (Vec::new(), Vec::new());
    for index in 1000..1000 + SAMPLES {
        for mut object in objects(index) {
            if object["kind"] == "Deployment" {
                object["spec"]["replicas"] = json!(1);
            }
            fleet.apply("hub", &object).await?;
        }
        let name = format!("app-{index}");
        fleet.apply("hub", &application(index, true)).await?;
        let waiting = fleet.wait_phase(&name, "workflowSuspending").await?;
        let deployments = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
        let mut watches = Vec::new();
        for (member, _) in MEMBERS {
            watches.push(ready(fleet.resource(member, &deployments).await?, name.clone()));
        }
        let approved = clock();
        let ((), ready, ended) = tokio::try_join!(
            async { fleet.approve(&waiting).await.map(|_| ()) },
            futures::future::try_join_all(watches),
            async { fleet.wait_phase(&name, "running").await.map(|_| clock()) }
        )?;
        if let Some(first) = ready.iter().map(|(first, _)| *first).min() {
            resume.push(first.duration_since(approved).as_secs_f64() * 1000.0);
        }
        if let Some(last) = ready.iter().map(|(_, ready)| *ready).max() {
            done.push(ended.saturating_duration_since(last).as_secs_f64() * 1000.0);
        }
    }
    for (what, samples) in
        [("resume → first object on a member", &mut resume), ("last member ready → running shown", &mut done)]
    {
        row(what, half_and_most(samples), "p50 / p99 ≤ 100 ms");
    }
    Ok(())
}

/// When an object first appears, and when it is ready.
async fn ready(api: Api<DynamicObject>, name: String) -> anyhow::Result<(Instant, Instant)> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff().applied_objects());
    let mut first = None;
    while let Some(object) = events.next().await {
        let object = object?;
        let seen = *first.get_or_insert_with(clock);
        if object.data.pointer("/status/readyReplicas") == Some(&json!(1)) {
            return Ok((seen, clock()));
        }
    }
    anyhow::bail!("the watch ended")
}

/// Many applications at once, beside a bare loop that sends the same applies.
async fn many() -> anyhow::Result<()> {
    let fleet = Fleet::start(&MEMBERS).await?;
    for index in 0..APPLICATIONS {
        for object in objects(index) {
            fleet.apply("hub", &object).await?;
        }
    }
    let members: Vec<&str> = MEMBERS.iter().map(|(name, _)| *name).collect();
    let all: Vec<Value> = (0..APPLICATIONS).flat_map(objects).collect();
    let (bare_cpu, bare_time) = bare_loop(&fleet, &members, &all).await?;
    row("bare loop: the same 1,800 applies", format!("{bare_time:.2} s"), "");

    for index in 0..APPLICATIONS {
        fleet.apply("hub", &application(index, false)).await?;
    }
    let (cpu, begun) = (Scales::own().cpu_ms(), clock());
    let engine = Engine::start(&fleet);
    for index in 0..APPLICATIONS {
        fleet.wait_phase(&format!("app-{index}"), "running").await?;
    }
    let (all_cpu, all_time) = (Scales::own().cpu_ms() - cpu, begun.elapsed().as_secs_f64());
    row(
        "200 applications from nothing to running",
        format!("{all_time:.2} s"),
        "1.5 × the bare loop, on real clusters",
    );
    let per_application = (all_cpu - bare_cpu) / APPLICATIONS as f64;
    row(
        "CPU per application, less the bare loop's",
        format!("{per_application:.1} ms"),
        "5 ms for the controller alone",
    );
    row("memory of the process then", format!("{:.1} MiB", Scales::own().memory_mib()), "");
    engine.stop().await?;
    fleet.stop().await;
    Ok(())
}
