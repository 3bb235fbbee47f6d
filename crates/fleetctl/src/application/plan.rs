//! `fleetctl plan`: what a gate would change, and its hash.

mod contents;
mod shown;

use fleet_api::{Application, ResourceTracker, Run};
use fleet_controller::{GatePlan, gate_plan};
use fleet_plan::{Action, ActionKind};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::{Place, waiting};
use crate::args::PlanArgs;
use crate::diagnose::gather::workloads_on_hub;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::style::{self, paint};
use crate::roster::Roster;
use crate::version::write;

pub(crate) use contents::Contents;

pub(super) async fn run(environment: &Environment, place: &Place, arguments: &PlanArgs) -> Outcome {
    let app = place.application().await?;
    let run = place.run(&app).await?;
    let gates = waiting(&run);
    let steps = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
    let step = match &arguments.step {
        Some(wanted) => {
            let found = steps.iter().find(|step| step.name == *wanted).map(|step| step.name.clone());
            found.ok_or_else(|| {
                let known: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
                let advice = crate::nearest::advice(wanted, &known, "steps");
                Failure::not_found(format!("run {} has no step {wanted:?}{advice}", run.name_any()))
            })?
        }
        None => gates.first().map(|step| step.name.clone()).ok_or_else(|| {
            let phase = run.status.as_ref().map(|status| status.phase).unwrap_or_default().as_str();
            Failure::refused(format!(
                "no gate of {} waits: run {} is {phase}; name a step with --step to see its plan all the same",
                place.name,
                run.name_any()
            ))
        })?,
    };
    let plan = make(place, &app, &run, &step).await?;
    let warnings = Box::pin(workloads_on_hub(&place.hub, place.called, environment.now(), &app)).await;
    if let Some(format) = arguments.output.output {
        let value = serde_json::to_value(&plan).map_err(|error| Failure::failed(error.to_string()))?;
        for warning in &warnings {
            environment
                .streams
                .note(&format!("warning: {}: {}; {}", warning.about, warning.message, warning.mend));
        }
        return environment.streams.print(&write(format, &value)?);
    }
    let roster = Roster::load(&place.hub).await.unwrap_or_default();
    let contents = Contents::load(place, &app, &run).await;
    environment.streams.print(&text(&plan, &run, &roster, contents.as_ref()))?;
    for warning in &warnings {
        let (word, about) = (paint(style::WAITING, "warning"), &warning.about);
        environment.streams.line(&format!("{word}: {about}: {}; {}", warning.message, warning.mend))?;
    }
    if gates.iter().any(|gate| gate.name == step) {
        let next = format!("{} --plan {}", place.command("workflow resume"), plan.plan_hash);
        environment.streams.line(&format!("approve it: {next}"))?;
    }
    Ok(())
}

/// The plan of a step's gate.
pub(crate) async fn make(place: &Place, app: &Application, run: &Run, step: &str) -> Outcome<GatePlan> {
    let made = Box::pin(gate_plan(&place.hub.client, app, run, step));
    match tokio::time::timeout(place.hub.deadline, made).await {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(cause)) => Err(explained(place, step, &cause).await),
        Err(_) => Err(place.hub.silent("the plan")),
    }
}

/// Why there is no plan: who may not read what it is made of is told which role lets them.
async fn explained(place: &Place, step: &str, cause: &str) -> Failure {
    let trackers: Api<ResourceTracker> = Api::all(place.hub.client.clone());
    let system: Api<Namespace> = Api::all(place.hub.client.clone());
    let one = ListParams::default().limit(1);
    let (inventories, hub) = tokio::join!(
        place.hub.ask("the inventories", trackers.list_metadata(&one)),
        place.hub.ask("the hub's identity", system.get_metadata("kube-system")),
    );
    let refused = [inventories.err(), hub.err()].into_iter().flatten().find(|f| f.exit == Exit::Refused);
    match refused {
        Some(refused) => Failure::refused(format!(
            "the plan of step {step}: {refused}; the role fleetctl-fleet-viewer, bound for the whole hub, lets you make plans"
        )),
        None => Failure::failed(format!("the plan of step {step}: {cause}")),
    }
}

/// A plan for people to read: each object, each field.
pub(crate) fn text(plan: &GatePlan, run: &Run, roster: &Roster, contents: Option<&Contents>) -> String {
    let mut out = format!(
        "plan {} of step {}, run {}\n",
        paint(style::STRONG, &plan.plan_hash),
        plan.step,
        run.name_any()
    );
    for step in &plan.plans {
        for target in &step.targets {
            let place = roster.label(&target.target.cluster);
            out.push_str(&format!(
                "on {}, namespace {}:\n",
                paint(style::STRONG, &place),
                target.target.namespace
            ));
            for action in &target.actions {
                action_lines(action, &mut out);
                if action.kind == ActionKind::Create
                    && let Some(contents) = contents
                {
                    for line in contents.of(&step.step, &target.target, &action.id) {
                        out.push_str(&format!("      {}\n", paint(style::FAINT, &line)));
                    }
                }
            }
            if target.actions.is_empty() {
                out.push_str("  nothing\n");
            }
        }
    }
    out.push_str(&format!("{}\n", plan.summary));
    out
}

fn action_lines(action: &Action, out: &mut String) {
    let (mark, word, look) = match action.kind {
        ActionKind::Ensure => ("·", "create where it is missing", style::FAINT),
        ActionKind::Create => ("+", "create", style::GOOD),
        ActionKind::Change if action.recreate => ("±", "delete and create anew", style::BAD),
        ActionKind::Change => ("~", "change", style::WAITING),
        ActionKind::Keep => ("=", "keep", style::FAINT),
        ActionKind::Observe => ("?", "look at: it must be there", style::FAINT),
        ActionKind::Delete => ("-", "delete", style::BAD),
        ActionKind::Release => ("○", "release: it stays, as nobody's", style::WAITING),
    };
    let take_over = if action.take_over { ", taken over if it stands there already" } else { "" };
    let take_over = match action.kind {
        ActionKind::Delete if action.shared => ", or left to who else shares it",
        _ if action.shared => ", or shared as it is if another application owns it",
        _ => take_over,
    };
    let line = format!("{mark} {} {}", action.id.kind, shown::visible(&action.id.name));
    out.push_str(&format!("  {} ({word}{take_over})\n", paint(look, &line)));
    for change in &action.changes {
        let (from, to) = (change.from.as_ref(), change.to.as_ref());
        let path = shown::visible(&change.path.to_string());
        out.push_str(&format!("      {path}: {}\n", shown::change(from, to)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Cluster;

    /// Broken: who may approve and not read inventories gets a puzzle instead of the name of a role.
    #[tokio::test]
    async fn a_missing_role_is_named() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            let status = serde_json::json!({ "kind": "Status", "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": "you may not" });
            let body = kube::client::Body::from(status.to_string().into_bytes());
            Ok::<_, std::convert::Infallible>(http::Response::builder().status(403).body(body).unwrap())
        });
        let hub = Cluster::in_process(kube::Client::new(service, "default"), "hub");
        let place = Place { hub, namespace: "demo".into(), name: "web".into(), called: "fleetctl" };
        let failure = explained(&place, "first", "a dump").await;
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.message.contains("fleetctl-fleet-viewer") && failure.message.contains("you may not"));
    }
}
