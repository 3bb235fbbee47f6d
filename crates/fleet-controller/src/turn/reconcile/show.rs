//! Writing status, where it differs.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::{Application, ApplicationStatus, Phase, QueuedRevision, ServiceStatus, Target, TargetPhase};
use jiff::Timestamp;
use kube::api::{Api, PostParams};

use crate::context::Context;
use crate::problem::Problem;
use crate::records::{RecordError, light};
use crate::report::status::{Seen, derive};
use crate::run::Behind;
use crate::run::queue;
use crate::run::requests;
use crate::turn::facts;
use crate::turn::held;
use crate::turn::walk::{Walk, Written};

/// What is asked for and doesn't run.
#[derive(Default)]
pub(crate) struct Waiting<'a> {
    /// Why it can't.
    pub(crate) problem: Option<&'a Problem>,
    /// What holds it back.
    pub(crate) behind: Option<Behind>,
    /// It waits until the run is over.
    pub(crate) queued: Option<QueuedRevision>,
    /// It takes over as soon as what is under way has ended.
    pub(crate) taking_over: Option<String>,
}

/// Writes status where it differs: transitions at once, progress no more often than the interval.
pub(crate) async fn write_status(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
    waiting: Waiting<'_>,
    deleting: Option<String>,
) -> Result<Timestamp, RecordError> {
    let now = ctx.now();
    let unset = ApplicationStatus::default();
    let written = walk.written.take().filter(|written| written.hides(app));
    let app = written.as_ref().map_or(app, |written| &written.now);
    let shown = app.status.as_ref().unwrap_or(&unset);
    let status = derive(
        &Seen {
            app,
            run: walk.run.as_ref(),
            revision: walk.revision.as_deref(),
            problem: waiting.problem,
            behind: waiting.behind,
            left: walk.left.as_ref().and_then(Option::as_deref),
            refused: walk.refused.as_ref(),
            taking_over: waiting.taking_over,
            queued: queue::next(shown.queued.as_ref(), waiting.queued, now),
            services: services(ctx, walk, shown),
            drift: drift(walk),
            held: held::shown(ctx, walk),
            unanswerable: requests::trouble(app, walk),
            progress: progress(ctx, walk),
            inventory: &walk.inventory,
            record: walk.audit.head(),
            deleting,
        },
        now,
    );
    if *shown == status {
        walk.written = written;
        return Ok(Timestamp::MAX);
    }
    if !is_transition(shown, &status) {
        let due = walk.progress_at.and_then(|at| at.checked_add(ctx.options.progress_interval).ok());
        if let Some(due) = due.filter(|due| *due > now) {
            walk.written = written;
            return Ok(due);
        }
    }
    walk.progress_at = Some(now);
    let queued = (shown.queued.clone(), status.queued.clone());
    let mut new = light(app.clone());
    new.status = Some(status);
    let api: Api<Application> = Api::namespaced(ctx.hub.client.clone(), &walk.key.0);
    match api.replace_status(&walk.key.1, &PostParams::default(), &new).await {
        Ok(now) => {
            let running = walk.run.as_ref().map(|run| run.spec.revision.as_str());
            queue::tell(ctx, app, queued.0.as_ref(), queued.1.as_ref(), running);
            let before = app.metadata.resource_version.clone();
            let mut over = written.map(|written| written.over).unwrap_or_default();
            over.extend(before);
            walk.written = Some(Written { over, now: light(now) });
            Ok(Timestamp::MAX)
        }
        // An older object was looked at: the newer one is on its way and asks for a turn of its own.
        Err(kube::Error::Api(refusal)) if refusal.code == 409 => {
            Ok(now.checked_add(jiff::SignedDuration::from_millis(50)).unwrap_or(now))
        }
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(Timestamp::MAX),
        Err(error) => Err(error.into()),
    }
}

