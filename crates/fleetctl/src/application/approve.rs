//! `workflow resume`: records an approval of the plan that a gate is about, and waits until the gate has heard of it.

use std::time::Duration;

use fleet_api::{Application, Approval, ApprovalSpec, Gate, Run, StepState, names};
use fleet_json::ContentHash;
use futures::TryStreamExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::{Place, is_suspended_by_person, phase_of, steer, waiting, window};
use crate::access::Asker;
use crate::args::ApprovalArgs;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};

/// How long the controller may take to hear of an approval.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(environment: &Environment, place: &Place, arguments: &ApprovalArgs) -> Outcome {
    if arguments.override_window {
        let step = arguments.step.step.as_deref().unwrap_or_default();
        return window::open(environment, place, step, &arguments.reason).await;
    }
    let app = place.lasting("resume").await?;
    let run = place.run(&app).await?;
    let by_person = is_suspended_by_person(&app, &run);
    // What was asked for is looked at first: where it is refused, the run stays suspended.
    let approved = if by_person && waiting(&run).is_empty() {
        if arguments.step.step.is_some() || arguments.plan.is_some() || !arguments.reason.is_empty() {
            environment
                .streams
                .note("no gate waits: nothing was approved, and no plan or reason was recorded");
        }
        None
    } else {
        let step = gate(place, &app, &run, arguments)?;
        Some((step, agreed_plan(place, step, arguments.plan.as_deref())?))
    };
    if by_person {
        steer::annotate(place, &app, names::SUSPEND, Value::Null).await?;
        environment.streams.note(&format!("run {} goes on where it was suspended by hand", run.name_any()));
    }
    if let Some((step, hash)) = approved {
        let asker = place.hub.asker().await;
        let request = Request { step: &step.name, hash: &hash, asker: &asker, reason: &arguments.reason };
        approve(place, &run, &request).await?;
        environment.streams.note(&format!("approved plan {hash} (step {})", step.name));
    }
    environment.streams.line(&format!("Successfully resume workflow: {}", place.name))
}

/// The gate that is meant: the one named, else the only one whose plan was agreed to, else the one that waits longest.
fn gate<'r>(
    place: &Place,
    app: &Application,
    run: &'r Run,
    arguments: &ApprovalArgs,
) -> Outcome<&'r StepState> {
    let gates = waiting(run);
    let Some(wanted) = arguments.step.step.as_deref() else {
        let agreed = |step: &&&StepState| {
            let plan = step.gate.as_ref().map(|gate| gate.plan_hash.as_str()).unwrap_or_default();
            arguments.plan.as_ref().is_some_and(|wanted| plan.starts_with(wanted.as_str()))
        };
        let meant: Vec<&StepState> = gates.iter().filter(agreed).copied().collect();
        if let [first, second, ..] = meant.as_slice() {
            return Err(Failure::usage(format!(
                "--plan {} begins the plans of steps {} and {}; write more of it, or name the step with --step",
                arguments.plan.as_deref().unwrap_or_default(),
                first.name,
                second.name
            )));
        }
        return meant.first().or_else(|| gates.first()).copied().ok_or_else(|| {
            let phase = app.status.as_ref().map_or("unknown", |status| status.status.as_str());
            let said =
                run.status.as_ref().map(|status| status.message.clone()).filter(|said| !said.is_empty());
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            Failure::refused(format!(
                "workflow of {} isn't suspended: run {} is {} (phase {phase}){said}; look at it: {}",
                place.name,
                run.name_any(),
                phase_of(run).as_str(),
                place.command("status")
            ))
        });
    };
    if let Some(step) = gates.iter().find(|step| step.name == wanted) {
        return Ok(step);
    }
    let steps = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
    match steps.iter().find(|step| step.name == wanted) {
        Some(step) => Err(match step.gate.as_ref().and_then(|gate| gate.approval.as_ref()) {
            Some(approval) => Failure::refused(format!(
                "step {wanted} was approved already, by {} (plan {}); look at it: {}",
                approval.approver,
                approval.plan_hash,
                place.command("status")
            )),
            None => Failure::refused(format!(
                "step {wanted} isn't suspended: it is {}; look at it: {}",
                step.phase.as_str(),
                place.command("status")
            )),
        }),
        None => {
            let known: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
            let advice = crate::nearest::advice(wanted, &known, "steps");
            Err(Failure::not_found(format!("run {} has no step {wanted:?}{advice}", run.name_any())))
        }
    }
}

fn agreed_plan(place: &Place, step: &StepState, wanted: Option<&str>) -> Outcome<String> {
    let now = step.gate.as_ref().map(|gate| gate.plan_hash.clone()).unwrap_or_default();
    match wanted {
        Some(wanted) if !now.starts_with(wanted) => Err(changed(place, &step.name, &now, wanted)),
        _ => Ok(now),
    }
}

fn changed(place: &Place, step: &str, now: &str, before: &str) -> Failure {
    Failure::refused(format!(
        "the plan of step {step} is another one now: {now}, not {before}; nothing was approved; look at it: {}, then resume again",
        place.command("plan")
    ))
}

/// What is approved, by whom.
pub(crate) struct Request<'a> {
    pub(crate) step: &'a str,
    pub(crate) hash: &'a str,
    pub(crate) asker: &'a Asker,
    pub(crate) reason: &'a str,
}

