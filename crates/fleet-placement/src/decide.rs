//! Where one object goes: the clusters, and the replicas of each.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::fleet::{Fleet, Member, Standing};
use crate::left_out::{LeftOut, LeftOutReason, Shortfall};
use crate::rules::PlacementRules;
use crate::shares::{Rule, Seat, share};
use crate::spread::{self, Candidate};
use crate::survey::{Survey, SurveyedGroup};
use crate::taints::{Taint, TaintEffect, Tolerated, tolerated};

/// An object that is to be placed, with what is known of where it is.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    /// Tells the object from others (its identity in words).
    pub seed: &'a str,
    /// The replicas that it asks for; `None` where it has none to divide.
    pub replicas: Option<u64>,
    /// What was decided last.
    pub placed: &'a Placed,
    /// How many more replicas of it a cluster has room for, where that is known.
    pub room: &'a dyn Fn(&str) -> Option<u64>,
    /// Trouble with it on clusters.
    pub trouble: &'a BTreeMap<String, Trouble>,
    /// Somebody asked to forget where it is, and to place it as if it were new.
    pub fresh: bool,
    /// The time.
    pub now: Timestamp,
}

/// What was decided for an object, kept between decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placed {
    /// The group of clusters that was taken, where the policy has groups.
    pub group: Option<String>,
    /// The clusters, with the replicas of each where they are divided.
    pub shares: BTreeMap<String, Option<u64>>,
    /// Clusters that it left by rule, with the most it may have there until somebody lets it return.
    pub ceilings: BTreeMap<String, u64>,
}

/// Trouble with an object on a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Since when it is unhealthy.
    pub unhealthy_since: Option<Timestamp>,
    /// How many replicas find no room there, and since when.
    pub stuck: Option<(u64, Timestamp)>,
}

/// Where an object goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// What to keep, and to hand in next time.
    pub placed: Placed,
    /// Members that the rules allow and that get nothing all the same. [`Decision::explain`] adds the others.
    pub left_out: Vec<LeftOut>,
    /// What isn't as it should be: with it, what was placed stays where it is.
    pub shortfall: Option<Shortfall>,
    /// Groups before the one taken, and why each didn't do.
    pub passed_groups: Vec<(String, Shortfall)>,
    /// When to decide again, if nothing happens before.
    pub wake_at: Option<Timestamp>,
}

/// Decides. The same input gives the same answer, and what was answered before is kept as far as the rules allow.
#[must_use]
pub fn decide(rules: &PlacementRules, survey: &Survey, fleet: &Fleet, demand: &Demand<'_>) -> Decision {
    let mut decision = decide_once(rules, survey, fleet, demand, rules.failover.moves_back);
    // A cluster that got nothing has had a place that another may take, and isn't where the object is any more: what is
    // decided is what would be decided next. What found no room did so with the shares of before.
    let mut before = demand.placed.clone();
    let moved = |trouble: &Trouble| Trouble { stuck: None, ..*trouble };
    let trouble = demand.trouble.iter().map(|(cluster, trouble)| (cluster.clone(), moved(trouble))).collect();
    for _ in fleet.members() {
        let shares = &decision.placed.shares;
        if decision.shortfall.is_some() || before.shares.keys().all(|cluster| shares.contains_key(cluster)) {
            break;
        }
        before.clone_from(&decision.placed);
        let again = Demand { placed: &before, trouble: &trouble, fresh: false, ..*demand };
        // What is left just now isn't gone back to.
        let next = decide_once(rules, survey, fleet, &again, false);
        if next.placed == before {
            break;
        }
        let wake_at = decision.wake_at.into_iter().chain(next.wake_at).min();
        decision = Decision { wake_at, ..next };
    }
    decision
}

