//! The members' Secrets on the hub, and the links that go by them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_api::names;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::link::{Link, Way};
use super::{Credentials, RemoteOptions};
use crate::Announced;

/// Every credential Secret that was seen, by member.
pub(super) struct Known {
    options: RemoteOptions,
    members: Mutex<BTreeMap<String, Entry>>,
    changed: Arc<Changed>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A member by its Secrets.
#[derive(Default)]
struct Entry {
    /// By the place of their namespace in the options; the first counts.
    secrets: BTreeMap<usize, Found>,
    link: Option<Link>,
    /// Digest of what the link goes by.
    used: Option<u64>,
}

/// What is kept of a Secret.
struct Found {
    credentials: Result<Credentials, String>,
    digest: u64,
    announced: Announced,
}

impl Known {
    pub(super) fn new(options: RemoteOptions, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { options, members: Mutex::default(), changed: Arc::default(), tasks, stop }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is there, and follows it from then on.
    pub(super) async fn follow(
        self: &Arc<Self>,
        hub: &kube::Client,
        stop: &CancellationToken,
    ) -> Result<(), kube::Error> {
        for (place, namespace) in self.options.namespaces.iter().enumerate() {
            let api: Api<Secret> = Api::namespaced(hub.clone(), namespace);
            let listed = api.list(&ListParams::default().labels(names::CREDENTIAL_TYPE)).await?;
            listed.items.iter().for_each(|secret| self.take(place, secret));
            let (known, stop) = (Arc::clone(self), stop.clone());
            let following = async move { known.follow_one(place, api).await };
            self.tasks.spawn(stop.run_until_cancelled_owned(following));
        }
        Ok(())
    }

    async fn follow_one(&self, place: usize, api: Api<Secret>) {
        let config = watcher::Config::default().labels(names::CREDENTIAL_TYPE);
        let mut changes = std::pin::pin!(watcher(api, config).default_backoff());
        let mut listed = BTreeSet::new();
        loop {
            match changes.try_next().await {
                Ok(Some(watcher::Event::Init)) => listed.clear(),
                Ok(Some(watcher::Event::InitApply(secret))) => {
                    listed.insert(secret.name_any());
                    self.take(place, &secret);
                }
                Ok(Some(watcher::Event::InitDone)) => {
                    self.forget_all_but(place, &std::mem::take(&mut listed))
                }
                Ok(Some(watcher::Event::Apply(secret))) => self.take(place, &secret),
                Ok(Some(watcher::Event::Delete(secret))) => self.forget(place, &secret.name_any()),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the members' credentials can't be followed; tried again");
                }
            }
        }
    }

    fn take(&self, place: usize, secret: &Secret) {
        let name = secret.name_any();
        let mut members = self.lock();
        let entry = members.entry(name.clone()).or_default();
        let found = Found {
            credentials: Credentials::read(secret).map_err(|error| error.to_string()),
            digest: digest(secret),
            announced: announced(secret),
        };
        let before = entry.secrets.insert(place, found).map(|before| before.announced);
        let news = before.as_ref() != entry.secrets.get(&place).map(|found| &found.announced);
        if self.apply(&name, entry) || news {
            self.changed.note(name);
        }
    }

    fn forget(&self, place: usize, name: &str) {
        let mut members = self.lock();
        let Some(entry) = members.get_mut(name) else { return };
        if entry.secrets.remove(&place).is_some() {
            self.apply(name, entry);
            self.changed.note(name.to_owned());
        }
        if entry.secrets.is_empty() && entry.link.is_none() {
            members.remove(name);
        }
    }

    fn forget_all_but(&self, place: usize, listed: &BTreeSet<String>) {
        let gone: Vec<String> = {
            let members = self.lock();
            let here = members.iter().filter(|(_, entry)| entry.secrets.contains_key(&place));
            here.map(|(name, _)| name).filter(|name| !listed.contains(*name)).cloned().collect()
        };
        gone.iter().for_each(|name| self.forget(place, name));
    }

    /// Brings a link up to date. True where it goes by something else now.
    fn apply(&self, name: &str, entry: &mut Entry) -> bool {
        let digest = entry.secrets.values().next().map(|found| found.digest);
        if entry.used == digest {
            return false;
        }
        entry.used = digest;
        if let Some(link) = &entry.link {
            link.swap(self.way(name, entry));
        }
        true
    }

    fn way(&self, name: &str, entry: &Entry) -> Result<Way, String> {
        let Some(found) = entry.secrets.values().next() else {
            return Err(format!(
                "the hub has no Secret {name:?} with the label {} in {}; `fleetctl cluster join` makes it",
                names::CREDENTIAL_TYPE,
                self.options.namespaces.join(" or ")
            ));
        };
        let way = found.credentials.as_ref().map_err(Clone::clone).and_then(|credentials| {
            let way = credentials.allowed_way(&self.options, &self.tasks, &self.stop);
            way.map_err(|error| error.to_string())
        });
        way.map_err(|why| format!("its Secret {}/{name}: {why}", found.announced.namespace))
    }

    /// The client of a member. It stays good when the Secret changes.
    pub(super) fn client(&self, name: &str) -> Result<kube::Client, String> {
        let mut members = self.lock();
        let way = match members.get(name) {
            Some(Entry { link: Some(link), .. }) if link.addressed().is_ok() => return Ok(link.client()),
            Some(entry) => self.way(name, entry)?,
            None => self.way(name, &Entry::default())?,
        };
        let entry = members.entry(name.to_owned()).or_default();
        match &entry.link {
            Some(link) => {
                link.swap(Ok(way));
                Ok(link.client())
            }
            None => Ok(entry.link.insert(Link::new(Ok(way))).client()),
        }
    }

    /// Whether its Secret is there and makes sense.
    pub(super) fn addressed(&self, name: &str) -> Result<(), String> {
        match self.lock().get(name) {
            Some(Entry { link: Some(link), .. }) => link.addressed(),
            Some(entry) => self.way(name, entry).map(|_| ()),
            None => self.way(name, &Entry::default()).map(|_| ()),
        }
    }

    pub(super) fn announced(&self, name: &str) -> Option<Announced> {
        let members = self.lock();
        members.get(name)?.secrets.values().next().map(|found| found.announced.clone())
    }

    pub(super) fn changes(&self) -> BoxStream<'static, String> {
        let changed = Arc::clone(&self.changed);
        futures::stream::unfold(changed, |changed| async {
            let name = changed.next().await;
            Some((name, changed))
        })
        .boxed()
    }
}

/// What decides how the member is reached. Values are hashed and not kept.
fn digest(secret: &Secret) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (key, value) in secret.data.iter().flatten() {
        (key, &value.0).hash(&mut hasher);
    }
    hasher.finish()
}

/// What a Secret says about its member besides the credentials: users' labels and the alias stand on it.
fn announced(secret: &Secret) -> Announced {
    let mut labels = secret.labels().clone();
    labels.retain(|key, _| !key.starts_with("cluster.core.oam.dev/"));
    Announced {
        name: secret.name_any(),
        namespace: secret.namespace().unwrap_or_default(),
        alias: secret.annotations().get(names::CLUSTER_ALIAS).cloned(),
        labels,
    }
}

/// Names whose Secrets changed and that nobody has taken yet: bounded by the number of members.
#[derive(Default)]
struct Changed {
    names: Mutex<BTreeSet<String>>,
    woken: Notify,
}

impl Changed {
    fn note(&self, name: String) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        self.woken.notify_one();
    }

    async fn next(&self) -> String {
        loop {
            let next = self.names.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match next {
                Some(name) => return name,
                None => self.woken.notified().await,
            }
        }
    }
}
