//! Objects that follow the workloads that need them: where they go, and what waits for what.
//!
//! They have the lowest rank: what a policy selects, or an Application refers to, is theirs. They are where any of their
//! workloads is or is to be, arrive before it, and leave after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::ObjectId;
use fleet_api::propagation::{ConflictResolution, PolicyProblem, Severity};
use fleet_placement::{Hold, Holds};
use fleet_plan::Dependent;
use fleet_propagation::{Policy, PolicyId, Selectors};
use serde_json::Value;

use super::dependents::{Need, follows};
use super::distributor::Distributor;
use super::items::{Goal, Item, Matter};
use super::policies::read_recorded;
use super::sources::{GroupKind, Source};
use super::watch::Topic;

/// The code of a workload that waits for what it needs.
const WAITS: &str = "WaitsForDependents";
/// What annotations of an Ingress begin with for which something on its cluster makes the certificate.
const MAKE_CERTIFICATES: [&str; 3] = ["cert-manager.io/", "certmanager.k8s.io/", "kubernetes.io/tls-acme"];
/// How many missing ones a policy names.
const NAMED: usize = 20;

/// What a cluster has, or is to have, of the workloads that need an object.
#[derive(Default)]
struct Wanted {
    policies: BTreeMap<PolicyId, Arc<Policy>>,
    /// What holds each workload, and whether it is there already.
    holds: Vec<(bool, Option<Hold>)>,
}

impl Wanted {
    /// A hold of what is there holds what it runs with; one that keeps a workload away matters where all are kept away.
    fn hold(&self) -> Option<Hold> {
        let there = self.holds.iter().filter(|(there, _)| *there).find_map(|(_, hold)| *hold);
        let all = self.holds.iter().all(|(_, hold)| hold.is_some());
        there.or_else(|| self.holds.iter().find_map(|(_, hold)| *hold).filter(|_| all))
    }
}

/// The clusters on which a workload is or is to be. What an Application carries leaves where its run says, with what it needs.
fn is_or_goes(item: &Item) -> BTreeSet<&String> {
    let is = item.at().filter(|_| item.remembered.stage.is_none());
    is.chain(item.remembered.shares.keys()).collect()
}

fn topic_of(id: &ObjectId) -> Topic {
    Topic::Objects(id.group().to_owned(), id.kind.clone())
}

impl Distributor {
    /// Finds anew what workloads need, at most so many; they are settled before anything that follows them. True where there
    /// are more.
    pub(super) fn read_workloads(&mut self, at_most: usize) -> bool {
        let mut read = Vec::new();
        for _ in 0..at_most {
            let Some(id) = self.dependents.next_stale() else { break };
            if self.read_workload(&id) {
                read.push(id);
            }
        }
        if !read.is_empty() {
            self.select_kinds();
        }
        for id in read {
            self.dependents.tell_again(&id);
            if self.confirmations.waits(&id) {
                continue;
            }
            self.settle(&id);
            if let Some(holder) = self.claims.holder(&id).cloned() {
                self.said.touch(&holder);
            }
        }
        self.dependents.any_stale()
    }

    /// An object, or who has it, has changed: what it needs is found anew, where that goes along.
    pub(super) fn may_need_others(&mut self, id: &ObjectId) {
        let holder = self.claims.holder(id).and_then(|holder| self.claims.policy(holder));
        let takes = holder.is_some_and(|policy| policy.spec.takes_dependents());
        if takes || self.dependents.needs(id).is_some() {
            self.dependents.stale(id);
        }
    }

    /// Whether everything is listed that could say that something is still needed.
    fn dependents_are_known(&self) -> bool {
        let about = |topic: &&Topic| matches!(topic, Topic::Objects(group, kind) if follows(group, kind));
        self.watches.topics().filter(about).all(|topic| self.watches.is_listed(topic))
    }

