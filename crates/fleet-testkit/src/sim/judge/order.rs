//! Status never goes back: what is over stays over, numbers don't fall.

use fleet_api::{Run, StepPhase, TargetPhase};
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
        if now.pointer("/status/status") == Some(&Value::from("running")) {
            self.ran.insert(name.clone());
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
        let before = self.runs.get(&now.name_any()).filter(|before| before.uid() == now.uid());
        if before.is_none() {
            self.begins(&now)?;
            self.learn(&now);
        }
        let before = self.runs.get(&now.name_any()).filter(|before| before.uid() == now.uid());
        self.is_superseded(before, &now)?;
        self.waited_for_others(&now)?;
        self.keeps_its_waves(before, &now)?;
        names_what_it_waits_for(&now)?;
        if let Some(before) = before {
            order(before, &now, self.record.asked_of_targets.contains(&now.name_any()))?;
        }
        self.note_delivered(&now);
        // A cluster that leaves takes its state along, and a delete may be on its way.
        for state in now.status.iter().flat_map(|status| &status.steps).flat_map(|step| &step.targets) {
            if matches!(state.phase, TargetPhase::Pruning | TargetPhase::Succeeded) {
                self.completed.insert((now.name_any(), state.target.cluster.clone()));
            }
        }
        self.runs.insert(now.name_any(), now);
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

/// A run that isn't over says what it waits for; one that is has nothing left.
fn names_what_it_waits_for(run: &Run) -> Verdict {
    let Some(status) = run.status.as_ref().filter(|status| status.started_at.is_some()) else {
        return Ok(());
    };
    let name = run.name_any();
    if !status.phase.is_over() && (status.message.is_empty() || status.reason.is_empty()) {
        return Err(("a run ends or says what it waits for", format!("{name} is {}", status.phase.as_str())));
    }
    if status.phase == fleet_api::RunPhase::Succeeded {
        // What its `if` passes over delivers nothing.
        let acted = status.steps.iter().filter(|step| step.phase == StepPhase::Succeeded);
        let left = acted.flat_map(|step| &step.targets);
        let mut left = left.filter(|state| !state.phase.is_over() || state.phase == TargetPhase::Skipped);
        if let Some(left) = left.next() {
            let said = format!("{name} succeeded, and {} is {}", left.target, left.phase.as_str());
            return Err(("nobody who was passed over is forgotten", said));
        }
    }
    Ok(())
}

/// `asked`: users asked for targets again, which opens what was over.
fn order(before: &Run, now: &Run, asked: bool) -> Verdict {
    let name = now.name_any();
    let (Some(old), Some(new)) = (&before.status, &now.status) else { return Ok(()) };
    if old.phase.is_over() && old.phase != new.phase && !asked {
        return Err((CHECK, format!("{name} was {} and is {}", old.phase.as_str(), new.phase.as_str())));
    }
    for (old, new) in old.steps.iter().zip(&new.steps) {
        // One that measures asks as often as nobody can say, each time anew.
        let measures = new.measured.is_some() && !old.phase.is_over() && !new.phase.is_over();
        let back =
            rank(new.phase) < rank(old.phase) && !measures || (old.phase.is_over() && old.phase != new.phase);
        let again = asked || new.attempts > old.attempts;
        if back && !asked {
            let (old, new) = (old.phase.as_str(), new.phase.as_str());
            return Err((CHECK, format!("a step of {name} was {old} and is {new}")));
        }
        let approved = |step: &fleet_api::StepState| {
            step.gate.as_ref().and_then(|gate| gate.approval.as_ref()).map(|a| a.plan_hash.clone())
        };
        if approved(old).is_some() && approved(old) != approved(new) && !measures {
            return Err((CHECK, format!("the approval of {}/{} changed", name, new.name)));
        }
        if new.gate.as_ref().is_some_and(|gate| gate.rejection.is_some() && gate.is_open()) {
            return Err(("who was told no doesn't act", format!("{name}/{}", new.name)));
        }
        for (old, new) in old.targets.iter().zip(&new.targets) {
            // Who was passed over catches up.
            let over = old.phase.is_over() && old.phase != TargetPhase::Skipped;
            if over && new.phase != old.phase && !(again && old.phase == TargetPhase::Failed) {
                let (old, new, place) = (old.phase.as_str(), new.phase.as_str(), &new.target);
                return Err((CHECK, format!("{place} in {name} was {old} and is {new}")));
            }
            let anew = again || old.phase == TargetPhase::Skipped || new.phase == TargetPhase::Skipped;
            if new.attempts < old.attempts && !anew {
                return Err((CHECK, format!("attempts at {} in {name} are forgotten", new.target)));
            }
        }
    }
    Ok(())
}
