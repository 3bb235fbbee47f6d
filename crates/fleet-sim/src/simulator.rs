//! The loop: reports and results in, decisions out. One task holds the world; nothing is locked.

mod perform;
mod queue;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::decide::decide;
use crate::faults::Unwell;
use crate::object::uid;
use crate::settings::{Moment, Pods, Settings};
use crate::watch::{Reported, is_named, member_of, run};
use crate::world::Cluster;
use crate::{Action, Kind, ObjectRef};

use perform::{Performed, Report, perform};
use queue::{Key, Queue};

/// How many reports may wait for the loop.
const REPORTS: usize = 1024;

/// The way to the members.
pub trait Members: Send + Sync + 'static {
    /// A client whose lists and watches show the objects of all members, each with the annotation
    /// `fleetctl.dev/cluster` that names its member (or those of one cluster, without it).
    fn watch_client(&self) -> kube::Client;

    /// A client of one member; the name is empty for objects without the annotation.
    fn member(&self, name: &str) -> kube::Client;
}

/// One cluster, simulated alone.
#[derive(Clone)]
pub struct Single(pub kube::Client);

impl Members for Single {
    fn watch_client(&self) -> kube::Client {
        self.0.clone()
    }

    fn member(&self, _: &str) -> kube::Client {
        self.0.clone()
    }
}

/// Tells the time of day.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Chooses members by name.
pub type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How a simulator runs.
#[derive(Clone)]
pub struct Options {
    /// What decisions depend on.
    pub settings: Settings,
    /// The time of day, for timestamps in statuses.
    pub clock: Clock,
    /// Members that aren't chosen are left alone; `None` chooses all.
    pub filter: Option<Filter>,
    /// How many objects may have requests under way.
    pub concurrency: usize,
    /// Members whose workloads don't become ready for now.
    pub unwell: Unwell,
}

impl Options {
    /// The defaults, with a clock.
    pub fn new(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            settings: Settings::default(),
            clock: Arc::new(clock),
            filter: None,
            concurrency: 64,
            unwell: Unwell::default(),
        }
    }
}

/// Simulates members until told to stop.
pub struct Simulator<M> {
    members: Arc<M>,
    options: Options,
    world: BTreeMap<Arc<str>, Cluster>,
    queue: Queue,
    /// The state of what was published last, by its hash: endpoints aren't watched.
    published: HashMap<Key, fleet_json::ContentHash>,
    /// Kinds whose first list hasn't come: deciding without them would make everything twice.
    unlisted: BTreeSet<Kind>,
    /// Whether the servers know how to bind pods.
    binds: bool,
    /// Workloads of members that are unwell: to be looked at when that is over.
    parked: BTreeSet<Key>,
}

impl<M: Members> Simulator<M> {
    /// A simulator of all members that the clients reach.
    #[must_use]
    pub fn new(members: M, options: Options) -> Self {
        Self {
            members: Arc::new(members),
            options,
            world: BTreeMap::new(),
            queue: Queue::default(),
            published: HashMap::new(),
            unlisted: Kind::WATCHED.into_iter().collect(),
            binds: true,
            parked: BTreeSet::new(),
        }
    }