    /// Whether an object that no policy has is where workloads need it; `None` where that isn't known yet.
    pub(super) fn is_followed(&self, id: &ObjectId, source: &Source) -> Option<bool> {
        let item = self.items.get(id).filter(|item| item.remembered.dependent && !item.is_nowhere());
        if self.dependents.is_needed(id) {
            // What an Application delivers is its own; unless it follows workloads already, as with policies.
            return Some(item.is_some() || self.applications.of(id, &source.facts.labels).is_none());
        }
        let Some(item) = item else { return Some(false) };
        if !self.dependents_are_known() {
            return None;
        }
        Some(item.at().any(|cluster| self.is_used(id, cluster)))
    }

    /// Whether a workload that needed an object may still run with it on a cluster.
    fn is_used(&self, id: &ObjectId, cluster: &str) -> bool {
        let stage = self.items.get(id).and_then(|item| item.remembered.stage.as_ref());
        let uses = |workload: &ObjectId| {
            let item = self.items.get(workload).filter(|item| item.is_at(cluster));
            item.is_some_and(|item| {
                let carried = item.remembered.stage.as_ref();
                // A run takes away last what its workloads don't need any more.
                if carried.is_some() && carried == stage {
                    return false;
                }
                let gone_on = item
                    .places
                    .get(cluster)
                    .is_some_and(|place| place.met && place.held.is_none() && place.kept.is_none())
                    && match carried {
                        Some(_) => {
                            self.observed(workload, cluster).is_some_and(|seen| seen.health.is_healthy())
                        }
                        None => self.is_ready(workload, item, cluster),
                    };
                !gone_on || self.is_to_be_settled(workload)
            })
        };
        match self.dependents.used_by(id) {
            Some(workloads) => workloads.iter().any(uses),
            None => self
                .items
                .keys()
                .filter(|other| other.namespace == id.namespace && !follows(other.group(), &other.kind))
                .any(uses),
        }
    }

    fn holds_of(&self, policy: &PolicyId) -> Option<Arc<Holds>> {
        self.policies.get(policy).map(|followed| Arc::clone(&followed.holds))
    }

    fn wanted(&self, id: &ObjectId) -> BTreeMap<String, Wanted> {
        let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
        for workload in self.dependents.needed_by(id) {
            let Some(item) = self.items.get(workload) else { continue };
            let Some(policy) = self.claims.holder(workload).and_then(|holder| self.claims.policy(holder))
            else {
                continue;
            };
            let holds = self.holds_of(&policy.id);
            let Some(need) = self.dependents.need(workload, id) else { continue };
            for cluster in is_or_goes(item).into_iter().filter(|at| need.is_on(at)) {
                let entry = wanted.entry(cluster.clone()).or_default();
                entry.policies.insert(policy.id.clone(), Arc::clone(policy));
                let hold = holds.as_ref().and_then(|holds| holds.holds(cluster));
                entry.holds.push((item.is_at(cluster), hold));
            }
        }
        wanted
    }

    /// The clusters on which an object is needed that an Application carries, or may be used yet by what it doesn't carry.
    pub(super) fn clusters_needing(&mut self, id: &ObjectId) -> BTreeSet<String> {
        let mut clusters: BTreeSet<String> = self.wanted(id).into_keys().collect();
        let known = self.dependents_are_known();
        let at = self.items.get(id).into_iter().flat_map(|item| item.remembered.shares.keys());
        let left = at.filter(|at| !clusters.contains(*at) && (!known || self.is_used(id, at)));
        let left: Vec<String> = left.cloned().collect();
        self.dependents.lingers(id, !left.is_empty());
        clusters.extend(left);
        clusters
    }

