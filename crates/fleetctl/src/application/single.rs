//! `workflow skip` and `retry`: requests about single targets, as an annotation on the Application.

use fleet_api::requests::with_request;
use fleet_api::{Application, Run, RunPhase, TargetAction, TargetPhase, TargetRequest, TargetState, names};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{Place, phase_of};
use crate::args::TargetArgs;
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::roster::Roster;

/// How often it is tried when somebody else writes at the same time.
const TRIES: usize = 5;

/// Asks for something to happen to one target of the run.
pub(super) async fn ask(
    environment: &Environment,
    place: &Place,
    arguments: &TargetArgs,
    action: TargetAction,
    reason: &str,
) -> Outcome {
    let verb = verb(action);
    if action == TargetAction::Skip && reason.trim().is_empty() {
        return Err(Failure::usage(
            "--reason is empty; say why the target is skipped: it is kept in the record",
        ));
    }
    let roster = Roster::load(&place.hub).await.unwrap_or_default();
    let by = place.hub.asker().await.user;
    for _ in 0..TRIES {
        let app = place.lasting(verb).await?;
        let run = place.run(&app).await?;
        let cluster = sensible(place, &run, &roster, arguments, action)?;
        let request = TargetRequest {
            id: format!("{}/{by}", environment.now()),
            run: run.name_any(),
            action,
            cluster: cluster.clone(),
            step: arguments.step.clone(),
            by: by.clone(),
            reason: reason.to_owned(),
        };
        if write(place, &app, request).await? {
            return environment.streams.line(&format!(
                "Successfully {verb} target {cluster} of run {}: {}",
                run.name_any(),
                place.name
            ));
        }
    }
    Err(Failure::refused(format!(
        "somebody else keeps changing Application {}; nothing was asked, try again",
        place.name
    )))
}

fn verb(action: TargetAction) -> &'static str {
    match action {
        TargetAction::Skip => "skip",
        TargetAction::Retry => "retry",
    }
}

/// False where somebody else was faster.
async fn write(place: &Place, app: &Application, request: TargetRequest) -> Outcome<bool> {
    let before = app.annotations().get(names::TARGET_REQUESTS);
    let text = with_request(before.map(String::as_str), request).map_err(Failure::refused)?;
    let patch = json!({ "metadata": {
        "uid": app.uid(),
        "resourceVersion": app.resource_version(),
        "annotations": { names::TARGET_REQUESTS: text },
    }});
    let params = PatchParams { field_manager: Some("fleetctl".to_owned()), ..PatchParams::default() };
    let (api, patch) = (place.applications(), Patch::Merge(&patch));
    let sent = async {
        match api.patch(&place.name, &params, &patch).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    };
    place.hub.ask(&format!("Application {}", place.name), sent).await
}

/// The cluster that is meant, where there is something to ask about it.
fn sensible(
    place: &Place,
    run: &Run,
    roster: &Roster,
    arguments: &TargetArgs,
    action: TargetAction,
) -> Outcome<String> {
    let (name, verb) = (run.name_any(), verb(action));
    let phase = phase_of(run);
    if matches!(phase, RunPhase::Terminated | RunPhase::Superseded) {
        return Err(Failure::refused(format!(
            "run {name} of {} is over ({}); there is nothing to {verb}; a new one starts with: {}",
            place.name,
            phase.as_str(),
            place.command("workflow restart")
        )));
    }
    let steps = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
    if let Some(wanted) = &arguments.step
        && !steps.iter().any(|step| step.name == *wanted)
    {
        let known: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        let advice = crate::nearest::advice(wanted, &known, "steps");
        return Err(Failure::not_found(format!("run {name} has no step {wanted:?}{advice}")));
    }
    let cluster = roster.find(&arguments.target).map_or_else(|_| arguments.target.clone(), |c| c.name_any());
    let asked = steps.iter().filter(|step| arguments.step.as_ref().is_none_or(|named| *named == step.name));
    let states: Vec<&TargetState> = asked
        .clone()
        .flat_map(|step| &step.targets)
        .filter(|state| state.target.cluster == cluster)
        .collect();
    if states.is_empty() {
        let known: Vec<&str> =
            asked.flat_map(|step| step.targets.iter().map(|state| state.target.cluster.as_str())).collect();
        let step = arguments.step.as_ref().map(|step| format!(", step {step}")).unwrap_or_default();
        let advice = crate::nearest::advice(&arguments.target, &known, "targets");
        let message = format!("{:?} is no target of run {name}{step}{advice}", arguments.target);
        return Err(Failure::not_found(message));
    }
    let refused = |why: String| {
        let look = place.command("status --tree");
        Err(Failure::refused(format!("{why}; there is nothing to {verb}; look at it: {look}")))
    };
    if states.iter().all(|state| state.phase == TargetPhase::Succeeded) {
        return refused(format!("target {cluster} has what run {name} delivers"));
    }
    if states.iter().all(|state| matches!(state.phase, TargetPhase::Removed | TargetPhase::Succeeded)) {
        return refused(format!("cluster {cluster} left the fleet"));
    }
    let open = || states.iter().filter(|state| state.phase != TargetPhase::Succeeded);
    let held = |state: &&&TargetState| state.skipped.as_ref().is_some_and(|skip| skip.held);
    if action == TargetAction::Skip
        && open().all(|state| held(&state))
        && let Some(skip) = open().find_map(|state| state.skipped.as_ref())
    {
        let by = if skip.by.is_empty() { "a person" } else { &skip.by };
        return refused(format!("target {cluster} was skipped already, by {by} ({})", skip.reason));
    }
    let idle = |state: &&TargetState| {
        matches!(state.phase, TargetPhase::Failed | TargetPhase::Skipped) || state.retry_at.is_some()
    };
    if action == TargetAction::Retry && !open().any(idle) {
        let phase = open().next().map_or("", |state| state.phase.as_str());
        return refused(format!("target {cluster} neither failed nor was skipped: it is {phase}"));
    }
    Ok(cluster)
}