fn decide_once(
    rules: &PlacementRules,
    survey: &Survey,
    fleet: &Fleet,
    demand: &Demand<'_>,
    moves_back: bool,
) -> Decision {
    let mut judge = Judge::new(rules, fleet, demand, moves_back);
    let wanted = demand.placed.group.as_ref().filter(|_| !demand.fresh);
    let mut order: Vec<&SurveyedGroup> = survey.groups.iter().collect();
    // The group that was taken is kept as long as it does.
    order.sort_by_key(|group| wanted.is_none() || group.name.as_ref() != wanted);
    let mut passed = Vec::new();
    let mut fallback: Option<Attempt> = None;
    for group in order {
        let attempt = judge.attempt(group);
        match &attempt.shortfall {
            None => return judge.decided(attempt, passed),
            Some(shortfall) => {
                passed.push((group.name.clone().unwrap_or_default(), shortfall.clone()));
                // Of groups that don't do, the one that was taken is kept, else the one that places most is taken.
                let kept = wanted.is_some() && attempt.group.as_ref() == wanted;
                let holds = |best: &Attempt| {
                    wanted.is_some() && best.group.as_ref() == wanted && !best.shares.is_empty()
                };
                if kept
                    || fallback.as_ref().is_none_or(|best| !holds(best) && attempt.places() > best.places())
                {
                    fallback = Some(attempt);
                }
            }
        }
    }
    let Some(fallback) = fallback else { return judge.kept(Shortfall::NoCluster, Vec::new(), passed) };
    match &fallback.shortfall {
        Some(Shortfall::NoRoom { .. }) => judge.decided(fallback, passed),
        Some(shortfall) => {
            let shortfall = shortfall.clone();
            judge.kept(shortfall, fallback.left_out, passed)
        }
        None => judge.decided(fallback, passed),
    }
}

impl Decision {
    /// Every member that gets nothing, sorted by name, with the reason in the group that was taken, or in the first.
    #[must_use]
    pub fn explain(&self, survey: &Survey, fleet: &Fleet) -> Vec<LeftOut> {
        let taken = survey.groups.iter().find(|group| group.name == self.placed.group);
        let mut all: BTreeMap<String, LeftOutReason> = BTreeMap::new();
        for (at, reason) in taken.or(survey.groups.first()).into_iter().flat_map(|group| &group.left_out) {
            if let Some(member) = fleet.members().get(*at) {
                all.insert(member.name().to_owned(), reason.clone());
            }
        }
        all.extend(self.left_out.iter().map(|left| (left.cluster.clone(), left.reason.clone())));
        let all = all.into_iter().filter(|(cluster, _)| !self.placed.shares.contains_key(cluster));
        all.map(|(cluster, reason)| LeftOut { cluster, reason }).collect()
    }
}

struct Judge<'a> {
    rules: &'a PlacementRules,
    fleet: &'a Fleet,
    demand: &'a Demand<'a>,
    /// Ceilings that hold already.
    ceilings: BTreeMap<String, u64>,
    /// Ceilings that trouble asks for now.
    due: BTreeMap<String, (u64, LeftOutReason)>,
    wake_at: Option<Timestamp>,
}

/// What a group gives.
struct Attempt {
    group: Option<String>,
    shares: BTreeMap<String, Option<u64>>,
    ceilings: BTreeMap<String, u64>,
    left_out: Vec<LeftOut>,
    shortfall: Option<Shortfall>,
}

impl Attempt {
    fn places(&self) -> (u64, usize) {
        (self.shares.values().flatten().sum(), self.shares.len())
    }
}

impl<'a> Judge<'a> {
    fn new(rules: &'a PlacementRules, fleet: &'a Fleet, demand: &'a Demand<'a>, moves_back: bool) -> Self {
        let ready = |name: &str| fleet.get(name).is_some_and(|member| member.standing == Standing::Ready);
        let mut ceilings = if demand.fresh { BTreeMap::new() } else { demand.placed.ceilings.clone() };
        if moves_back {
            ceilings.retain(|name, _| !ready(name) || demand.trouble.contains_key(name));
        }
        let mut judge = Self { rules, fleet, demand, ceilings, due: BTreeMap::new(), wake_at: None };
        for (name, share) in &demand.placed.shares {
            judge.look_for_trouble(name, *share);
        }
        // What would be left again at once isn't gone to.
        for member in fleet.members().iter().filter(|member| member.standing != Standing::Ready) {
            if !demand.placed.shares.contains_key(member.name()) && judge.long_gone(member) {
                judge.due.insert(member.name().to_owned(), (0, LeftOutReason::Gone));
            }
        }
        judge
    }

