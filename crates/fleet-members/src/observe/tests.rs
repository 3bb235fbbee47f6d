//! Watches against a server that misbehaves, in virtual time.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fleet_api::{ManagedCluster, ObjectId, names};
use futures::channel::mpsc;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{KnownKinds, Members, Options, Transport, TransportError};

type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, Infallible>>;

/// What the server is, and what it was asked.
#[derive(Default)]
struct Script {
    uid: String,
    version: u64,
    objects: BTreeMap<(String, String), Value>,
    watches: Vec<(String, Frames)>,
    /// Watches stay open and are told nothing.
    mute: bool,
    /// Watches end as soon as they are opened.
    closes: bool,
    /// The answer to a watch is that its version is too old.
    expired: bool,
    /// Lists and watches over all namespaces are refused.
    narrow: bool,
    requests: Vec<String>,
}

#[derive(Clone, Default)]
struct Server(Arc<Mutex<Script>>);

fn body(value: &Value) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(Bytes::from(format!("{value}\n"))).boxed_unsync()
}

impl Server {
    fn new() -> Self {
        let server = Self::default();
        server.with(|script| {
            script.uid = "cluster-a".to_owned();
            script.version = 100;
        });
        server
    }

    fn with<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    /// Puts a ConfigMap, as whoever applied it left it.
    fn put(&self, namespace: &str, name: &str, content: &str) {
        self.with(|script| {
            script.version += 1;
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}"),
                    "resourceVersion": script.version.to_string(),
                    "labels": {names::OWNER: "us", names::CONTENT: content}},
                "data": {"secret": "value"},
            });
            script.objects.insert((namespace.to_owned(), name.to_owned()), object.clone());
            script.tell("MODIFIED", namespace, &object);
        });
    }

    /// Tells every watch how far it has come.
    fn bookmark(&self) {
        self.with(|script| {
            let bookmark = json!({"kind": "ConfigMap", "apiVersion": "v1",
                "metadata": {"resourceVersion": script.version.to_string()}});
            script.tell("BOOKMARK", "demo", &bookmark);
        });
    }

    /// Ends every watch, as a connection that is reset does.
    fn cut(&self) {
        self.with(|script| script.watches.clear());
    }

    fn count(&self, what: &str) -> usize {
        self.with(|script| script.requests.iter().filter(|request| request.contains(what)).count())
    }

    fn answer(&self, request: &Request<Body>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let accept =
            request.headers().get("accept").map(|a| a.to_str().unwrap().to_owned()).unwrap_or_default();
        let verb = if query.contains("watch=true") { "WATCH" } else { "GET" };
        self.with(|script| {
            let form = if accept.contains("PartialObjectMetadata") { "metadata" } else { "whole" };
            script.requests.push(format!("{verb} {path} {form}"));
            let namespace =
                path.strip_prefix("/api/v1/namespaces/").and_then(|p| p.strip_suffix("/configmaps"));
            let refused = |code: u16, reason: &str| {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                    "reason": reason, "message": format!("{reason} {path}")});
                Response::builder().status(code).body(body(&status)).unwrap()
            };
            if path == "/api/v1/namespaces/kube-system" {
                let metadata = json!({"name": "kube-system", "uid": script.uid});
                return Response::new(body(&json!({"metadata": metadata})));
            }
            if namespace.is_none() && script.narrow {
                return refused(403, "Forbidden");
            }
            if verb == "GET" {
                let shown = |at: &str| namespace.is_none_or(|namespace| namespace == at);
                let items: Vec<&Value> = script
                    .objects
                    .iter()
                    .filter(|((at, _), _)| shown(at))
                    .map(|(_, object)| object)
                    .collect();
                let list = json!({"apiVersion": "v1", "kind": "List",
                    "metadata": {"resourceVersion": script.version.to_string()}, "items": items});
                return Response::new(body(&list));
            }
            if std::mem::take(&mut script.expired) {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                    "reason": "Expired", "message": "too old resource version"});
                return Response::new(body(&json!({"type": "ERROR", "object": status})));
            }
            let (frames, events) = mpsc::unbounded();
            if !script.closes {
                script.watches.push((namespace.unwrap_or_default().to_owned(), frames));
            }
            Response::new(StreamBody::new(events).boxed_unsync())
        })
    }
}

