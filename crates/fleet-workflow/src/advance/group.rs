//! Groups: they begin when their turn comes, and are where their steps are.

use fleet_api::{RunStatus, StepPhase, StepState};

use super::due::{CONDITION_FALSE, Due, Spoiled, went_well};
use super::{Turn, close};
use crate::StepKind;

impl Turn<'_> {
    /// Begins a group whose turn has come.
    pub(super) fn open(&mut self, status: &mut RunStatus, group: usize, spoiled: &Spoiled) {
        let pending = status.steps.get(group).is_some_and(|step| step.phase == StepPhase::Pending);
        let due = if pending { self.due(status, group, spoiled) } else { Due::Later };
        let bound = if due == Due::Now { self.graph.bound(group, &status.steps) } else { None };
        let (Some(node), Some(step)) = (self.graph.nodes.get(group), status.steps.get_mut(group)) else {
            return;
        };
        self.clock(step);
        match due {
            Due::Later => {}
            Due::Never(reason, message) => close(step, StepPhase::Skipped, &reason, &message, self.now),
            Due::Wrong(problem) => {
                close(step, StepPhase::Failed, &problem.reason, &problem.message, self.now)
            }
            Due::Now => {
                if let Some(Err(problem)) = bound {
                    return close(step, StepPhase::Failed, &problem.reason, &problem.message, self.now);
                }
                step.phase = StepPhase::Running;
                step.started_at = Some(self.now);
                step.deadline = node.waits_at_most.and_then(|time| self.now.checked_add(time).ok());
            }
        }
        self.clock(step);
        if let Some(deadline) = step.deadline {
            self.wake(deadline);
        }
    }

    /// A group some of whose steps go on again goes on.
    pub(super) fn reopen_groups(&self, status: &mut RunStatus) {
        for (group, node) in self.graph.nodes.iter().enumerate() {
            let open = |(at, _)| status.steps.get(at).is_some_and(|step: &StepState| !step.phase.is_over());
            let goes_on = node.kind == StepKind::Group && self.graph.members(group).any(open);
            let over = |step: &&mut StepState| step.phase == StepPhase::Failed && step.started_at.is_some();
            if let Some(step) = status.steps.get_mut(group).filter(|_| goes_on).filter(over) {
                step.phase = StepPhase::Running;
                step.ended_at = None;
                step.deadline = node.waits_at_most.and_then(|time| self.now.checked_add(time).ok());
            }
        }
    }

    /// Ends a group whose steps are over.
    pub(super) fn sum_up(&mut self, status: &mut RunStatus, group: usize) {
        let members: Vec<usize> = self.graph.members(group).map(|(at, _)| at).collect();
        let states = || members.iter().filter_map(|at| status.steps.get(*at));
        if !states().all(|step| step.phase.is_over()) {
            return;
        }
        let spoilt = states().find(|step| step.phase == StepPhase::Failed);
        let spoilt = spoilt.or_else(|| states().find(|step| !went_well(step)));
        let spoilt =
            spoilt.map(|step| (step.reason.clone(), format!("step {}: {}", step.name, step.message)));
        let ran = states().any(|step| step.phase == StepPhase::Succeeded);
        let Some(step) = status.steps.get_mut(group).filter(|step| step.phase == StepPhase::Running) else {
            return;
        };
        match spoilt {
            Some((reason, message)) => close(step, StepPhase::Failed, &reason, &message, self.now),
            None if ran => close(step, StepPhase::Succeeded, "", "", self.now),
            None => close(step, StepPhase::Skipped, CONDITION_FALSE, "none of its steps ran", self.now),
        }
    }

    /// Says of groups that go on which of their steps is waited for.
    pub(super) fn explain_groups(&self, status: &mut RunStatus) {
        let groups = self.graph.nodes.iter().enumerate().filter(|(_, node)| node.kind == StepKind::Group);
        for (group, _) in groups {
            let states: Vec<&StepState> =
                self.graph.members(group).filter_map(|(at, _)| status.steps.get(at)).collect();
            let over = states.iter().filter(|step| step.phase.is_over()).count();
            let open = states.iter().filter(|step| !step.phase.is_over());
            let Some(first) =
                open.max_by_key(|step| (step.phase != StepPhase::Pending, !step.message.is_empty()))
            else {
                continue;
            };
            let what = if first.message.is_empty() { first.phase.as_str() } else { first.message.as_str() };
            let reason = if first.reason.is_empty() { "NotBegun" } else { first.reason.as_str() };
            let said = (
                reason.to_owned(),
                format!("{over} of {} steps over; step {}: {what}", states.len(), first.name),
            );
            let step = status.steps.get_mut(group).filter(|step| step.phase == StepPhase::Running);
            if let Some(step) = step {
                (step.reason, step.message) = said;
            }
        }
    }
}
