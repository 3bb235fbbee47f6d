//! What of a run's state is written down: everything that can't be seen again after a crash.

use fleet_api::{RunStatus, StepPhase, TargetPhase};

/// Whether a state differs from the recorded one in more than words.
pub(crate) fn worth_recording(before: Option<&RunStatus>, after: &RunStatus) -> bool {
    let Some(before) = before else { return true };
    let wordless = |status: &RunStatus| {
        let mut status = status.clone();
        status.message.clear();
        status.reason.clear();
        for step in &mut status.steps {
            if !step.phase.is_over() {
                step.message.clear();
                step.reason.clear();
            }
            for target in step.targets.iter_mut().filter(|target| !target.phase.is_over()) {
                target.message.clear();
                target.reason.clear();
                // Waiting follows from what is seen, so it needn't be remembered.
                if target.phase == TargetPhase::Waiting {
                    target.phase = TargetPhase::Delivering;
                }
            }
        }
        status
    };
    let (before, after) = (wordless(before), wordless(after));
    if before.phase != after.phase || before.steps.len() != after.steps.len() {
        return true;
    }
    // Targets that finish while their step goes on are seen again after a restart.
    let settled = |status: &RunStatus| {
        let mut status = status.clone();
        for step in status.steps.iter_mut().filter(|step| step.phase == StepPhase::Running) {
            // It comes with the beginning, and goes with the end.
            step.targets.iter_mut().for_each(|target| target.deadline = None);
            for target in step.targets.iter_mut().filter(|t| t.phase == TargetPhase::Succeeded) {
                target.phase = TargetPhase::Delivering;
                target.ended_at = None;
                target.seal.clear();
            }
        }
        status
    };
    settled(&before) != settled(&after)
}
