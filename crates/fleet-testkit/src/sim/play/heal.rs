//! The end of a play: everything that was broken is mended, every question answered, and time runs until all is as wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_api::{Application, Phase, StepState, TargetPhase, TargetState, names};
use serde_json::{Value, json};

use super::users::Users;
use crate::sim::asked::Says;
use crate::sim::script::Answer;
use crate::sim::wanted::{Thing, Wanted, WantedStep, app_name, member_name, member_of};

/// How often it is looked, and for how long at most.
const LOOK: Duration = Duration::from_secs(20);
const LOOKS: usize = 240;
/// After so many looks it isn't waited any longer for what may never come by itself.
const A_FEW: usize = 6;
/// All must still be as wanted after this time.
const STAYS: Duration = Duration::from_secs(150);

impl Users {
    /// Says what isn't as it should be after all.
    pub(super) async fn heal(&mut self) -> anyhow::Result<Vec<String>> {
        for member in 0..self.members {
            self.membership(member, true).await?;
            self.cordon(member, false).await?;
        }
        self.heals = true;
        self.unmask().await?;
        self.note_inputs();
        let apps: Vec<usize> = self.wanted.keys().copied().collect();
        for app in &apps {
            self.annotate(*app, names::SUSPEND, Value::Null).await?;
            self.door(*app, true).await?;
            self.world.asked.say(*app, Says::Good);
            // What was held back is wanted now.
            let held_back = self.wanted.get(app).cloned().flatten().filter(|wanted| wanted.publish.is_some());
            if let Some(wanted) = held_back {
                self.counter += 1;
                self.apply(&Wanted { publish: Some(1_000_000 + self.counter), ..wanted }).await?;
            }
        }
        let mut restarts: BTreeMap<usize, usize> = BTreeMap::new();
        let mut unfinished = Vec::new();
        for look in 0..LOOKS {
            tokio::time::sleep(LOOK).await;
            unfinished = self.unfinished().await?;
            if unfinished.is_empty() {
                tokio::time::sleep(STAYS).await;
                unfinished = self.unfinished().await?;
                if unfinished.is_empty() {
                    return Ok(unfinished);
                }
                unfinished.insert(0, "all was as wanted, and didn't stay so".to_owned());
            }
            for app in &apps {
                if self.answer(*app, Answer::Yes).await? || self.ask_for_held(*app).await? {
                    continue;
                }
                let Some(found) = self.applications().get_opt(&app_name(*app)).await? else { continue };
                let status = found.status.unwrap_or_default();
                let phase = status.status;
                let current = fleet_api::conditions::find(&status.conditions, "Current");
                let back = current.is_some_and(|current| current.reason == "RolledBack");
                let lenient = self
                    .wanted
                    .get(app)
                    .and_then(Option::as_ref)
                    .is_some_and(|wanted| wanted.steps.iter().any(WantedStep::is_lenient));
                let ended = back && matches!(phase, Phase::Running | Phase::Unhealthy)
                    || matches!(phase, Phase::WorkflowFailed | Phase::WorkflowTerminated)
                    || lenient && look > A_FEW && matches!(phase, Phase::Running | Phase::Unhealthy);
                let tried = restarts.entry(*app).or_default();
                if ended && *tried < 6 {
                    *tried += 1;
                    self.counter += 1;
                    self.ask_anew(*app, &format!("healed-{}", self.counter)).await?;
                }
            }
        }
        Ok(unfinished)
    }

    /// Asks for targets that are left until somebody does; says whether there was one.
    async fn ask_for_held(&mut self, app: usize) -> anyhow::Result<bool> {
        let Some(run) = self.run_of(app).await? else { return Ok(false) };
        let wanted = self.wanted.get(&app).and_then(Option::as_ref);
        let held = |step: &StepState, state: &TargetState| {
            let index = wanted.and_then(|wanted| wanted.step_named(&step.name));
            let holds = index.is_some_and(|step| step.holds);
            state.phase == TargetPhase::Skipped
                && (holds || state.skipped.as_ref().is_some_and(|skip| skip.held))
        };
        let steps = run.status.iter().filter(|status| !status.phase.is_over());
        let steps = steps.flat_map(|status| &status.steps);
        let mut held = steps.flat_map(|step| step.targets.iter().filter(move |state| held(step, state)));
        let Some(member) = held.next().and_then(|state| member_of(&state.target.cluster)) else {
            return Ok(false);
        };
        self.ask_of_target(app, member, true).await?;
        Ok(true)
    }

