//! Prints the figures of a real hub and three real members:
//! `cargo bench -p fleet-real --features real --bench figures [-- NUMBER-OF-APPLICATIONS]`; of a real hub and two real
//! members, what distribution by a policy costs: `… --bench figures -- propagation [NUMBER]` (500 Deployments and as many
//! ConfigMaps).
//!
//! All runs on this machine: four kube-apiservers on one etcd (without fsync), the members' controllers, and
//! `fleetctl controller`, built with `--release`, as a process of its own. An application is a Deployment, a Service and
//! a ConfigMap on each of three members. Requests are counted from the API servers' audit logs, processor time and
//! memory read from the kernel (Linux: proc(5)).

#![allow(clippy::indexing_slicing, reason = "a benchmark makes its own JSON")]

mod bare;
mod counts;
mod latencies;
mod load;
mod manifests;
mod propagation;
mod scales;

use std::time::Duration;

use anyhow::Context as _;
use fleet_real::{ClusterSpec, Fleet, Life};

use crate::load::Clients;
use crate::scales::{Scales, clock, row};

/// How many Applications there are unless told otherwise.
const APPLICATIONS: usize = 200;
/// How many Deployments, and ConfigMaps, a policy distributes unless told otherwise.
const OBJECTS: usize = 500;
/// How many latencies are taken of each sort.
const SAMPLES: usize = 50;
/// How many requests the bare loop has under way, and whoever applies to the hub.
const AT_ONCE: usize = 16;
/// How long it is watched at rest.
const REST: Duration = Duration::from_secs(10);
/// An end, whatever hangs.
const LIMIT: Duration = Duration::from_secs(1800);
const MEMBERS: [&str; 3] = ["m1", "m2", "m3"];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let distributes = arguments.first().is_some_and(|part| part == "propagation");
    let count = match arguments.get(usize::from(distributes)) {
        Some(number) => number.parse().with_context(|| format!("{number}: not a number"))?,
        None if distributes => OBJECTS,
        None => APPLICATIONS,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let measured = async { if distributes { distribution(count).await } else { measure(count).await } };
        tokio::time::timeout(LIMIT, measured).await.context("it takes too long")?
    })
}

