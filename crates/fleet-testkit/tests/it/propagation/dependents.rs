//! `propagateDeps`: what workloads need goes where they are, before them, and leaves after them.

use std::pin::Pin;

use fleet_testkit::{Engine, Fleet, Meter};
use futures::{Stream, StreamExt as _};
use kube::api::{DynamicObject, WatchEvent, WatchParams};
use serde_json::{Value, json};

use super::{
    CONFIG, DEPLOYMENT, GROUP, app, config, delete, deployment, policy, ready, value, wait_policy,
    wait_recorded, wait_value,
};

/// A Deployment that reads a ConfigMap.
fn reader(name: &str, config: &str) -> Value {
    let mut reader = deployment(name, "web:1");
    reader["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
        json!([{"configMapRef": {"name": config}}]);
    reader
}

fn takes_along(name: &str, workload: &str, clusters: &[&str]) -> Value {
    let mut policy = policy(name, DEPLOYMENT, workload, clusters);
    policy["spec"]["propagateDeps"] = json!(true);
    policy
}

fn labelled(kind: (&str, &str), name: &str, spec: Value) -> Value {
    json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": name, "namespace": "demo"}, "spec": spec})
}

async fn gone(fleet: &Fleet, cluster: &str, kind: &str, name: &str) -> anyhow::Result<()> {
    let api_version = if kind == "Deployment" { "apps/v1" } else { "v1" };
    fleet.wait_object(cluster, api_version, kind, name, |object| object.is_none()).await?;
    Ok(())
}

async fn there(
    fleet: &Fleet,
    cluster: &str,
    api_version: &str,
    kind: &str,
    name: &str,
) -> anyhow::Result<Value> {
    let found = fleet.wait_object(cluster, api_version, kind, name, |object| object.is_some()).await?;
    Ok(found.unwrap_or_default())
}

async fn told(fleet: &Fleet, name: &str, reason: &str) -> anyhow::Result<Value> {
    wait_policy(fleet, "PropagationPolicy", name, |policy| {
        let problems = policy.pointer("/status/problems").and_then(Value::as_array);
        problems.into_iter().flatten().any(|problem| problem["reason"] == json!(reason))
    })
    .await
}

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<DynamicObject>>> + Send>>;

/// What happens to a kind on a cluster from now on.
async fn events(fleet: &Fleet, cluster: &str, (api_version, kind): (&str, &str)) -> anyhow::Result<Events> {
    let api = fleet.resource(cluster, &json!({"apiVersion": api_version, "kind": kind})).await?;
    let from =
        api.list(&kube::api::ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    let events = api.watch(&WatchParams::default(), &from).await?;
    Ok(Box::pin(events))
}

/// The version of a cluster at which an object came (or left).
async fn moment(events: &mut Events, name: &str, comes: bool) -> anyhow::Result<u64> {
    while let Some(event) = events.next().await {
        let object = match event? {
            WatchEvent::Added(object) if comes => object,
            WatchEvent::Deleted(object) if !comes => object,
            _ => continue,
        };
        if object.metadata.name.as_deref() == Some(name) {
            return Ok(object.metadata.resource_version.unwrap_or_default().parse()?);
        }
    }
    anyhow::bail!("the watch ended")
}

/// Broken: a workload starts without what it reads, or outlives it; or something that it needs stays behind on the hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_workload_needs_comes_before_it_and_leaves_after_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    let (mut workloads, mut configs) =
        (events(&fleet, "m1", DEPLOYMENT).await?, events(&fleet, "m1", CONFIG).await?);
    let engine = Engine::start(&fleet);
    let mut web = reader("web", "settings");
    let pods = &mut web["spec"]["template"]["spec"];
    pods["serviceAccountName"] = json!("runner");
    pods["volumes"] = json!([{"name": "login", "secret": {"secretName": "login"}},
        {"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}]);
    fleet.apply("hub", &web).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &config("unrelated", "1")).await?;
    for (kind, data) in [("Secret", json!({"key": "dmFsdWU="})), ("ServiceAccount", Value::Null)] {
        let name = if kind == "Secret" { "login" } else { "runner" };
        let mut object =
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "demo"}});
        if !data.is_null() {
            object["data"] = data;
        }
        fleet.apply("hub", &object).await?;
    }
    let disk = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    fleet.apply("hub", &labelled(("v1", "PersistentVolumeClaim"), "disk", disk)).await?;
    let service = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    fleet.apply("hub", &labelled(("v1", "Service"), "front", service)).await?;
    let ingress = json!({"defaultBackend": {"service": {"name": "front", "port": {"number": 80}}}});
    fleet.apply("hub", &labelled(("networking.k8s.io/v1", "Ingress"), "door", ingress)).await?;
    fleet.apply("hub", &takes_along("all", "web", &["one"])).await?;
    let along = ready(&fleet, "all", "Delivered").await?;
    let names: Vec<&str> = along
        .pointer("/status/dependents")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|object| object["name"].as_str())
        .collect();
    assert_eq!(names.len(), 6, "{along:#}");
    assert!(!along.to_string().contains("NotActedOn"), "{along:#}");
    for (api_version, kind, name) in [
        ("v1", "Secret", "login"),
        ("v1", "ServiceAccount", "runner"),
        ("v1", "PersistentVolumeClaim", "disk"),
        ("v1", "Service", "front"),
        ("networking.k8s.io/v1", "Ingress", "door"),
    ] {
        there(&fleet, "m1", api_version, kind, name).await?;
    }
    assert_eq!(value(&fleet, "m1", "unrelated").await?, None);
    let (config_came, workload_came) =
        (moment(&mut configs, "settings", true).await?, moment(&mut workloads, "web", true).await?);
    assert!(config_came < workload_came, "{config_came} {workload_came}");

    // It changes, and follows to another cluster.
    fleet.merge("hub", "v1", "ConfigMap", "settings", &json!({"data": {"key": "2"}})).await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    fleet.apply("hub", &takes_along("all", "web", &["one", "two"])).await?;
    wait_value(&fleet, "m2", "settings", Some("2")).await?;
    there(&fleet, "m2", "v1", "Secret", "login").await?;

    fleet.apply("hub", &takes_along("all", "web", &["two"])).await?;
    gone(&fleet, "m1", "ConfigMap", "settings").await?;
    let (workload_left, config_left) =
        (moment(&mut workloads, "web", false).await?, moment(&mut configs, "settings", false).await?);
    assert!(workload_left < config_left, "{workload_left} {config_left}");
    delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
    for (kind, name) in [("ConfigMap", "settings"), ("Secret", "login"), ("Service", "front")] {
        gone(&fleet, "m2", kind, name).await?;
    }
    wait_recorded(&fleet, |recorded| recorded.is_empty()).await?;
    engine.stop().await
}

