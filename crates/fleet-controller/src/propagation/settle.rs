//! One object: who has it, where it goes, what each place is to do. No I/O; everything that is looked at is in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleet_api::propagation::{ConflictResolution, GROUPS};
use fleet_api::{ObjectId, Remembered};
use fleet_json::Compact;
use fleet_members::{Hold, Reachability};
use fleet_placement::moves::{GoesFirst, Move, Share, at_once};
use fleet_placement::{Shortfall, next_step};
use fleet_propagation::{OverridePolicy, Policy, Precision};
use serde_json::Value;

use super::choose::{Choice, is_scheduling_suspended};
use super::definitions::{KIND_MISSING, definition_of};
use super::distributor::Distributor;
use super::held::replicas;
use super::items::{Goal, Item, Matter, OnRecord, Place};
use super::policies::read_recorded;
use super::render::render;
use super::sources::Source;
use super::trouble::is_released;
use super::watch::Topic;

/// Who doesn't answer for less than this may have missed a request or two: it is asked several times in between.
const SILENCE: Duration = Duration::from_secs(15);

/// Why an object isn't to be placed.
pub(super) enum Leaves {
    /// It isn't on the hub any more.
    Gone,
    /// No policy has it any more.
    Unclaimed,
}

/// What is to become of an object.
pub(super) enum Verdict {
    /// Not everything is listed that decides on it.
    Unknown,
    /// It leaves every cluster.
    Leaves(Leaves),
    /// Everything stays as it is.
    Stays(Matter),
    /// A policy places it.
    Placed(Arc<Policy>, Arc<Source>),
    /// It is where workloads need it.
    Follows(Arc<Source>),
}

impl Distributor {
    /// Decides what the places of an object are to do.
    pub(super) fn settle(&mut self, id: &ObjectId) {
        let verdict = self.verdict(id);
        if let Some(item) = self.items.get_mut(id) {
            item.at_rest = false;
        }
        if self.asks_for_definition(id, &verdict)
            || self.asks_who_takes(id, &verdict)
            || self.settle_staged(id, &verdict)
        {
            return;
        }
        let Some(mut item) = self.items.remove(id) else {
            let mut item = Box::<Item>::default();
            match verdict {
                Verdict::Placed(policy, source) => self.place(id, &mut item, &policy, &source),
                Verdict::Follows(source) => self.follow(id, &mut item, &source),
                Verdict::Unknown | Verdict::Leaves(_) | Verdict::Stays(_) => {
                    self.dependents.lingers(id, false);
                    self.wake_waiting(id);
                    return;
                }
            }
            self.settled(id, item);
            return;
        };
        match verdict {
            Verdict::Unknown => {}
            Verdict::Stays(matter) => {
                for place in item.places.values_mut() {
                    place.kept = Some(matter.clone());
                    // What a request under way takes away is on its way out, whatever is decided now.
                    let goes = matches!(place.under_way, Some(Goal::Leave { .. }));
                    if !(goes && matches!(place.goal, Goal::Leave { .. })) {
                        place.goal = Goal::Stay;
                    }
                }
            }
            Verdict::Leaves(why) => {
                let released = match why {
                    Leaves::Gone => item.remembered.preserved,
                    Leaves::Unclaimed => item.remembered.kept,
                };
                item.shortfall = None;
                item.wake_at = None;
                item.overridden.clear();
                item.remembered.shares.clear();
                item.remembered.ceilings.clear();
                item.remembered.group = None;
                item.remembered.orphaned = false;
                // A mask holds what is there, whatever happens to the object; without its policy there is no mask.
                let policy = item.remembered.policy.as_ref().and_then(read_recorded);
                let holds =
                    policy.and_then(|id| self.policies.get(&id)).map(|followed| Arc::clone(&followed.holds));
                for cluster in item.at().cloned().collect::<Vec<_>>() {
                    let hold = holds.as_ref().and_then(|holds| holds.holds(&cluster));
                    let place = item.places.entry(cluster.clone()).or_default();
                    place.kept = None;
                    place.held = hold;
                    place.waits = None;
                    if hold.is_some() {
                        self.stand_still(id, &mut item, &cluster, None);
                    } else {
                        item.remembered.held.remove(&cluster);
                        leave(place, released);
                    }
                }
            }
            Verdict::Placed(policy, source) => self.place(id, &mut item, &policy, &source),
            Verdict::Follows(source) => self.follow(id, &mut item, &source),
        }
        self.settled(id, item);
    }

