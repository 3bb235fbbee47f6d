//! Who takes what, for all objects and policies of a hub, change by change.
//!
//! A change looks at what it may touch only: an object at the policies for its kind and name, a policy at the objects
//! of its kinds. So ten thousand objects cost as much as the few that change.

mod hints;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fleet_api::ObjectId;
use fleet_api::propagation::PolicyProblem;

use crate::contest::{Contender, Lost, why_lost, winner};
use crate::index::Index;
use crate::object::ObjectFacts;
use crate::policy::{Policy, PolicyId};
use crate::selector::{Precision, Selectors};

/// Who takes what. Policies go in before objects that have a recorded holder, so that a restart changes nothing.
#[derive(Debug, Default)]
pub struct Claims {
    policies: HashMap<PolicyId, Entry>,
    objects: HashMap<ObjectId, Held>,
    index: Index,
}

#[derive(Debug)]
struct Entry {
    policy: Arc<Policy>,
    matched: BTreeSet<ObjectId>,
    claimed: BTreeSet<ObjectId>,
}

#[derive(Debug)]
struct Held {
    facts: ObjectFacts,
    holder: Option<PolicyId>,
}

/// An object that another policy takes now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The object.
    pub object: ObjectId,
    /// Who had it.
    pub before: Option<PolicyId>,
    /// Who has it.
    pub after: Option<PolicyId>,
}

/// What a change brought about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Objects that change hands, sorted.
    pub moved: Vec<Change>,
    /// Policies of which something may have changed: what they match or take, or what they lose and to whom.
    pub touched: BTreeSet<PolicyId>,
}

/// How the contest for an object ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Who takes it, and how precisely it selects it; no precision where it doesn't select it any more and keeps it,
    /// since it has errors.
    pub winner: Option<(PolicyId, Option<Precision>)>,
    /// The others that select it, best first.
    pub lost: Vec<(PolicyId, Lost)>,
}

impl Claims {
    /// Nothing claimed by nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A policy is there, or has changed.
    pub fn set_policy(&mut self, policy: Policy) -> Changes {
        let (id, policy) = (policy.id.clone(), Arc::new(policy));
        let before = self.policies.remove(&id);
        if let Some(before) = &before {
            self.index.remove_policy(&id, &before.policy.selectors);
        }
        self.index.add_policy(&id, &policy.selectors);
        let mut affected: BTreeSet<ObjectId> = BTreeSet::new();
        let (matched, claimed) = before.map(|entry| (entry.matched, entry.claimed)).unwrap_or_default();
        affected.extend(matched);
        affected.extend(claimed.iter().cloned());
        affected.extend(self.index.objects(&policy.selectors));
        // What it matches is found anew among the affected; what it has, it keeps or loses in the contest.
        self.policies.insert(id.clone(), Entry { policy, matched: BTreeSet::new(), claimed });
        let mut changes = self.contest(affected);
        changes.touched.insert(id);
        changes
    }

    /// A policy is gone. What it had is free for others.
    pub fn remove_policy(&mut self, id: &PolicyId) -> Changes {
        let Some(entry) = self.policies.remove(id) else { return Changes::default() };
        self.index.remove_policy(id, &entry.policy.selectors);
        self.contest(entry.matched.into_iter().chain(entry.claimed).collect())
    }

    /// An object is there, or has changed.
    pub fn set_object(&mut self, mut facts: ObjectFacts) -> Changes {
        let (id, recorded) = (facts.id.clone(), facts.holder.take());
        match self.objects.get_mut(&id) {
            Some(held) if held.facts == facts => return Changes::default(),
            Some(held) => held.facts = facts,
            None => {
                let holder = recorded.filter(|holder| self.policies.contains_key(holder));
                if let Some(entry) = holder.as_ref().and_then(|holder| self.policies.get_mut(holder)) {
                    entry.claimed.insert(id.clone());
                }
                self.index.add_object(&id);
                self.objects.insert(id.clone(), Held { facts, holder });
            }
        }
        self.contest([id].into())
    }

    /// An object is gone.
    pub fn remove_object(&mut self, id: &ObjectId) -> Changes {
        let Some(held) = self.objects.remove(id) else { return Changes::default() };
        self.index.remove_object(id);
        let mut changes = Changes::default();
        for policy in self.index.policies(id) {
            if let Some(entry) = self.policies.get_mut(&policy)
                && (entry.matched.remove(id) | entry.claimed.remove(id))
            {
                changes.touched.insert(policy);
            }
        }
        if let Some(holder) = held.holder {
            if let Some(entry) = self.policies.get_mut(&holder) {
                entry.claimed.remove(id);
            }
            changes.touched.insert(holder.clone());
            changes.moved.push(Change { object: id.clone(), before: Some(holder), after: None });
        }
        changes
    }

    /// A policy, where it is known.
    #[must_use]
    pub fn policy(&self, id: &PolicyId) -> Option<&Arc<Policy>> {
        Some(&self.policies.get(id)?.policy)
    }

    /// Who takes an object.
    #[must_use]
    pub fn holder(&self, id: &ObjectId) -> Option<&PolicyId> {
        self.objects.get(id)?.holder.as_ref()
    }

