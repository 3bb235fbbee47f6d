//! Starting runs: revision, inventory, run, in this order.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::{Application, ObjectId, Run, RunPhase, RunSpec, RunStatus, Target, TargetPhase};
use fleet_workflow::graph::OnJoin;
use kube::ResourceExt as _;

use super::back::Back;
use super::intent::Beginning;
use super::machine::{step_machine, walk_on};
use crate::context::Context;
use crate::hub::tenancy;
use crate::people::audit;
use crate::people::authors::author_of;
use crate::people::proof;
use crate::problem::Problem;
use crate::propagation;
use crate::records::revision::Loaded;
use crate::records::{self, RecordError};
use crate::report::transitions;
use crate::resolve::Draft;
use crate::run;
use crate::run::joining;
use crate::run::queue;
use crate::turn::walk::Walk;

/// Starts a run: revision, inventory, run, in this order.
pub(crate) async fn start(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
    beginning: Beginning,
) -> Result<(), RecordError> {
    let Beginning { cause, revision, placed, mut authors, back, .. } = beginning;
    authors.see("Application", app);
    let revision = match walk.loaded(&revision.name) {
        Some(known) => known,
        None if back.is_some() => revision,
        None => {
            records::create_revision(ctx, app, &revision).await?;
            revision
        }
    };
    walk.fold();
    if let Some(before) = walk.revision.take() {
        walk.revisions.insert(before.name.clone(), before);
    }
    if back.is_none() {
        list_leaving(ctx, walk, &revision).await?;
    }
    let mut state = run::first_state(&revision, &placed, &walk.inventory);
    run::mark_canaries(&revision, &ctx.members.clusters(), &mut state);
    joining::hold_back(&mut state, walk.run_status());
    let spec = run::next_spec(app, walk.run.as_ref(), &revision, cause);
    let waited = queue::shown(app, walk).filter(|waited| waited.revision == revision.name);
    let (queued_since, skipped_revisions) =
        waited.map(|waited| (waited.since, waited.skipped.clone())).unwrap_or_default();
    let since = spec.authors_since;
    let record = walk.audit.head();
    let spec = match back {
        None => RunSpec {
            queued_since,
            skipped_revisions,
            author: author_of(app.annotations()),
            authors: authors.known(since),
            // Who sets an annotation of ours changes no content, and isn't known.
            changed_by: authors.newest().filter(|_| matches!(cause, "Created" | "RevisionChanged")),
            authored_until: authors.until(),
            record,
            unattributed: authors.unattributed(since),
            ..spec
        },
        Some(back) => {
            let there = |cluster: &str| ctx.members.contains(cluster);
            run::mark_missing(&back.missing, &there, &mut state, ctx.now());
            let Back { rollback, made, .. } = back;
            RunSpec {
                rollback: Some(rollback),
                author: made.author,
                authors: made.authors,
                // What was left counts again for whoever takes it up.
                authors_since: made.authors_since,
                authored_until: made.authored_until,
                unattributed: made.unattributed,
                record,
                ..spec
            }
        }
    };
    begin(ctx, app, walk, revision, state, spec).await
}

/// Lists what the distribution had and the run takes away: what is on record as carried by this Application.
async fn list_leaving(ctx: &Context, walk: &mut Walk, revision: &Loaded) -> Result<(), RecordError> {
    if revision.staged.as_ref().is_none_or(|staged| staged.leaves.is_empty()) {
        return Ok(());
    }
    let whose = propagation::on_record(&ctx.hub.client).await?;
    let own = walk.key.1.clone();
    let carried = |id: &ObjectId| whose.get(id).is_some_and(|known| known.stage.as_ref() == Some(&own));
    let clusters = ctx.members.clusters();
    run::list_leaving(&mut walk.inventory, revision, &walk.key.0, &clusters, &carried);
    Ok(())
}

/// The revision that a draft becomes, with the targets of every step; or why it can't be placed.
pub(crate) fn place(ctx: &Context, walk: &Walk, draft: Draft) -> Result<(Loaded, Vec<Vec<Target>>), Problem> {
    run::place(&walk.key, draft, &ctx.members.clusters(), &|cluster, named| {
        tenancy::admit(ctx, &walk.key.0, cluster, named).map(drop)
    })
}

/// The targets of a revision that is on record, as members are now, and which of them left the fleet.
pub(crate) fn place_again(
    ctx: &Context,
    walk: &Walk,
    revision: &Loaded,
) -> Result<(Vec<Vec<Target>>, BTreeSet<String>), Problem> {
    run::place_again(revision, &walk.key.0, &ctx.members.clusters(), &|cluster, named| {
        tenancy::admit(ctx, &walk.key.0, cluster, named).map(drop)
    })
}

