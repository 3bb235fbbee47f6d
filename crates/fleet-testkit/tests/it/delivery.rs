//! What is sent to members: order of records, ownership of fields, namespaces, the order of steps.

use fleet_api::{Application, ObjectId, ResourceTracker};
use fleet_testkit::{Engine, Fleet};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::small::{app, config, deployment, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

async fn delete(fleet: &Fleet) -> anyhow::Result<()> {
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    Ok(())
}

async fn uid(fleet: &Fleet) -> anyhow::Result<Option<Value>> {
    let found = fleet.get("m1", "v1", "ConfigMap", "settings").await?;
    Ok(found.and_then(|object| object.pointer("/metadata/uid").cloned()))
}

/// At whichever write the controller dies, what is on a member is in an inventory (design invariant 8).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_on_a_member_is_in_an_inventory_at_any_time() -> anyhow::Result<()> {
    for n in 1..=8 {
        let fleet = Fleet::start(&[("m1", "one")]).await?;
        let engine = Engine::killed_at(&fleet, n, true);
        let killed = engine.hub.killed();
        fleet.apply("hub", &config("settings", "1")).await?;
        fleet.apply("hub", &config("other", "1")).await?;
        fleet.apply("hub", &app(&[CONFIG, ("v1", "ConfigMap", "other")], &["m1"])).await?;
        tokio::select! {
            () = killed.cancelled() => {}
            done = fleet.wait_phase("web", "running") => { done?; }
        }
        engine.kill().await;
        let trackers: Api<ResourceTracker> = Api::all(fleet.client("hub"));
        let mut listed: Vec<ObjectId> = Vec::new();
        for tracker in trackers.list(&ListParams::default()).await?.items {
            let inventory: fleet_api::Inventory = tracker.spec.inventory.unpack()?;
            listed.extend(inventory.targets.into_iter().flat_map(|target| target.objects.into_keys()));
        }
        for name in ["settings", "other"] {
            let there = value(&fleet, "m1", name).await?.is_some();
            assert!(!there || listed.iter().any(|id| id.name == name), "{name} after write {n}: {listed:?}");
        }
        fleet.stop().await;
    }
    Ok(())
}

/// A field that another manager owns and that we never delivered isn't taken: the manager is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_of_another_manager_is_not_taken_and_named() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let mut free = deployment("web", "web:1");
    free["spec"].as_object_mut().expect("a map").remove("replicas");
    fleet.apply("hub", &free).await?;
    fleet.apply("hub", &app(&[("apps/v1", "Deployment", "web")], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"replicas": 4}});
    let api = fleet.resource("m1", &theirs).await?;
    api.patch("web", &PatchParams::apply("their-autoscaler").force(), &Patch::Apply(&theirs)).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let failed = fleet.wait_phase("web", "workflowFailed").await?;
    let said = message(&failed);
    assert!(said.contains("their-autoscaler") && said.contains("replicas"), "{said}");
    let there = fleet.get("m1", "apps/v1", "Deployment", "web").await?.expect("there");
    assert_eq!(there.pointer("/spec/replicas"), Some(&json!(4)), "taken by force");
    engine.stop().await?;
    Ok(())
}

/// A field that we delivered and somebody took is drift: the next revision takes it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_we_delivered_is_taken_back() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut manifest = app(&[CONFIG], &["m1"]);
    manifest["spec"]["policies"].as_array_mut().expect("a list").push(json!(
        {"name": "once", "type": "apply-once", "properties": {"enable": true}}));
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.apply("m1", &config("settings", "theirs")).await?;
    fleet.wait("web", |app| message(app).contains("apply-once")).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("2")));
    engine.stop().await?;
    Ok(())
}

/// What a delivery sent before it failed is ours as well: the next revision takes a field of it back. Broken: no later
/// revision ever gets there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_a_delivery_sent_before_it_failed_is_taken_back() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("m1", &namespace("demo")).await?;
    fleet.apply("m1", &config("other", "theirs")).await?;
    for name in ["settings", "other"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let mut manifest = app(&[CONFIG, ("v1", "ConfigMap", "other")], &["m1"]);
    manifest["spec"]["policies"].as_array_mut().expect("a list").push(json!(
        {"name": "once", "type": "apply-once", "properties": {"enable": true}}));
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "workflowFailed").await?;
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", |there| there.is_some()).await?;
    fleet.apply("m1", &config("settings", "theirs")).await?;
    let other = fleet.resource("m1", &config("other", "")).await?;
    other.delete("other", &DeleteParams::default()).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("2")));
    engine.stop().await?;
    Ok(())
}