/// Native objects by a policy, on two members.
async fn distribution(count: usize) -> anyhow::Result<()> {
    fleet_real::controller::built()?;
    let members = MEMBERS.get(..2).unwrap_or_default();
    row("what", "measured", "budget");
    row("load of the machine before (two cores)", scales::load(), "");
    let specs = members.iter().map(|name| ClusterSpec::new(name, Life::Nodeless).audited());
    let fleet = Fleet::start(ClusterSpec::new("hub", Life::Inert).audited(), specs).await?;
    let clients = Clients::new(&fleet).await?;
    for namespace in [manifests::NAMESPACE, bare::NAMESPACE] {
        clients.namespace_everywhere(namespace).await?;
    }
    let mut controller = fleet.shipped_controller(&[])?;
    let scales = Scales::of(controller.process().pid().context("the controller runs")?);
    propagation::measure(&fleet, &clients, &scales, members, count).await?;
    controller.process().must_run()?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

async fn measure(count: usize) -> anyhow::Result<()> {
    // Built first, lest the compiler be measured.
    fleet_real::controller::built()?;
    row("what", "measured", "budget");
    let begun = clock();
    let members = MEMBERS.map(|name| ClusterSpec::new(name, Life::Nodeless).audited());
    let fleet = Fleet::start(ClusterSpec::new("hub", Life::Inert).audited(), members).await?;
    row("hub and 3 members ready, members known", format!("{:.1} s", begun.elapsed().as_secs_f64()), "");
    let clients = Clients::new(&fleet).await?;
    for namespace in [manifests::NAMESPACE, bare::NAMESPACE] {
        clients.namespace_everywhere(namespace).await?;
    }

    let mut controller = fleet.shipped_controller(&[])?;
    let scales = Scales::of(controller.process().pid().context("the controller runs")?);
    counts::one_application(&fleet, &clients).await?;
    row("memory of the controller with 2 applications", scales.memory(), "");

    let before = bare::timed(&clients, 0..count).await?;
    let all = many(&fleet, &clients, &scales, count).await?;
    let after = bare::timed(&clients, count..2 * count).await?;
    let loop_time = (before.seconds + after.seconds) / 2.0;
    let applies = count * 9;
    let loops = format!("{:.2} / {:.2} s", before.seconds, after.seconds);
    row(&format!("bare loop: the same {applies} applies, {AT_ONCE} at once; before / after"), loops, "");
    row(
        &format!("{count} applications from the first `apply` to the last `running`"),
        format!("{:.2} s", all.seconds),
        "",
    );
    row("  that time ÷ the bare loop's", format!("{:.2}", all.seconds / loop_time), "1.5");
    row(
        "  CPU of all processes, that time ÷ the bare loops'",
        format!("{:.2}", 2.0 * all.cpu_ms / (before.cpu_ms + after.cpu_ms)),
        "",
    );
    for (process, cpu) in &all.processes {
        let part =
            |all: &[(String, f64)]| all.iter().find(|(name, _)| name == process).map_or(0.0, |(_, cpu)| *cpu);
        let beside = (part(&before.processes) + part(&after.processes)) / 2.0;
        row(
            &format!("    {process}, beside in the bare loops"),
            format!("{:.2} / {:.2} s", cpu / 1e3, beside / 1e3),
            "",
        );
    }

    let cpu = scales.cpu_ms();
    tokio::time::sleep(REST).await;
    let share = (scales.cpu_ms() - cpu) / REST.as_secs_f64() / 10.0;
    row("CPU of the controller at rest", format!("{share:.2} % of a core"), "");
    row("memory of the controller at rest", scales.memory(), memory_budget(count));

    latencies::drift(&clients, SAMPLES.min(count)).await?;
    latencies::gates(&clients, count + 1, SAMPLES).await?;
    controller.process().must_run()?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

fn memory_budget(count: usize) -> &'static str {
    if count > 1000 { "256 MiB at 10,000" } else { "30 MiB at 200" }
}

/// Many Applications at once, in a fleet that is warm.
async fn many(
    fleet: &Fleet,
    clients: &Clients,
    scales: &Scales,
    count: usize,
) -> anyhow::Result<scales::Spent> {
    let objects: Vec<_> = (0..count).flat_map(manifests::objects).collect();
    clients.apply_to_hub(objects).await?;
    counts::rest(fleet).await?;
    let asked = counts::Asked::until_now(fleet)?;
    let cpu = scales.cpu_ms();
    let spent = scales::spent(async {
        let sent = clients.apply_to_hub((0..count).map(manifests::application).collect());
        tokio::try_join!(sent, clients.all_run(count, 1)).map(|_| ())
    })
    .await?;
    let at_once = scales.memory();
    counts::rest(fleet).await?;
    let per_application = (scales.cpu_ms() - cpu) / count as f64;
    row("CPU of the controller per application", format!("{per_application:.2} ms"), "5 ms");
    row(&format!("memory of the controller with {count} applications"), at_once, memory_budget(count));
    counts::on_average(&asked, &counts::Asked::until_now(fleet)?, count);

    let asked = counts::Asked::until_now(fleet)?;
    let cpu = scales.cpu_ms();
    let changed = (0..count).map(|index| manifests::settings(index, "2")).collect();
    tokio::try_join!(clients.apply_to_hub(changed), clients.all_run(count, 2))?;
    counts::rest(fleet).await?;
    let per_run = (scales.cpu_ms() - cpu) / count as f64;
    row("CPU of the controller per run that changes 1 object on 3 members", format!("{per_run:.2} ms"), "");
    counts::of_changes(&asked, &counts::Asked::until_now(fleet)?, count);
    Ok(spent)
}
