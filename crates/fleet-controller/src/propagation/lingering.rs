//! What policies had and have no more, and that is still on clusters: held there, about to leave, or being deleted.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::ObjectId;
use fleet_api::propagation::{ClaimedObject, ObjectPlace, PlacePhase};
use fleet_propagation::PolicyId;

use super::distributor::Distributor;
use super::items::Item;
use super::policies::read_recorded;
use super::said::{told, weight};
use super::watch::Topic;

/// The objects, and whose they were.
#[derive(Default)]
pub(super) struct Lingering {
    of: BTreeMap<ObjectId, PolicyId>,
    objects: BTreeMap<PolicyId, BTreeSet<ObjectId>>,
    /// What was deleted and is still shown by a cluster. Kept in memory only: nothing is done about it.
    going: BTreeMap<ObjectId, BTreeSet<String>>,
}

impl Lingering {
    /// An object is a policy's that doesn't have it any more, or nobody's. Who had it before.
    fn set(&mut self, id: &ObjectId, policy: Option<&PolicyId>) -> Option<PolicyId> {
        let before = self.of.remove(id);
        if before.as_ref() != policy
            && let Some(before) = &before
            && let Some(objects) = self.objects.get_mut(before)
        {
            objects.remove(id);
            if objects.is_empty() {
                self.objects.remove(before);
            }
        }
        if let Some(policy) = policy {
            self.of.insert(id.clone(), policy.clone());
            self.objects.entry(policy.clone()).or_default().insert(id.clone());
        }
        before
    }
}

/// Whether an object is on its way out of a cluster, or would be, were it not held.
fn leaves(item: &Item) -> bool {
    let mut places = item.places.values().filter(|place| place.may_have());
    places.any(|place| place.leaves() || place.held.is_some() || place.waits.is_some())
}

impl Distributor {
    /// Something about an object may have changed: where nobody has it any more, whoever had it tells of it.
    pub(super) fn tell_of_lingering(&mut self, id: &ObjectId) {
        let wanted = self.claims.holder(id).is_some() || self.dependents.is_needed(id);
        let item = self.items.get(id).filter(|_| !wanted);
        let going = !wanted && self.lingering.going.contains_key(id);
        let policy = match item.filter(|item| going || leaves(item)) {
            Some(item) => item.remembered.policy.as_ref().and_then(read_recorded),
            None => self.lingering.of.get(id).filter(|_| going && item.is_none()).cloned(),
        };
        let before = self.lingering.set(id, policy.as_ref());
        for policy in policy.iter().chain(before.iter().filter(|before| policy.as_ref() != Some(*before))) {
            self.said.touch(policy);
        }
    }

    /// An object was deleted on a cluster, which may take its time with it.
    pub(super) fn was_deleted(&mut self, id: &ObjectId, cluster: &str) {
        if self.is_there_yet(id, cluster) {
            self.lingering.going.entry(id.clone()).or_default().insert(cluster.to_owned());
        }
    }

    fn is_there_yet(&self, id: &ObjectId, cluster: &str) -> bool {
        self.observed(id, cluster).is_some()
    }

    /// A cluster shows something else of an object.
    pub(super) fn may_be_gone(&mut self, id: &ObjectId, cluster: &str) {
        if self.lingering.going.is_empty() || self.is_there_yet(id, cluster) {
            return;
        }
        let Some(clusters) = self.lingering.going.get_mut(id) else { return };
        clusters.remove(cluster);
        if clusters.is_empty() {
            self.lingering.going.remove(id);
        }
        self.tell_of_lingering(id);
    }

    /// The same of everything that was deleted on a cluster.
    pub(super) fn some_may_be_gone(&mut self, cluster: &str) {
        let on = |(_, clusters): &(&ObjectId, &BTreeSet<String>)| clusters.contains(cluster);
        let ids: Vec<ObjectId> = self.lingering.going.iter().filter(on).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.may_be_gone(id, cluster));
    }

    /// What is still somewhere of what a policy had, each with its [`weight`].
    pub(super) fn lingering_of(&self, policy: &PolicyId) -> Vec<(u8, ClaimedObject)> {
        let objects = self.lingering.objects.get(policy).into_iter().flatten();
        objects.map(|id| self.told_lingering(id)).collect()
    }

    fn told_lingering(&self, id: &ObjectId) -> (u8, ClaimedObject) {
        let item = self.items.get(id).map(Box::as_ref);
        let (held, mut told) = (item.is_some_and(|item| weight(item) == 2), told(id, item));
        let (reason, message) =
            if self.watches.is_listed(&Topic::Objects(id.group().to_owned(), id.kind.clone()))
                && self.sources.get(id).is_none()
            {
                ("Gone", "it isn't on the hub any more, and is still on clusters")
            } else {
                ("Unclaimed", "no policy takes it any more, and it is still on clusters")
            };
        told.reason = reason.to_owned();
        told.message = message.to_owned();
        let going = self.lingering.going.get(id).into_iter().flatten();
        let before = told.places.len();
        for cluster in going {
            if told.places.iter().any(|place| place.cluster == *cluster) {
                continue;
            }
            told.places.push(ObjectPlace {
                reason: "BeingDeleted".to_owned(),
                message: format!(
                    "it was deleted on {cluster} and isn't gone yet: its finalizers, or its grace period, take their time"
                ),
                ..ObjectPlace::new(cluster, PlacePhase::Leaving)
            });
        }
        (if held && told.places.len() == before { 2 } else { 1 }, told)
    }
}
