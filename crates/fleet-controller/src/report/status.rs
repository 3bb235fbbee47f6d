//! Status: a pure function of what is recorded and seen.

use std::collections::BTreeMap;

use fleet_api::{
    Application, ApplicationStatus, AppliedResource, AuditHead, Condition, DriftStatus, GateBefore,
    GateOutcome, Inventory, Phase, QueuedRevision, RevisionReference, Run, RunPhase, RunStatus,
    ServiceStatus, StepPhase, StepState, StepStatus, TargetPhase, TargetState, TargetStatus, WorkflowStatus,
    conditions, names,
};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::run::Behind;
use crate::run::queue;
use crate::{Loaded, Problem};

/// How many targets of a step are listed.
const LISTED_TARGETS: usize = 100;
/// How many objects that differ are listed.
const LISTED_DRIFT: usize = 50;
/// How many services and resources are listed.
const LISTED: usize = 200;

/// Everything that status is made of.
pub(crate) struct Seen<'a> {
    pub(crate) app: &'a Application,
    pub(crate) run: Option<&'a Run>,
    /// Its revision.
    pub(crate) revision: Option<&'a Loaded>,
    /// What is wrong with the spec as it is now.
    pub(crate) problem: Option<&'a Problem>,
    /// The spec differs from what runs, and waits.
    pub(crate) behind: Option<Behind>,
    /// What is said of clusters that its placement no longer selects.
    pub(crate) left: Option<&'a str>,
    /// Why what somebody asked for isn't gone back to.
    pub(crate) refused: Option<&'a Problem>,
    /// The revision that takes over as soon as what is under way has ended.
    pub(crate) taking_over: Option<String>,
    /// What waits until the run is over.
    pub(crate) queued: Option<QueuedRevision>,
    /// Health of each component on each target.
    pub(crate) services: Vec<ServiceStatus>,
    /// Drift that is left, held, fought for or can't be repaired; the most pressing first.
    pub(crate) drift: Vec<DriftStatus>,
    /// Clusters of this Application to which nothing is sent for now, and why.
    pub(crate) held: Vec<fleet_workflow::Problem>,
    /// What of people's requests about single targets can't be answered, and why.
    pub(crate) unanswerable: Option<String>,
    /// Objects that are done, by step and target.
    pub(crate) progress: BTreeMap<(String, fleet_api::Target), (u64, u64)>,
    pub(crate) inventory: &'a Inventory,
    /// The end of the record, where it is known.
    pub(crate) record: Option<AuditHead>,
    /// What the deletion waits for.
    pub(crate) deleting: Option<String>,
}

/// Derives the status.
pub(crate) fn derive(seen: &Seen<'_>, now: Timestamp) -> ApplicationStatus {
    let state = seen.run.and_then(|run| run.status.as_ref());
    let unhealthy = seen.services.iter().find(|service| !service.healthy);
    let phase = phase(seen, state, unhealthy.is_some());
    let message = message(seen, state, unhealthy);
    let mut services = vec![ServiceStatus {
        name: seen.app.spec.components.first().map(|component| component.name.clone()).unwrap_or_default(),
        healthy: unhealthy.is_none()
            && !matches!(phase, Phase::Rendering | Phase::Starting | Phase::WorkflowFailed),
        message,
        ..ServiceStatus::default()
    }];
    let mut each = seen.services.clone();
    each.sort_by_key(|service| service.healthy);
    services.extend(each.into_iter().take(LISTED));
    let old = seen.app.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    ApplicationStatus {
        status: phase,
        observed_generation: seen.app.metadata.generation.unwrap_or_default(),
        conditions: conditions::settle(old, conditions_of(seen, state, phase, unhealthy), now),
        services,
        workflow: seen.run.zip(state).map(|(run, state)| workflow(seen, run, state)),
        latest_revision: seen
            .run
            .map(|run| RevisionReference {
                name: run.spec.revision.clone(),
                revision: run.spec.number,
                revision_hash: seen.revision.map(|revision| revision.hash.clone()).unwrap_or_default(),
            })
            // A run that was deleted has had its number.
            .or_else(|| seen.app.status.as_ref()?.latest_revision.clone()),
        queued: seen.queued.clone(),
        applied_resources: applied(seen.inventory, state),
        applied_resources_total: seen.inventory.total(),
        // While it isn't known, what was known holds.
        record: seen.record.clone().or_else(|| seen.app.status.as_ref()?.record.clone()),
        drift: seen.drift.iter().take(LISTED_DRIFT).cloned().collect(),
        drift_total: seen.drift.len() as u64,
    }
}