/// Broken: a workload starts before what it needs, which only takes longer; or what it still runs with is taken from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_waits_for_what_it_needs_and_keeps_what_it_runs_with() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    // Somebody's ConfigMap of that name is on its way out there, and takes its time.
    let mut leaving = config("settings", "theirs");
    leaving["metadata"]["finalizers"] = json!(["example.com/slow"]);
    fleet.apply("m1", &leaving).await?;
    delete(&fleet, "m1", "v1", "ConfigMap", "settings").await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &reader("web", "settings")).await?;
    fleet.apply("hub", &takes_along("all", "web", &["one"])).await?;
    let waits = |policy: &Value| {
        policy.pointer("/status/claimed/0/places/0/reason") == Some(&json!("WaitsForDependents"))
            && policy.to_string().contains("is being deleted")
    };
    wait_policy(&fleet, "PropagationPolicy", "all", waits).await?;
    assert!(fleet.get("m1", "apps/v1", "Deployment", "web").await?.is_none(), "it came first");
    let done = json!({"metadata": {"finalizers": null}});
    fleet.merge("m1", "v1", "ConfigMap", "settings", &done).await?;
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    ready(&fleet, "all", "Delivered").await?;
    let well = |object: Option<&Value>| {
        object.and_then(|object| object.pointer("/status/readyReplicas")) == Some(&json!(2))
    };
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", well).await?;

    // Its new pods don't come up, so those that read the old one still run.
    fleet.apply("hub", &config("other", "1")).await?;
    let mut broken = reader("web", "other");
    broken["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:broken");
    fleet.apply("hub", &broken).await?;
    let new = |object: Option<&Value>| object.is_some_and(|object| object.to_string().contains("web:broken"));
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", new).await?;
    // By the time that this arrives, what is left has been looked at.
    for value in ["2", "3", "4"] {
        fleet.merge("hub", "v1", "ConfigMap", "other", &json!({"data": {"key": value}})).await?;
        wait_value(&fleet, "m1", "other", Some(value)).await?;
    }
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));
    fleet.apply("hub", &reader("web", "other")).await?;
    wait_value(&fleet, "m1", "settings", None).await?;
    engine.stop().await
}

