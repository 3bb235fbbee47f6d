//! Requests to members: one at a time for each place, a bounded number for each member, in the order of waves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleet_api::propagation::PolicyKind;
use fleet_api::{Application, ObjectId, ResourceTracker};
use fleet_members::{Account, Acting, Member, MemberError, Observed, PendingPod, Reachability};
use fleet_placement::Room;
use fleet_placement::pieces::is_job;
use fleet_plan::{Wave, wave};
use fleet_propagation::PolicyId;
use kube::api::DynamicObject;
use serde_json::Value;
use tokio::time::Instant;

use super::distributor::Distributor;
use super::items::{Goal, Item, Listed, Matter, Overridden, Standing};
use super::ledger::{MadeNamespace, Write};
use super::namespaces::{Made, is_namespace, unmake};
use super::policies::read_recorded;
use super::report;
use super::send::{self, OWNED_BY_ANOTHER, Order, Sent};
use super::stage::Had;
use crate::context::{AppKey, Context, OnDrift};
use crate::deliver::deletion::Emptied;
use crate::deliver::prune::{Parting, part_with};
use crate::hub::tenancy;
use crate::records::RecordError;

/// How many requests of ours one member gets at once.
const AT_ONCE: usize = 16;
/// The first wait after a refusal that may pass, and after one that somebody has to mend; doubled each time.
pub(super) const PASSING: Duration = Duration::from_secs(1);
const LASTING: Duration = Duration::from_secs(30);
/// The longest of these waits.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
const LONGEST_LASTING: Duration = Duration::from_mins(10);
/// What is put right so often in a row is fought over.
const FIGHT: u32 = 5;
/// Repairs that are further apart aren't in a row.
const IN_A_ROW: Duration = Duration::from_mins(1);

/// What has ended.
pub(super) enum Done {
    /// An object was sent.
    Sent { cluster: String, id: ObjectId, standing: Arc<Standing>, sent: Sent },
    /// An object was deleted or released.
    Left { cluster: String, id: ObjectId, outcome: Result<Parted, MemberError> },
    /// A namespace was made.
    Made { made: MadeNamespace, outcome: Result<(), MemberError> },
    /// A namespace that is to go was looked at.
    Unmade { made: MadeNamespace, outcome: Result<Emptied, MemberError> },
    /// An inventory was written.
    Written { write: Box<Write>, outcome: Box<Result<Option<ResourceTracker>, RecordError>> },
    /// The status of an object of the hub was written.
    Reported { id: ObjectId, write: report::Asked, outcome: Result<Value, kube::Error> },
    /// A member said how much room it has, or didn't.
    Measured { cluster: String, room: Option<Box<Room>> },
    /// A member said which pods find no node.
    AskedForPending { cluster: String, outcome: Result<Vec<PendingPod>, MemberError> },
    /// A policy was read once more; nothing where it is gone.
    Confirmed { policy: PolicyId, object: Option<Box<DynamicObject>> },
    /// All policies that may take objects were read, each with its kind and group.
    ReadAll { policies: Vec<(PolicyKind, String, DynamicObject)> },
    /// A definition was read: its UID, unless it is gone or being deleted.
    Defined { definition: String, uid: Option<String> },
    /// An Application that carries a policy was written or deleted; it stands so.
    Staged { key: AppKey, over: Option<String>, outcome: Result<Option<Box<Application>>, kube::Error> },
    /// What an Application carried was read.
    HandedBack { key: AppKey, outcome: Box<Result<Had, RecordError>> },
    /// An Application was let go.
    LetGo { key: AppKey, outcome: Result<(), kube::Error> },
    /// A policy's status was written.
    Said { policy: PolicyId, outcome: Result<Value, kube::Error> },
}

/// How far an object that leaves is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parted {
    /// It is gone, will be, or is nobody's.
    Gone,
    /// It is a namespace, and what is in it has yet to go.
    NotEmpty,
}