    /// Runs until `shutdown` resolves. What is under way then is dropped; a later run goes on from what the members
    /// show.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let (reports, mut reported) = mpsc::channel(REPORTS);
        let mut watches = JoinSet::new();
        for kind in Kind::WATCHED {
            watches.spawn(run(self.members.watch_client(), kind, reports.clone()));
        }
        drop(reports);
        let mut requests: JoinSet<Performed> = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        let mut unwell = self.options.unwell.subscribe();
        loop {
            let timer = self.queue.next_due();
            tokio::select! {
                // In this order, so that what happens at one time happens the same way in every run.
                biased;
                () = &mut shutdown => return,
                report = reported.recv() => {
                    let Some(report) = report else {
                        tracing::error!("all watches of the simulator have ended");
                        return;
                    };
                    self.take(report);
                    // What has come in together is decided together: fewer statuses to write.
                    while let Ok(report) = reported.try_recv() {
                        self.take(report);
                    }
                }
                Some(done) = requests.join_next(), if !requests.is_empty() => match done {
                    Ok(done) => self.finish(done),
                    Err(error) => tracing::error!(%error, "a request of the simulator panicked"),
                },
                Ok(()) = unwell.changed() => {
                    for key in std::mem::take(&mut self.parked) {
                        self.queue.push(key);
                    }
                }
                Some(died) = watches.join_next() => {
                    if let Err(error) = died {
                        tracing::error!(%error, "a watch of the simulator panicked");
                    }
                }
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
            }
            self.queue.ring(Instant::now());
            self.start(&mut requests);
        }
    }

    fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    fn simulates(&self, member: &str) -> bool {
        self.options.filter.as_ref().is_none_or(|filter| filter(member))
    }

    fn take(&mut self, report: Reported) {
        let now = self.now();
        match report {
            Reported::Listed { kind, objects, version } => {
                let mut shown: HashMap<Arc<str>, BTreeSet<ObjectRef>> = HashMap::new();
                for object in objects.into_iter().filter(is_named) {
                    let member: Arc<str> = Arc::from(member_of(&object));
                    if self.simulates(&member) {
                        shown.entry(Arc::clone(&member)).or_default().insert(ObjectRef::of(kind, &object));
                        let concerned =
                            self.world.entry(Arc::clone(&member)).or_default().upsert(kind, object, now);
                        self.queue.push_all(&member, concerned);
                    }
                }
                let nothing = BTreeSet::new();
                for (member, cluster) in &mut self.world {
                    let concerned = cluster.retain(kind, shown.get(member).unwrap_or(&nothing), version);
                    self.queue.push_all(member, concerned);
                }
                self.unlisted.remove(&kind);
            }
            Reported::Changed { kind, object } => {
                let member: Arc<str> = Arc::from(member_of(&object));
                if is_named(&object) && self.simulates(&member) {
                    let concerned =
                        self.world.entry(Arc::clone(&member)).or_default().upsert(kind, object, now);
                    self.queue.push_all(&member, concerned);
                }
            }
            Reported::Deleted { kind, object } => {
                let member: Arc<str> = Arc::from(member_of(&object));
                let target = ObjectRef::of(kind, &object);
                self.remove(&member, &target, uid(&object), true);
            }
        }
    }

    fn remove(&mut self, member: &Arc<str>, target: &ObjectRef, uid: &str, seen: bool) {
        let Some(cluster) = self.world.get_mut(member) else { return };
        let concerned = cluster.remove(target, uid, seen);
        let empty = cluster.is_empty();
        self.queue.push_all(member, concerned);
        if target.kind == Kind::Service {
            for kind in [Kind::Endpoints, Kind::EndpointSlice] {
                self.published.remove(&(Arc::clone(member), ObjectRef { kind, ..target.clone() }));
            }
        }
        if empty {
            self.world.remove(member);
        }
    }

    /// Starts what the queue holds, as far as requests may be under way.
    fn start(&mut self, requests: &mut JoinSet<Performed>) {
        if !self.unlisted.is_empty() {
            return;
        }
        while requests.len() < self.options.concurrency {
            let Some(key) = self.queue.pop() else { return };
            let (member, target) = &key;
            let Some(cluster) = self.world.get(member).filter(|cluster| cluster.get(target).is_some()) else {
                self.queue.settle(&key);
                continue;
            };
            // What is on its way out goes all the same.
            let goes = cluster.get(target).is_some_and(|held| is_deleting(&held.value));
            let progresses = progresses(target.kind, self.options.settings.pods);
            if progresses && !goes && self.options.unwell.is(member) {
                self.parked.insert(key);
                continue;
            }
            let now = self.now();
            let mut decision = decide(cluster, target, Moment { now, settings: &self.options.settings });
            let delay = decision.wake.map(|wake| wake.duration_since(now).try_into().unwrap_or_default());
            self.queue.wake(&key, delay.map(|delay: std::time::Duration| Instant::now() + delay));
            let binds = self.binds;
            let published = &self.published;
            decision.actions.retain(|action| perform::is_needed(action, member, target, binds, published));
            if decision.actions.is_empty() {
                self.queue.settle(&key);
                continue;
            }
            let bound = decision.actions.iter().any(|action| matches!(action, Action::Bind { .. }));
            if bound && let Some(cluster) = self.world.get_mut(member) {
                cluster.assume(target);
            }
            let client = self.members.member(member);
            self.queue.hold(key.clone());
            requests.spawn(perform(client, key, decision.actions));
        }
    }

    fn finish(&mut self, done: Performed) {
        let now = self.now();
        let (member, target) = &done.key;
        for report in done.reports {
            match report {
                Report::Written { kind, object } => {
                    let concerned =
                        self.world.entry(Arc::clone(member)).or_default().upsert(kind, object, now);
                    self.queue.push_all(member, concerned);
                }
                Report::Gone { target, uid } => self.remove(member, &target, &uid, false),
                Report::Published { kind, hash } => {
                    self.published.insert((Arc::clone(member), ObjectRef { kind, ..target.clone() }), hash);
                }
                Report::NoBinding => self.binds = false,
            }
        }
        self.queue.release(&done.key, done.failed, Instant::now());
    }
}

fn is_deleting(object: &serde_json::Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// Whether an object of this kind is what becomes ready.
fn progresses(kind: Kind, pods: Pods) -> bool {
    match pods {
        Pods::Full => kind == Kind::Pod,
        Pods::Counted => {
            matches!(kind, Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet | Kind::Job)
        }
    }
}
