//! What every turn has at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_api::ObjectId;
use fleet_members::Members;
use fleet_workflow::Limits;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clusters::Touched;
use crate::hub::Hub;
use crate::measure::{Addresses, Dial, Outbound};
use crate::people::authors::{self, AuthorRecord, AuthorSource};
use crate::people::proof::powers::Powers;
use crate::people::proof::{self, Proof};
use crate::propagation::Inbox;
use crate::replicas::{Duty, Hold, LeaseOptions, Shares};
use crate::report::events::Events;
use crate::report::health::Health;
use crate::report::metrics::Metrics;
use crate::run::line::InLine;
use crate::turn::walk::Walk;

/// Tells the time; injected so that nothing here reads a clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What is done about drift where no policy says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDrift {
    /// It is taken back.
    Repair,
    /// It is reported and left.
    Report,
}

/// How the controller runs.
#[derive(Clone)]
pub struct Options {
    /// Tells the time.
    pub clock: Clock,
    /// How many Applications are reconciled at once.
    pub concurrency: u16,
    /// How many runs of an Application are kept.
    pub kept_runs: usize,
    /// How many revisions of an Application are kept; those that something needs stay beyond that.
    pub kept_revisions: usize,
    /// Bounds for members.
    pub members: fleet_members::Options,
    /// How long the deletion of an Application waits for members that don't answer.
    pub deletion_deadline: jiff::SignedDuration,
    /// So long after a change of the policy that proves approvals none is taken for proved.
    pub proof_margin: jiff::SignedDuration,
    /// Progress is written to status no more often than this; transitions are written at once.
    pub progress_interval: jiff::SignedDuration,
    /// The hub's namespace for what belongs to this controller: health rules of its administrators.
    pub own_namespace: String,
    /// How the work is shared with other replicas; `None` for a controller that is alone.
    pub leases: Option<LeaseOptions>,
    /// What members say about themselves (version, capacity) is asked for again after this time, and when they were
    /// last heard is written no more often.
    pub cluster_refresh: jiff::SignedDuration,
    /// What is done about drift that no policy speaks of.
    pub on_drift: OnDrift,
    /// How many runs may act at once, on the fleet and on a cluster. All that share a hub have to be told the same.
    pub limits: Limits,
    /// The namespaces whose Applications are this controller's; all where none is named.
    pub namespaces: BTreeSet<String>,
    /// How long the first list of everything on the hub may take.
    pub cache_sync_timeout: Duration,
    /// How who changes what comes to be recorded.
    pub author: AuthorSource,
    /// Which addresses steps may send to.
    pub addresses: Addresses,
    /// What steps send goes through these connections, where it doesn't go through the network. Mail always does.
    pub dial: Option<Arc<dyn Dial>>,
    /// Signs the end of records, where it is given.
    pub audit_signer: Option<Arc<crate::people::audit::Signer>>,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether it is alive and ready.
    pub health: Health,
}

impl Options {
    /// The defaults, with a clock.
    pub fn new(clock: Clock) -> Self {
        let metrics = Metrics::new();
        let telemetry = Arc::clone(metrics.members()) as Arc<dyn fleet_members::Telemetry>;
        Self {
            clock,
            concurrency: 16,
            kept_runs: 10,
            kept_revisions: 10,
            members: fleet_members::Options { telemetry, ..fleet_members::Options::default() },
            deletion_deadline: jiff::SignedDuration::from_mins(10),
            proof_margin: proof::MARGIN,
            progress_interval: jiff::SignedDuration::from_secs(1),
            own_namespace: fleet_api::names::SYSTEM_NAMESPACE.to_owned(),
            leases: None,
            cluster_refresh: jiff::SignedDuration::from_mins(10),
            on_drift: OnDrift::Repair,
            limits: Limits::default(),
            namespaces: BTreeSet::new(),
            cache_sync_timeout: Duration::from_secs(120),
            author: AuthorSource::default(),
            addresses: Addresses::default(),
            dial: None,
            audit_signer: None,
            metrics,
            health: Health::default(),
        }
    }
}

/// An Application by namespace and name.
pub(crate) type AppKey = (String, String);

/// Shared by all turns.
pub(crate) struct Context {
    pub(crate) hub: Hub,
    pub(crate) members: Members,
    pub(crate) options: Options,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) due: Arc<Due>,
    pub(crate) events: Events,
    pub(crate) shares: Shares,
    /// Runs that take turns.
    pub(crate) line: InLine,
    /// What steps send to servers.
    pub(crate) outbound: Outbound,
    /// What is known of the webhook that records authors.
    pub(crate) author_webhook: Mutex<AuthorRecord>,
    /// Whether approvals are proved.
    pub(crate) proof: Mutex<Proof>,
    /// Which groups may approve.
    pub(crate) powers: Powers,
    /// What the distribution of native objects is told.
    pub(crate) distribution: Arc<Inbox>,
    /// In-memory state of Applications between their turns; taken out during a turn.
    walks: Mutex<BTreeMap<AppKey, Walk>>,
}

