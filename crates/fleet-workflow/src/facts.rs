//! What the state machine is told, and what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{Decision, Target, TargetRequest, WindowRequest};
use jiff::Timestamp;

use crate::measure::Reading;
use crate::windows::Windows;

/// Everything that [`crate::advance`] may take into account besides the recorded state and the time.
#[derive(Debug, Default)]
pub struct Facts {
    /// Application and namespace, for the commands that messages name.
    pub application: String,
    /// The namespace on the hub.
    pub namespace: String,
    /// The command that begins anew with what the run delivers, where that isn't `workflow restart`.
    pub again: Option<String>,
    /// What conditions and outputs of steps see as `context`: nothing in it changes while the run goes on.
    pub context: serde_json::Value,
    /// Plans made so far, by step.
    pub plans: BTreeMap<String, Result<PlanFact, Problem>>,
    /// Decisions about this run, in the order in which they were made.
    pub approvals: Vec<ApprovalFact>,
    /// Who last changed what the run delivers.
    pub authors: Authors,
    /// Why nobody can prove now who decides; gates that demand approvers stay shut meanwhile.
    pub unproved: Option<Problem>,
    /// Groups that a gate demands and to which nothing grants the right to approve, and what to do about it.
    pub powerless: BTreeMap<String, String>,
    /// The step whose gate a person opened by clearing `status.workflow.suspend`.
    pub cleared_by_hand: Option<String>,
    /// What is known of each target, by step.
    pub targets: BTreeMap<(String, Target), TargetFact>,
    /// What people ask about single targets of this run, the newest last.
    pub requests: Vec<TargetRequest>,
    /// The revision that the run is about, where it isn't on record any more.
    pub lost_revision: Option<String>,
    /// Members that left the fleet.
    pub removed: BTreeSet<String>,
    /// Targets to which nothing may be sent for now, by step, and why: what is on its way ends, nothing new begins,
    /// and their time doesn't run until the entry is gone.
    pub held: BTreeMap<(String, Target), Problem>,
    /// How measuring goes, by step.
    pub checks: BTreeMap<String, CheckFact>,
    /// When something may begin on the fleet, as far as it concerns this Application.
    pub windows: Vec<FleetWindow>,
    /// Where the run may act, where runs take turns; nothing where they don't.
    pub permits: Option<Permits>,
    /// The step that a person lets begin outside its windows, who, and why.
    pub window_override: Option<WindowRequest>,
    /// A person asks to stop before the next target.
    pub suspend: bool,
    /// A person asks to end the run.
    pub terminate: bool,
    /// Until then whoever tells has only just taken the run up, and may not have looked at everything yet: nothing that
    /// isn't seen runs out of time.
    pub settled_at: Option<jiff::Timestamp>,
    /// Who asked for either, or that it goes on again, as they say.
    pub suspended_by: String,
    /// Who asks to end the run, as they say.
    pub terminated_by: String,
    /// A newer revision waits to take over.
    pub superseded: bool,
}

/// Where a run may act now, where runs take turns (see [`crate::line`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permits {
    /// On these clusters.
    pub granted: BTreeSet<String>,
    /// On all of them.
    pub anywhere: bool,
    /// Where it asked to, and why it may not yet.
    pub waits: BTreeMap<String, Problem>,
    /// Why it may not yet, wherever else it comes to ask.
    pub asking: Option<Problem>,
}

impl Permits {
    /// Whether it may act on a cluster.
    pub fn allows(&self, cluster: &str) -> bool {
        self.anywhere || self.granted.contains(cluster)
    }

    /// Why it may not, where it asked to.
    pub fn why_not(&self, cluster: &str) -> Option<&Problem> {
        let known = || self.waits.get(cluster).or_else(|| self.waits.get(crate::line::ANYWHERE));
        if self.allows(cluster) { None } else { known() }
    }
}

/// How a measurement goes.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckFact {
    /// Which it is: the number of tries of the whole step that failed before, and of the measurement in this one, from
    /// 1. What is known of another says nothing.
    pub number: (u32, u32),
    /// How it goes.
    pub state: Check,
}