    /// What trouble on a cluster asks for, once its time is over.
    fn look_for_trouble(&mut self, name: &str, share: Option<u64>) {
        let failover = &self.rules.failover;
        let gone_since = match self.fleet.get(name).map(|member| &member.standing) {
            Some(Standing::Unreachable(since)) => *since,
            _ => None,
        };
        let trouble = self.demand.trouble.get(name).copied().unwrap_or_default();
        let stuck =
            trouble.stuck.map(|(count, since)| (share.unwrap_or_default().saturating_sub(count), since));
        let troubles = [
            (gone_since, failover.cluster, 0, LeftOutReason::Gone),
            (trouble.unhealthy_since, failover.application, 0, LeftOutReason::Unhealthy),
            (
                stuck.map(|(_, since)| since),
                failover.cluster,
                stuck.map_or(0, |(left, _)| left),
                LeftOutReason::Full,
            ),
        ];
        for (since, patience, ceiling, reason) in troubles {
            let (Some(since), Some(patience)) = (since, patience) else { continue };
            let due = since.saturating_add(patience).unwrap_or(Timestamp::MAX);
            if due > self.demand.now {
                self.wake(due);
            } else if self.due.get(name).is_none_or(|(lowest, _)| ceiling < *lowest) {
                self.due.insert(name.to_owned(), (ceiling, reason));
            }
        }
    }