    /// Takes an object back that was settled.
    pub(super) fn settled(&mut self, id: &ObjectId, mut item: Box<Item>) {
        self.forget_gone(id, &mut item);
        let new = !item.is_recorded();
        let remembered = OnRecord::of(&item.remembered);
        if new || item.on_record != remembered {
            // What a held place has isn't known from anything else; nor is what is to stay, once its policy is gone.
            let stays = item.on_record.stays != remembered.stays;
            item.on_record = remembered;
            self.ledger.touch(id, new || stays);
        }
        if let Some(at) = item.wake_at {
            self.wake_at(at, id);
        }
        let clusters: Vec<String> = item.places.keys().cloned().collect();
        self.items.insert(id.clone(), item);
        self.tell_dependents(id);
        for cluster in clusters {
            self.look(id, &cluster);
        }
        self.wake_waiting(id);
        self.part_if_nowhere(id);
        self.touch_report(id);
        self.tell_of(id);
    }

    /// What isn't in the fleet any more is nobody's: whoever took the cluster out said what becomes of its objects.
    pub(super) fn forget_gone(&mut self, id: &ObjectId, item: &mut Item) {
        let gone: Vec<String> =
            item.at().filter(|cluster| self.fleet.get(cluster).is_none()).cloned().collect();
        for cluster in &gone {
            self.forget_place(id, item, cluster);
        }
    }

    fn verdict(&self, id: &ObjectId) -> Verdict {
        if !self.policies_listed() {
            return Verdict::Unknown;
        }
        if let Some(matter) = self.hidden_policies(id) {
            return Verdict::Stays(matter);
        }
        let holder = self.claims.holder(id).and_then(|holder| self.claims.policy(holder));
        let topic = Topic::Objects(id.group().to_owned(), id.kind.clone());
        let watched = self.watches.topics().any(|watched| *watched == topic);
        if watched && !self.watches.is_listed(&topic) {
            return Verdict::Unknown;
        }
        let Some(source) = self.sources.get(id).filter(|source| !source.deleting) else {
            // A kind that nobody selects any more isn't watched: its policy let it go.
            return self.lets_go(id, if watched { Leaves::Gone } else { Leaves::Unclaimed });
        };
        match holder {
            None => match self.is_followed(id, source) {
                None => Verdict::Unknown,
                Some(true) => Verdict::Follows(Arc::clone(source)),
                Some(false) => self.lets_go(id, Leaves::Unclaimed),
            },
            Some(policy) if !policy.acts => Verdict::Stays(Matter::lasting(
                "PolicyInvalid",
                format!("{} has errors, so what is there stays as it is; see its problems", policy.id),
            )),
            Some(policy) => Verdict::Placed(Arc::clone(policy), Arc::clone(source)),
        }
    }

    /// Why an object stays as it is since policies can't be listed that may be about it.
    fn hidden_policies(&self, id: &ObjectId) -> Option<Matter> {
        let recorded = self.items.get(id).and_then(|item| item.remembered.policy.as_ref());
        let recorded = recorded.and_then(read_recorded);
        let about = self.unlisted_policies().find(|(kind, group, _)| {
            let has = recorded.as_ref().is_some_and(|policy| policy.kind == *kind && policy.group == *group);
            has || (kind.overrides() && !(kind.namespaced() && id.namespace.is_empty()))
        });
        about.map(|(kind, group, why)| {
            let message =
                format!("{}.{group} can't be listed: {why}; it stays as it is until they can", kind.plural());
            Matter::lasting("CannotListPolicies", message)
        })
    }

    /// An object leaves; unless its policy went with the definition of its kind, and nobody decided on the object.
    fn lets_go(&self, id: &ObjectId, why: Leaves) -> Verdict {
        let item = self.items.get(id);
        let policy = item.and_then(|item| item.remembered.policy.as_ref()).and_then(read_recorded);
        let went = policy.filter(|policy| {
            let orphaned = item.is_some_and(|item| item.remembered.orphaned);
            GROUPS.contains(&policy.group.as_str())
                && (self.served.standing(&definition_of(policy)).is_none()
                    || (orphaned && self.policies.get(policy).is_none()))
        });
        let Some(policy) = went else { return Verdict::Leaves(why) };
        let message = format!(
            "{policy} had it, and went with the definition of its kind, so what is there stays until a policy takes it; install the definition again, then the policy"
        );
        Verdict::Stays(Matter::lasting(KIND_MISSING, message))
    }

