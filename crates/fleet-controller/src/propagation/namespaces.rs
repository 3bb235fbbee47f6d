//! Namespaces on members: made for objects that find none, and gone again once nothing is in them.
//!
//! What was deleted may take its time to go (graceful deletion, finalizers), so a namespace stays on record until it is
//! decided what becomes of it: it is looked at again and again, ever less often. It goes once it is empty, and is let go as
//! nobody's where somebody else's things are in it, or what is in it doesn't go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_api::{ObjectId, Target};
use fleet_members::{Acting, MemberError};
use tokio::time::Instant;

use super::dispatch::{Dispatch, Done, LONGEST, PASSING, at_hand, backoff};
use super::distributor::Distributor;
use super::items::{Goal, Item, Matter, Place};
use super::ledger::{MadeNamespace, namespace_id};
use super::send;
use crate::deliver::deletion::{Emptied, delete_namespace};
use crate::deliver::prune::{Parting, part_with};

/// The wait between the first looks at a namespace.
const FIRST_LOOKS: Duration = Duration::from_millis(250);
/// After what time what is in a namespace is taken for somebody else's.
const PATIENCE: Duration = Duration::from_mins(15);
/// The same where objects of ours stay in it.
const PATIENCE_WITH_OURS: Duration = Duration::from_secs(5);

/// A namespace that was made, or is to be.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// It is on record.
    pub(super) recorded: bool,
    /// A request is under way.
    busy: bool,
    /// When it is to be looked at.
    due: Option<Instant>,
    /// Since when nothing of ours is to be in it, and that could be looked at.
    since: Option<Instant>,
}

/// The wait until a namespace is looked at again: a part of the time that it has taken already.
fn until_next_look(since: Instant, now: Instant) -> Duration {
    (now.duration_since(since) / 4).clamp(FIRST_LOOKS, LONGEST)
}

/// Whether an object is a namespace.
pub(super) fn is_namespace(id: &ObjectId) -> bool {
    id.kind == "Namespace" && id.group().is_empty()
}

/// Deletes a namespace of ours if it is empty; lets it go as nobody's where others use it, or this is the last look.
pub(super) async fn unmake(
    member: &Acting,
    id: &ObjectId,
    owner: &str,
    last_look: bool,
) -> Result<Emptied, MemberError> {
    let emptied = delete_namespace(member, id, owner).await?;
    if emptied == Emptied::Others || (last_look && emptied == Emptied::Leaving) {
        part_with(member, &Parting::Release(id.clone()), owner).await?;
        tracing::info!(cluster = member.name(), namespace = id.name, "the namespace stays: others use it");
        return Ok(Emptied::Others);
    }
    Ok(emptied)
}

impl Place {
    /// A namespace isn't empty yet: it is looked at again.
    pub(super) fn still_filled(&mut self, id: &ObjectId, cluster: &str) {
        let now = Instant::now();
        let since = *self.leaves_since.get_or_insert(now);
        let message = format!(
            "what is in namespace {} on {cluster} is still being deleted; the namespace goes once it is empty",
            id.name
        );
        self.matter = Some(Matter::passing("NotEmpty", message));
        self.not_before = Some(now + until_next_look(since, now));
    }
}

impl Dispatch {
    /// Namespaces that are on record.
    pub(super) fn made_before(&mut self, made: BTreeSet<MadeNamespace>) {
        let due = Some(Instant::now());
        let known = |made| (made, Made { recorded: true, due, ..Made::default() });
        self.made = made.into_iter().map(known).collect();
    }

    /// When the next namespace is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.made.values().filter(|made| made.recorded && !made.busy).filter_map(|made| made.due).min()
    }
}