    /// Places an object where its workloads are.
    pub(super) fn follow(&mut self, id: &ObjectId, item: &mut Item, source: &Source) {
        let wanted = self.wanted(id);
        let policies: BTreeSet<&PolicyId> =
            wanted.values().flat_map(|wanted| wanted.policies.keys()).collect();
        // One that reaches every namespace speaks for all.
        let speaks = policies.iter().min_by_key(|policy| (policy.kind.namespaced(), **policy));
        if let Some(policy) = speaks {
            item.is_had_by(policy);
            let mut all = wanted.values().flat_map(|wanted| wanted.policies.values());
            item.remembered.kept = all.any(|policy| !policy.spec.prunes());
            let mut all = wanted.values().flat_map(|wanted| wanted.policies.values());
            item.remembered.preserved = all.any(|policy| policy.spec.preserve_resources_on_deletion);
        }
        item.remembered.dependent = true;
        item.remembered.group = None;
        item.remembered.shares.clear();
        item.remembered.ceilings.clear();
        item.remembered.told.clear();
        item.shortfall = None;
        item.wake_at = None;
        item.overridden.clear();
        let own = item.remembered.policy.as_ref().and_then(read_recorded);
        let holds = own.and_then(|policy| self.holds_of(&policy));
        let clusters: BTreeSet<String> = item.at().chain(wanted.keys()).cloned().collect();
        item.places.retain(|cluster, _| clusters.contains(cluster));
        let overrides = self.overrides.about(&source.facts);
        let known = self.dependents_are_known();
        let mut lingers = false;
        for cluster in clusters {
            if let Some(wanted) = wanted.get(&cluster) {
                let mut policies = wanted.policies.values();
                if policies.all(|policy| !policy.acts) {
                    let place = item.places.entry(cluster).or_default();
                    let message =
                        "the policies of the workloads that need it have errors, so it stays as it is";
                    place.kept = Some(Matter::lasting("PolicyInvalid", message));
                    place.goal = Goal::Stay;
                    continue;
                }
                let overwrites = |policy: &Arc<Policy>| {
                    policy.spec.conflict_resolution == Some(ConflictResolution::Overwrite)
                };
                let takes_over = wanted.policies.values().any(overwrites);
                self.stand(item, &cluster, takes_over, source, None, &overrides, wanted.hold());
                if let Some(place) = item.places.get_mut(&cluster) {
                    place.waits = None;
                }
                continue;
            }
            let used = !known || self.is_used(id, &cluster);
            let hold = holds.as_ref().and_then(|holds| holds.holds(&cluster));
            let released = item.remembered.kept;
            let place = item.places.entry(cluster).or_default();
            place.kept = None;
            place.held = hold;
            place.waits = used.then(|| "a workload that needed it may still run with it there".to_owned());
            if used || hold.is_some() {
                lingers = true;
                place.goal = place.last.clone().map_or(Goal::Stay, Goal::Stand);
            } else {
                super::settle::leave(place, released);
            }
        }
        self.dependents.lingers(id, lingers);
    }

    /// A workload was settled: what follows it looks where it is now. Something that others need was settled: those that wait
    /// for it go on.
    pub(super) fn tell_dependents(&mut self, id: &ObjectId) {
        if self.dependents.is_empty() {
            return;
        }
        let item = self.items.get(id);
        let at = item.map(|item| is_or_goes(item).into_iter().cloned().collect());
        for follower in self.dependents.followers(id, at.unwrap_or_default()) {
            if follower != *id {
                self.touch(&follower);
            }
        }
    }

    /// Workloads that wait for an object look again, and so do the Applications that carry them.
    pub(super) fn wake_waiting(&mut self, id: &ObjectId) {
        let waits = |workload: &&ObjectId| {
            let places = self.items.get(*workload).into_iter().flat_map(|item| item.places.values());
            places.filter_map(|place| place.matter.as_ref()).any(|matter| matter.reason == WAITS)
        };
        let waiting: Vec<ObjectId> = self.dependents.needed_by(id).filter(waits).cloned().collect();
        waiting.iter().for_each(|workload| self.touch(workload));
        for workload in self.dependents.needed_by(id) {
            let stage = self.items.get(workload).and_then(|item| item.remembered.stage.as_ref());
            if let Some(stage) = stage {
                self.stages.touch(&(workload.namespace.clone(), stage.clone()));
            }
        }
    }

    /// Objects of a kind that workloads need are listed: what waited for that is settled, and what may not be needed any more.
    pub(super) fn wake_all_waiting(&mut self) {
        let all: Vec<ObjectId> =
            self.dependents.workloads().chain(self.dependents.doubtful()).cloned().collect();
        all.iter().for_each(|id| self.touch(id));
    }