impl Script {
    fn tell(&mut self, type_: &str, namespace: &str, object: &Value) {
        if self.mute {
            return;
        }
        let line = Bytes::from(format!("{}\n", json!({"type": type_, "object": object})));
        for (at, frames) in &self.watches {
            if at.is_empty() || at == namespace {
                let _ = frames.unbounded_send(Ok(Frame::data(line.clone())));
            }
        }
    }
}

impl tower::Service<Request<Body>> for Server {
    type Response = Response<UnsyncBoxBody<Bytes, Infallible>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            // A round trip takes time, so that virtual time moves.
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(server.answer(&request))
        })
    }
}

impl Transport for Server {
    fn connect(&self, _: &ManagedCluster) -> Result<kube::Client, TransportError> {
        Ok(kube::Client::new(self.clone(), "default"))
    }
}

fn id(namespace: &str, name: &str) -> ObjectId {
    ObjectId::new("v1", "ConfigMap", namespace, name)
}

fn cluster(uid: Option<&str>) -> ManagedCluster {
    let claims: Vec<_> =
        uid.iter().map(|uid| json!({"name": names::CLUSTER_ID_CLAIM, "value": uid})).collect();
    serde_json::from_value(json!({
        "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
        "metadata": {"name": "m1"}, "spec": {"hubAcceptsClient": true}, "status": {"clusterClaims": claims},
    }))
    .unwrap()
}

struct Watching {
    members: Members,
    member: Arc<Member>,
    stop: CancellationToken,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn member(server: &Server) -> Watching {
    let known: KnownKinds =
        Arc::new(|_, _, kind| (kind == "ConfigMap").then(|| ("configmaps".to_owned(), true)));
    let stop = CancellationToken::new();
    let members =
        Members::new(Arc::new(server.clone()), known, Options::default(), stop.clone(), Box::new(|_| {}));
    members.upsert(cluster(None));
    let member = members.get("m1").unwrap();
    Watching { members, member, stop }
}

impl Watching {
    async fn watch(&self, id: &ObjectId) {
        let path = self.member.path(id).await.unwrap();
        self.member.watch(id, &path);
    }

