//! One turn for one Application: snapshot, decide, record, carry out, patch status if it changed.
//!
//! ```text
//!  reconcile ──► intent ──► start ──► machine ──► commands ──► jobs
//!                  │                    └── worth (what of it is recorded)
//!                  └──────────────────────────────────────► show (status)
//! ```

mod back;
mod commands;
mod intent;
mod machine;
mod show;
mod start;
mod worth;

pub(crate) use back::Found;
pub(crate) use intent::with_pinned_definitions;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::{Application, names, staged};
use fleet_members::Reachability;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;

use self::intent::{Beginning, Intent, intent, made_for};
use self::machine::walk_on;
use self::show::{Waiting, write_status};
use self::start::{serve_joiners, start};
use crate::context::{AppKey, Context, Noted};
use crate::deliver::{deletion, drift, late, looks};
use crate::hub::refusal;
use crate::people::audit;
use crate::records::{self, RecordError};
use crate::replicas::{Duty, Hold};
use crate::run::{leavers, queue};
use crate::turn::held;
use crate::turn::walk::Walk;

/// After what time it is looked again whether something that was under way has ended; its end asks for a turn as well.
const SETTLING: jiff::SignedDuration = jiff::SignedDuration::from_millis(250);

/// One turn, where the Application is this replica's.
pub(crate) async fn reconcile(app: Arc<Application>, ctx: Arc<Context>) -> Result<Action, RecordError> {
    let key: AppKey = (app.namespace().unwrap_or_default(), app.name_any());
    let outcome = match ctx.hold(&key) {
        Some(hold) => {
            let turn = async {
                let outcome = Box::pin(held(&app, &ctx, &key, &hold)).await;
                if let Err(error) = &outcome {
                    refusal::tell(&ctx, &app, error).await;
                }
                outcome
            };
            hold.during(turn).await
        }
        None => None,
    };
    outcome.unwrap_or_else(|| {
        ctx.line.hand_over(&key);
        ctx.forget(&key);
        Ok(Action::await_change())
    })
}

