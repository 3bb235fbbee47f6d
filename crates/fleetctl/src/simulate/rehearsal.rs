//! The director of a rehearsal: faults at their times, answers at gates, and when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_api::{Application, Approval, ApprovalSpec, Gate, GateBefore, Phase, Run};
use fleet_apiserver::{ApiServer, Identity};
use fleet_sim::Fault;
use futures::TryStreamExt as _;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fault::{Approvals, CONTROLLER, PlannedFault, Trouble};
use super::input::Input;
use super::timeline::{About, Timeline};
use super::world::World;
use crate::exit::{Failure, Outcome};
use crate::roster::Roster;

/// Nothing may have happened for so long before what is over is believed to be over.
const QUIET: Duration = Duration::from_secs(30);
/// Who approves.
const APPROVER: &str = "rehearsal";

/// What is rehearsed, and how.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) input: Input,
    pub(super) faults: Vec<PlannedFault>,
    pub(super) approvals: Approvals,
    pub(super) seed: u64,
    pub(super) until: Duration,
}

/// How it ended.
pub(super) struct Ended {
    pub(super) timeline: Timeline,
    pub(super) app: Option<Application>,
    pub(super) roster: Roster,
    pub(super) at: Duration,
}

/// Something that the director does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cue {
    Set(String, Fault, String),
    Unwell(String, bool),
    Crash,
    Start,
}

struct Director {
    world: World,
    scenario: Scenario,
    /// When the Application was applied.
    zero: Instant,
    cues: BTreeMap<Duration, Vec<Cue>>,
    timeline: Timeline,
    roster: Roster,
    /// Gates that were told of and answered: run, step, plan.
    shown: BTreeSet<(String, String, String)>,
    answered: BTreeSet<(String, String, String)>,
    /// The next time at which a gate is answered that waits already.
    next_answer: Option<Duration>,
}

/// Takes a scenario from its beginning to its end.
pub(super) async fn run(scenario: Scenario) -> Outcome<Ended> {
    let specs = scenario.input.members.iter().map(|member| member.spec.clone()).collect();
    let failed = |error: crate::embedded::EmbeddedError| Failure::usage(error.to_string());
    let mut world = World::start(specs, scenario.seed).await.map_err(failed)?;
    world.start_engine();
    let hub = world.embedded.client(ApiServer::HUB);
    describe_members(&hub, &scenario.input).await?;
    let roster = Roster::load(&crate::access::Cluster::in_process(hub.clone(), ApiServer::HUB)).await?;
    let cues = cues(&scenario)?;
    let (last, before) = match scenario.input.objects.split_last() {
        Some((last, before)) => (last.clone(), before.to_vec()),
        None => return Err(Failure::usage("the files hold nothing")),
    };
    prepare(&hub, &before, &scenario.input.namespace).await?;
    let mut director = Director {
        world,
        zero: Instant::now(),
        cues,
        timeline: Timeline::default(),
        roster,
        shown: BTreeSet::new(),
        answered: BTreeSet::new(),
        next_answer: None,
        scenario,
    };
    director.act(Duration::ZERO).await;
    apply(&hub, &last, &director.scenario.input.namespace).await?;
    let (app, at) = director.watch(&hub).await?;
    director.world.kill_engine().await;
    let Director { world, timeline, roster, .. } = director;
    world.embedded.shutdown().await;
    Ok(Ended { timeline, app, roster, at })
}

impl Director {
    fn now(&self) -> Duration {
        self.zero.elapsed()
    }

    async fn watch(&mut self, hub: &kube::Client) -> Outcome<(Option<Application>, Duration)> {
        let input = &self.scenario.input;
        let api: Api<Application> = Api::namespaced(hub.clone(), &input.namespace);
        let name = input.application.clone();
        let mut changes = std::pin::pin!(watch_object(api, &name).default_backoff());
        let mut last: Option<Application> = None;
        let mut happened = Duration::ZERO;
        loop {
            let over =
                self.cues.is_empty() && self.next_answer.is_none() && last.as_ref().is_some_and(is_over);
            let end = if over { (happened + QUIET).min(self.scenario.until) } else { self.scenario.until };
            let cue = self.cues.keys().next().copied();
            let next = [cue, self.next_answer].into_iter().flatten().chain([end]).min().unwrap_or(end);
            tokio::select! {
                biased;
                why = self.world.engine_failed() => {
                    return Err(Failure::failed(format!("the controller ended: {why}")));
                }
                change = changes.try_next() => if let Ok(Some(Some(app))) = change {
                    let now = self.now();
                    if self.timeline.see(now, &app, &self.roster) {
                        happened = now;
                    }
                    self.answer(hub, &app).await?;
                    last = Some(app);
                },
                () = tokio::time::sleep_until(self.zero + next) => {
                    let now = self.now();
                    if now >= end {
                        return Ok((last, end));
                    }
                    self.act(now).await;
                    if let Some(app) = last.clone() {
                        self.answer(hub, &app).await?;
                    }
                    happened = now;
                }
            }
        }
    }