/// Broken: the first workload that goes takes with it what another needs, or the last one leaves it behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_several_need_is_wherever_any_of_them_is() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["first", "second"] {
        fleet.apply("hub", &reader(name, "settings")).await?;
    }
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &takes_along("first", "first", &["one"])).await?;
    fleet.apply("hub", &takes_along("second", "second", &["one", "two"])).await?;
    for name in ["first", "second"] {
        ready(&fleet, name, "Delivered").await?;
    }
    wait_value(&fleet, "m2", "settings", Some("1")).await?;
    let uid = fleet.get("m1", "v1", "ConfigMap", "settings").await?.unwrap_or_default();
    delete(&fleet, "hub", "apps/v1", "Deployment", "first").await?;
    gone(&fleet, "m1", "Deployment", "first").await?;
    // Another that it reads from now on: what it read stays until it has gone on.
    fleet.apply("hub", &config("other", "1")).await?;
    fleet.apply("hub", &reader("second", "other")).await?;
    for cluster in ["m1", "m2"] {
        wait_value(&fleet, cluster, "other", Some("1")).await?;
        wait_value(&fleet, cluster, "settings", None).await?;
    }
    fleet.apply("hub", &reader("second", "settings")).await?;
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    wait_value(&fleet, "m1", "other", None).await?;
    let now = fleet.get("m1", "v1", "ConfigMap", "settings").await?.unwrap_or_default();
    assert_ne!(uid.pointer("/metadata/uid"), now.pointer("/metadata/uid"));
    delete(&fleet, "hub", "apps/v1", "Deployment", "second").await?;
    for cluster in ["m1", "m2"] {
        wait_value(&fleet, cluster, "settings", None).await?;
    }
    engine.stop().await
}

/// Broken: a missing one is a silent no-op, holds its workload up, or has to be asked for; an override passes it by; a policy
/// that selects it doesn't have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_one_is_told_and_follows_when_it_is_there() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &reader("web", "settings")).await?;
    fleet.apply("hub", &takes_along("all", "web", &["one", "two"])).await?;
    let missing = told(&fleet, "all", "DependentMissing").await?;
    assert!(missing.to_string().contains("configMapRef"), "{missing:#}");
    there(&fleet, "m1", "apps/v1", "Deployment", "web").await?;
    fleet
        .apply(
            "hub",
            &json!({"apiVersion": GROUP, "kind": "OverridePolicy",
                "metadata": {"name": "differs", "namespace": "demo"},
                "spec": {"resourceSelectors": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "settings"}],
                    "overrideRules": [{"targetCluster": {"clusterNames": ["two"]},
                        "overriders": {"plaintext": [{"path": "/data/key", "operator": "replace", "value": "own"}]}}]}}),
        )
        .await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    wait_value(&fleet, "m2", "settings", Some("own")).await?;
    let applied = wait_policy(&fleet, "OverridePolicy", "differs", |policy| {
        policy.pointer("/status/conditions/0/reason") == Some(&json!("Applied"))
    });
    applied.await?;
    let none = |policy: &Value| policy.pointer("/status/problems").is_none();
    wait_policy(&fleet, "PropagationPolicy", "all", none).await?;

    // Who selects it has it, in place; and it's told that the workload goes further.
    let uid = fleet.get("m1", "v1", "ConfigMap", "settings").await?.unwrap_or_default();
    fleet.apply("hub", &policy("own", CONFIG, "settings", &["one"])).await?;
    ready(&fleet, "own", "Delivered").await?;
    wait_value(&fleet, "m2", "settings", None).await?;
    let elsewhere = told(&fleet, "all", "DependentElsewhere").await?;
    assert!(elsewhere.to_string().contains("doesn't take there"), "{elsewhere:#}");
    let now = fleet.get("m1", "v1", "ConfigMap", "settings").await?.unwrap_or_default();
    assert_eq!(uid.pointer("/metadata/uid"), now.pointer("/metadata/uid"));
    delete(&fleet, "hub", GROUP, "PropagationPolicy", "own").await?;
    wait_value(&fleet, "m2", "settings", Some("own")).await?;
    let now = fleet.get("m1", "v1", "ConfigMap", "settings").await?.unwrap_or_default();
    assert_eq!(uid.pointer("/metadata/uid"), now.pointer("/metadata/uid"));

    // What isn't taken along any more leaves; the workload stays.
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["one", "two"])).await?;
    wait_value(&fleet, "m1", "settings", None).await?;
    assert!(fleet.get("m1", "apps/v1", "Deployment", "web").await?.is_some());
    engine.stop().await
}