impl Context {
    /// `tasks` end with `stop`.
    #[expect(clippy::too_many_arguments, reason = "it is made of them, in one place")]
    pub(crate) fn new(
        hub: Hub,
        members: Members,
        options: Options,
        (stop, tasks): (CancellationToken, TaskTracker),
        due: Arc<Due>,
        events: Events,
        shares: Shares,
        distribution: Arc<Inbox>,
    ) -> Self {
        let walks = Mutex::new(BTreeMap::new());
        let line = InLine::new(options.limits);
        let outbound = Outbound::new(options.addresses, options.dial.clone());
        let author_webhook = Mutex::new(authors::unknown());
        let proof = Mutex::new(proof::follow::unknown());
        let powers = Powers::default();
        Self {
            hub,
            members,
            options,
            stop,
            tasks,
            due,
            events,
            shares,
            line,
            outbound,
            author_webhook,
            proof,
            powers,
            distribution,
            walks,
        }
    }

    /// Whether who changes what in a namespace is recorded; a gate that excludes authors opens only where it is.
    pub(crate) fn author_record(&self, namespace: &str) -> AuthorRecord {
        authors::record(self.options.author, lock(&self.author_webhook).clone(), namespace)
    }

    /// The right to act for an Application, where it is this replica's.
    pub(crate) fn hold(&self, key: &AppKey) -> Option<Hold> {
        self.shares.hold(&Duty::Application(key.0.clone(), key.1.clone()))
    }

