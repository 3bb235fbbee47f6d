//! Prints what the controller alone weighs: `cargo bench -p fleet-testkit --bench weight`.
//!
//! Hub and members are in this process and listen on loopback with TLS; `fleetctl controller` is a process of its own,
//! whose processor time and resident memory are read from the kernel (Linux: proc(5)).
//!
//! `cargo bench -p fleet-testkit --bench weight -- 10000` takes another number of Applications;
//! `-- 200 perf record -g -o /tmp/weight.data` starts the controller under a profiler.

#![allow(clippy::indexing_slicing, reason = "a benchmark makes its own JSON")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fleet_api::Application;
use fleet_testkit::Fleet;
use fleetctl::environment::{Called, Environment};
use fleetctl::output::Streams;
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
/// The argument by which this program is the controller.
const CONTROLLER: &str = "--controller";

fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let [first, kubeconfig] = arguments.as_slice()
        && first == CONTROLLER
    {
        return controller(&runtime, kubeconfig);
    }
    let count = arguments.first().and_then(|n| n.parse().ok()).unwrap_or(APPLICATIONS);
    runtime.block_on(measure(count, arguments.get(1..).unwrap_or_default()))
}

/// What `fleetctl controller` does.
#[expect(clippy::disallowed_methods, reason = "it is a main of its own")]
fn controller(runtime: &tokio::runtime::Runtime, kubeconfig: &str) -> anyhow::Result<()> {
    let environment = Environment {
        streams: Streams::standard(),
        clock: Arc::new(jiff::Timestamp::now),
        seed: 7,
        kubeconfig: None,
        home: None,
        temporary: std::env::temp_dir(),
        executable: std::env::current_exe()?,
        process: std::process::id(),
        called: Called::Fleetctl,
        redraws: false,
    };
    let arguments = ["fleetctl", "controller", "--kubeconfig", kubeconfig].map(Into::into);
    let exit = runtime.block_on(fleetctl::run(&environment, &arguments));
    anyhow::ensure!(exit.code() == 0, "the controller ended with {}", exit.code());
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn clock() -> Instant {
    Instant::now()
}

/// Weighs a process.
struct Scales(u32);

impl Scales {
    /// Of the controller, under a profiler too.
    fn of(child: &Child) -> Self {
        let tasks = format!("/proc/{0}/task/{0}/children", child.id());
        let below = std::fs::read_to_string(tasks).unwrap_or_default();
        Self(below.split(' ').find_map(|pid| pid.parse().ok()).unwrap_or(child.id()))
    }

    /// User and system time in milliseconds (clock ticks of 10 ms).
    fn cpu_ms(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let after = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: f64 = after.split(' ').skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
        ticks * 10.0
    }

    /// Resident memory in MiB.
    fn memory_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}

fn row(what: &str, value: String, budget: &str) {
    #[expect(clippy::print_stdout, reason = "printing is what this is for")]
    {
        println!("{what:<62} {value:>18}   {budget}");
    }
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

/// The members' credentials as Secrets on the hub.
async fn credentials(fleet: &Fleet, kubeconfig: &str) -> anyhow::Result<()> {
    let kubeconfig: Value = serde_saphyr::from_str(kubeconfig)?;
    let entry = |list: &str, name: &str, key: &str| {
        let entries = kubeconfig[list].as_array().map(Vec::as_slice).unwrap_or_default();
        entries.iter().find(|entry| entry["name"] == name).map(|entry| entry[key].clone()).unwrap_or_default()
    };
    let system = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleetctl-system"}});
    fleet.apply("hub", &system).await?;
    for (name, _) in MEMBERS {
        let (cluster, user) =
            (entry("clusters", name, "cluster"), entry("users", &format!("{name}-admin"), "user"));
        let secret = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": "fleetctl-system",
                "labels": {"cluster.core.oam.dev/cluster-credential-type": "X509Certificate"}},
            "stringData": {"endpoint": cluster["server"]},
            "data": {"ca.crt": cluster["certificate-authority-data"], "tls.crt": user["client-certificate-data"],
                "tls.key": user["client-key-data"]}});
        fleet.apply("hub", &secret).await?;
    }
    Ok(())
}

fn start(kubeconfig: &Path, under: &[String]) -> anyhow::Result<Child> {
    let own = std::env::current_exe()?;
    let mut command = match under {
        [] => Command::new(&own),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&own);
            command
        }
    };
    Ok(command.arg(CONTROLLER).arg(kubeconfig).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?)
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

async fn apply_all(fleet: &Fleet, manifests: Vec<Value>) -> anyhow::Result<()> {
    let sends = manifests.iter().map(|manifest| fleet.apply("hub", manifest));
    let outcomes: Vec<_> = futures::stream::iter(sends).buffer_unordered(16).collect().await;
    outcomes.into_iter().try_for_each(|outcome| outcome.map(|_| ()))
}

async fn measure(count: usize, under: &[String]) -> anyhow::Result<()> {
    let fleet = Fleet::listening(&MEMBERS, Some(([127, 0, 0, 1], 0).into())).await?;
    let kubeconfig = fleet.embedded().kubeconfig(None)?.context("it listens")?;
    credentials(&fleet, &kubeconfig).await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, &kubeconfig)?;
    apply_all(&fleet, (0..count).flat_map(|index| objects(index, "1")).collect()).await?;

    let mut child = start(&path, under)?;
    // One that is there before: the first of all pays for connections, watches and the members' namespace.
    apply_all(&fleet, objects(count, "1")).await?;
    apply_all(&fleet, vec![application(count)]).await?;
    all_run(&fleet, 1, 1).await?;
    let scales = Scales::of(&child);
    row("what", "measured".to_owned(), "budget");
    row("memory of the controller with one application", format!("{:.1} MiB", scales.memory_mib()), "");

    let (cpu, begun) = (scales.cpu_ms(), clock());
    apply_all(&fleet, (0..count).map(application).collect()).await?;
    all_run(&fleet, count + 1, 1).await?;
    let per_application = (scales.cpu_ms() - cpu) / count as f64;
    let time = begun.elapsed().as_secs_f64();
    row(&format!("{count} applications from nothing to running"), format!("{time:.2} s"), "");
    row("CPU of the controller per application", format!("{per_application:.2} ms"), "5 ms");
    let budget = if count > 1000 { "256 MiB at 10,000" } else { "30 MiB at 200" };
    row(&format!("memory of the controller with {count}"), format!("{:.1} MiB", scales.memory_mib()), budget);

    let cpu = scales.cpu_ms();
    apply_all(&fleet, (0..count).map(|index| objects(index, "2").remove(1)).collect()).await?;
    all_run(&fleet, count, 2).await?;
    let per_run = (scales.cpu_ms() - cpu) / count as f64;
    row("CPU per run that changes one object on 3 members", format!("{per_run:.2} ms"), "");

    let cpu = scales.cpu_ms();
    tokio::time::sleep(REST).await;
    let share = (scales.cpu_ms() - cpu) / REST.as_secs_f64() / 10.0;
    row("CPU at rest", format!("{share:.2} % of a core"), "");
    row("memory at rest", format!("{:.1} MiB", scales.memory_mib()), budget);

    let stopped = Command::new("kill").arg("-INT").arg(scales.0.to_string()).status()?;
    anyhow::ensure!(stopped.success(), "the controller isn't there any more");
    child.wait()?;
    fleet.stop().await;
    Ok(())
}
