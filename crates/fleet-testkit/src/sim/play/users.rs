//! Users: they apply, approve, ask, and change what isn't theirs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fleet_api::requests::with_request;
use fleet_api::{
    Application, Approval, ApprovalSpec, Decision, DriftHold, DriftHoldSpec, ManagedCluster, Phase,
    RollbackRequest, Run, TargetAction, TargetRequest, names,
};
use fleet_apiserver::ApiServer;
use fleet_sim::Fault;
use fleet_store::{Entry, Expect, Page, Range, Write};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::natives::Natives;
use crate::sim::native;
use crate::sim::record::Record;
use crate::sim::script::{Action, Answer, Request};
use crate::sim::wanted::{APPROVERS, NAMESPACE, RELEASERS, Thing, USER, Wanted, app_name, door, member_name};
use crate::sim::world::World;

/// How many copies of a member are kept.
const COPIES: usize = 3;

/// What the users know and did.
pub(super) struct Users {
    pub(super) world: Arc<World>,
    pub(super) members: usize,
    /// What each application is to be; `None` once it was deleted.
    pub(super) wanted: BTreeMap<usize, Option<Wanted>>,
    /// Clusters that left, as they were.
    pub(super) left: BTreeMap<usize, ManagedCluster>,
    /// Where something of an application may stay for a good reason: it was deleted, or its cluster left, while the
    /// member couldn't be asked.
    pub(super) excused: BTreeSet<(usize, usize)>,
    pub(super) cordoned: BTreeSet<usize>,
    pub(super) natives: Natives,
    copies: BTreeMap<usize, VecDeque<Vec<Entry>>>,
    record: Record,
    /// Applications that may have left something where it was, as one of their versions says.
    pub(super) may_leave: BTreeSet<usize>,
    /// Everything is to become well.
    pub(super) heals: bool,
    /// Makes names and values that were never used.
    pub(super) counter: u64,
}

impl Users {
    pub(super) fn new(world: Arc<World>, members: usize) -> Self {
        Self {
            world,
            members,
            wanted: BTreeMap::new(),
            left: BTreeMap::new(),
            excused: BTreeSet::new(),
            cordoned: BTreeSet::new(),
            natives: Natives::new(),
            copies: BTreeMap::new(),
            record: Record::default(),
            may_leave: BTreeSet::new(),
            heals: false,
            counter: 0,
        }
    }

    pub(super) fn record(self) -> Record {
        self.record
    }

    pub(super) fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    pub(super) fn applications(&self) -> Api<Application> {
        Api::namespaced(self.world.client(ApiServer::HUB), NAMESPACE)
    }

    pub(super) fn clusters(&self) -> Api<ManagedCluster> {
        Api::all(self.world.client(ApiServer::HUB))
    }

    /// Keeps copies of members.
    pub(super) fn remember(&mut self) {
        for member in 0..self.members {
            let copy = self.things(member);
            let copies = self.copies.entry(member).or_default();
            copies.push_back(copy);
            if copies.len() > COPIES {
                copies.pop_front();
            }
        }
    }

    /// The objects of applications and policies that stand on a member.
    pub(super) fn things(&self, member: usize) -> Vec<Entry> {
        let store = self.world.api.store();
        let of = |resource: &str| {
            let range = Range::cluster(member_name(member), resource).namespace(NAMESPACE);
            store.list(&range, Page::default()).map(|listing| listing.entries).unwrap_or_default()
        };
        let all = Thing::RESOURCES.into_iter().flat_map(of);
        let ours = |entry: &Entry| {
            let key = &entry.key;
            Thing::of(&key.resource, &key.name).is_some() || native::object_of(&key.name).is_some()
        };
        all.filter(ours).collect()
    }

