//! Policies that name a Workflow: what they distribute rolls out by an Application of the distribution's own.
//!
//! ```text
//!  settle ─► stage: who carries an object, on record ─► tend: one Application for each policy and namespace
//!                                                          │  written: its engine plans, asks, delivers, deletes
//!              back: what it owned is on record here ◄─────┘  given up: policy gone, no Workflow, object another's
//! ```
//!
//! An object is acted on by its Application or by the distribution, never by both: [`fleet_api::Remembered::stage`] says by
//! which, is on record before the Application names the object, and is taken off only after the Application is gone and its
//! inventory is on record here. Both have one owner label and one field manager, so what passes from one to the other stays
//! the same object. An Application that is deleted, by whomever, deletes nothing on members.

mod along;
mod back;
mod told;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleet_api::propagation::{GROUPS, PolicyKind};
use fleet_api::{Application, ObjectId, Phase, names, staged};
use fleet_json::ContentHash;
use fleet_placement::Shortfall;
use fleet_propagation::{Policy, PolicyId};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

pub(super) use self::back::Had;
use super::choose::{Choice, is_scheduling_suspended};
use super::definitions::definition_of;
use super::distributor::Distributor;
use super::items::{Goal, Item, Items, Matter};
use super::policies::read_recorded;
use super::render::render;
use super::settle::{Leaves, Verdict};
use super::sources::Source;
use crate::context::AppKey;
use crate::resolve::{CANNOT_BE_STAGED, WITHOUT};

/// The wait after the hub refused a write.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// The Applications that carry something.
#[derive(Default)]
pub(super) struct Stages {
    /// What each carries.
    carried: BTreeMap<AppKey, BTreeSet<ObjectId>>,
    /// Whose each is.
    policies: BTreeMap<AppKey, PolicyId>,
    /// Those that are to be looked at, and when.
    due: BTreeMap<AppKey, Instant>,
    /// Those that are given up.
    back: BTreeSet<AppKey>,
    doing: BTreeMap<AppKey, Doing>,
    /// Our last write of each, until the cache shows another version than the one that it was made over.
    last: BTreeMap<AppKey, (Option<String>, Arc<Application>)>,
}

/// What is under way for an Application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// It is written, or deleted.
    Writing,
    /// What it owned is read.
    Reading,
    /// What it owned is being put on record.
    Recording,
    /// Its inventory goes, and it is let go.
    Finishing,
}

impl Stages {
    /// An Application is to be looked at.
    pub(super) fn touch(&mut self, key: &AppKey) {
        self.due.insert(key.clone(), Instant::now());
    }

    fn touch_later(&mut self, key: &AppKey) {
        self.due.entry(key.clone()).or_insert_with(|| Instant::now() + AFTER_REFUSAL);
    }

    /// When one is due that nothing is under way for.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.iter().filter(|(key, _)| !self.doing.contains_key(*key)).map(|(_, at)| *at).min()
    }

    /// What was on record at the beginning.
    pub(super) fn carries(&mut self, id: &ObjectId, stage: &str, policy: Option<PolicyId>) {
        let key = (id.namespace.clone(), stage.to_owned());
        self.carried.entry(key.clone()).or_default().insert(id.clone());
        if let Some(policy) = policy {
            self.policies.insert(key.clone(), policy);
        }
        self.touch(&key);
    }

    /// An Application that carries a policy has come, changed or gone. The objects that may have left somewhere.
    pub(super) fn application_seen(
        &mut self,
        key: &AppKey,
        application: Option<&Application>,
        items: &Items,
    ) -> Vec<ObjectId> {
        if let Some(policy) = application.and_then(policy_of) {
            self.policies.insert(key.clone(), policy);
        }
        self.touch(key);
        let leaves = |id: &&ObjectId| {
            let places = items.get(id).into_iter().flat_map(|item| item.places.values());
            places.into_iter().any(|place| matches!(place.goal, Goal::Carried(None)))
        };
        self.carried.get(key).into_iter().flatten().filter(leaves).cloned().collect()
    }

    /// The policy that an Application carries.
    pub(super) fn policy(&self, key: &AppKey) -> Option<&PolicyId> {
        self.policies.get(key)
    }

    /// Whether it is one of those.
    pub(super) fn knows(&self, key: &AppKey) -> bool {
        self.policies.contains_key(key)
    }

    /// A policy has changed, or is gone.
    pub(super) fn policy_changed(&mut self, id: &PolicyId) {
        let its: Vec<AppKey> =
            self.policies.iter().filter(|(_, policy)| *policy == id).map(|(key, _)| key.clone()).collect();
        its.iter().for_each(|key| self.touch(key));
    }
}