    /// The objects that a policy takes, sorted.
    pub fn claimed(&self, id: &PolicyId) -> impl Iterator<Item = &ObjectId> {
        self.policies.get(id).into_iter().flat_map(|entry| &entry.claimed)
    }

    /// The objects that a policy selects, sorted, whoever takes them.
    pub fn matched(&self, id: &PolicyId) -> impl Iterator<Item = &ObjectId> {
        self.policies.get(id).into_iter().flat_map(|entry| &entry.matched)
    }

    /// The objects that policies take and that selectors are about, sorted: where an override policy matters.
    #[must_use]
    pub fn selected(&self, selectors: &Selectors) -> Vec<&ObjectId> {
        let about = |id: &&ObjectId| {
            let held = self.objects.get(*id);
            held.is_some_and(|held| held.holder.is_some() && selectors.precision(&held.facts).is_some())
        };
        let mut found: Vec<&ObjectId> = if selectors.as_slice().is_empty() {
            self.objects.keys().filter(about).collect()
        } else {
            let each = selectors.as_slice().iter().flat_map(|selector| self.index.of_selector(selector));
            each.filter(about).collect()
        };
        found.sort_unstable();
        found.dedup();
        found
    }

    /// How the contest for an object ended; nothing where the object isn't known.
    #[must_use]
    pub fn outcome(&self, id: &ObjectId) -> Option<Outcome> {
        let held = self.objects.get(id)?;
        let contenders = self.contenders(&held.facts);
        let precision = |policy: &PolicyId| {
            contenders
                .iter()
                .find(|contender| contender.policy.id == *policy)
                .map(|contender| contender.precision)
        };
        let winner =
            held.holder.as_ref().and_then(|holder| Some((self.policies.get(holder)?, precision(holder))));
        let application = held.facts.application.as_deref();
        let mut lost: Vec<&Contender<'_>> = contenders
            .iter()
            .filter(|contender| Some(&contender.policy.id) != held.holder.as_ref())
            .collect();
        lost.sort_by(|a, b| b.order(a));
        let winning = winner.as_ref().map(|(entry, precision)| (entry.policy.as_ref(), *precision));
        let lost = lost
            .into_iter()
            .map(|contender| (contender.policy.id.clone(), why_lost(contender, winning, application)));
        Some(Outcome { lost: lost.collect(), winner: winning.map(|(policy, how)| (policy.id.clone(), how)) })
    }

    /// What is wrong with a policy beside the others: it matches nothing, or another of the same priority wants the
    /// same objects.
    #[must_use]
    pub fn problems(&self, id: &PolicyId) -> Vec<PolicyProblem> {
        hints::problems(self, id)
    }

    fn contenders<'a>(&'a self, facts: &ObjectFacts) -> Vec<Contender<'a>> {
        let policies = self.index.policies(&facts.id);
        let known = policies.iter().filter_map(|id| self.policies.get(id));
        known
            .filter_map(|entry| {
                let precision = entry.policy.selectors.precision(facts)?;
                Some(Contender { policy: &entry.policy, precision })
            })
            .collect()
    }

    /// Decides anew about objects. All that want one of them are touched: each may have lost to another than before, or
    /// have something else to tell of it.
    fn contest(&mut self, objects: BTreeSet<ObjectId>) -> Changes {
        let mut changes = Changes::default();
        for id in objects {
            let Some(held) = self.objects.get(&id) else { continue };
            let contenders = self.contenders(&held.facts);
            let holder = held.holder.as_ref().and_then(|holder| self.policies.get(holder));
            let holder = holder.map(|entry| entry.policy.as_ref());
            let won = winner(&contenders, holder, held.facts.application.as_deref());
            let (before, after) = (held.holder.clone(), won.map(|policy| policy.id.clone()));
            let selecting: BTreeSet<PolicyId> =
                contenders.iter().map(|contender| contender.policy.id.clone()).collect();
            changes.touched.extend(selecting.iter().chain(&before).chain(&after).cloned());
            self.record(&id, &selecting, before, after, &mut changes);
        }
        changes
    }

    fn record(
        &mut self,
        id: &ObjectId,
        selecting: &BTreeSet<PolicyId>,
        before: Option<PolicyId>,
        after: Option<PolicyId>,
        changes: &mut Changes,
    ) {
        let known: BTreeSet<PolicyId> = self.index.policies(id).into_iter().chain(before.clone()).collect();
        for policy in known.iter().chain(selecting) {
            let Some(entry) = self.policies.get_mut(policy) else { continue };
            let changed = if selecting.contains(policy) {
                entry.matched.insert(id.clone())
            } else {
                entry.matched.remove(id)
            };
            if changed {
                changes.touched.insert(policy.clone());
            }
        }
        if before == after {
            return;
        }
        if let Some(entry) = before.as_ref().and_then(|policy| self.policies.get_mut(policy)) {
            entry.claimed.remove(id);
        }
        if let Some(entry) = after.as_ref().and_then(|policy| self.policies.get_mut(policy)) {
            entry.claimed.insert(id.clone());
        }
        if let Some(held) = self.objects.get_mut(id) {
            held.holder.clone_from(&after);
        }
        changes.moved.push(Change { object: id.clone(), before, after });
    }
}
