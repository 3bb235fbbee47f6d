//! What the hub was told in one order is acted on in that order: each kind has a watch of its own, and one may tell of an
//! edit before another tells of the mask that was set to hold it. So before an edit of an object, of an override or of a
//! cluster is acted on, the policy that it comes under is read once more; one read serves all edits that came before it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_api::ObjectId;
use fleet_propagation::PolicyId;
use kube::api::DynamicObject;

use super::dispatch::Done;
use super::distributor::Distributor;
use super::policies::{self, read_recorded};

/// How long a read may take, and the wait after one that failed.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// What is read before objects are settled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    Policy(PolicyId),
    /// The definition of a kind of policies, by its name (`plural.group`).
    Definition(String),
}

/// The objects that wait until that was read.
#[derive(Default)]
pub(super) struct Confirmations {
    reads: BTreeMap<Asked, Read>,
    waiting: BTreeMap<ObjectId, Asked>,
}

/// A read that is under way.
#[derive(Default)]
struct Read {
    /// Who waits for this one.
    now: BTreeSet<ObjectId>,
    /// Who came while it was under way, and waits for the next.
    next: BTreeSet<ObjectId>,
}

impl Confirmations {
    /// Whether an object waits.
    pub(super) fn waits(&self, id: &ObjectId) -> bool {
        self.waiting.contains_key(id)
    }

    /// An object waits for a read that begins after this. True where nobody reads that yet.
    pub(super) fn wait(&mut self, id: &ObjectId, asked: &Asked) -> bool {
        let before = self.waiting.insert(id.clone(), asked.clone());
        if let Some(read) = before.and_then(|before| self.reads.get_mut(&before)) {
            read.now.remove(id);
            read.next.remove(id);
        }
        match self.reads.get_mut(asked) {
            Some(read) => {
                read.next.insert(id.clone());
                false
            }
            None => {
                self.reads.insert(asked.clone(), Read { now: [id.clone()].into(), ..Read::default() });
                true
            }
        }
    }

    /// That was read. Who waited for it, and whether others wait for the next read.
    pub(super) fn read(&mut self, asked: &Asked) -> (BTreeSet<ObjectId>, bool) {
        let Some(Read { now, next }) = self.reads.remove(asked) else { return Default::default() };
        for id in &now {
            self.waiting.remove(id);
        }
        let more = !next.is_empty();
        if more {
            self.reads.insert(asked.clone(), Read { now: next, ..Read::default() });
        }
        (now, more)
    }
}

impl Distributor {
    /// Objects are to be settled, once the policies that they come under are known as they are now.
    pub(super) fn confirm(&mut self, ids: impl IntoIterator<Item = ObjectId>) {
        for id in ids {
            let recorded = || self.items.get(&id).and_then(|item| item.remembered.policy.as_ref());
            let holder = self.claims.holder(&id).cloned();
            let needing = || self.policies_needing(&id).pop_first();
            match holder.or_else(|| recorded().and_then(read_recorded)).or_else(needing) {
                Some(policy) => {
                    if self.confirmations.wait(&id, &Asked::Policy(policy.clone())) {
                        self.read_again(policy);
                    }
                }
                None => self.touch(&id),
            }
        }
    }

    fn read_again(&mut self, policy: PolicyId) {
        let api = policies::api(self.ctx.hub.client.clone(), &policy);
        self.jobs.spawn(async move {
            loop {
                let failure = match tokio::time::timeout(DEADLINE, api.get_opt(&policy.name)).await {
                    Ok(Ok(object)) => return Done::Confirmed { policy, object: object.map(Box::new) },
                    Ok(Err(error)) => fleet_members::innermost(&error),
                    Err(_) => format!("no answer within {DEADLINE:?}"),
                };
                tracing::debug!(%policy, failure, "a policy isn't read; what comes under it waits");
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    /// A policy was read: what waited for it is settled by what it says now. Where it is gone, the watch tells.
    pub(super) fn confirmed(&mut self, policy: PolicyId, object: Option<DynamicObject>) {
        let known = self.policies.get(&policy).is_some();
        // The watch is about to tell that it is gone, and what becomes of its objects; until then nothing is done by it.
        let leaves = known && object.is_none();
        if let Some(object) = object.filter(|_| known) {
            self.policy_seen(policy.kind, &policy.group, &object);
        }
        let (waited, more) = self.confirmations.read(&Asked::Policy(policy.clone()));
        for id in waited {
            if leaves {
                self.wake_in(AGAIN, &id);
            } else {
                self.touch(&id);
            }
        }
        if more {
            self.read_again(policy);
        }
    }
}
