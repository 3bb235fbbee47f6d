//! Deleting an Application: its objects go, or stay as nobody's; what can't be reached in time is recorded.

use std::sync::Arc;
use std::time::Duration;

use fleet_api::{Application, ObjectId, Target, TargetInventory, names};
use fleet_members::{Account, Acting, MemberError};
use fleet_plan::{Claim, GcStrategy, wave};
use fleet_workflow::{Delivery, Prune};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::context::Context;
use crate::deliver::prune::{self, Parting};
use crate::hub::tenancy;
use crate::records::revision::Loaded;
use crate::turn::held;
use crate::turn::walk::Walk;

/// What may be in a namespace and still leave it empty.
const LEFT_BY_KUBERNETES: [&str; 2] = ["kube-root-ca.crt", "default"];
/// Kinds that are looked for before a namespace that we made is deleted.
const KINDS_IN_NAMESPACES: [(&str, &str); 14] = [
    ("v1", "Pod"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "PersistentVolumeClaim"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
];
/// How often a namespace is looked at again while what was deleted in it goes.
const LOOKS: u32 = 20;
/// The time between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// How far a deletion is.
pub(crate) enum Progress {
    /// Some targets aren't cleared: what is waited for, and when to look again.
    Waiting(String, Timestamp),
    /// Everything is gone or given up; these couldn't be reached.
    Over(Vec<Target>),
}

/// Takes the deletion one turn further.
pub(crate) fn advance(ctx: &Arc<Context>, app: &Application, walk: &Walk, now: Timestamp) -> Progress {
    let asked = app.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    let forced = app.annotations().get(names::FORCE_DELETE).is_some_and(|value| value == "true");
    let deadline = asked.checked_add(ctx.options.deletion_deadline).unwrap_or(Timestamp::MAX);
    let keep = keeps_objects(app);
    walk.board.close();
    let mut left = Vec::new();
    let mut lost = Vec::new();
    for entry in &walk.inventory.targets {
        let target = &entry.target;
        if !ctx.members.contains(&target.cluster) {
            lost.push(target.clone());
            continue;
        }
        let hold = held::member_hold(ctx, &target.cluster);
        match walk.board.cleared(target) {
            Prune::Done | Prune::NotNeeded => {}
            Prune::Running => left.push((target, "objects are being deleted".to_owned())),
            Prune::Idle if is_sending(walk, target) || walk.board.is_repairing(&target.cluster) => {
                left.push((target, "a delivery is ending".to_owned()))
            }
            Prune::Idle | Prune::Refused(_) if hold.is_some() => match hold {
                Some(hold) if !forced && now < deadline => {
                    left.insert(0, (target, hold.problem(&walk.key, &target.cluster).message))
                }
                _ => lost.push(target.clone()),
            },
            Prune::Idle => {
                start(ctx, walk, entry, keep);
                left.push((target, "objects are being deleted".to_owned()));
            }
            Prune::Refused(_) if forced || now >= deadline => lost.push(target.clone()),
            Prune::Refused(problem) => left.insert(0, (target, problem.message)),
        }
    }
    match left.first() {
        None => Progress::Over(lost),
        Some((target, message)) => {
            let force = format!("fleetctl delete {} -n {} --force", walk.key.1, walk.key.0);
            let more = if left.len() > 1 { format!(" (and {} more)", left.len() - 1) } else { String::new() };
            let text =
                format!("deleting: {target}{more}: {message}; given up at {deadline}, or now with: {force}");
            let soon = now.checked_add(jiff::SignedDuration::from_secs(5)).unwrap_or(now);
            Progress::Waiting(text, soon.min(deadline.max(now)))
        }
    }
}

/// Whether nothing of an Application that carries a policy is under way any more: it owns nothing of its own, so nothing is
/// deleted, and whoever distributes takes up what it has on record.
pub(crate) fn is_quiet(walk: &Walk) -> bool {
    walk.board.close();
    let mut targets = walk.inventory.targets.iter().map(|entry| &entry.target);
    !targets.any(|target| {
        is_sending(walk, target) || walk.board.is_pruning(target) || walk.board.is_repairing(&target.cluster)
    })
}

/// Whether the objects stay.
fn keeps_objects(app: &Application) -> bool {
    let by_annotation = app.annotations().get(names::ON_DELETE).is_some_and(|value| value == "orphan");
    by_annotation || app.finalizers().iter().any(|finalizer| finalizer == names::ORPHAN_FINALIZER)
}

fn is_sending(walk: &Walk, target: &Target) -> bool {
    let steps = walk.run_status().map(|status| status.steps.as_slice()).unwrap_or_default();
    steps.iter().any(|step| walk.board.delivery(&(step.name.clone(), target.clone())) == Delivery::Running)
}

/// What is to become of an Application's objects on one target.
#[derive(Debug)]
pub struct Clearing {
    owner: String,
    /// What is released, then what is deleted.
    partings: Vec<Parting>,
    namespaces: Vec<ObjectId>,
}

/// What became of the objects of a [`Clearing`].
#[derive(Debug, Default)]
pub struct Cleared {
    /// Those that were the Application's and were deleted or released.
    pub done: Vec<ObjectId>,
    /// Those about which the member refused to answer or to act, and why.
    pub refused: Vec<(ObjectId, MemberError)>,
}

impl Clearing {
    /// Everything that the inventory lists goes; it stays as nobody's where `keep`, its garbage-collect policy or a
    /// read-only policy says so. `owner` is the Application's [`names::owner_hash`].
    pub fn of(entry: &TargetInventory, revision: Option<&Loaded>, owner: &str, keep: bool) -> Self {
        let (mut delete, mut namespaces, mut partings) = (Vec::new(), Vec::new(), Vec::new());
        for (id, owned) in &entry.objects {
            let stays = revision.is_some_and(|revision| {
                let subject = revision.subject(id, &owned.component);
                revision.policies.gc(&subject) == GcStrategy::Never
                    || revision.policies.claim(&subject) == Claim::Observe
            });
            if keep || stays {
                partings.push(Parting::Release(id.clone()));
            } else if owned.made_namespace {
                namespaces.push(id.clone());
            } else {
                delete.push(id.clone());
            }
        }
        delete.sort_by_key(|id| std::cmp::Reverse(wave(id)));
        partings.extend(delete.into_iter().map(Parting::Delete));
        Self { owner: owner.to_owned(), partings, namespaces }
    }

    /// Does what can be done, whatever is refused between; what is there and isn't the Application's is left alone.
    pub async fn attempt(&self, member: &Acting) -> Cleared {
        let mut cleared = Cleared::default();
        for parting in &self.partings {
            cleared.note(parting.id(), prune::part_with(member, parting, &self.owner).await);
        }
        for id in &self.namespaces {
            cleared.note(id, delete_if_empty(member, id, &self.owner).await);
        }
        cleared
    }

    /// Does it, one object after another; what is there and isn't the Application's is left alone.
    ///
    /// # Errors
    /// The first refusal; done again it goes on from there.
    async fn carry_out(&self, member: &Acting) -> Result<(), MemberError> {
        prune::part_with_each(member, &self.partings, &self.owner).await?;
        for id in &self.namespaces {
            delete_if_empty(member, id, &self.owner).await?;
        }
        Ok(())
    }
}

impl Cleared {
    fn note(&mut self, id: &ObjectId, outcome: Result<bool, MemberError>) {
        match outcome {
            Ok(true) => self.done.push(id.clone()),
            Ok(false) => {}
            Err(error) => self.refused.push((id.clone(), error)),
        }
    }
}

fn start(ctx: &Arc<Context>, walk: &Walk, entry: &TargetInventory, keep: bool) {
    let clearing = Clearing::of(entry, walk.revision.as_deref(), &walk.owner, keep);
    let (board, target, app) = (walk.board.clone(), entry.target.clone(), walk.key.clone());
    board.set_cleared(&target, Prune::Running);
    let account = tenancy::account(ctx, walk, &target.cluster);
    let ctx = Arc::clone(ctx);
    walk.hold.spawn(async move {
        let outcome = match clear(&ctx, &target.cluster, &clearing, account).await {
            Ok(()) => Prune::Done,
            Err(MemberError::Held { .. }) => Prune::Idle,
            Err(error) => Prune::Refused(prune::problem(&error)),
        };
        board.set_cleared(&target, outcome);
        ctx.due.wake(&app);
    });
}

async fn clear(
    ctx: &Context,
    cluster: &str,
    clearing: &Clearing,
    account: Option<Account>,
) -> Result<(), MemberError> {
    let member = ctx
        .members
        .get(cluster)
        .map_err(|error| MemberError::Unreachable { cluster: cluster.to_owned(), message: error.message })?;
    clearing.carry_out(&Acting::new(member, account)).await
}

/// What came of a look at a namespace that is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emptied {
    /// It was deleted.
    Deleted,
    /// It isn't there, isn't ours, or is being deleted.
    NotOurs,
    /// What is in it goes, or may go, with what was deleted.
    Leaving,
    /// Something in it is somebody else's, and stays.
    Others,
}

