//! Runs that take turns, where the controller is told so: what each asks for, and what it may.
//!
//! ```text
//!  turn ──► ask(clusters) ──► keeper ──► one Lease on the hub, by compare-and-swap ──► watch
//!    ▲                                                                                  │
//!    └─────────────────── permits ◄── what is granted, and told to whom ◄───────────────┘
//! ```
//!
//! The Lease is the truth, and what stands there belongs to runs: a replica that dies leaves them what they hold, and who
//! takes over goes on with it. Kept here is only what this replica's runs asked for last. A run counts what it holds as
//! its own only while no change of what it asks for is on its way: what it gave back may be somebody else's already.

mod keeper;
mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use fleet_workflow::line::{ANYWHERE, View};
use fleet_workflow::{Claim, Claimant, Limits, Line, Permits};
use kube::ResourceExt as _;
use tokio::sync::Notify;

pub(crate) use self::keeper::keep;

use crate::context::{AppKey, lock};
use crate::turn::walk::Walk;

/// The runs of this replica in the fleet's line.
pub(crate) struct InLine {
    limits: Limits,
    state: Mutex<State>,
    /// Somebody asked, or somebody may be gone.
    news: Notify,
}

#[derive(Default)]
struct State {
    /// As last read or written.
    line: Line,
    asked: BTreeMap<AppKey, Asked>,
}

/// What an Application's run asked for last.
#[derive(Debug, Clone, Default)]
struct Asked {
    who: Claimant,
    clusters: BTreeSet<String>,
    /// Where it may act.
    granted: BTreeSet<String>,
    /// Counts what was asked.
    number: u64,
    /// The number of what stands in the line.
    landed: u64,
    /// What it was told last.
    told: Option<View>,
}

impl Asked {
    fn change(&mut self) {
        self.number = self.number.saturating_add(1);
    }
}

impl InLine {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default(), news: Notify::new() }
    }

    /// Says where a run acts and wants to: all of it, each time. What it names no more is given back.
    pub(crate) fn ask(&self, walk: &Walk, clusters: &BTreeSet<String>) {
        if !self.limits.is_any() {
            return;
        }
        let who = Claimant {
            namespace: walk.key.0.clone(),
            application: walk.key.1.clone(),
            run: walk.run_name().to_owned(),
            uid: walk.run.as_ref().and_then(|run| run.uid()).unwrap_or_default(),
        };
        let mut state = lock(&self.state);
        let State { line, asked } = &mut *state;
        let claim = line.claim(&who.uid);
        let clusters = self.limits.asks(clusters, claim.map(|claim| &claim.holds));
        let known = asked.contains_key(&walk.key);
        let entry = asked.entry(walk.key.clone()).or_default();
        if known && entry.who == who && entry.clusters == clusters {
            return;
        }
        if entry.who != who {
            entry.granted.clear();
        }
        entry.granted.retain(|cluster| clusters.contains(cluster));
        (entry.who, entry.clusters) = (who, clusters);
        let nothing = entry.clusters.is_empty() && !stands(line, &walk.key);
        if nothing && entry.landed == entry.number {
            return;
        }
        entry.change();
        self.news.notify_one();
    }

    /// Where a run may act; nothing where runs take no turns.
    pub(crate) fn permits(&self, walk: &Walk) -> Option<Permits> {
        if !self.limits.is_any() {
            return None;
        }
        let asking = Some(said::asking(self.limits));
        let uid = walk.run.as_ref().and_then(|run| run.uid()).unwrap_or_default();
        let state = lock(&self.state);
        let entry = state.asked.get(&walk.key).filter(|entry| entry.who.uid == uid && !uid.is_empty());
        let Some(entry) = entry else { return Some(Permits { asking, ..Permits::default() }) };
        let since = state.line.claim(&uid).map(|claim| claim.since);
        let waits = entry.clusters.difference(&entry.granted).map(|cluster| {
            let blocker = state.line.blocker(&uid, cluster, self.limits);
            (cluster.clone(), said::waiting(self.limits, cluster, since, blocker.as_ref()))
        });
        Some(Permits {
            granted: entry.granted.clone(),
            anywhere: entry.granted.contains(ANYWHERE),
            waits: waits.collect(),
            asking,
        })
    }

    /// An Application is another replica's by now.
    pub(crate) fn hand_over(&self, key: &AppKey) {
        if self.limits.is_any() {
            lock(&self.state).asked.remove(key);
        }
    }

    /// Somebody who stood in line may be gone.
    pub(crate) fn look(&self) {
        if self.limits.is_any() {
            self.news.notify_one();
        }
    }

    /// What was asked for and doesn't stand in the line yet.
    fn pending(&self) -> Vec<(AppKey, Asked)> {
        let state = lock(&self.state);
        let pending = state.asked.iter().filter(|(_, asked)| asked.landed != asked.number);
        pending.map(|(key, asked)| (key.clone(), asked.clone())).collect()
    }

    /// Takes the line as it stands on the hub, with what of ours stands in it by now. Says who is told something new.
    fn stands(&self, line: Line, landed: &[(AppKey, Asked)]) -> Vec<AppKey> {
        let mut state = lock(&self.state);
        let State { line: known, asked } = &mut *state;
        *known = line;
        for (key, was) in landed {
            if let Some(entry) = asked.get_mut(key).filter(|entry| entry.number == was.number) {
                entry.landed = entry.number;
            }
        }
        let views = known.views(self.limits);
        let name = |claim: &Claim| (claim.who.namespace.clone(), claim.who.application.clone());
        let standing: BTreeSet<AppKey> = known.claims.iter().map(name).collect();
        let mut told = Vec::new();
        for (key, entry) in asked.iter_mut().filter(|(_, entry)| entry.landed == entry.number) {
            let view = views.get(&entry.who);
            let all = view.map(|view| view.holds.iter().chain(view.waits.keys()).cloned().collect());
            if all.unwrap_or_else(BTreeSet::new) != entry.clusters
                || entry.clusters.is_empty() && standing.contains(key)
            {
                // Somebody took it out, or an earlier process left it there.
                entry.granted.clear();
                entry.change();
                self.news.notify_one();
                continue;
            }
            let granted = view.map(|view| view.holds.clone()).unwrap_or_default();
            if entry.granted != granted || entry.told.as_ref() != view {
                told.push(key.clone());
            }
            entry.granted = granted;
            entry.told = view.cloned();
        }
        told
    }
}

/// Whether anything stands in line for an Application.
fn stands(line: &Line, key: &AppKey) -> bool {
    line.claims.iter().any(|claim| (&claim.who.namespace, &claim.who.application) == (&key.0, &key.1))
}