    /// Does what is due.
    async fn act(&mut self, now: Duration) {
        while let Some(due) = self.cues.first_entry().filter(|due| *due.key() <= now) {
            for cue in due.remove() {
                match cue {
                    Cue::Set(member, fault, said) => {
                        if let Some(faults) = self.world.ways.faults.get(&member) {
                            faults.set(fault);
                        }
                        self.timeline.note(now, About::Fault, &self.roster.label(&member), &said, "");
                    }
                    Cue::Unwell(member, unwell) => {
                        self.world.unwell.set(&member, unwell);
                        let said = if unwell {
                            "workloads don't become ready"
                        } else {
                            "workloads become ready again"
                        };
                        self.timeline.note(now, About::Fault, &self.roster.label(&member), said, "");
                    }
                    Cue::Crash => {
                        self.world.kill_engine().await;
                        self.timeline.note(now, About::Fault, CONTROLLER, "killed", "");
                    }
                    Cue::Start => {
                        self.world.start_engine();
                        self.timeline.note(now, About::Fault, CONTROLLER, "started anew", "");
                    }
                }
            }
        }
    }

    /// Tells of gates that wait, and answers those that are to be answered by now.
    async fn answer(&mut self, hub: &kube::Client, app: &Application) -> Outcome {
        self.next_answer = None;
        let Some(workflow) = app.status.as_ref().and_then(|status| status.workflow.as_ref()) else {
            return Ok(());
        };
        let namespace = self.scenario.input.namespace.clone();
        let runs: Api<Run> = Api::namespaced(hub.clone(), &namespace);
        let Ok(run) = runs.get(&workflow.run).await else { return Ok(()) };
        refuse_strangers(&self.scenario.approvals, &run)?;
        let steps = run.status.iter().flat_map(|status| &status.steps);
        for (step, gate) in steps.filter_map(|step| Some((step, step.shut_gate()?))) {
            let (now, hash) = (self.now(), gate.plan_hash.as_str());
            let key = (run.name_any(), step.name.clone(), hash.to_owned());
            if self.shown.insert(key.clone()) {
                let (what, why) = match gate.before {
                    GateBefore::Step => {
                        let plan = Box::pin(fleet_controller::gate_plan(hub, app, &run, &step.name)).await;
                        (
                            format!("waits with plan {hash}"),
                            plan.map_or_else(|cause| cause, |plan| plan.summary),
                        )
                    }
                    GateBefore::Deletes => {
                        (format!("waits before deletes, with plan {hash}"), step.message.clone())
                    }
                };
                self.timeline.note(now, About::Gate, &step.name, &what, &why);
            }
            let Some(from) = self.scenario.approvals.from(&step.name) else { continue };
            if from > now {
                self.next_answer = Some(self.next_answer.map_or(from, |next| next.min(from)));
            } else if self.answered.insert(key) {
                self.approve(&run, &step.name, gate).await?;
            }
        }
        Ok(())
    }

    /// As many people as the gate demands, each of a group that it names, approve.
    async fn approve(&mut self, run: &Run, step: &str, gate: &Gate) -> Outcome {
        let input = &self.scenario.input;
        for number in 1..=gate.required.unwrap_or(1) {
            let approver = format!("{APPROVER}-{number}");
            let mut groups = vec![Identity::MASTERS.to_owned()];
            groups.extend(gate.groups.first().cloned());
            let identity = Identity::new(approver.clone(), groups);
            let spec = ApprovalSpec {
                application: input.application.clone(),
                run: run.name_any(),
                step: step.to_owned(),
                plan_hash: gate.plan_hash.clone(),
                approver: approver.clone(),
                groups: identity.groups.clone(),
                reason: "a rehearsal".to_owned(),
                ..ApprovalSpec::default()
            };
            let hub = self.world.embedded.client_as(ApiServer::HUB, identity);
            let approvals: Api<Approval> = Api::namespaced(hub, &input.namespace);
            let name = format!("{}-{}-{number}", run.name_any(), self.answered.len());
            let made = approvals.create(&PostParams::default(), &Approval::new(&name, spec)).await;
            made.map_err(|error| Failure::kube("the approval", &error))?;
            let what = format!("plan {} approved by {approver}", gate.plan_hash);
            self.timeline.note(self.zero.elapsed(), About::Approval, step, &what, "");
        }
        Ok(())
    }
}

/// Whether answers are given for steps that there aren't.
fn refuse_strangers(approvals: &super::Approvals, run: &Run) -> Outcome {
    let steps = run.status.iter().flat_map(|status| &status.steps);
    let known: Vec<&str> = steps.map(|step| step.name.as_str()).collect();
    match approvals.steps.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => {
            let advice = crate::nearest::advice(name, &known, "steps");
            Err(Failure::not_found(format!("--approve: no step is named {name:?}{advice}")))
        }
        None => Ok(()),
    }
}

