//! `workflow resume --override-window`: lets a step begin outside its time windows, with a reason that is kept.

use fleet_api::{StepPhase, TargetPhase, WindowRequest, names};
use kube::ResourceExt as _;
use serde_json::json;

use super::{Place, phase_of, steer};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};

/// Asks for it; the engine hears of it by its watch.
pub(super) async fn open(environment: &Environment, place: &Place, step: &str, reason: &str) -> Outcome {
    let app = place.lasting("resume").await?;
    let run = place.run(&app).await?;
    let name = run.name_any();
    if phase_of(&run).is_over() {
        return Err(Failure::refused(format!(
            "run {name} of {} is over ({}); look at it: {}",
            place.name,
            phase_of(&run).as_str(),
            place.command("status")
        )));
    }
    let steps = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
    let Some(state) = steps.iter().find(|state| state.name == step) else {
        let known: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        let advice = crate::nearest::advice(step, &known, "steps");
        return Err(Failure::not_found(format!("run {name} has no step {step:?}{advice}")));
    };
    let begun = state.targets.iter().all(|target| target.phase != TargetPhase::Pending);
    if state.phase.is_over() || state.phase == StepPhase::Running && begun {
        return Err(Failure::refused(format!(
            "step {step} is {}: nothing of it waits to begin; look at it: {}",
            state.phase.as_str(),
            place.command("status")
        )));
    }
    let by = place.hub.asker().await.user;
    let [run, step_named, why] = [name.as_str(), step, reason].map(str::to_owned);
    let request = WindowRequest { run, step: step_named, by, reason: why };
    let text = serde_json::to_string(&request).map_err(|error| Failure::failed(error.to_string()))?;
    steer::annotate(place, &app, names::OVERRIDE_WINDOW, json!(text)).await?;
    environment
        .streams
        .note(&format!("step {step} of run {name} may begin outside its time windows: {reason}"));
    environment.streams.line(&format!("Successfully resume workflow: {}", place.name))
}
