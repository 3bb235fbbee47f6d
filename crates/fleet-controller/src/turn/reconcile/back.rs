//! Going back to an earlier revision: a person asks, or a run failed that says so. Everything comes from the stored
//! revision; nothing is read again from the hub.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::{Application, ObjectId, Rollback, RollbackRequest, Run, RunPhase, StepPhase, names};
use fleet_json::few;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::intent::{Beginning, Intent};
use super::start::place_again;
use crate::Problem;
use crate::context::{Context, Noted};
use crate::propagation;
use crate::records::rollback;
use crate::records::{self, RecordError};
use crate::run::queue;
use crate::turn::walk::Walk;

/// How much of what failed is kept as the reason, in characters.
const LONGEST: usize = 512;
/// How many objects a refusal names.
const NAMED: usize = 5;

/// What asks to go back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ask {
    Person(RollbackRequest),
    /// A step failed; in words.
    Failure(String),
}

/// What was found for one question, until something changes.
pub(crate) struct Found {
    ask: Ask,
    run: String,
    chosen: Result<Chosen, Problem>,
}

/// What is gone back to.
#[derive(Clone)]
struct Chosen {
    revision: Arc<crate::Loaded>,
    back_to: Option<i64>,
    made: Made,
}

/// Who made a revision what it is, as a run of it says.
#[derive(Clone, Default)]
pub(crate) struct Made {
    pub(crate) author: Option<String>,
    pub(crate) authors: Vec<String>,
    pub(crate) authors_since: Option<Timestamp>,
    pub(crate) authored_until: Option<Timestamp>,
    pub(crate) unattributed: Vec<String>,
}

/// What a run that goes back is to say and to do.
pub(crate) struct Back {
    pub(crate) rollback: Rollback,
    pub(crate) made: Made,
    /// Clusters that the revision names and that left the fleet.
    pub(crate) missing: BTreeSet<String>,
}

/// Whether something asks for an earlier revision than `forward` is about, and what comes of it. Where that can't be done
/// the walk says why, and everything goes on as without.
pub(crate) async fn instead(
    ctx: &Arc<Context>,
    app: &Application,
    walk: &mut Walk,
    noted: &Noted,
    forward: Intent,
) -> Result<Intent, RecordError> {
    walk.refused = None;
    let ask = match asked(app, walk) {
        None => return Ok(forward),
        Some(Err(problem)) => {
            walk.refused = Some(problem);
            return Ok(forward);
        }
        Some(Ok(ask)) => ask,
    };
    let later = match &forward {
        Intent::Start(beginning) if came_later(app, beginning.cause, &ask) => {
            // What only waits for the run to end keeps nobody from going back meanwhile.
            let waits = queue::waits(beginning.rule, beginning.cause, walk.run_status());
            if !waits {
                return Ok(forward);
            }
            true
        }
        _ => false,
    };
    let run = walk.run_name().to_owned();
    let known = walk.found.take().filter(|found| found.ask == ask && found.run == run && !noted.inputs);
    let found = match known {
        Some(found) => found,
        None => Found { chosen: choose(ctx, walk, &ask).await?, ask, run },
    };
    let begins = found.chosen.clone().and_then(|chosen| beginning(ctx, walk, &found.ask, chosen, later));
    walk.found = Some(found);
    match begins {
        Ok(beginning) => Ok(Intent::Start(Box::new(beginning))),
        Err(problem) => {
            walk.refused = Some(problem);
            Ok(forward)
        }
    }
}

/// Whether a run has just ended in a way that asks for the revision before. A rollback that fails rolls nothing back.
pub(crate) fn failed_so(run: Option<&Run>) -> bool {
    run.is_some_and(|run| {
        let wanted =
            |status: &fleet_api::RunStatus| status.phase == RunPhase::Failed && status.rollback_wanted;
        run.spec.rollback.is_none() && run.status.as_ref().is_some_and(wanted)
    })
}

