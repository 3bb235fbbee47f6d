//! Time, processor time and memory; and how a figure is printed.

use std::collections::BTreeMap;
use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// Prints a figure beside its budget.
pub(crate) fn row(what: &str, value: impl AsRef<str>, budget: &str) {
    #[expect(clippy::print_stdout, reason = "printing is what this is for")]
    {
        println!("{what:<76} {:>18}   {budget}", value.as_ref());
    }
}

/// The sample below which that share of all lies.
pub(crate) fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let index = ((samples.len() as f64 * share).ceil() as usize).clamp(1, samples.len());
    samples[index - 1]
}

/// The middle of samples and the end of them, in milliseconds.
pub(crate) fn half_and_most(samples: &mut [f64]) -> String {
    format!("{:.1} / {:.1} ms", percentile(samples, 0.5), percentile(samples, 0.99))
}

/// Weighs a process.
pub(crate) struct Scales(u32);

impl Scales {
    pub(crate) fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// User and system time in milliseconds (clock ticks of 10 ms).
    pub(crate) fn cpu_ms(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let after = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: f64 = after.split(' ').skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
        ticks * 10.0
    }

    /// Resident memory.
    pub(crate) fn memory(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0);
        format!("{:.1} MiB", kib / 1024.0)
    }
}

/// What something took.
pub(crate) struct Spent {
    pub(crate) seconds: f64,
    /// Of this process and all that it started.
    pub(crate) cpu_ms: f64,
    /// The same by program, those of one name together.
    pub(crate) processes: Vec<(String, f64)>,
}

/// Does something, and says what it took.
pub(crate) async fn spent(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Spent> {
    let (before, begun) = (by_program(), clock());
    work.await?;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), by_program());
    let taken = |(name, cpu): (String, f64)| {
        let earlier = before.get(&name).copied().unwrap_or_default();
        (name, cpu - earlier)
    };
    let processes: Vec<_> = after.into_iter().map(taken).filter(|(_, cpu)| *cpu > 0.0).collect();
    Ok(Spent { seconds, cpu_ms: processes.iter().map(|(_, cpu)| cpu).sum(), processes })
}

/// Processor time of this process and of those that it started.
fn by_program() -> BTreeMap<String, f64> {
    let own = std::process::id();
    let tasks = std::fs::read_dir(format!("/proc/{own}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> = children
        .flat_map(|all| all.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    let mut all = BTreeMap::new();
    for pid in children.into_iter().chain([own]) {
        let name = if pid == own { "this benchmark".to_owned() } else { program(pid) };
        *all.entry(name).or_default() += Scales(pid).cpu_ms();
    }
    all
}

/// Its program; of several of one sort the hub's apart.
fn program(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let name = line.split('\0').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let name = if name == "server" { "etcd" } else { name };
    let hub = line.contains("--etcd-prefix=/hub\0") || line.contains("/hub.kubeconfig");
    if hub { format!("{name} of the hub") } else { name.to_owned() }
}

/// How busy the machine is (proc(5), `loadavg`): processes that run or would, over the last minute.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