/// What waits and what is under way.
#[derive(Default)]
pub(super) struct Dispatch {
    queues: BTreeMap<String, BTreeSet<(Wave, ObjectId)>>,
    under_way: BTreeMap<String, usize>,
    /// Namespaces that were made, or are to be.
    pub(super) made: BTreeMap<MadeNamespace, Made>,
    /// Objects that wait for a namespace.
    pub(super) blocked: BTreeMap<MadeNamespace, BTreeSet<ObjectId>>,
}

impl Dispatch {
    /// Whether nothing is under way to members, or waits for its turn.
    pub(super) fn is_idle(&self) -> bool {
        self.queues.is_empty() && self.under_way.is_empty()
    }
}

impl Distributor {
    /// Compares a place with what is seen there; where that isn't as it is to be, a request waits for its turn.
    pub(super) fn look(&mut self, id: &ObjectId, cluster: &str) {
        self.look_after(id, cluster);
        let owner = self.owner().to_owned();
        let waits = self.waits_for(id, cluster);
        let Some(item) = self.items.get_mut(id) else { return };
        let at_rest = item.at_rest;
        let Some(place) = item.places.get_mut(cluster) else { return };
        let recorded = place.listed == Listed::Yes;
        if place.under_way.is_some() || place.queued {
            return;
        }
        place.met = false;
        let unknown = place.last.is_none();
        let now = Instant::now();
        let early = place.not_before.filter(|at| *at > now);
        match &place.goal {
            Goal::Stay => {
                // Of an earlier process: what is seen there tells what it has, and whether it has anything.
                let member = self.ctx.members.get(cluster).ok().filter(|_| recorded);
                if member.is_some_and(|member| !member.observes([id].into_iter())) {
                    self.watch_on(cluster, id);
                }
                return;
            }
            Goal::Carried(standing) => {
                let member = self.ctx.members.get(cluster).ok();
                let shows = |standing: &Arc<Standing>| {
                    let seen = member.as_ref().and_then(|member| member.observed(id));
                    seen.is_some_and(|seen| seen.owner == owner && seen.content == standing.content)
                };
                place.met = standing.as_ref().is_some_and(shows);
                let unseen = member.is_some_and(|member| !member.observes([id].into_iter()));
                if unseen && recorded {
                    self.watch_on(cluster, id);
                }
                return;
            }
            _ if !recorded => return,
            Goal::Leave { .. } => {
                if let Err(matter) = at_hand(&self.ctx, cluster) {
                    place.matter = Some(matter);
                    return;
                }
            }
            Goal::Stand(standing) => {
                let at_hand = at_hand(&self.ctx, cluster);
                let member = self.ctx.members.get(cluster).ok();
                let seen =
                    member.and_then(|member| last_seen(&member, id)).filter(|seen| seen.owner == owner);
                // What is as it is to stay needs nobody who answers.
                if let Some(seen) = seen.as_ref().filter(|seen| !seen.deleting)
                    && seen.content == standing.content
                    && (at_hand.is_ok() || place.waits.is_none())
                {
                    // Ours of an earlier process, or of this one.
                    let last = place.last.get_or_insert_with(|| standing.clone());
                    let ours = last.content == standing.content;
                    if ours && place.left == seen.managed {
                        place.met = true;
                        place.matter = None;
                        place.tries = 0;
                        place.not_before = None;
                        if unknown && !at_rest {
                            // A move may have waited to hear that it is as it was told to be.
                            self.touch(id);
                        }
                        return;
                    }
                }
                // When it is at hand again, an event tells.
                let member = match at_hand {
                    Ok(member) => member,
                    Err(matter) => {
                        place.matter = Some(matter);
                        return;
                    }
                };
                if seen.as_ref().is_some_and(|seen| seen.deleting) {
                    let message =
                        format!("{id} on {cluster} is being deleted; it is made anew once it is gone");
                    place.matter = Some(Matter::passing("BeingDeleted", message));
                    return;
                }
                if seen.is_none()
                    && place.left.is_some()
                    && member.blind(id).is_none()
                    && !member.observes([id].into_iter())
                {
                    // It was there when this process began: the first list tells.
                    self.watch_on(cluster, id);
                    return;
                }
                if waits.is_some() {
                    place.matter = waits;
                    return;
                }
                let again = place.last.as_ref().is_some_and(|last| last.content == standing.content);
                if again && early.is_none() {
                    if self.ctx.options.on_drift == OnDrift::Report {
                        let message = format!("{id} on {cluster} differs and is left so (--drift report)");
                        place.matter = Some(Matter::lasting("Drifted", message));
                        return;
                    }
                    let (count, last) = place.repairs;
                    let in_a_row = last.is_some_and(|last| now.duration_since(last) < IN_A_ROW);
                    let count = if in_a_row { count.saturating_add(1) } else { 1 };
                    place.repairs = (count, Some(now));
                    if count > FIGHT {
                        let wait = backoff(PASSING, LONGEST, count - FIGHT);
                        place.not_before = Some(now + wait);
                        if place.matter.is_none() {
                            let message = format!(
                                "{id} on {cluster} is changed again and again after it was put right; it is put right more slowly now. Stop the other writer"
                            );
                            place.matter = Some(Matter::lasting("DriftFought", message));
                        }
                        self.wake_in(wait, id);
                        return;
                    }
                }
            }
        }
        if let Some(at) = early {
            self.wake_in(at.duration_since(now), id);
            return;
        }
        if let Some(place) = self.items.get_mut(id).and_then(|item| item.places.get_mut(cluster)) {
            place.queued = true;
        }
        self.dispatch.queues.entry(cluster.to_owned()).or_default().insert((wave(id), id.clone()));
    }

