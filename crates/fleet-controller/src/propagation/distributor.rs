//! The one task that distributes: it owns everything, and takes one turn after another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::propagation::{GROUPS, PolicyKind};
use fleet_api::{Application, ManagedCluster, ObjectId, ResourceTracker, staged};
use fleet_placement::{Fleet, Member};
use fleet_propagation::{Changes, Claims, Overrides, PolicyId, Reader};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::applications::References;
use super::confirm::Confirmations;
use super::definitions::definitions;
use super::dependents::{Dependents, follows};
use super::dispatch::{Dispatch, Done};
use super::due::Due;
use super::full::ComingUp;
use super::inbox::Inbox;
use super::items::{Item, Items, Listed, OnRecord, Place};
use super::ledger::{Ledger, Recorded};
use super::lingering::Lingering;
use super::policies::{self, Followed, Policies, read_recorded};
use super::report::Reports;
use super::rooms::Rooms;
use super::said::Said;
use super::served::Served;
use super::sources::{Change, GroupKind, Source, Sources};
use super::stage::Stages;
use super::watch::{Heard, Topic, Watches};
use crate::context::{AppKey, Context};
use crate::records::RecordError;

/// How many objects are settled in one turn: news are taken up in between.
const A_TURN: usize = 500;
/// How much of what is heard is taken up in one turn.
const HEARD: usize = 1024;

/// Everything that distribution knows.
pub(super) struct Distributor {
    pub(super) ctx: Arc<Context>,
    inbox: Arc<Inbox>,
    heard: mpsc::Receiver<Heard>,
    pub(super) watches: Watches,
    pub(super) served: Served,
    reader: Reader,
    pub(super) policies: Policies,
    pub(super) confirmations: Confirmations,
    pub(super) claims: Claims,
    pub(super) overrides: Overrides,
    pub(super) sources: Sources,
    pub(super) applications: References,
    pub(super) dependents: Dependents,
    pub(super) fleet: Fleet,
    pub(super) items: Items,
    pub(super) ledger: Ledger,
    pub(super) dispatch: Dispatch,
    pub(super) rooms: Rooms,
    pub(super) coming_up: ComingUp,
    pub(super) said: Said,
    pub(super) lingering: Lingering,
    pub(super) reports: Reports,
    pub(super) stages: Stages,
    pub(super) jobs: JoinSet<Done>,
    /// Objects that are to be settled.
    pub(super) dirty: BTreeSet<ObjectId>,
    /// Kinds of policies without which it was begun, since they couldn't be listed.
    went_on_without: BTreeSet<Topic>,
    /// One of them is listed now.
    begins_anew: bool,
    /// Places of which something was seen, or that a request has ended for.
    pub(super) seen: BTreeSet<(ObjectId, String)>,
    /// When an object is settled again even if nothing happens.
    pub(super) timers: Due<ObjectId>,
    /// The hub serves other kinds than the reader knows.
    kinds_moved: bool,
}

/// Distributes until its future is dropped.
///
/// # Errors
/// Where the records can't be read, or somebody else wrote them: everything is to be read anew.
pub(super) async fn distribute(ctx: &Arc<Context>) -> Result<(), RecordError> {
    let inbox = Arc::clone(&ctx.distribution);
    let _open = inbox.open();
    // Which objects are Applications' has to be known before anything is taken.
    inbox.until_applications_are_listed().await;
    let (ledger, recorded) = Ledger::load(&ctx.hub.client).await?;
    let mut distributor = Distributor::new(ctx, Arc::clone(&inbox), ledger);
    distributor.begin(recorded);
    distributor.run().await
}

/// The members as placement knows them.
pub(super) fn fleet_of(clusters: &[Arc<ManagedCluster>]) -> Fleet {
    Fleet::new(clusters.iter().map(|cluster| Member::of(cluster)).collect())
}

