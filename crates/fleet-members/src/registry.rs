//! Who is in the fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use fleet_api::{ManagedCluster, ObjectId};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::discovery::Library;
use crate::observe::Judges;
use crate::roll::Roll;
use crate::telemetry::{Silent, Telemetry};
use crate::{Hold, KnownKinds, Member};

/// How members are reached: in process, or over HTTPS with their credentials.
pub trait Transport: Send + Sync + 'static {
    /// A client for a member.
    ///
    /// # Errors
    /// Where the member can't be addressed: no credentials, an unreadable CA.
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError>;

    /// Whether there is a way to a member at all.
    ///
    /// # Errors
    /// In words, with what is missing.
    fn addressed(&self, _name: &str) -> Result<(), String> {
        Ok(())
    }

    /// What the transport knows of a member by itself, whether or not it is registered.
    fn announced(&self, _name: &str) -> Option<Announced> {
        None
    }

    /// Names of members whose way has changed, appeared or gone; each stream gives a name once, to one listener.
    fn changes(&self) -> BoxStream<'static, String> {
        futures::stream::pending().boxed()
    }
}

/// A member that its credentials speak of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// Its name.
    pub name: String,
    /// The hub's namespace in which its credentials are.
    pub namespace: String,
    /// Its human name, where one is written there.
    pub alias: Option<String>,
    /// Labels that people have given it there.
    pub labels: BTreeMap<String, String>,
}

/// Why a member can't be addressed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cluster {cluster} can't be reached: {message}")]
pub struct TransportError {
    /// The member.
    pub cluster: String,
    /// What is missing or wrong, and what to do.
    pub message: String,
}

/// Bounds, the same for each member.
#[derive(Debug, Clone)]
pub struct Options {
    /// The longest that one request may take.
    pub request_timeout: Duration,
    /// How many requests one member gets at once.
    pub requests_at_once: usize,
    /// The longest that a request waits for its turn in that, or for the end of a pause that the member asked for.
    pub longest_wait: Duration,
    /// A watch, or a member, that is silent for so long is asked anew.
    pub silence: Duration,
    /// The UID of the hub's `kube-system` namespace, which no member may have.
    pub hub: Option<String>,
    /// The owner of whose objects the status is kept, since it is shown on the hub; empty: nobody's.
    pub shown_of: String,
    /// Told of requests and watches.
    pub telemetry: Arc<dyn Telemetry>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            requests_at_once: 16,
            longest_wait: Duration::from_secs(30),
            silence: Duration::from_secs(120),
            hub: None,
            shown_of: String::new(),
            telemetry: Arc::new(Silent),
        }
    }
}

/// Something happened at a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// An object of ours appeared, changed in what we look at, or went.
    Object {
        /// The member.
        cluster: String,
        /// The owner label.
        owner: String,
        /// The object.
        id: ObjectId,
    },
    /// A kind was listed anew.
    Synced {
        /// The member.
        cluster: String,
    },
    /// It stopped answering.
    Unreachable {
        /// The member.
        cluster: String,
    },
    /// It answers again, or may be delivered to again.
    Reachable {
        /// The member.
        cluster: String,
    },
    /// It is known which cluster answers, for the first time or as another one than before.
    Recognised {
        /// The member.
        cluster: String,
    },
}

/// Told of every event, from the task that saw it: it must only take note and return.
pub type Notify = Box<dyn Fn(MemberEvent) + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) known: KnownKinds,
    pub(crate) notify: Notify,
    pub(crate) documents: Library,
    pub(crate) judges: Judges,
    pub(crate) roll: Roll,
    /// How many members are asked at once who they are.
    pub(crate) greetings: Semaphore,
}

/// At a start every member is asked who it is; so many at once.
const GREETINGS_AT_ONCE: usize = 32;

impl Shared {
    pub(crate) fn send(&self, event: MemberEvent) {
        (self.notify)(event);
    }
}

/// The members, by name.
pub struct Members {
    transport: Arc<dyn Transport>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    members: RwLock<BTreeMap<String, Entry>>,
}

struct Entry {
    cluster: ManagedCluster,
    member: Result<Arc<Member>, TransportError>,
}

impl Entry {
    fn hold(&self) -> Option<Hold> {
        match &self.member {
            Ok(member) => member.hold(),
            Err(_) => Hold::by_people(&self.cluster),
        }
    }

    /// Tells the member whether people hold it.
    fn settle(&self) {
        if let Ok(member) = &self.member {
            member.set_hold(Hold::by_people(&self.cluster));
        }
    }
}

impl Members {
    /// An empty fleet. `notify` is told what happens in it.
    pub fn new(
        transport: Arc<dyn Transport>,
        known: KnownKinds,
        options: Options,
        stop: CancellationToken,
        notify: Notify,
    ) -> Self {
        let shared = Arc::new(Shared {
            roll: Roll::new(options.hub.clone()),
            options,
            known,
            notify,
            documents: Library::default(),
            judges: Judges::default(),
            greetings: Semaphore::new(GREETINGS_AT_ONCE),
        });
        Self { transport, shared, stop, members: RwLock::new(BTreeMap::new()) }
    }

