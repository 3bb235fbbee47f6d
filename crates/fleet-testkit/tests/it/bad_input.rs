//! Bad input is refused or reported in one line with the place, the cause and the next step.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use crate::small::{app, config, deployment, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

/// Applies a changed Application and waits for the words; nothing may be delivered.
async fn refused(change: impl Fn(&mut Value), words: &[&str]) -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("mc-bj1", "cluster1-beijing"), ("mc-hz1", "cluster1-hangzhou")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut manifest = app(&[CONFIG, ("apps/v1", "Deployment", "web")], &["mc-bj1"]);
    change(&mut manifest);
    fleet.apply("hub", &manifest).await?;
    let told = fleet.wait("web", |app| !message(app).is_empty()).await?;
    let said = message(&told);
    for word in words {
        assert!(said.contains(word), "{said:?} doesn't say {word:?}");
    }
    assert!(!said.contains('\n'), "one line: {said:?}");
    assert_eq!(told.status.map(|status| status.status.as_str()), Some("rendering"));
    assert_eq!(value(&fleet, "mc-bj1", "settings").await?, None, "half applied");
    engine.stop().await?;
    Ok(())
}

macro_rules! refusals {
    ($($name:ident: $change:expr => $words:expr;)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() -> anyhow::Result<()> {
            refused($change, &$words).await
        }
    )* };
}

fn component(app: &mut Value) -> &mut Value {
    &mut app["spec"]["components"][0]
}

fn with_override(app: &mut Value, components: Value) {
    app["spec"]["policies"].as_array_mut().expect("a list").push(json!(
        {"name": "differs", "type": "override", "properties": {"components": components}}));
}

refusals! {
    an_unknown_cluster_with_the_nearest_name:
        |app| app["spec"]["policies"][0]["properties"]["clusters"] = json!(["cluster1-bejing"])
        => ["where", "cluster1-bejing", "cluster1-beijing"];
    a_selector_that_matches_none:
        |app| app["spec"]["policies"][0]["properties"] = json!({"clusterLabelSelector": {"region": "mars"}})
        => ["where", "region"];
    an_object_of_a_namespace_where_no_target_is:
        |app| *component(app) = json!({"name": "raw", "type": "k8s-objects", "properties": {"objects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "first", "namespace": "demo"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "kube-system"}}]}})
        => ["raw", "objects[1]", "ConfigMap settings", "kube-system", "\"demo\"", "topology"];
    no_topology_at_all: |app| app["spec"]["policies"] = json!([]) => ["topology"];
    the_hub_as_a_target:
        |app| app["spec"]["policies"][0]["properties"]["clusters"] = json!(["local"]) => ["where", "local"];
    an_override_for_a_component_that_isnt_there:
        |app| with_override(app, json!([{"name": "mian", "traits": []}])) => ["differs", "mian", "main"];
    a_trait_for_a_container_that_isnt_there:
        |app| with_override(app, json!([{"name": "main", "traits": [
            {"type": "env", "properties": {"containerName": "wbe", "env": {"A": "b"}}}]}])) => ["wbe", "web"];
    a_trait_with_a_wrong_parameter:
        |app| component(app)["traits"] = json!([{"type": "scaler", "properties": {"replicas": "many"}}])
        => ["replicas", "integer"];
    an_unknown_trait_type:
        |app| component(app)["traits"] = json!([{"type": "scalar", "properties": {"replicas": 1}}])
        => ["scalar", "scaler"];
    an_unknown_policy_type:
        |app| app["spec"]["policies"][0]["type"] = json!("topologie") => ["where", "topologie"];
    a_read_only_rule_without_a_selector:
        |app| app["spec"]["policies"].as_array_mut().expect("a list").push(json!(
            {"name": "reads", "type": "read-only", "properties": {"rules": [{"selector": {}}]}}))
        => ["reads", "read-only", "a selector is empty", "resourceNames"];
    an_object_both_read_only_and_shared:
        |app| for (name, type_) in [("reads", "read-only"), ("shares", "shared-resource")] {
            app["spec"]["policies"].as_array_mut().expect("a list").push(json!({"name": name, "type": type_,
                "properties": {"rules": [{"selector": {"resourceTypes": ["ConfigMap"]}}]}}));
        }
        => ["reads", "shares", "ConfigMap settings", "main", "narrow"];
    an_unknown_step_type:
        |app| app["spec"]["workflow"] = json!({"steps": [{"name": "one", "type": "depoly"}]})
        => ["one", "depoly", "deploy"];
    a_workflow_that_isnt_there:
        |app| app["spec"]["workflow"] = json!({"ref": "nothing"}) => ["nothing", "Workflow"];
    a_policy_that_isnt_there:
        |app| app["spec"]["workflow"] = json!({"steps": [
            {"name": "one", "type": "deploy", "properties": {"policies": ["were"]}}]}) => ["one", "were", "where"];
    two_components_with_one_object:
        |app| { let same = component(app).clone(); app["spec"]["components"].as_array_mut().expect("a list").push(same);
            app["spec"]["components"][1]["name"] = json!("again"); } => ["main", "again", "settings"];
    an_unknown_component_type: |app| component(app)["type"] = json!("ref-object") => ["ref-object", "ref-objects"];
}

/// A referenced object that doesn't exist yet: it waits, says for what, and goes on when it appears.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_object_is_awaited() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    let waiting = fleet.wait_phase("web", "rendering").await?;
    assert!(message(&waiting).contains("ConfigMap demo/settings"), "{}", message(&waiting));
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.wait_phase("web", "running").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// A kind that the hub doesn't have yet comes with its definition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_kind_is_awaited() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &app(&[("example.com/v1", "Widget", "w")], &["m1"])).await?;
    let waiting = fleet.wait_phase("web", "rendering").await?;
    assert!(message(&waiting).contains("Widget"), "{}", message(&waiting));
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "size": {"type": "integer"}}}}}}}]}});
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w", "namespace": "demo"}, "spec": {"size": 3}});
    for cluster in ["m1", "hub"] {
        fleet.apply(cluster, &definition).await?;
    }
    fleet.apply("hub", &widget).await?;
    fleet.wait_phase("web", "running").await?;
    let there = fleet.get("m1", "example.com/v1", "Widget", "w").await?.expect("delivered");
    assert_eq!(there.pointer("/spec/size"), Some(&json!(3)));
    engine.stop().await?;
    Ok(())
}

