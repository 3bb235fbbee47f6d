//! What policies tell of themselves: what they match and take, where it is, what hinders it, what they lost to.
//!
//! A status follows from what is known, is gathered for a moment and written only where it differs.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_api::propagation::{
    ClaimedObject, KEPT_OBJECTS, ObjectCounts, ObjectPlace, OverriddenObject, OverridePolicyStatus,
    PlacePhase, PolicyProblem, PropagationPolicyStatus, RivalClaim, Rollout, Severity,
};
use fleet_api::{Condition, ObjectId, conditions};
use fleet_propagation::PolicyId;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::choose::{NOT_CHOSEN, NOT_DIVIDED, NOT_DIVIDED_ANEW};
use super::dispatch::Done;
use super::distributor::Distributor;
use super::items::{Goal, Item, Listed, Matter, Place};
use super::paced::Paced;
use super::policies;
use super::rooms::MEASURING;
use super::wellbeing::Judged;

/// The wait after the hub refused a status.
const AFTER_REFUSAL: Duration = Duration::from_secs(2);
/// The code where override policies can't be read.
pub(super) const OVERRIDES_UNKNOWN: &str = "CannotListOverrides";
/// The longest message of one place, in characters.
pub(super) const LONGEST: usize = 1_000;

/// Which policies have something to tell, and when.
pub(super) struct Said {
    paced: Paced<PolicyId>,
    /// Those that told of something that is on its way.
    unfinished: BTreeSet<PolicyId>,
}

impl Said {
    /// `interval` lies between two writes of one policy.
    pub(super) fn new(interval: Duration) -> Self {
        Self { paced: Paced::new(interval), unfinished: BTreeSet::new() }
    }

    /// Something about a policy may have changed.
    pub(super) fn touch(&mut self, id: &PolicyId) {
        self.paced.touch(id);
    }

    /// Nothing is on its way any more: who told that something is tells the end of it soon, and no interval late.
    pub(super) fn nothing_is_on_its_way(&mut self) {
        self.unfinished.retain(|id| {
            let writing = self.paced.is_writing(id);
            if !writing {
                self.paced.hasten(id);
            }
            writing
        });
    }

    pub(super) fn forget(&mut self, id: &PolicyId) {
        self.paced.forget(id);
        self.unfinished.remove(id);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.paced.next()
    }
}

impl Distributor {
    /// Something about an object may have changed: those who tell of it look.
    pub(super) fn tell_of(&mut self, id: &ObjectId) {
        if let Some(holder) = self.claims.holder(id) {
            self.said.touch(&holder.clone());
        }
        self.tell_of_lingering(id);
        for policy in self.policies_needing(id) {
            self.said.touch(&policy);
        }
        let Some(item) = self.items.get(id).filter(|item| !item.overridden.is_empty()) else { return };
        let names: BTreeSet<&String> = item.overridden.keys().collect();
        let overrides = self.policies.ids().filter(|id| id.kind.overrides());
        let about: Vec<PolicyId> = overrides.filter(|id| names.contains(&id.to_string())).cloned().collect();
        about.iter().for_each(|id| self.said.touch(id));
    }

    /// Writes the statuses that are due and differ.
    pub(super) fn say(&mut self) {
        if !self.policies_listed() {
            return;
        }
        for id in self.said.paced.take() {
            let Some(followed) = self.policies.get(&id) else { continue };
            let before = followed.status.clone();
            let status = if id.kind.overrides() { self.override_status(&id) } else { self.status(&id) };
            let Some(status) = status else { continue };
            if status == before {
                continue;
            }
            let base = if before.is_null() { json!({}) } else { before };
            let patch = json!({ "status": fleet_json::patch::merge_patch_between(&base, &status) });
            let api = policies::api(self.ctx.hub.client.clone(), &id);
            self.said.paced.begin(&id);
            self.jobs.spawn(async move {
                let written =
                    api.patch_status(&id.name, &PatchParams::default(), &Patch::Merge(&patch)).await;
                let outcome = written.map(|object| object.data.get("status").cloned().unwrap_or_default());
                Done::Said { policy: id, outcome }
            });
        }
    }

    pub(super) fn status_written(&mut self, id: &PolicyId, outcome: Result<Value, kube::Error>) {
        match outcome {
            Ok(status) => {
                if status.pointer("/objects/pending").and_then(Value::as_u64).is_some_and(|n| n > 0) {
                    self.said.unfinished.insert(id.clone());
                }
                if let Some(followed) = self.policies.get_mut(id) {
                    followed.status = status;
                }
                self.said.paced.taken(id);
            }
            // It is gone, which the watch tells.
            Err(kube::Error::Api(status)) if status.code == 404 => self.said.paced.over(id),
            Err(error) => {
                tracing::warn!(policy = %id, %error, "the status of a policy can't be written; tried again");
                self.said.paced.failed(id, AFTER_REFUSAL);
            }
        }
    }