/// How a measurement goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// It is under way; what is waited for, where that is known, and when to look again though nothing happens.
    Running(Option<Problem>, Option<jiff::Timestamp>),
    /// It was taken.
    Taken(Reading),
}

/// When something may begin on the fleet.
#[derive(Debug, Clone)]
pub struct FleetWindow {
    /// The object that says so.
    pub name: String,
    /// What it says of itself to whoever waits.
    pub message: String,
    /// When; or why that can't be read, and then nothing begins.
    pub windows: Result<Windows, String>,
    /// The clusters that it is about; none where it is about every step.
    pub clusters: Option<BTreeSet<String>>,
}

/// A plan that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFact {
    /// Its hash.
    pub hash: String,
    /// In words, what it does (`3 to create on mc-bj2`).
    pub summary: String,
    /// Targets where its deletes take the last workload, or everything, and that in words. A person is asked before
    /// these deletes.
    pub guarded: BTreeMap<Target, String>,
}

/// Who last changed what a run delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authors {
    /// It isn't on record, and why. Where an author may not approve, nobody may.
    Unrecorded(String),
    /// These.
    Known(BTreeSet<String>),
}

impl Default for Authors {
    fn default() -> Self {
        Self::Unrecorded("it isn't on record who changed the spec".to_owned())
    }
}

/// Why something can't be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A code that a script can match.
    pub reason: String,
    /// Place, cause, next step.
    pub message: String,
}

/// A decision as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalFact {
    /// The Approval object.
    pub name: String,
    /// The step it is for.
    pub step: String,
    /// The plan it is for.
    pub plan_hash: String,
    /// Yes or no.
    pub decision: Decision,
    /// Who.
    pub approver: String,
    /// The groups that the approver names.
    pub groups: Vec<String>,
    /// Whether the API server proved who, and that the approver may decide.
    pub proven: bool,
    /// Why it isn't proven.
    pub doubt: String,
    /// From when on the same decision, made anew, would be proven, where nothing but time was missing.
    pub counts_from: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub made_at: Option<Timestamp>,
}

/// What is known of a target in a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetFact {
    /// How the delivery goes that was begun last. `Idle` while the target is recorded as pending: a refusal that
    /// was counted is never told again.
    pub delivery: Delivery,
    /// Whether the member is seen as it is now.
    pub sight: Sight,
    /// Whether the member shows the revision's content, observed by its controllers, and healthy.
    pub done: bool,
    /// What is waited for while it isn't.
    pub waiting_for: Option<Problem>,
    /// How deleting goes.
    pub prune: Prune,
}

impl TargetFact {
    /// Whether the member doesn't answer.
    pub fn is_silent(&self) -> bool {
        self.sight == Sight::Silent || matches!(self.delivery, Delivery::Unreachable(_))
    }
}

/// Whether a member is seen as it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sight {
    /// It is.
    #[default]
    Seen,
    /// Its objects aren't known yet: neither well nor ill.
    NotListed,
    /// It doesn't answer: neither well nor ill.
    Silent,
}

/// How sending objects to a target goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing is under way.
    #[default]
    Idle,
    /// Requests are under way.
    Running,
    /// The member took everything.
    Applied,
    /// The member refused something, or something may not be sent.
    Refused {
        /// What and why.
        problem: Problem,
        /// Whether trying again may help.
        retry: bool,
    },
    /// The member doesn't answer; the executor tries again by itself.
    Unreachable(Problem),
}

/// How deleting what the revision no longer has goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Prune {
    /// There is nothing to delete.
    #[default]
    NotNeeded,
    /// There is, and nothing is under way.
    Idle,
    /// Requests are under way.
    Running,
    /// Everything is gone.
    Done,
    /// The member refused.
    Refused(Problem),
}

/// What is to be carried out once the new state is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Make the plan of a step and call again.
    Plan {
        /// The step.
        step: String,
    },
    /// Send a step's objects to a target.
    Deliver {
        /// The step.
        step: String,
        /// Where.
        target: Target,
    },
    /// Take a step's next measurement.
    Check {
        /// The step.
        step: String,
    },
    /// Delete what the revision no longer has.
    Prune {
        /// The step.
        step: String,
        /// Where.
        target: Target,
    },
}