/// The Application that carries what a policy distributes in a namespace.
pub(super) fn name_of(id: &PolicyId) -> String {
    let whole = serde_json::json!([id.group, id.kind.as_str(), id.namespace, id.name]);
    names::derived_name(&id.name, &ContentHash::of_value(&whole).short())
}

/// The policy that an Application carries.
fn policy_of(application: &Application) -> Option<PolicyId> {
    let owner = staged::policy_of(application)?;
    let (group, _) = owner.api_version.split_once('/')?;
    let kind = PolicyKind::ALL.into_iter().find(|kind| kind.as_str() == owner.kind)?;
    let namespace =
        if kind.namespaced() { application.namespace().unwrap_or_default() } else { String::new() };
    Some(PolicyId::of_group(kind, group, &namespace, &owner.name))
}

/// Whether its newest run is through, for what it says now.
fn is_through(application: &Application) -> bool {
    let status = application.status.as_ref();
    status.is_some_and(|status| {
        Some(status.observed_generation) == application.metadata.generation
            && matches!(status.status, Phase::Running | Phase::Unhealthy)
            && status.workflow.as_ref().is_some_and(|workflow| workflow.finished)
    })
}

impl Distributor {
    /// Settles an object that an Application carries, or is to carry. False where that isn't so.
    pub(super) fn settle_staged(&mut self, id: &ObjectId, verdict: &Verdict) -> bool {
        let carried = self.items.get(id).and_then(|item| item.remembered.stage.clone());
        match (carried, verdict) {
            (None, Verdict::Placed(policy, source)) if policy.spec.workflow.is_some() => {
                if id.namespace.is_empty() {
                    self.refuse_to_stage(id, policy);
                } else {
                    self.stage(id, policy, source);
                }
                true
            }
            (None, Verdict::Follows(source)) => match self.carrier_of(id) {
                Some(policy) => {
                    self.stage_along(id, &policy, source);
                    true
                }
                None => false,
            },
            (None, _) => false,
            (Some(_), Verdict::Unknown) => true,
            (Some(stage), Verdict::Placed(policy, source))
                if policy.spec.workflow.is_some() && name_of(&policy.id) == stage =>
            {
                self.stage(id, policy, source);
                true
            }
            (Some(stage), Verdict::Placed(..)) => {
                self.give_up(id, &stage);
                true
            }
            (Some(stage), Verdict::Follows(source)) => {
                match self.carrier_of(id) {
                    Some(policy) => self.stage_along(id, &policy, source),
                    None => self.give_up(id, &stage),
                }
                true
            }
            (Some(stage), Verdict::Stays(matter)) => {
                if let Some(item) = self.items.get_mut(id) {
                    item.places.values_mut().for_each(|place| place.kept = Some(matter.clone()));
                }
                self.stages.touch(&(id.namespace.clone(), stage));
                self.tell_of(id);
                true
            }
            (Some(stage), Verdict::Leaves(why)) => {
                let Some(item) = self.items.get(id) else { return false };
                let policy = item.remembered.policy.as_ref().and_then(read_recorded);
                let policy = policy.and_then(|policy| self.claims.policy(&policy)).cloned();
                let policy =
                    policy.filter(|policy| policy.spec.workflow.is_some() && name_of(&policy.id) == stage);
                // The Application knows one rule for everything that it doesn't have any more.
                let alike =
                    matches!(why, Leaves::Unclaimed) || item.remembered.kept == item.remembered.preserved;
                match policy {
                    Some(policy) if policy.acts && alike => self.leave_by_stage(id, &stage),
                    // What has errors takes nothing away.
                    Some(policy) if !policy.acts => self.stages.touch(&(id.namespace.clone(), stage)),
                    Some(_) | None => self.give_up(id, &stage),
                }
                true
            }
        }
    }

    /// What has no namespace has no Application that could carry it.
    fn refuse_to_stage(&mut self, id: &ObjectId, policy: &Arc<Policy>) {
        let mut item = self.items.remove(id).unwrap_or_default();
        item.is_had_by(&policy.id);
        let message = format!("{id} has no namespace, so it can't roll out by a Workflow; {WITHOUT}");
        for place in item.places.values_mut() {
            place.goal = Goal::Stay;
            place.kept = Some(Matter::lasting(CANNOT_BE_STAGED, message.clone()));
        }
        item.shortfall = Some((CANNOT_BE_STAGED.to_owned(), message));
        self.settled(id, item);
    }