    /// Waits in virtual time.
    async fn until(&self, wanted: impl Fn(&Member) -> bool) {
        let came = tokio::time::timeout(Duration::from_secs(1800), async {
            while !wanted(&self.member) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        came.await.expect("it doesn't come about");
    }

    async fn until_content(&self, id: &ObjectId, content: &str) {
        self.until(|member| member.observed(id).is_some_and(|seen| seen.content == content)).await;
    }
}

/// A server with one ConfigMap of this content, and a member on which it was seen.
async fn at_rest(content: &str) -> (Server, Watching, ObjectId) {
    let server = Server::new();
    server.put("demo", "settings", content);
    let watching = member(&server);
    let settings = id("demo", "settings");
    watching.watch(&settings).await;
    watching.until_content(&settings, content).await;
    (server, watching, settings)
}

/// A watch whose events get lost would leave us blind for ever: after two minutes of silence it is listed anew.
#[tokio::test(start_paused = true)]
async fn a_watch_that_silently_stops_is_listed_anew() {
    let (server, watching, settings) = at_rest("one").await;
    server.with(|script| script.mute = true);
    server.put("demo", "settings", "two");
    let began = tokio::time::Instant::now();
    watching.until_content(&settings, "two").await;
    assert!(began.elapsed() <= Duration::from_secs(125), "{:?}", began.elapsed());
}

/// Bookmarks tell that a quiet watch is alive; it must not be listed again and again.
#[tokio::test(start_paused = true)]
async fn a_quiet_watch_with_bookmarks_goes_on() {
    let (server, _watching, _) = at_rest("one").await;
    let lists = server.count("GET /api/v1/configmaps");
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        server.bookmark();
    }
    assert_eq!(server.count("GET /api/v1/configmaps"), lists);
}

/// A server that was restored from an older backup shows lower versions; what it shows is true, and what it lost is
/// gone.
#[tokio::test(start_paused = true)]
async fn a_server_that_has_gone_backwards_is_believed() {
    let server = Server::new();
    server.put("demo", "settings", "backed up");
    let watching = member(&server);
    let (settings, later) = (id("demo", "settings"), id("demo", "later"));
    watching.watch(&settings).await;
    watching.until_content(&settings, "backed up").await;
    let backup = server.with(|script| (script.version, script.objects.clone()));
    server.put("demo", "settings", "newer");
    server.put("demo", "later", "made after the backup");
    watching.until_content(&later, "made after the backup").await;
    watching.until_content(&settings, "newer").await;
    server.with(|script| (script.version, script.objects) = backup);
    server.cut();
    watching.until_content(&settings, "backed up").await;
    watching.until(|member| member.observed(&later).is_none()).await;
    // And goes on to be believed, though its versions are still below those of before.
    server.put("demo", "settings", "again");
    watching.until_content(&settings, "again").await;
}

/// A bookmark of a lower version tells it, too: the watch itself would be silent until the old versions are reached.
#[tokio::test(start_paused = true)]
async fn a_bookmark_of_a_lower_version_asks_for_a_list() {
    let (server, watching, settings) = at_rest("backed up").await;
    let backup = server.with(|script| (script.version, script.objects.clone()));
    server.put("demo", "settings", "newer");
    watching.until_content(&settings, "newer").await;
    server.with(|script| {
        (script.version, script.objects) = backup;
        let bookmark =
            json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "101"}});
        script.tell("BOOKMARK", "demo", &bookmark);
    });
    watching.until_content(&settings, "backed up").await;
}

/// A list that was under way while the server was set back is no older than what was answered before: only what the watch
/// never shows tells that something is gone.
#[tokio::test(start_paused = true)]
async fn what_was_answered_before_a_server_was_set_back_is_not_believed_for_ever() {
    let server = Server::new();
    let watching = member(&server);
    let (settings, lost) = (id("demo", "settings"), id("demo", "lost"));
    for id in [&settings, &lost] {
        watching.member.note(id, seen(&format!("uid-{}", id.name), "150", "applied"), 0, None);
    }
    watching.watch(&settings).await;
    watching.until(|member| member.observations.is_synced(&settings)).await;
    server.with(|script| script.version = 149);
    server.put("demo", "settings", "applied");
    assert!(watching.member.observed(&lost).is_some());
    let lists = server.count("GET /api/v1/configmaps");
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        server.bookmark();
    }
    assert_eq!(watching.member.observed(&lost), None);
    assert!(watching.member.observed(&settings).is_some());
    assert_eq!(server.count("GET /api/v1/configmaps"), lists + 1);
}

/// The same where a watch shows something older: that proves nothing of what was answered.
#[tokio::test(start_paused = true)]
async fn an_older_change_proves_nothing_of_what_was_answered() {
    let server = Server::new();
    server.put("demo", "settings", "before");
    let watching = member(&server);
    let settings = id("demo", "settings");
    watching.member.note(&settings, seen("uid-settings", "150", "lost"), 0, None);
    watching.watch(&settings).await;
    watching.until(|member| member.observations.is_synced(&settings)).await;
    server.put("demo", "settings", "after");
    tokio::time::sleep(Duration::from_secs(60)).await;
    server.bookmark();
    tokio::time::timeout(Duration::from_secs(30), watching.until_content(&settings, "after")).await.unwrap();
}