    /// Something was seen of an object on a cluster. Where another distributed it and does so no more, there is no need to wait.
    pub(super) fn may_be_let_go(&mut self, id: &ObjectId, cluster: &str) {
        let seen = self.ctx.members.get(cluster).ok().and_then(|member| member.observed(id));
        let another = seen.is_some_and(|seen| seen.owner != self.owner());
        let place = self.items.get_mut(id).and_then(|item| item.places.get_mut(cluster));
        if let Some(place) = place.filter(|_| !another)
            && place.matter.as_ref().is_some_and(|matter| matter.reason == OWNED_BY_ANOTHER)
        {
            place.not_before = None;
        }
    }

    /// Sends what waits, as far as members take it.
    pub(super) fn pump(&mut self) {
        let clusters: Vec<String> = self.dispatch.queues.keys().cloned().collect();
        for cluster in clusters {
            loop {
                let under_way = self.dispatch.under_way.get(&cluster).copied().unwrap_or(0);
                if under_way >= AT_ONCE {
                    break;
                }
                let Some(queue) = self.dispatch.queues.get_mut(&cluster) else { break };
                let Some((_, id)) = queue.pop_first() else {
                    self.dispatch.queues.remove(&cluster);
                    break;
                };
                let one_of_many = under_way + queue.len() >= AT_ONCE;
                if self.start(&id, &cluster, one_of_many) {
                    *self.dispatch.under_way.entry(cluster.clone()).or_default() += 1;
                }
            }
        }
    }

    /// As whom an object is written: members that a namespace may not deliver to get nothing by its own policies.
    fn account(&self, id: &ObjectId, item: &Item, cluster: &str) -> Result<Option<Account>, Matter> {
        let policy = item.remembered.policy.as_ref().and_then(read_recorded);
        if policy.is_none_or(|policy| policy.namespace.is_empty()) {
            return Ok(None);
        }
        if item.remembered.dependent && self.follows_beyond_namespaces(id, cluster) {
            return Ok(None);
        }
        tenancy::admit(&self.ctx, &id.namespace, cluster, None).map_err(|problem| {
            Matter::lasting(&problem.reason, format!("{}; what is there is left as it is", problem.message))
        })
    }

