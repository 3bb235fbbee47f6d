//! Kubernetes Events about transitions of runs, on the Application.

use std::sync::Arc;

use fleet_api::{
    Application, Condition, ManagedCluster, Run, RunPhase, RunStatus, StepPhase, Target, conditions,
};
use kube::runtime::events::{Event, EventType};

use crate::context::{AppKey, Context};

/// Tells what changed between two states of a run.
pub(crate) fn tell(ctx: &Arc<Context>, app: &Application, before: Option<&RunStatus>, run: &Run) {
    let Some(after) = &run.status else { return };
    for (index, step) in after.steps.iter().enumerate() {
        let was = before.and_then(|before| before.steps.get(index)).map(|step| step.phase);
        if was == Some(step.phase) {
            continue;
        }
        let (type_, reason) = match step.phase {
            StepPhase::Pending | StepPhase::Skipped => continue,
            StepPhase::Suspending => (EventType::Normal, "WaitingForApproval"),
            StepPhase::Running => (EventType::Normal, "StepStarted"),
            StepPhase::Succeeded => (EventType::Normal, "StepSucceeded"),
            StepPhase::Failed => (EventType::Warning, "StepFailed"),
        };
        let by = step.gate.as_ref().and_then(|gate| gate.approval.as_ref());
        let note = match (step.phase, by) {
            (StepPhase::Running, Some(approval)) => {
                let proof = if approval.proven { "" } else { " (not proved)" };
                format!(
                    "step {}: plan {} approved by {}{proof}",
                    step.name, approval.plan_hash, approval.approver
                )
            }
            _ if step.message.is_empty() => format!("step {}", step.name),
            _ => step.message.clone(),
        };
        publish(ctx, app, type_, reason, note);
    }
    if before.map(|before| before.phase) != Some(after.phase) {
        let (type_, reason) = match after.phase {
            RunPhase::Executing | RunPhase::Suspending => return,
            RunPhase::Succeeded => (EventType::Normal, "WorkflowSucceeded"),
            RunPhase::Failed => (EventType::Warning, "WorkflowFailed"),
            RunPhase::Terminated => (EventType::Normal, "WorkflowTerminated"),
            RunPhase::Superseded => (EventType::Normal, "WorkflowSuperseded"),
        };
        publish(ctx, app, type_, reason, format!("revision {}: {}", run.spec.revision, after.message));
    }
}

/// Tells that an Application's objects are gone, or which targets couldn't be reached.
pub(crate) fn deleted(ctx: &Arc<Context>, app: &Application, orphaned: &[Target]) {
    if orphaned.is_empty() {
        return;
    }
    let targets: Vec<String> = orphaned.iter().map(Target::to_string).collect();
    let note = format!("objects stay on {}, which couldn't be reached in time", targets.join(", "));
    publish(ctx, app, EventType::Warning, "Orphaned", note);
}

/// Tells that drift was taken back.
pub(crate) fn repaired(ctx: &Arc<Context>, app: &AppKey, what: String) {
    let reference = kube::runtime::reflector::ObjectRef::new(&app.1).within(&app.0);
    if let Some(app) = ctx.hub.applications.get(&reference) {
        publish(ctx, &*app, EventType::Normal, "DriftRepaired", what);
    }
}

/// Tells which conditions of a member turned.
pub(crate) fn cluster_turned(
    ctx: &Arc<Context>,
    cluster: &ManagedCluster,
    before: &[Condition],
    after: &[Condition],
) {
    for condition in after {
        let was = conditions::find(before, &condition.type_);
        if was.is_none_or(|was| (&was.status, &was.reason) != (&condition.status, &condition.reason)) {
            let type_ = if condition.is_true() { EventType::Normal } else { EventType::Warning };
            publish(ctx, cluster, type_, &condition.reason, condition.message.clone());
        }
    }
}

/// Tells that somebody keeps changing what is taken back.
pub(crate) fn fought(ctx: &Arc<Context>, app: &AppKey, what: String) {
    let reference = kube::runtime::reflector::ObjectRef::new(&app.1).within(&app.0);
    if let Some(app) = ctx.hub.applications.get(&reference) {
        publish(ctx, &*app, EventType::Warning, "DriftFought", what);
    }
}

/// Publishes in the background: an Event that is lost changes nothing.
fn publish<K: kube::Resource<DynamicType = ()>>(
    ctx: &Arc<Context>,
    about: &K,
    type_: EventType,
    reason: &str,
    note: String,
) {
    /// The longest note that the API takes, in bytes (`events.k8s.io/v1`).
    const NOTE_LIMIT: usize = 1000;
    let note: String = note.chars().take(NOTE_LIMIT).collect();
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Rollout".to_owned(),
        secondary: None,
    };
    let (ctx, reference) = (Arc::clone(ctx), about.object_ref(&()));
    let tasks = ctx.tasks.clone();
    tasks.spawn(async move {
        let publish = ctx.events.publish(&event, &reference);
        tokio::select! {
            () = ctx.stop.cancelled() => {}
            outcome = publish => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "an event is lost");
                }
            }
        }
    });
}