    /// What a workload waits for before it is sent to a cluster: everything that it needs arrives first. What can't come
    /// holds nobody up.
    pub(super) fn waits_for(&self, id: &ObjectId, cluster: &str) -> Option<Matter> {
        let needs = self.dependents.needs(id)?;
        if let Some(kind) = self.lists_for(needs) {
            let message = format!("{kind}s are being listed: {id} may need some of them");
            return Some(Matter::passing(WAITS, message));
        }
        let found = needs.values().filter(|need| need.is_on(cluster)).map(|need| &need.need);
        for need in found.filter(|need| need.found && need.id.kind != "Ingress") {
            let place = self.items.get(&need.id).and_then(|item| item.places.get(cluster));
            let comes = match place {
                None => self.is_to_be_settled(&need.id),
                Some(place) => {
                    let stands = matches!(place.goal, Goal::Stand(_)) && place.kept.is_none();
                    let refused = place.matter.as_ref().is_some_and(|matter| matter.lasts);
                    stands && !place.met && place.last.is_none() && !refused
                }
            };
            if comes {
                let why = place.and_then(|place| place.matter.as_ref());
                let why = why.map(|matter| format!(": {}", matter.message)).unwrap_or_default();
                let message = format!("{} goes to {cluster} first, since it is needed{why}", need.id);
                return Some(Matter::passing(WAITS, message));
            }
        }
        None
    }

    /// A kind that is being listed, and of which a workload may need some.
    pub(super) fn lists_for(&self, needs: &BTreeMap<ObjectId, Need>) -> Option<String> {
        let kinds: BTreeSet<GroupKind> =
            needs.keys().map(|id| (id.group().to_owned(), id.kind.clone())).collect();
        let kinds = kinds.into_iter().chain([(String::new(), "Service".to_owned())]);
        let mut coming = kinds
            .filter(|(group, kind)| self.watches.is_coming(&Topic::Objects(group.clone(), kind.clone())));
        coming.next().map(|(_, kind)| kind)
    }

    /// Whether only policies that have no namespace take an object to a cluster, or any of them does.
    pub(super) fn follows_beyond_namespaces(&self, id: &ObjectId, cluster: &str) -> bool {
        self.wanted(id)
            .get(cluster)
            .is_some_and(|wanted| wanted.policies.keys().any(|id| id.namespace.is_empty()))
    }

    /// The policies whose workloads need an object.
    pub(super) fn policies_needing(&self, id: &ObjectId) -> BTreeSet<PolicyId> {
        self.dependents.needed_by(id).filter_map(|workload| self.claims.holder(workload)).cloned().collect()
    }

    /// What selectors are about among everything that is distributed, sorted.
    pub(super) fn distributed(&self, selectors: &Selectors) -> Vec<ObjectId> {
        let mut found: Vec<ObjectId> = self.claims.selected(selectors).into_iter().cloned().collect();
        let follows = self.dependents.all().filter(|id| self.claims.holder(id).is_none());
        let about = follows.filter(|id| {
            let source = self.sources.get(id);
            source.is_some_and(|source| selectors.precision(&source.facts).is_some())
        });
        found.extend(about.cloned());
        found.sort_unstable();
        found
    }

