//! Objects on the hub that Applications refer to: one watch per kind, what they say kept ready.
//!
//! What is kept is the content as it travels (sanitised, without defaults that nobody decided), so that
//! the noise of controllers on the hub wakes nobody and changes no hash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_members::ResourcePath;
use fleet_schema::behaviour::referenced_content;
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Problem;
use crate::context::lock;
use crate::hub::Input;
use crate::hub::kinds::known_kinds;
use crate::hub::refusal;
use crate::people::authors::Authorship;
use crate::resolve::{ObjectReference, Selection};

/// The kind that brings other kinds.
pub(crate) const DEFINITION: (&str, &str) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");

type Kind = (String, String);
/// Told which objects changed.
pub(crate) type Changed = Arc<dyn Fn(&Input) + Send + Sync>;

#[derive(Default)]
struct Cache {
    kinds: BTreeMap<Kind, KindCache>,
}

#[derive(Default)]
struct KindCache {
    /// Whether a watch is under way.
    watched: bool,
    synced: bool,
    /// Its plural, and whether it has namespaces; known once it is watched.
    resource: Option<(String, bool)>,
    /// Why the kind can't be watched.
    problem: Option<Problem>,
    objects: Objects,
}

type Objects = BTreeMap<(String, String), Known>;

/// What an object says, and who made it say so.
#[derive(Clone)]
struct Known {
    content: Arc<Value>,
    author: Authorship,
}

/// An object that a reference finds.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) content: Value,
    pub(crate) author: Authorship,
}

impl Found {
    fn new(((_, name), known): (&(String, String), &Known)) -> Self {
        Self { name: name.clone(), content: (*known.content).clone(), author: known.author.clone() }
    }
}