    fn status(&self, id: &PolicyId) -> Option<Value> {
        let (followed, policy) = (self.policies.get(id)?, self.claims.policy(id)?);
        let mut objects = ObjectCounts::default();
        let mut claimed: Vec<((u8, bool), &ObjectId, Option<&Item>)> = Vec::new();
        let mut judged = Judged::default();
        for object in self.claims.claimed(id) {
            objects.claimed += 1;
            let item = self.items.get(object).map(Box::as_ref);
            let weight = item.map_or(1, weight);
            match weight {
                0 => objects.failed += 1,
                1 => objects.pending += 1,
                2 => objects.held += 1,
                _ => objects.delivered += 1,
            }
            claimed.push(((weight, judged.take(self, object, item)), object, item));
        }
        objects.unhealthy = judged.unwell;
        let lingering = self.lingering_of(id);
        let leaving = Leaving {
            held: lingering.iter().filter(|(weight, _)| *weight == 2).count(),
            others: lingering.iter().filter(|(weight, _)| *weight != 2).count(),
        };
        claimed.sort_by_key(|(weight, ..)| *weight);
        claimed.truncate(KEPT_OBJECTS);
        let mut claimed: Vec<((u8, bool), ClaimedObject)> =
            claimed.into_iter().map(|(weight, object, item)| (weight, self.told(object, item))).collect();
        claimed.extend(lingering.into_iter().map(|(weight, told)| ((weight, true), told)));
        claimed.sort_by_key(|(weight, _)| *weight);
        claimed.truncate(KEPT_OBJECTS);
        let (along, of_dependents) = self.along_with(id);
        let mut dependents: Vec<((u8, bool), &ObjectId, Option<&Item>)> = along
            .iter()
            .map(|object| (object, self.items.get(object).map(Box::as_ref)))
            .map(|(object, item)| ((item.map_or(1, weight), judged.take(self, object, item)), object, item))
            .collect();
        dependents.sort_by_key(|(weight, ..)| *weight);
        let along = dependents.first().map_or(3, |((weight, _), ..)| *weight);
        dependents.truncate(KEPT_OBJECTS);
        let mut lost = Vec::new();
        for object in self.claims.matched(id) {
            objects.matched += 1;
            if self.claims.holder(object) == Some(id) {
                continue;
            }
            objects.lost += 1;
            if lost.len() < KEPT_OBJECTS
                && let Some(outcome) = self.claims.outcome(object)
                && let Some((_, why)) = outcome.lost.iter().find(|(loser, _)| loser == id)
            {
                let winner = outcome.winner.as_ref().map(|(winner, _)| winner);
                lost.push(RivalClaim {
                    object: object.clone(),
                    to: winner.map(ToString::to_string).unwrap_or_default(),
                    reason: why.code().to_owned(),
                    message: why.message(winner),
                });
            }
        }
        let mut problems: Vec<PolicyProblem> = policy.problems.clone();
        problems.extend(followed.problems.iter().cloned());
        // What matches nothing can't be told before everything is listed.
        if self.is_listed_for(id) {
            problems.extend(self.claims.problems(id));
        }
        problems.extend(self.not_listed(id));
        problems.extend(of_dependents);
        problems.extend(self.not_reported(id));
        problems.extend(self.policies_not_listed());
        let rollouts = self.rollouts(id);
        let ready = staged(ready(&objects, along, &leaving, &problems), &rollouts);
        let now = [judged.mark_old(ready)].into_iter().chain(judged.condition()).collect();
        let before = conditions_of(&followed.status);
        let status = PropagationPolicyStatus {
            observed_generation: followed.generation,
            conditions: conditions::settle(&before, now, self.ctx.now()),
            objects,
            claimed: claimed.into_iter().map(|(_, told)| told).collect(),
            dependents: dependents.into_iter().map(|(_, object, item)| self.told(object, item)).collect(),
            lost,
            rollouts,
            problems,
        };
        to_value(&status)
    }

    /// An object with its places, how far it is there and how well.
    fn told(&self, object: &ObjectId, item: Option<&Item>) -> ClaimedObject {
        let mut told = told(object, item);
        self.tell_health(&mut told);
        told
    }

