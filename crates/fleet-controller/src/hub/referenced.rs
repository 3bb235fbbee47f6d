//! Objects on the hub that Applications refer to: one watch per kind, what they say kept ready.
//!
//! What is kept is the content as it travels (sanitised, without defaults that nobody decided), so that
//! the noise of controllers on the hub wakes nobody and changes no hash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// How soon the hub is asked again where a kind lives, and how seldom at most.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
const ASKED_AT_LEAST: Duration = Duration::from_secs(300);

type Kind = (String, String);
/// Told which objects changed.
pub(crate) type Changed = Arc<dyn Fn(&Input) + Send + Sync>;

#[derive(Default)]
struct Cache {
    kinds: BTreeMap<Kind, KindCache>,
}

#[derive(Default)]
struct KindCache {
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
    /// There may be more kinds than before.
    defined: Arc<Notify>,
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
        Self { client, cache, settled, defined: Arc::default(), changed, stop, tasks }
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
            self.start(key.clone());
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
        path(&self.client, &(api_version.to_owned(), kind.to_owned())).await
    }

    /// Follows a kind in the background: whoever asks first may give up before the hub has answered.
    fn start(&self, kind: Kind) {
        let followed = Followed {
            kind,
            client: self.client.clone(),
            cache: Arc::clone(&self.cache),
            settled: Arc::clone(&self.settled),
            defined: Arc::clone(&self.defined),
            changed: Arc::clone(&self.changed),
        };
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
            let path = followed.path().await;
            followed.follow(path).await;
        }));
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

/// Where a kind lives on the hub, or why that isn't known.
async fn path(client: &kube::Client, kind: &Kind) -> Result<ResourcePath, String> {
    let (group, version) = kind.0.split_once('/').unwrap_or(("", &kind.0));
    let gvk = GroupVersionKind::gvk(group, version, &kind.1);
    if let Some((plural, namespaced)) = known_kinds()(group, version, &kind.1) {
        return Ok(ResourcePath { resource: ApiResource::from_gvk_with_plural(&gvk, &plural), namespaced });
    }
    let found = kube::discovery::pinned_kind(client, &gvk).await;
    let (resource, capabilities) = found.map_err(|error| {
        format!("the hub has no kind {} in {}: {error}; install its CustomResourceDefinition", kind.1, kind.0)
    })?;
    Ok(ResourcePath { resource, namespaced: capabilities.scope == kube::discovery::Scope::Namespaced })
}

/// A kind that is followed.
struct Followed {
    kind: Kind,
    client: kube::Client,
    cache: Arc<Mutex<Cache>>,
    settled: Arc<Notify>,
    defined: Arc<Notify>,
    changed: Changed,
}

impl Followed {
    /// Asks where the kind lives until the hub says so: again with each definition, and after a pause that grows, since
    /// kinds of aggregated APIs have no definition, and the hub may not have been able to say.
    async fn path(&self) -> ResourcePath {
        let mut pause = ASKED_AGAIN;
        loop {
            let defined = self.defined.notified();
            let why = match path(&self.client, &self.kind).await {
                Ok(path) => return path,
                Err(why) => why,
            };
            let problem = Problem::awaited("UnknownKind", why);
            let before = lock(&self.cache)
                .kinds
                .get_mut(&self.kind)
                .and_then(|kind| kind.problem.replace(problem.clone()));
            match before {
                None => self.settled.notify_waiters(),
                Some(before) if before != problem => self.tell((String::new(), String::new())),
                Some(_) => {}
            }
            tokio::select! {
                () = defined => pause = ASKED_AGAIN,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(ASKED_AT_LEAST),
            }
        }
    }

    async fn follow(&self, path: ResourcePath) {
        let (kind, cache) = (&self.kind, &self.cache);
        if let Some(known) = lock(cache).kinds.get_mut(kind) {
            known.resource = Some((path.resource.plural.clone(), path.namespaced));
        }
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &path.resource);
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut listed = Objects::new();
        while let Some(event) = events.next().await {
            let touched: Vec<(String, String)> = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    Vec::new()
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listed.extend(content(kind, object));
                    Vec::new()
                }
                Ok(watcher::Event::InitDone) => {
                    let touched = replace(cache, kind, std::mem::take(&mut listed));
                    self.settled.notify_waiters();
                    touched
                }
                Ok(watcher::Event::Apply(object)) => match content(kind, object) {
                    Some((key, known)) => put(cache, kind, key, known).into_iter().collect(),
                    None => Vec::new(),
                },
                Ok(watcher::Event::Delete(object)) => match content(kind, object) {
                    Some((key, _)) => {
                        if let Some(kind) = lock(cache).kinds.get_mut(kind) {
                            kind.objects.remove(&key);
                        }
                        vec![key]
                    }
                    None => Vec::new(),
                },
                Err(error) => {
                    tracing::debug!(kind = kind.1, %error, "watch on the hub interrupted");
                    // Whoever waits for the list is told why there is none, and woken once there is.
                    let is_told = unlistable(cache, kind, &error);
                    self.settled.notify_waiters();
                    is_told.then(Default::default).into_iter().collect()
                }
            };
            if !touched.is_empty() && kind.1 == DEFINITION.1 {
                self.defined.notify_waiters();
            }
            touched.into_iter().for_each(|key| self.tell(key));
        }
    }

    /// Tells of an object that changed; where it has no name, of the kind.
    fn tell(&self, (namespace, name): (String, String)) {
        for name in [name, String::new()] {
            (self.changed)(&Input::Object(self.kind.0.clone(), self.kind.1.clone(), namespace.clone(), name));
        }
    }
}