impl Distributor {
    fn new(ctx: &Arc<Context>, inbox: Arc<Inbox>, ledger: Ledger) -> Self {
        let (watches, heard) = Watches::new(ctx.hub.client.clone());
        let served = Served::default();
        Self {
            ctx: Arc::clone(ctx),
            inbox,
            heard,
            watches,
            reader: Reader::new(served.table()),
            served,
            policies: Policies::default(),
            confirmations: Confirmations::default(),
            claims: Claims::new(),
            overrides: Overrides::new(),
            sources: Sources::default(),
            applications: References::default(),
            dependents: Dependents::default(),
            fleet: fleet_of(&ctx.hub.clusters.state()),
            items: Items::new(),
            ledger,
            dispatch: Dispatch::default(),
            rooms: Rooms::default(),
            coming_up: ComingUp::default(),
            said: Said::new(ctx.options.progress_interval.unsigned_abs()),
            lingering: Lingering::default(),
            reports: Reports::new(ctx.options.progress_interval.unsigned_abs()),
            stages: Stages::default(),
            jobs: JoinSet::new(),
            dirty: BTreeSet::new(),
            went_on_without: BTreeSet::new(),
            begins_anew: false,
            seen: BTreeSet::new(),
            timers: Due::default(),
            kinds_moved: false,
        }
    }

    pub(super) fn owner(&self) -> &str {
        self.inbox.owner()
    }

    fn begin(&mut self, recorded: Recorded) {
        for application in self.ctx.hub.applications.state() {
            let key: AppKey = (application.namespace().unwrap_or_default(), application.name_any());
            self.application_seen(&key, Some(&application));
        }
        for (id, (remembered, at)) in recorded.objects {
            let places = at.into_iter().map(|cluster| {
                let left = remembered.left.get(&cluster).copied();
                (cluster, Box::new(Place { listed: Listed::Yes, left, ..Place::default() }))
            });
            let places = places.collect();
            if remembered.dependent {
                self.dependents.on_record(&id);
            }
            let recorded_stage = remembered.stage.clone();
            if let Some(stage) = &recorded_stage {
                self.stages.carries(&id, stage, remembered.policy.as_ref().and_then(read_recorded));
            }
            let on_record = OnRecord::of(&remembered);
            let item = Item { remembered, on_record, recorded_stage, places, ..Item::default() };
            self.dirty.insert(id.clone());
            self.items.insert(id, Box::new(item));
        }
        self.dispatch.made_before(recorded.namespaces);
        self.watches.begin(Topic::Definitions, &definitions());
    }