    /// Kinds that a policy selects and that the hub doesn't list.
    fn not_listed(&self, id: &PolicyId) -> Vec<PolicyProblem> {
        let Some(policy) = self.claims.policy(id) else { return Vec::new() };
        let selectors = policy.selectors.as_slice().iter();
        let failing = selectors.filter_map(|selector| {
            let topic = super::watch::Topic::Objects(selector.group.clone(), selector.kind.clone());
            let why = self.watches.failing(&topic)?;
            Some(PolicyProblem {
                severity: Severity::Warning,
                reason: "CannotList".to_owned(),
                path: selector.path.clone(),
                message: format!(
                    "the hub doesn't list {}: {why}; may the controller's account list and watch them? (referenced.resources and referenced.secrets of the chart)",
                    selector.kind
                ),
            })
        });
        failing.collect()
    }

    /// Kinds of policies that the hub doesn't list.
    fn policies_not_listed(&self) -> Vec<PolicyProblem> {
        let failing = self.unlisted_policies().map(|(kind, group, why)| {
            let (reason, then) = if kind.overrides() {
                (OVERRIDES_UNKNOWN, "until they can be read, nothing that they may be about changes on members")
            } else {
                ("CannotListPolicies", "what they took stays as it is, and they take nothing new")
            };
            PolicyProblem {
                severity: Severity::Warning,
                reason: reason.to_owned(),
                path: String::new(),
                message: format!(
                    "the hub doesn't list {}.{group}: {why}; {then}. May the controller's account list and watch them?",
                    kind.plural()
                ),
            }
        });
        failing.collect()
    }

    /// Whether the kinds that a policy selects are listed, as far as the hub serves them.
    pub(super) fn is_listed_for(&self, id: &PolicyId) -> bool {
        let Some(policy) = self.claims.policy(id) else { return false };
        policy.selectors.as_slice().iter().all(|selector| {
            let topic = super::watch::Topic::Objects(selector.group.clone(), selector.kind.clone());
            self.watches.is_listed(&topic)
                || self.served.resource(&selector.group, "", &selector.kind).is_none()
        })
    }

    fn override_status(&self, id: &PolicyId) -> Option<Value> {
        let (followed, policy) = (self.policies.get(id)?, self.overrides.get(id)?);
        let name = id.to_string();
        let matched = self.distributed(&policy.selectors);
        let mut objects: Vec<(bool, OverriddenObject)> = Vec::new();
        let (mut broken, mut changed) = (0_usize, 0_usize);
        for object in &matched {
            let Some(done) = self.items.get(object).and_then(|item| item.overridden.get(&name)) else {
                continue;
            };
            changed += 1;
            let told = done.told();
            let quiet = told.is_none();
            broken += usize::from(!quiet);
            let (reason, message) = told.unwrap_or_default();
            let clusters = done.clusters.iter().cloned().collect();
            objects.push((quiet, OverriddenObject { object: object.clone(), clusters, reason, message }));
        }
        objects.sort_by_key(|(quiet, _)| *quiet);
        objects.truncate(KEPT_OBJECTS);
        let error = policy.problems.iter().find(|problem| problem.severity == Severity::Error);
        let misnamed = policy.misnamed(&self.fleet);
        let ready = match error {
            Some(problem) => {
                Condition::new("Ready", false, "Invalid", format!("{}: {}", problem.path, problem.message))
            }
            None if matched.is_empty() => Condition::new(
                "Ready",
                false,
                "MatchesNothing",
                "no object that a policy distributes is selected; see spec.resourceSelectors",
            ),
            None if broken > 0 => Condition::new(
                "Ready",
                false,
                "NotAsWritten",
                format!(
                    "{broken} of {} objects aren't changed as it says; see status.objects",
                    matched.len()
                ),
            ),
            None if changed == 0 => Condition::new(
                "Ready",
                false,
                "ChangesNothing",
                match misnamed.first() {
                    None if !policy.problems.is_empty() => {
                        let said = policy.problems.iter();
                        let said = said.map(|problem| format!("{}: {}", problem.path, problem.message));
                        said.collect::<Vec<_>>().join("; ")
                    }
                    Some(problem) => format!(
                        "no rule is about a cluster that the selected objects go to; {}: {}",
                        problem.path, problem.message
                    ),
                    None => "no rule is about a cluster that the selected objects go to; see spec.overrideRules[*].targetCluster".to_owned(),
                },
            ),
            None => Condition::new(
                "Ready",
                true,
                "Applied",
                format!("{changed} of {} objects are changed", matched.len()),
            ),
        };
        let before = conditions_of(&followed.status);
        let status = OverridePolicyStatus {
            observed_generation: followed.generation,
            conditions: conditions::settle(&before, vec![ready], self.ctx.now()),
            matched: matched.len() as u64,
            objects: objects.into_iter().map(|(_, told)| told).collect(),
            problems: policy.problems.iter().cloned().chain(misnamed).collect(),
        };
        to_value(&status)
    }
}