/// What asks to go back now. Another run than the one that is asked about has answered it.
fn asked(app: &Application, walk: &Walk) -> Option<Result<Ask, Problem>> {
    let request = app.annotations().get(names::ROLLBACK).map(|text| RollbackRequest::read(text));
    match request {
        Some(Ok(request)) if request.run == walk.run_name() => return Some(Ok(Ask::Person(request))),
        Some(Err(said)) if !failed_so(walk.run.as_ref()) => {
            return Some(Err(Problem::wrong("InvalidRequest", said)));
        }
        _ => {}
    }
    let steps = walk.run_status().map(|status| status.steps.as_slice()).unwrap_or_default();
    let failed = steps.iter().find(|step| step.phase == StepPhase::Failed);
    failed_so(walk.run.as_ref()).then(|| {
        let why = failed.map(|step| format!("step {}: {}", step.name, step.message)).unwrap_or_default();
        Ok(Ask::Failure(why.chars().take(LONGEST).collect()))
    })
}

/// Whether what starts a run was said after it was asked to go back.
fn came_later(app: &Application, cause: &str, ask: &Ask) -> bool {
    // A failure says nothing that a person couldn't have known.
    let Ask::Person(request) = ask else { return true };
    match cause {
        "Restart" => app.annotations().get(names::RESTART) != request.restart.as_ref(),
        "PublishVersion" => app.annotations().get(names::PUBLISH_VERSION) != request.publish_version.as_ref(),
        _ => request.generation.is_some_and(|seen| app.metadata.generation.is_some_and(|now| now > seen)),
    }
}

/// The revision, and what is known of it.
async fn choose(ctx: &Context, walk: &Walk, ask: &Ask) -> Result<Result<Chosen, Problem>, RecordError> {
    let Some(current) = &walk.run else {
        return Ok(Err(Problem::wrong("NothingToGoBackTo", "nothing has run yet")));
    };
    let runs = records::runs(ctx, walk).await?;
    let named = match ask {
        Ask::Failure(_) => rollback::last_completed(&runs, current).map(|run| run.spec.revision.clone()),
        Ask::Person(RollbackRequest { to: None, .. }) => {
            rollback::earlier(&runs, current).map(|run| run.spec.revision.clone())
        }
        Ask::Person(RollbackRequest { to: Some(to), .. }) => {
            rollback::differs(&runs, current, to).map(|()| to.clone())
        }
    };
    let name = match named {
        Ok(name) => name,
        Err(problem) => return Ok(Err(problem)),
    };
    let loaded = match walk.loaded(&name) {
        Some(known) => Ok(known),
        None => records::read_revision(&ctx.hub.client, &walk.key.0, &name).await,
    };
    let revision = match loaded {
        Ok(revision) => revision,
        Err(error) if error.is_absent() => {
            let message =
                format!("there is no revision {name} any more; {}", rollback::there_is(&runs, current));
            return Ok(Err(Problem::wrong("RevisionNotFound", message)));
        }
        Err(RecordError::Hub(error)) => return Err(error.into()),
        Err(error) => {
            let message = format!(
                "revision {name} can't be read by this version: {error}; {}",
                rollback::there_is(&runs, current)
            );
            return Ok(Err(Problem::wrong("RevisionNotReadable", message)));
        }
    };
    if let Some(problem) = of_another(ctx, walk, &revision).await? {
        return Ok(Err(problem));
    }
    let of = rollback::run_of(&runs, &name);
    let spec = of.map(|run| run.spec.clone()).unwrap_or_default();
    let unknown = || vec![format!("Application {}", walk.key.1)];
    Ok(Ok(Chosen {
        revision,
        back_to: of.map(rollback::stands_at),
        made: Made {
            author: spec.author,
            authors: spec.authors,
            authors_since: spec.authors_since,
            authored_until: spec.authored_until,
            unattributed: if of.is_some() { spec.unattributed } else { unknown() },
        },
    }))
}

