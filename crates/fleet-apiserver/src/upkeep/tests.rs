mod laws;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_store::{Key, Range, Store};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Upkeep;
use crate::cluster::ClusterProfile;
use crate::identity::Identity;
use crate::server::{ApiServer, Options};

struct World {
    upkeep: Upkeep,
    tasks: JoinSet<()>,
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

impl World {
    /// A server with two clusters, as yet without upkeep.
    async fn without_upkeep() -> Self {
        Self::over(fleet_store::Options::default()).await
    }

    async fn over(limits: fleet_store::Options) -> Self {
        let options = Options {
            clock: Arc::new(|| "2026-11-21T12:00:00Z".parse().unwrap()),
            seed: 7,
            version: String::new(),
            token_key: None,
            certificate_authority: "the authority".into(),
            author: None,
            advisor: None,
        };
        let server = ApiServer::new(Store::memory(limits), options);
        for cluster in ["hub", "m1"] {
            server.create_cluster(cluster, ClusterProfile::default()).await.unwrap();
        }
        let upkeep = Upkeep { server, graph: Arc::default(), queues: Arc::default() };
        Self { upkeep, tasks: JoinSet::new() }
    }

    async fn new() -> Self {
        let mut world = Self::without_upkeep().await;
        world.start();
        world
    }

    fn start(&mut self) {
        self.tasks.spawn(self.upkeep.clone().run());
    }

    async fn ask(&self, cluster: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header(
                "content-type",
                if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
            )
            .body(Full::<Bytes>::from(if body.is_null() { String::new() } else { body.to_string() }))
            .unwrap();
        let response = self.upkeep.server.handle(cluster, Identity::admin("test"), request).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Asks, and expects it to work.
    async fn did(&self, method: &str, path: &str, body: Value) -> Value {
        let (code, answer) = self.ask("hub", method, path, body).await;
        assert!(code < 300, "{method} {path}: {answer}");
        answer
    }

    /// A ConfigMap with owners and finalizers; gives a reference to it.
    async fn map(&self, name: &str, owners: &[&Value], finalizers: &[&str]) -> Value {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
            {"name": name, "ownerReferences": owners, "finalizers": finalizers}});
        reference(&self.did("POST", MAPS, body).await)
    }

    async fn delete(&self, name: &str, policy: &str) {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        self.did("DELETE", &format!("{MAPS}/{name}"), options).await;
    }

    fn stored(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let entry = self.upkeep.server.store().get(&Key::new("hub", resource, namespace, name))?;
        serde_json::from_slice(&entry.value).ok()
    }

    fn has(&self, name: &str) -> bool {
        self.stored("configmaps", "default", name).is_some()
    }

    /// Waits for a change after which this holds.
    async fn until(&self, resource: &str, what: &str, holds: impl Fn(&Self) -> bool) {
        let store = self.upkeep.server.store();
        let mut watcher = store.watch(Range::everywhere(resource), store.revision()).unwrap();
        let wait = async {
            while !holds(self) {
                watcher.recv().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect(what);
    }

    async fn gone(&self, names: &[&str]) {
        let all = |world: &Self| names.iter().all(|name| !world.has(name));
        self.until("configmaps", &format!("{names:?} should go"), all).await;
    }

    /// Returns once everything that has happened to ConfigMaps so far has been dealt with: garbage that is made
    /// now is collected after it.
    async fn settled(&self) {
        let nobody = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "nobody"});
        for round in ["sentinel-1", "sentinel-2"] {
            self.map(round, &[&nobody], &[]).await;
            self.gone(&[round]).await;
        }
    }
}

fn reference(object: &Value) -> Value {
    json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"]})
}

fn blocking(mut reference: Value) -> Value {
    reference["blockOwnerDeletion"] = json!(true);
    reference
}

