//! Which namespaces may deliver where.

use fleet_api::{Application, ClusterAccessPolicy, ClusterAccessPolicySpec};
use fleet_testkit::{Engine, Fleet};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::small::{annotate, app, condition, config, deployment, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

async fn policy(fleet: &Fleet, name: &str, spec: Value) -> anyhow::Result<()> {
    let spec: ClusterAccessPolicySpec = serde_json::from_value(spec)?;
    let api: Api<ClusterAccessPolicy> = Api::all(fleet.client("hub"));
    api.create(&PostParams::default(), &ClusterAccessPolicy::new(name, spec)).await?;
    Ok(())
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
    // It is the last of theirs there, so somebody is asked.
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    fleet.approve(&waiting).await?;
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", |object| object.is_none()).await?;
    fleet.wait_phase("web", "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("2")));
    engine.stop().await?;
    Ok(())
}

/// Gives an account of the namespace what it may do with these resources there (`GROUP/PLURAL`).
async fn grant(fleet: &Fleet, cluster: &str, account: &str, resources: &[&str]) -> anyhow::Result<()> {
    let place = json!({"name": account, "namespace": "demo"});
    fleet.apply(cluster, &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place})).await?;
    let rules: Vec<Value> = resources
        .iter()
        .filter_map(|resource| resource.split_once('/'))
        .map(|(group, plural)| {
            json!({"apiGroups": [group], "resources": [plural],
                "verbs": ["get", "list", "create", "patch", "update", "delete"]})
        })
        .collect();
    let version = "rbac.authorization.k8s.io/v1";
    fleet
        .apply(cluster, &json!({"apiVersion": version, "kind": "Role", "metadata": place, "rules": rules}))
        .await?;
    let binding = json!({"apiVersion": version, "kind": "RoleBinding", "metadata": place,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "demo"}]});
    fleet.apply(cluster, &binding).await?;
    Ok(())
}

/// Broken: a tenant delivers through the controller what they may not apply, or reads what they may not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_gets_what_their_account_may() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    // On the hub the tenant may read Deployments too, so that only the member can refuse them.
    grant(&fleet, "hub", "tenant", &["/configmaps", "apps/deployments"]).await?;
    grant(&fleet, "m1", "tenant", &["/configmaps"]).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &deployment("web", "nginx:1")).await?;
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "demo"}});
    fleet.apply("hub", &secret).await?;
    let engine = Engine::start(&fleet);
    let as_tenant = |objects: &[(&str, &str, &str)]| {
        let mut app = app(objects, &["m1"]);
        app["metadata"]["annotations"] = json!({fleet_api::names::SERVICE_ACCOUNT: "tenant"});
        app
    };
    fleet.apply("hub", &as_tenant(&[CONFIG])).await?;
    fleet.wait_phase("web", "running").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));

    fleet.apply("hub", &as_tenant(&[("apps/v1", "Deployment", "web")])).await?;
    let forbidden = |app: &Application| {
        condition(app, "Workflow").is_some_and(|c| !c.is_true() && c.reason == "Forbidden")
    };
    let shown = fleet.wait("web", forbidden).await?;
    let said = condition(&shown, "Workflow").map(|c| c.message.clone()).unwrap_or_default();
    let words = r#"User "system:serviceaccount:demo:tenant" cannot get resource "deployments""#;
    assert!(said.contains(words) && said.contains("m1"), "{said}");
    assert!(fleet.get("m1", "apps/v1", "Deployment", "web").await?.is_none());

    fleet.apply("hub", &as_tenant(&[("v1", "Secret", "keys")])).await?;
    let unreadable =
        |app: &Application| condition(app, "Rendered").is_some_and(|c| c.reason == "NotReadable");
    let shown = fleet.wait("web", unreadable).await?;
    let said = condition(&shown, "Rendered").map(|c| c.message.clone()).unwrap_or_default();
    assert!(said.contains("ServiceAccount demo/tenant may not get secrets"), "{said}");
    assert!(fleet.get("m1", "v1", "Secret", "keys").await?.is_none());
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
    for (cluster, account) in [("hub", "deployer"), ("m1", "deployer"), ("hub", "tenant"), ("m1", "tenant")] {
        grant(&fleet, cluster, account, &["/configmaps"]).await?;
    }
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
