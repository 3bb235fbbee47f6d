//! What benchmarks share: the clock, scales, rows, and the bare loop that figures are compared with.

pub mod apart;

use std::fmt::Display;
use std::process::Child;
use std::time::Instant;

use anyhow::Context as _;
use fleet_apiserver::Identity;
use futures::StreamExt as _;
use kube::Client;
use serde_json::{Value, json};

use crate::{Fleet, Meter};

/// How many requests the bare loop has under way at once.
const AT_ONCE: usize = 48;
/// The namespace that the bare loop writes to.
const BARE: &str = "bare";

/// What time it is.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub fn clock() -> Instant {
    Instant::now()
}

/// Weighs a process (Linux: proc(5)).
#[derive(Debug, Clone)]
pub struct Scales(String);

impl Scales {
    /// Weighs this process.
    pub fn own() -> Self {
        Self("self".to_owned())
    }

    /// Weighs another process; where it started one of its own, as a profiler does, that one.
    pub fn of(child: &Child) -> Self {
        let tasks = format!("/proc/{0}/task/{0}/children", child.id());
        let below = std::fs::read_to_string(tasks).unwrap_or_default();
        let below = below.split(' ').find(|pid| pid.parse::<u32>().is_ok());
        Self(below.map_or_else(|| child.id().to_string(), str::to_owned))
    }

    /// Its number, or `self`.
    pub fn process(&self) -> &str {
        &self.0
    }

    /// User and system time so far, in milliseconds (clock ticks of 10 ms).
    pub fn cpu_ms(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let after = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: f64 = after.split(' ').skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
        ticks * 10.0
    }

    /// Resident memory now, in MiB.
    pub fn memory_mib(&self) -> f64 {
        self.status_mib("VmRSS:")
    }

    /// The most resident memory that there was so far, in MiB.
    pub fn peak_mib(&self) -> f64 {
        self.status_mib("VmHWM:")
    }

    fn status_mib(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}

/// Prints one figure beside its budget.
pub fn row(what: &str, value: impl Display, budget: &str) {
    #[expect(clippy::print_stdout, reason = "printing is what this is for")]
    {
        println!("{what:<66} {:>20}   {budget}", value.to_string());
    }
}

/// The first row: what the columns are, and how busy the machine was when it began (proc(5), `loadavg`).
pub fn head() {
    row("what", "measured", "budget");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minute = load.split(' ').next().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    row(&format!("load of the machine before ({cores} cores)"), minute, "");
}

/// The sample below which a share of all are; sorts them. 0 where there is none.
pub fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let index = ((samples.len() as f64 * share).ceil() as usize).clamp(1, samples.len().max(1));
    samples.get(index - 1).copied().unwrap_or(0.0)
}

/// The middle of samples and the end of them, in milliseconds.
pub fn half_and_most(samples: &mut [f64]) -> String {
    format!("{:.1} / {:.1} ms", percentile(samples, 0.5), percentile(samples, 0.99))
}

/// Applies objects to members in the process without a controller, to the namespace `bare`. CPU of the whole process in
/// milliseconds, and seconds.
///
/// # Errors
/// Where a member refuses.
pub async fn bare_loop(fleet: &Fleet, members: &[&str], objects: &[Value]) -> anyhow::Result<(f64, f64)> {
    let meter = Meter::new();
    let clients = members.iter().map(|name| meter.client(fleet.api().service(name, Identity::admin(BARE))));
    let clients: Vec<Client> = clients.collect();
    for member in members {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BARE}});
        fleet.apply(member, &namespace).await?;
    }
    let scales = Scales::own();
    let (cpu, begun) = (scales.cpu_ms(), clock());
    send_all(&clients, objects).await?;
    Ok((scales.cpu_ms() - cpu, begun.elapsed().as_secs_f64()))
}

/// Applies objects through clients to the namespace `bare`, 48 at a time.
///
/// # Errors
/// Where a cluster refuses.
pub async fn send_all(clients: &[Client], objects: &[Value]) -> anyhow::Result<()> {
    let sends = objects.iter().flat_map(|object| clients.iter().map(move |client| send(client, object)));
    let sends: Vec<_> = sends.collect();
    let sent: Vec<anyhow::Result<()>> =
        futures::stream::iter(sends).buffer_unordered(AT_ONCE).collect().await;
    sent.into_iter().collect()
}

/// One apply as it can't be done with less: no type is looked up, and the answer is read and forgotten.
async fn send(client: &Client, object: &Value) -> anyhow::Result<()> {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let (group, plural) = match text("/apiVersion") {
        "v1" => ("api/v1".to_owned(), format!("{}s", text("/kind").to_lowercase())),
        other => (format!("apis/{other}"), format!("{}s", text("/kind").to_lowercase())),
    };
    let uri = format!("/{group}/namespaces/{BARE}/{plural}/{}?fieldManager={BARE}", text("/metadata/name"));
    let mut object = object.clone();
    let metadata = object.pointer_mut("/metadata").and_then(Value::as_object_mut);
    metadata.context("no metadata")?.insert("namespace".to_owned(), json!(BARE));
    let request = http::Request::patch(uri)
        .header("content-type", "application/apply-patch+yaml")
        .body(serde_json::to_vec(&object)?)?;
    client.request::<Value>(request).await?;
    Ok(())
}