/// Records the approval and waits until the gate has taken or refused it.
pub(crate) async fn approve(place: &Place, run: &Run, request: &Request<'_>) -> Outcome {
    let name = approval_name(&run.name_any(), request);
    let mut approval = Approval::new(
        &name,
        ApprovalSpec {
            application: place.name.clone(),
            run: run.name_any(),
            step: request.step.to_owned(),
            plan_hash: request.hash.to_owned(),
            approver: request.asker.user.clone(),
            groups: request.asker.groups.clone(),
            decision: fleet_api::Decision::Approve,
            reason: request.reason.to_owned(),
        },
    );
    approval.labels_mut().insert(names::APPLICATION.to_owned(), names::short_label(&place.name));
    approval.owner_references_mut().extend(run.owner_ref(&()));
    let api: Api<Approval> = Api::namespaced(place.hub.client.clone(), &place.namespace);
    let params = PostParams { field_manager: Some("fleetctl".to_owned()), ..PostParams::default() };
    let created = match tokio::time::timeout(place.hub.deadline, api.create(&params, &approval)).await {
        Ok(Ok(_)) => true,
        // The same person approved the same plan before, perhaps a moment ago in another window.
        Ok(Err(kube::Error::Api(status))) if status.code == 409 && status.reason == "AlreadyExists" => false,
        Ok(Err(error)) => return Err(Failure::kube("the approval", &error)),
        Err(_) => return Err(place.hub.silent("the approval")),
    };
    heard(place, &run.name_any(), request, &name, created).await
}

/// One name for one decision: who approves the same plan twice at once has approved it once.
fn approval_name(run: &str, request: &Request<'_>) -> String {
    let decision = json!([run, request.step, request.hash, request.asker.user]);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let step: String = request.step.chars().map(plain).collect();
    names::derived_name(
        &format!("{run}-{}", step.trim_matches('-')),
        &ContentHash::of_value(&decision).short(),
    )
}

async fn heard(place: &Place, run: &str, request: &Request<'_>, approval: &str, created: bool) -> Outcome {
    let changes = watch_object(place.runs(), run).default_backoff();
    let verdict = tokio::time::timeout(PATIENCE, async {
        let mut changes = std::pin::pin!(changes);
        // The watch tries again by itself; what ends this is the time.
        loop {
            match changes.try_next().await {
                Ok(Some(Some(run))) => {
                    if let Some(verdict) = verdict(place, &run, request, approval, created) {
                        return verdict;
                    }
                }
                Ok(Some(None)) => {
                    let gone = format!(
                        "run {run} is gone: the application was deleted or made anew; look at it: {}",
                        place.command("status")
                    );
                    return Err(Failure::refused(gone));
                }
                Ok(None) | Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    verdict.await.unwrap_or_else(|_| {
        Err(Failure::new(
            Exit::Waiting,
            format!(
                "approval {approval} is recorded, but the controller hasn't taken it within {} s; is it running? look at it: {}",
                PATIENCE.as_secs(),
                place.command("status")
            ),
        ))
    })
}

fn verdict(
    place: &Place,
    run: &Run,
    request: &Request<'_>,
    approval: &str,
    created: bool,
) -> Option<Outcome> {
    let status = run.status.as_ref()?;
    let step = status.steps.iter().find(|step| step.name == request.step)?;
    let gate = step.gate.clone().unwrap_or_default();
    if let Some(verdict) = gate_verdict(place, &gate, request, approval, created) {
        return Some(verdict);
    }
    status.phase.is_over().then(|| {
        Err(Failure::refused(format!(
            "run {} is {} meanwhile; the approval counts for nothing; look at it: {}",
            run.name_any(),
            status.phase.as_str(),
            place.command("status")
        )))
    })
}

fn gate_verdict(
    place: &Place,
    gate: &Gate,
    request: &Request<'_>,
    approval: &str,
    created: bool,
) -> Option<Outcome> {
    if let Some(taken) = &gate.approval {
        let step = request.step;
        return Some(match taken.approval == approval {
            true if created => Ok(()),
            true => Err(Failure::refused(format!(
                "step {step} was approved already, by you (approval {approval})"
            ))),
            false => Err(Failure::refused(format!(
                "step {step} was approved already, by {} (plan {})",
                taken.approver, taken.plan_hash
            ))),
        });
    }
    let refusal = gate.refused.iter().find(|refusal| refusal.approval == approval)?;
    Some(Err(if gate.plan_hash != request.hash {
        changed(place, request.step, &gate.plan_hash, request.hash)
    } else {
        Failure::refused(format!("the approval was refused: {}", refusal.message))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects' names are bounded, and two decisions must never share one.
    #[test]
    fn approvals_have_names_of_their_own() {
        let asker = Asker { user: "ann".into(), groups: Vec::new() };
        let name = |step: &str, hash: &str| {
            approval_name("web-1", &Request { step, hash, asker: &asker, reason: "" })
        };
        assert!(name("Deploy To_BJ", "abc").starts_with("web-1-deploy-to-bj-"));
        assert_ne!(name("a", "abc"), name("a", "abd"));
        assert_eq!(name("a", "abc"), name("a", "abc"));
        assert!(name(&"x".repeat(400), "abc").len() <= 253);
    }
}