    /// What differs between what is wanted and what is.
    async fn unfinished(&self) -> anyhow::Result<Vec<String>> {
        let mut differences = self.undistributed().await?;
        for (app, wanted) in &self.wanted {
            let name = app_name(*app);
            let found = self.applications().get_opt(&name).await?;
            // It waits for an application that is gone.
            let waits_in_vain = |wanted: &Wanted| {
                wanted.depends_on().any(|other| !matches!(self.wanted.get(&other), Some(Some(_))))
            };
            if wanted.as_ref().is_some_and(waits_in_vain) {
                continue;
            }
            if self.may_leave.contains(app) && found.as_ref().is_some_and(meets_what_was_left) {
                continue;
            }
            match (&found, wanted) {
                (Some(found), Some(_)) => {
                    let status = found.status.clone().unwrap_or_default();
                    let observed =
                        found.metadata.generation.unwrap_or_default() <= status.observed_generation;
                    if status.status != Phase::Running || !observed {
                        let message = status.workflow.map(|workflow| workflow.message).unwrap_or_default();
                        let services: Vec<String> = status
                            .services
                            .iter()
                            .filter(|service| !service.healthy)
                            .map(|service| {
                                format!("{} on {}: {}", service.name, service.cluster, service.message)
                            })
                            .collect();
                        let phase = status.status.as_str();
                        differences.push(format!("{name} is {phase}: {message} {services:?}"));
                    }
                }
                (None, Some(_)) => differences.push(format!("{name} is gone")),
                (Some(found), None) => {
                    let status = found.status.clone().unwrap_or_default();
                    let said =
                        status.services.first().map(|service| service.message.clone()).unwrap_or_default();
                    differences.push(format!("{name} was deleted and is still there: {said}"));
                }
                (None, None) => {}
            }
            for member in 0..self.members {
                let expected = wanted.as_ref().map(|wanted| wanted.on(member)).unwrap_or_default();
                let mut there: BTreeMap<Thing, (Option<u64>, Value)> = BTreeMap::new();
                for entry in self.things(member) {
                    if let Some(thing) = Thing::of(&entry.key.resource, &entry.key.name)
                        && thing.name.starts_with(&name)
                    {
                        let object: Value = serde_json::from_slice(&entry.value)?;
                        there.insert(thing.clone(), (thing.value(&object), object));
                    }
                }
                let place = member_name(member);
                // Whether anything comes there depends on which run is the last.
                if wanted.as_ref().is_some_and(|wanted| wanted.may_pass_over(member)) {
                    continue;
                }
                for (thing, value) in &expected {
                    match there.get(thing) {
                        None => differences.push(format!("{} is missing on {place}", thing.name)),
                        Some((found, _)) if *found != Some(*value) => {
                            differences.push(format!("{} on {place} is {found:?}, not {value}", thing.name));
                        }
                        Some((_, object)) if drifted(thing, object) => {
                            differences.push(format!("{} on {place} has drifted", thing.name));
                        }
                        Some(_) => {}
                    }
                }
                let excused = self.excused.contains(&(*app, member)) || self.may_leave.contains(app);
                for thing in there.keys().filter(|thing| !excused && !expected.contains_key(*thing)) {
                    differences.push(format!("{} on {place} should be gone", thing.name));
                }
            }
        }
        Ok(differences)
    }
}

/// Whether it waits for somebody to say what becomes of objects that an earlier revision left as nobody's.
fn meets_what_was_left(app: &Application) -> bool {
    let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
    let says = workflow.is_some_and(|workflow| workflow.message.contains("no application owns it"));
    // A step that couldn't take it may have gone back.
    let conditions = app.status.iter().flat_map(|status| &status.conditions);
    says || conditions.into_iter().any(|one| one.type_ == "Current" && one.reason == "RolledBack")
}

/// Whether what somebody changed on the member is still so.
fn drifted(thing: &Thing, object: &Value) -> bool {
    match thing.resource {
        "deployments.apps" => object.pointer("/spec/replicas") != Some(&json!(1)),
        _ => {
            let labels = object.pointer("/metadata/labels");
            labels.and_then(|labels| labels.get(names::APP_COMPONENT)) == Some(&json!("theirs"))
        }
    }
}