/// What keeps an Application that carries a policy from going back: objects of that revision that others distribute by now. Both
/// have one owner label, so they would put each other right for ever.
async fn of_another(
    ctx: &Context,
    walk: &Walk,
    revision: &crate::Loaded,
) -> Result<Option<Problem>, RecordError> {
    if revision.staged.is_none() {
        return Ok(None);
    }
    let (namespace, own) = &walk.key;
    let whose = propagation::on_record(&ctx.hub.client).await?;
    let objects = revision.content.steps.iter().flat_map(|step| &step.objects);
    let mut theirs: BTreeSet<String> = BTreeSet::new();
    for (_, object) in objects {
        let Some(id) = ObjectId::of(object).map(|id| id.within(namespace)) else { continue };
        let Some(remembered) = whose.get(&id) else { continue };
        if remembered.stage.as_ref() == Some(own) {
            continue;
        }
        let policy = remembered.policy.as_ref();
        let policy = policy
            .map_or_else(|| "another policy".to_owned(), |policy| format!("{} {}", policy.kind, policy.name));
        theirs.insert(format!("{id} (by {policy})"));
    }
    if theirs.is_empty() {
        return Ok(None);
    }
    let message = format!(
        "revision {} can't be gone back to: others distribute by now what is in it: {}; let this policy select it again, or go back to a revision without it: fleetctl history {own} -n {namespace}",
        revision.name,
        few(&theirs, NAMED)
    );
    Ok(Some(Problem::wrong("DistributedByAnother", message)))
}

/// The run that begins; members are those that there are now. What was said `later` than that isn't what is left for it:
/// it has its turn afterwards.
fn beginning(
    ctx: &Context,
    walk: &Walk,
    ask: &Ask,
    chosen: Chosen,
    later: bool,
) -> Result<Beginning, Problem> {
    let Some(current) = &walk.run else {
        return Err(Problem::wrong("NothingToGoBackTo", "nothing has run yet"));
    };
    let revision = chosen.revision;
    let refused = |problem: Problem| Problem {
        message: format!("revision {} can't be gone back to: {}", revision.name, problem.message),
        ..problem
    };
    let (placed, missing) = place_again(ctx, walk, &revision).map_err(refused)?;
    let gone: Vec<&str> = missing.iter().map(String::as_str).collect();
    if !placed.iter().flatten().any(|target| !missing.contains(&target.cluster)) {
        let message = format!("all clusters that it names left the fleet: {}", gone.join(", "));
        return Err(refused(Problem::awaited("ClusterGone", message)));
    }
    let (automatic, by, reason) = match ask {
        Ask::Person(request) if !gone.is_empty() && !request.without_missing => {
            let message = format!(
                "it names clusters that left the fleet: {}; go back without them: fleetctl workflow rollback {} -n {} --to {} --without-missing",
                gone.join(", "),
                walk.key.1,
                walk.key.0,
                revision.name
            );
            return Err(refused(Problem::awaited("ClusterGone", message)));
        }
        Ask::Person(request) => (false, request.by.clone(), request.reason.clone()),
        Ask::Failure(why) => (true, String::new(), why.clone()),
    };
    let mut made = chosen.made;
    // Who brings something back doesn't approve it, either.
    if !by.is_empty() && !made.authors.contains(&by) {
        made.authors.push(by.clone());
        made.authors.sort();
    }
    let rollback = Rollback {
        from: said_by(walk).filter(|_| !later).unwrap_or_else(|| current.spec.revision.clone()),
        replaced: current.spec.revision.clone(),
        back_to: chosen.back_to,
        automatic,
        requested_by: by,
        reason,
    };
    let back = Back { rollback, made, missing };
    let cause = if automatic { "AutomaticRollback" } else { "Rollback" };
    let (authors, rule) = Default::default();
    Ok(Beginning { cause, revision, placed, authors, rule, back: Some(back) })
}

/// The revision that the Application says now; where it can't be put together, what it said when it last went back.
fn said_by(walk: &Walk) -> Option<String> {
    let draft = walk.draft.as_ref().and_then(|(_, hash)| hash.as_ref().ok());
    let before = || walk.run.as_ref()?.spec.rollback.as_ref().map(|rollback| rollback.from.clone());
    draft.map(|hash| names::derived_name(&walk.key.1, hash)).or_else(before)
}
