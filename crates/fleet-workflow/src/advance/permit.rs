//! Runs that take turns: nothing is sent to a cluster on which this run may not act, and what it wants next is asked for.

use std::collections::BTreeSet;

use fleet_api::{RunStatus, StepPhase, StepState, TargetPhase, TargetState};

use super::Turn;
use super::target::put;
use crate::{Delivery, Prune};

impl Turn<'_> {
    /// Notes targets whose clusters were asked for, and on which the run may not act yet.
    pub(super) fn block_targets(&mut self, step: &StepState) {
        let Some(permits) = &self.facts.permits else { return };
        for state in step.targets.iter().filter(|state| !state.phase.is_over()) {
            let place = (step.name.clone(), state.target.clone());
            match permits.why_not(&state.target.cluster) {
                Some(problem) => self.blocked.insert(place, problem.clone()),
                None => self.blocked.remove(&place),
            };
        }
    }

    /// Whether only its turn on the cluster keeps a target from going on: it has its place among those at once.
    pub(super) fn is_blocked(&self, step: &str, state: &TargetState) -> bool {
        let place = (step.to_owned(), state.target.clone());
        let elsewhere = self.facts.held.contains_key(&place) || self.shut.contains_key(&place);
        self.blocked.contains_key(&place) && !elsewhere
    }

    /// Whether the run may act where a target is; where it may not, that is asked for, and said.
    pub(super) fn may_act(&mut self, state: &mut TargetState) -> bool {
        let Some(permits) = &self.facts.permits else { return true };
        let cluster = &state.target.cluster;
        if permits.allows(cluster) {
            return true;
        }
        self.wishes.insert(cluster.clone());
        if let Some(problem) = permits.why_not(cluster).or(permits.asking.as_ref()) {
            put(state, &problem.reason, &problem.message);
        }
        false
    }

    /// The clusters on which something is under way, and those on which something is to begin next.
    pub(super) fn claims(&mut self, status: &RunStatus) -> BTreeSet<String> {
        if self.facts.permits.is_none() || status.phase.is_over() {
            return BTreeSet::new();
        }
        let mut claims = std::mem::take(&mut self.wishes);
        for step in &status.steps {
            let acts = step.phase == StepPhase::Running;
            let open = step.targets.iter().filter(|state| !state.phase.is_over() && (acts || state.late));
            claims.extend(open.filter(|s| self.holds_on(step, s)).map(|s| s.target.cluster.clone()));
        }
        claims
    }

    /// Whether a target keeps, or waits for, the run's place on its cluster.
    fn holds_on(&self, step: &StepState, state: &TargetState) -> bool {
        let fact = self.fact_of(&step.name, &state.target);
        let halted = self.halted();
        let place = (step.name.clone(), state.target.clone());
        let held = self.facts.held.contains_key(&place) || self.shut.contains_key(&place);
        match state.phase {
            // It has its turn once it isn't held any more.
            TargetPhase::Pending if halted || held => false,
            TargetPhase::Pending => {
                state.retry_at.is_some() || self.blocked.contains_key(&place) && step.retry_at.is_none()
            }
            TargetPhase::Delivering => fact.delivery != Delivery::Idle || !halted && !held,
            TargetPhase::Waiting => !state.cleared,
            TargetPhase::Pruning => {
                let waits = !state.guard.is_empty() || halted || held;
                fact.prune == Prune::Running || !waits
            }
            TargetPhase::Succeeded | TargetPhase::Failed | TargetPhase::Removed | TargetPhase::Skipped => {
                false
            }
        }
    }
}