    /// An object goes where its policy says, when its Application says.
    fn stage(&mut self, id: &ObjectId, policy: &Arc<Policy>, source: &Arc<Source>) {
        let mut item = self.items.remove(id).unwrap_or_default();
        item.remembered.dependent = false;
        if is_scheduling_suspended(policy) && item.remembered.shares.is_empty() {
            self.keep_placed(id, &mut item);
        }
        match self.choose(id, &mut item, policy, source, &BTreeMap::new()) {
            Choice::Asks => {
                self.begin_to_carry(id, &mut item, policy);
                self.settled(id, item);
                return;
            }
            Choice::Made(None | Some(Shortfall::NoRoom { .. })) => {}
            Choice::Made(Some(_)) => self.keep_placed(id, &mut item),
        }
        self.carry(id, item, policy, source);
    }

    /// An object is a policy's Application's to carry.
    fn begin_to_carry(&mut self, id: &ObjectId, item: &mut Item, policy: &Policy) {
        let stage = name_of(&policy.id);
        if item.remembered.stage.is_none() {
            item.remembered.stage = Some(stage.clone());
            // The Application names it once this is on record.
            self.ledger.touch(id, true);
        }
        item.is_had_by(&policy.id);
        item.remembered.kept = !policy.spec.prunes();
        item.remembered.preserved = policy.spec.preserve_resources_on_deletion;
        self.stages.carries(id, &stage, Some(policy.id.clone()));
    }

    /// What an object is to be on each cluster that was chosen for it, once its Application has rolled out.
    fn carry(&mut self, id: &ObjectId, mut item: Box<Item>, policy: &Arc<Policy>, source: &Arc<Source>) {
        self.begin_to_carry(id, &mut item, policy);
        let holds =
            self.policies.get(&policy.id).map(|followed| Arc::clone(&followed.holds)).unwrap_or_default();
        let key = (id.namespace.clone(), name_of(&policy.id));
        let wanted = item.remembered.shares.clone();
        item.remembered.told =
            wanted.iter().filter_map(|(cluster, share)| Some((cluster.clone(), (*share)?))).collect();
        for cluster in wanted.keys() {
            item.places.entry(cluster.clone()).or_default().list();
        }
        item.places.retain(|_, place| place.may_have());
        item.overridden.clear();
        let overrides = self.overrides.about(&source.facts);
        let broken = overrides.iter().find(|(policy, _)| !policy.acts).map(|(policy, _)| policy.id.clone());
        for cluster in item.at().cloned().collect::<Vec<_>>() {
            let share = wanted.get(&cluster).copied().flatten();
            let made = wanted.contains_key(&cluster).then(|| match &broken {
                Some(broken) => {
                    let message = format!(
                        "{broken} has errors, so what it would change can't be told; see its problems"
                    );
                    Err((broken.to_string(), "InvalidOverride".to_owned(), message))
                }
                None => render(source, share, &overrides, &cluster, &self.fleet).map_err(|error| {
                    let problem = *error.0;
                    let message = format!("{}: {}", problem.place, problem.message);
                    (problem.policy, problem.code.to_owned(), message)
                }),
            });
            let mut kept = None;
            let mut standing = None;
            match made {
                None => {}
                Some(Ok(rendered)) => {
                    let (made, changed_by, warnings) = rendered.parts(false, share);
                    item.was_overridden(&cluster, changed_by, &warnings);
                    standing = Some(made);
                }
                Some(Err((policy, code, message))) => {
                    item.overridden.entry(policy).or_default().fails(&cluster, &code, message.clone());
                    kept = Some(Matter::lasting(&code, message));
                }
            }
            let place = item.places.entry(cluster.clone()).or_default();
            if let (Some(_), Goal::Carried(before)) = (&kept, &place.goal) {
                standing.clone_from(before);
            }
            place.held = holds.holds(&cluster);
            place.waits = None;
            place.matter = None;
            place.kept = kept;
            place.goal = Goal::Carried(standing);
        }
        self.forget_what_left(id, &mut item, &key);
        self.settled(id, item);
    }

    /// Nobody wants an object any more: its Application takes it away.
    fn leave_by_stage(&mut self, id: &ObjectId, stage: &str) {
        let key = (id.namespace.clone(), stage.to_owned());
        let Some(mut item) = self.items.remove(id) else { return };
        item.shortfall = None;
        item.wake_at = None;
        item.overridden.clear();
        item.remembered.shares.clear();
        item.remembered.ceilings.clear();
        item.remembered.group = None;
        for place in item.places.values_mut() {
            place.kept = None;
            place.waits = None;
            place.goal = Goal::Carried(None);
        }
        self.forget_what_left(id, &mut item, &key);
        self.forget_gone(id, &mut item);
        if item.is_nowhere() {
            item.remembered.stage = None;
            if let Some(carried) = self.stages.carried.get_mut(&key) {
                carried.remove(id);
            }
        }
        self.stages.touch(&key);
        self.settled(id, item);
    }