async fn begin(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
    revision: Arc<Loaded>,
    state: RunStatus,
    spec: RunSpec,
) -> Result<(), RecordError> {
    let mut inventory = std::mem::take(&mut walk.inventory);
    run::list_in_inventory(&mut inventory, &revision, &state, &walk.delivery());
    walk.inventory = inventory;
    records::write_tracker(ctx, walk).await?;
    walk.revision = Some(revision);
    walk.plans.clear();
    walk.left = None;
    proof::powers::ask(ctx, walk).await;
    // The first turn of the state machine goes into the same write.
    let mut run = fleet_api::Run::new("", spec);
    run.status = Some(state);
    let first = first_turn(ctx, app, walk, &run);
    let run = records::create_run(ctx, app, run.spec, first).await?;
    transitions::tell(ctx, app, None, &run);
    walk.begun += 1;
    walk.run = Some(run);
    walk.board.begin_anew(walk.run_name());
    ctx.due.own(&walk.owner, &walk.key, walk.hears_of());
    walk.progress_at = Some(ctx.now());
    records::forget_old(ctx, walk).await;
    records::load_layers(ctx, walk).await
}

/// The state after the first turn, made before the run is on record: nothing is carried out.
fn first_turn(ctx: &Context, app: &Application, walk: &mut Walk, run: &fleet_api::Run) -> RunStatus {
    let before = walk.run.replace(run.clone());
    let step = step_machine(ctx, app, walk, false);
    walk.run = before;
    step.map_or_else(|| run.status.clone().unwrap_or_default(), |advance| advance.status)
}

/// Clusters that joined a placement after its run: they get the revision that runs, without a question only if
/// no gate stands before their step. Says whether one of them is held, and has to be served later.
pub(crate) async fn serve_joiners(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
) -> Result<bool, RecordError> {
    // What a run only owes to targets that it passed over keeps nobody else waiting.
    let over = |status: &RunStatus| status.phase == RunPhase::Succeeded || joining::only_owes(status);
    let Some(known) = walk.run_status().filter(|status| over(status)).cloned() else { return Ok(false) };
    let Some(revision) = walk.revision.clone() else { return Ok(false) };
    let clusters = ctx.members.clusters();
    let Ok(placed) = run::placed_now(walk.run.as_ref(), &revision, &clusters, &walk.key.0) else {
        return Ok(false);
    };
    let served = |target: &Target| {
        let layers = walk.layers(target);
        layers.iter().any(|layer| layer.revision == revision.name)
    };
    // What the run passed over nobody has, and nobody gets.
    let steps = walk.run_status().map(|status| status.steps.as_slice()).unwrap_or_default();
    let passed_over = |name: &str| {
        steps.iter().any(|step| step.name == name && step.phase == fleet_api::StepPhase::Skipped)
    };
    // A step that renders nothing leaves nothing behind by which to tell who has it.
    let delivering = revision
        .content
        .steps
        .iter()
        .zip(revision.graph.nodes.iter().zip(&placed))
        .filter(|(step, (node, _))| {
            !step.objects.is_empty() && joining::rule(node) != OnJoin::Ignore && !passed_over(&step.step.name)
        })
        .map(|(_, (_, placed))| placed);
    let states = || known.steps.iter().flat_map(|step| &step.targets);
    let reached: BTreeSet<&Target> =
        states().filter(|state| state.phase != TargetPhase::Removed).map(|state| &state.target).collect();
    let (held, joined): (BTreeSet<Target>, BTreeSet<Target>) = delivering
        .flatten()
        .filter(|target| !reached.contains(target) && !served(target))
        .cloned()
        .partition(|target| joining::is_held(ctx, walk, &target.cluster));
    let later = !held.is_empty();
    joining::wait_for_held(ctx, walk, held.into_iter().map(|target| target.cluster).collect());
    if joined.is_empty() {
        return Ok(later);
    }
    walk.fold();
    let mut state = run::joiners_state(&revision, &placed, &joined, Some(&known));
    joining::take_over(&mut state, &known);
    let owing = walk.run.clone().filter(|_| joining::only_owes(&known));
    let before = walk.run.as_ref().map(|run| run.spec.clone()).unwrap_or_default();
    let spec = run::next_spec(app, walk.run.as_ref(), &revision, "ClusterJoined");
    // The revision is the same, and so is who made it.
    // The run before may have ended in this very turn.
    audit::keep(ctx, app, walk).await;
    let spec = RunSpec {
        author: before.author,
        authors: before.authors,
        authored_until: before.authored_until,
        record: walk.audit.head(),
        unattributed: before.unattributed,
        rollback: before.rollback,
        ..spec
    };
    begin(ctx, app, walk, revision, state, spec).await?;
    if let Some(owing) = owing {
        hand_over(ctx, owing).await;
        // Its end is on record with what comes next.
        walk.audit.look_again();
    }
    walk_on(ctx, app, walk, false).await?;
    Ok(later)
}

/// Ends a run whose debts another one has taken over. Only what is shown of it depends on this: the newest run counts.
async fn hand_over(ctx: &Context, mut run: Run) {
    let Some(status) = run.status.as_mut() else { return };
    status.phase = RunPhase::Superseded;
    status.reason = "Superseded".to_owned();
    status.message = "a run that serves clusters that joined took over what was pending".to_owned();
    status.ended_at = Some(ctx.now());
    if let Err(error) = records::replace_run(ctx, &run).await {
        tracing::warn!(run = run.name_any(), %error, "a run that was taken over still looks open");
    }
}