    /// What a policy says becomes of what it lets go, as it is taken up: what it lets go with the same edit, or before all of
    /// it is settled, isn't placed by it again.
    pub(super) fn says_what_stays(&mut self, policy: &Policy, had: &[ObjectId]) {
        for id in had {
            let dependent = self.items.get(id).is_some_and(|item| item.remembered.dependent);
            let needing = if dependent { self.policies_needing(id) } else { BTreeSet::new() };
            let others = needing.iter().filter(|other| **other != policy.id);
            let others: Vec<&Arc<Policy>> = others.filter_map(|other| self.claims.policy(other)).collect();
            let keeps = |policy: &Policy| !policy.spec.prunes();
            let preserves = |policy: &Policy| policy.spec.preserve_resources_on_deletion;
            let kept = keeps(policy) || others.iter().any(|other| keeps(other));
            let preserved = preserves(policy) || others.iter().any(|other| preserves(other));
            // One that has errors takes nothing away, and who else needed something isn't known after a restart.
            let adds = !policy.acts || dependent && needing.is_empty();
            let Some(item) = self.items.get_mut(id) else { continue };
            item.remembered.kept = kept || adds && item.remembered.kept;
            item.remembered.preserved = preserved || adds && item.remembered.preserved;
        }
    }

    /// Places an object by a policy, or asks first how much room there is.
    fn place(&mut self, id: &ObjectId, item: &mut Item, policy: &Arc<Policy>, source: &Source) {
        let Some(followed) = self.policies.get(&policy.id) else { return };
        let holds = Arc::clone(&followed.holds);
        item.is_had_by(&policy.id);
        item.remembered.dependent = false;
        item.remembered.kept = !policy.spec.prunes();
        item.remembered.preserved = policy.spec.preserve_resources_on_deletion;
        let mut trouble = self.troubles(id, item, policy, source);
        self.add_full(&mut trouble, item, policy);
        if is_scheduling_suspended(policy) && item.remembered.shares.is_empty() {
            self.keep_placed(id, item);
        }
        let Choice::Made(shortfall) = self.choose(id, item, policy, source, &trouble) else { return };
        // As long as nothing fits, what was placed stays; but what hasn't come by now doesn't come any more.
        let nothing_fits =
            shortfall.as_ref().filter(|shortfall| !matches!(shortfall, Shortfall::NoRoom { .. }));
        let nothing_fits =
            nothing_fits.map(|shortfall| Matter::passing(shortfall.code(), shortfall.to_string()));
        if nothing_fits.is_some() {
            self.keep_placed(id, item);
        }

        let wanted = item.remembered.shares.clone();
        let divided = wanted.values().any(Option::is_some);
        let units = |cluster: &str| wanted.get(cluster).map_or(0, |share| share.unwrap_or(1));
        let asked = match shortfall {
            // What finds no room is asked for all the same: nothing goes for it before it does.
            Some(Shortfall::NoRoom { asked, .. }) => asked,
            _ if divided => wanted.values().flatten().sum(),
            _ => wanted.len() as u64,
        };
        let clusters: BTreeSet<String> = item.at().chain(wanted.keys()).cloned().collect();
        let held = |cluster: &str| holds.holds(cluster);
        let shares: BTreeMap<String, Share> = clusters
            .iter()
            .map(|cluster| {
                // What is on record may be older than what was sent last.
                let known = item.places.get(cluster).is_some_and(|place| place.last.is_some());
                let shown = if known { None } else { self.replicas_shown(id, cluster) };
                let told = shown.or_else(|| item.remembered.told.get(cluster).copied());
                // What leaves and never came is waited for by nobody.
                let there = item.is_at(cluster)
                    && (wanted.contains_key(cluster) || !self.is_absent(id, item, cluster));
                let assigned = match (divided, there) {
                    (_, false) => 0,
                    // Where it wasn't divided before, each has all.
                    (true, true) => told.or(source.replicas).unwrap_or(0),
                    (false, true) => 1,
                };
                let ready = if there && self.is_ready(id, item, cluster) {
                    known_ready(item, cluster, assigned, divided)
                } else {
                    0
                };
                let at_stake = if there { self.at_stake(id, cluster, assigned, divided) } else { 0 };
                let (held, member) = (held(cluster).is_some(), self.ctx.members.hold(cluster));
                let free = !held && member.is_none();
                let refused = !held && matches!(member, Some(Hold::NotAccepted));
                let given_up = divided && refused && !wanted.contains_key(cluster);
                (cluster.clone(), Share { assigned, ready, at_stake, wanted: units(cluster), free, given_up })
            })
            .collect();
        let limit = if divided { at_once(policy.rules.failover().max_moving, asked) } else { asked };
        // A Deployment gives up first what isn't ready.
        let unready_first = divided && id.kind == "Deployment" && id.group() == "apps";
        let goes_first = if unready_first { GoesFirst::Unready } else { GoesFirst::Any };
        let step = next_step(&Move { asked, at_once: limit, goes_first, shares });
        let silent = clusters.iter().filter_map(|cluster| self.may_answer_within(cluster)).min();
        if let Some(wait) = silent.filter(|_| !step.settled) {
            self.wake_in(wait, id);
        }
        let told = std::mem::take(&mut item.remembered.told);
        item.places.retain(|cluster, _| clusters.contains(cluster));
        let overrides = self.overrides.about(&source.facts);
        item.overridden.clear();
        for cluster in clusters {
            let assigned = step.assigned.get(&cluster).copied().unwrap_or(0);
            let there = item.is_at(&cluster);
            let stays = wanted.contains_key(&cluster);
            if divided && assigned > 0 {
                item.remembered.told.insert(cluster.clone(), assigned);
            }
            let hold = held(&cluster);
            let comes_no_more = if stays { nothing_fits.is_some() } else { assigned > 0 };
            let held_there = hold.is_some() && item.remembered.left.contains_key(&cluster);
            if comes_no_more && !held_there && !self.has_come(id, item, &cluster) {
                let place = item.places.entry(cluster.clone()).or_default();
                place.goal = Goal::Stay;
                place.held = hold;
                place.kept = nothing_fits.clone().filter(|_| stays);
                place.waits = None;
                continue;
            }
            if assigned == 0 && !(stays && asked == 0) {
                if there {
                    // Until it is gone, it has what it was told before.
                    let before = told.get(&cluster).filter(|_| divided);
                    item.remembered.told.extend(before.map(|replicas| (cluster.clone(), *replicas)));
                    let released = item.remembered.kept || is_released(item, policy, &cluster);
                    let place = item.places.entry(cluster.clone()).or_default();
                    place.kept = None;
                    place.held = hold;
                    place.waits = None;
                    if !self.fleet.get(&cluster).is_none_or(|member| member.cluster.accepted) {
                        // Nothing is deleted there, not even if the hub accepts it again before this is sent: what is chosen
                        // then may leave it where it is.
                        place.goal = Goal::Stay;
                        let refused = Hold::NotAccepted;
                        place.kept = Some(Matter::passing(refused.reason(), refused.message(&cluster)));
                    } else if hold.is_none() {
                        item.remembered.held.remove(&cluster);
                        leave(place, released);
                    } else if !matches!(place.goal, Goal::Leave { .. }) {
                        self.stand_still(id, item, &cluster, None);
                    }
                } else if stays {
                    // It is to get it, and may not be written to, or waits for its turn in a move.
                    let place = item.places.entry(cluster.clone()).or_default();
                    place.goal = Goal::Stay;
                    place.held = hold;
                    let member = self.ctx.members.hold(&cluster);
                    place.kept = member.map(|hold| Matter::passing(hold.reason(), hold.message(&cluster)));
                    place.waits = step.waits.first().cloned();
                }
                continue;
            }
            let waits = (!stays).then(|| step.waits.first().cloned()).flatten();
            let replicas = divided.then_some(assigned);
            let takes_over = policy.spec.conflict_resolution == Some(ConflictResolution::Overwrite);
            self.stand(item, &cluster, takes_over, source, replicas, &overrides, hold);
            let unwell = self.told_of_full(item, policy, &cluster);
            let unwell = unwell.or_else(|| self.unwell(id, item, policy, &cluster));
            if let Some(place) = item.places.get_mut(&cluster) {
                place.waits = waits;
                place.unwell = unwell;
            }
        }
        // How its places are decides nothing more, unless the policy says that it does. What is held or kept is to be what was
        // delivered last, which may be on its way.
        let stands = |place: &Place| {
            matches!(place.goal, Goal::Stand(_)) && place.held.is_none() && place.kept.is_none()
        };
        item.at_rest = step.settled
            && item.shortfall.is_none()
            && policy.rules.failover().application.is_none()
            && item.places.values().all(|place| stands(place));
    }