/// 410 Gone: what happened between can't be told.
#[tokio::test(start_paused = true)]
async fn an_expired_version_is_listed_anew() {
    let server = Server::new();
    server.put("demo", "settings", "one");
    server.with(|script| script.expired = true);
    let watching = member(&server);
    let settings = id("demo", "settings");
    watching.watch(&settings).await;
    watching.until(|_| server.count("WATCH") == 2).await;
    assert_eq!(server.count("GET /api/v1/configmaps"), 2);
    server.put("demo", "settings", "two");
    watching.until_content(&settings, "two").await;
}

/// A server or a proxy that closes watches as soon as they are opened must not be asked in a tight loop.
#[tokio::test(start_paused = true)]
async fn a_watch_that_closes_at_once_is_opened_less_and_less_often() {
    let server = Server::new();
    server.put("demo", "settings", "one");
    server.with(|script| script.closes = true);
    let watching = member(&server);
    let settings = id("demo", "settings");
    watching.watch(&settings).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let opened = server.count("WATCH");
    assert!((10..=70).contains(&opened), "{opened} in ten minutes");
    // Seen all the same.
    server.put("demo", "settings", "two");
    watching.until_content(&settings, "two").await;
}

/// The values of ConfigMaps and Secrets have no business in our memory: their watches bring metadata only.
#[tokio::test(start_paused = true)]
async fn values_of_config_are_not_asked_for() {
    let (server, watching, _) = at_rest("one").await;
    watching.until(|_| server.count("WATCH") == 1).await;
    assert_eq!(server.count("configmaps whole"), 0);
    assert_eq!(server.count("configmaps metadata"), 2);
}

/// An account that may list in its namespaces only sees what is there, each namespace by a watch of its own.
#[tokio::test(start_paused = true)]
async fn namespaces_are_watched_one_by_one_where_rights_demand_it() {
    let server = Server::new();
    server.with(|script| script.narrow = true);
    server.put("one", "settings", "1");
    server.put("two", "settings", "2");
    server.put("other", "settings", "3");
    let watching = member(&server);
    let (first, second) = (id("one", "settings"), id("two", "settings"));
    watching.watch(&first).await;
    watching.until_content(&first, "1").await;
    assert!(!watching.member.observes([&second].into_iter()));
    // A namespace comes.
    watching.watch(&second).await;
    watching.until_content(&second, "2").await;
    assert_eq!(watching.member.observed(&id("other", "settings")), None);
    server.put("two", "settings", "changed");
    watching.until_content(&second, "changed").await;
    assert_eq!(server.count("GET /api/v1/configmaps"), 1, "asked for everything once");
    // And goes: once nothing of ours is there, its watch isn't opened again.
    server.with(|script| {
        let gone = script.objects.remove(&("one".to_owned(), "settings".to_owned())).unwrap();
        script.tell("DELETED", "one", &gone);
    });
    watching.until(|member| member.observed(&first).is_none()).await;
    // With the rights it is watched everywhere again.
    server.with(|script| script.narrow = false);
    watching.until(|member| member.observed(&id("other", "settings")).is_some()).await;
}

/// What another cluster under the same name holds says nothing about ours, until it is said to be meant.
#[tokio::test(start_paused = true)]
async fn another_cluster_is_not_looked_at() {
    let (server, watching, settings) = at_rest("ours").await;
    watching.members.upsert(cluster(Some("cluster-a")));
    let before = server.with(|script| {
        script.uid = "cluster-b".to_owned();
        script.objects.clear();
        script.version = 7;
        script.requests.len()
    });
    server.cut();
    watching.until(|member| matches!(member.hold(), Some(crate::Hold::ClusterChanged { .. }))).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = server.with(|script| script.requests.split_off(before));
    assert!(asked.iter().all(|request| request.contains("kube-system")), "{asked:?}");
    assert_eq!(watching.member.observed(&settings).map(|seen| seen.content.clone()), Some("ours".to_owned()));
    // Rejoined, it is seen as it is: empty.
    watching.members.upsert(cluster(Some("cluster-b")));
    watching.until(|member| member.observed(&settings).is_none()).await;
    server.put("demo", "settings", "anew");
    watching.until_content(&settings, "anew").await;
}