    /// Starts the request that a place needs. True where one is under way now.
    fn start(&mut self, id: &ObjectId, cluster: &str, one_of_many: bool) -> bool {
        let owner = self.owner().to_owned();
        let Some(item) = self.items.get(id) else { return false };
        let account = self.account(id, item, cluster);
        let last_look = self.is_last_look(id, item, cluster);
        let Some(place) = self.items.get_mut(id).and_then(|item| item.places.get_mut(cluster)) else {
            return false;
        };
        place.queued = false;
        let member = match self.ctx.members.get(cluster) {
            Ok(member) => member,
            Err(error) => {
                place.matter = Some(Matter::passing("Unreachable", error.to_string()));
                return false;
            }
        };
        let leaves = matches!(place.goal, Goal::Leave { .. });
        if leaves && (self.dirty.contains(id) || self.confirmations.waits(id)) {
            // It may be to stay by now; whoever settles it looks again.
            return false;
        }
        let account = match account {
            Ok(account) => account,
            // It may take away what is its own wherever it is.
            Err(_) if leaves => None,
            Err(matter) => {
                place.matter = Some(matter);
                self.tell_of(id);
                // What can't come holds nobody up.
                self.wake_waiting(id);
                return false;
            }
        };
        if place.listed != Listed::Yes {
            return false;
        }
        let seen = member.observed(id).is_some_and(|seen| seen.owner == owner && !seen.deleting);
        let acting = Acting::new(member, account);
        let (id, cluster) = (id.clone(), cluster.to_owned());
        match &place.goal {
            Goal::Stay | Goal::Carried(_) => return false,
            Goal::Stand(standing) => {
                let standing = standing.clone();
                let key = (cluster.clone(), id.namespace.clone());
                if let Some(blocked) = self.dispatch.blocked.get_mut(&key) {
                    blocked.insert(id);
                    return false;
                }
                place.under_way = Some(place.goal.clone());
                let (last, left) = (place.last.clone().or_else(|| place.carried.clone()), place.left);
                let order = Order { id, standing, last, left, ours: seen, one_of_many, owner };
                self.jobs.spawn(async move {
                    let sent = send::send(&acting, &order).await;
                    Done::Sent { cluster, id: order.id, standing: order.standing, sent }
                });
            }
            Goal::Leave { released } => {
                let released = *released;
                place.under_way = Some(place.goal.clone());
                self.jobs.spawn(async move {
                    let outcome = if released {
                        let parted = part_with(&acting, &Parting::Release(id.clone()), &owner).await;
                        parted.map(|_| Parted::Gone)
                    } else if is_namespace(&id) {
                        // Everything in it would go with it.
                        match unmake(&acting, &id, &owner, last_look).await {
                            Ok(Emptied::Leaving) => Ok(Parted::NotEmpty),
                            other => other.map(|_| Parted::Gone),
                        }
                    } else {
                        let parted = part_with(&acting, &Parting::Delete(id.clone()), &owner).await;
                        parted.map(|_| Parted::Gone)
                    };
                    Done::Left { cluster, id, outcome }
                });
            }
        }
        true
    }