/// An object on a member that nobody's application owns is refused without take-over, and taken over with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_somebody_else_is_refused_until_taken_over() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    fleet.apply("m1", &config("settings", "theirs")).await?;
    fleet.apply("hub", &config("settings", "ours")).await?;
    let mut manifest = app(&[CONFIG], &["m1"]);
    fleet.apply("hub", &manifest).await?;
    let failed = fleet.wait_phase("web", "workflowFailed").await?;
    assert!(message(&failed).contains("take-over"), "{}", message(&failed));
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("theirs")));
    manifest["spec"]["policies"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"name": "ours", "type": "take-over",
        "properties": {"rules": [{"selector": {"resourceTypes": ["ConfigMap"]}}]}}));
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("ours")));
    engine.stop().await?;
    Ok(())
}

/// Two Applications that deliver one object: the second is refused and named the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_another_application_is_refused() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let mut second = app(&[CONFIG], &["m1"]);
    second["metadata"]["name"] = json!("second");
    fleet.apply("hub", &second).await?;
    let failed = fleet.wait_phase("second", "workflowFailed").await?;
    assert!(message(&failed).contains("demo/web"), "{}", message(&failed));
    engine.stop().await?;
    Ok(())
}

/// A change of an immutable field fails the target with that reason; a resource-update policy lets it be recreated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_immutable_field_is_refused_until_recreation_is_allowed() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut manifest = app(&[("apps/v1", "Deployment", "web")], &["m1"]);
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    // The hub's own Deployment can't change its selector either, so the change comes by a trait.
    manifest["spec"]["components"][0]["traits"] = json!([{"type": "json-merge-patch", "properties": {"spec": {
        "selector": {"matchLabels": {"app": "web", "tier": "front"}},
        "template": {"metadata": {"labels": {"app": "web", "tier": "front"}}}}}}]);
    fleet.apply("hub", &manifest).await?;
    let failed = fleet.wait_phase("web", "workflowFailed").await?;
    let said = message(&failed);
    assert!(said.contains("immutable") && said.contains("resource-update"), "{said}");
    manifest["spec"]["policies"].as_array_mut().expect("a list").push(
        json!({"name": "anew", "type": "resource-update",
        "properties": {"rules": [{"selector": {"resourceTypes": ["Deployment"]},
            "strategy": {"op": "replace", "recreateFields": ["spec.selector"]}}]}}),
    );
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    let anew = fleet.get("m1", "apps/v1", "Deployment", "web").await?.expect("there");
    assert_eq!(anew.pointer("/spec/selector/matchLabels/tier"), Some(&json!("front")));
    engine.stop().await?;
    Ok(())
}

/// Broken: somebody applies a workflow that can never run, and learns so only where they think of looking. Or an
/// Application that is applied before what it refers to is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_run_is_warned_of_when_it_is_applied() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let warnings = async |manifest: &Value| -> anyhow::Result<Vec<String>> {
        let path = "/apis/core.oam.dev/v1beta1/namespaces/demo/applications/web?fieldManager=ann";
        let request = http::Request::patch(path).header("content-type", "application/apply-patch+yaml");
        let answer = fleet.client("hub").send(request.body(serde_json::to_vec(manifest)?.into())?).await?;
        assert!(answer.status().is_success(), "{}", answer.status());
        let all = answer.headers().get_all("warning").iter();
        Ok(all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect())
    };
    let mut manifest = app(&[("v1", "ConfigMap", "not-there-yet")], &["m1"]);
    assert_eq!(warnings(&manifest).await?, Vec::<String>::new());
    manifest["spec"]["workflow"] = json!({"steps": [{"name": "go", "type": "deploy", "if": "status ===",
        "properties": {"policies": ["where"]}}]});
    let said = warnings(&manifest).await?;
    assert!(matches!(said.as_slice(), [one] if one.starts_with("299 - ") && one.contains("go")), "{said:?}");
    Ok(())
}