/// Broken: what an Application delivers is taken from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_application_delivers_is_left_to_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[("v1", "ConfigMap", "settings")], &["one"])).await?;
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    fleet.apply("hub", &reader("web", "settings")).await?;
    fleet.apply("hub", &takes_along("all", "web", &["one"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    let own = told(&fleet, "all", "DependentElsewhere").await?;
    assert!(own.to_string().contains("Application demo/web delivers"), "{own:#}");
    engine.stop().await
}

/// A mask holds what goes along as it holds the workload. What stays after a restart is what stayed before.
/// Broken: a masked cluster gets another configuration, or a restart takes away what runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masks_and_restarts_leave_what_goes_along_where_it_is() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &reader("web", "settings")).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut all = takes_along("all", "web", &["one", "two"]);
    fleet.apply("hub", &all).await?;
    ready(&fleet, "all", "Delivered").await?;
    all["spec"]["mask"] = json!(["one"]);
    fleet.apply("hub", &all).await?;
    ready(&fleet, "all", "Held").await?;
    fleet.merge("hub", "v1", "ConfigMap", "settings", &json!({"data": {"key": "2"}})).await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    // While nobody looks, the workload reads something else: on the masked cluster it still runs with what it had.
    fleet.apply("hub", &config("other", "1")).await?;
    fleet.apply("hub", &reader("web", "other")).await?;
    let engine = Engine::start(&fleet);
    wait_value(&fleet, "m1", "settings", None).await?;
    assert_eq!(value(&fleet, "m1", "other").await?, Some(json!("1")));
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    assert_eq!(value(&fleet, "m2", "other").await?, None);
    all["spec"].as_object_mut().expect("a map").remove("mask");
    fleet.apply("hub", &all).await?;
    wait_value(&fleet, "m2", "other", Some("1")).await?;
    wait_value(&fleet, "m2", "settings", None).await?;
    engine.stop().await
}

/// Broken: a right that is missing on the hub stops the workload, or nobody is told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_told() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    engine.hub.forbid("secrets");
    let mut web = reader("web", "settings");
    web["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "login", "secret": {"secretName": "login"}}]);
    fleet.apply("hub", &web).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &takes_along("all", "web", &["one"])).await?;
    let cannot = told(&fleet, "all", "CannotList").await?;
    assert!(cannot.to_string().contains("list resource \\\"secrets\\\""), "{cannot:#}");
    there(&fleet, "m1", "apps/v1", "Deployment", "web").await?;
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    engine.stop().await
}