    /// What is deleted while a member can't be asked may stay there.
    pub(super) fn excuse_absent(&mut self, member: usize, fault: Fault) {
        if fault == Fault::None {
            return;
        }
        let deleted = self.wanted.iter().filter(|(_, wanted)| wanted.is_none()).map(|(app, _)| *app);
        let deleted: Vec<usize> = deleted.collect();
        self.excused.extend(deleted.into_iter().map(|app| (app, member)));
    }

    pub(super) async fn act(&mut self, action: &Action) -> anyhow::Result<()> {
        match action {
            Action::Edit(wanted) => self.apply(wanted).await,
            Action::Answer(app, answer) => self.answer(*app, *answer).await.map(|_| ()),
            Action::ClearByHand(app) => self.clear_by_hand(*app).await,
            Action::Ask(app, request) => self.ask(*app, *request).await,
            Action::Membership(member, joins) => self.membership(*member, *joins).await,
            Action::Cordon(member, cordon) => self.cordon(*member, *cordon).await,
            Action::Drift { app, member, which, deletes } => {
                self.drift(*app, *member, *which, *deletes).await
            }
            Action::Restore(member, rewinds) => self.restore(*member, *rewinds).await,
            Action::Says(app, says) => {
                self.world.asked.say(*app, *says);
                Ok(())
            }
            Action::Target { app, member, again } => self.ask_of_target(*app, *member, *again).await,
            Action::Door(app, open) => self.door(*app, *open).await,
            Action::HoldDrift(app, lasts) => self.hold_drift(*app, *lasts).await,
            Action::Native(act) => self.native(act).await,
            Action::Fault(..) | Action::Unwell(..) | Action::BreakWatches(_) | Action::Crash { .. } => Ok(()),
        }
    }

    pub(super) async fn apply(&mut self, wanted: &Wanted) -> anyhow::Result<()> {
        let params = PatchParams::apply("user").force();
        let manifest = Patch::Apply(wanted.manifest());
        let app = self.applications().patch(&app_name(wanted.app), &params, &manifest).await?;
        let uid = app.uid().unwrap_or_default();
        self.record.wanted.insert((uid, app.metadata.generation.unwrap_or_default()), wanted.clone());
        if wanted.may_leave() {
            self.may_leave.insert(wanted.app);
        }
        // One that is on its way out stays so.
        let goes = app.metadata.deletion_timestamp.is_some();
        self.wanted.insert(wanted.app, (!goes).then(|| wanted.clone()));
        Ok(())
    }

    pub(super) async fn run_of(&self, app: usize) -> anyhow::Result<Option<Run>> {
        let Some(found) = self.applications().get_opt(&app_name(app)).await? else { return Ok(None) };
        let Some(workflow) = found.status.and_then(|status| status.workflow) else { return Ok(None) };
        let runs: Api<Run> = Api::namespaced(self.world.client(ApiServer::HUB), NAMESPACE);
        Ok(runs.get_opt(&workflow.run).await?)
    }

    /// Says whether a gate waited.
    pub(super) async fn answer(&mut self, app: usize, answer: Answer) -> anyhow::Result<bool> {
        let Some(run) = self.run_of(app).await? else { return Ok(false) };
        let mut steps = run.status.iter().flat_map(|status| &status.steps);
        let Some((step, gate)) = steps.find_map(|step| Some((step, step.shut_gate()?))) else {
            return Ok(false);
        };
        // Who heals sees to it that enough agree.
        let all = self.heals && gate.required.is_some() && answer == Answer::Yes;
        let who = usize::try_from(self.counter).unwrap_or_default() % (APPROVERS.len() + 1);
        let who: Vec<&str> = match (all, APPROVERS.get(who)) {
            (true, _) => APPROVERS.to_vec(),
            (false, Some(one)) => vec![*one],
            (false, None) => vec![USER],
        };
        let another = answer == Answer::YesToAnother;
        let (run, step, hash) = (run.name_any(), step.name.clone(), gate.plan_hash.clone());
        for approver in who {
            self.counter += 1;
            let releases = APPROVERS.iter().take(2).any(|one| *one == approver);
            let groups: Vec<String> = releases.then(|| RELEASERS.to_owned()).into_iter().collect();
            let spec = ApprovalSpec {
                application: app_name(app),
                run: run.clone(),
                step: step.clone(),
                plan_hash: if another { "0".repeat(32) } else { hash.clone() },
                approver: approver.to_owned(),
                groups: groups.clone(),
                decision: if answer == Answer::No { Decision::Reject } else { Decision::Approve },
                ..ApprovalSpec::default()
            };
            let client = self.world.client_of(approver, groups);
            let api: Api<Approval> = Api::namespaced(client, NAMESPACE);
            let name = format!("{run}-{}", self.counter);
            api.create(&PostParams::default(), &Approval::new(&name, spec)).await?;
        }
        Ok(true)
    }