fn seen(uid: &str, version: &str, content: &str) -> Observed {
    Observed {
        shown: None,
        uid: uid.to_owned(),
        resource_version: version.to_owned(),
        owner: "us".to_owned(),
        content: content.to_owned(),
        managed: Some(1),
        sharers: [].into(),
        deleting: false,
        health: fleet_health::assess(&json!({"kind": "ConfigMap", "apiVersion": "v1"})),
    }
}

/// The answer to an apply and the watch race; what is older never covers what is newer (design invariant 4).
#[test]
fn an_older_observation_never_covers_a_newer_one() {
    let id = id("demo", "settings");
    let observations = Observations::default();
    assert!(observations.put(&id, seen("a", "10", "new"), 0, None).is_some());
    assert_eq!(observations.put(&id, seen("a", "9", "old"), 0, None), None);
    assert_eq!(observations.get(&id).map(|seen| seen.content.clone()), Some("new".to_owned()));
    // Made anew it is another object, whatever its version.
    assert!(observations.put(&id, seen("b", "3", "anew"), 0, None).is_some());
    assert_eq!(observations.get(&id).map(|seen| seen.content.clone()), Some("anew".to_owned()));
    // Said again it is no news.
    assert_eq!(observations.put(&id, seen("b", "4", "anew"), 0, None), None);
    // The end of an earlier object of that name doesn't end this one.
    assert_eq!(observations.remove(&id, "a"), None);
    assert!(observations.remove(&id, "b").is_some());
}

/// A server that was set back and has written so much since that its version is higher than before: what it lists is what
/// is there, and what we knew isn't.
#[test]
fn a_server_that_was_set_back_and_has_caught_up_is_believed() {
    let (id, place) = (id("demo", "settings"), Place::ours(&("v1".to_owned(), "ConfigMap".to_owned()), None));
    let observations = Observations::default();
    observations.enter(&place);
    let era = observations.era(&id);
    assert!(observations.put(&id, seen("a", "20", "green"), era, None).is_some());
    let listing = observations.open(&place, "30", None, observations.highest(&place));
    assert!(observations.put(&id, seen("a", "10", "blue"), listing.era, Some(listing)).is_some());
    assert_eq!(observations.get(&id).map(|seen| seen.content.clone()), Some("blue".to_owned()));
    // What was written after the list was read is younger than it.
    let listing = observations.open(&place, "40", None, observations.highest(&place));
    assert!(observations.put(&id, seen("a", "41", "green"), era, None).is_some());
    assert_eq!(observations.put(&id, seen("a", "10", "blue"), listing.era, Some(listing)), None);
}

/// What was applied while a list was under way isn't in it and yet is there; what was asked of a server before it
/// went backwards says nothing about it afterwards.
#[test]
fn lists_and_answers_that_cross_are_told_apart() {
    let (id, place) = (id("demo", "settings"), Place::ours(&("v1".to_owned(), "ConfigMap".to_owned()), None));
    let observations = Observations::default();
    observations.enter(&place);
    let era = observations.era(&id);
    let listing = observations.open(&place, "10", None, observations.highest(&place));
    assert!(observations.put(&id, seen("a", "11", "applied"), era, None).is_some());
    let closed = observations.close(&place, listing, "10");
    assert!(closed.gone.is_empty(), "forgotten though it is younger than the list");
    assert_eq!(closed.younger, BTreeMap::from([(id.clone(), "11".to_owned())]));
    // Restored: the list shows less than was seen.
    let late = observations.era(&id);
    let listing = observations.open(&place, "5", None, observations.highest(&place));
    assert!(listing.anew);
    assert_eq!(observations.put(&id, seen("a", "12", "late"), late, None), None);
    let closed = observations.close(&place, listing, "5");
    assert_eq!((closed.gone.len(), closed.younger), (1, BTreeMap::new()));
    assert_eq!(observations.get(&id), None);
}