/// Broken: what only an override names is missing where the override is about, goes where nobody needs it, comes after the workload,
/// stays when the override is gone, or is never told to be missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_override_names_goes_along_to_its_clusters() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["plain", "special"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let names = |config: &str| {
        json!({"apiVersion": GROUP, "kind": "OverridePolicy", "metadata": {"name": "names", "namespace": "demo"},
            "spec": {"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}],
                "overrideRules": [{"targetCluster": {"clusterNames": ["two"]}, "overriders": {"plaintext": [
                    {"path": "/spec/template/spec/containers/0/envFrom/-", "operator": "add",
                        "value": {"configMapRef": {"name": config}}}]}}]}})
    };
    fleet.apply("hub", &names("special")).await?;
    let mut configs = events(&fleet, "m2", CONFIG).await?;
    let mut workloads = events(&fleet, "m2", DEPLOYMENT).await?;
    fleet.apply("hub", &reader("web", "plain")).await?;
    fleet.apply("hub", &takes_along("all", "web", &["one", "two"])).await?;
    there(&fleet, "m2", "v1", "ConfigMap", "special").await?;
    let (before, after) =
        (moment(&mut configs, "special", true).await?, moment(&mut workloads, "web", true).await?);
    assert!(before < after, "{before} {after}");
    ready(&fleet, "all", "Delivered").await?;
    for cluster in ["m1", "m2"] {
        there(&fleet, cluster, "v1", "ConfigMap", "plain").await?;
    }
    assert!(fleet.get("m1", "v1", "ConfigMap", "special").await?.is_none());
    // It changes with the hub's, and what the override names instead comes, or is told.
    fleet.apply("hub", &config("special", "2")).await?;
    wait_value(&fleet, "m2", "special", Some("2")).await?;
    fleet.apply("hub", &names("other")).await?;
    let missing = told(&fleet, "all", "DependentMissing").await?;
    assert!(missing.to_string().contains("by an override on m2"), "{missing:#}");
    fleet.apply("hub", &config("other", "3")).await?;
    wait_value(&fleet, "m2", "other", Some("3")).await?;
    gone(&fleet, "m2", "ConfigMap", "special").await?;
    delete(&fleet, "hub", GROUP, "OverridePolicy", "names").await?;
    gone(&fleet, "m2", "ConfigMap", "other").await?;
    there(&fleet, "m2", "v1", "ConfigMap", "plain").await?;
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await
}

/// Broken: an Ingress without its certificate goes to members without a word, or one whose certificate is made there is told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_certificate_is_told() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let kind = ("networking.k8s.io/v1", "Ingress");
    let spec = |secret: &str| {
        json!({"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
            "tls": [{"hosts": ["web.example"], "secretName": secret}]})
    };
    let mut made = labelled(kind, "made", spec("by-cert-manager"));
    made["metadata"]["annotations"] = json!({"cert-manager.io/cluster-issuer": "letsencrypt"});
    fleet.apply("hub", &made).await?;
    fleet.apply("hub", &labelled(kind, "bare", spec("nowhere"))).await?;
    fleet
        .apply(
            "hub",
            &labelled(("v1", "Service"), "web", json!({"selector": {"app": "web"}, "ports": [{"port": 80}]})),
        )
        .await?;
    fleet.apply("hub", &reader("web", "settings")).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &takes_along("all", "web", &["one"])).await?;
    let policy = told(&fleet, "all", "CertificateMissing").await?;
    let problems = policy["status"]["problems"].to_string();
    assert!(problems.contains("nowhere") && problems.contains("spec.tls[0].secretName"), "{problems}");
    assert!(!problems.contains("by-cert-manager"), "{problems}");
    there(&fleet, "m1", kind.0, kind.1, "bare").await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nowhere", "namespace": "demo"},
        "type": "kubernetes.io/tls", "stringData": {"tls.crt": "", "tls.key": ""}});
    fleet.apply("hub", &secret).await?;
    there(&fleet, "m1", "v1", "Secret", "nowhere").await?;
    let settled = |policy: &Value| !policy["status"].to_string().contains("CertificateMissing");
    wait_policy(&fleet, "PropagationPolicy", "all", settled).await?;
    engine.stop().await
}