    /// Forgets places that an object has left: its Application is through with a workflow that doesn't have them.
    fn forget_what_left(&mut self, id: &ObjectId, item: &mut Item, key: &AppKey) {
        let Some(application) = self.application(key).filter(|application| is_through(application)) else {
            return;
        };
        let placed = fleet_api::StagedPlacement::read(&application.spec).ok().flatten().unwrap_or_default();
        let names = application.spec.components.iter().filter(|component| written::names(component, id));
        let component = names.map(|component| component.name.clone()).next();
        for cluster in item.at().cloned().collect::<Vec<_>>() {
            let reached = component.as_ref().is_some_and(|component| placed.reaches(component, &cluster));
            if reached || item.remembered.shares.contains_key(&cluster) {
                continue;
            }
            let Ok(member) = self.ctx.members.get(&cluster) else { continue };
            if !member.observes([id].into_iter()) {
                self.watch_on(&cluster, id);
            } else if member.observed(id).is_none_or(|seen| seen.owner != self.owner()) {
                self.forget_place(id, item, &cluster);
                self.left_namespace(&cluster, id);
            }
        }
    }

    /// An object is to be the distribution's again, or another Application's: first the one that carries it is given up.
    fn give_up(&mut self, id: &ObjectId, stage: &str) {
        let key = (id.namespace.clone(), stage.to_owned());
        if let Some(item) = self.items.get_mut(id) {
            let message = format!("the Application {}/{stage} that carried it hands it back first", key.0);
            for place in item.places.values_mut() {
                place.kept = Some(Matter::passing("StagedReturning", message.clone()));
            }
        }
        self.stages.back.insert(key.clone());
        self.stages.touch(&key);
        self.tell_of(id);
    }

    /// An Application that carries something, as it stands on the hub.
    fn application(&self, key: &AppKey) -> Option<Arc<Application>> {
        let cached = self.ctx.hub.applications.get(&ObjectRef::new(&key.1).within(&key.0));
        if let Some((over, last)) = self.stages.last.get(key)
            && *over == cached.as_ref().and_then(|cached| cached.resource_version())
        {
            return Some(Arc::clone(last));
        }
        cached
    }

    /// Applications that are due are looked at, once everything that decides on them is settled.
    pub(super) fn tend(&mut self) {
        if !self.policies_listed() {
            return;
        }
        let now = Instant::now();
        let due =
            self.stages.due.iter().filter(|(key, at)| **at <= now && !self.stages.doing.contains_key(*key));
        let due: Vec<AppKey> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            if self.dirty.iter().any(|id| id.namespace == key.0) || self.dependents.any_stale() {
                continue;
            }
            self.stages.due.remove(&key);
            self.tend_one(&key);
        }
    }

    fn tend_one(&mut self, key: &AppKey) {
        let application = self.application(key);
        if application.as_ref().is_some_and(|application| staged::policy_of(application).is_none()) {
            tracing::warn!(
                namespace = key.0,
                application = key.1,
                "an Application of this name isn't the distribution's; rename it, so that the policy can roll out"
            );
            self.stages.touch_later(key);
            return;
        }
        if let Some(application) = &application
            && application.metadata.deletion_timestamp.is_some()
        {
            // Its own engine first ends what is under way.
            if !application.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER) {
                self.read_back(key);
            }
            return;
        }
        let policy = self.stages.policies.get(key).cloned();
        let known = policy.as_ref().and_then(|policy| self.claims.policy(policy)).cloned();
        let rolls_out = known.filter(|policy| policy.spec.workflow.is_some() && name_of(&policy.id) == key.1);
        let may_be_gone = policy.is_none_or(|policy| {
            let mut unlisted = self.unlisted_policies();
            if unlisted.any(|(kind, group, _)| kind == policy.kind && group == policy.group) {
                return false;
            }
            !GROUPS.contains(&policy.group.as_str())
                || self.served.standing(&definition_of(&policy)).is_some()
        });
        if rolls_out.is_none() && may_be_gone {
            self.stages.back.insert(key.clone());
        }
        match (application, rolls_out) {
            (Some(application), _) if self.stages.back.contains(key) => self.delete_stage(key, &application),
            (None, _) if self.stages.back.contains(key) => self.read_back(key),
            (application, Some(policy)) => self.write_stage(key, &policy, application.as_deref()),
            (_, None) => {}
        }
    }
}