    /// Asks to go on without a target, or to try it again.
    pub(super) async fn ask_of_target(
        &mut self,
        app: usize,
        member: usize,
        again: bool,
    ) -> anyhow::Result<()> {
        let Some(run) = self.run_of(app).await?.map(|run| run.name_any()) else { return Ok(()) };
        let Some(found) = self.applications().get_opt(&app_name(app)).await? else { return Ok(()) };
        self.counter += 1;
        self.record.asked_of_targets.insert(run.clone());
        let request = TargetRequest {
            id: self.counter.to_string(),
            run,
            action: if again { TargetAction::Retry } else { TargetAction::Skip },
            cluster: member_name(member),
            step: None,
            by: USER.to_owned(),
            reason: "maintenance".to_owned(),
        };
        let before = found.annotations().get(names::TARGET_REQUESTS).map(String::as_str);
        let text = with_request(before, request).map_err(|error| anyhow::anyhow!(error))?;
        self.annotate(app, names::TARGET_REQUESTS, json!(text)).await
    }

    /// Opens or shuts what steps of an application wait for.
    pub(super) async fn door(&self, app: usize, open: bool) -> anyhow::Result<()> {
        let api: Api<ConfigMap> = Api::namespaced(self.world.client(ApiServer::HUB), NAMESPACE);
        let patch = json!({"data": {"open": if open { "yes" } else { "no" }}});
        api.patch(&door(app), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    async fn hold_drift(&mut self, app: usize, lasts: Duration) -> anyhow::Result<()> {
        self.counter += 1;
        let until = self.world.now().checked_add(lasts)?;
        let (application, reason, by) = (app_name(app), "debugging".to_owned(), USER.to_owned());
        let spec = DriftHoldSpec { application, clusters: Vec::new(), until, reason, by };
        let api: Api<DriftHold> = Api::namespaced(self.world.client(ApiServer::HUB), NAMESPACE);
        let hold = DriftHold::new(&format!("hold-{}", self.counter), spec);
        api.create(&PostParams::default(), &hold).await?;
        Ok(())
    }

    async fn clear_by_hand(&mut self, app: usize) -> anyhow::Result<()> {
        let Some(found) = self.applications().get_opt(&app_name(app)).await? else { return Ok(()) };
        let workflow = found.status.and_then(|status| status.workflow).unwrap_or_default();
        let Some((run, step)) = workflow.gate.as_deref().and_then(|gate| gate.split_once('/')) else {
            return Ok(());
        };
        self.record.by_hand.insert((run.to_owned(), step.to_owned()));
        let patch = json!({"status": {"workflow": {"suspend": false}}});
        let api = self.applications();
        api.patch_status(&app_name(app), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    pub(super) async fn annotate(&self, app: usize, annotation: &str, value: Value) -> anyhow::Result<()> {
        let patch = json!({"metadata": {"annotations": {annotation: value}}});
        let patched =
            self.applications().patch(&app_name(app), &PatchParams::default(), &Patch::Merge(&patch)).await;
        match patched {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Ok(other.map(|_| ())?),
        }
    }

    async fn ask(&mut self, app: usize, request: Request) -> anyhow::Result<()> {
        let run = self.run_of(app).await?.map(|run| run.name_any());
        self.counter += 1;
        match (request, run) {
            (Request::Delete, _) => {
                let deleted = self.applications().delete(&app_name(app), &DeleteParams::default()).await;
                match deleted {
                    Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                    other => drop(other?),
                }
                self.wanted.insert(app, None);
                for member in 0..self.members {
                    let faults = self.world.faults.get(&member_name(member));
                    let absent = faults.is_some_and(|faults| faults.get() != Fault::None);
                    if absent || self.cordoned.contains(&member) || self.left.contains_key(&member) {
                        self.excused.insert((app, member));
                    }
                }
                Ok(())
            }
            (Request::Rollback, Some(run)) => self.roll_back(app, run).await,
            (Request::Restart, _) => self.ask_anew(app, &format!("again-{}", self.counter)).await,
            (Request::Resume, _) => self.annotate(app, names::SUSPEND, Value::Null).await,
            (Request::Suspend, Some(run)) => self.annotate(app, names::SUSPEND, json!(run)).await,
            (Request::Terminate, Some(run)) => self.annotate(app, names::TERMINATE, json!(run)).await,
            (Request::Suspend | Request::Terminate | Request::Rollback, None) => Ok(()),
        }
    }

    /// Asks for another run.
    pub(super) async fn ask_anew(&mut self, app: usize, why: &str) -> anyhow::Result<()> {
        self.record.asked_anew.insert(app_name(app));
        self.annotate(app, names::RESTART, json!(why)).await
    }

    async fn roll_back(&mut self, app: usize, run: String) -> anyhow::Result<()> {
        let Some(found) = self.applications().get_opt(&app_name(app)).await? else { return Ok(()) };
        let said = |name: &str| found.annotations().get(name).cloned();
        let request = RollbackRequest {
            run,
            by: USER.to_owned(),
            reason: "it was better before".to_owned(),
            generation: found.metadata.generation,
            restart: said(names::RESTART),
            publish_version: said(names::PUBLISH_VERSION),
            ..RollbackRequest::default()
        };
        self.record.asked_anew.insert(app_name(app));
        let text = request.write().map_err(anyhow::Error::msg)?;
        self.annotate(app, names::ROLLBACK, json!(text)).await
    }

    pub(super) async fn membership(&mut self, member: usize, joins: bool) -> anyhow::Result<()> {
        let name = member_name(member);
        match (joins, self.left.remove(&member)) {
            (true, Some(before)) => {
                let mut anew = ManagedCluster::new(&name, before.spec.clone());
                anew.metadata.labels = before.metadata.labels.clone();
                anew.metadata.annotations = before.metadata.annotations.clone();
                self.clusters().create(&PostParams::default(), &anew).await?;
            }
            (false, None) => {
                let Some(now) = self.clusters().get_opt(&name).await? else { return Ok(()) };
                self.clusters().delete(&name, &DeleteParams::default()).await?;
                self.left.insert(member, now);
                let apps: Vec<usize> = self.wanted.keys().copied().collect();
                self.excused.extend(apps.into_iter().map(|app| (app, member)));
            }
            (false, Some(before)) => drop(self.left.insert(member, before)),
            (true, None) => {}
        }
        Ok(())
    }

    pub(super) async fn cordon(&mut self, member: usize, cordon: bool) -> anyhow::Result<()> {
        if self.left.contains_key(&member) {
            return Ok(());
        }
        let value = if cordon { json!("true") } else { Value::Null };
        let patch = json!({"metadata": {"annotations": {names::CORDONED: value}}});
        self.clusters().patch(&member_name(member), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        if cordon {
            self.cordoned.insert(member);
            self.excuse_absent(member, Fault::Down);
        } else {
            self.cordoned.remove(&member);
        }
        Ok(())
    }

    async fn drift(&mut self, app: usize, member: usize, which: usize, deletes: bool) -> anyhow::Result<()> {
        let own = app_name(app);
        let things = self.things(member);
        let things: Vec<&Entry> = things.iter().filter(|entry| entry.key.name.starts_with(&own)).collect();
        let Some(entry) = things.get(which % things.len().max(1)) else { return Ok(()) };
        let Some(thing) = Thing::of(&entry.key.resource, &entry.key.name) else { return Ok(()) };
        let (api_version, kind) = thing.kind();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let client = self.world.client(&member_name(member));
        let api: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &resource);
        let before = self.world.api.store().revision();
        if deletes {
            let _ = api.delete(&thing.name, &DeleteParams::default()).await;
        } else {
            let patch = match thing.resource {
                "configmaps" => json!({"data": {"value": "999999"}}),
                "deployments.apps" => json!({"spec": {"replicas": 2}}),
                _ => json!({"metadata": {"labels": {names::APP_COMPONENT: "theirs"}}}),
            };
            let _ = api.patch(&thing.name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        }
        self.record.by_users.extend(before + 1..=self.world.api.store().revision());
        Ok(())
    }

    /// Content only: its resource versions go on. What was deleted since doesn't come back, which would be somebody
    /// else's object by then.
    async fn restore(&mut self, member: usize, rewinds: bool) -> anyhow::Result<()> {
        let Some(copy) = self.copies.get(&member).and_then(|copies| copies.front()).cloned() else {
            return Ok(());
        };
        let store = self.world.api.store().clone();
        for now in self.things(member) {
            let old = copy.iter().find(|entry| entry.key == now.key);
            // What was made anew since is another object, and stays.
            if old.is_some_and(|old| uid(old) != uid(&now)) {
                continue;
            }
            // What was let go since is somebody else's by now, as is what was deleted since: it doesn't get its owner back.
            if old.is_some_and(|old| owner(old).is_some() && owner(&now).is_none()) {
                continue;
            }
            let write = match old {
                Some(old) if old.value == now.value => continue,
                Some(old) => {
                    let mut object: Value = serde_json::from_slice(&old.value)?;
                    Write::put(move |revision| {
                        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                            metadata.insert("resourceVersion".to_owned(), json!(revision.to_string()));
                        }
                        bytes::Bytes::from(object.to_string())
                    })
                }
                None => {
                    let last = now.value.clone();
                    Write::delete(move |_| last)
                }
            };
            let key = now.key.clone();
            if let Ok(entry) = store.commit(key, Expect::Revision(now.revision), write).await {
                self.record.by_users.insert(entry.revision);
            }
        }
        if rewinds && let Some(rewound) = self.world.rewound.get(&member_name(member)) {
            rewound.further(store.revision());
        }
        if let Some(faults) = self.world.faults.get(&member_name(member)) {
            faults.break_watches();
        }
        Ok(())
    }

    /// Applications that neither are at rest nor say what they wait for.
    pub(super) async fn speechless(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for app in self.wanted.keys() {
            let Some(object) = self.applications().get_opt(&app_name(*app)).await? else { continue };
            let status = object.status.clone().unwrap_or_default();
            let workflow = status.workflow.clone().unwrap_or_default();
            let says = status.status == Phase::Running
                || !workflow.message.is_empty()
                || status.services.iter().any(|service| !service.message.is_empty())
                || status
                    .conditions
                    .iter()
                    .any(|condition| !condition.is_true() && !condition.message.is_empty());
            // Nobody may be there who could say it.
            if !says && object.status.is_some() {
                found.push(format!("{} is {} and doesn't say why", app_name(*app), status.status.as_str()));
            }
        }
        Ok(found)
    }
}

fn uid(entry: &Entry) -> Option<Value> {
    serde_json::from_slice::<Value>(&entry.value).ok()?.pointer("/metadata/uid").cloned()
}

fn owner(entry: &Entry) -> Option<Value> {
    let object: Value = serde_json::from_slice(&entry.value).ok()?;
    object.pointer("/metadata/labels")?.get(names::OWNER).cloned()
}
