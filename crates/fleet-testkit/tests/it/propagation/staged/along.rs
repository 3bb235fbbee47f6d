//! What workloads need goes along with them in the Application that carries a policy.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{approve, carrier, flow, no_carrier, rolled_out, staged};
use crate::crash::survived;
use crate::propagation::{DEPLOYMENT, GROUP, delete, policy, ready, wait_policy, wait_value};
use crate::small::{config, deployment, value};

/// A Deployment that reads a ConfigMap, or none.
fn web(name: &str, reads: &[&str]) -> Value {
    let mut web = deployment(name, "web:1");
    let reads: Vec<Value> = reads.iter().map(|name| json!({"configMapRef": {"name": name}})).collect();
    web["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!(reads);
    web
}

fn taking(mut policy: Value) -> Value {
    policy["spec"]["propagateDeps"] = json!(true);
    policy
}

async fn uid(fleet: &Fleet, member: &str, name: &str) -> anyhow::Result<Option<Value>> {
    let found = fleet.get(member, "v1", "ConfigMap", name).await?;
    Ok(found.and_then(|found| found.pointer("/metadata/uid").cloned()))
}

async fn wait_web(fleet: &Fleet, member: &str, there: bool) -> anyhow::Result<()> {
    fleet.wait_object(member, "apps/v1", "Deployment", "web", |object| object.is_some() == there).await?;
    Ok(())
}

/// Broken: what a workload needs stays on the hub, or comes, changes or goes past the gate; or it goes while the workload still
/// runs with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_workloads_need_goes_through_the_gate() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &web("web", &["settings"])).await?;
    fleet.apply("hub", &taking(staged("all", DEPLOYMENT, "web", &["one", "two"]))).await?;
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    let application = carrier(&fleet, "all").await?;
    fleet.wait_run(&application, 1, "workflowSuspending").await?;
    wait_web(&fleet, "m1", true).await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    approve(&fleet, &application, 1).await?;
    wait_value(&fleet, "m2", "settings", Some("1")).await?;
    let done = ready(&fleet, "all", "Delivered").await?;
    assert_eq!(done.pointer("/status/dependents/0/name"), Some(&json!("settings")), "{done:#}");
    assert_eq!(done.pointer("/status/dependents/0/places/1/phase"), Some(&json!("Delivered")), "{done:#}");
    assert!(done.pointer("/status/problems").is_none(), "{done:#}");

    // Only what is needed has changed.
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run(&application, 2, "workflowSuspending").await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    approve(&fleet, &application, 2).await?;
    wait_value(&fleet, "m2", "settings", Some("2")).await?;
    ready(&fleet, "all", "Delivered").await?;

    // It follows to other clusters, and leaves with the workload.
    fleet.apply("hub", &taking(staged("all", DEPLOYMENT, "web", &["one", "three"]))).await?;
    fleet.wait_run(&application, 3, "workflowSuspending").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("2")));
    assert_eq!(value(&fleet, "m3", "settings").await?, None);
    approve(&fleet, &application, 3).await?;
    wait_value(&fleet, "m3", "settings", Some("2")).await?;
    wait_value(&fleet, "m2", "settings", None).await?;
    wait_web(&fleet, "m2", false).await?;
    ready(&fleet, "all", "Delivered").await?;

    // Another is needed: the new one comes, the old one goes last.
    fleet.apply("hub", &config("others", "1")).await?;
    fleet.apply("hub", &web("web", &["others"])).await?;
    fleet.wait_run(&application, 4, "workflowSuspending").await?;
    wait_value(&fleet, "m1", "others", Some("1")).await?;
    for member in ["m1", "m3"] {
        assert_eq!(value(&fleet, member, "settings").await?, Some(json!("2")));
    }
    assert_eq!(value(&fleet, "m3", "others").await?, None);
    approve(&fleet, &application, 4).await?;
    wait_value(&fleet, "m3", "others", Some("1")).await?;
    for member in ["m1", "m3"] {
        wait_value(&fleet, member, "settings", None).await?;
    }
    ready(&fleet, "all", "Delivered").await?;
    let application_now = carrier(&fleet, "all").await?;
    assert_eq!(application_now, application);
    engine.stop().await
}

/// Broken: what goes along is made anew, or is gone for a while, when a policy gets a Workflow or loses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_along_passes_in_place() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &web("web", &["settings"])).await?;
    fleet.apply("hub", &taking(policy("all", DEPLOYMENT, "web", &["one", "two"]))).await?;
    ready(&fleet, "all", "Delivered").await?;
    let before = [uid(&fleet, "m1", "settings").await?, uid(&fleet, "m2", "settings").await?];
    assert!(before.iter().all(Option::is_some));
    fleet.apply("hub", &taking(staged("all", DEPLOYMENT, "web", &["one", "two"]))).await?;
    let application = carrier(&fleet, "all").await?;
    approve(&fleet, &application, 1).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run(&application, 2, "workflowSuspending").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    let patch = json!({"spec": {"workflow": null}});
    fleet.merge("hub", crate::propagation::GROUP, "PropagationPolicy", "all", &patch).await?;
    no_carrier(&fleet, &application).await?;
    wait_value(&fleet, "m2", "settings", Some("2")).await?;
    ready(&fleet, "all", "Delivered").await?;
    assert_eq!([uid(&fleet, "m1", "settings").await?, uid(&fleet, "m2", "settings").await?], before);
    engine.stop().await
}