    /// What stands on a cluster, unless it is held there.
    #[expect(clippy::too_many_arguments, reason = "it is a part of one function")]
    pub(super) fn stand(
        &self,
        item: &mut Item,
        cluster: &str,
        takes_over: bool,
        source: &Source,
        replicas: Option<u64>,
        overrides: &[(Arc<OverridePolicy>, Precision)],
        hold: Option<fleet_placement::Hold>,
    ) {
        let id = &source.facts.id;
        let place = item.places.entry(cluster.to_owned()).or_default();
        place.held = hold;
        place.kept = None;
        let broken = overrides.iter().find(|(policy, _)| !policy.acts).map(|(policy, _)| &policy.id);
        let rendered = match (broken, overrides) {
            (Some(broken), _) => {
                let message =
                    format!("{broken} has errors, so what it would change can't be told; see its problems");
                Err((broken.to_string(), "InvalidOverride", message.clone(), message))
            }
            (None, []) => Ok((item.plain.standing(source, replicas, takes_over), Vec::new(), Vec::new())),
            (None, _) => render(source, replicas, overrides, cluster, &self.fleet)
                .map(|rendered| rendered.parts(takes_over, replicas))
                .map_err(|error| {
                    let said = format!("{}: {}", error.0.place, error.0.message);
                    (error.0.policy.clone(), error.0.code, said, error.0.to_string())
                }),
        };
        if hold.is_some() {
            self.stand_still(id, item, cluster, rendered.ok().map(|(standing, ..)| standing));
            return;
        }
        item.places.entry(cluster.to_owned()).or_default().list();
        match rendered {
            Ok((standing, changed_by, warnings)) => {
                item.was_overridden(cluster, changed_by, &warnings);
                item.remembered.held.remove(cluster);
                let place = item.places.entry(cluster.to_owned()).or_default();
                let before = match &place.goal {
                    Goal::Stand(before) => Some(before),
                    Goal::Stay | Goal::Carried(_) | Goal::Leave { .. } => None,
                };
                if !before.is_some_and(|before| {
                    before.content == standing.content && before.takes_over == takes_over
                }) {
                    place.begin_anew();
                }
                place.goal = Goal::Stand(standing);
            }
            Err((policy, code, said, message)) => {
                item.overridden.entry(policy).or_default().fails(cluster, code, said);
                self.stand_still(id, item, cluster, None);
                let place = item.places.entry(cluster.to_owned()).or_default();
                place.kept = Some(Matter::lasting(code, message));
            }
        }
    }