/// So is what waits to be deleted: a later revision that wants it again takes a field of it back. Broken: no later revision
/// ever gets there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_of_what_waits_to_be_deleted_is_taken_back() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let both = [CONFIG, ("apps/v1", "Deployment", "web")];
    fleet.apply("hub", &app(&both, &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    // The last workload isn't deleted unasked.
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_run("web", 2, "workflowSuspending").await?;
    fleet.apply("m1", &deployment("web", "web:theirs")).await?;
    fleet.apply("hub", &deployment("web", "web:3")).await?;
    fleet.apply("hub", &app(&both, &["m1"])).await?;
    fleet.wait_run("web", 3, "running").await?;
    let there = fleet.get("m1", "apps/v1", "Deployment", "web").await?.expect("there");
    assert_eq!(there.pointer("/spec/template/spec/containers/0/image"), Some(&json!("web:3")));
    engine.stop().await?;
    Ok(())
}

/// A namespace that was there before us, and one that others use by now, stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_namespace_that_is_ours_and_empty_goes() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("m1", &namespace("demo")).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2", "m3"])).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.apply("m2", &config("theirs", "1")).await?;
    delete(&fleet).await?;
    fleet.wait_object("m3", "v1", "Namespace", "demo", |there| there.is_none()).await?;
    for member in ["m1", "m2"] {
        let there = fleet.get(member, "v1", "Namespace", "demo").await?.expect("stays");
        assert!(there.pointer("/metadata/deletionTimestamp").is_none(), "{member}");
        assert_eq!(value(&fleet, member, "settings").await?, None, "{member}");
    }
    engine.stop().await?;
    Ok(())
}

/// Garbage is collected only where it is still what we left: one made anew by somebody else stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_somebody_made_anew_is_not_collected() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["settings", "other", "third"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let all = [CONFIG, ("v1", "ConfigMap", "other"), ("v1", "ConfigMap", "third")];
    fleet.apply("hub", &app(&all, &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    let api = fleet.resource("m1", &json!({"apiVersion": "v1", "kind": "ConfigMap"})).await?;
    api.delete("other", &DeleteParams::default()).await?;
    fleet.apply("m1", &config("other", "theirs")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    let engine = Engine::start(&fleet);
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(value(&fleet, "m1", "other").await?, Some(json!("theirs")));
    assert_eq!(value(&fleet, "m1", "third").await?, None);
    engine.stop().await?;
    Ok(())
}

/// What the new revision lacks goes only after the new revision is done there: a run that fails deletes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_collected_before_the_new_revision_is_done() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let with_timeout = |objects: &[(&str, &str, &str)], timeout: &str| {
        let mut manifest = app(objects, &["m1"]);
        manifest["spec"]["workflow"] = json!({"steps": [{"name": "go", "type": "deploy", "timeout": timeout,
            "properties": {"policies": ["where"]}}]});
        manifest
    };
    fleet.apply("hub", &with_timeout(&[CONFIG, ("apps/v1", "Deployment", "web")], "1m")).await?;
    fleet.wait_phase("web", "running").await?;
    let before = uid(&fleet).await?;
    let mut bad = with_timeout(&[("apps/v1", "Deployment", "web")], "1s");
    bad["spec"]["components"][0]["traits"] = json!([{"type": "json-merge-patch", "properties": {"spec": {"template": {
        "metadata": {"annotations": {"sim.fleetctl.dev/hold": "true"}}}}}}]);
    fleet.apply("hub", &bad).await?;
    fleet.wait_phase("web", "workflowFailed").await?;
    // By its UID: drift repair would have brought it back.
    assert_eq!(uid(&fleet).await?, before, "deleted before the new revision was done");
    engine.stop().await?;
    Ok(())
}