fn phase(seen: &Seen<'_>, state: Option<&RunStatus>, unhealthy: bool) -> Phase {
    if seen.deleting.is_some() {
        return Phase::Deleting;
    }
    match state.map(|state| state.phase) {
        None if seen.problem.is_some() => Phase::Rendering,
        None | Some(RunPhase::Superseded) => Phase::Starting,
        Some(RunPhase::Executing) => Phase::RunningWorkflow,
        Some(RunPhase::Suspending) => Phase::WorkflowSuspending,
        Some(RunPhase::Failed) => Phase::WorkflowFailed,
        Some(RunPhase::Terminated) => Phase::WorkflowTerminated,
        Some(RunPhase::Succeeded) if unhealthy => Phase::Unhealthy,
        Some(RunPhase::Succeeded) => Phase::Running,
    }
}

/// One line: the most pressing first.
fn message(seen: &Seen<'_>, state: Option<&RunStatus>, unhealthy: Option<&ServiceStatus>) -> String {
    if let Some(waiting) = &seen.deleting {
        return waiting.clone();
    }
    let mut said = Vec::new();
    if let Some(problem) = seen.problem {
        let edit = if seen.run.is_some() { "the edited spec isn't rolled out: " } else { "" };
        said.push(format!("{edit}{}", problem.message));
    }
    if let Some(state) = state {
        if let Some(step) = waiting_gate(state) {
            let resume =
                format!("fleetctl workflow resume {} -n {}", seen.app.name_any(), namespace(seen.app));
            // Where more than one word of anybody is needed, which says more.
            let plain = step.shut_gate().is_none_or(|g| g.required.is_none() && g.before == GateBefore::Step);
            said.push(match plain {
                true => format!("step {} waits for approval: {resume}", step.name),
                false => step.message.clone(),
            });
        } else if !state.message.is_empty() && state.phase != RunPhase::Superseded {
            said.push(state.message.clone());
        }
    }
    said.extend(behind(seen).filter(|_| seen.problem.is_none()).map(|(_, message)| message));
    said.extend(queued(seen, state));
    said.extend(taking_over(seen));
    said.extend(seen.left.map(str::to_owned));
    said.extend(seen.refused.map(|problem| format!("not rolled back: {}", problem.message)));
    if let Some(service) = unhealthy.filter(|_| state.is_some_and(|state| state.phase == RunPhase::Succeeded))
    {
        said.push(format!("{} on {}: {}", service.name, service.cluster, service.message));
    }
    let runs = state.is_some_and(|state| !state.phase.is_over());
    said.extend(seen.held.first().filter(|_| !runs).map(|problem| problem.message.clone()));
    said.extend(seen.drift.first().map(|drift| drift.message.clone()));
    said.join("; ")
}

fn namespace(app: &Application) -> String {
    app.namespace().unwrap_or_default()
}

/// Why the spec isn't what runs, and what to do.
fn behind(seen: &Seen<'_>) -> Option<(&'static str, String)> {
    let (app, namespace) = (seen.app.name_any(), namespace(seen.app));
    let publish =
        format!("kubectl annotate app {app} -n {namespace} {}=NEW --overwrite", names::PUBLISH_VERSION);
    let message = match seen.behind? {
        Behind::PublishVersion => {
            format!("the spec differs from the revision that runs; a new publishVersion starts it: {publish}")
        }
        Behind::Rollback => {
            let back = seen.run.and_then(|run| run.spec.rollback.clone()).unwrap_or_default();
            let why = if back.reason.is_empty() { String::new() } else { format!(" ({})", back.reason) };
            let held = seen.app.annotations().contains_key(names::PUBLISH_VERSION);
            let edit =
                if held { format!("edit it and publish it ({publish})") } else { "edit it".to_owned() };
            format!(
                "rolled back from {} by {}{why}; the spec isn't rolled out as it is: {edit} to go on, or take it up again with: fleetctl workflow restart {app} -n {namespace}",
                back.from,
                back.by(),
            )
        }
    };
    let reason = match seen.behind? {
        Behind::PublishVersion => "HeldByPublishVersion",
        Behind::Rollback => "RolledBack",
    };
    Some((reason, message))
}

fn queued(seen: &Seen<'_>, state: Option<&RunStatus>) -> Option<String> {
    let queued = seen.queued.as_ref()?;
    Some(queue::message(queued, seen.app, state.map(|state| state.phase)))
}

/// What the run that goes on ends for.
fn taking_over(seen: &Seen<'_>) -> Option<String> {
    let (next, run) = (seen.taking_over.as_ref()?, seen.run?);
    Some(format!(
        "run {} ends as soon as what is being sent to targets is sent; revision {next} takes over then",
        run.name_any()
    ))
}