    /// Whether an object was delivered to a cluster, as far as is known: that it is on record is no sign of it, and what was
    /// there by the record of another process may have been deleted since.
    fn has_come(&self, id: &ObjectId, item: &Item, cluster: &str) -> bool {
        item.places.get(cluster).is_some_and(|place| place.last.is_some())
            || self.observed(id, cluster).is_some()
            || item.remembered.left.contains_key(cluster) && !self.observes(id, cluster)
    }

    fn observes(&self, id: &ObjectId, cluster: &str) -> bool {
        self.ctx.members.get(cluster).is_ok_and(|member| member.observes([id].into_iter()))
    }

    /// The replicas that a cluster shows of what is there.
    fn replicas_shown(&self, id: &ObjectId, cluster: &str) -> Option<u64> {
        let seen = self.observed(id, cluster).filter(|seen| !seen.deleting)?;
        replicas(id, &seen).filter(|replicas| *replicas > 0)
    }

    /// Who chooses no clusters takes nothing away: what is on clusters and isn't placed there by now (it was about to leave, a
    /// mask held it there, or it went along with workloads) is placed where it is.
    pub(super) fn keep_placed(&self, id: &ObjectId, item: &mut Item) {
        let Remembered { shares, told, .. } = &item.remembered;
        let there = item.at().filter(|cluster| !shares.contains_key(*cluster));
        let there = there.filter(|cluster| !self.is_absent(id, item, cluster));
        let divided = shares.values().any(Option::is_some);
        let has = |cluster: &String| {
            let told = told.get(cluster).copied();
            told.or_else(|| self.replicas_shown(id, cluster).filter(|_| divided))
        };
        let kept = there.map(|cluster| (cluster.clone(), has(cluster)));
        // Where nothing tells how many it has, nothing can be kept as it is.
        let kept: Vec<_> = kept.filter(|(_, replicas)| !divided || replicas.is_some()).collect();
        item.remembered.shares.extend(kept);
    }