    /// Takes in what has ended.
    ///
    /// # Errors
    /// Where somebody else writes the records.
    pub(super) fn done(&mut self, done: Done) -> Result<(), RecordError> {
        match done {
            Done::Sent { cluster, id, standing, sent } => {
                self.free(&cluster);
                self.sent(&cluster, &id, standing, sent);
            }
            Done::Left { cluster, id, outcome } => {
                self.free(&cluster);
                self.left(&cluster, &id, outcome);
            }
            Done::Made { made, outcome } => self.made(&made, outcome),
            Done::Unmade { made, outcome } => self.unmade(&made, outcome),
            Done::Written { write, outcome } => self.written(*write, *outcome)?,
            Done::Reported { id, write, outcome } => self.reported(&id, write, outcome),
            Done::Measured { cluster, room } => self.measured(&cluster, room.map(|room| *room)),
            Done::AskedForPending { cluster, outcome } => self.pending_told(&cluster, outcome),
            Done::Confirmed { policy, object } => self.confirmed(policy, object.map(|object| *object)),
            Done::ReadAll { policies } => self.read_all(&policies),
            Done::Defined { definition, uid } => self.defined(definition, uid.as_deref()),
            Done::Staged { key, over, outcome } => self.staged(&key, over, outcome),
            Done::HandedBack { key, outcome } => self.handed_back(&key, *outcome),
            Done::LetGo { key, outcome } => self.gone(&key, outcome),
            Done::Said { policy, outcome } => self.status_written(&policy, outcome),
        }
        Ok(())
    }

    fn free(&mut self, cluster: &str) {
        if let Some(count) = self.dispatch.under_way.get_mut(cluster) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.dispatch.under_way.remove(cluster);
            }
        }
    }

    fn sent(&mut self, cluster: &str, id: &ObjectId, standing: Arc<Standing>, sent: Sent) {
        self.touch_place(id, cluster);
        let Some(item) = self.items.get_mut(id) else { return };
        let Some(place) = item.places.get_mut(cluster) else { return };
        place.under_way = None;
        let now = Instant::now();
        let (matter, wait) = match sent {
            Sent::Applied { fields, taken_by, scaled_by } => {
                place.left = fields;
                place.scaled_by = scaled_by;
                place.last = Some(standing);
                place.carried = None;
                place.tries = 0;
                place.not_before = None;
                place.matter = None;
                if let Some(manager) = taken_by {
                    tracing::info!(cluster, object = %id, manager, "fields that policies distribute were taken back");
                }
                match fields {
                    Some(fields) => item.remembered.left.insert(cluster.to_owned(), fields),
                    None => item.remembered.left.remove(cluster),
                };
                // Whoever distributes next has to know of a Job that it runs: it isn't divided anew then.
                self.ledger.touch(id, is_job(&id.api_version, &id.kind));
                return;
            }
            Sent::NoNamespace => {
                let message = format!("namespace {} is missing on {cluster}; it is made", id.namespace);
                place.matter = Some(Matter::passing("NamespaceMissing", message));
                self.needs_namespace((cluster.to_owned(), id.namespace.clone()), id);
                return;
            }
            // An event tells when it is worth another try; not at once, whatever it says.
            Sent::Unreachable(matter) | Sent::Held(matter) => (matter, PASSING),
            Sent::Later(matter) => (matter, backoff(PASSING, LONGEST, place.tries)),
            Sent::Refused(matter) => (matter, backoff(LASTING, LONGEST_LASTING, place.tries)),
        };
        let matter = with_overrides(matter, cluster, &item.overridden);
        place.matter = Some(matter);
        place.tries = place.tries.saturating_add(1);
        place.not_before = Some(now + wait);
        self.tell_of(id);
    }

    fn left(&mut self, cluster: &str, id: &ObjectId, outcome: Result<Parted, MemberError>) {
        let Some(mut item) = self.items.remove(id) else { return };
        if let Some(place) = item.places.get_mut(cluster) {
            place.under_way = None;
        }
        match outcome {
            Ok(Parted::Gone) => {
                self.was_deleted(id, cluster);
                self.forget_place(id, &mut item, cluster);
                self.items.insert(id.clone(), item);
                self.touch(id);
                self.left_namespace(cluster, id);
            }
            Ok(Parted::NotEmpty) => {
                if let Some(place) = item.places.get_mut(cluster) {
                    place.still_filled(id, cluster);
                }
                self.items.insert(id.clone(), item);
                self.touch(id);
            }
            Err(error) => {
                let sent = send::failed(id, &error);
                let (matter, first) = match sent {
                    Sent::Later(matter) => (Some(matter), PASSING),
                    Sent::Refused(matter) => (Some(matter), LASTING),
                    Sent::Unreachable(matter) | Sent::Held(matter) => (Some(matter), PASSING),
                    Sent::Applied { .. } | Sent::NoNamespace => (None, PASSING),
                };
                if let Some(place) = item.places.get_mut(cluster) {
                    place.not_before = Some(Instant::now() + backoff(first, LONGEST_LASTING, place.tries));
                    place.tries = place.tries.saturating_add(1);
                    place.matter = matter;
                }
                self.items.insert(id.clone(), item);
                // What it is to do may have changed meanwhile.
                self.touch(id);
            }
        }
        self.tell_of(id);
    }

    /// Nothing of an object is on a cluster any more.
    pub(super) fn forget_place(&mut self, id: &ObjectId, item: &mut Item, cluster: &str) {
        // From now on it has to be on record again before it is sent there.
        item.places.remove(cluster);
        item.remembered.left.remove(cluster);
        item.remembered.told.remove(cluster);
        item.remembered.held.remove(cluster);
        self.ledger.touch(id, false);
    }

    /// Forgets an object that is nowhere and that nobody wants anywhere.
    pub(super) fn part_if_nowhere(&mut self, id: &ObjectId) {
        let nowhere =
            self.items.get(id).is_some_and(|item| item.is_nowhere() && item.remembered.stage.is_none());
        let wanted = self.claims.holder(id).is_some() || self.dependents.is_needed(id);
        if nowhere && !wanted && self.policies_listed() {
            // It stays on record until nothing on the hub says any more that members have it.
            if self.is_to_be_withdrawn(id) {
                self.touch_report(id);
                return;
            }
            self.reports.forget(id);
            self.items.remove(id);
            self.dependents.lingers(id, false);
            self.ledger.touch(id, false);
        }
    }

    /// Watches a kind of an object on a member, where the object is: the first list tells.
    pub(super) fn watch_on(&self, cluster: &str, id: &ObjectId) {
        if let Ok(member) = self.ctx.members.get(cluster) {
            member.watch_when_served(id);
        }
    }
}