    /// What goes along with the objects of a policy, and what of it doesn't.
    pub(super) fn along_with(&self, policy: &PolicyId) -> (BTreeSet<ObjectId>, Vec<PolicyProblem>) {
        let (mut along, mut problems) = (BTreeSet::new(), Vec::new());
        let mut missing = 0;
        let mut kinds: BTreeSet<GroupKind> = BTreeSet::new();
        for workload in self.claims.claimed(policy) {
            let Some(needs) = self.dependents.needs(workload) else { continue };
            kinds.extend(
                [("", "Service"), ("networking.k8s.io", "Ingress")]
                    .map(|(group, kind)| (group.to_owned(), kind.to_owned())),
            );
            for (need, on) in needs.values().map(|need| (&need.need, need)) {
                let of = (need.id.group().to_owned(), need.id.kind.clone());
                if !self.watches.is_listed(&topic_of(&need.id)) {
                    kinds.insert(of);
                    continue;
                }
                if !need.found {
                    let told = self.told_of_missing(need);
                    missing += usize::from(told.is_some());
                    problems.extend(told.filter(|_| missing <= NAMED));
                    continue;
                }
                match self.claims.holder(&need.id) {
                    None => match self.applications_own(&need.id) {
                        Some(application) => problems.push(warning(
                            "DependentElsewhere",
                            format!(
                                "{workload} needs {}, which Application {application} delivers; let it deliver it wherever the workload is",
                                need.id
                            ),
                        )),
                        None => {
                            problems.extend(self.rolls_out_elsewhere(policy, workload, &need.id));
                            along.insert(need.id.clone());
                        }
                    },
                    Some(holder) => problems.extend(self.elsewhere(workload, on, holder)),
                }
            }
        }
        if missing > NAMED {
            let message = format!("{} more that are needed aren't there", missing - NAMED);
            problems.push(warning("DependentMissing", message));
        }
        for (group, kind) in kinds {
            let topic = Topic::Objects(group, kind.clone());
            if let Some(why) = self.watches.failing(&topic) {
                problems.push(PolicyProblem {
                    severity: Severity::Warning,
                    reason: "CannotList".to_owned(),
                    path: "spec.propagateDeps".to_owned(),
                    message: format!(
                        "the hub doesn't list {kind}: {why}; give the controller's account list and watch on them (referenced.resources and referenced.secrets of the chart). Until then none of them goes along"
                    ),
                });
            }
        }
        (along, problems)
    }

    /// What is told of something that isn't on the hub; nothing where that is as well.
    fn told_of_missing(&self, need: &Dependent) -> Option<PolicyProblem> {
        let Dependent { id, named_by, place, .. } = need;
        if !need.optional {
            let message =
                format!("{named_by} needs {id} ({place}), which isn't there; it goes along as soon as it is");
            return Some(warning("DependentMissing", message));
        }
        // Nothing comes up later for want of a certificate: it would be missed by users only.
        let ingress =
            self.sources.get(named_by).filter(|_| named_by.kind == "Ingress" && id.kind == "Secret")?;
        let tree = ingress.tree();
        let annotations = tree.pointer("/metadata/annotations").and_then(Value::as_object);
        let made_there = annotations
            .into_iter()
            .flatten()
            .any(|(key, _)| MAKE_CERTIFICATES.iter().any(|by| key.starts_with(by)));
        (!made_there).then(|| {
            let message = format!(
                "{named_by} names {id} ({place}) as its certificate, which isn't there; create it, unless something on the members makes it"
            );
            warning("CertificateMissing", message)
        })
    }

    fn applications_own(&self, id: &ObjectId) -> Option<String> {
        let follows = self.items.get(id).is_some_and(|item| item.remembered.dependent && !item.is_nowhere());
        let source = self.sources.get(id).filter(|_| !follows)?;
        self.applications.of(id, &source.facts.labels)
    }

    /// Where a workload is and what it needs isn't, since another policy says so.
    fn elsewhere(&self, workload: &ObjectId, need: &Need, holder: &PolicyId) -> Option<PolicyProblem> {
        let needed = &need.need.id;
        let there = |id: &ObjectId| -> BTreeSet<String> {
            let item = self.items.get(id);
            item.into_iter()
                .flat_map(|item| item.at().chain(item.remembered.shares.keys()))
                .cloned()
                .collect()
        };
        let (at, has) = (there(workload), there(needed));
        let first = at.difference(&has).find(|cluster| need.is_on(cluster))?;
        Some(warning(
            "DependentElsewhere",
            format!(
                "{workload} goes to {first} and needs {needed}, which {holder} doesn't take there; let that policy take it there, or not select it"
            ),
        ))
    }
}

fn warning(reason: &str, message: String) -> PolicyProblem {
    PolicyProblem {
        severity: Severity::Warning,
        reason: reason.to_owned(),
        path: "spec.propagateDeps".to_owned(),
        message,
    }
}
