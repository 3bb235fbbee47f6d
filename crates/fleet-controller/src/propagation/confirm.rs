//! What the hub was told in one order is acted on in that order: each kind has a watch of its own, and one may tell of an
//! edit before another tells of the mask that was set to hold it. So before an edit of an object, of an override or of a
//! cluster is acted on, the policy that it comes under is read once more; one read serves all edits that came before it. And
//! before what a policy lets go leaves, all policies are read that might take it: the new one may be of another kind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_api::ObjectId;
use fleet_api::propagation::PolicyKind;
use fleet_propagation::PolicyId;
use kube::api::{Api, DynamicObject, ListParams};

use super::dispatch::Done;
use super::distributor::Distributor;
use super::policies::{self, read_recorded};
use super::settle::{Leaves, Verdict};
use super::watch::{PAGE, Topic};

/// How long a read may take, and the wait after one that failed.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// What is read before objects are settled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    Policy(PolicyId),
    /// All policies that may take objects.
    Policies,
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
    /// The UIDs of policies that went since it began, and may be in what it brings.
    gone: BTreeSet<String>,
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
        let Some(Read { now, next, gone: _ }) = self.reads.remove(asked) else { return Default::default() };
        for id in &now {
            self.waiting.remove(id);
        }
        let more = !next.is_empty();
        if more {
            self.reads.insert(asked.clone(), Read { now: next, ..Read::default() });
        }
        (now, more)
    }

    /// A policy is gone, whatever was read of it.
    pub(super) fn is_gone(&mut self, uid: &str) {
        for read in self.reads.values_mut() {
            read.gone.insert(uid.to_owned());
        }
    }

    /// Whether what a read brought is still there, as far as the watches told.
    fn is_still_there(&self, asked: &Asked, object: &DynamicObject) -> bool {
        let gone = self.reads.get(asked).map(|read| &read.gone);
        !gone.zip(object.metadata.uid.as_ref()).is_some_and(|(gone, uid)| gone.contains(uid))
    }
}

impl Distributor {
    /// Objects are to be settled, once the policies that they come under are known as they are now.
    pub(super) fn confirm(&mut self, ids: impl IntoIterator<Item = ObjectId>) {
        for id in ids {
            self.ask_again(std::slice::from_ref(&id));
            let had = || self.items.get(&id).and_then(|item| item.remembered.policy.as_ref());
            let holder = self.claims.holder(&id).cloned();
            let needing = || self.policies_needing(&id).pop_first();
            match holder.or_else(|| had().and_then(read_recorded)).or_else(needing) {
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
        let asked = Asked::Policy(policy.clone());
        let there = |object: &DynamicObject| known && self.confirmations.is_still_there(&asked, object);
        if let Some(object) = object.filter(there) {
            self.policy_seen(policy.kind, &policy.group, &object);
        }
        let (waited, more) = self.confirmations.read(&asked);
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

    /// Who takes these is asked again before they leave.
    pub(super) fn ask_again(&mut self, ids: &[ObjectId]) {
        for id in ids {
            if let Some(item) = self.items.get_mut(id) {
                item.untaken = false;
            }
        }
    }

    /// Whether an object that its policy let go waits until it is known that no other policy has it.
    pub(super) fn asks_who_takes(&mut self, id: &ObjectId, verdict: &Verdict) -> bool {
        let Some(item) = self.items.get_mut(id) else { return false };
        let is_let_go = matches!(verdict, Verdict::Leaves(Leaves::Unclaimed));
        item.untaken &= is_let_go;
        if !is_let_go || item.untaken || item.is_nowhere() {
            return false;
        }
        if self.confirmations.wait(id, &Asked::Policies) {
            self.read_all_again();
        }
        true
    }

    fn read_all_again(&mut self) {
        let taking = self.watches.topics().filter(|topic| self.watches.is_listed(topic));
        let taking = taking.filter_map(|topic| match topic {
            Topic::Policies(group, plural) => Some((group.clone(), policies::kind_of(plural)?)),
            Topic::Definitions | Topic::Objects(..) => None,
        });
        let taking: Vec<_> = taking.filter(|(_, kind)| !kind.overrides()).collect();
        let client = self.ctx.hub.client.clone();
        self.jobs.spawn(async move {
            loop {
                let failure = match read_all(&client, &taking).await {
                    Ok(policies) => return Done::ReadAll { policies },
                    Err(failure) => failure,
                };
                tracing::warn!(
                    failure,
                    "policies aren't read; what no policy has any more stays until they are"
                );
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    /// All policies were read: what waited for it leaves, unless one of them has it.
    pub(super) fn read_all(&mut self, found: &[(PolicyKind, String, DynamicObject)]) {
        for (kind, group, object) in found {
            let id = policies::id_of(*kind, group, object);
            let news = id.and_then(|id| self.policies.get(&id)).is_none_or(|known| known.differs(object));
            if news && self.confirmations.is_still_there(&Asked::Policies, object) {
                self.policy_seen(*kind, group, object);
            }
        }
        let (waited, more) = self.confirmations.read(&Asked::Policies);
        for id in waited {
            if let Some(item) = self.items.get_mut(&id) {
                item.untaken = true;
            }
            self.touch(&id);
        }
        if more {
            self.read_all_again();
        }
    }
}

/// All policies of some kinds; those of a kind that isn't served any more are none. Else why one of them can't be read.
async fn read_all(
    client: &kube::Client,
    kinds: &[(String, PolicyKind)],
) -> Result<Vec<(PolicyKind, String, DynamicObject)>, String> {
    let mut all = Vec::new();
    for (group, kind) in kinds {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind.resource(group));
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = match tokio::time::timeout(DEADLINE, api.list(&page)).await {
                Ok(Ok(list)) => list,
                Ok(Err(kube::Error::Api(status))) if status.is_not_found() => break,
                Ok(Err(error)) => return Err(fleet_members::innermost(&error)),
                Err(_) => return Err(format!("no answer within {DEADLINE:?}")),
            };
            all.extend(list.items.into_iter().map(|object| (*kind, group.clone(), object)));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(all)
}
