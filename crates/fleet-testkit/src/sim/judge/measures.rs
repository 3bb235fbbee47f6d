//! Steps that ask: they go on only where they were told so.

use fleet_api::{Run, StepPhase, StepState};
use kube::ResourceExt as _;

use super::{Known, Verdict, Violation};
use crate::sim::wanted::{What, app_name};

const CHECK: &str = "a step that asks goes on only where it was told so";

impl Known<'_> {
    /// Steps that wait for another application.
    pub(super) fn waited_for_others(&self, run: &Run) -> Verdict {
        let Some(wanted) = self.wanted_by(run) else { return Ok(()) };
        for step in run.status.iter().flat_map(|status| &status.steps) {
            if let Some(What::Depends(other)) = wanted.step_named(&step.name).map(|step| &step.what)
                && step.phase == StepPhase::Succeeded
                && !self.ran.contains(&app_name(*other))
            {
                let said =
                    format!("{}/{} went on, and {} never ran", run.name_any(), step.name, app_name(*other));
                return Err((CHECK, said));
            }
        }
        Ok(())
    }

    /// Steps that asked servers, at the end.
    pub(super) fn measured_what_it_says(&self) -> Option<Violation> {
        // Who joins later gets what was measured for those before.
        for (name, run) in self.runs.iter().filter(|(_, run)| run.spec.cause != "ClusterJoined") {
            let Some(wanted) = self.wanted_by(run) else { continue };
            for step in run.status.iter().flat_map(|status| &status.steps) {
                let needed = match wanted.step_named(&step.name).map(|step| &step.what) {
                    Some(What::Metrics(count)) => *count,
                    Some(What::Ask) => 1,
                    _ => continue,
                };
                let told = self.record.told_good.get(&(name.clone(), step.name.clone())).copied();
                let told = told.unwrap_or_default();
                if step.phase == StepPhase::Succeeded && told < needed && !self.accepted(run, step) {
                    let said = format!("{name}/{} went on after {told} of {needed} good answers", step.name);
                    return Some(Violation { check: CHECK, revision: 0, said });
                }
            }
        }
        None
    }

    /// Whether a person took upon themselves what nobody could measure.
    fn accepted(&self, run: &Run, step: &StepState) -> bool {
        let by_hand = (run.name_any(), step.name.clone());
        step.reason == "InconclusiveAccepted"
            && (self.record.by_hand.contains(&by_hand)
                || self
                    .approvals
                    .iter()
                    .any(|approval| approval.spec.run == run.name_any() && approval.spec.step == step.name))
    }
}