impl Distributor {
    /// An object found no namespace: one is made, once that is on record.
    pub(super) fn needs_namespace(&mut self, key: MadeNamespace, id: &ObjectId) {
        // A namespace that is distributed itself is on its way.
        let own = self.items.get(&namespace_id(&key.1));
        let coming = own.and_then(|item| item.places.get(&key.0));
        if coming.is_some_and(|place| matches!(place.goal, Goal::Stand(_)) && !place.met) {
            if let Some(place) = self.items.get_mut(id).and_then(|item| item.places.get_mut(&key.0)) {
                let wait = backoff(PASSING / 8, LONGEST, place.tries);
                place.tries = place.tries.saturating_add(1);
                place.not_before = Some(Instant::now() + wait);
            }
            return;
        }
        self.dispatch.blocked.entry(key.clone()).or_default().insert(id.clone());
        match self.dispatch.made.get(&key) {
            None => {
                self.dispatch.made.insert(key.clone(), Made::default());
                self.ledger.touch_namespace(&key, true);
            }
            Some(made) if made.recorded => self.make(&key),
            Some(_) => {}
        }
    }

    /// A namespace that was made for objects by who carried them.
    pub(super) fn keep_namespace(&mut self, key: MadeNamespace) {
        let made =
            self.dispatch.made.entry(key.clone()).or_insert(Made { recorded: true, ..Made::default() });
        // What was in it may have left before.
        made.due = Some(Instant::now());
        self.ledger.touch_namespace(&key, true);
    }

    /// Namespaces are on record: they may be made.
    pub(super) fn namespaces_recorded(&mut self, namespaces: &BTreeSet<MadeNamespace>) {
        for key in namespaces {
            if let Some(made) = self.dispatch.made.get_mut(key) {
                let new = !std::mem::replace(&mut made.recorded, true);
                if self.dispatch.blocked.contains_key(key) {
                    self.make(key);
                } else if new {
                    made.due = Some(Instant::now());
                }
            }
        }
    }

    fn make(&mut self, key: &MadeNamespace) {
        let Some(made) = self.dispatch.made.get_mut(key).filter(|made| !made.busy) else { return };
        // Who isn't in the fleet any more may come back: what waits asks again then.
        let Ok(member) = self.ctx.members.get(&key.0) else { return self.unblock(key) };
        made.busy = true;
        let (made, owner) = (key.clone(), self.owner().to_owned());
        self.jobs.spawn(async move {
            let target = Target::new(made.0.as_str(), made.1.as_str());
            let outcome = send::make_namespace(&Acting::new(member, None), &target, &owner).await;
            Done::Made { made, outcome }
        });
    }

    /// A namespace was made, or not.
    pub(super) fn made(&mut self, key: &MadeNamespace, outcome: Result<(), MemberError>) {
        if let Some(made) = self.dispatch.made.get_mut(key) {
            made.busy = false;
        }
        let Err(error) = outcome else { return self.unblock(key) };
        let waiting = self.dispatch.blocked.remove(key).unwrap_or_default();
        let message = format!("namespace {} can't be made: {error}", key.1);
        for id in waiting {
            if let Some(place) = self.items.get_mut(&id).and_then(|item| item.places.get_mut(&key.0)) {
                place.matter = Some(if error.is_transient() {
                    Matter::passing(error.reason(), message.clone())
                } else {
                    Matter::lasting(error.reason(), message.clone())
                });
                let wait = backoff(PASSING, LONGEST, place.tries);
                place.tries = place.tries.saturating_add(1);
                place.not_before = Some(Instant::now() + wait);
                self.wake_in(wait, &id);
                self.tell_of(&id);
            }
        }
    }

    /// What waited for a namespace goes on.
    fn unblock(&mut self, key: &MadeNamespace) {
        for id in self.dispatch.blocked.remove(key).unwrap_or_default() {
            self.touch_place(&id, &key.0);
        }
    }

    /// Nothing of an object is on a cluster any more: its namespace may go.
    pub(super) fn left_namespace(&mut self, cluster: &str, id: &ObjectId) {
        let key = (cluster.to_owned(), id.namespace.clone());
        if let Some(made) = self.dispatch.made.get_mut(&key) {
            made.since = None;
            made.due = Some(Instant::now());
        }
    }