/// Broken: what two workloads need changes past the gate of one of them, leaves while the other one needs it, or nobody tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_need_too_goes_through_the_gate() -> anyhow::Result<()> {
    let workload = web("web", &["settings"]);
    let objects = [config("settings", "1"), workload];
    let members = [("m1", "one"), ("m2", "two")];
    let taken = taking(staged("all", DEPLOYMENT, "web", &["one"]));
    let (fleet, engine, application) = rolled_out(&members, &objects, &taken).await?;
    fleet.apply("hub", &web("other", &["settings"])).await?;
    fleet.apply("hub", &taking(policy("others", DEPLOYMENT, "other", &["two"]))).await?;
    let told = |policy: &Value| {
        let problems = policy.pointer("/status/problems").map(ToString::to_string).unwrap_or_default();
        problems.contains("DependentElsewhere") && problems.contains("PropagationPolicy demo/all carries")
    };
    wait_policy(&fleet, "PropagationPolicy", "others", told).await?;
    approve(&fleet, &application, 2).await?;
    wait_value(&fleet, "m2", "settings", Some("1")).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run(&application, 3, "workflowSuspending").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    approve(&fleet, &application, 3).await?;
    wait_value(&fleet, "m2", "settings", Some("2")).await?;
    // The workload that brought it goes; what the other one needs stays.
    delete(&fleet, "hub", "apps/v1", "Deployment", "web").await?;
    approve(&fleet, &application, 4).await?;
    wait_value(&fleet, "m1", "settings", None).await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("2")));
    engine.stop().await
}

/// Broken: what only an override names is missing where the override is about, goes where nobody needs it, or comes or goes past
/// the gate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_override_names_goes_through_the_gate() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    let names = json!({"apiVersion": GROUP, "kind": "OverridePolicy",
        "metadata": {"name": "names", "namespace": "demo"},
        "spec": {"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}],
            "overrideRules": [{"targetCluster": {"clusterNames": ["two"]}, "overriders": {"plaintext": [
                {"path": "/spec/template/spec/containers/0/envFrom/-", "operator": "add",
                    "value": {"configMapRef": {"name": "special"}}}]}}]}});
    for object in [names, config("settings", "1"), config("special", "1"), web("web", &["settings"])] {
        fleet.apply("hub", &object).await?;
    }
    fleet.apply("hub", &taking(staged("all", DEPLOYMENT, "web", &["one", "two"]))).await?;
    let application = carrier(&fleet, "all").await?;
    fleet.wait_run(&application, 1, "workflowSuspending").await?;
    assert_eq!(value(&fleet, "m2", "special").await?, None);
    approve(&fleet, &application, 1).await?;
    wait_value(&fleet, "m2", "special", Some("1")).await?;
    wait_web(&fleet, "m2", true).await?;
    ready(&fleet, "all", "Delivered").await?;
    assert_eq!(value(&fleet, "m1", "special").await?, None);

    delete(&fleet, "hub", GROUP, "OverridePolicy", "names").await?;
    fleet.wait_run(&application, 2, "workflowSuspending").await?;
    assert_eq!(value(&fleet, "m2", "special").await?, Some(json!("1")));
    approve(&fleet, &application, 2).await?;
    wait_value(&fleet, "m2", "special", None).await?;
    ready(&fleet, "all", "Delivered").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await
}

/// The life of a workload and of what it needs, staged in the middle of it.
async fn life(fleet: &Fleet) -> anyhow::Result<()> {
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &web("web", &["settings"])).await?;
    fleet.apply("hub", &taking(staged("all", DEPLOYMENT, "web", &["one", "two"]))).await?;
    let application = carrier(fleet, "all").await?;
    approve(fleet, &application, 1).await?;
    wait_value(fleet, "m2", "settings", Some("1")).await?;
    fleet.wait_run(&application, 1, "running").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    approve(fleet, &application, 2).await?;
    wait_value(fleet, "m2", "settings", Some("2")).await?;
    delete(fleet, "hub", crate::propagation::GROUP, "PropagationPolicy", "all").await?;
    for member in ["m1", "m2"] {
        wait_web(fleet, member, false).await?;
        wait_value(fleet, member, "settings", None).await?;
    }
    no_carrier(fleet, &application).await
}

/// Broken: a controller that dies between two writes leaves what a workload needs to nobody, or a run that lacks it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_writes_what_goes_along_ends_the_same() -> anyhow::Result<()> {
    for n in (1..=36).step_by(5) {
        let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
        flow(&fleet).await?;
        let engine = Engine::killed_at(&fleet, n, n % 2 == 0);
        survived(&fleet, engine, life(&fleet)).await.map_err(|error| error.context(format!("write {n}")))?;
        fleet.stop().await;
    }
    Ok(())
}