    /// Whether nothing was delivered to a cluster, and it shows that there is nothing.
    fn is_absent(&self, id: &ObjectId, item: &Item, cluster: &str) -> bool {
        !self.has_come(id, item, cluster) && self.observes(id, cluster)
    }

    /// How much of what a cluster has may be ready, although it isn't known to be as it was told: just after a change, and
    /// just after a restart, what was there before still runs.
    fn at_stake(&self, id: &ObjectId, cluster: &str, assigned: u64, divided: bool) -> u64 {
        let Ok(member) = self.ctx.members.get(cluster) else { return assigned };
        let Some(seen) = member.observed(id) else {
            // The first list is on its way, unless nobody may list there, or nobody answers: that is waited for by nobody.
            let answers = member.reachability() == Reachability::Reachable;
            let told_soon = !member.observes([id].into_iter())
                && member.blind(id).is_none()
                && (answers || self.may_answer_within(cluster).is_some());
            return if told_soon { assigned } else { 0 };
        };
        if seen.owner != self.owner() || seen.deleting {
            return 0;
        }
        if seen.health.is_healthy() {
            return assigned;
        }
        let shown = seen.shown.as_ref().map(Compact::read).unwrap_or_default();
        let running = shown.pointer("/status/readyReplicas").and_then(Value::as_u64).unwrap_or(0);
        if divided { running } else { running.min(1) }
    }

    /// For how long yet a cluster that doesn't answer is taken for one that only missed a request.
    fn may_answer_within(&self, cluster: &str) -> Option<Duration> {
        match self.ctx.members.get(cluster).ok()?.reachability() {
            Reachability::Reachable => None,
            Reachability::Unreachable { since, .. } => {
                SILENCE.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero())
            }
        }
    }

    /// Whether what a cluster was told to have is there and healthy.
    pub(super) fn is_ready(&self, id: &ObjectId, item: &Item, cluster: &str) -> bool {
        let Some(seen) = self.observed(id, cluster) else { return false };
        let sent = item.places.get(cluster).and_then(|place| place.last.as_ref());
        !seen.deleting
            && seen.health.is_healthy()
            // After a restart, what was told is known once it has been looked at.
            && sent.is_some_and(|sent| sent.content == seen.content)
    }
}

/// How many are ready and stay where everything is that was told: what is about to be told doesn't count before it is there, and
/// what a request under way takes away doesn't count any more, whatever was decided since.
fn known_ready(item: &Item, cluster: &str, assigned: u64, divided: bool) -> u64 {
    let Some(place) = item.places.get(cluster) else { return assigned };
    let last = place.last.as_ref().filter(|_| divided);
    let there = last.and_then(|last| last.object.read().pointer("/spec/replicas")?.as_u64());
    let left = match &place.under_way {
        Some(Goal::Leave { .. }) => Some(0),
        Some(Goal::Stand(standing)) => standing.replicas,
        Some(Goal::Stay | Goal::Carried(_)) | None => None,
    };
    [there, left].into_iter().flatten().fold(assigned, u64::min)
}

pub(super) fn leave(place: &mut Place, released: bool) {
    if !matches!(place.goal, Goal::Leave { released: before } if before == released) {
        place.begin_anew();
        place.goal = Goal::Leave { released };
    }
}