/// What a member refuses for what it says, with the override policies that had a hand in that.
fn with_overrides(mut matter: Matter, cluster: &str, overridden: &BTreeMap<String, Overridden>) -> Matter {
    let by = overridden.iter().filter(|(_, done)| done.clusters.contains(cluster));
    let by: Vec<&str> = by.map(|(policy, _)| policy.as_str()).collect();
    if !by.is_empty() && ["Invalid", "ImmutableField"].contains(&matter.reason.as_str()) {
        matter.message = format!("{}; overrides had a hand in it: {}", matter.message, by.join(", "));
    }
    matter
}

/// A member that may be written to now.
pub(super) fn at_hand(ctx: &Context, cluster: &str) -> Result<Arc<Member>, Matter> {
    let member =
        ctx.members.get(cluster).map_err(|error| Matter::passing("Unreachable", error.to_string()))?;
    if let Some(hold) = member.hold() {
        return Err(Matter::passing(hold.reason(), hold.message(cluster)));
    }
    match member.reachability() {
        Reachability::Reachable => Ok(member),
        Reachability::Unreachable { message, .. } => {
            let message = format!("cluster {cluster} doesn't answer: {message}; it is done when it does");
            Err(Matter::passing("Unreachable", message))
        }
    }
}

/// What a cluster showed of an object last, whether it answers by now or not; nothing where another cluster may answer for it.
fn last_seen(member: &Member, id: &ObjectId) -> Option<Arc<Observed>> {
    let is_itself = member.hold().is_none_or(|hold| hold.is_by_people());
    member.observed(id).filter(|_| is_itself)
}

/// A wait that doubles.
pub(super) fn backoff(first: Duration, longest: Duration, tries: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(tries.min(16))).min(longest)
}
