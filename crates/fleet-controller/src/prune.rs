//! Parting with what is owned and no longer wanted: deleted, with UID and resource version as precondition, or
//! released.

use std::sync::Arc;

use fleet_api::{ObjectId, Target, names};
use fleet_members::{Account, Acting, MemberError};
use fleet_plan::{Action, ActionKind};
use fleet_workflow::{Problem, Prune};

use crate::board::Board;
use crate::context::Context;
use crate::tenancy;
use crate::walk::Walk;

/// How often a delete is tried when the object changes meanwhile.
const TRIES: u32 = 5;

/// What becomes of an object that is ours no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parting {
    /// It is deleted.
    Delete(ObjectId),
    /// It stays, as nobody's.
    Release(ObjectId),
}

impl Parting {
    /// What an action of a plan means.
    pub(crate) fn of(action: &Action) -> Self {
        match action.kind {
            ActionKind::Release => Self::Release(action.id.clone()),
            _ => Self::Delete(action.id.clone()),
        }
    }
}

/// Starts deleting, unless it is under way.
pub(crate) fn start(
    ctx: &Arc<Context>,
    walk: &Walk,
    board: Board,
    step: &str,
    target: &Target,
    gone: Vec<Parting>,
) {
    let key = (step.to_owned(), target.clone());
    if board.prune(&key) == Some(Prune::Running) {
        return;
    }
    let run = walk.run_name().to_owned();
    board.set_prune(&run, &key, Prune::Running);
    let (ctx, app, owner) = (Arc::clone(ctx), walk.key.clone(), walk.owner.clone());
    let account = tenancy::account(&ctx, walk, &target.cluster);
    walk.hold.spawn(async move {
        let outcome = match part_with_all(&ctx, &key.1, &gone, &owner, account).await {
            Ok(()) => {
                let deleted = |parting: Parting| match parting {
                    Parting::Delete(id) => Some(id),
                    Parting::Release(_) => None,
                };
                board.collected(&key.1.cluster, gone.into_iter().filter_map(deleted));
                Prune::Done
            }
            Err(MemberError::Held { .. }) => Prune::Idle,
            // It is tried again once the member answers.
            Err(error) if error.is_transient() => {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                Prune::Idle
            }
            Err(error) => Prune::Refused(problem(&error)),
        };
        board.set_prune(&run, &key, outcome);
        ctx.due.wake(&app);
    });
}

pub(crate) fn problem(error: &MemberError) -> Problem {
    Problem { reason: error.reason().to_owned(), message: error.to_string() }
}

/// Parts with objects one after another, in the order given.
pub(crate) async fn part_with_all(
    ctx: &Context,
    target: &Target,
    gone: &[Parting],
    owner: &str,
    account: Option<Account>,
) -> Result<(), MemberError> {
    let member = ctx.members.get(&target.cluster).map_err(|error| MemberError::Unreachable {
        cluster: target.cluster.clone(),
        message: error.message,
    })?;
    part_with_each(&Acting::new(member, account), gone, owner).await
}

/// Parts with those objects that are ours, one after another, in the order given.
pub(crate) async fn part_with_each(
    member: &Acting,
    gone: &[Parting],
    owner: &str,
) -> Result<(), MemberError> {
    for parting in gone {
        match parting {
            Parting::Delete(id) => delete(member, id, owner).await?,
            Parting::Release(id) => release(member, id, owner).await?,
        }
    }
    Ok(())
}

/// Gives one object up if it is ours: it stays as it is.
async fn release(member: &Acting, id: &ObjectId, owner: &str) -> Result<(), MemberError> {
    let live = match member.metadata(id).await {
        // Without the kind there is no object of it.
        Err(MemberError::UnknownKind { .. }) => None,
        other => other?,
    };
    if live.is_some_and(|live| live.owner() == Some(owner)) {
        member.release(id, &names::field_manager(owner)).await?;
    }
    Ok(())
}

/// Deletes one object if it is ours.
async fn delete(member: &Acting, id: &ObjectId, owner: &str) -> Result<(), MemberError> {
    let mut tries = 0;
    loop {
        let live = match member.metadata(id).await {
            Ok(live) => live,
            // Without the kind there is no object of it.
            Err(MemberError::UnknownKind { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(live) = live.filter(|live| live.owner() == Some(owner)) else { return Ok(()) };
        if live.deleting {
            return Ok(());
        }
        tries += 1;
        match member.delete(id, &live).await {
            Ok(()) => return Ok(()),
            Err(MemberError::Refused { code: 409, .. } | MemberError::Conflicts { .. }) if tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}
