//! What happens on members: what comes was let through and is listed, what goes isn't needed.

use std::collections::BTreeSet;

use fleet_api::{Approval, Decision, Run, StepPhase, StepState, TargetPhase, names};
use fleet_store::{Event, EventKind};
use kube::ResourceExt as _;
use serde_json::Value;

use super::{Known, Verdict};
use crate::sim::wanted::{
    Clause, Deletes, NAMESPACE, RELEASERS, Thing, USER, Wanted, WantedStep, What, app_of, member_of,
};

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

    /// Some run that wants this there had its gates opened for it.
    fn let_through(&self, app: &str, cluster: &str, thing: &Thing, value: Option<u64>) -> Verdict {
        let Some(member) = member_of(cluster) else { return Ok(()) };
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
        let Some(step) = wanted.steps.get(at) else { return Err("no step reaches it".to_owned()) };
        let steps = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
        let state = |index: usize| {
            let name = Wanted::step_name(index);
            steps.iter().find(|step| step.name == name).ok_or_else(|| format!("it has no {name}"))
        };
        let own = state(at)?;
        let target = own.targets.iter().find(|target| target.target.cluster == cluster);
        match target {
            None => return Err(format!("it isn't among the targets of {}", own.name)),
            Some(target) if target.phase == TargetPhase::Pending && target.started_at.is_none() => {
                return Err(format!("its turn in {} hasn't come", own.name));
            }
            // What was on its way when it was passed over may still arrive.
            Some(target) if target.phase == TargetPhase::Skipped && target.started_at.is_none() => {
                return Err(format!("{} passed it over", own.name));
            }
            Some(_) => {}
        }
        let before = wanted.before(at);
        let asking: Vec<(usize, &WantedStep)> = wanted
            .steps
            .iter()
            .enumerate()
            .filter(|(index, step)| step.asks() && (*index == at || before.contains(index)))
            .collect();
        if run.spec.cause == "ClusterJoined" {
            let timed = asking.iter().any(|(_, step)| matches!(step.what, What::Pause(Some(_))));
            return if timed || asking.is_empty() || self.is_owed(run, &own.name, cluster) {
                Ok(())
            } else {
                self.approved(run, own, None)
            };
        }
        // Who asks for a target again opens steps that were over.
        let reopened = self.record.asked_of_targets.contains(&run.name_any());
        for index in &before {
            let before = state(*index)?;
            let passed_over = before.phase == StepPhase::Skipped && before.reason == "ConditionFalse";
            let over = before.phase.is_over();
            let fine = before.phase == StepPhase::Succeeded
                || passed_over
                || over && step.clause.is_some()
                || reopened;
            if !fine {
                return Err(format!("{} is {}", before.name, before.phase.as_str()));
            }
        }
        match step.clause {
            Some(Clause::EvenRuns) if run.spec.number % 2 != 0 => {
                return Err(format!("the condition of {} is false", own.name));
            }
            Some(Clause::Well(earlier)) if !reopened && state(earlier)?.phase != StepPhase::Succeeded => {
                return Err(format!("the condition of {} is false", own.name));
            }
            _ => {}
        }
        // A step with a condition takes what it takes for the condition alone, which may do without.
        if let Some(maker) = step.takes.filter(|_| !reopened && step.clause.is_none())
            && state(maker)?.phase != StepPhase::Succeeded
        {
            return Err(format!("{} takes what was never made", own.name));
        }
        for (index, step) in asking {
            let gate = state(index)?;
            if index == at || gate.phase == StepPhase::Succeeded {
                self.approved(run, gate, Some(step))?;
            }
        }
        if own.ask { self.approved(run, own, None) } else { Ok(()) }
    }

    /// Whether an earlier run of the revision had the approval for a target, and owes it still.
    fn is_owed(&self, run: &Run, step: &str, cluster: &str) -> bool {
        let earlier =
            |before: &&Run| before.spec.number < run.spec.number && before.spec.revision == run.spec.revision;
        self.runs_of(&run.spec.application).filter(earlier).any(|before| {
            let steps = before.status.iter().flat_map(|status| &status.steps);
            let own = steps.filter(|state| state.name == step).find(|state| {
                state
                    .targets
                    .iter()
                    .any(|target| target.target.cluster == cluster && target.phase == TargetPhase::Skipped)
            });
            own.is_some_and(|own| self.approved(before, own, None).is_ok())
        })
    }

    fn approved(&self, run: &Run, step: &StepState, wanted: Option<&WantedStep>) -> Result<(), String> {
        let name = &step.name;
        let gate = step.gate.as_ref();
        let Some((gate, open)) = gate.and_then(|gate| Some((gate, gate.approval.as_ref()?))) else {
            return Err(format!("the gate of {name} is shut"));
        };
        if open.plan_hash != step.plan_hash {
            return Err(format!(
                "{name} carries out plan {}, approved was {}",
                step.plan_hash, open.plan_hash
            ));
        }
        if gate.expires_at.zip(open.at).is_some_and(|(expires, at)| at > expires) {
            return Err(format!("the gate of {name} was opened after it had expired"));
        }
        let rule = wanted.and_then(|step| step.rule.as_ref());
        if open.approval.is_empty() {
            let by_hand = self.record.by_hand.contains(&(run.name_any(), name.clone()));
            let waits = wanted.and_then(|step| match step.what {
                What::Pause(seconds) => seconds,
                _ => None,
            });
            let by_time = waits.zip(gate.since.zip(open.at)).is_some_and(|(seconds, (since, at))| {
                at.duration_since(since).as_secs() >= i64::try_from(seconds).unwrap_or(i64::MAX)
            });
            let fine = rule.is_none() && (by_hand || by_time);
            return if fine { Ok(()) } else { Err(format!("nobody opened the gate of {name}")) };
        }
        let given: Vec<&Approval> = self
            .approvals
            .iter()
            .filter(|approval| {
                let spec = &approval.spec;
                spec.decision == Decision::Approve
                    && spec.run == run.name_any()
                    && spec.step == *name
                    && spec.plan_hash == open.plan_hash
            })
            .collect();
        if !given.iter().any(|approval| approval.name_any() == open.approval) {
            return Err(format!("nobody approved plan {} of {name}", open.plan_hash));
        }
        let Some(rule) = rule else { return Ok(()) };
        let counts = |approval: &&&Approval| {
            (!rule.no_author || approval.spec.approver != USER)
                && (!rule.releasers || approval.spec.groups.iter().any(|group| group == RELEASERS))
        };
        let who: BTreeSet<&str> =
            given.iter().filter(counts).map(|approval| approval.spec.approver.as_str()).collect();
        if who.len() < rule.required {
            return Err(format!("only {who:?} approved {name}, which asks for {rule:?}"));
        }
        Ok(())
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
        let Some(member) = member_of(cluster) else { return Ok(()) };
        // The newest run whose objects are all done there: its own deletes come after that.
        let completed =
            self.runs_of(app).find(|run| self.completed.contains(&(run.name_any(), cluster.to_owned())));
        let Some(completed) = completed else {
            return Err((DELETES, format!("{} on {cluster}: nothing was ever completed there", thing.name)));
        };
        let Some(wanted) = self.wanted_by(completed) else { return Ok(()) };
        if wanted.on(member).contains_key(thing) {
            let run = completed.name_any();
            return Err((DELETES, format!("{} on {cluster}: {run} contains it", thing.name)));
        }
        let keeps = wanted.step_of(member).and_then(|at| wanted.steps.get(at));
        if keeps.is_some_and(|step| step.deletes == Deletes::Keeps) {
            let run = completed.name_any();
            return Err((
                DELETES,
                format!("{} on {cluster}: {run} keeps what it doesn't contain", thing.name),
            ));
        }
        let steps = completed.status.iter().flat_map(|status| &status.steps);
        for step in steps {
            let mut here = step.targets.iter().filter(|target| target.target.cluster == cluster);
            if here.any(|target| !target.guard.is_empty()) {
                let asked = self.approved(completed, step, None);
                asked.map_err(|shut| (GATES, format!("{} is deleted on {cluster}: {shut}", thing.name)))?;
            }
        }
        Ok(())
    }
}
