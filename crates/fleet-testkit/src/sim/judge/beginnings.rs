//! What may start a run, and what may end one for it.

use fleet_api::{Run, RunPhase, StepPhase};
use kube::ResourceExt as _;

use super::{Known, Verdict};
use crate::sim::wanted::{OnFailure, Wanted};

const HELD: &str = "an edit that publishVersion holds back starts nothing";
const BACK: &str = "what is gone back to was completed before";
const QUEUED: &str = "a newer revision waits where an application says so";

impl Known<'_> {
    pub(super) fn begins(&self, run: &Run) -> Verdict {
        let name = run.name_any();
        let of_same = |other: &&Run| other.spec.application_uid == run.spec.application_uid;
        let earlier =
            || self.runs.values().filter(of_same).filter(|other| other.spec.number < run.spec.number);
        let last = earlier().max_by_key(|other| other.spec.number);
        let version = &run.spec.publish_version;
        if run.spec.cause == "RevisionChanged"
            && version.is_some()
            && last.is_some_and(|last| last.spec.publish_version == *version)
        {
            return Err((HELD, format!("{name}, of {version:?}")));
        }
        let Some(rollback) = &run.spec.rollback else { return Ok(()) };
        if run.spec.cause == "ClusterJoined" {
            return Ok(());
        }
        let back_to = (run.spec.application_uid.clone(), run.spec.revision.clone());
        if !self.delivered.contains(&back_to) {
            return Err((BACK, format!("{name} goes back to {}", run.spec.revision)));
        }
        if rollback.automatic {
            let Some(last) = last else { return Ok(()) };
            let steps = last.status.iter().flat_map(|status| &status.steps);
            let asks = |wanted: &Wanted, step: &str| {
                wanted.step_named(step).is_some_and(|step| step.on_failure == OnFailure::Rollback)
            };
            let wanted = self.wanted_by(last);
            let mut failed = steps.filter(|step| step.phase == StepPhase::Failed);
            if last.spec.rollback.is_some()
                || wanted.is_some_and(|wanted| !failed.any(|step| asks(wanted, &step.name)))
            {
                return Err((
                    "only a step that says so is rolled back",
                    format!("{name} after {}", last.name_any()),
                ));
            }
        }
        Ok(())
    }

    /// Takes note of what a run has delivered, if only what it owes to targets that it passed over is left.
    pub(super) fn note_delivered(&mut self, run: &Run) {
        let done = |status: &fleet_api::RunStatus| {
            status.phase == RunPhase::Succeeded || status.reason == "CatchUpPending"
        };
        if run.status.as_ref().is_some_and(done) {
            self.delivered.insert((run.spec.application_uid.clone(), run.spec.revision.clone()));
        }
    }

    /// What a run's revision says.
    pub(super) fn learn(&mut self, run: &Run) {
        let uid = run.spec.application_uid.clone();
        if run.spec.rollback.is_some() || run.spec.cause == "ClusterJoined" {
            return;
        }
        if let Some(wanted) = self.record.wanted.get(&(uid.clone(), run.spec.generation)) {
            self.revisions.insert((uid, run.spec.revision.clone()), wanted.clone());
        }
    }

    pub(super) fn wanted_by(&self, run: &Run) -> Option<&Wanted> {
        self.revisions.get(&(run.spec.application_uid.clone(), run.spec.revision.clone()))
    }

    /// Where all that an application ever said is that newer revisions wait, and nobody asked for more, no run ends for
    /// a newer one.
    pub(super) fn is_superseded(&self, before: Option<&Run>, now: &Run) -> Verdict {
        let (Some(old), Some(new)) = (before.and_then(|run| run.status.as_ref()), &now.status) else {
            return Ok(());
        };
        let ends = new.phase == RunPhase::Superseded && old.phase != new.phase;
        if !ends || old.reason == "CatchUpPending" || self.record.asked_anew.contains(&now.spec.application) {
            return Ok(());
        }
        let said = self.record.wanted.iter().filter(|((uid, _), _)| *uid == now.spec.application_uid);
        let mut said = said.map(|(_, wanted)| wanted);
        if said.all(|wanted| wanted.queues) {
            return Err((QUEUED, format!("{} was superseded", now.name_any())));
        }
        Ok(())
    }
}