    pub(crate) fn judges(&self) -> &Judges {
        &self.shared.judges
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Entry>> {
        self.members.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes in a member, or what changed about it. True where placements may differ now.
    pub fn upsert(&self, cluster: ManagedCluster) -> bool {
        let name = cluster.metadata.name.clone().unwrap_or_default();
        let turned = self.shared.roll.enter(&cluster);
        let moved = self.take_in(name, cluster);
        self.turn(turned);
        moved
    }

    fn take_in(&self, name: String, cluster: ManagedCluster) -> bool {
        let mut members = self.members.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        match members.get_mut(&name) {
            Some(entry) => {
                let before = entry.hold();
                let mut moved = placement_facts(&entry.cluster) != placement_facts(&cluster);
                entry.cluster = cluster;
                let mut reached = false;
                if entry.member.is_err() {
                    entry.member = self.connect(&name, &entry.cluster);
                    reached = entry.member.is_ok();
                }
                entry.settle();
                moved |= entry.hold() != before;
                moved || reached
            }
            None => {
                let member = self.connect(&name, &cluster);
                let entry = Entry { cluster, member };
                entry.settle();
                members.insert(name, entry);
                true
            }
        }
    }

    /// Who isn't the cluster that joined, or is again, may have changed.
    fn turn(&self, names: BTreeSet<String>) {
        for name in names {
            if let Ok(member) = self.get(&name) {
                member.turn();
                self.shared.send(MemberEvent::Reachable { cluster: name });
            }
        }
    }

    fn connect(&self, name: &str, cluster: &ManagedCluster) -> Result<Arc<Member>, TransportError> {
        let client = self.transport.connect(cluster)?;
        let member = Arc::new(Member::new(name, client, Arc::clone(&self.shared), self.stop.child_token()));
        let touch = Arc::clone(&member).keep_in_touch();
        member.tasks.spawn(member.stop.clone().run_until_cancelled_owned(touch));
        Ok(member)
    }

    /// Takes a member out; what runs for it ends.
    pub fn remove(&self, name: &str) {
        let gone = self.members.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(name);
        if let Some(Entry { member: Ok(member), .. }) = gone {
            member.stop.cancel();
        }
        self.turn(self.shared.roll.leave(name));
        self.shared.options.telemetry.left(name);
    }

    /// Names of members whose way has changed, appeared or gone: each is to be told to [`Members::way_changed`].
    pub fn changes(&self) -> BoxStream<'static, String> {
        self.transport.changes()
    }

    /// Whether there is a way to a member at all: credentials that make sense.
    ///
    /// # Errors
    /// In words, with what is missing.
    pub fn addressed(&self, name: &str) -> Result<(), String> {
        self.transport.addressed(name)
    }

    /// What the transport knows of a member by itself, whether or not it is registered.
    pub fn announced(&self, name: &str) -> Option<Announced> {
        self.transport.announced(name)
    }

    /// Takes up a changed way to a member; what is known of it stays. True where it can be addressed only now.
    pub fn way_changed(&self, name: &str) -> bool {
        let mut members = self.members.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(entry) = members.get_mut(name) else { return false };
        match &entry.member {
            Ok(member) => {
                member.way_changed();
                false
            }
            Err(_) => {
                entry.member = self.connect(name, &entry.cluster);
                entry.member.is_ok()
            }
        }
    }

    /// The member of a name.
    ///
    /// # Errors
    /// Where it isn't in the fleet, or can't be addressed.
    pub fn get(&self, name: &str) -> Result<Arc<Member>, TransportError> {
        match self.read().get(name) {
            Some(entry) => entry.member.clone(),
            None => Err(TransportError {
                cluster: name.to_owned(),
                message: "it isn't in the fleet any more; take it out of the topology, or join it again"
                    .to_owned(),
            }),
        }
    }

    /// Why nothing may be written to a member, where that is so.
    pub fn hold(&self, name: &str) -> Option<Hold> {
        self.read().get(name).and_then(Entry::hold)
    }

    /// Whether a name is in the fleet.
    pub fn contains(&self, name: &str) -> bool {
        self.read().contains_key(name)
    }

    /// Every member as it is registered.
    pub fn clusters(&self) -> Vec<ManagedCluster> {
        self.read().values().map(|entry| entry.cluster.clone()).collect()
    }
}

/// What placements look at.
fn placement_facts(cluster: &ManagedCluster) -> (Option<&str>, Option<&BTreeMap<String, String>>, bool) {
    (cluster.alias(), cluster.metadata.labels.as_ref(), cluster.spec.hub_accepts_client)
}