fn waiting_gate(state: &RunStatus) -> Option<&StepState> {
    if state.phase != RunPhase::Suspending {
        return None;
    }
    state.steps.iter().find(|step| step.shut_gate().is_some())
}

fn conditions_of(
    seen: &Seen<'_>,
    state: Option<&RunStatus>,
    phase: Phase,
    unhealthy: Option<&ServiceStatus>,
) -> Vec<Condition> {
    let mut all = Vec::new();
    all.push(match seen.problem {
        None => Condition::new("Rendered", true, "Rendered", ""),
        Some(problem) => Condition::new("Rendered", false, &problem.reason, &problem.message),
    });
    all.push(if let Some((reason, message)) = behind(seen) {
        Condition::new("Current", false, reason, message)
    } else if let Some(message) = queued(seen, state) {
        Condition::new("Current", false, "Queued", message)
    } else if let Some(message) = taking_over(seen) {
        Condition::new("Current", false, "Superseding", message)
    } else if let Some(message) = seen.left {
        Condition::new("Current", false, "ClusterNotSelected", message)
    } else {
        let current = seen.problem.is_none() && seen.run.is_some();
        Condition::new("Current", current, if current { "Current" } else { "NotRendered" }, "")
    });
    if let Some(state) = state {
        let reason = if state.reason.is_empty() { "Executing" } else { &state.reason };
        let done = state.phase == RunPhase::Succeeded;
        all.push(Condition::new("Workflow", done, reason, &state.message));
    }
    all.push(match unhealthy {
        // What failed on its way isn't among what was delivered, and mustn't pass for it.
        None if phase == Phase::WorkflowFailed && seen.drift.is_empty() => {
            let why = state.map_or("", |state| state.message.as_str());
            Condition::new("Healthy", false, "WorkflowFailed", why)
        }
        None if seen.drift.is_empty() => Condition::new("Healthy", true, "Healthy", ""),
        None => Condition::new("Healthy", phase != Phase::WorkflowFailed, "Drift", drifts(seen)),
        Some(service) => {
            let message =
                format!("{} on {}/{}: {}", service.name, service.cluster, service.namespace, service.message);
            Condition::new("Healthy", false, "Unhealthy", message)
        }
    });
    if let Some(first) = seen.drift.first() {
        all.push(Condition::new("Drifted", true, first.state.as_str(), drifts(seen)));
    }
    if let Some(first) = seen.held.first() {
        let said: Vec<&str> = seen.held.iter().map(|problem| problem.message.as_str()).take(10).collect();
        all.push(Condition::new("Held", true, &first.reason, said.join("; ")));
    }
    if let Some(problem) = seen.refused {
        all.push(Condition::new("Rollback", false, &problem.reason, problem.message.clone()));
    }
    if let Some(said) = &seen.unanswerable {
        all.push(Condition::new("TargetRequests", false, "InvalidRequest", said.clone()));
    }
    all.push(Condition::new("Ready", phase == Phase::Running, &capitalised(phase.as_str()), ""));
    for condition in &mut all {
        condition.observed_generation = seen.app.metadata.generation;
    }
    all
}

/// The first few, in words.
fn drifts(seen: &Seen<'_>) -> String {
    let said: Vec<&str> = seen.drift.iter().map(|drift| drift.message.as_str()).take(10).collect();
    said.join("; ")
}

/// Reasons are CamelCase.
fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

fn workflow(seen: &Seen<'_>, run: &Run, state: &RunStatus) -> WorkflowStatus {
    let gate = waiting_gate(state);
    let dag = seen.revision.is_some_and(|revision| revision.content.dag);
    WorkflowStatus {
        // What goes back isn't what was published last.
        app_revision: run
            .spec
            .publish_version
            .clone()
            .filter(|_| run.spec.rollback.is_none())
            .unwrap_or_else(|| run.spec.revision.clone()),
        mode: if dag { "DAG-DAG" } else { "StepByStep-DAG" }.to_owned(),
        status: state.phase.as_str().to_owned(),
        message: state.message.clone(),
        suspend: state.phase == RunPhase::Suspending,
        terminated: state.phase == RunPhase::Terminated,
        finished: state.phase.is_over(),
        run: run.name_any(),
        gate: gate.map(|step| format!("{}/{}", run.name_any(), step.name)),
        steps: steps(seen, run, state),
        start_time: state.started_at,
        end_time: state.ended_at,
    }
}

