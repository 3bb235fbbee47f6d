//! Runs that take turns: at most so many act at once, and at most one on a cluster. Who waits stands in line.
//!
//! A [`Line`] is one record for the whole fleet, written by compare-and-swap: what a run gets it gets in one write, or
//! not at all. What is held belongs to the run, not to a process.
//!
//! Nobody waits for ever. Whoever holds something needs nothing further to be done with it, and gives it back then; a run
//! counts among those that act only while it holds something; and what is free goes to the first in line who may take
//! it, so that nobody is overtaken for good.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Stands for all clusters where runs are only counted.
pub const ANYWHERE: &str = "*";

/// How many clusters one run asks for at once.
pub const MOST_CLUSTERS: usize = 200;

/// What runs take turns at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many may act at once; none for any number.
    pub runs: Option<u32>,
    /// Whether at most one may act on a cluster.
    pub one_per_cluster: bool,
}

impl Limits {
    /// Whether anybody ever waits.
    pub fn is_any(self) -> bool {
        self.runs.is_some() || self.one_per_cluster
    }

    /// What a run that acts, or wants to, on these clusters asks for: each of them, at most [`MOST_CLUSTERS`] and those
    /// first that it holds, or one place.
    pub fn asks(self, clusters: &BTreeSet<String>, holds: Option<&BTreeSet<String>>) -> BTreeSet<String> {
        if clusters.is_empty() {
            return BTreeSet::new();
        }
        if !self.one_per_cluster {
            return BTreeSet::from([ANYWHERE.to_owned()]);
        }
        let held = |cluster: &&String| holds.is_some_and(|holds| holds.contains(*cluster));
        let (mut asks, rest): (BTreeSet<String>, Vec<&String>) =
            (clusters.iter().filter(held).cloned().collect(), clusters.iter().filter(|c| !held(c)).collect());
        let room = MOST_CLUSTERS.saturating_sub(asks.len());
        asks.extend(rest.into_iter().take(room).cloned());
        asks
    }

    fn is_shared(self, cluster: &str) -> bool {
        !self.one_per_cluster || cluster == ANYWHERE
    }
}

/// A run, as others are told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claimant {
    /// Its namespace on the hub.
    #[serde(rename = "ns")]
    pub namespace: String,
    /// Its Application.
    #[serde(rename = "app")]
    pub application: String,
    /// Its name.
    #[serde(rename = "run")]
    pub run: String,
    /// Its UID.
    pub uid: String,
}

/// What a run holds and waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The run.
    #[serde(flatten)]
    pub who: Claimant,
    /// Since when it stands in line, by the clock of who wrote it. The order is that of the line.
    #[serde(default)]
    pub since: Timestamp,
    /// The clusters on which it may act.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub holds: BTreeSet<String>,
    /// Those on which it wants to.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waits: BTreeSet<String>,
}

/// Who keeps a run from acting on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocker {
    /// A run acts there.
    Holder(Claimant),
    /// A run was there before it.
    Earlier(Claimant),
    /// As many act as may; this one for longest.
    Limit(u32, Claimant),
}

/// Everybody who acts or waits, in the order of coming.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Counts the writes: a copy with a lower number is older.
    #[serde(default)]
    pub sequence: u64,
    /// The first in line first.
    #[serde(default)]
    pub claims: Vec<Claim>,
}

impl Line {
    /// What stands for a run.
    pub fn claim(&self, uid: &str) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.who.uid == uid)
    }

    /// A run says where it acts and where it wants to: all of it, each time. What it names no more is given back. An
    /// Application has one run: whatever stood for another one goes.
    pub fn ask(&mut self, who: &Claimant, clusters: &BTreeSet<String>, now: Timestamp) {
        self.claims.retain(|claim| {
            claim.who.uid == who.uid
                || (&claim.who.namespace, &claim.who.application) != (&who.namespace, &who.application)
        });
        if clusters.is_empty() {
            return self.forget(&who.uid);
        }
        let at = self.claims.iter().position(|claim| claim.who.uid == who.uid);
        let at = at.unwrap_or_else(|| {
            self.claims.push(Claim { who: who.clone(), since: now, ..Claim::default() });
            self.claims.len() - 1
        });
        if let Some(claim) = self.claims.get_mut(at) {
            claim.holds.retain(|cluster| clusters.contains(cluster));
            claim.waits = clusters.difference(&claim.holds).cloned().collect();
        }
    }

    /// Takes a run out.
    pub fn forget(&mut self, uid: &str) {
        self.claims.retain(|claim| claim.who.uid != uid);
    }

    /// Gives what is free to the first who may take it.
    pub fn settle(&mut self, limits: Limits) {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for cluster in self.claims.iter().flat_map(|claim| &claim.holds) {
            taken.insert(cluster.clone());
        }
        let mut acting = self.claims.iter().filter(|claim| !claim.holds.is_empty()).count();
        let most = limits.runs.map_or(usize::MAX, |runs| runs as usize);
        for claim in &mut self.claims {
            for cluster in std::mem::take(&mut claim.waits) {
                let free = limits.is_shared(&cluster) || !taken.contains(&cluster);
                // One that acts already is counted already.
                let may = !claim.holds.is_empty() || acting < most;
                if free && may {
                    acting += usize::from(claim.holds.is_empty());
                    claim.holds.insert(cluster.clone());
                } else {
                    claim.waits.insert(cluster.clone());
                }
                // What the first in line can't take yet, nobody behind it takes.
                taken.insert(cluster);
            }
        }
    }

    /// Who keeps a run from acting on a cluster that it waits for.
    pub fn blocker(&self, uid: &str, cluster: &str, limits: Limits) -> Option<Blocker> {
        let own = self.claims.iter().position(|claim| claim.who.uid == uid)?;
        if !limits.is_shared(cluster) {
            let holder =
                self.claims.iter().find(|claim| claim.who.uid != uid && claim.holds.contains(cluster));
            if let Some(holder) = holder {
                return Some(Blocker::Holder(holder.who.clone()));
            }
            let earlier = self.claims.iter().take(own).find(|claim| claim.waits.contains(cluster));
            if let Some(earlier) = earlier {
                return Some(Blocker::Earlier(earlier.who.clone()));
            }
        }
        let first = self.claims.iter().find(|claim| !claim.holds.is_empty() && claim.who.uid != uid)?;
        Some(Blocker::Limit(limits.runs?, first.who.clone()))
    }

    /// What each run is told: where it may act, and who keeps it from where.
    pub fn views(&self, limits: Limits) -> BTreeMap<Claimant, View> {
        let view = |claim: &Claim| View {
            holds: claim.holds.clone(),
            waits: claim
                .waits
                .iter()
                .map(|cluster| (cluster.clone(), self.blocker(&claim.who.uid, cluster, limits)))
                .collect(),
        };
        self.claims.iter().map(|claim| (claim.who.clone(), view(claim))).collect()
    }
}

/// What a run is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Where it may act.
    pub holds: BTreeSet<String>,
    /// Who keeps it from where.
    pub waits: BTreeMap<String, Option<Blocker>>,
}
