//! Which namespaces may deliver where.

use fleet_api::{Application, ClusterAccessPolicy, ClusterAccessPolicySpec};
use fleet_testkit::{Engine, Fleet};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::small::{annotate, app, config, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

async fn policy(fleet: &Fleet, name: &str, spec: Value) -> anyhow::Result<()> {
    let spec: ClusterAccessPolicySpec = serde_json::from_value(spec)?;
    let api: Api<ClusterAccessPolicy> = Api::all(fleet.client("hub"));
    api.create(&PostParams::default(), &ClusterAccessPolicy::new(name, spec)).await?;
    Ok(())
}

fn condition<'a>(app: &'a Application, type_: &str) -> Option<&'a fleet_api::Condition> {
    fleet_api::conditions::find(&app.status.as_ref()?.conditions, type_)
}

fn refused(app: &Application) -> bool {
    condition(app, "Rendered").is_some_and(|c| !c.is_true() && c.reason == "ClusterNotAllowed")
}

/// Broken: a closed namespace delivers, or isn't told why not and by whom, or waits although it was opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_namespace_delivers_once_it_is_opened() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    policy(&fleet, "default", json!({"mode": "Deny"})).await?;
    policy(&fleet, "m2-for-demo", json!({"namespaces": {"names": ["demo"]}, "clusters": {"names": ["two"]}}))
        .await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    let waiting = fleet.wait("web", refused).await?;
    let said = message(&waiting);
    assert!(said.contains("namespace demo may not deliver to cluster m1 (one)"), "{said}");
    assert!(said.contains("ClusterAccessPolic"), "{said}");
    assert_eq!(engine.members.count().sum(|kind| kind.starts_with("PATCH")), 0, "half of it was delivered");
    let open = json!({"namespaces": {"selector": {"matchLabels": {"kubernetes.io/metadata.name": "demo"}}},
        "clusters": {"names": ["m1"]}});
    policy(&fleet, "m1-for-demo", open).await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: a right that was withdrawn still delivers or repairs, or takes away what is there, or can't be left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_right_leaves_what_is_there() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    fleet.wait_phase("web", "running").await?;
    policy(&fleet, "m2-for-demo", json!({"namespaces": {"names": ["demo"]}, "clusters": {"names": ["m2"]}}))
        .await?;
    policy(&fleet, "default", json!({"mode": "Deny"})).await?;
    let held = |app: &Application| condition(app, "Held").is_some_and(|c| c.reason == "ClusterNotAllowed");
    let shown = fleet.wait("web", held).await?;
    let said = condition(&shown, "Held").map(|c| c.message.clone()).unwrap_or_default();
    assert!(said.contains("m1 (one)") && said.contains("what is there is left"), "{said}");
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "by hand"}})).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait("web", refused).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("by hand")));
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")), "half of a revision was delivered");
    // Whoever leaves the member takes along what is theirs.
    fleet.apply("hub", &app(&[CONFIG], &["m2"])).await?;
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", |object| object.is_none()).await?;
    fleet.wait_phase("web", "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("2")));
    engine.stop().await?;
    Ok(())
}

/// Broken: another account than the demanded one delivers, or a changed account slips into what runs unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_part_of_the_revision_and_can_be_demanded() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    let before = fleet.wait_phase("web", "running").await?;
    annotate(&fleet, json!({fleet_api::names::SERVICE_ACCOUNT: "deployer"})).await?;
    let after = fleet.wait_run("web", 2, "running").await?;
    let hash = |app: &Application| {
        app.status.as_ref().and_then(|s| s.latest_revision.as_ref()).map(|r| r.revision_hash.clone())
    };
    assert_ne!(hash(&before), hash(&after));
    policy(&fleet, "demo", json!({"namespaces": {"names": ["demo"]}, "serviceAccountName": "tenant"}))
        .await?;
    let held = |app: &Application| condition(app, "Held").is_some_and(|c| c.reason == "ClusterNotAllowed");
    let shown = fleet.wait("web", held).await?;
    let said = condition(&shown, "Held").map(|c| c.message.clone()).unwrap_or_default();
    assert!(said.contains("as ServiceAccount tenant only, not as deployer"), "{said}");
    annotate(&fleet, json!({fleet_api::names::SERVICE_ACCOUNT: "Not A Name"})).await?;
    fleet
        .wait("web", |app| condition(app, "Rendered").is_some_and(|c| c.reason == "InvalidServiceAccount"))
        .await?;
    annotate(&fleet, json!({fleet_api::names::SERVICE_ACCOUNT: Value::Null})).await?;
    fleet.wait("web", |app| !held(app) && condition(app, "Rendered").is_some_and(|c| c.is_true())).await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: in a closed fleet an Application reads what lies in other namespaces of the hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_namespace_reads_its_own_objects_only() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    policy(&fleet, "default", json!({"mode": "Deny"})).await?;
    policy(&fleet, "demo", json!({"namespaces": {"names": ["demo"]}})).await?;
    let engine = Engine::start(&fleet);
    let mut greedy = app(&[CONFIG], &["m1"]);
    greedy["spec"]["components"][0]["properties"]["objects"] =
        json!([{"apiVersion": "v1", "kind": "Secret", "name": "root-password", "namespace": "kube-system"}]);
    fleet.apply("hub", &greedy).await?;
    // It isn't even said whether the object is there.
    let waiting = fleet
        .wait("web", |app| condition(app, "Rendered").is_some_and(|c| c.reason == "NotReadable"))
        .await?;
    assert!(message(&waiting).contains("objects of its own only"), "{}", message(&waiting));
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    engine.stop().await?;
    Ok(())
}
