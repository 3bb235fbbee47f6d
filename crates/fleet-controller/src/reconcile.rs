//! One turn for one Application: snapshot, decide, record, carry out, patch status if it changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::{
    Application, ApplicationStatus, Phase, RunStatus, ServiceStatus, StepPhase, Target, TargetPhase, names,
};
use fleet_members::Reachability;
use fleet_workflow::{Advance, Command, StepKind, advance};
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt as _};

use crate::context::{AppKey, Context, Noted};
use crate::plans::{PlanSource, gate_plan_of};
use crate::problem::Problem;
use crate::records::{self, RecordError};
use crate::hub::Input;
use crate::resolve::{Draft, Snapshot, resolve};
use crate::runs::{self, Decision};
use crate::status::{Seen, derive};
use crate::walk::{StepPlans, Walk};
use crate::{deletion, deliver, drift, facts, prune};

/// One turn. The Application's in-memory state is taken out for its time, so nothing is locked meanwhile.
pub(crate) async fn reconcile(app: Arc<Application>, ctx: Arc<Context>) -> Result<Action, RecordError> {
    let key: AppKey = (app.namespace().unwrap_or_default(), app.name_any());
    let noted = ctx.due.take(&key);
    let known = ctx.take_walk(&key).filter(|walk| app.uid().as_deref() == Some(&walk.uid));
    let mut walk = match known {
        Some(walk) if !walk.stale => walk,
        stale => {
            let mut walk = records::load(&ctx, &app).await?;
            if let Some(before) = stale {
                // Jobs under way report to the board that they were given.
                walk.board = before.board;
                walk.unchecked = before.unchecked;
            }
            walk
        }
    };
    ctx.due.own(&walk.owner, &key);
    let outcome = turn(&ctx, &app, &mut walk, &noted).await;
    walk.stale = outcome.is_err();
    let gone = matches!(&outcome, Ok(None));
    if gone {
        ctx.hub.inputs.set(&key, Default::default());
        ctx.due.forget(&key);
    } else {
        ctx.put_walk(key, walk);
    }
    match outcome {
        Ok(Some(at)) => Ok(requeue(ctx.now(), at)),
        Ok(None) => Ok(Action::await_change()),
        Err(error) if error.is_conflict() => Ok(Action::requeue(std::time::Duration::from_millis(20))),
        Err(error) => Err(error),
    }
}

fn requeue(now: Timestamp, at: Timestamp) -> Action {
    if at == Timestamp::MAX {
        return Action::await_change();
    }
    let wait = at.duration_since(now).max(jiff::SignedDuration::from_millis(1));
    Action::requeue(wait.unsigned_abs())
}

/// Says when to take another turn even if nothing happens; `None` where the Application is gone.
async fn turn(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
    noted: &Noted,
) -> Result<Option<Timestamp>, RecordError> {
    walk.board.retry_unreachable(&|cluster| is_reachable(ctx, cluster));
    if app.metadata.deletion_timestamp.is_some() {
        return delete(ctx, app, walk).await;
    }
    // The answer to the finalizer's write comes back by the watch; until then this turn's object is older.
    let app = &ensure_finalizer(ctx, app).await?;
    let intent = intent(ctx, app, walk, noted).await;
    let superseded = matches!(intent, Intent::Start { .. }) && walk.is_running();
    let mut wake = walk_on(ctx, app, walk, superseded).await?;
    let (problem, held_back) = match intent {
        Intent::Start { cause, draft } if !walk.is_running() => {
            match start(ctx, app, walk, &draft, cause).await? {
                Some(problem) => (Some(problem), false),
                None => {
                    wake = walk_on(ctx, app, walk, false).await?;
                    (None, false)
                }
            }
        }
        // The run before ends at a target boundary; that end asks for another turn.
        Intent::Start { .. } | Intent::None => (None, false),
        Intent::HeldBack => (None, true),
        Intent::Problem(problem) => (Some(problem), false),
    };
    serve_joiners(ctx, app, walk).await?;
    drift::check(ctx, walk, noted);
    let written = write_status(ctx, app, walk, problem.as_ref(), held_back, None).await?;
    Ok(Some(wake.min(written)))
}