    /// The namespaces that were made on a cluster are to be looked at.
    pub(super) fn namespaces_of(&mut self, cluster: &str) {
        let now = Instant::now();
        for (_, made) in self.dispatch.made.iter_mut().filter(|(key, _)| key.0 == cluster) {
            made.due = Some(now);
        }
    }

    /// Looks at the namespaces that are due: those that nothing of ours is in any more are deleted once they are empty.
    pub(super) fn look_at_namespaces(&mut self) {
        if !self.policies_listed() {
            return;
        }
        let now = Instant::now();
        let due = |made: &Made| made.recorded && !made.busy && made.due.is_some_and(|due| due <= now);
        let due = self.dispatch.made.iter().filter(|(_, made)| due(made)).map(|(key, _)| key.clone());
        let due: Vec<MadeNamespace> = due.collect();
        if due.is_empty() {
            return;
        }
        let mut clusters: BTreeMap<&str, Vec<&MadeNamespace>> = BTreeMap::new();
        for key in &due {
            clusters.entry(&key.1).or_default().push(key);
        }
        let mut used: BTreeSet<&MadeNamespace> = BTreeSet::new();
        for (id, item) in &self.items {
            let keys = clusters.get(id.namespace.as_str()).into_iter().flatten();
            used.extend(keys.filter(|key| item.is_at(&key.0)));
        }
        for key in &due {
            let used = used.contains(key) || self.dispatch.blocked.contains_key(key);
            if !used && self.fleet.get(&key.0).is_none() {
                self.dispatch.made.remove(key);
                self.ledger.touch_namespace(key, false);
                continue;
            }
            // When it is at hand again, an event tells.
            let member = if used { None } else { at_hand(&self.ctx, &key.0).ok() };
            let Some(made) = self.dispatch.made.get_mut(key) else { continue };
            made.due = None;
            let Some(member) = member else {
                made.since = None;
                continue;
            };
            made.busy = true;
            let since = *made.since.get_or_insert(now);
            let last_look = now.duration_since(since) > PATIENCE;
            let (key, owner) = (key.clone(), self.owner().to_owned());
            self.jobs.spawn(async move {
                let member = Acting::new(member, None);
                let outcome = unmake(&member, &namespace_id(&key.1), &owner, last_look).await;
                Done::Unmade { made: key, outcome }
            });
        }
    }

    /// A namespace that is to go was looked at.
    pub(super) fn unmade(&mut self, key: &MadeNamespace, outcome: Result<Emptied, MemberError>) {
        let now = Instant::now();
        if let Some(made) = self.dispatch.made.get_mut(key) {
            made.busy = false;
            let wait = until_next_look(made.since.unwrap_or(now), now);
            match outcome {
                Ok(Emptied::Leaving) => made.due = Some(now + wait),
                Ok(Emptied::Deleted | Emptied::NotOurs | Emptied::Others) => {
                    self.dispatch.made.remove(key);
                    self.ledger.touch_namespace(key, false);
                }
                // When it answers again or is let go, its namespaces are looked at again.
                Err(MemberError::Unreachable { .. } | MemberError::Held { .. }) => made.since = None,
                Err(error) => {
                    let (cluster, namespace) = key;
                    tracing::debug!(cluster, namespace, %error, "a namespace that is to go isn't looked at");
                    made.due = Some(now + wait.max(PASSING));
                }
            }
        }
        // Who found none meanwhile asks for it again.
        self.unblock(key);
    }

    /// Whether what is in a namespace that leaves is taken for somebody else's from now on.
    pub(super) fn is_last_look(&self, id: &ObjectId, item: &Item, cluster: &str) -> bool {
        let place = item.places.get(cluster).filter(|_| is_namespace(id));
        let Some(since) = place.and_then(|place| place.leaves_since) else { return false };
        let any_stays = || {
            let inside = self.items.iter().filter(|(other, _)| other.namespace == id.name);
            let mut places = inside.filter_map(|(_, item)| item.places.get(cluster));
            places.any(|place| place.may_have() && !place.leaves())
        };
        let taken = since.elapsed();
        taken > PATIENCE || (taken > PATIENCE_WITH_OURS && any_stays())
    }
}
