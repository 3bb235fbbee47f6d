//! The next step from what clusters have to what they are to have.
//!
//! Replicas come up elsewhere before they go: at no time, and in whatever order clusters carry a step out, are fewer
//! ready in sum than asked for because of a move. What isn't ready yet, and what is unreachable, replaces nothing.
//! Units are whatever is counted: replicas where they are divided, copies where each cluster has all of them.

use std::collections::BTreeMap;

use fleet_json::{IntOrPercent, Rounding};

/// What a cluster has and is to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// What it has been told to have.
    pub assigned: u64,
    /// How many of these are ready. Of a cluster that doesn't answer, what was last seen: its replicas may well run,
    /// and stop the moment it hears that it is to have fewer.
    pub ready: u64,
    /// How many may be ready for all that is known, if more than `ready`: what was just changed there, or hasn't been looked
    /// at since a restart, runs all the same. These replace nothing, and aren't taken for unready ones either.
    pub at_stake: u64,
    /// What it is to have in the end.
    pub wanted: u64,
    /// Whether it may be told something else now: not while it is masked, suspended or cordoned. One that doesn't answer
    /// may; it hears of it when it returns.
    pub free: bool,
    /// Whether it is given up as it is: nothing is sent there any more. It keeps what it has, which counts for as much as isn't
    /// ready elsewhere yet.
    pub given_up: bool,
}

/// What goes first when a cluster has too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GoesFirst {
    /// What isn't ready, as ReplicaSets do it.
    Unready,
    /// Anything, as with ordinals.
    #[default]
    Any,
}

/// A move of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Move {
    /// How many are asked for in all.
    pub asked: u64,
    /// How many may be on the move at once, at least 1.
    pub at_once: u64,
    /// What goes first.
    pub goes_first: GoesFirst,
    /// The clusters.
    pub shares: BTreeMap<String, Share>,
}

/// What clusters are told next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// What each cluster has to have now; one that isn't free keeps what it was told.
    pub assigned: BTreeMap<String, u64>,
    /// Whether everything is as it is to be.
    pub settled: bool,
    /// What the move waits for, in words; empty where it doesn't.
    pub waits: Vec<String>,
}

/// How many replicas may be on the move at once: `failover.cluster.maxMoving`, a number or a percentage of what is
/// asked for, at least 1; a quarter where it is left out.
#[must_use]
pub fn at_once(limit: Option<IntOrPercent>, asked: u64) -> u64 {
    let total = i64::try_from(asked).unwrap_or(i64::MAX);
    let limit = limit.map_or(asked / 4, |limit| limit.of(total, Rounding::Down).try_into().unwrap_or(0));
    limit.max(1)
}

/// The next step. Carried out and observed, and then asked again, it ends where everybody has what is wanted, as long
/// as what comes up becomes ready.
#[must_use]
pub fn next_step(moving: &Move) -> Step {
    let mut step = step(&moving.without_replaced());
    let given_up = moving.shares.iter().filter(|(_, share)| share.given_up);
    step.assigned.extend(given_up.map(|(name, share)| (name.clone(), share.assigned)));
    step
}