/// The Application's in-memory state is taken out for the time of a turn, so nothing is locked meanwhile.
async fn held(
    app: &Arc<Application>,
    ctx: &Arc<Context>,
    key: &AppKey,
    hold: &Hold,
) -> Result<Action, RecordError> {
    let noted = ctx.due.take(key);
    let known = ctx.take_walk(key).filter(|walk| app.uid().as_deref() == Some(&walk.uid));
    // What was known under an earlier hold, somebody else may have changed since.
    // Somebody deleted the run: what is on record now counts.
    let lost = |walk: &Walk| {
        let run = walk.run.as_ref().and_then(|run| run.metadata.uid.as_ref());
        run.is_some_and(|uid| noted.lost_runs.contains(uid))
    };
    let mut walk = match known.filter(|walk| !walk.hold.is_over()) {
        Some(walk) if !walk.stale && !lost(&walk) => walk,
        stale => {
            let mut walk = records::load(ctx, app, hold.clone()).await?;
            if let Some(before) = stale {
                // Jobs under way report to the board that they were given.
                walk.board = before.board;
                // The turn that began this run may have failed before it said so.
                if walk.run.is_some() {
                    walk.board.begin(walk.run_name());
                }
                walk.taken_up = before.taken_up;
                walk.unchecked = before.unchecked;
                walk.postponed = before.postponed;
                walk.held = before.held;
                walk.looks = before.looks;
                walk.audit = before.audit;
            }
            walk
        }
    };
    ctx.due.own(&walk.owner, key, walk.hears_of());
    let outcome = turn(ctx, app, &mut walk, &noted).await;
    walk.stale = outcome.is_err();
    if walk.stale {
        walk.postpone(noted);
    }
    if matches!(&outcome, Ok(None)) {
        ctx.forget(key);
        ctx.shares.forget(&Duty::Application(key.0.clone(), key.1.clone()));
    } else {
        walk.settle();
        ctx.put_walk(key.clone(), walk);
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
    let hold_ends = held::note(ctx, walk);
    walk.board.retry_unreachable(&|cluster| is_reachable(ctx, cluster));
    if app.metadata.deletion_timestamp.is_some() {
        return delete(ctx, app, walk).await;
    }
    // The answer to the finalizer's write comes back by the watch; until then this turn's object is older.
    let app = &*ensure_finalizer(ctx, app).await?;
    let intent = intent(ctx, app, walk, noted).await?;
    looks::settle(ctx, walk);
    let takes_over = intent.takes_over(walk);
    let mut wake = walk_on(ctx, app, walk, takes_over).await?;
    if !takes_over && walk.is_running() && intent.takes_over(walk) {
        // What it waited for in this very turn was the last but debts.
        wake = walk_on(ctx, app, walk, true).await?;
    }
    let (mut queued, mut taking_over) = (None, None);
    let (problem, behind) = match intent {
        Intent::Start(beginning) if !walk.is_running() => {
            let takes_up = beginning.back.is_none().then(|| beginning.revision.hash.clone());
            // The run before may have ended in this very turn.
            audit::keep(ctx, app, walk).await;
            start(ctx, app, walk, *beginning).await?;
            // The one before was made with the definitions that the last run pinned. What goes back says nothing about it.
            if let Some(hash) = takes_up {
                walk.draft = Some((made_for(app), Ok(hash)));
            }
            wake = walk_on(ctx, app, walk, false).await?;
            (None, None)
        }
        Intent::Start(beginning) => {
            let Beginning { cause, revision, rule, .. } = *beginning;
            // Else the run before ends at a target boundary; that end asks for another turn.
            if queue::waits(rule, cause, walk.run_status()) {
                queued = Some(queue::wanted(app, walk, &revision.hash));
            } else {
                taking_over = Some(revision.name.clone());
            }
            (None, None)
        }
        Intent::None => (None, None),
        Intent::Behind(why) => (None, Some(why)),
        Intent::Problem(problem) => {
            // Rights have no watch.
            if problem.reason == crate::hub::readable::NOT_READABLE {
                let pause = jiff::SignedDuration::try_from(crate::hub::readable::REMEMBERED * 2);
                let again = pause.ok().and_then(|pause| ctx.now().checked_add(pause).ok());
                wake = wake.min(again.unwrap_or(Timestamp::MAX));
            }
            (Some(problem), None)
        }
    };
    // Who joined shows by the inputs; what a run reached, by its end.
    if walk.is_running() || noted.inputs {
        walk.joiners_served = false;
    }
    if !walk.joiners_served {
        let later = serve_joiners(ctx, app, walk).await?;
        walk.joiners_served = !later && !walk.is_running();
    }
    if noted.inputs || walk.left.is_none() {
        walk.left = Some(leavers::said(ctx, walk));
    }
    drift::check(ctx, walk, noted);
    let fights = walk.board.end_fights().and_then(|left| jiff::SignedDuration::try_from(left).ok());
    let fights = fights.and_then(|left| ctx.now().checked_add(left).ok()).unwrap_or(Timestamp::MAX);
    late::take_back(ctx, walk, noted);
    // Before the status, which names the end of the record.
    let audited = audit::keep(ctx, app, walk).await;
    let waiting = Waiting { problem: problem.as_ref(), behind, queued, taking_over };
    let written = write_status(ctx, app, walk, waiting, None).await?;
    Ok(Some(wake.min(written).min(audited).min(hold_ends).min(fights)))
}

fn is_reachable(ctx: &Context, cluster: &str) -> bool {
    ctx.members.get(cluster).is_ok_and(|member| member.reachability() == Reachability::Reachable)
}

async fn ensure_finalizer<'a>(
    ctx: &Context,
    app: &'a Application,
) -> Result<Cow<'a, Application>, RecordError> {
    if app.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER) {
        return Ok(Cow::Borrowed(app));
    }
    let mut finalizers = app.finalizers().to_vec();
    finalizers.push(names::FINALIZER.to_owned());
    let patch = serde_json::json!({ "metadata": {
        "finalizers": finalizers,
        "resourceVersion": app.resource_version(),
    }});
    let api: Api<Application> = Api::namespaced(ctx.hub.client.clone(), &app.namespace().unwrap_or_default());
    Ok(Cow::Owned(api.patch(&app.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?))
}

async fn delete(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
) -> Result<Option<Timestamp>, RecordError> {
    if !app.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER) {
        return Ok(None);
    }
    ctx.line.ask(walk, &BTreeSet::new());
    if staged::policy_of(app).is_some() {
        if !deletion::is_quiet(walk) {
            let again = ctx.now().checked_add(SETTLING).unwrap_or(Timestamp::MAX);
            return Ok(Some(again));
        }
        audit::deleted(ctx, app, walk, 0).await;
        // Its inventory stays on record until the distribution has it.
        let_go(ctx, app, walk).await?;
        return Ok(None);
    }
    match deletion::advance(ctx, app, walk, ctx.now()) {
        deletion::Progress::Waiting(message, again) => {
            if walk.told.as_ref() != Some(&message) {
                crate::report::events::deleting(ctx, app, &message);
                walk.told = Some(message.clone());
            }
            let written = write_status(ctx, app, walk, Waiting::default(), Some(message)).await?;
            Ok(Some(again.min(written)))
        }
        deletion::Progress::Over(orphaned) => {
            crate::report::events::deleted(ctx, app, &orphaned);
            audit::deleted(ctx, app, walk, orphaned.len()).await;
            records::delete_tracker(ctx, walk).await?;
            let_go(ctx, app, walk).await?;
            Ok(None)
        }
    }
}

/// Takes our finalizers off an Application that is being deleted.
async fn let_go(ctx: &Context, app: &Application, walk: &Walk) -> Result<(), RecordError> {
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
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}