/// The watches and what they saw.
pub(crate) struct Referenced {
    client: kube::Client,
    cache: Arc<Mutex<Cache>>,
    settled: Arc<Notify>,
    changed: Changed,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Referenced {
    pub(crate) fn new(
        client: kube::Client,
        changed: Changed,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let (cache, settled) = (Arc::new(Mutex::new(Cache::default())), Arc::new(Notify::new()));
        Self { client, cache, settled, changed, stop, tasks }
    }

    /// Watches a kind from now on; returns once its objects are listed, or the hub doesn't have it. True where
    /// that wasn't so before: what was looked up is to be looked up again.
    pub(crate) async fn ensure(&self, api_version: &str, kind: &str) -> bool {
        let key = (api_version.to_owned(), kind.to_owned());
        let new = {
            let mut cache = lock(&self.cache);
            let unknown = !cache.kinds.contains_key(&key);
            if unknown {
                cache.kinds.insert(key.clone(), KindCache::default());
            }
            unknown
        };
        if new {
            match self.path(&key).await {
                Ok(path) => {
                    if let Some(kind) = lock(&self.cache).kinds.get_mut(&key) {
                        kind.watched = true;
                        kind.resource = Some((path.resource.plural.clone(), path.namespaced));
                    }
                    self.start(key.clone(), path);
                }
                Err(problem) => {
                    if let Some(kind) = lock(&self.cache).kinds.get_mut(&key) {
                        kind.problem = Some(Problem::awaited("UnknownKind", problem));
                    }
                    self.settled.notify_waiters();
                }
            }
        }
        let mut waited = new;
        loop {
            let settled = self.settled.notified();
            let is_settled =
                lock(&self.cache).kinds.get(&key).is_none_or(|kind| kind.synced || kind.problem.is_some());
            if is_settled || self.stop.is_cancelled() {
                return waited && !self.stop.is_cancelled();
            }
            waited = true;
            tokio::select! {
                () = settled => {}
                () = self.stop.cancelled() => return false,
            }
        }
    }

    /// Where a kind lives on the hub.
    ///
    /// # Errors
    /// In words, where the hub doesn't have it.
    pub(crate) async fn path_of(&self, api_version: &str, kind: &str) -> Result<ResourcePath, String> {
        self.path(&(api_version.to_owned(), kind.to_owned())).await
    }

    async fn path(&self, kind: &Kind) -> Result<ResourcePath, String> {
        let (group, version) = kind.0.split_once('/').unwrap_or(("", &kind.0));
        let gvk = GroupVersionKind::gvk(group, version, &kind.1);
        if let Some((plural, namespaced)) = known_kinds()(group, version, &kind.1) {
            return Ok(ResourcePath {
                resource: ApiResource::from_gvk_with_plural(&gvk, &plural),
                namespaced,
            });
        }
        let found = kube::discovery::pinned_kind(&self.client, &gvk).await;
        let (resource, capabilities) = found.map_err(|error| {
            format!(
                "the hub has no kind {} in {}: {error}; install its CustomResourceDefinition",
                kind.1, kind.0
            )
        })?;
        Ok(ResourcePath { resource, namespaced: capabilities.scope == kube::discovery::Scope::Namespaced })
    }

    fn start(&self, kind: Kind, path: ResourcePath) {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &path.resource);
        let (cache, settled) = (Arc::clone(&self.cache), Arc::clone(&self.settled));
        let (changed, stop) = (Arc::clone(&self.changed), self.stop.clone());
        self.tasks.spawn(async move {
            let follow = follow(api, kind, cache, settled, changed);
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow => {}
            }
        });
    }

    /// A kind's plural, and whether it has namespaces. Of a kind that the hub doesn't have nothing is found anyway.
    pub(crate) fn resource_of(&self, api_version: &str, kind: &str) -> (String, bool) {
        let cache = lock(&self.cache);
        let known = cache.kinds.get(&(api_version.to_owned(), kind.to_owned()));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        known
            .and_then(|kind| kind.resource.clone())
            .or_else(|| known_kinds()(group, version, kind))
            .unwrap_or_else(|| (kind.to_lowercase(), true))
    }

    /// What a reference finds among what is watched.
    pub(crate) fn find(&self, reference: &ObjectReference) -> Result<Vec<Found>, Problem> {
        let cache = lock(&self.cache);
        let key = (reference.api_version.clone(), reference.kind.clone());
        let Some(kind) = cache.kinds.get(&key) else { return Ok(Vec::new()) };
        if let Some(problem) = &kind.problem {
            return Err(problem.clone());
        }
        let namespaced = (reference.namespace.clone(), String::new());
        let found = match &reference.selection {
            Selection::Name(name) => {
                let scopes = [reference.namespace.clone(), String::new()];
                let object =
                    scopes.into_iter().find_map(|ns| kind.objects.get_key_value(&(ns, name.clone())));
                object.map(Found::new).into_iter().collect()
            }
            Selection::Labels(labels) => kind
                .objects
                .range(namespaced..)
                .take_while(|((namespace, _), _)| *namespace == reference.namespace)
                .filter(|(_, object)| labels.matches_value(object.content.pointer("/metadata/labels")))
                .map(Found::new)
                .collect(),
        };
        Ok(found)
    }
}