    /// Whether a member doesn't answer for longer than the policy puts up with.
    fn long_gone(&self, member: &Member) -> bool {
        let (Standing::Unreachable(Some(since)), Some(patience)) =
            (&member.standing, self.rules.failover.cluster)
        else {
            return false;
        };
        since.saturating_add(patience).unwrap_or(Timestamp::MAX) <= self.demand.now
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |other| other.min(at)));
    }

    /// Tries a group with what trouble asks for; a copy of which there is one on each cluster only leaves where
    /// another takes its place.
    fn attempt(&mut self, group: &SurveyedGroup) -> Attempt {
        let mut all = self.ceilings.clone();
        for (name, (ceiling, _)) in &self.due {
            let entry = all.entry(name.clone()).or_insert(*ceiling);
            *entry = (*entry).min(*ceiling);
        }
        let moved = self.place(group, all);
        if self.divided() || self.due.is_empty() || moved.shares.is_empty() {
            return moved;
        }
        let stayed = self.place(group, self.ceilings.clone());
        if moved.shares.len() < stayed.shares.len() { stayed } else { moved }
    }

    fn divided(&self) -> bool {
        self.rules.division.is_some() && self.demand.replicas.is_some()
    }

    fn place(&mut self, group: &SurveyedGroup, mut ceilings: BTreeMap<String, u64>) -> Attempt {
        let mut left_out = Vec::new();
        let mut candidates = Vec::new();
        let weighs_room =
            self.divided() && matches!(self.rules.division, Some(Rule::Dynamic | Rule::Aggregated));
        for (at, weight) in &group.members {
            let Some(member) = self.fleet.members().get(*at) else { continue };
            let name = member.name();
            let held = self.demand.placed.shares.contains_key(name);
            let current = held && !self.demand.fresh;
            let ceiling = ceilings.get(name).copied();
            let closed = ceiling == Some(0) && !(self.divided() && held);
            let avoid = match self.taints(member, held) {
                Ok(avoid) => avoid,
                Err(taint) => {
                    if held {
                        // It leaves by rule, and so returns by rule only.
                        ceilings.insert(name.to_owned(), 0);
                    }
                    left_out.push(out(name, LeftOutReason::Tainted(taint)));
                    continue;
                }
            };
            if closed {
                left_out.push(out(name, self.why_displaced(name)));
                continue;
            }
            let score = if weighs_room { (self.demand.room)(name).unwrap_or(0) } else { *weight };
            let ready = member.standing == Standing::Ready && ceiling != Some(0);
            candidates.push(Candidate {
                at: *at,
                current: current && ceiling != Some(0),
                ready,
                avoid,
                score,
            });
        }
        let mut attempt = Attempt {
            group: group.name.clone(),
            shares: BTreeMap::new(),
            ceilings,
            left_out,
            shortfall: None,
        };
        // What left by rule may keep what finds no other place, and so isn't a choice of its own.
        let (gone, candidates): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|candidate| {
            let member = self.fleet.members().get(candidate.at);
            member.is_some_and(|member| attempt.ceilings.get(member.name()) == Some(&0))
        });
        let full = self.divided()
            && gone
                .iter()
                .filter_map(|gone| self.fleet.members().get(gone.at))
                .any(|one| self.is_full(one.name()));
        if candidates.is_empty() && !full {
            attempt.shortfall = Some(Shortfall::NoCluster);
            return attempt;
        }
        let (chosen, out_by_spread) = match spread::choose(&self.rules.spread, self.fleet, candidates) {
            Ok(choice) => choice,
            Err(unmet) => {
                attempt.shortfall = Some(Shortfall::TooFewGroups(unmet));
                return attempt;
            }
        };
        let named = |at: usize| self.fleet.members().get(at).map(Member::name).unwrap_or_default();
        attempt
            .left_out
            .extend(out_by_spread.into_iter().map(|(at, why)| out(named(at), LeftOutReason::Spread(why))));
        match self.demand.replicas.zip(self.rules.division) {
            None => attempt.shares = chosen.iter().map(|at| (named(*at).to_owned(), None)).collect(),
            Some((asked, rule)) => {
                let weights: BTreeMap<usize, u64> = group.members.iter().copied().collect();
                let gone: Vec<usize> = gone.iter().map(|candidate| candidate.at).collect();
                self.divide(&mut attempt, rule, asked, &chosen, &gone, &weights);
            }
        }
        attempt
    }

    fn divide(
        &self,
        attempt: &mut Attempt,
        rule: Rule,
        asked: u64,
        chosen: &[usize],
        gone: &[usize],
        weights: &BTreeMap<usize, u64>,
    ) {
        let had = |name: &str| self.demand.placed.shares.get(name).copied().flatten().unwrap_or(0);
        let members = chosen.iter().filter_map(|at| Some((*at, self.fleet.members().get(*at)?)));
        let seats: Vec<Seat<'_>> = members
            .map(|(at, member)| {
                let name = member.name();
                // What can't be written to takes nothing more than it has: all of them where they weren't divided before.
                let has = self.demand.placed.shares.get(name).map(|share| share.unwrap_or(asked));
                let shut = (member.standing != Standing::Ready).then(|| has.unwrap_or(0));
                let ceiling = attempt.ceilings.get(name).copied();
                Seat {
                    cluster: name,
                    weight: weights.get(&at).copied().unwrap_or(1),
                    current: had(name),
                    room: if rule == Rule::Static { None } else { (self.demand.room)(name) },
                    ceiling: shut.into_iter().chain(ceiling).min(),
                }
            })
            .collect();
        let shares = share(rule, asked, &seats, self.demand.seed, self.demand.fresh);
        let mut missing = shares.missing;
        for (seat, replicas) in seats.iter().zip(&shares.replicas) {
            let stays = if self.is_full(seat.cluster) {
                missing.min(had(seat.cluster).saturating_sub(*replicas))
            } else {
                0
            };
            missing -= stays;
            let replicas = replicas + stays;
            self.waits_there(attempt, seat.cluster, stays, replicas, had(seat.cluster));
            if replicas > 0 {
                attempt.shares.insert(seat.cluster.to_owned(), Some(replicas));
            } else {
                attempt.left_out.push(out(seat.cluster, LeftOutReason::NoShare));
            }
        }
        for name in gone.iter().filter_map(|at| self.fleet.members().get(*at)).map(Member::name) {
            let stays = missing.min(had(name));
            missing -= stays;
            if self.is_full(name) {
                self.waits_there(attempt, name, stays, stays, had(name));
            }
            if stays > 0 {
                attempt.shares.insert(name.to_owned(), Some(stays));
            }
            attempt.left_out.push(out(name, self.why_displaced(name)));
        }
        // A workload without replicas is somewhere all the same: where it was, or first of all.
        if asked == 0 {
            let before =
                chosen.iter().map(|at| self.fleet.members().get(*at).map(Member::name).unwrap_or_default());
            let before: Vec<&str> = before.collect();
            let kept: Vec<&str> =
                before.iter().copied().filter(|name| self.demand.placed.shares.contains_key(*name)).collect();
            let at: Vec<&str> = if kept.is_empty() { before } else { kept };
            attempt.shares = at.into_iter().map(|name| (name.to_owned(), Some(0))).collect();
            attempt.left_out.retain(|left| !attempt.shares.contains_key(&left.cluster));
        }
        if missing > 0 || shares.missing > 0 {
            attempt.shortfall = Some(Shortfall::NoRoom { missing: shares.missing, asked });
        }
    }

    /// Whether replicas find no room on a cluster for longer than the policy puts up with.
    fn is_full(&self, name: &str) -> bool {
        self.due.get(name).is_some_and(|(_, reason)| *reason == LeftOutReason::Full)
    }

    /// What was to leave a full cluster and finds no other place waits there: room may come. Only what did leave has left.
    fn waits_there(&self, attempt: &mut Attempt, name: &str, stays: u64, replicas: u64, had: u64) {
        if stays == 0 {
            return;
        }
        let before = self.ceilings.get(name).copied();
        match if replicas == had { before } else { Some(replicas) } {
            Some(ceiling) => attempt.ceilings.insert(name.to_owned(), ceiling),
            None => attempt.ceilings.remove(name),
        };
    }

    /// Whether taints ask for others to be preferred.
    ///
    /// What is on a cluster stays in spite of a taint, unless the taint evicts and the policy lets clusters be left.
    fn taints(&mut self, member: &Member, held: bool) -> Result<bool, Taint> {
        let mut avoid = false;
        for taint in &member.taints {
            let tolerated = match tolerated(&self.rules.tolerations, taint) {
                Tolerated::Always => true,
                Tolerated::Until(until) if until > self.demand.now => {
                    self.wake(until);
                    true
                }
                Tolerated::Until(_) | Tolerated::No => false,
            };
            let leaves = self.rules.failover.cluster.is_some();
            match taint.effect() {
                _ if tolerated => {}
                TaintEffect::Avoid => avoid = true,
                TaintEffect::KeepOut if held => {}
                TaintEffect::Evict if held && !leaves => {}
                TaintEffect::KeepOut | TaintEffect::Evict => return Err(taint.clone()),
            }
        }
        Ok(avoid)
    }

    fn why_displaced(&self, name: &str) -> LeftOutReason {
        self.due.get(name).map_or(LeftOutReason::Displaced, |(_, reason)| reason.clone())
    }

    fn decided(self, attempt: Attempt, passed: Vec<(String, Shortfall)>) -> Decision {
        let known: BTreeSet<&str> = self.fleet.members().iter().map(Member::name).collect();
        let mut ceilings = attempt.ceilings;
        // Only what it was on can have been left.
        let before = self.demand.placed;
        let left = |name: &String| before.shares.contains_key(name) || before.ceilings.contains_key(name);
        ceilings.retain(|name, _| known.contains(name.as_str()) && left(name));
        Decision {
            placed: Placed { group: attempt.group, shares: attempt.shares, ceilings },
            left_out: attempt.left_out,
            shortfall: attempt.shortfall,
            passed_groups: passed,
            wake_at: self.wake_at,
        }
    }

    /// What was decided before, since nothing better can be said.
    fn kept(
        self,
        shortfall: Shortfall,
        left_out: Vec<LeftOut>,
        passed: Vec<(String, Shortfall)>,
    ) -> Decision {
        Decision {
            placed: self.demand.placed.clone(),
            left_out,
            shortfall: Some(shortfall),
            passed_groups: passed,
            wake_at: self.wake_at,
        }
    }
}

fn out(cluster: &str, reason: LeftOutReason) -> LeftOut {
    LeftOut { cluster: cluster.to_owned(), reason }
}