/// Deletes a namespace that we made, once what we deleted in it is gone; one that others use stays. Answers whether
/// it was deleted.
pub(crate) async fn delete_if_empty(
    member: &Acting,
    id: &ObjectId,
    owner: &str,
) -> Result<bool, MemberError> {
    for look in 0..LOOKS {
        match delete_namespace(member, id, owner).await? {
            Emptied::Deleted => return Ok(true),
            Emptied::NotOurs => return Ok(false),
            Emptied::Leaving | Emptied::Others if look + 1 < LOOKS => {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            Emptied::Leaving | Emptied::Others => {}
        }
    }
    tracing::info!(cluster = member.name(), namespace = id.name, "the namespace stays: others use it");
    Ok(false)
}

/// Deletes a namespace of ours if nothing is in it now.
pub(crate) async fn delete_namespace(
    member: &Acting,
    id: &ObjectId,
    owner: &str,
) -> Result<Emptied, MemberError> {
    let live = member.metadata(id).await?.filter(|live| live.owner() == Some(owner) && !live.deleting);
    let Some(live) = live else { return Ok(Emptied::NotOurs) };
    let mut empty = true;
    for (api_version, kind) in KINDS_IN_NAMESPACES {
        let kind_in = ObjectId::new(api_version, kind, &id.name, "");
        let inside = member.inside(&kind_in, &LEFT_BY_KUBERNETES).await?;
        // What has an owner goes with it, if that goes.
        if inside.iter().any(|one| !one.deleting && !one.follows && one.owner.as_deref() != Some(owner)) {
            return Ok(Emptied::Others);
        }
        empty &= inside.is_empty();
        // Another look is needed anyway.
        if !inside.is_empty() && inside.iter().all(|one| one.deleting) {
            return Ok(Emptied::Leaving);
        }
    }
    if !empty {
        return Ok(Emptied::Leaving);
    }
    match member.delete(id, &live).await {
        Err(MemberError::Refused { code: 409, .. }) => Ok(Emptied::Leaving),
        other => other.map(|()| Emptied::Deleted),
    }
}