/// Each step, those of a group below it: a group stands before its own in the record.
fn steps(seen: &Seen<'_>, run: &Run, state: &RunStatus) -> Vec<StepStatus> {
    let mut all: Vec<StepStatus> = Vec::new();
    for (index, step) in state.steps.iter().enumerate() {
        let shown = step_status(seen, run, index, step);
        match all.last_mut().filter(|last| !step.group.is_empty() && last.name == step.group) {
            Some(group) => group.sub_steps.push(shown),
            None => all.push(shown),
        }
    }
    for group in &mut all {
        // As established clients know it: a group waits for a person while one of its steps does.
        let waits = group.sub_steps.iter().any(|step| step.phase == StepPhase::Suspending.as_str());
        if waits && group.phase == StepPhase::Running.as_str() {
            StepPhase::Suspending.as_str().clone_into(&mut group.phase);
        }
    }
    all
}

fn step_status(seen: &Seen<'_>, run: &Run, index: usize, step: &StepState) -> StepStatus {
    let mut listed: Vec<&TargetState> = step.targets.iter().collect();
    // Sorting is stable, so the order of the step stays within each group.
    listed.sort_by_key(|state| match state.phase {
        TargetPhase::Delivering | TargetPhase::Waiting | TargetPhase::Pruning => 0,
        TargetPhase::Failed => 1,
        TargetPhase::Skipped => 2,
        TargetPhase::Pending => 3,
        TargetPhase::Succeeded | TargetPhase::Removed => 4,
    });
    let count = |phase| step.targets.iter().filter(|state| state.phase == phase).count() as u64;
    StepStatus {
        id: format!("{}-{index}", run.spec.number),
        name: step.name.clone(),
        type_: step.type_.clone(),
        phase: if step.waits() { StepPhase::Suspending } else { step.phase }.as_str().to_owned(),
        message: step.message.clone(),
        reason: step.reason.clone(),
        gate: step.gate.clone().filter(|gate| {
            let refused = matches!(gate.outcome, GateOutcome::Rejected | GateOutcome::Expired);
            step.shut_gate().is_some() || gate.required.is_some() || refused
        }),
        plan_hash: step.gate.as_ref().map_or(&step.plan_hash, |gate| &gate.plan_hash).clone(),
        first_execute_time: step.gate.as_ref().and_then(|gate| gate.since).or(step.started_at),
        last_execute_time: step.ended_at.or(step.started_at),
        targets_total: step.targets.len() as u64,
        targets_succeeded: count(TargetPhase::Succeeded),
        targets_failed: count(TargetPhase::Failed),
        targets_skipped: count(TargetPhase::Skipped),
        failed_tries: u64::from(step.attempts),
        targets: listed.into_iter().take(LISTED_TARGETS).map(|t| target_status(seen, step, t)).collect(),
        sub_steps: Vec::new(),
    }
}

fn target_status(seen: &Seen<'_>, step: &StepState, state: &TargetState) -> TargetStatus {
    let key = (step.name.clone(), state.target.clone());
    let (applied, total) = seen.progress.get(&key).copied().unwrap_or_default();
    TargetStatus {
        cluster: state.target.cluster.clone(),
        namespace: state.target.namespace.clone(),
        phase: shown_phase(state).as_str().to_owned(),
        reason: state.reason.clone(),
        message: state.message.clone(),
        applied,
        total,
        start_time: state.started_at,
        end_time: state.ended_at,
    }
}

/// What was passed over since nobody answered there is pending still; what a person skipped is skipped.
fn shown_phase(state: &TargetState) -> TargetPhase {
    match &state.skipped {
        Some(skip) if !skip.held && state.phase == TargetPhase::Skipped => TargetPhase::Pending,
        _ => state.phase,
    }
}

/// What is on members by now: objects of targets that something was delivered to.
fn applied(inventory: &Inventory, state: Option<&RunStatus>) -> Vec<AppliedResource> {
    let states = state.iter().flat_map(|state| &state.steps).flat_map(|step| &step.targets);
    let sent = |t: &&TargetState| {
        t.phase > TargetPhase::Delivering && (t.phase != TargetPhase::Skipped || t.started_at.is_some())
    };
    let touched: std::collections::BTreeSet<&fleet_api::Target> =
        states.filter(sent).map(|state| &state.target).collect();
    let entries =
        inventory.targets.iter().filter(|entry| !entry.layers.is_empty() || touched.contains(&entry.target));
    let mut all: Vec<AppliedResource> = entries
        .flat_map(|entry| {
            let objects = entry.objects.iter().filter(|(_, owned)| !owned.made_namespace);
            objects.map(|(id, _)| AppliedResource {
                cluster: entry.target.cluster.clone(),
                api_version: id.api_version.clone(),
                kind: id.kind.clone(),
                namespace: id.namespace.clone(),
                name: id.name.clone(),
                creator: "workflow".to_owned(),
            })
        })
        .collect();
    all.sort();
    all.truncate(LISTED);
    all
}

#[cfg(test)]
mod tests;