fn to_value(status: &impl Serialize) -> Option<Value> {
    serde_json::to_value(status).ok()
}

fn conditions_of(status: &Value) -> Vec<Condition> {
    let before = status.get("conditions").cloned().unwrap_or_else(|| json!([]));
    serde_json::from_value(before).unwrap_or_default()
}

/// How much an object weighs: failed 0, pending 1, held 2, delivered 3; the least of its places.
pub(super) fn weight(item: &Item) -> u8 {
    let place = |place: &Place| match phase(place) {
        PlacePhase::Failed => 0,
        PlacePhase::Pending | PlacePhase::Leaving => 1,
        PlacePhase::Held => 2,
        PlacePhase::Delivered => 3,
    };
    let weight = item.places.values().map(|there| place(there)).min().unwrap_or(3);
    match &item.shortfall {
        Some((reason, _)) => weight.min(match reason.as_str() {
            // What is being asked is on its way.
            MEASURING => 1,
            NOT_DIVIDED | NOT_DIVIDED_ANEW => 3,
            NOT_CHOSEN => 2,
            _ => 0,
        }),
        None if item.places.is_empty() => 1,
        None => weight,
    }
}

/// An object with its places.
pub(super) fn told(object: &ObjectId, item: Option<&Item>) -> ClaimedObject {
    let mut told = ClaimedObject {
        object: object.clone(),
        places: Vec::new(),
        reason: String::new(),
        message: String::new(),
    };
    let Some(item) = item else { return told };
    for (cluster, place) in &item.places {
        let mut told_place = told_of(cluster, place);
        if told_place.phase == PlacePhase::Pending && told_place.reason.is_empty() {
            told_place.reason = "OnItsWay".to_owned();
            told_place.message = on_its_way(place, place.listed == Listed::Yes).to_owned();
        }
        told.places.push(told_place);
    }
    if let Some((reason, message)) = &item.shortfall {
        told.reason.clone_from(reason);
        told.message.clone_from(message);
    }
    told
}

/// What is to be told of a place beside its phase, where something is the matter with it.
fn matter(place: &Place) -> Option<&Matter> {
    place.kept.as_ref().or(place.matter.as_ref()).filter(|_| !place.met || place.kept.is_some())
}

/// How far a place is.
fn phase(place: &Place) -> PlacePhase {
    let leaves = place.leaves();
    match matter(place) {
        _ if place.held.is_some() => PlacePhase::Held,
        Some(matter) if matter.lasts && !leaves => PlacePhase::Failed,
        None if place.waits.is_some() => PlacePhase::Leaving,
        _ if leaves => PlacePhase::Leaving,
        _ if place.met && place.kept.is_none() => PlacePhase::Delivered,
        _ => PlacePhase::Pending,
    }
}

/// What a place that nothing hinders waits for.
fn on_its_way(place: &Place, recorded: bool) -> &'static str {
    if matches!(place.goal, Goal::Stay) {
        "what it is to be isn't decided yet"
    } else if !recorded {
        "it is put on record before it is sent"
    } else if place.under_way.is_some() {
        "it is being sent"
    } else if place.queued {
        "it waits for its turn: only so many requests go to a cluster at once"
    } else if place.last.is_some() {
        "it was sent, and the cluster hasn't shown it yet"
    } else {
        "it is sent next"
    }
}