    /// An Application is gone, or another replica's: nothing of it stays in memory.
    pub(crate) fn forget(&self, key: &AppKey) {
        self.take_walk(key);
        self.hub.inputs.set(key, Default::default());
        self.due.forget(key);
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    pub(crate) fn take_walk(&self, key: &AppKey) -> Option<Walk> {
        lock(&self.walks).remove(key)
    }

    /// Keeps what is known of an Application until its next turn.
    pub(crate) fn put_walk(&self, key: AppKey, mut walk: Walk) {
        let mut walks = lock(&self.walks);
        // Within the lock: the cache either shows our last write by now, or [`Self::shown`] comes after this.
        let shown = self.hub.applications.get(&ObjectRef::new(&key.1).within(&key.0));
        if let Some(app) = shown {
            walk.see(&app);
        }
        walks.insert(key, walk);
    }

    /// The cache shows an Application now: our own copy of it, kept until then, goes.
    pub(crate) fn shown(&self, app: &fleet_api::Application) {
        let name = (app.metadata.namespace.clone(), app.metadata.name.clone());
        if let (Some(namespace), Some(name)) = name
            && let Some(walk) = lock(&self.walks).get_mut(&(namespace, name))
        {
            walk.see(app);
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long changes on members are gathered before a turn looks at them: an object that comes, is defaulted and becomes
/// ready makes several within milliseconds. A fifth of what may pass between "ready" and "step done".
const GATHERED: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Soon,
    Now,
}

/// The Applications that are due, one after another.
pub(crate) struct Woken {
    now: mpsc::UnboundedReceiver<AppKey>,
    /// In the order of their times, since all wait equally long.
    later: mpsc::UnboundedReceiver<(Instant, AppKey)>,
    next: Option<(Instant, AppKey)>,
}

impl Woken {
    /// The next, when it is due.
    pub(crate) async fn next(&mut self, due: &Due) -> Option<ObjectRef<fleet_api::Application>> {
        let key = loop {
            let at = self.next.as_ref().map(|(at, _)| *at);
            tokio::select! {
                biased;
                key = self.now.recv() => break key?,
                () = tokio::time::sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {
                    if let Some((_, key)) = self.next.take().filter(|(_, key)| due.is_gathered(key)) {
                        break key;
                    }
                }
                later = self.later.recv(), if at.is_none() => self.next = Some(later?),
            }
        };
        Some(ObjectRef::new(&key.1).within(&key.0))
    }
}

/// Which Applications are due, and why. Everything that sees a change only takes note here.
pub(crate) struct Due {
    wake: mpsc::UnboundedSender<AppKey>,
    gather: mpsc::UnboundedSender<(Instant, AppKey)>,
    state: Mutex<DueState>,
    /// Members whose status may not be true any more.
    pub(crate) touched: Touched,
}

#[derive(Default)]
struct DueState {
    /// Woken and not yet taken: keeps the channels at one entry per Application.
    woken: BTreeMap<AppKey, Urgency>,
    /// Since when each Application that is to be looked at waits.
    waiting: BTreeMap<AppKey, Instant>,
    /// What an Application was put together from has changed.
    inputs: BTreeSet<AppKey>,
    /// Objects on members that changed.
    objects: BTreeMap<AppKey, BTreeSet<(String, ObjectId)>>,
    lost_runs: BTreeMap<AppKey, BTreeSet<String>>,
    /// Who looks at objects of others: by member and object.
    lookers: BTreeMap<(String, ObjectId), BTreeSet<AppKey>>,
    /// Who waits for an Application.
    awaited: BTreeMap<AppKey, BTreeSet<AppKey>>,
    /// Owner labels of known Applications. What policies distribute has one, whichever Applications carry it.
    owners: BTreeMap<String, BTreeSet<AppKey>>,
    /// The members that something of an Application is on.
    clusters: BTreeMap<AppKey, BTreeSet<String>>,
    /// Members on which everything is to be looked at again.
    resync: BTreeMap<AppKey, BTreeSet<String>>,
}

/// What was noted about an Application since its last turn.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) inputs: bool,
    pub(crate) resync: BTreeSet<String>,
    pub(crate) objects: BTreeSet<(String, ObjectId)>,
    /// UIDs of its runs that were deleted.
    pub(crate) lost_runs: BTreeSet<String>,
}

impl Due {
    pub(crate) fn new() -> (Self, Woken) {
        let (wake, now) = mpsc::unbounded_channel();
        let (gather, later) = mpsc::unbounded_channel();
        let woken = Woken { now, later, next: None };
        (Self { wake, gather, state: Mutex::default(), touched: Touched::default() }, woken)
    }

    /// Asks for a turn now.
    pub(crate) fn wake(&self, key: &AppKey) {
        self.note(key);
        if lock(&self.state).woken.insert(key.clone(), Urgency::Now) != Some(Urgency::Now) {
            // A closed channel means that the controller is stopping.
            let _ = self.wake.send(key.clone());
        }
    }

    /// Notes that an Application waits for a turn, however it comes by it.
    pub(crate) fn note(&self, key: &AppKey) {
        lock(&self.state).waiting.entry(key.clone()).or_insert_with(Instant::now);
    }

    /// How many Applications wait for a turn, and how long the one that waits longest.
    pub(crate) fn queue(&self) -> (usize, Duration) {
        let state = lock(&self.state);
        let oldest = state.waiting.values().min().map_or(Duration::ZERO, Instant::elapsed);
        (state.waiting.len(), oldest)
    }

    /// Asks for a turn within [`GATHERED`]: what else is seen until then goes into the same turn. It is never put off
    /// further, however much there is to see.
    pub(crate) fn wake_soon(&self, key: &AppKey) {
        let mut state = lock(&self.state);
        if !state.woken.contains_key(key) {
            state.waiting.entry(key.clone()).or_insert_with(Instant::now);
            state.woken.insert(key.clone(), Urgency::Soon);
            let _ = self.gather.send((Instant::now() + GATHERED, key.clone()));
        }
    }

    /// Whether nobody took a turn since it was asked for soon.
    fn is_gathered(&self, key: &AppKey) -> bool {
        let mut state = lock(&self.state);
        let due = state.woken.get(key) == Some(&Urgency::Soon);
        if due {
            state.woken.insert(key.clone(), Urgency::Now);
        }
        due
    }

    pub(crate) fn inputs_changed(&self, keys: impl IntoIterator<Item = AppKey>) {
        for key in keys {
            lock(&self.state).inputs.insert(key.clone());
            self.wake(&key);
        }
    }

    /// A run of an Application was deleted.
    pub(crate) fn run_lost(&self, key: &AppKey, uid: String) {
        lock(&self.state).lost_runs.entry(key.clone()).or_default().insert(uid);
        self.wake(key);
    }

    pub(crate) fn own(&self, owner: &str, key: &AppKey, clusters: BTreeSet<String>) {
        let mut state = lock(&self.state);
        state.owners.entry(owner.to_owned()).or_default().insert(key.clone());
        state.clusters.insert(key.clone(), clusters);
    }

    pub(crate) fn object_changed(&self, cluster: String, owner: &str, id: ObjectId) {
        let place = (cluster, id);
        let keys: Vec<AppKey> = {
            let mut state = lock(&self.state);
            let lookers = state.lookers.get(&place).into_iter().flatten();
            let owners = state.owners.get(owner);
            // Of several, each has the objects of its namespace.
            let several = owners.is_some_and(|owners| owners.len() > 1);
            let namespace = &place.1.namespace;
            let meant = |key: &&AppKey| !several || namespace.is_empty() || key.0 == *namespace;
            let owners = owners.into_iter().flatten().filter(meant);
            let keys: Vec<AppKey> = owners.chain(lookers).cloned().collect();
            for key in &keys {
                state.objects.entry(key.clone()).or_default().insert(place.clone());
            }
            keys
        };
        keys.iter().for_each(|key| self.wake_soon(key));
    }

    /// An Application wants to hear of these objects, whosever they are, and of no others that aren't its own.
    pub(crate) fn look(&self, key: &AppKey, at: impl IntoIterator<Item = (String, ObjectId)>) {
        let mut state = lock(&self.state);
        state.end_looks(key);
        for place in at {
            state.lookers.entry(place).or_default().insert(key.clone());
        }
    }

    /// An Application waits for these others, and for no more.
    pub(crate) fn wait_for(&self, key: &AppKey, others: Vec<AppKey>) {
        let mut state = lock(&self.state);
        state.end_waits(key);
        for other in others {
            state.awaited.entry(other).or_default().insert(key.clone());
        }
    }

    /// An Application changed: whoever waits for it looks again.
    pub(crate) fn application_changed(&self, key: &AppKey) {
        let waiting: Vec<AppKey> =
            lock(&self.state).awaited.get(key).into_iter().flatten().cloned().collect();
        waiting.iter().for_each(|key| self.wake_soon(key));
    }

    /// A member's state as a whole changed: everybody who has something there looks again.
    pub(crate) fn resync(&self, cluster: &str) {
        let keys: Vec<AppKey> = {
            let mut state = lock(&self.state);
            let there = state.clusters.iter().filter(|(_, clusters)| clusters.contains(cluster));
            let keys: Vec<AppKey> = there.map(|(key, _)| key.clone()).collect();
            for key in &keys {
                state.resync.entry(key.clone()).or_default().insert(cluster.to_owned());
            }
            keys
        };
        keys.iter().for_each(|key| self.wake(key));
    }

    /// Takes what was noted; called at the start of a turn.
    pub(crate) fn take(&self, key: &AppKey) -> Noted {
        let mut state = lock(&self.state);
        state.woken.remove(key);
        state.waiting.remove(key);
        Noted {
            inputs: state.inputs.remove(key),
            resync: state.resync.remove(key).unwrap_or_default(),
            objects: state.objects.remove(key).unwrap_or_default(),
            lost_runs: state.lost_runs.remove(key).unwrap_or_default(),
        }
    }

    /// Forgets an Application that is gone.
    pub(crate) fn forget(&self, key: &AppKey) {
        let mut state = lock(&self.state);
        state.woken.remove(key);
        state.waiting.remove(key);
        state.inputs.remove(key);
        state.resync.remove(key);
        state.objects.remove(key);
        state.lost_runs.remove(key);
        state.clusters.remove(key);
        state.owners.retain(|_, owners| {
            owners.remove(key);
            !owners.is_empty()
        });
        state.end_looks(key);
        state.end_waits(key);
    }
}

impl DueState {
    fn end_waits(&mut self, key: &AppKey) {
        self.awaited.retain(|_, waiting| {
            waiting.remove(key);
            !waiting.is_empty()
        });
    }

    fn end_looks(&mut self, key: &AppKey) {
        self.lookers.retain(|_, lookers| {
            lookers.remove(key);
            !lookers.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId::new("v1", "ConfigMap", "demo", name)
    }

    /// A stream of changes that never ends must not put a turn off for ever, nor ask for one each.
    #[tokio::test(start_paused = true)]
    async fn changes_are_gathered_for_a_bounded_time() {
        let (due, mut woken) = Due::new();
        let key: AppKey = ("demo".to_owned(), "web".to_owned());
        due.own("owner", &key, BTreeSet::new());
        let begun = Instant::now();
        let changes = async {
            for n in 0..10_u64 {
                due.object_changed("m1".to_owned(), "owner", id(&format!("object-{n}")));
                tokio::time::sleep(GATHERED / 4).await;
            }
        };
        let turns = async {
            let mut turns = Vec::new();
            loop {
                woken.next(&due).await;
                let seen = due.take(&key).objects.len();
                turns.push((begun.elapsed(), seen));
                if turns.iter().map(|(_, seen)| seen).sum::<usize>() == 10 {
                    return turns;
                }
            }
        };
        let (turns, ()) = tokio::join!(turns, changes);
        assert!(turns[0].0 < GATHERED * 2 && turns[0].1 > 1, "{turns:?}");
        assert!(turns.len() <= 4, "{turns:?}");
    }

    /// What a person or a job asks for waits for nothing, and isn't asked for again by what was gathered.
    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_now_comes_now() {
        let (due, mut woken) = Due::new();
        let key: AppKey = ("demo".to_owned(), "web".to_owned());
        due.own("owner", &key, BTreeSet::new());
        due.object_changed("m1".to_owned(), "owner", id("a"));
        due.wake(&key);
        let begun = Instant::now();
        woken.next(&due).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        due.take(&key);
        let again = tokio::time::timeout(GATHERED * 3, woken.next(&due)).await;
        assert!(again.is_err(), "one turn was enough");
    }
}
