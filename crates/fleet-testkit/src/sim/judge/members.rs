//! What happens on members: what comes was let through and is listed, what goes isn't needed.

use fleet_api::{Run, StepState, TargetPhase, names};
use fleet_store::{Event, EventKind};
use kube::ResourceExt as _;
use serde_json::Value;

use super::{Known, Verdict};
use crate::sim::wanted::{NAMESPACE, Thing, Wanted, app_of};

const GATES: &str = "nothing passes a gate that isn't approved for this plan";
const INVENTORY: &str = "what we own is in an inventory before it is created";
const DELETES: &str = "nothing is deleted that the newest completed revision contains";

fn owned(object: &Value) -> bool {
    object.pointer("/metadata/labels").and_then(|labels| labels.get(names::OWNER)).is_some()
}

impl Known<'_> {
    pub(super) fn on_member(&self, event: &Event) -> Verdict {
        if &*event.key.namespace != NAMESPACE || self.record.by_users.contains(&event.revision) {
            return Ok(());
        }
        let Some(thing) = Thing::of(&event.key.resource, &event.key.name) else { return Ok(()) };
        let Some(app) = app_of(&thing.name) else { return Ok(()) };
        let object: Value = serde_json::from_slice(&event.value).unwrap_or_default();
        if !owned(&object) {
            return Ok(());
        }
        let cluster = &*event.key.cluster;
        if event.kind == EventKind::Deleted {
            return self.deleted(app, cluster, &thing);
        }
        let before: Option<Value> = event.previous.as_ref().and_then(|old| serde_json::from_slice(old).ok());
        if before.is_none() {
            self.listed(app, cluster, &thing)?;
        }
        let value = thing.value(&object);
        if before.as_ref().is_some_and(|before| thing.value(before) == value && owned(before)) {
            return Ok(());
        }
        self.let_through(app, cluster, &thing, value)
    }

    pub(super) fn wanted_by(&self, run: &Run) -> Option<&Wanted> {
        self.record.wanted.get(&(run.spec.application_uid.clone(), run.spec.generation))
    }

    /// Some run that wants this there had its gates opened for it.
    fn let_through(&self, app: &str, cluster: &str, thing: &Thing, value: Option<u64>) -> Verdict {
        let member = member_of(cluster);
        let mut why = "no run wants it there".to_owned();
        for run in self.runs_of(app) {
            let Some(wanted) = self.wanted_by(run) else { continue };
            if wanted.on(member).get(thing).copied() != value {
                continue;
            }
            match self.gates_are_open(run, wanted, member, cluster) {
                Ok(()) => return Ok(()),
                Err(shut) => why = format!("{}: {shut}", run.name_any()),
            }
        }
        Err((GATES, format!("{} = {value:?} on {cluster}: {why}", thing.name)))
    }

    fn gates_are_open(&self, run: &Run, wanted: &Wanted, member: usize, cluster: &str) -> Result<(), String> {
        let Some(at) = wanted.step_of(member) else { return Err("no step reaches it".to_owned()) };
        let steps = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
        let state = |index: usize| {
            let name = Wanted::step_name(index);
            steps.iter().find(|step| step.name == name).ok_or_else(|| format!("it has no {name}"))
        };
        let own = state(at)?;
        let target = own.targets.iter().find(|target| target.target.cluster == cluster);
        match target {
            None => return Err(format!("it isn't among the targets of {}", own.name)),
            Some(target) if target.phase == TargetPhase::Pending => {
                return Err(format!("its turn in {} hasn't come", own.name));
            }
            Some(_) => {}
        }
        if run.spec.cause == "ClusterJoined" {
            let behind_a_gate = wanted.steps.iter().take(at + 1).any(|step| step.gated);
            return if behind_a_gate { self.approved(run, own) } else { Ok(()) };
        }
        for index in 0..at {
            let before = state(index)?;
            if before.phase != fleet_api::StepPhase::Succeeded {
                return Err(format!("{} is {}", before.name, before.phase.as_str()));
            }
        }
        for (index, step) in wanted.steps.iter().enumerate().take(at + 1) {
            if step.gated {
                self.approved(run, state(index)?)?;
            }
        }
        if own.ask { self.approved(run, own) } else { Ok(()) }
    }

    fn approved(&self, run: &Run, step: &StepState) -> Result<(), String> {
        let name = &step.name;
        let Some(open) = step.gate.as_ref().and_then(|gate| gate.approval.as_ref()) else {
            return Err(format!("the gate of {name} is shut"));
        };
        if open.plan_hash != step.plan_hash {
            return Err(format!(
                "{name} carries out plan {}, approved was {}",
                step.plan_hash, open.plan_hash
            ));
        }
        if open.approval.is_empty() {
            let by_hand = self.record.by_hand.contains(&(run.name_any(), name.clone()));
            return if by_hand { Ok(()) } else { Err(format!("nobody opened the gate of {name}")) };
        }
        let given = self.approvals.iter().any(|approval| {
            let spec = &approval.spec;
            approval.name_any() == open.approval
                && spec.run == run.name_any()
                && spec.step == *name
                && spec.plan_hash == open.plan_hash
        });
        if given { Ok(()) } else { Err(format!("nobody approved plan {} of {name}", open.plan_hash)) }
    }

    fn listed(&self, app: &str, cluster: &str, thing: &Thing) -> Verdict {
        let (api_version, kind) = thing.kind();
        let listed = self.inventories.get(app).is_some_and(|inventory| {
            let here = inventory.targets.iter().filter(|entry| entry.target.cluster == cluster);
            here.flat_map(|entry| entry.objects.keys())
                .any(|id| id.name == thing.name && id.kind == kind && id.api_version == api_version)
        });
        if listed { Ok(()) } else { Err((INVENTORY, format!("{} on {cluster}", thing.name))) }
    }

    fn deleted(&self, app: &str, cluster: &str, thing: &Thing) -> Verdict {
        let goes = self.apps.get(app).is_none_or(|app| app.pointer("/metadata/deletionTimestamp").is_some());
        if goes {
            return Ok(());
        }
        let member = member_of(cluster);
        // The newest run whose objects are all done there: its own deletes come after that.
        let completed = self.runs_of(app).find(|run| {
            let steps = run.status.iter().flat_map(|status| &status.steps);
            let here = steps.flat_map(|step| &step.targets).filter(|target| target.target.cluster == cluster);
            here.into_iter()
                .any(|target| matches!(target.phase, TargetPhase::Pruning | TargetPhase::Succeeded))
        });
        let Some(completed) = completed else {
            return Err((DELETES, format!("{} on {cluster}: nothing was ever completed there", thing.name)));
        };
        let Some(wanted) = self.wanted_by(completed) else { return Ok(()) };
        if wanted.on(member).contains_key(thing) {
            let run = completed.name_any();
            return Err((DELETES, format!("{} on {cluster}: {run} contains it", thing.name)));
        }
        let steps = completed.status.iter().flat_map(|status| &status.steps);
        for step in steps {
            let mut here = step.targets.iter().filter(|target| target.target.cluster == cluster);
            if here.any(|target| !target.guard.is_empty()) {
                let asked = self.approved(completed, step);
                asked.map_err(|shut| (GATES, format!("{} is deleted on {cluster}: {shut}", thing.name)))?;
            }
        }
        Ok(())
    }
}

fn member_of(cluster: &str) -> usize {
    cluster.strip_prefix('m').and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}
