//! What people ask about single targets: the annotation is read, held to the run, and complained about.

use fleet_api::requests::read_requests;
use fleet_api::{Application, RunPhase, RunStatus, TargetRequest, names};
use kube::ResourceExt as _;

use crate::turn::walk::Walk;

fn read(app: &Application) -> Result<Vec<TargetRequest>, String> {
    app.annotations().get(names::TARGET_REQUESTS).map_or_else(|| Ok(Vec::new()), |text| read_requests(text))
}

/// What is asked about a run; nothing where the annotation can't be read.
pub(crate) fn of_run(app: &Application, run: &str) -> Vec<TargetRequest> {
    let mut requests = read(app).unwrap_or_default();
    requests.retain(|request| request.run == run);
    requests
}

/// Whether a run that is over may go on for something that is asked and wasn't answered.
pub(crate) fn reopen(app: &Application, walk: &Walk) -> bool {
    let Some(status) = walk.run_status() else { return false };
    let may = matches!(status.phase, RunPhase::Failed | RunPhase::Succeeded);
    may && of_run(app, walk.run_name()).iter().any(|request| {
        let mut states = about(status, request);
        states.any(|state| state.request != request.id)
    })
}

fn about<'s>(
    status: &'s RunStatus,
    request: &'s TargetRequest,
) -> impl Iterator<Item = &'s fleet_api::TargetState> {
    let steps =
        status.steps.iter().filter(|step| request.step.as_ref().is_none_or(|name| *name == step.name));
    steps.flat_map(|step| &step.targets).filter(|state| state.target.cluster == request.cluster)
}

/// What of it can't be answered, and why.
pub(crate) fn trouble(app: &Application, walk: &Walk) -> Option<String> {
    if let Err(said) = read(app) {
        return Some(said);
    }
    let status = walk.run_status()?;
    let run = walk.run_name();
    let astray = of_run(app, run).into_iter().find(|request| about(status, request).next().is_none())?;
    let step = astray.step.as_ref().map(|step| format!(" in step {step:?}")).unwrap_or_default();
    Some(format!(
        "metadata.annotations[{}]: cluster {:?} is no target of run {run}{step}; look at its targets with: fleetctl status {} -n {} --tree",
        names::TARGET_REQUESTS,
        astray.cluster,
        walk.key.1,
        walk.key.0
    ))
}