/// Drift of what is ours by now: what isn't any more says nothing.
fn drift(walk: &Walk) -> Vec<fleet_api::DriftStatus> {
    let mut all = walk.board.reported();
    all.retain(|drift| {
        let entries = walk.inventory.targets.iter().filter(|entry| entry.target.cluster == drift.cluster);
        entries
            .flat_map(|entry| entry.objects.keys())
            .any(|id| id.kind == drift.kind && id.name == drift.name && id.namespace == drift.namespace)
    });
    all
}

/// Whether somebody may be waiting for this change.
fn is_transition(shown: &ApplicationStatus, status: &ApplicationStatus) -> bool {
    if shown.queued != status.queued {
        return true;
    }
    if status.status == Phase::RunningWorkflow {
        return false;
    }
    let gate = |status: &ApplicationStatus| status.workflow.as_ref().map(|w| (w.gate.clone(), w.run.clone()));
    let conditions = |status: &ApplicationStatus| {
        let judged = status.conditions.iter().map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone()));
        judged.collect::<Vec<_>>()
    };
    shown.status != status.status || gate(shown) != gate(status) || conditions(shown) != conditions(status)
}

/// Health of each component on each target that something was delivered to.
fn services(ctx: &Context, walk: &Walk, shown: &ApplicationStatus) -> Vec<ServiceStatus> {
    let mut services = Vec::new();
    let mut targets: Vec<Target> = walk.inventory.targets.iter().map(|entry| entry.target.clone()).collect();
    targets.sort();
    for target in targets {
        let mut layers = walk.layers(&target);
        if !walk.is_running() {
            // A run that was ended in between leaves what it sent.
            layers.extend(walk.sent(&target));
        }
        let wanted = walk.overlay(&layers, &target);
        let mut by_component: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for desired in &wanted {
            by_component.entry(&desired.component).or_default().push(desired);
        }
        for (component, objects) in by_component {
            let fact = facts::observe(ctx, walk, &target, objects);
            let reason = fact.waiting_for.as_ref().map_or("", |problem| problem.reason.as_str());
            let message =
                fact.waiting_for.as_ref().map(|problem| problem.message.clone()).unwrap_or_default();
            // What doesn't answer, or wasn't listed since a restart, is neither healthy nor unhealthy: it is as last
            // seen.
            let before = shown.services.iter().find(|service| {
                service.name == component
                    && service.cluster == target.cluster
                    && service.namespace == target.namespace
            });
            let healthy = match reason {
                "Unreachable" | "NotListed" | "ClusterChanged" | "DuplicateCluster" | "HubItself" => {
                    before.is_none_or(|before| before.healthy)
                }
                _ => fact.done,
            };
            services.push(ServiceStatus {
                name: component.to_owned(),
                namespace: target.namespace.clone(),
                cluster: target.cluster.clone(),
                healthy,
                message: match (reason, before) {
                    ("NotListed", Some(before)) => before.message.clone(),
                    ("NotListed", None) => String::new(),
                    _ => message,
                },
            });
        }
    }
    services
}

/// Objects that are done, of all, for every target that is listed.
fn progress(ctx: &Context, walk: &Walk) -> BTreeMap<(String, Target), (u64, u64)> {
    let mut progress = BTreeMap::new();
    let Some((revision, status)) = walk.revision.as_ref().zip(walk.run_status()) else { return progress };
    for step in &status.steps {
        for state in step.targets.iter().filter(|state| !state.cleared) {
            let desired = revision.desired(&step.name, &state.target, &walk.delivery());
            let total = desired.len() as u64;
            let done = match state.phase {
                TargetPhase::Succeeded | TargetPhase::Pruning => total,
                TargetPhase::Pending | TargetPhase::Skipped => 0,
                _ => {
                    let done = |d: &&fleet_plan::Desired| facts::observe(ctx, walk, &state.target, [*d]).done;
                    desired.iter().filter(done).count() as u64
                }
            };
            progress.insert((step.name.clone(), state.target.clone()), (done, total));
        }
    }
    progress
}