/// Broken: what went along goes from a masked cluster, or in spite of `prune: false`, when `propagateDeps` is switched off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_along_leaves_as_the_policy_says() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["pruned", "kept"] {
        fleet.apply("hub", &config(&format!("for-{name}"), "1")).await?;
        fleet.apply("hub", &reader(name, &format!("for-{name}"))).await?;
        let mut along = takes_along(name, name, &["one", "two"]);
        along["spec"]["prune"] = json!(name == "pruned");
        fleet.apply("hub", &along).await?;
        ready(&fleet, name, "Delivered").await?;
        for cluster in ["m1", "m2"] {
            there(&fleet, cluster, "v1", "ConfigMap", &format!("for-{name}")).await?;
        }
        along["spec"]["mask"] = json!(["two"]);
        along["spec"]["propagateDeps"] = json!(false);
        fleet.apply("hub", &along).await?;
    }
    gone(&fleet, "m2", "ConfigMap", "for-pruned").await?;
    let nobodys = |object: Option<&Value>| {
        object.is_some_and(|object| object.pointer("/metadata/labels/fleetctl.dev~1owner").is_none())
    };
    fleet.wait_object("m2", "v1", "ConfigMap", "for-kept", nobodys).await?;
    for name in ["for-pruned", "for-kept"] {
        let held = there(&fleet, "m1", "v1", "ConfigMap", name).await?;
        assert!(held.pointer("/metadata/labels/fleetctl.dev~1owner").is_some(), "{held:#}");
    }
    let mut lets_go = takes_along("pruned", "pruned", &["one", "two"]);
    lets_go["spec"]["propagateDeps"] = json!(false);
    fleet.apply("hub", &lets_go).await?;
    gone(&fleet, "m1", "ConfigMap", "for-pruned").await?;
    engine.stop().await
}

/// On one thread, so that answers that come together are taken in together. Broken: what a workload needed stays on members for
/// ever, where the last that was asked for about the workload is answered in the same moment.
#[tokio::test]
async fn what_a_workload_needed_leaves_however_the_answers_come() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let meter = Meter::new();
    let engine = Engine::with(&fleet, meter.clone(), meter.clone(), fleet.options());
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &reader("web", "settings")).await?;
    fleet.apply("hub", &takes_along("all", "web", &["one", "two"])).await?;
    let shown = |object: Option<&Value>| {
        object.and_then(|object| object.pointer("/status/availableReplicas")).is_some()
    };
    fleet.wait_object("hub", "apps/v1", "Deployment", "web", shown).await?;
    ready(&fleet, "all", "Delivered").await?;
    meter.stall_answers();
    delete(&fleet, "hub", GROUP, "PropagationPolicy", "all").await?;
    for cluster in ["m1", "m2"] {
        gone(&fleet, cluster, "Deployment", "web").await?;
    }
    fleet.wait_object("hub", "apps/v1", "Deployment", "web", |object| !shown(object)).await?;
    meter.wake();
    for cluster in ["m1", "m2"] {
        gone(&fleet, cluster, "ConfigMap", "settings").await?;
    }
    engine.stop().await
}

/// Broken: what a workload needs stays as the policy that had the workload before held it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_workload_needs_changes_hands_with_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let web = |tier: &str| {
        let mut web = reader("web", "settings");
        web["metadata"]["labels"] = json!({"tier": tier});
        web
    };
    let of = |tier: &str| {
        let mut of = takes_along(tier, "web", &["one"]);
        of["spec"]["resourceSelectors"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment",
            "labelSelector": {"matchLabels": {"tier": tier}}}]);
        of
    };
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &web("held")).await?;
    let mut holds = of("held");
    fleet.apply("hub", &holds).await?;
    ready(&fleet, "held", "Delivered").await?;
    fleet.apply("hub", &of("free")).await?;
    holds["spec"]["mask"] = json!([]);
    fleet.apply("hub", &holds).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    let held = |policy: &Value| policy.pointer("/status/dependents/0/places/0/phase") == Some(&json!("Held"));
    wait_policy(&fleet, "PropagationPolicy", "held", held).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));
    fleet.apply("hub", &web("free")).await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    engine.stop().await
}
