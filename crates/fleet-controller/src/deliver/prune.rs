//! Parting with what is owned and no longer wanted: deleted, with UID and resource version as precondition, or
//! released; or left to those who share it.

use std::sync::Arc;

use fleet_api::{ObjectId, Target, names};
use fleet_members::{Account, Acting, MemberError};
use fleet_plan::{Action, ActionKind, Exit, Standing, sharing};
use fleet_workflow::{Problem, Prune};

use crate::context::Context;
use crate::hub::tenancy;
use crate::turn::board::Board;
use crate::turn::walk::Walk;

/// How often it is tried when the object changes meanwhile.
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
    /// The object.
    pub(crate) fn id(&self) -> &ObjectId {
        match self {
            Self::Delete(id) | Self::Release(id) => id,
        }
    }

    /// What an action of a plan means.
    pub(crate) fn of(action: &Action) -> Self {
        match action.kind {
            ActionKind::Release => Self::Release(action.id.clone()),
            _ => Self::Delete(action.id.clone()),
        }
    }
}

/// After what time deletes are tried again that a repair of the same object stood in the way of.
const BUSY: std::time::Duration = std::time::Duration::from_millis(200);

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
        // Deletes wait for what is on its way there.
        let free = board.part(&run, &key.1.cluster, gone.iter().map(Parting::id));
        let parted = if free { part_with_all(&ctx, &key.1, &gone, &owner, account).await } else { Ok(()) };
        let outcome = match parted {
            Ok(()) if !free => {
                tokio::time::sleep(BUSY).await;
                Prune::Idle
            }
            Ok(()) => {
                let deleted = |parting: &Parting| match parting {
                    Parting::Delete(id) => Some(id.clone()),
                    Parting::Release(_) => None,
                };
                board.collected(&key.1.cluster, gone.iter().filter_map(deleted));
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
        if outcome != Prune::Done {
            board.stay(&key.1.cluster, gone.iter().map(Parting::id));
        }
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
        part_with(member, parting, owner).await?;
    }
    Ok(())
}

/// Parts with one object, if it is ours or we share it. What others share passes to one of them and stays. Answers
/// whether there was anything to part with.
pub(crate) async fn part_with(member: &Acting, parting: &Parting, owner: &str) -> Result<bool, MemberError> {
    let (Parting::Delete(id) | Parting::Release(id)) = parting;
    let manager = names::field_manager(owner);
    let mut tries = 0;
    loop {
        let live = match member.metadata(id).await {
            // Without the kind there is no object of it.
            Err(MemberError::UnknownKind { .. }) => None,
            other => other?,
        };
        let Some(live) = live else { return Ok(false) };
        let exit = Standing::of(&live.labels).leave(owner);
        let outcome = match (&exit, parting) {
            (Exit::None, _) => return Ok(false),
            _ if live.deleting => return Ok(false),
            (Exit::Last, Parting::Delete(_)) => member.delete(id, &live).await,
            _ => member.give_up(id, &live, &manager, &sharing::parting(owner, &exit)).await,
        };
        tries += 1;
        match outcome {
            Err(error) if error.is_overtaken() && tries < TRIES => {}
            other => return other.map(|()| true),
        }
    }
}
