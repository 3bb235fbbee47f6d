//! Status never goes back: what is over stays over, numbers don't fall.

use fleet_api::{Run, StepPhase, TargetPhase, TargetState};
use fleet_store::{Event, EventKind};
use kube::ResourceExt as _;
use serde_json::Value;

use super::{Known, Verdict};

const CHECK: &str = "status never shows older after newer";

impl Known<'_> {
    pub(super) fn application(&mut self, event: &Event) -> Verdict {
        let name = event.key.name.to_string();
        if event.kind == EventKind::Deleted {
            self.apps.remove(&name);
            return Ok(());
        }
        let now: Value = serde_json::from_slice(&event.value).unwrap_or_default();
        let number =
            |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        if let Some(before) = self.apps.get(&name) {
            for field in ["/status/observedGeneration", "/status/latestRevision/revision"] {
                let (old, new) = (number(before, field), number(&now, field));
                if new < old {
                    return Err((CHECK, format!("{name}: {field} was {old} and is {new}")));
                }
            }
        }
        self.apps.insert(name, now);
        Ok(())
    }

    pub(super) fn run(&mut self, event: &Event) -> Verdict {
        // Runs that are forgotten still say what they let through.
        if event.kind == EventKind::Deleted {
            return Ok(());
        }
        let Ok(now) = serde_json::from_slice::<Run>(&event.value) else {
            return Err(("a Run can be read", event.key.to_string()));
        };
        self.at_once(&now)?;
        if let Some(before) = self.runs.get(&now.name_any()).filter(|before| before.uid() == now.uid()) {
            order(before, &now)?;
        }
        self.runs.insert(now.name_any(), now);
        Ok(())
    }
}

impl Known<'_> {
    /// No more targets are under way than the step says.
    fn at_once(&self, run: &Run) -> Verdict {
        let Some(wanted) = self.wanted_by(run) else { return Ok(()) };
        let steps = run.status.iter().flat_map(|status| &status.steps);
        for (wanted, step) in wanted.steps.iter().zip(steps) {
            let under_way = |phase| {
                matches!(phase, TargetPhase::Delivering | TargetPhase::Waiting | TargetPhase::Pruning)
            };
            // Who catches up takes no place, nor does what is only left once everything else is done, nor who waits for
            // a person to agree to its deletes.
            let asks =
                |target: &&TargetState| target.phase == TargetPhase::Pruning && !target.guard.is_empty();
            let mut acting = step
                .targets
                .iter()
                .filter(|target| under_way(target.phase) && !target.late && !target.cleared && !asks(target));
            let most = wanted.at_once.unwrap_or(usize::MAX);
            if step.phase == StepPhase::Running && acting.by_ref().count() > most {
                let said = format!("{} of {}: more than {most}", step.name, run.name_any());
                return Err(("no more targets are under way than the step says", said));
            }
        }
        Ok(())
    }
}

fn rank(phase: StepPhase) -> u8 {
    match phase {
        StepPhase::Pending => 0,
        StepPhase::Suspending => 1,
        StepPhase::Running => 2,
        _ => 3,
    }
}

fn order(before: &Run, now: &Run) -> Verdict {
    let name = now.name_any();
    let (Some(old), Some(new)) = (&before.status, &now.status) else { return Ok(()) };
    if old.phase.is_over() && old.phase != new.phase {
        return Err((CHECK, format!("{name} was {} and is {}", old.phase.as_str(), new.phase.as_str())));
    }
    for (old, new) in old.steps.iter().zip(&new.steps) {
        if rank(new.phase) < rank(old.phase) || (old.phase.is_over() && old.phase != new.phase) {
            let (old, new) = (old.phase.as_str(), new.phase.as_str());
            return Err((CHECK, format!("a step of {name} was {old} and is {new}")));
        }
        let approved = |step: &fleet_api::StepState| {
            step.gate.as_ref().and_then(|gate| gate.approval.as_ref()).map(|a| a.plan_hash.clone())
        };
        if approved(old).is_some() && approved(old) != approved(new) {
            return Err((CHECK, format!("the approval of {}/{} changed", name, new.name)));
        }
        if new.gate.as_ref().is_some_and(|gate| gate.rejection.is_some() && gate.is_open()) {
            return Err(("who was told no doesn't act", format!("{name}/{}", new.name)));
        }
        for (old, new) in old.targets.iter().zip(&new.targets) {
            // Who was passed over catches up.
            let over = old.phase.is_over() && old.phase != TargetPhase::Skipped;
            if over && new.phase != old.phase {
                let (old, new, place) = (old.phase.as_str(), new.phase.as_str(), &new.target);
                return Err((CHECK, format!("{place} in {name} was {old} and is {new}")));
            }
            if new.attempts < old.attempts {
                return Err((CHECK, format!("attempts at {} in {name} are forgotten", new.target)));
            }
        }
    }
    Ok(())
}
