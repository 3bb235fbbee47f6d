//! `fleetctl status`: how far an application is, in words.

use std::collections::BTreeMap;

use fleet_api::{Application, StepPhase, StepStatus, TargetStatus, names};
use fleet_json::few;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use super::{Place, notable, tree};
use crate::args::Output;
use crate::exit::{Failure, Outcome};
use crate::output::style::{self, paint};
use crate::roster::Roster;
use crate::table::Table;
use crate::version::write;

/// The Application without what only machines look at.
pub(super) fn for_programs(format: Output, app: &Application) -> Outcome<String> {
    let status = serde_json::to_value(&app.status).map_err(|error| Failure::failed(error.to_string()))?;
    let whole = json!({
        "apiVersion": "core.oam.dev/v1beta1",
        "kind": "Application",
        "metadata": {
            "name": app.name_any(), "namespace": app.namespace(), "uid": app.uid(),
            "generation": app.metadata.generation, "resourceVersion": app.resource_version(),
        },
        "status": status,
    });
    write(format, &whole)
}

/// Where it stands, and what to do next.
pub(super) fn for_people(place: &Place, app: &Application, roster: &Roster, whole: bool) -> String {
    let mut text = head(place, app).to_string();
    let steps = app.status.as_ref().and_then(|status| status.workflow.as_ref());
    let steps: Vec<&StepStatus> = steps.iter().flat_map(|workflow| workflow.all_steps()).collect();
    let top = steps.iter().flat_map(|step| &step.sub_steps).map(|step| step.name.as_str());
    let within: Vec<&str> = top.collect();
    if whole {
        text.push('\n');
        for line in tree::of(app, roster).lines(None) {
            text.push_str(&line);
            text.push('\n');
        }
    } else if !steps.is_empty() {
        text.push('\n');
        let mut table = Table::new(["STEP", "TYPE", "PHASE", "TARGETS", "MESSAGE"]);
        for step in &steps {
            let asks = step.phase == StepPhase::Suspending.as_str();
            let message = match app.metadata.deletion_timestamp.is_some() && asks {
                true => tree::NOT_ASKED.to_owned(),
                false => step.message.clone(),
            };
            let name = if within.contains(&step.name.as_str()) {
                format!("  {}", step.name)
            } else {
                step.name.clone()
            };
            table.row([name, step.type_.clone(), painted(&step.phase), targets(step), message]);
        }
        text.push_str(&table.to_string());
        text.push_str(&waves(&steps, roster));
    }
    text
}

/// How many targets that wait for the same thing are named.
const NAMED: usize = 3;

/// Targets that wait for something other than their own objects: their turn, a cluster, time, a person.
fn waves(steps: &[&StepStatus], roster: &Roster) -> String {
    let mut groups: BTreeMap<(usize, &str), Vec<&TargetStatus>> = BTreeMap::new();
    let mut single: Vec<(&StepStatus, &TargetStatus)> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        for target in &step.targets {
            match target.reason.as_str() {
                queue @ ("WaitingForTurn" | "WaitingForCanary" | "NotBegun") if target.phase == "pending" => {
                    groups.entry((at, queue)).or_default().push(target);
                }
                "Soaking" | "Unreachable" | "SkippedByUser" | "CanaryNotProven" => {
                    single.push((step, target))
                }
                _ => {}
            }
        }
    }
    if groups.is_empty() && single.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["TARGET", "STEP", "PHASE", "MESSAGE"]);
    for (step, target) in single {
        let name = roster.label(&target.cluster);
        table.row([name, step.name.clone(), painted(&tree::phase_of(target)), target.message.clone()]);
    }
    for ((at, queue), targets) in groups {
        let Some((step, first)) = steps.get(at).zip(targets.first()) else { continue };
        let names = few(targets.iter().map(|target| roster.label(&target.cluster)), NAMED);
        table.row([names, step.name.clone(), queue.to_owned(), first.message.clone()]);
    }
    format!("\n{table}")
}

fn head(place: &Place, app: &Application) -> Table {
    let mut table = Table::bare();
    let status = app.status.clone().unwrap_or_default();
    table.row(["Application".to_owned(), format!("{}/{}", place.namespace, app.name_any())]);
    table.row(["Phase".to_owned(), painted(status.status.as_str())]);
    for one in notable::of(app) {
        table.row([paint(style::WAITING, &one.what), one.said]);
    }
    let deleting = app.metadata.deletion_timestamp.is_some();
    if let Some(revision) = &status.latest_revision {
        let version = app.annotations().get(names::PUBLISH_VERSION);
        let version = version.map(|version| format!(" (publishVersion {version})")).unwrap_or_default();
        table.row(["Revision".to_owned(), format!("{}{version}", revision.name)]);
    }
    if let Some(workflow) = &status.workflow {
        table.row(["Run".to_owned(), format!("{} {}", workflow.run, workflow.status)]);
        // Whatever the run waited for: the deletion doesn't.
        if !workflow.message.is_empty() && !deleting {
            table.row(["Message".to_owned(), workflow.message.clone()]);
        }
        let by_person =
            !workflow.finished && !deleting && app.annotations().get(names::SUSPEND) == Some(&workflow.run);
        if by_person {
            table.row(["Suspended", "suspended by a person"]);
        }
        if by_person && workflow.gate.is_none() {
            table.row(["Go on".to_owned(), place.command("workflow resume")]);
        } else if !deleting && (workflow.suspend || workflow.gate.is_some()) {
            table.row(["Look".to_owned(), place.command("plan")]);
            table.row(["Approve".to_owned(), place.command("workflow resume")]);
        }
    }
    let said = status.workflow.as_ref().map(|workflow| workflow.message.as_str()).unwrap_or_default();
    let troubles =
        status.conditions.iter().filter(|condition| !condition.is_true() && !condition.message.is_empty());
    for condition in troubles.filter(|condition| condition.message != said && !deleting) {
        table.row([condition.type_.clone(), format!("{}: {}", condition.reason, condition.message)]);
    }
    let unhealthy = status.services.iter().filter(|service| !service.healthy && !service.cluster.is_empty());
    for service in unhealthy {
        let place = format!("{} on {}", service.name, service.cluster);
        table.row(["Unhealthy".to_owned(), format!("{place}: {}", service.message)]);
    }
    table
}

fn targets(step: &StepStatus) -> String {
    if step.targets_total == 0 {
        "-".to_owned()
    } else {
        let more = [(step.targets_failed, "failed"), (step.targets_skipped, "owed")];
        let more: Vec<String> = more
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
        format!("{}/{}{more}", step.targets_succeeded, step.targets_total)
    }
}

/// A phase in the colour that it deserves.
pub(crate) fn painted(phase: &str) -> String {
    match phase {
        "running" | "succeeded" => paint(style::GOOD, phase),
        "workflowSuspending" | "suspending" | "waiting" | "unreachable" | "Pending (unreachable)" => {
            paint(style::WAITING, phase)
        }
        "workflowFailed" | "workflowTerminated" | "failed" | "unhealthy" => paint(style::BAD, phase),
        other => other.to_owned(),
    }
}

/// `9s`, `5m`, `3h`, `2d`: how long ago.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time to the second.
pub(crate) fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