fn told_of(cluster: &str, place: &Place) -> ObjectPlace {
    let mut told = ObjectPlace::new(cluster, phase(place));
    let standing = match &place.goal {
        Goal::Stand(standing) => Some(standing),
        Goal::Carried(standing) => standing.as_ref(),
        Goal::Stay | Goal::Leave { .. } => None,
    };
    told.replicas = standing.and_then(|standing| standing.replicas).and_then(|n| i64::try_from(n).ok());
    let matter = matter(place);
    if let Some(matter) = matter {
        told.reason.clone_from(&matter.reason);
        told.message = matter.message.chars().take(LONGEST).collect();
    } else if let Some(waits) = &place.waits {
        told.reason = "Waits".to_owned();
        told.message.clone_from(waits);
    } else if let Some(unwell) = &place.unwell {
        told.reason.clone_from(&unwell.reason);
        told.message = unwell.message.chars().take(LONGEST).collect();
    } else if let Some(autoscaler) = &place.scaled_by {
        told.reason = "ReplicasLeft".to_owned();
        told.message = format!(
            "HorizontalPodAutoscaler {autoscaler} decides there how many replicas it has; spec.replicas of the hub is for clusters that have none"
        );
    } else if !place.met && matches!(place.goal, Goal::Carried(_)) {
        told.reason = "Staged".to_owned();
        told.message = "it rolls out by a Workflow; see status.rollouts, and where that is done, whether any step of the Workflow delivers here".to_owned();
    }
    if let Some(hold) = place.held.filter(|_| matter.is_none()) {
        told.reason = hold.reason().to_owned();
        told.message = hold.message(cluster);
    }
    told
}

/// The same of what rolls out by a Workflow: what that waits for is what is waited for.
fn staged(ready: Condition, rollouts: &[Rollout]) -> Condition {
    if !["Delivered", "Pending", "Held", "Leaving", "MatchesNothing"].contains(&ready.reason.as_str()) {
        return ready;
    }
    let Some(rollout) = rollouts.iter().find(|rollout| rollout.reason != "StagedDone") else { return ready };
    let run = if rollout.run.is_empty() { String::new() } else { format!(", run {}", rollout.run) };
    let message =
        format!("Application {}/{}{run}: {}", rollout.namespace, rollout.application, rollout.message);
    Condition::new("Ready", false, &rollout.reason, message)
}

fn counted(objects: usize) -> String {
    if objects == 1 { "1 object".to_owned() } else { format!("{objects} objects") }
}

/// How many objects a policy had that are still on clusters.
struct Leaving {
    held: usize,
    others: usize,
}

impl Leaving {
    fn condition(&self) -> Option<Condition> {
        let no = |reason: &str, message: String| Condition::new("Ready", false, reason, message);
        if self.others > 0 {
            let message =
                format!("what it had leaves clusters: {}; see status.claimed", counted(self.others));
            return Some(no("Leaving", message));
        }
        let message =
            || format!("what it had is held on clusters: {}; see status.claimed", counted(self.held));
        (self.held > 0).then(|| no("Held", message()))
    }
}

/// Whether everything is where it is to be, in one line.
///
/// `along` weighs what goes along with the objects, as [`weight`] does.
fn ready(objects: &ObjectCounts, along: u8, leaving: &Leaving, problems: &[PolicyProblem]) -> Condition {
    let no = |reason: &str, message: String| Condition::new("Ready", false, reason, message);
    let of = |count: u64| format!("{count} of {}", objects.claimed);
    if let Some(problem) = problems.iter().find(|problem| problem.severity == Severity::Error) {
        return no("Invalid", format!("{}: {}; nothing new is delivered", problem.path, problem.message));
    }
    if let Some(problem) = problems.iter().find(|problem| problem.reason == "CannotList") {
        return no("CannotList", format!("{}: {}", problem.path, problem.message));
    }
    if let Some(problem) = problems.iter().find(|problem| problem.reason == OVERRIDES_UNKNOWN) {
        return no(OVERRIDES_UNKNOWN, problem.message.clone());
    }
    let leaving = leaving.condition();
    if objects.claimed == 0
        && let Some(leaving) = leaving
    {
        return leaving;
    }
    if objects.matched == 0 {
        return no("MatchesNothing", "no object is selected; see status.problems".to_owned());
    }
    if objects.claimed == 0 {
        return no("Lost", "others take every object that is selected; see status.lost".to_owned());
    }
    if objects.failed > 0 {
        return no(
            "Failed",
            format!("{} objects are hindered somewhere; see status.claimed", of(objects.failed)),
        );
    }
    if along == 0 {
        return no("Failed", "something that goes along is hindered; see status.dependents".to_owned());
    }
    if objects.pending > 0 {
        return no(
            "Pending",
            format!("{} objects are on their way; see status.claimed", of(objects.pending)),
        );
    }
    if along == 1 {
        return no("Pending", "something that goes along is on its way; see status.dependents".to_owned());
    }
    if objects.held > 0 {
        return no("Held", format!("{} objects are held somewhere; see status.claimed", of(objects.held)));
    }
    if let Some(leaving) = leaving {
        return leaving;
    }
    let message = match objects.claimed {
        1 => "1 object is where it is to be".to_owned(),
        more => format!("{more} objects are where they are to be"),
    };
    Condition::new("Ready", true, "Delivered", message)
}