/// Takes note that a kind which was never listed can't be. True where those who asked were told of something else.
fn unlistable(cache: &Mutex<Cache>, kind: &Kind, error: &watcher::Error) -> bool {
    let mut cache = lock(cache);
    let Some(known) = cache.kinds.get_mut(kind).filter(|known| !known.synced) else { return false };
    let before = known.problem.replace(not_listed(kind, &fleet_members::innermost(error)));
    before.is_some_and(|before| before.reason != refusal::HUB_REFUSES)
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// A hub that knows Widgets; what it says first when it is asked where they live is up to the test.
    fn hub<F>(first: impl Fn() -> F + Clone + Send + Sync + 'static) -> kube::Client
    where
        F: Future<Output = Response<Full<bytes::Bytes>>> + Send + 'static,
    {
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = |value: Value| Response::new(Full::from(value.to_string()));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (asked, first) = (Arc::clone(&asked), first.clone());
            async move {
                let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
                if query.contains("watch=") {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(match path {
                    "/apis/example.dev/v1" if asked.fetch_add(1, Ordering::Relaxed) == 0 => first().await,
                    "/apis/example.dev/v1" => answer(
                        json!({"kind": "APIResourceList", "groupVersion": "example.dev/v1", "resources": [
                        {"name": "widgets", "singularName": "", "namespaced": true, "kind": "Widget", "verbs": ["list", "watch"]}]}),
                    ),
                    _ => answer(
                        json!({"apiVersion": "example.dev/v1", "kind": "WidgetList", "metadata": {"resourceVersion": "1"},
                        "items": [{"metadata": {"name": "one", "namespace": "demo"}}]}),
                    ),
                })
            }
        });
        kube::Client::new(service, "default")
    }

    fn referenced(client: kube::Client) -> (Referenced, Arc<Notify>) {
        let told = Arc::new(Notify::new());
        let tell = Arc::clone(&told);
        let changed = Arc::new(move |_: &Input| tell.notify_one());
        (Referenced::new(client, changed, CancellationToken::new(), TaskTracker::new()), told)
    }

    fn widget() -> ObjectReference {
        ObjectReference {
            api_version: "example.dev/v1".to_owned(),
            kind: "Widget".to_owned(),
            namespace: "demo".to_owned(),
            selection: Selection::Name("one".to_owned()),
        }
    }

    /// Broken: a hub that was too busy to say where a kind lives is believed not to have it until somebody installs another
    /// definition.
    #[tokio::test(start_paused = true)]
    async fn a_hub_that_could_not_say_where_a_kind_lives_is_asked_again() {
        let busy = || async {
            let mut busy = Response::new(Full::from("busy"));
            *busy.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            busy
        };
        let (referenced, told) = referenced(hub(busy));
        referenced.ensure("example.dev/v1", "Widget").await;
        let problem = referenced.find(&widget()).map(|found| found.len()).unwrap_err();
        assert_eq!(problem.reason, "UnknownKind", "{problem:?}");
        tokio::time::timeout(Duration::from_secs(60), told.notified()).await.expect("nobody is told");
        assert_eq!(referenced.find(&widget()).map(|found| found.len()), Ok(1));
    }

    /// Broken: a replica gives an Application up while it asks, and nobody who refers to that kind has an answer any more.
    #[tokio::test(start_paused = true)]
    async fn who_gives_up_while_the_hub_is_asked_holds_nobody_up() {
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Response::new(Full::from("{}"))
        };
        let (referenced, _) = referenced(hub(slow));
        let asked = referenced.ensure("example.dev/v1", "Widget");
        assert!(tokio::time::timeout(Duration::from_secs(5), asked).await.is_err(), "it was answered");
        let again = referenced.ensure("example.dev/v1", "Widget");
        tokio::time::timeout(Duration::from_secs(60), again).await.expect("no answer any more");
    }
}