async fn follow(
    api: Api<DynamicObject>,
    kind: Kind,
    cache: Arc<Mutex<Cache>>,
    settled: Arc<Notify>,
    changed: Changed,
) {
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut listed = Objects::new();
    while let Some(event) = events.next().await {
        let touched: Vec<(String, String)> = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                Vec::new()
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.extend(content(&kind, object));
                Vec::new()
            }
            Ok(watcher::Event::InitDone) => {
                let touched = replace(&cache, &kind, std::mem::take(&mut listed));
                settled.notify_waiters();
                touched
            }
            Ok(watcher::Event::Apply(object)) => match content(&kind, object) {
                Some((key, known)) => put(&cache, &kind, key, known).into_iter().collect(),
                None => Vec::new(),
            },
            Ok(watcher::Event::Delete(object)) => match content(&kind, object) {
                Some((key, _)) => {
                    if let Some(kind) = lock(&cache).kinds.get_mut(&kind) {
                        kind.objects.remove(&key);
                    }
                    vec![key]
                }
                None => Vec::new(),
            },
            Err(error) => {
                tracing::debug!(kind = kind.1, %error, "watch on the hub interrupted");
                if unlistable(&cache, &kind, &error) {
                    // Whoever waits for the list is told why there is none, and woken once there is.
                    settled.notify_waiters();
                }
                Vec::new()
            }
        };
        if !touched.is_empty() && kind.1 == DEFINITION.1 {
            // Kinds that weren't there may be now.
            lock(&cache).kinds.retain(|_, kind| kind.watched || kind.problem.is_none());
        }
        for (namespace, name) in touched {
            for name in [name, String::new()] {
                changed(&Input::Object(kind.0.clone(), kind.1.clone(), namespace.clone(), name));
            }
        }
    }
}

/// Takes note that a kind which was never listed can't be. True where that is news.
fn unlistable(cache: &Mutex<Cache>, kind: &Kind, error: &watcher::Error) -> bool {
    let mut cache = lock(cache);
    let Some(known) = cache.kinds.get_mut(kind).filter(|known| !known.synced) else { return false };
    let before = known.problem.replace(not_listed(kind, &fleet_members::innermost(error)));
    before.is_none()
}

fn not_listed(kind: &Kind, why: &str) -> Problem {
    let advice = match (kind.0.as_str(), kind.1.as_str()) {
        ("v1", "Secret") => refusal::SECRETS,
        _ => {
            "may the controller's account list and watch them? the chart's value referenced.resources says what it may read"
        }
    };
    Problem::awaited(
        refusal::HUB_REFUSES,
        format!("the hub doesn't list {} of {}: {why}; {advice}", kind.1, kind.0),
    )
}

/// What an object says, without its namespace: the target has one of its own.
fn content(kind: &Kind, object: DynamicObject) -> Option<((String, String), Known)> {
    let key = (object.metadata.namespace.clone().unwrap_or_default(), object.metadata.name.clone()?);
    let author = object.metadata.annotations.as_ref().map(Authorship::of).unwrap_or_default();
    let mut value = serde_json::to_value(object).ok()?;
    // Objects in lists don't say what they are.
    let map = value.as_object_mut()?;
    map.insert("apiVersion".to_owned(), Value::String(kind.0.clone()));
    map.insert("kind".to_owned(), Value::String(kind.1.clone()));
    Some((key, Known { content: Arc::new(referenced_content(&value)), author }))
}

fn put(cache: &Mutex<Cache>, kind: &Kind, key: (String, String), new: Known) -> Option<(String, String)> {
    let mut cache = lock(cache);
    let objects = &mut cache.kinds.get_mut(kind)?.objects;
    let same = objects.get(&key).is_some_and(|known| known.content == new.content);
    objects.insert(key.clone(), new);
    // A definition's status isn't part of its content, but decides whether its kind is there.
    (kind.1 == DEFINITION.1 || !same).then_some(key)
}

fn replace(cache: &Mutex<Cache>, kind: &Kind, listed: Objects) -> Vec<(String, String)> {
    let mut cache = lock(cache);
    let Some(known) = cache.kinds.get_mut(kind) else { return Vec::new() };
    known.synced = true;
    let unlisted = known.problem.take().is_some();
    let before = std::mem::replace(&mut known.objects, listed);
    let gone = before.keys().filter(|key| !known.objects.contains_key(*key)).cloned();
    let new = known
        .objects
        .iter()
        .filter(|(key, object)| before.get(*key).is_none_or(|before| before.content != object.content));
    let mut touched: Vec<_> = gone.chain(new.map(|(key, _)| key.clone())).collect();
    if unlisted {
        // Those who asked while it couldn't be listed.
        touched.push((String::new(), String::new()));
    }
    touched
}