/// A topology's namespace is where things go; a step that fails in a DAG doesn't hold what doesn't wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dag_goes_as_far_as_it_can_into_the_namespaces_it_names() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("m1", &namespace("demo")).await?;
    fleet.apply("m1", &config("settings", "theirs")).await?;
    let mut manifest = app(&[CONFIG], &[]);
    manifest["spec"]["policies"] = json!([
        {"name": "taken", "type": "topology", "properties": {"clusters": ["m1"]}},
        {"name": "free", "type": "topology", "properties": {"clusters": ["m2"], "namespace": "elsewhere"}}]);
    manifest["spec"]["workflow"] = json!({"mode": {"steps": "DAG"}, "steps": [
        {"name": "after", "type": "deploy", "dependsOn": ["fails"], "properties": {"policies": ["free"]}},
        {"name": "fails", "type": "deploy", "properties": {"policies": ["taken"]}},
        {"name": "besides", "type": "deploy", "properties": {"policies": ["free"]}}]});
    fleet.apply("hub", &manifest).await?;
    let failed = fleet.wait_phase("web", "workflowFailed").await?;
    let steps = failed.status.and_then(|status| status.workflow).unwrap_or_default().steps;
    let phases: Vec<(&str, &str)> = steps.iter().map(|s| (s.name.as_str(), s.phase.as_str())).collect();
    assert_eq!(phases, [("after", "skipped"), ("fails", "failed"), ("besides", "succeeded")]);
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "elsewhere"}});
    let there = fleet.resource("m2", &manifest).await?.get("settings").await?;
    assert_eq!(there.data.pointer("/data/key"), Some(&json!("1")));
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    engine.stop().await?;
    Ok(())
}

/// A deletion that comes in the middle of a delivery leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_during_a_run_leaves_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let mut slow = deployment("web", "web:1");
    slow["spec"]["template"]["metadata"]["annotations"] = json!({"sim.fleetctl.dev/hold": "true"});
    fleet.apply("hub", &slow).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG, ("apps/v1", "Deployment", "web")], &["m1"])).await?;
    fleet.wait_object("m1", "v1", "ConfigMap", "settings", |object| object.is_some()).await?;
    delete(&fleet).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", |object| object.is_none()).await?;
    fleet.wait_object("m1", "v1", "Namespace", "demo", |object| object.is_none()).await?;
    engine.stop().await?;
    Ok(())
}

/// A deletion that comes while objects are being sent waits for the end of it: nothing arrives after the clearing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_during_a_delivery_leaves_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let here = namespace("demo");
    fleet.apply("m1", &here).await?;
    let names: Vec<String> = (0..150).map(|n| format!("settings-{n:03}")).collect();
    for name in &names {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let objects: Vec<_> = names.iter().map(|name| ("v1", "ConfigMap", name.as_str())).collect();
    let mut manifest = app(&objects, &["m1"]);
    manifest["spec"]["workflow"] = json!({"steps": [{"name": "go", "type": "deploy",
        "properties": {"policies": ["where"], "parallelism": 1}}]});
    fleet.apply("hub", &manifest).await?;
    fleet.wait_object("m1", "v1", "ConfigMap", "settings-000", |object| object.is_some()).await?;
    delete(&fleet).await?;
    let api = fleet.resource("m1", &json!({"apiVersion": "v1", "kind": "ConfigMap"})).await?;
    let left: Vec<_> =
        api.list(&ListParams::default()).await?.items.into_iter().filter_map(|o| o.metadata.name).collect();
    assert!(!left.iter().any(|name| name.starts_with("settings")), "{left:?}");
    engine.stop().await?;
    Ok(())
}

/// Broken: a step sends a member everything at once, whatever it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_objects_are_sent_at_once_as_the_step_says() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    fleet.apply("m1", &namespace("demo")).await?;
    let engine = Engine::start(&fleet);
    engine.members.stall_writes();
    let names: Vec<String> = (0..6).map(|n| format!("settings-{n}")).collect();
    for name in &names {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let objects: Vec<_> = names.iter().map(|name| ("v1", "ConfigMap", name.as_str())).collect();
    let mut manifest = app(&objects, &["m1"]);
    manifest["spec"]["workflow"] = json!({"steps": [{"name": "go", "type": "deploy",
        "properties": {"policies": ["where"], "parallelism": 2}}]});
    fleet.apply("hub", &manifest).await?;
    let both = async {
        while engine.members.writes() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), both).await?;
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(engine.members.writes(), 2, "the others wait until one of these has arrived");
    engine.members.wake();
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    Ok(())
}
