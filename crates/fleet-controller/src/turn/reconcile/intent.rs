//! What an Application asks for, compared with what runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::{Application, OnNewRevision, Target, names};
use fleet_render::Definitions;
use kube::ResourceExt as _;

use super::back::{self, Back};
use super::start::place;
use crate::context::{Context, Noted};
use crate::hub::Input;
use crate::hub::readable;
use crate::people::authors::Authors;
use crate::problem::Problem;
use crate::records::RecordError;
use crate::records::revision::Loaded;
use crate::resolve::{BEHIND, Draft, Snapshot, resolve};
use crate::run::queue;
use crate::run::{self, Behind, Decision};
use crate::turn::walk::{MadeFor, Walk};

/// What the Application asks for, compared with what runs.
pub(crate) enum Intent {
    None,
    /// A run starts.
    Start(Box<Beginning>),
    /// The spec differs from what runs, and waits.
    Behind(Behind),
    Problem(Problem),
}

/// What a run starts with: these targets for each step.
pub(crate) struct Beginning {
    pub(crate) cause: &'static str,
    pub(crate) revision: Arc<Loaded>,
    pub(crate) placed: Vec<Vec<Target>>,
    pub(crate) authors: Authors,
    /// What becomes of a run that goes on.
    pub(crate) rule: OnNewRevision,
    /// It goes back to a revision that is on record.
    pub(crate) back: Option<Back>,
}

impl Intent {
    /// Whether a run that goes on ends for it at the next target boundary.
    pub(crate) fn takes_over(&self, walk: &Walk) -> bool {
        match self {
            Self::Start(beginning) => !queue::waits(beginning.rule, beginning.cause, walk.run_status()),
            Self::None | Self::Behind(_) | Self::Problem(_) => false,
        }
    }
}

pub(crate) async fn intent(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
    noted: &Noted,
) -> Result<Intent, RecordError> {
    let forward = forward(ctx, app, walk, noted).await;
    back::instead(ctx, app, walk, noted, forward).await
}

/// What the spec asks for.
async fn forward(ctx: &Arc<Context>, app: &Application, walk: &mut Walk, noted: &Noted) -> Intent {
    let generation = made_for(app);
    let unread = |draft: &Result<String, Problem>| {
        draft.as_ref().is_err_and(|problem| problem.reason == readable::NOT_READABLE)
    };
    let stale = walk.draft.as_ref().is_none_or(|(made_for, draft)| *made_for != generation || unread(draft));
    let mut fresh = None;
    if stale || noted.inputs {
        let made = draft(ctx, app, walk).await;
        // What a policy distributes waits until the distribution has seen it, which writes the Application.
        let behind = |problem: &Problem| {
            problem.reason == BEHIND
                || problem.reason == "ObjectNotFound" && fleet_api::staged::policy_of(app).is_some()
        };
        if made.as_ref().is_err_and(behind) {
            return Intent::None;
        }
        let hash = made.as_ref().map(|made| made.draft.hash.clone()).map_err(Clone::clone);
        walk.draft = Some((generation, hash));
        fresh = made.ok().filter(|made| made.in_force).map(|made| (made.draft, made.authors));
    }
    let wanted = match &walk.draft {
        Some((_, Ok(hash))) => hash.clone(),
        Some((_, Err(problem))) => return Intent::Problem(problem.clone()),
        None => return Intent::None,
    };
    let running = walk.revision.as_ref().map(|revision| revision.hash.as_str());
    match run::decide(app, walk.run.as_ref(), running, &wanted) {
        Decision::Current => Intent::None,
        Decision::Behind(why) => Intent::Behind(why),
        Decision::Start(cause) => {
            // What is about to start takes up the definitions in force.
            let current = match fresh {
                Some(draft) => Ok(draft),
                None => with_definitions_in_force(ctx, app, walk).await,
            };
            // What can't be placed ends no run that goes well.
            let placed = current
                .and_then(|(draft, authors)| Ok((place(ctx, walk, draft)?, authors, queue::rule(app)?)));
            match placed {
                Ok(((revision, placed), authors, rule)) => {
                    let revision = Arc::new(revision);
                    Intent::Start(Box::new(Beginning { cause, revision, placed, authors, rule, back: None }))
                }
                Err(problem) => Intent::Problem(problem),
            }
        }
    }
}

/// A draft, and whether it was made with the definitions that are in force.
struct Made {
    draft: Draft,
    in_force: bool,
    /// Of what it was made from, less the Application itself.
    authors: Authors,
}

async fn with_definitions_in_force(
    ctx: &Context,
    app: &Application,
    walk: &Walk,
) -> Result<(Draft, Authors), Problem> {
    let snapshot = ctx.hub.snapshot(app);
    let current = resolve(app, &snapshot, &ctx.hub.definitions(&walk.key.0));
    // Rights may have gone since the draft was made.
    let (used, authors) = snapshot.into_parts();
    readable(ctx, app, walk, &used).await?;
    Ok((current?, authors))
}

/// Puts the Application together: with the definitions that its revision pins, so that a changed definition
/// starts nothing by itself; where that doesn't give what runs, with those in force.
async fn draft(ctx: &Arc<Context>, app: &Application, walk: &Walk) -> Result<Made, Problem> {
    // What is asked for and not watched yet is watched, until everything that is asked for is: the last look comes
    // after the watches and the registration, so that no change falls between.
    loop {
        let snapshot = ctx.hub.snapshot(app);
        let in_force = ctx.hub.definitions(&walk.key.0);
        let outcome = with_pinned_definitions(app, &walk.pinning(), &snapshot, &in_force);
        let (used, authors) = snapshot.into_parts();
        let refers_to = used.clone();
        let kinds: BTreeSet<(String, String)> =
            used.iter().filter_map(Input::kind).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        let mut grown = ctx.hub.inputs.set(&walk.key, used);
        for (api_version, kind) in kinds {
            grown |= ctx.hub.referenced.ensure(&api_version, &kind).await;
        }
        if !grown {
            // Before anything is said about what was found.
            readable(ctx, app, walk, &refers_to).await?;
            return outcome.map(|(draft, in_force)| Made { draft, in_force, authors });
        }
    }
}

async fn readable(
    ctx: &Context,
    app: &Application,
    walk: &Walk,
    used: &BTreeSet<Input>,
) -> Result<(), Problem> {
    // What is no name has no rights either, but that isn't what is wrong.
    let named = crate::resolve::service_account(app)?;
    readable::check(ctx, &walk.key, named.as_deref(), used.iter()).await
}

/// What a draft is made for: it says nothing about an Application that says something else there.
pub(crate) fn made_for(app: &Application) -> MadeFor {
    let said = |name: &str| app.annotations().get(name).cloned();
    let beside = [names::SERVICE_ACCOUNT, names::ON_NEW_REVISION, names::HELD_BACK];
    (app.metadata.generation.unwrap_or_default(), beside.map(said))
}

/// A draft by the definitions that one of the revisions pins, where that gives this revision; else by those in force. Says
/// whether it is by those in force.
pub(crate) fn with_pinned_definitions(
    app: &Application,
    pinning: &[Arc<Loaded>],
    snapshot: &dyn Snapshot,
    in_force: &Definitions,
) -> Result<(Draft, bool), Problem> {
    for revision in pinning {
        let pinned = Definitions::from_values(&revision.content.definitions);
        match resolve(app, snapshot, &pinned) {
            Ok(draft) if draft.hash == revision.hash => return Ok((draft, false)),
            _ => {}
        }
    }
    let draft = resolve(app, snapshot, in_force)?;
    Ok((draft, true))
}
