//! Where an object goes by its policy, and how much of it: decided by placement, kept on record.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::ObjectId;
use fleet_placement::pieces::{has_replicas, is_indexed, is_job};
use fleet_placement::{Decision, Demand, Shortfall, Trouble, decide, pod_requests};
use fleet_propagation::Policy;
use tokio::time::Instant;

use super::distributor::Distributor;
use super::items::{Item, placed, remember};
use super::rooms::{ASK_AGAIN, MEASURING};
use super::sources::Source;

/// Codes of what is told of Jobs: it is as it is to be all the same.
pub(super) const NOT_DIVIDED_ANEW: &str = "NotDividedAnew";
pub(super) const NOT_DIVIDED: &str = "NotDivided";

/// The code of what is told of an object that has no clusters yet while scheduling is suspended.
pub(super) const NOT_CHOSEN: &str = "SchedulingSuspended";

/// What came of choosing clusters for an object.
pub(super) enum Choice {
    /// Clusters are asked first how much room they have: it is settled again when they have said so.
    Asks,
    /// They are chosen; with what isn't as it should be.
    Made(Option<Shortfall>),
}

impl Distributor {
    /// Chooses the clusters of an object and their shares, from where it is.
    pub(super) fn choose(
        &mut self,
        id: &ObjectId,
        item: &mut Item,
        policy: &Policy,
        source: &Source,
        trouble: &BTreeMap<String, Trouble>,
    ) -> Choice {
        let Some(survey) = self.policies.get(&policy.id).map(|followed| Arc::clone(&followed.survey)) else {
            return Choice::Asks;
        };
        let request =
            source.replicas.filter(|_| policy.rules.weighs_room()).and_then(|_| pod_requests(&source.tree()));
        let room = |cluster: &str| self.rooms.fits(cluster, request.as_ref()?);
        let decision = self.decision(id, item, policy, source, &room, trouble);
        let (decision, not_anew) = self.keep_job(id, item, decision, source);
        let mut again = None;
        if let Some(request) = &request {
            let short = matches!(decision.shortfall, Some(Shortfall::NoRoom { .. }));
            // What stays as it is needs no more room.
            if short || decision.placed.shares != item.remembered.shares {
                let now = Instant::now();
                let outdated = |name: &&str| self.rooms.is_outdated(name, now);
                let members = survey.members(&self.fleet).into_iter();
                let outdated: Vec<String> = members.filter(outdated).map(str::to_owned).collect();
                if !outdated.is_empty() {
                    let message =
                        format!("{} of its clusters are asked how much room they have", outdated.len());
                    item.shortfall = Some((MEASURING.to_owned(), message));
                    item.leaves_not_yet();
                    self.ask_for_room(id, &outdated);
                    return Choice::Asks;
                }
            }
            for (cluster, replicas) in &decision.placed.shares {
                let before = item.remembered.shares.get(cluster).copied().flatten().unwrap_or(0);
                self.rooms.take(cluster, request, replicas.unwrap_or(0).saturating_sub(before));
            }
            if short {
                let now = self.ctx.now();
                let known = item.wake_at.filter(|at| *at > now);
                again = known.or_else(|| now.checked_add(ASK_AGAIN).ok());
            }
        }
        item.shortfall =
            decision.shortfall.as_ref().map(|shortfall| (shortfall.code().to_owned(), shortfall.to_string()));
        if item.shortfall.is_none() {
            item.shortfall =
                not_anew.or_else(|| undivided(id, policy, source)).or_else(|| not_chosen(policy, &decision));
        }
        item.wake_at = decision.wake_at.into_iter().chain(again).min();
        remember(&mut item.remembered, decision.placed);
        Choice::Made(decision.shortfall)
    }

    /// Where an object goes by a policy, from where it is; a policy whose scheduling is suspended chooses nothing anew.
    fn decision(
        &self,
        id: &ObjectId,
        item: &Item,
        policy: &Policy,
        source: &Source,
        room: &dyn Fn(&str) -> Option<u64>,
        trouble: &BTreeMap<String, Trouble>,
    ) -> Decision {
        let placed = placed(&item.remembered);
        let chooses = !is_scheduling_suspended(policy);
        let Some(followed) = self.policies.get(&policy.id).filter(|_| chooses) else {
            return Decision { placed, ..Decision::default() };
        };
        let demand = Demand {
            seed: &id.to_string(),
            replicas: source.replicas,
            placed: &placed,
            room,
            trouble,
            fresh: false,
            now: self.ctx.now(),
        };
        decide(&policy.rules, &followed.survey, &self.fleet, &demand)
    }

    /// What members run of a divided Job can't be changed, so it stays as it was divided; with what is told where it would be
    /// divided otherwise now.
    fn keep_job(
        &self,
        id: &ObjectId,
        item: &Item,
        decision: Decision,
        source: &Source,
    ) -> (Decision, Option<(String, String)>) {
        let before = &item.remembered;
        if !is_job(&id.api_version, &id.kind) || before.shares.is_empty() || !self.may_run(id, item) {
            return (decision, None);
        }
        let (decision, otherwise) = decision.of_running(&placed(before), source.replicas);
        let told = otherwise.then(|| {
            let message = "it runs as it was divided when it was delivered, since members can't change what a Job has to complete; delete it and apply it again to divide it anew";
            (NOT_DIVIDED_ANEW.to_owned(), message.to_owned())
        });
        (decision, told)
    }

    /// Whether members may have it: it was delivered there, is seen there, or isn't seen to be absent where an Application
    /// delivers it.
    fn may_run(&self, id: &ObjectId, item: &Item) -> bool {
        let staged = item.remembered.stage.is_some();
        let there = |cluster: &String| match self.ctx.members.get(cluster) {
            Ok(member) => match member.observed(id) {
                Some(seen) => seen.owner == self.owner(),
                None => staged && !member.observes([id].into_iter()),
            },
            Err(_) => staged,
        };
        !item.remembered.left.is_empty() || item.at().any(there)
    }
}

/// Whether a policy chooses no clusters for now.
pub(super) fn is_scheduling_suspended(policy: &Policy) -> bool {
    policy.spec.suspension.as_ref().is_some_and(|suspension| suspension.scheduling)
}

/// What is told of an object for which no clusters are chosen.
fn not_chosen(policy: &Policy, decision: &Decision) -> Option<(String, String)> {
    (is_scheduling_suspended(policy) && decision.placed.shares.is_empty()).then(|| {
        let message = "no clusters are chosen for it, since spec.suspension.scheduling keeps the choice as it is and it had none; take scheduling out of spec.suspension to let it go to its clusters";
        (NOT_CHOSEN.to_owned(), message.to_owned())
    })
}

/// What is told of an object that a policy divides and that can't be divided.
fn undivided(id: &ObjectId, policy: &Policy, source: &Source) -> Option<(String, String)> {
    if !policy.rules.divides() {
        return None;
    }
    if source.replicas.is_none() && has_replicas(&id.api_version, &id.kind) {
        let message = "nobody set spec.replicas on the hub, so there is nothing to divide, and each cluster runs its default of it (1 that was created counts as not set: it is the default); set it with kubectl apply, or to another number";
        return Some((NOT_DIVIDED.to_owned(), message.to_owned()));
    }
    let indexed = is_job(&id.api_version, &id.kind) && is_indexed(&source.tree());
    indexed.then(|| {
        let message = "each cluster runs all of it: the indexes of a Job can't be divided; use Duplicated, or completionMode: NonIndexed";
        (NOT_DIVIDED.to_owned(), message.to_owned())
    })
}