fn is_reachable(ctx: &Context, cluster: &str) -> bool {
    ctx.members.get(cluster).is_ok_and(|member| member.reachability() == Reachability::Reachable)
}

async fn ensure_finalizer(ctx: &Context, app: &Application) -> Result<Application, RecordError> {
    if app.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER) {
        return Ok(app.clone());
    }
    let mut finalizers = app.finalizers().to_vec();
    finalizers.push(names::FINALIZER.to_owned());
    let patch = serde_json::json!({ "metadata": {
        "finalizers": finalizers,
        "resourceVersion": app.resource_version(),
    }});
    let api: Api<Application> = Api::namespaced(ctx.hub.client.clone(), &app.namespace().unwrap_or_default());
    Ok(api.patch(&app.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?)
}

/// What the Application asks for, compared with what runs.
enum Intent {
    None,
    Start { cause: &'static str, draft: Arc<Draft> },
    HeldBack,
    Problem(Problem),
}

async fn intent(ctx: &Arc<Context>, app: &Application, walk: &mut Walk, noted: &Noted) -> Intent {
    let generation = app.metadata.generation.unwrap_or_default();
    let stale = walk.draft.as_ref().is_none_or(|(made_for, _)| *made_for != generation);
    if stale || noted.inputs {
        let draft = draft(ctx, app, walk).await.map(Arc::new);
        walk.draft = Some((generation, draft));
    }
    let draft = match &walk.draft {
        Some((_, Ok(draft))) => Arc::clone(draft),
        Some((_, Err(problem))) => return Intent::Problem(problem.clone()),
        None => return Intent::None,
    };
    let running = walk.revision.as_ref().map(|revision| revision.hash.as_str());
    match runs::decide(app, walk.run.as_ref(), running, &draft) {
        Decision::Current => Intent::None,
        Decision::HeldBack => Intent::HeldBack,
        Decision::Start(cause) => {
            // What is about to start takes up the definitions in force.
            let current = resolve(app, &ctx.hub.snapshot(&walk.key), &ctx.hub.definitions());
            match current {
                Ok(draft) => Intent::Start { cause, draft: Arc::new(draft) },
                Err(problem) => Intent::Problem(problem),
            }
        }
    }
}

/// Puts the Application together: with the definitions that its revision pins, so that a changed definition
/// starts nothing by itself; where that doesn't give what runs, with those in force.
async fn draft(ctx: &Arc<Context>, app: &Application, walk: &Walk) -> Result<Draft, Problem> {
    // What is asked for and not watched yet is watched, until everything that is asked for is.
    loop {
        let snapshot = ctx.hub.snapshot(&walk.key);
        let outcome = with_pinned_definitions(ctx, app, walk, &snapshot);
        let used = snapshot.into_used();
        let mut grown = false;
        for (api_version, kind) in used.iter().filter_map(Input::kind) {
            grown |= ctx.hub.referenced.ensure(api_version, kind).await;
        }
        ctx.hub.inputs.set(&walk.key, used);
        if !grown {
            return outcome;
        }
    }
}

fn with_pinned_definitions(
    ctx: &Context,
    app: &Application,
    walk: &Walk,
    snapshot: &dyn Snapshot,
) -> Result<Draft, Problem> {
    match &walk.revision {
        Some(revision) => {
            let pinned = fleet_render::Definitions::from_values(&revision.content.definitions);
            match resolve(app, snapshot, &pinned) {
                Ok(draft) if draft.hash == revision.hash => Ok(draft),
                _ => resolve(app, snapshot, &ctx.hub.definitions()),
            }
        }
        None => resolve(app, snapshot, &ctx.hub.definitions()),
    }
}

/// Starts a run: revision, inventory, run, in this order. A problem where it can't be placed.
async fn start(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
    draft: &Draft,
    cause: &str,
) -> Result<Option<Problem>, RecordError> {
    let clusters = runs::placeable(&ctx.members.clusters());
    let name = names::derived_name(&walk.key.1, &draft.hash);
    let probe = match crate::Loaded::new(&name, &draft.hash, draft.content.clone()) {
        Ok(probe) => probe,
        Err(problem) => return Ok(Some(problem)),
    };
    let placed = match runs::placed(&probe, &clusters, &walk.key.0) {
        Ok(placed) => placed,
        Err(problem) => return Ok(Some(problem)),
    };
    let revision = match walk.loaded(&name) {
        Some(known) => known,
        None => Arc::new(records::create_revision(ctx, app, draft).await?),
    };
    walk.fold();
    if let Some(before) = walk.revision.take() {
        walk.revisions.insert(before.name.clone(), before);
    }
    let state = runs::first_state(&revision, &placed, &walk.inventory);
    begin(ctx, app, walk, revision, state, cause).await?;
    Ok(None)
}

async fn begin(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
    revision: Arc<crate::Loaded>,
    state: RunStatus,
    cause: &str,
) -> Result<(), RecordError> {
    let mut inventory = std::mem::take(&mut walk.inventory);
    runs::list_in_inventory(&mut inventory, &revision, &state, &walk.delivery());
    walk.inventory = inventory;
    records::write_tracker(ctx, walk).await?;
    let spec = runs::next_spec(app, walk.run.as_ref(), &revision, cause);
    walk.revision = Some(revision);
    walk.plans.clear();
    // The first turn of the state machine goes into the same write.
    let mut run = fleet_api::Run::new("", spec);
    run.status = Some(state);
    let first = first_turn(ctx, app, walk, &run);
    let run = records::create_run(ctx, app, run.spec, first).await?;
    walk.kept_runs.push(run.name_any());
    walk.run = Some(run);
    walk.board.begin(walk.run_name());
    walk.progress_at = Some(ctx.now());
    records::forget_old_runs(ctx, walk).await;
    records::load_layers(ctx, walk).await
}

/// The state after the first turn, made before the run is on record: nothing is carried out.
fn first_turn(ctx: &Context, app: &Application, walk: &mut Walk, run: &fleet_api::Run) -> RunStatus {
    let before = walk.run.replace(run.clone());
    let step = step_machine(ctx, app, walk, false);
    walk.run = before;
    step.map_or_else(|| run.status.clone().unwrap_or_default(), |advance| advance.status)
}

/// Takes turns of the state machine until it asks for no more plans.
fn step_machine(ctx: &Context, app: &Application, walk: &mut Walk, superseded: bool) -> Option<Advance> {
    let revision = walk.revision.clone()?;
    loop {
        let status = walk.run_status()?.clone();
        refresh_plans(ctx, walk, &status);
        let facts = facts::gather(ctx, app, walk, superseded);
        let next = advance(&revision.graph, &status, &facts, ctx.now());
        let wanted: Vec<String> = next
            .commands
            .iter()
            .filter_map(|command| match command {
                Command::Plan { step } => Some(step.clone()),
                _ => None,
            })
            .collect();
        if wanted.is_empty() {
            return Some(next);
        }
        for step in wanted {
            make_plan(ctx, walk, &status, &step);
        }
    }
}

/// Plans of gates that wait are made anew when members left; those of steps that act after a restart are made again.
fn refresh_plans(ctx: &Context, walk: &mut Walk, status: &RunStatus) {
    let removed = facts::removed(ctx, walk);
    for step in &status.steps {
        let known = walk.plans.get(&step.name).map(|(made_without, _)| made_without);
        let needed = match step.phase {
            StepPhase::Suspending => known != Some(&removed),
            StepPhase::Running => known.is_none(),
            _ => false,
        };
        if needed {
            make_plan(ctx, walk, status, &step.name.clone());
        }
    }
}

fn make_plan(ctx: &Context, walk: &mut Walk, status: &RunStatus, step: &str) {
    let Some(revision) = walk.revision.clone() else { return };
    let removed = facts::removed(ctx, walk);
    let made = gate_plan_of(
        &PlanSource {
            revision: &revision,
            status,
            inventory: &walk.inventory,
            delivery: walk.delivery(),
            loaded: &|name| walk.loaded(name),
            removed: &removed,
        },
        step,
    );
    let plans = StepPlans { hash: made.plan_hash, summary: made.summary, plans: made.plans };
    walk.plans.insert(step.to_owned(), (removed, plans));
}

/// Takes the run on: state machine, record, then what it asks for. Says when it wants another turn.
async fn walk_on(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
    superseded: bool,
) -> Result<Timestamp, RecordError> {
    if !walk.is_running() {
        return Ok(Timestamp::MAX);
    }
    take_pruned_off_inventory(ctx, walk).await?;
    let Some(mut next) = step_machine(ctx, app, walk, superseded) else { return Ok(Timestamp::MAX) };
    seal(ctx, walk, &mut next.status);
    if let Some(mut run) = walk.run.clone().filter(|run| run.status.as_ref() != Some(&next.status)) {
        let worth = worth_recording(run.status.as_ref(), &next.status);
        let before = run.status.replace(next.status);
        // Words about what is waited for are shown in status; the record is written when something happened.
        let run = if worth { records::replace_run(ctx, &run).await? } else { run };
        crate::events::tell(ctx, app, before.as_ref(), &run);
        walk.run = Some(run);
    }
    for command in next.commands {
        carry_out(ctx, walk, command);
    }
    Ok(next.wake_at.unwrap_or(Timestamp::MAX))
}

/// Whether a state differs from the recorded one in more than words.
fn worth_recording(before: Option<&RunStatus>, after: &RunStatus) -> bool {
    let Some(before) = before else { return true };
    let wordless = |status: &RunStatus| {
        let mut status = status.clone();
        status.message.clear();
        status.reason.clear();
        for step in &mut status.steps {
            if !step.phase.is_over() {
                step.message.clear();
                step.reason.clear();
            }
            for target in step.targets.iter_mut().filter(|target| !target.phase.is_over()) {
                target.message.clear();
                target.reason.clear();
                // Waiting follows from what is seen, so it needn't be remembered.
                if target.phase == TargetPhase::Waiting {
                    target.phase = TargetPhase::Delivering;
                }
            }
        }
        status
    };
    let (before, after) = (wordless(before), wordless(after));
    if before.phase != after.phase || before.steps.len() != after.steps.len() {
        return true;
    }
    // Targets that finish while their step goes on are seen again after a restart.
    let settled = |status: &RunStatus| {
        let mut status = status.clone();
        for step in status.steps.iter_mut().filter(|step| step.phase == StepPhase::Running) {
            for target in step.targets.iter_mut().filter(|t| t.phase == TargetPhase::Succeeded) {
                target.phase = TargetPhase::Delivering;
                target.ended_at = None;
                target.seal.clear();
            }
        }
        status
    };
    settled(&before) != settled(&after)
}

/// What was deleted leaves the inventory before its target counts as done.
async fn take_pruned_off_inventory(ctx: &Context, walk: &mut Walk) -> Result<(), RecordError> {
    let Some(status) = walk.run_status() else { return Ok(()) };
    let mut gone = Vec::new();
    for step in status.steps.iter().filter(|step| step.phase == StepPhase::Running) {
        let plans = walk.plans.get(&step.name).map(|(_, plans)| plans.plans.as_slice()).unwrap_or_default();
        for state in step.targets.iter().filter(|state| state.phase == TargetPhase::Pruning) {
            let done = walk.board.prune(&(step.name.clone(), state.target.clone()));
            if done != Some(fleet_workflow::Prune::Done) {
                continue;
            }
            let plan = plans.iter().find(|plan| plan.step == step.name).and_then(|plan| plan.target(&state.target));
            let deleted = plan.iter().flat_map(|plan| plan.deletes()).map(|action| action.id.clone());
            gone.push((state.target.clone(), state.cleared, deleted.collect::<Vec<_>>()));
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    for (target, cleared, deleted) in gone {
        let entry = walk.inventory.target_mut(&target);
        for id in deleted {
            entry.objects.remove(&id);
        }
        if cleared {
            entry.layers.clear();
        }
    }
    walk.inventory.targets.retain(|entry| !entry.objects.is_empty());
    records::write_tracker(ctx, walk).await
}

/// Puts a seal on targets that are done now, so that a restart needs to read nothing there.
fn seal(ctx: &Context, walk: &Walk, status: &mut RunStatus) {
    let Some(revision) = walk.revision.as_ref() else { return };
    for step in &mut status.steps {
        let unsealed = step.targets.iter_mut().filter(|t| t.seal.is_empty() && !t.cleared);
        for state in unsealed.filter(|state| state.phase == TargetPhase::Succeeded) {
            let Ok(member) = ctx.members.get(&state.target.cluster) else { continue };
            let desired = revision.desired(&step.name, &state.target.namespace, &walk.delivery());
            state.seal = drift::seal(&member, &desired).unwrap_or_default();
        }
    }
}

fn carry_out(ctx: &Arc<Context>, walk: &Walk, command: Command) {
    match command {
        Command::Plan { .. } => {}
        Command::Deliver { step, target } => send(ctx, walk, step, target),
        Command::Prune { step, target } => {
            let plans = walk.plans.get(&step).map(|(_, plans)| plans.plans.as_slice()).unwrap_or_default();
            let plan = plans.iter().find(|plan| plan.step == step).and_then(|plan| plan.target(&target));
            let gone = plan.iter().flat_map(|plan| plan.deletes()).map(|action| action.id.clone()).collect();
            prune::start(ctx, walk, walk.board.clone(), &step, &target, gone);
        }
    }
}

fn send(ctx: &Arc<Context>, walk: &Walk, step: String, target: Target) {
    let Some(revision) = walk.revision.as_ref() else { return };
    let desired = revision.desired(&step, &target.namespace, &walk.delivery());
    let plans = walk.plans.get(&step).map(|(_, plans)| plans.plans.as_slice()).unwrap_or_default();
    let plan = plans.iter().find(|plan| plan.step == step).and_then(|plan| plan.target(&target));
    let Some(plan) = plan.cloned() else { return };
    let mut previous: BTreeMap<_, _> =
        walk.overlay(&walk.layers(&target), &target).into_iter().map(|d| (d.id, d.object)).collect();
    if let Ok(member) = ctx.members.get(&target.cluster) {
        // What an earlier try of this step left there is ours as well.
        for object in desired.iter() {
            let left = member.observed(&object.id).is_some_and(|seen| seen.content == object.content.short());
            if left {
                previous.insert(object.id.clone(), object.object.clone());
            }
        }
    }
    let parallelism = match revision.graph.node(&step).map(|node| &node.kind) {
        Some(StepKind::Deploy(deploy)) => deploy.parallelism.map_or(usize::MAX, |n| n as usize),
        _ => usize::MAX,
    };
    let job = deliver::Job {
        board: walk.board.clone(),
        run: walk.run_name().to_owned(),
        step,
        target,
        application: walk.key.1.clone(),
        namespace: walk.key.0.clone(),
        owner: walk.owner.clone(),
        desired,
        previous,
        plan,
        parallelism: parallelism.min(64),
    };
    deliver::start(ctx, walk, job);
}

/// Clusters that joined a placement after its run: they get the revision that runs, without a question only if
/// no gate stands before their step.
async fn serve_joiners(ctx: &Arc<Context>, app: &Application, walk: &mut Walk) -> Result<(), RecordError> {
    let over = walk.run_status().is_some_and(|status| status.phase == fleet_api::RunPhase::Succeeded);
    let Some(revision) = walk.revision.clone().filter(|_| over) else { return Ok(()) };
    let Ok(placed) = runs::placed(&revision, &runs::placeable(&ctx.members.clusters()), &walk.key.0) else {
        return Ok(());
    };
    let served = |target: &Target| {
        let layers = walk.layers(target);
        layers.iter().any(|layer| layer.revision == revision.name)
    };
    let joined: std::collections::BTreeSet<Target> =
        placed.iter().flatten().filter(|target| !served(target)).cloned().collect();
    if joined.is_empty() {
        return Ok(());
    }
    walk.fold();
    let state = runs::joiners_state(&revision, &placed, &joined);
    begin(ctx, app, walk, revision, state, "ClusterJoined").await?;
    walk_on(ctx, app, walk, false).await?;
    Ok(())
}

async fn delete(ctx: &Arc<Context>, app: &Application, walk: &mut Walk) -> Result<Option<Timestamp>, RecordError> {
    if !app.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER) {
        return Ok(None);
    }
    match deletion::advance(ctx, app, walk, ctx.now()) {
        deletion::Progress::Waiting(message, again) => {
            let written = write_status(ctx, app, walk, None, false, Some(message)).await?;
            Ok(Some(again.min(written)))
        }
        deletion::Progress::Over(orphaned) => {
            crate::events::deleted(ctx, app, &orphaned);
            records::delete_tracker(ctx, walk).await?;
            let kept: Vec<&String> = app
                .finalizers()
                .iter()
                .filter(|name| *name != names::FINALIZER && *name != names::ORPHAN_FINALIZER)
                .collect();
            let patch = serde_json::json!({ "metadata": {
                "finalizers": kept,
                "resourceVersion": app.resource_version(),
            }});
            let api: Api<Application> = Api::namespaced(ctx.hub.client.clone(), &walk.key.0);
            match api.patch(&walk.key.1, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
            Ok(None)
        }
    }
}

/// Writes status where it differs: transitions at once, progress no more often than the interval.
async fn write_status(
    ctx: &Context,
    app: &Application,
    walk: &mut Walk,
    problem: Option<&Problem>,
    held_back: bool,
    deleting: Option<String>,
) -> Result<Timestamp, RecordError> {
    let now = ctx.now();
    let mut drift: Vec<String> = walk.board.reported().into_iter().map(|(_, _, message)| message).collect();
    drift.truncate(10);
    let status = derive(
        &Seen {
            app,
            run: walk.run.as_ref(),
            revision: walk.revision.as_deref(),
            problem,
            held_back,
            services: services(ctx, walk),
            drift,
            progress: progress(ctx, walk),
            inventory: &walk.inventory,
            deleting,
        },
        now,
    );
    let shown = app.status.clone().unwrap_or_default();
    if shown == status {
        return Ok(Timestamp::MAX);
    }
    if !is_transition(&shown, &status) {
        let due = walk.progress_at.and_then(|at| at.checked_add(ctx.options.progress_interval).ok());
        if let Some(due) = due.filter(|due| *due > now) {
            return Ok(due);
        }
    }
    walk.progress_at = Some(now);
    let mut new = app.clone();
    new.status = Some(status);
    new.meta_mut().managed_fields = None;
    let api: Api<Application> = Api::namespaced(ctx.hub.client.clone(), &walk.key.0);
    match api.replace_status(&walk.key.1, &PostParams::default(), &new).await {
        Ok(_) => Ok(Timestamp::MAX),
        // An older object was looked at: the newer one is on its way and asks for a turn of its own.
        Err(kube::Error::Api(refusal)) if refusal.code == 409 => {
            Ok(now.checked_add(jiff::SignedDuration::from_millis(50)).unwrap_or(now))
        }
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(Timestamp::MAX),
        Err(error) => Err(error.into()),
    }
}

/// Whether somebody may be waiting for this change.
fn is_transition(shown: &ApplicationStatus, status: &ApplicationStatus) -> bool {
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
fn services(ctx: &Context, walk: &Walk) -> Vec<ServiceStatus> {
    let mut services = Vec::new();
    let mut targets: Vec<Target> = walk.inventory.targets.iter().map(|entry| entry.target.clone()).collect();
    targets.sort();
    for target in targets {
        let wanted = walk.overlay(&walk.layers(&target), &target);
        let mut by_component: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for desired in &wanted {
            by_component.entry(&desired.component).or_default().push(desired.clone());
        }
        for (component, objects) in by_component {
            let fact = facts::observe(ctx, walk, &target, &objects);
            // What doesn't answer is neither healthy nor unhealthy; the message says so.
            let unreachable = fact.waiting_for.as_ref().is_some_and(|p| p.reason == "Unreachable");
            let repairing = fact.waiting_for.as_ref().is_some_and(|p| p.reason == "NotObserved");
            services.push(ServiceStatus {
                name: component.to_owned(),
                namespace: target.namespace.clone(),
                cluster: target.cluster.clone(),
                healthy: fact.done || unreachable || repairing && walk.unchecked,
                message: fact.waiting_for.map(|problem| problem.message).unwrap_or_default(),
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
            let desired = revision.desired(&step.name, &state.target.namespace, &walk.delivery());
            let total = desired.len() as u64;
            let done = match state.phase {
                TargetPhase::Succeeded | TargetPhase::Pruning => total,
                TargetPhase::Pending => 0,
                _ => {
                    let done = |d: &&fleet_plan::Desired| {
                        facts::observe(ctx, walk, &state.target, std::slice::from_ref(*d)).done
                    };
                    desired.iter().filter(done).count() as u64
                }
            };
            progress.insert((step.name.clone(), state.target.clone()), (done, total));
        }
    }
    progress
}