fn step(moving: &Move) -> Step {
    let told: u64 = moving.shares.values().map(|share| share.assigned).sum();
    let mut assigned: BTreeMap<String, u64> =
        moving.shares.iter().map(|(name, share)| (name.clone(), share.assigned)).collect();

    // Down first, and only by what is ready elsewhere; what is added in this step counts for nothing yet.
    let ready: u64 = moving.shares.values().map(Share::counted).sum();
    let mut spare = Spare {
        ready: ready.saturating_sub(moving.asked),
        told: told.saturating_sub(moving.asked),
        too_few: ready < moving.asked,
    };
    let mut too_many: Vec<(&String, &Share)> =
        moving.shares.iter().filter(|(_, share)| share.free && share.assigned > share.wanted).collect();
    too_many.sort_by_key(|(name, share)| (std::cmp::Reverse(share.assigned - share.wanted), *name));
    for (name, share) in &too_many {
        let gone = spare.take(share, moving.goes_first);
        if let Some(place) = assigned.get_mut(*name) {
            *place -= gone;
        }
    }

    // Up: what is missing at once, what replaces something as far as so many may be on the move.
    let missing = moving.asked.saturating_sub(told);
    let surge = told.saturating_sub(moving.asked);
    let mut budget = missing.saturating_add(moving.at_once.max(1).saturating_sub(surge));
    let mut too_few: Vec<(&String, &Share)> =
        moving.shares.iter().filter(|(_, share)| share.free && share.assigned < share.wanted).collect();
    too_few.sort_by_key(|(name, share)| (std::cmp::Reverse(share.wanted - share.assigned), *name));
    for (name, share) in &too_few {
        let more = (share.wanted - share.assigned).min(budget);
        budget -= more;
        if let Some(place) = assigned.get_mut(*name) {
            *place += more;
        }
    }

    let settled = moving.shares.iter().all(|(name, share)| assigned.get(name) == Some(&share.wanted));
    let waits = if settled { Vec::new() } else { waits(moving, &assigned, ready) };
    Step { assigned, settled, waits }
}

impl Move {
    /// The same, where what is given up has no more than isn't ready elsewhere.
    fn without_replaced(&self) -> Self {
        let mut moving = self.clone();
        let stay = self.shares.values().filter(|share| !share.given_up);
        let mut missing = self.asked.saturating_sub(stay.map(Share::counted).sum());
        for share in moving.shares.values_mut().filter(|share| share.given_up) {
            share.assigned = share.assigned.min(missing);
            missing -= share.assigned;
        }
        moving
    }
}

impl Share {
    /// The ready ones that stay if nothing changes: an order to have fewer may be on its way.
    fn counted(&self) -> u64 {
        self.ready.min(self.assigned)
    }

    /// Those that may be ready.
    fn lost_at_worst(&self) -> u64 {
        self.at_stake.min(self.assigned).max(self.counted())
    }
}

/// What may go.
struct Spare {
    /// Ready ones beyond what is asked for.
    ready: u64,
    /// Told ones beyond what is asked for.
    told: u64,
    /// Fewer are known to be ready than are asked for: each one more or less may be the one that matters.
    too_few: bool,
}

impl Spare {
    /// How many a cluster may give up, which are then no longer spare.
    fn take(&mut self, share: &Share, goes_first: GoesFirst) -> u64 {
        let surplus = (share.assigned - share.wanted).min(self.told);
        let ready = if self.too_few { share.lost_at_worst() } else { share.counted() };
        let harmless = match goes_first {
            GoesFirst::Unready => share.assigned - ready,
            GoesFirst::Any => 0,
        };
        let gone =
            if self.ready >= ready { surplus } else { surplus.min(harmless.saturating_add(self.ready)) };
        self.ready -= gone.saturating_sub(harmless).min(ready);
        self.told -= gone;
        gone
    }
}

fn waits(moving: &Move, assigned: &BTreeMap<String, u64>, ready: u64) -> Vec<String> {
    let mut waits = Vec::new();
    for (name, share) in &moving.shares {
        if !share.free && share.assigned != share.wanted {
            let (have, want) = (share.assigned, share.wanted);
            waits.push(if share.given_up {
                format!("{name} keeps what it has; for {have} of it nothing is ready elsewhere yet")
            } else {
                format!("{name} holds {have} and is to have {want}: it is held")
            });
        }
    }
    let leaving = moving
        .shares
        .iter()
        .any(|(name, share)| share.free && assigned.get(name).is_some_and(|have| *have > share.wanted));
    if leaving && ready <= moving.asked {
        let coming = moving.shares.iter().filter(|(_, share)| share.assigned > share.counted());
        let coming: Vec<&str> = coming.map(|(name, _)| name.as_str()).collect();
        let coming =
            if coming.is_empty() { String::new() } else { format!(" (not all on {})", coming.join(", ")) };
        waits.push(format!(
            "{ready} of {} are ready{coming}; nothing goes before as many are ready elsewhere",
            moving.asked
        ));
    }
    waits
}