/// Broken, deleting a Deployment would leave its Pods.
#[tokio::test(start_paused = true)]
async fn deleting_an_owner_deletes_all_generations() {
    let world = World::new().await;
    let first = world.map("first", &[], &[]).await;
    let second = world.map("second", &[&first], &[]).await;
    world.map("third", &[&second], &[]).await;
    world.map("bystander", &[], &[]).await;
    world.settled().await;
    assert!(world.has("third"));
    world.delete("first", "Background").await;
    world.gone(&["first", "second", "third"]).await;
    assert!(world.has("bystander"));
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_the_owner_waits_for_blocking_dependents() {
    let world = World::new().await;
    let owner = blocking(world.map("owner", &[], &[]).await);
    let middle = blocking(world.map("middle", &[&owner], &[]).await);
    world.map("held", &[&middle], &["example.com/hold"]).await;
    world.delete("owner", "Foreground").await;
    world
        .until("configmaps", "the last dependent should be asked to go", |world| {
            let held = world.stored("configmaps", "default", "held").unwrap();
            held["metadata"]["deletionTimestamp"].is_string()
        })
        .await;
    world.settled().await;
    assert!(world.has("owner") && world.has("middle"));
    let store = world.upkeep.server.store();
    let mut watcher = store.watch(Range::cluster("hub", "configmaps"), store.revision()).unwrap();
    world.did("PATCH", &format!("{MAPS}/held"), json!({"metadata": {"finalizers": null}})).await;
    world.gone(&["owner", "middle", "held"]).await;
    let mut order = Vec::new();
    while let Some(Ok(event)) = watcher.try_recv() {
        if event.kind == fleet_store::EventKind::Deleted {
            order.push(event.key.name.to_string());
        }
    }
    assert_eq!(order, ["held", "middle", "owner"]);
}

#[tokio::test(start_paused = true)]
async fn orphans_lose_the_reference_and_stay() {
    let world = World::new().await;
    let owner = world.map("owner", &[], &[]).await;
    let other = world.map("other", &[], &[]).await;
    world.map("one", &[&owner], &[]).await;
    world.map("two", &[&owner, &other], &[]).await;
    world.delete("owner", "Orphan").await;
    world.gone(&["owner"]).await;
    world.settled().await;
    let owners = |name: &str| {
        world.stored("configmaps", "default", name).unwrap()["metadata"]["ownerReferences"].clone()
    };
    assert!(owners("one").as_array().is_none_or(Vec::is_empty));
    assert_eq!(owners("two"), json!([other]));
}

#[tokio::test(start_paused = true)]
async fn an_object_stays_while_one_owner_is_left() {
    let world = World::new().await;
    let (one, two) = (world.map("one", &[], &[]).await, world.map("two", &[], &[]).await);
    world.map("shared", &[&one, &two], &[]).await;
    world.delete("one", "Background").await;
    world
        .until("configmaps", "the reference to what is gone should go", |world| {
            world.stored("configmaps", "default", "shared").unwrap()["metadata"]["ownerReferences"]
                == json!([two])
        })
        .await;
    world.delete("two", "Background").await;
    world.gone(&["shared"]).await;
}

/// A wrong answer here deletes what somebody needs.
#[tokio::test(start_paused = true)]
async fn who_counts_as_an_owner() {
    let world = World::new().await;
    let real = world.map("real", &[], &[]).await;
    let mut namesake = real.clone();
    namesake["uid"] = json!("other");
    let mut unknown = real.clone();
    unknown["apiVersion"] = json!("example.com/v1");
    world.map("of-a-namesake", &[&namesake], &[]).await;
    world.map("of-an-unknown-kind", &[&unknown], &[]).await;
    let namespace = reference(&world.did("GET", "/api/v1/namespaces/default", Value::Null).await);
    world.map("of-a-cluster-object", &[&namespace], &[]).await;
    world.did("POST", "/api/v1/namespaces", json!({"metadata": {"name": "elsewhere"}})).await;
    let body = json!({"metadata": {"name": "across", "ownerReferences": [real]}});
    world.did("POST", "/api/v1/namespaces/elsewhere/configmaps", body).await;
    let role = json!({"metadata": {"name": "scoped", "ownerReferences": [real]}});
    world.did("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await;
    world.gone(&["of-a-namesake"]).await;
    world
        .until("configmaps", "a reference across namespaces counts as absent", |world| {
            world.stored("configmaps", "elsewhere", "across").is_none()
        })
        .await;
    world.settled().await;
    for name in ["real", "of-an-unknown-kind", "of-a-cluster-object"] {
        assert!(world.has(name), "{name}");
    }
    assert!(world.stored("clusterroles.rbac.authorization.k8s.io", "", "scoped").is_some());
}

/// A circle in which everyone waits for the other would never go.
#[tokio::test(start_paused = true)]
async fn circles_end() {
    let world = World::new().await;
    for policy in ["Background", "Foreground"] {
        let a = blocking(world.map("a", &[], &[]).await);
        let b = blocking(world.map("b", &[&a], &[]).await);
        world.did("PATCH", &format!("{MAPS}/a"), json!({"metadata": {"ownerReferences": [b]}})).await;
        world.settled().await;
        assert!(world.has("a") && world.has("b"));
        world.delete("a", policy).await;
        world.gone(&["a", "b"]).await;
        let me = blocking(world.map("me", &[], &[]).await);
        world.did("PATCH", &format!("{MAPS}/me"), json!({"metadata": {"ownerReferences": [me]}})).await;
        world.delete("me", policy).await;
        world.gone(&["me"]).await;
    }
}

/// What was to be collected when the process was killed must be collected after it.
#[tokio::test(start_paused = true)]
async fn a_restart_finds_what_was_left() {
    let mut world = World::without_upkeep().await;
    let owner = world.map("owner", &[], &[]).await;
    let waiting = blocking(world.map("waiting", &[], &[]).await);
    world.map("garbage", &[&owner], &[]).await;
    world.map("blocker", &[&waiting], &[]).await;
    world.delete("owner", "Background").await;
    world.delete("waiting", "Foreground").await;
    world.did("POST", "/api/v1/namespaces", json!({"metadata": {"name": "going"}})).await;
    world.did("POST", "/api/v1/namespaces/going/secrets", json!({"metadata": {"name": "s"}})).await;
    world.did("DELETE", "/api/v1/namespaces/going", Value::Null).await;
    assert!(world.has("garbage") && world.has("waiting"));
    world.start();
    world.gone(&["garbage", "waiting", "blocker"]).await;
    world
        .until("namespaces", "it should go", |world| world.stored("namespaces", "", "going").is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn custom_objects_are_garbage_too() {
    let world = World::new().await;
    world.quiet().await;
    let definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
    }});
    world.did("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    let path = "/apis/example.com/v1/namespaces/default/widgets";
    let widget = |name: &str, owners: Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name, "ownerReferences": owners}});
    let owner = reference(&world.did("POST", path, widget("owner", json!([]))).await);
    world.did("POST", path, widget("owned", json!([owner]))).await;
    world.map("map", &[&owner], &[]).await;
    world.did("DELETE", &format!("{path}/owner"), Value::Null).await;
    world.gone(&["map"]).await;
    world
        .until("widgets.example.com", "the custom dependent should go", |world| {
            world.stored("widgets.example.com", "default", "owned").is_none()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_namespace_is_furnished_and_stays_so() {
    let world = World::new().await;
    world.did("POST", "/api/v1/namespaces", json!({"metadata": {"name": "web"}})).await;
    let certificate = |world: &World| {
        world
            .stored("configmaps", "web", "kube-root-ca.crt")
            .is_some_and(|map| map["data"]["ca.crt"] == "the authority")
    };
    world.until("configmaps", "the authority's certificate", certificate).await;
    world
        .until("serviceaccounts", "the account", |world| {
            world.stored("serviceaccounts", "web", "default").is_some()
        })
        .await;
    world.did("DELETE", "/api/v1/namespaces/web/configmaps/kube-root-ca.crt", Value::Null).await;
    world.until("configmaps", "it comes back", certificate).await;
}

/// A namespace that goes too early leaves objects nobody can reach; one that can't go holds its name for ever.
#[tokio::test(start_paused = true)]
async fn a_namespace_goes_after_everything_in_it() {
    let world = World::new().await;
    for name in ["web", "other"] {
        world.did("POST", "/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
        let path = format!("/api/v1/namespaces/{name}");
        world.did("POST", &format!("{path}/secrets"), json!({"metadata": {"name": "s"}})).await;
        let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
        world.did("POST", &format!("{path}/configmaps"), held).await;
        let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template":
            {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        world.did("POST", &format!("/apis/apps/v1/namespaces/{name}/deployments"), deployment).await;
    }
    let answer = world.did("DELETE", "/api/v1/namespaces/web", Value::Null).await;
    assert_eq!(answer["status"]["phase"], "Terminating", "{answer}");
    let message = |world: &World, at: usize| {
        let namespace = world.stored("namespaces", "", "web").unwrap_or_default();
        namespace["status"]["conditions"][at]["message"].as_str().unwrap_or_default().to_owned()
    };
    world
        .until("namespaces", "what remains should be told", |world| {
            message(world, 3) == "Some resources are remaining: configmaps. has 1 resource instances"
        })
        .await;
    let finalizers =
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances";
    assert_eq!(message(&world, 4), finalizers);
    let (code, answer) = world
        .ask("hub", "POST", "/api/v1/namespaces/web/secrets", json!({"metadata": {"name": "late"}}))
        .await;
    assert_eq!(code, 403, "{answer}");
    let release = json!({"metadata": {"finalizers": null}});
    world.did("PATCH", "/api/v1/namespaces/web/configmaps/held", release).await;
    world.until("namespaces", "it should go", |world| world.stored("namespaces", "", "web").is_none()).await;
    assert!(
        world.stored("secrets", "other", "s").is_some()
            && world.stored("configmaps", "other", "held").is_some()
    );
    assert!(
        world.stored("secrets", "web", "s").is_none()
            && world.stored("deployments.apps", "web", "d").is_none()
    );
}

/// One member that is down must not stop the others', and what was due there is done when it is back.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_holds_up_nobody() {
    let world = World::new().await;
    world.quiet().await;
    let garbage = json!({"metadata": {"name": "garbage", "ownerReferences":
        [{"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "nobody"}], "finalizers": ["example.com/hold"]}});
    let (code, _) = world.ask("m1", "POST", MAPS, garbage).await;
    assert_eq!(code, 201);
    world.upkeep.server.set_reachable("m1", false);
    world
        .map("garbage", &[&json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"})], &[])
        .await;
    world.gone(&["garbage"]).await;
    world.upkeep.server.set_reachable("m1", true);
    let key = Key::new("m1", "configmaps", "default", "garbage");
    world
        .until("configmaps", "the member's should be deleted, too", |world| {
            let entry = world.upkeep.server.store().get(&key).unwrap();
            super::Meta::of(&entry.value).is_terminating()
        })
        .await;
}

/// Idle clusters are many: one that needs nothing must cost nothing here.
#[tokio::test(start_paused = true)]
async fn nothing_is_kept_for_what_is_done() {
    let world = World::new().await;
    let owner = world.map("owner", &[], &[]).await;
    world.map("owned", &[&owner], &[]).await;
    world.delete("owner", "Background").await;
    world.gone(&["owned"]).await;
    world.settled().await;
    let idle = async {
        while !world.upkeep.queues.is_idle() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), idle).await.expect("the queues should empty");
    assert!(world.upkeep.graph.lock().all().is_empty());
}

/// Under a burst that outruns the feed nothing may be forgotten.
#[tokio::test(start_paused = true)]
async fn missed_changes_are_made_up_for() {
    let mut world = World::over(fleet_store::Options { history_bytes: 1, watch_queue: 1 }).await;
    world.start();
    world.quiet().await;
    // Nothing here lets the feed run in between.
    let owner = world.map("owner", &[], &[]).await;
    for name in ["a", "b", "c"] {
        world.map(name, &[&owner], &[]).await;
    }
    let secret = json!({"metadata": {"name": "d", "ownerReferences": [owner]}});
    world.did("POST", "/api/v1/namespaces/default/secrets", secret).await;
    for name in ["one", "two", "three"] {
        world.did("POST", "/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
    }
    world.quiet().await;
    assert!(world.has("a") && world.has("b") && world.has("c"));
    for filler in 0..8 {
        if filler == 5 {
            world.delete("owner", "Background").await;
        }
        world.map(&format!("filler-{filler}"), &[], &[]).await;
    }
    world.quiet().await;
    for name in ["a", "b", "c"] {
        assert!(!world.has(name), "{name}");
    }
    assert!(world.stored("secrets", "default", "d").is_none());
    for name in ["one", "two", "three"] {
        assert!(world.stored("serviceaccounts", name, "default").is_some(), "{name}");
    }
}

/// Rights that a role gathers would come with the next restart, or stay when their role is gone.
#[tokio::test]
async fn aggregated_roles_follow_their_parts() {
    const ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
    let world = World::new().await;
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let views = |world: &World, name: &str| {
        let rules = world.stored(ROLES, "", name).unwrap_or_default()["rules"].clone();
        rules
            .as_array()
            .is_some_and(|rules| rules.iter().any(|rule| rule["apiGroups"] == json!(["example.org"])))
    };
    let label = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    let part = json!({"metadata": {"name": "things", "labels": label},
        "rules": [{"apiGroups": ["example.org"], "resources": ["things"], "verbs": ["get"]}]});
    world.did("POST", path, part).await;
    // View is part of edit, and edit of admin.
    world.until(ROLES, "admin should have it", |world| views(world, "admin")).await;
    assert!(views(&world, "view") && views(&world, "edit"));
    world.did("PATCH", &format!("{path}/things"), json!({"metadata": {"labels": null}})).await;
    let gone = |world: &World| ["view", "edit", "admin"].iter().all(|name| !views(world, name));
    world.until(ROLES, "nobody should have it any more", gone).await;
    let own = json!({"metadata": {"name": "own"}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"mine": "true"}}]}});
    world.did("POST", path, own).await;
    world.did("PATCH", &format!("{path}/things"), json!({"metadata": {"labels": {"mine": "true"}}})).await;
    world.until(ROLES, "own should have it", |world| views(world, "own")).await;
    world.did("DELETE", &format!("{path}/things"), Value::Null).await;
    world.until(ROLES, "own should have nothing", |world| !views(world, "own")).await;
}