/// Whether the run has ended.
fn is_over(app: &Application) -> bool {
    let Some(status) = &app.status else { return false };
    let observed = app.metadata.generation.is_none_or(|generation| status.observed_generation >= generation);
    observed && matches!(status.status, Phase::Running | Phase::WorkflowFailed | Phase::WorkflowTerminated)
}

/// The faults as single cues, members by their names.
fn cues(scenario: &Scenario) -> Outcome<BTreeMap<Duration, Vec<Cue>>> {
    let mut cues: BTreeMap<Duration, Vec<Cue>> = BTreeMap::new();
    let members = &scenario.input.members;
    for fault in &scenario.faults {
        if fault.at >= scenario.until {
            return Err(Failure::usage(format!(
                "--fault {}@{:?}: that is after the end of the rehearsal; give it more time with --until",
                fault.cluster, fault.at
            )));
        }
        let wanted = fault.cluster.as_str();
        let found = members.iter().find(|m| m.spec.name == wanted || m.spec.alias.as_deref() == Some(wanted));
        let name = match found {
            Some(member) => member.spec.name.clone(),
            None if fault.trouble == Trouble::Crash => String::new(),
            None => {
                let known = members.iter().flat_map(|m| [Some(m.spec.name.clone()), m.spec.alias.clone()]);
                let known: Vec<String> = known.flatten().collect();
                let advice = crate::nearest::advice(wanted, &known, "members");
                return Err(Failure::not_found(format!("--fault: no member is named {wanted:?}{advice}")));
            }
        };
        let end = fault.lasts.map(|lasts| fault.at + lasts);
        let mut cue = |at: Duration, cue: Cue| cues.entry(at).or_default().push(cue);
        let up = |said: &str| Cue::Set(name.clone(), Fault::None, said.to_owned());
        match fault.trouble {
            Trouble::Way(way) => {
                cue(fault.at, Cue::Set(name.clone(), way, fault.said.clone()));
                if let Some(end) = end {
                    cue(end, up("up again"));
                }
            }
            Trouble::Unhealthy => {
                cue(fault.at, Cue::Unwell(name.clone(), true));
                if let Some(end) = end {
                    cue(end, Cue::Unwell(name.clone(), false));
                }
            }
            Trouble::Flap(period) => {
                let end = end.unwrap_or(scenario.until).min(scenario.until);
                let (mut at, mut down) = (fault.at, true);
                while at < end {
                    let way = Cue::Set(name.clone(), Fault::Down, "flaps: down".to_owned());
                    cue(at, if down { way } else { up("flaps: up") });
                    (at, down) = (at + period, !down);
                }
                if !down {
                    cue(end, up("up again"));
                }
            }
            Trouble::Crash => {
                cue(fault.at, Cue::Crash);
                cue(end.unwrap_or(fault.at), Cue::Start);
            }
        }
    }
    Ok(cues)
}

/// What the files say of members beyond their names.
async fn describe_members(hub: &kube::Client, input: &Input) -> Outcome {
    let api: Api<fleet_api::ManagedCluster> = Api::all(hub.clone());
    for member in &input.members {
        if member.said.as_object().is_some_and(|said| !said.is_empty()) {
            let patch = Patch::Merge(&member.said);
            let patched = api.patch(&member.spec.name, &PatchParams::default(), &patch).await;
            patched
                .map_err(|error| Failure::kube(&format!("ManagedCluster {}", member.spec.name), &error))?;
        }
    }
    Ok(())
}

/// Everything but the Application, in the namespaces that it stands in.
async fn prepare(hub: &kube::Client, objects: &[Value], namespace: &str) -> Outcome {
    let named = objects.iter().filter_map(|object| object.pointer("/metadata/namespace")?.as_str());
    let mut namespaces: BTreeSet<&str> = named.collect();
    namespaces.insert(namespace);
    for name in namespaces {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        apply(hub, &object, "").await?;
    }
    for object in objects {
        apply(hub, object, namespace).await?;
    }
    Ok(())
}

async fn apply(hub: &kube::Client, object: &Value, namespace: &str) -> Outcome {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let what = format!("{kind} {name}");
    let refused = |error: kube::Error| Failure::kube(&what, &error);
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let (resource, capabilities) = kube::discovery::pinned_kind(hub, &gvk).await.map_err(|_| {
        Failure::usage(format!(
            "{what}: a hub has no {kind} in {}; put its CustomResourceDefinition into the files",
            text("/apiVersion")
        ))
    })?;
    let own = match text("/metadata/namespace") {
        "" => namespace,
        own => own,
    };
    let api: Api<kube::api::DynamicObject> = match capabilities.scope {
        kube::discovery::Scope::Namespaced => Api::namespaced_with(hub.clone(), own, &resource),
        kube::discovery::Scope::Cluster => Api::all_with(hub.clone(), &resource),
    };
    let mut object = object.clone();
    if capabilities.scope == kube::discovery::Scope::Namespaced
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.insert("namespace".to_owned(), json!(own));
    }
    let params = PatchParams::apply("fleetctl-simulate").force();
    api.patch(name, &params, &Patch::Apply(&object)).await.map_err(refused)?;
    Ok(())
}