    async fn run(mut self) -> Result<(), RecordError> {
        loop {
            if self.begins_anew {
                let message = "policies that couldn't be listed before are listed now";
                return Err(RecordError::Unusable(crate::Problem::wrong("ListedLate", message)));
            }
            let more = self.turn();
            let next = if more { Some(Instant::now()) } else { self.next() };
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.inbox.woken() => self.take_notes(),
                Some(heard) = self.heard.recv() => {
                    self.hear(heard);
                    for _ in 0..HEARD {
                        let Ok(heard) = self.heard.try_recv() else { break };
                        self.hear(heard);
                    }
                }
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    self.take(done)?;
                    while let Some(done) = self.jobs.try_join_next() {
                        self.take(done)?;
                    }
                }
                () = sleep => {}
            }
        }
    }

    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) -> Result<(), RecordError> {
        match done {
            Ok(done) => self.done(done),
            Err(error) => {
                let message = format!("a request of the distribution died: {error}");
                Err(RecordError::Unusable(crate::Problem::wrong("Internal", message)))
            }
        }
    }

    /// Settles what is to be settled, and starts what follows. True where there is more to do at once.
    fn turn(&mut self) -> bool {
        let now = Instant::now();
        // What is settled is settled by everything that was heard.
        self.take_notes();
        if self.kinds_moved {
            self.kinds_changed();
        }
        while let Some(id) = self.timers.pop(now) {
            self.dirty.insert(id);
        }
        for (id, cluster) in std::mem::take(&mut self.seen) {
            self.look_again(&id, &cluster);
        }
        // What workloads need is known before anything that may be needed is settled.
        let more = self.read_workloads(A_TURN);
        for _ in 0..if more { 0 } else { A_TURN } {
            let Some(id) = self.dirty.pop_first() else { break };
            if !self.confirmations.waits(&id) {
                self.settle(&id);
            }
        }
        self.look_at_namespaces();
        self.ask_about_waiting();
        self.write();
        self.tend();
        if !more {
            self.pump();
        }
        if self.dirty.is_empty() && self.dispatch.is_idle() {
            self.said.nothing_is_on_its_way();
        }
        self.say();
        self.report();
        more || !self.dirty.is_empty()
    }

    fn next(&self) -> Option<Instant> {
        let timer = self.timers.next();
        // Nothing is said or staged before everything is listed; what tells of that wakes.
        let listed = self.policies_listed();
        let said = self.said.next().filter(|_| listed);
        let stages = self.stages.next().filter(|_| listed);
        let namespaces = self.dispatch.next().filter(|_| listed);
        let rest = [self.ledger.next(), self.reports.next(), self.coming_up.next()];
        [timer, said, stages, namespaces].into_iter().chain(rest).flatten().min()
    }

    fn write(&mut self) {
        for write in self.ledger.writes(&self.items, Instant::now()) {
            let client = self.ctx.hub.client.clone();
            self.jobs.spawn(async move {
                let outcome = write.carry_out(client).await;
                Done::Written { write: Box::new(write), outcome: Box::new(outcome) }
            });
        }
    }

    /// An inventory is on record: what it lists may be sent.
    pub(super) fn written(
        &mut self,
        write: super::ledger::Write,
        outcome: Result<Option<ResourceTracker>, RecordError>,
    ) -> Result<(), RecordError> {
        if !self.ledger.written(write.shard, outcome)? {
            return Ok(());
        }
        let mut staged = false;
        for ((id, at), stage) in write.at.into_iter().zip(write.stages) {
            let Some(item) = self.items.get_mut(&id) else { continue };
            staged |= stage.is_some();
            if item.recorded_stage != stage {
                item.recorded_stage.clone_from(&stage);
            }
            if let Some(stage) = item.remembered.stage.clone() {
                self.stages.carries(&id, &stage, None);
            }
            let Some(item) = self.items.get_mut(&id) else { continue };
            // What it left meanwhile is on record no longer than it takes to write again.
            let new = item
                .places
                .iter_mut()
                .filter(|(cluster, place)| place.listed == Listed::Soon && at.contains(*cluster));
            if new.map(|(_, place)| place.listed = Listed::Yes).count() > 0 {
                let clusters: Vec<String> = item.places.keys().cloned().collect();
                for cluster in clusters {
                    self.look(&id, &cluster);
                }
            }
        }
        self.namespaces_recorded(&write.namespaces);
        if staged {
            self.let_go_of_recorded();
        }
        Ok(())
    }

    /// Whether all policies are known, of every kind that the hub serves; but for kinds that it doesn't list to us, of which
    /// what they have stays as it is.
    pub(super) fn policies_listed(&self) -> bool {
        let policies = |topic: &&Topic| matches!(topic, Topic::Policies(..));
        self.watches.is_listed(&Topic::Definitions)
            && self
                .watches
                .topics()
                .filter(policies)
                .all(|topic| self.watches.is_listed(topic) || self.watches.failing(topic).is_some())
    }

    /// The kinds of policies that the hub doesn't list, each with its group and why.
    pub(super) fn unlisted_policies(&self) -> impl Iterator<Item = (PolicyKind, &str, &str)> {
        self.watches.topics().filter_map(|topic| match topic {
            Topic::Policies(group, plural) => {
                Some((policies::kind_of(plural)?, group.as_str(), self.watches.failing(topic)?))
            }
            Topic::Definitions | Topic::Objects(..) => None,
        })
    }

    fn hear(&mut self, heard: Heard) {
        if !self.watches.is_current(&heard) {
            return;
        }
        let failure = heard.said.as_ref().err().cloned();
        // That it tries again is no answer yet.
        let tries = matches!(heard.said, Ok(watcher::Event::Init | watcher::Event::InitApply(_)));
        if !tries && self.watches.hears(&heard.topic, failure.as_deref()) {
            let ids: Vec<PolicyId> = self.policies.ids().cloned().collect();
            ids.iter().for_each(|id| self.said.touch(id));
            // What can't come holds nobody up.
            if matches!(&heard.topic, Topic::Objects(group, kind) if follows(group, kind)) {
                self.wake_all_waiting();
            }
        }
        let event = match heard.said {
            Ok(event) => event,
            Err(error) => {
                let what = format!("{:?}", heard.topic);
                tracing::warn!(what, error, "a watch of the distribution was interrupted");
                if matches!(heard.topic, Topic::Policies(..)) && !self.watches.is_listed(&heard.topic) {
                    self.goes_on_without(heard.topic);
                }
                return;
            }
        };
        match heard.topic.clone() {
            Topic::Definitions => self.hear_definition(&heard.topic, event),
            Topic::Policies(group, plural) => {
                if let Some(kind) = policies::kind_of(&plural) {
                    self.hear_policy(&heard.topic, kind, &group, event);
                }
            }
            Topic::Objects(group, kind) => self.hear_object(&heard.topic, &(group, kind), event),
        }
    }

    fn hear_definition(&mut self, topic: &Topic, event: watcher::Event<DynamicObject>) {
        let value = |object: DynamicObject| serde_json::to_value(object).unwrap_or_default();
        match event {
            watcher::Event::Init => self.served.list_begins(),
            watcher::Event::InitApply(object) => {
                self.served.put(&value(object));
            }
            watcher::Event::InitDone => {
                self.served.list_ends();
                self.watches.listed(topic);
                // Policies that aren't watched yet aren't listed: nothing may be decided before.
                self.kinds_changed();
            }
            // Definitions come many at a time: they are taken up together, with the next turn.
            watcher::Event::Apply(object) => self.kinds_moved |= self.served.put(&value(object)),
            watcher::Event::Delete(object) => self.kinds_moved |= self.served.remove(&object.name_any()),
        }
    }

    /// The hub serves other kinds than before.
    fn kinds_changed(&mut self) {
        self.kinds_moved = false;
        for definition in self.served.take_gone() {
            self.definition_gone(&definition);
        }
        self.reader = Reader::new(self.served.table());
        for group in GROUPS {
            for kind in PolicyKind::ALL {
                let topic = Topic::Policies(group.to_owned(), kind.plural().to_owned());
                if self.served.has(&format!("{}.{group}", kind.plural())) {
                    self.watches.begin(topic, &kind.resource(group));
                } else {
                    self.watches.end(&topic);
                }
            }
        }
        for manifest in self.policies.manifests() {
            self.read(&manifest);
        }
        self.select_kinds();
        self.everything();
    }

    fn hear_policy(
        &mut self,
        topic: &Topic,
        kind: PolicyKind,
        group: &str,
        event: watcher::Event<DynamicObject>,
    ) {
        match event {
            watcher::Event::Init => self.policies.list_begins(kind, group),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                if let Some(id) = self.policy_seen(kind, group, &object) {
                    self.policies.listed(id);
                }
            }
            watcher::Event::Delete(object) => {
                if let Some(id) = policies::id_of(kind, group, &object) {
                    let uid = object.metadata.uid.as_deref();
                    let known = self.policies.get(&id).and_then(Followed::uid);
                    match known.zip(uid).filter(|(known, uid)| known != uid) {
                        // A read told of the one that has its name by now.
                        Some((_, uid)) => self.confirmations.is_gone(uid),
                        None => self.policy_gone(&id),
                    }
                }
            }
            watcher::Event::InitDone => {
                for id in self.policies.unlisted(kind, group) {
                    self.policy_gone(&id);
                }
                if self.watches.listed(topic) {
                    // Others may have taken what is theirs.
                    self.begins_anew |= self.went_on_without.contains(topic);
                    self.select_kinds();
                    self.everything();
                }
            }
        }
    }

    /// A kind of policies isn't listed: the others are followed all the same.
    fn goes_on_without(&mut self, topic: Topic) {
        if self.went_on_without.insert(topic) {
            self.select_kinds();
            self.everything();
        }
    }

    /// A policy is so on the hub.
    pub(super) fn policy_seen(
        &mut self,
        kind: PolicyKind,
        group: &str,
        object: &DynamicObject,
    ) -> Option<PolicyId> {
        let (id, manifest) = policies::manifest(kind, group, object)?;
        let status = object.data.get("status").cloned().unwrap_or_default();
        if let Some(manifest) = self.policies.put(&id, manifest, object, status) {
            self.read(&manifest);
            self.select_kinds();
        }
        self.said.touch(&id);
        Some(id)
    }

    /// Reads a policy and takes it up.
    fn read(&mut self, manifest: &Value) {
        let overrides = self.reader.overrides(manifest);
        if let Ok(policy) = overrides {
            let policy = policies::checked(policy);
            let id = policy.id.clone();
            let about = policy.selectors.clone();
            let before = self.overrides.set(policy);
            for selectors in before.iter().map(|before| &before.selectors).chain([&about]) {
                self.overrides_changed(selectors);
            }
            self.said.touch(&id);
            return;
        }
        match self.reader.propagation(manifest) {
            Ok(policy) => {
                let policy = policies::not_yet(policy);
                let id = policy.id.clone();
                self.policies.survey(&policy, &self.fleet);
                let took = self.claims.policy(&id).is_some_and(|before| before.spec.takes_dependents());
                let takes = took || policy.spec.takes_dependents();
                self.stages.policy_changed(&id);
                let had = self.had_by(&id);
                self.ask_again(&had);
                self.says_what_stays(&policy, &had);
                self.dirty.extend(had);
                let changes = self.claims.set_policy(policy);
                self.dirty.extend(self.claims.claimed(&id).cloned());
                if takes {
                    let claimed: Vec<ObjectId> = self.claims.claimed(&id).cloned().collect();
                    // What holds them, and what becomes of them, is the policy's, too.
                    for workload in claimed {
                        let needs = self.dependents.needs(&workload);
                        self.dirty.extend(needs.into_iter().flat_map(|needs| needs.keys().cloned()));
                        self.dependents.stale(&workload);
                    }
                }
                self.changed(changes);
            }
            Err(problem) => tracing::warn!(message = problem.message, "a policy can't be read"),
        }
    }

    pub(super) fn policy_gone(&mut self, id: &PolicyId) {
        let Some(uid) = self.policies.remove(id) else { return };
        self.confirmations.is_gone(&uid);
        self.said.forget(id);
        if id.kind.overrides() {
            if let Some(before) = self.overrides.remove(id) {
                self.overrides_changed(&before.selectors);
            }
            return;
        }
        self.stages.policy_changed(id);
        let changes = self.claims.remove_policy(id);
        // What it had and has no more may be held by its mask.
        let had = self.had_by(id);
        self.ask_again(&had);
        self.dirty.extend(had);
        self.changed(changes);
        self.select_kinds();
    }

    /// What a policy has, and what it had and has no more.
    fn had_by(&self, id: &PolicyId) -> Vec<ObjectId> {
        let recorded = Some(policies::recorded(id));
        let had = self.items.iter().filter(|(_, item)| item.remembered.policy == recorded);
        had.map(|(id, _)| id.clone()).collect()
    }

    fn changed(&mut self, changes: Changes) {
        for change in changes.moved {
            self.may_need_others(&change.object);
            // Another policy may hold what goes along, or not.
            self.dependents.tell_again(&change.object);
            self.dirty.insert(change.object);
        }
        for id in &changes.touched {
            self.said.touch(id);
        }
    }

    /// Everything is settled anew.
    fn everything(&mut self) {
        self.dirty.extend(self.items.keys().cloned());
        let policies: Vec<PolicyId> = self.policies.ids().cloned().collect();
        for id in policies {
            self.dirty.extend(self.claims.claimed(&id).cloned());
            self.said.touch(&id);
        }
    }

    /// Watches the kinds that policies select, and no others but those of which something is on members.
    pub(super) fn select_kinds(&mut self) {
        // Policies go before objects, so that what is recorded of them is found.
        if !self.policies_listed() {
            return;
        }
        let mut wanted: BTreeMap<GroupKind, String> = BTreeMap::new();
        for id in self.items.keys() {
            let of = (id.group().to_owned(), id.kind.clone());
            wanted.entry(of).or_insert_with(|| id.version().to_owned());
        }
        let known: BTreeSet<GroupKind> = wanted.keys().cloned().collect();
        let mut selected: BTreeSet<GroupKind> = BTreeSet::new();
        let ids: Vec<PolicyId> = self.policies.ids().cloned().collect();
        for policy in ids.iter().filter_map(|id| self.claims.policy(id)) {
            for selector in policy.selectors.as_slice() {
                let of = (selector.group.clone(), selector.kind.clone());
                let written = policy.spec.resource_selectors.iter().find(|written| {
                    let (group, _) =
                        written.api_version.split_once('/').unwrap_or(("", &written.api_version));
                    group == selector.group && written.kind == selector.kind
                });
                let version = written.map_or("", |written| {
                    written.api_version.rsplit_once('/').map_or(written.api_version.as_str(), |(_, v)| v)
                });
                wanted.entry(of.clone()).or_insert_with(|| version.to_owned());
                selected.insert(of);
            }
        }
        for (of, version) in self.dependents.kinds() {
            wanted.entry(of.clone()).or_insert(version);
            selected.insert(of);
        }
        wanted.retain(|of, _| selected.contains(of) || known.contains(of));
        let watched: Vec<GroupKind> = self
            .watches
            .topics()
            .filter_map(|topic| match topic {
                Topic::Objects(group, kind) => Some((group.clone(), kind.clone())),
                Topic::Definitions | Topic::Policies(..) => None,
            })
            .collect();
        let mut no_more_waited_for = false;
        for of in watched.iter().filter(|of| !wanted.contains_key(*of)) {
            let topic = Topic::Objects(of.0.clone(), of.1.clone());
            // Nobody waits for its list any more.
            no_more_waited_for |= follows(&of.0, &of.1) && !self.watches.is_listed(&topic);
            self.watches.end(&topic);
            for id in self.sources.forget(of) {
                let changes = self.claims.remove_object(&id);
                self.changed(changes);
                self.dirty.insert(id);
            }
        }
        if no_more_waited_for {
            self.wake_all_waiting();
        }
        for (of, version) in wanted.iter().filter(|(of, _)| !watched.contains(*of)) {
            if let Some(resource) = self.served.resource(&of.0, version, &of.1) {
                self.watches.begin(Topic::Objects(of.0.clone(), of.1.clone()), &resource);
            }
        }
    }

    fn hear_object(&mut self, topic: &Topic, of: &GroupKind, event: watcher::Event<DynamicObject>) {
        let Some(api_version) = self.watches.api_version(topic) else { return };
        match event {
            watcher::Event::Init => self.sources.list_begins(of),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let change = self.sources.put(of, &api_version, object, &self.inbox.keys());
                self.source_changed(change);
            }
            watcher::Event::Delete(object) => {
                let change = self.sources.remove(of, &object);
                self.source_changed(change);
            }
            watcher::Event::InitDone => {
                for gone in self.sources.list_ends(of) {
                    self.source_changed(Some(gone));
                }
                if self.watches.listed(topic) {
                    let kind = |id: &&ObjectId| id.group() == of.0 && id.kind == of.1;
                    self.dirty.extend(self.items.keys().filter(kind).cloned());
                    self.dirty.extend(self.sources.ids(of));
                    if follows(&of.0, &of.1) {
                        self.wake_all_waiting();
                    }
                    // What matches nothing can be told from now on.
                    let ids: Vec<PolicyId> = self.policies.ids().cloned().collect();
                    ids.iter().for_each(|id| self.said.touch(id));
                }
            }
        }
    }

    fn source_changed(&mut self, change: Option<Change>) {
        match change {
            Some(Change::Put(id)) => {
                if let Some(source) = self.sources.get(&id).cloned() {
                    self.claim(&source);
                }
                self.may_need_others(&id);
                self.dependents.object_changed(&id);
                self.confirm([id]);
            }
            Some(Change::Reported(id)) => self.status_seen(&id),
            Some(Change::Gone(id)) => {
                self.reports.forget(&id);
                let changes = self.claims.remove_object(&id);
                self.changed(changes);
                self.may_need_others(&id);
                self.dependents.object_changed(&id);
                self.confirm([id]);
            }
            None => {}
        }
    }

    /// Lets policies contend for an object.
    fn claim(&mut self, source: &Source) {
        let mut facts = source.facts.clone();
        facts.application = self.applications.of(&facts.id, &facts.labels);
        // The policy of a workload that it follows doesn't select it.
        let item = self.items.get(&facts.id).filter(|item| !item.remembered.dependent);
        let recorded = item.and_then(|item| item.remembered.policy.as_ref());
        facts.holder = recorded.and_then(read_recorded);
        let changes = self.claims.set_object(facts);
        self.changed(changes);
    }

    fn take_notes(&mut self) {
        let noted = self.inbox.take();
        if noted.clusters {
            self.clusters_changed();
        }
        if noted.access {
            self.everything();
        }
        if noted.keys {
            self.read_objects_again();
        }
        for cluster in &noted.resync {
            let on = |item: &Item| item.is_at(cluster) || item.remembered.shares.contains_key(cluster);
            let there = self.items.iter().filter(|(_, item)| on(item));
            self.dirty.extend(there.map(|(id, _)| id.clone()));
            self.namespaces_of(cluster);
            self.some_may_be_gone(cluster);
        }
        for (cluster, id) in &noted.objects {
            self.may_be_gone(id, cluster);
            self.may_be_let_go(id, cluster);
        }
        let known = |(_, id): &(String, ObjectId)| self.items.contains_key(id);
        self.seen.extend(noted.objects.into_iter().filter(known).map(|(cluster, id)| (id, cluster)));
        for key in noted.applications {
            let application = self.ctx.hub.applications.get(&ObjectRef::new(&key.1).within(&key.0));
            for (of, namespace) in self.application_seen(&key, application.as_deref()) {
                let sources: Vec<Arc<Source>> = self.sources.within(&of, &namespace).cloned().collect();
                for source in sources {
                    self.claim(&source);
                    if self.dependents.is_needed(&source.facts.id) {
                        self.dirty.insert(source.facts.id.clone());
                    }
                }
            }
        }
    }

    /// An Application is so on the hub. Answers the places where what it refers to may matter.
    fn application_seen(
        &mut self,
        key: &AppKey,
        application: Option<&Application>,
    ) -> BTreeSet<(GroupKind, String)> {
        let carries = application.is_some_and(|application| staged::policy_of(application).is_some());
        if carries || self.stages.knows(key) {
            let leaving = self.stages.application_seen(key, application, &self.items);
            self.dirty.extend(leaving);
            if let Some(policy) = self.stages.policy(key).cloned() {
                self.said.touch(&policy);
            }
        }
        self.applications.set(key, application)
    }

    fn clusters_changed(&mut self) {
        let now = fleet_of(&self.ctx.hub.clusters.state());
        let mut moved: BTreeSet<String> = BTreeSet::new();
        for member in self.fleet.members() {
            if now.get(member.name()) != Some(member) {
                moved.insert(member.name().to_owned());
            }
        }
        let new = now.members().iter().filter(|member| self.fleet.get(member.name()).is_none());
        moved.extend(new.map(|member| member.name().to_owned()));
        if moved.is_empty() {
            return;
        }
        self.fleet = now;
        // Of one that was held and is let go, or that has left.
        for cluster in &moved {
            self.namespaces_of(cluster);
            self.some_may_be_gone(cluster);
        }
        let ids: Vec<PolicyId> = self.policies.ids().cloned().collect();
        for id in ids {
            let Some(policy) = self.claims.policy(&id).cloned() else {
                // An override policy tells of names that no cluster has.
                self.said.touch(&id);
                continue;
            };
            let about = self.policies.survey(&policy, &self.fleet);
            if !about.is_disjoint(&moved) {
                let claimed: Vec<ObjectId> = self.claims.claimed(&id).cloned().collect();
                self.may_need_otherwise(&claimed);
                self.confirm(claimed);
            }
            self.said.touch(&id);
        }
        let on = |item: &Item| item.at().any(|cluster| moved.contains(cluster));
        let there = self.items.iter().filter(|(_, item)| on(item));
        let there: Vec<ObjectId> = there.map(|(id, _)| id.clone()).collect();
        self.confirm(there);
    }
}
