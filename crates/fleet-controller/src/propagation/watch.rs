//! Watches of the hub that begin and end with what policies select.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::api::{Api, DynamicObject};
use kube::core::ApiResource;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::distributor::Distributor;
use super::served::{Definition, outlined};

/// So many objects are listed at a time: one answer is held in memory as a whole.
pub(super) const PAGE: u32 = 100;
/// How many events wait until they are taken up; the watches wait, then.
const WAITING: usize = 128;

/// What a watch is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Topic {
    /// The hub's definitions of kinds.
    Definitions,
    /// Policies: group and plural.
    Policies(String, String),
    /// Objects: group and kind.
    Objects(String, String),
}

/// What a watch says.
pub(super) struct Heard {
    pub(super) topic: Topic,
    /// Which of the watches of this topic, one after another.
    pub(super) round: u64,
    pub(super) said: Result<watcher::Event<DynamicObject>, String>,
}

struct Watching {
    round: u64,
    api_version: String,
    listed: bool,
    /// Why it isn't listed, as it was said last.
    failing: Option<String>,
    _task: AbortOnDropHandle<()>,
}

/// What happens to what a watch is about, without end.
fn events(
    client: kube::Client,
    topic: &Topic,
    resource: &ApiResource,
) -> BoxStream<'static, Result<watcher::Event<DynamicObject>, watcher::Error>> {
    let config = watcher::Config::default().page_size(PAGE);
    match topic {
        Topic::Definitions => {
            let api: Api<Definition> = Api::all_with(client, resource);
            watcher::watcher(api, config).default_backoff().map(|event| event.map(outlined)).boxed()
        }
        Topic::Policies(..) => {
            let api: Api<DynamicObject> = Api::all_with(client, resource);
            watcher::watcher(api, config).default_backoff().modify(forget_fields).boxed()
        }
        // Who wrote which field tells what somebody asked for, even where it is the default.
        Topic::Objects(..) => {
            let api: Api<DynamicObject> = Api::all_with(client, resource);
            watcher::watcher(api, config).default_backoff().boxed()
        }
    }
}

/// Who wrote a policy is looked at, and not which fields: they take more memory than what it says.
fn forget_fields(object: &mut DynamicObject) {
    for entry in object.metadata.managed_fields.iter_mut().flatten() {
        entry.fields_v1 = None;
    }
}

/// The watches that are under way.
pub(super) struct Watches {
    client: kube::Client,
    tell: mpsc::Sender<Heard>,
    rounds: u64,
    watching: BTreeMap<Topic, Watching>,
}

impl Watches {
    pub(super) fn new(client: kube::Client) -> (Self, mpsc::Receiver<Heard>) {
        let (tell, heard) = mpsc::channel(WAITING);
        (Self { client, tell, rounds: 0, watching: BTreeMap::new() }, heard)
    }

    /// Watches from now on, unless it does so already in this version. True where it begins.
    pub(super) fn begin(&mut self, topic: Topic, resource: &ApiResource) -> bool {
        let known = self.watching.get(&topic);
        if known.is_some_and(|watching| watching.api_version == resource.api_version) {
            return false;
        }
        self.rounds += 1;
        let round = self.rounds;
        let (tell, about) = (self.tell.clone(), topic.clone());
        let events = events(self.client.clone(), &topic, resource);
        #[expect(
            clippy::disallowed_methods,
            reason = "the handle is kept, and aborts the task when it is dropped"
        )]
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut events = events;
            while let Some(event) = events.next().await {
                let said = event.map_err(|error| fleet_members::innermost(&error));
                if tell.send(Heard { topic: about.clone(), round, said }).await.is_err() {
                    return;
                }
            }
        }));
        let api_version = resource.api_version.clone();
        self.watching
            .insert(topic, Watching { round, api_version, listed: false, failing: None, _task: task });
        true
    }

    /// Ends a watch.
    pub(super) fn end(&mut self, topic: &Topic) {
        self.watching.remove(topic);
    }

    /// Whether what was heard comes from a watch that is still under way.
    pub(super) fn is_current(&self, heard: &Heard) -> bool {
        self.watching.get(&heard.topic).is_some_and(|watching| watching.round == heard.round)
    }

    /// The first list has arrived. True where that is news.
    pub(super) fn listed(&mut self, topic: &Topic) -> bool {
        self.watching.get_mut(topic).is_some_and(|watching| !std::mem::replace(&mut watching.listed, true))
    }

    /// A watch says this. True where it is news that it fails, or that it doesn't any more.
    pub(super) fn hears(&mut self, topic: &Topic, failure: Option<&str>) -> bool {
        let Some(watching) = self.watching.get_mut(topic) else { return false };
        let news = watching.failing.is_some() != failure.is_some();
        watching.failing = failure.map(str::to_owned);
        news
    }

    /// Why what it is about isn't listed.
    pub(super) fn failing(&self, topic: &Topic) -> Option<&str> {
        self.watching.get(topic).filter(|watching| !watching.listed)?.failing.as_deref()
    }

    /// Whether its first list is on its way.
    pub(super) fn is_coming(&self, topic: &Topic) -> bool {
        self.watching.get(topic).is_some_and(|watching| !watching.listed && watching.failing.is_none())
    }

    /// Whether it is watched, and the first list has arrived.
    pub(super) fn is_listed(&self, topic: &Topic) -> bool {
        self.watching.get(topic).is_some_and(|watching| watching.listed)
    }

    /// The version in which a kind is watched.
    pub(super) fn api_version(&self, topic: &Topic) -> Option<String> {
        Some(self.watching.get(topic)?.api_version.clone())
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.watching.keys()
    }
}

impl Distributor {
    /// What objects say to members has another rule: they are listed anew.
    pub(super) fn read_objects_again(&mut self) {
        let objects = |topic: &&Topic| matches!(topic, Topic::Objects(..));
        let watched: Vec<Topic> = self.watches.topics().filter(objects).cloned().collect();
        watched.iter().for_each(|topic| self.watches.end(topic));
        self.select_kinds();
    }
}
