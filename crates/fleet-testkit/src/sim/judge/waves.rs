//! Waves: how many targets are under way, who goes first, how many may fail, how long they stay well.

use fleet_api::{Run, StepPhase, StepState, TargetPhase, TargetState};
use kube::ResourceExt as _;

use super::{Known, Verdict};
use crate::sim::wanted::{OnFailure, WantedStep, member_name};

impl Known<'_> {
    pub(super) fn keeps_its_waves(&self, before: Option<&Run>, now: &Run) -> Verdict {
        let Some(wanted) = self.wanted_by(now) else { return Ok(()) };
        let name = now.name_any();
        let none = Vec::new();
        let before = before.and_then(|run| run.status.as_ref()).map_or(&none, |status| &status.steps);
        for step in now.status.iter().flat_map(|status| &status.steps) {
            let Some(wanted) = wanted.step_named(&step.name) else { continue };
            at_once(wanted, step).map_err(|(check, said)| (check, format!("{name}: {said}")))?;
            soaked(wanted, step).map_err(|(check, said)| (check, format!("{name}: {said}")))?;
            if let Some(before) = before.iter().find(|before| before.name == step.name) {
                began(wanted, before, step).map_err(|(check, said)| (check, format!("{name}: {said}")))?;
            }
        }
        Ok(())
    }
}

/// No more targets are under way than the step says.
fn at_once(wanted: &WantedStep, step: &StepState) -> Verdict {
    let under_way =
        |phase| matches!(phase, TargetPhase::Delivering | TargetPhase::Waiting | TargetPhase::Pruning);
    // Who catches up takes no place, nor does what is only left once everything else is done, nor who waits for
    // a person to agree to its deletes.
    let asks = |target: &&TargetState| target.phase == TargetPhase::Pruning && !target.guard.is_empty();
    let mut acting = step
        .targets
        .iter()
        .filter(|target| under_way(target.phase) && !target.late && !target.cleared && !asks(target));
    let most = wanted.at_once.unwrap_or(usize::MAX);
    if step.phase == StepPhase::Running && acting.by_ref().count() > most {
        let said = format!("{}: more than {most}", step.name);
        return Err(("no more targets are under way than the step says", said));
    }
    Ok(())
}

/// Who is done was well for as long as the step says.
fn soaked(wanted: &WantedStep, step: &StepState) -> Verdict {
    for state in step.targets.iter().filter(|state| state.phase == TargetPhase::Succeeded && !state.cleared) {
        let Some((began, ended)) = state.started_at.zip(state.ended_at) else { continue };
        let took = ended.duration_since(began).as_secs();
        if took < i64::try_from(wanted.soak).unwrap_or(i64::MAX) {
            let said = format!("{}: {} was done after {took}s of {}s", step.name, state.target, wanted.soak);
            return Err(("who is done was well for long enough", said));
        }
    }
    Ok(())
}

/// Who begins now may: the first are well, and no more failed than may.
fn began(wanted: &WantedStep, before: &StepState, now: &StepState) -> Verdict {
    if before.phase != StepPhase::Running {
        return Ok(());
    }
    let is = |state: &TargetState, member: usize| state.target.cluster == member_name(member);
    for (old, new) in before.targets.iter().zip(&now.targets) {
        let begins = old.phase == TargetPhase::Pending && new.phase == TargetPhase::Delivering;
        // Between two tries it has begun already.
        if !begins || new.cleared || new.late || new.retried || old.retry_at.is_some() {
            continue;
        }
        if let Some(first) = wanted.canary.filter(|first| !is(new, *first)) {
            let well = now.targets.iter().filter(|state| is(state, first)).all(|state| {
                state.phase == TargetPhase::Succeeded
                    || state.skipped.as_ref().is_some_and(|skip| skip.held)
                    || state.cleared
            });
            if !well {
                let said = format!("{}: {} began before {}", now.name, new.target, member_name(first));
                return Err(("nobody begins before the first are well", said));
            }
        }
        if let Some(earlier) = earlier_in_order(wanted, before, now, new) {
            let said = format!("{}: {} began before {}", now.name, new.target, earlier.target);
            return Err(("targets begin in the order that the step says", said));
        }
        let failed = before.targets.iter().filter(|state| state.phase == TargetPhase::Failed).count();
        if failed > wanted.may_fail && wanted.on_failure != OnFailure::Continue {
            let said = format!("{}: {} began after {failed} had failed", now.name, new.target);
            return Err(("nobody begins once too many failed", said));
        }
    }
    Ok(())
}

/// Who still waits for its turn and nothing else, and stands before a target that begins.
fn earlier_in_order<'a>(
    wanted: &WantedStep,
    before: &StepState,
    now: &'a StepState,
    begins: &TargetState,
) -> Option<&'a TargetState> {
    if wanted.order.is_empty() {
        return None;
    }
    let waits = |state: &TargetState| state.phase == TargetPhase::Pending && state.reason == "WaitingForTurn";
    let first = wanted.canary.map(member_name);
    let rank = |state: &TargetState| {
        let cluster = &state.target.cluster;
        let said = wanted.order.iter().position(|member| member_name(*member) == *cluster);
        (Some(cluster) != first.as_ref(), said.unwrap_or(usize::MAX), cluster.clone())
    };
    let both = before.targets.iter().zip(&now.targets);
    let mut waiting = both.filter(|(old, new)| waits(old) && waits(new)).map(|(_, new)| new);
    waiting.find(|state| !state.retried && !state.late && rank(state) < rank(begins))
}
