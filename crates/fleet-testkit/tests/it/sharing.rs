//! Objects that several Applications share: one writes, the others say that they have a part in it.

use std::collections::BTreeMap;

use fleet_api::{Application, names};
use fleet_testkit::{Engine, Fleet};
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

use crate::crash::{after_every_death, survived};
use crate::small::value;

/// An Application with a ConfigMap `shared`, which says who wrote it, and one of its own.
fn application(name: &str, shares: bool) -> Value {
    let object = |of: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": of}, "data": {"key": name}});
    let mut app = json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
    "metadata": {"name": name, "namespace": "demo"},
    "spec": {
        "components": [{"name": "main", "type": "k8s-objects",
            "properties": {"objects": [object("shared"), object(&format!("{name}-own"))]}}],
        "policies": [{"name": "where", "type": "topology", "properties": {"clusters": ["m1"]}}],
    }});
    if shares {
        app["spec"]["policies"].as_array_mut().expect("a list").push(json!({"name": "shares",
            "type": "shared-resource", "properties": {"rules": [{"selector": {"resourceNames": ["shared"]}}]}}));
    }
    app
}

/// The same without the shared object.
fn without(name: &str) -> Value {
    let mut app = application(name, true);
    app["spec"]["components"][0]["properties"]["objects"].as_array_mut().expect("a list").remove(0);
    app
}

async fn start() -> anyhow::Result<Fleet> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    fleet.apply("m1", &namespace).await?;
    Ok(fleet)
}

async fn delete(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete(name, &DeleteParams::default()).await?;
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", name, |app| app.is_none()).await?;
    Ok(())
}

fn sharers(object: &Value) -> Vec<String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let mut all: Vec<String> = labels
        .into_iter()
        .flatten()
        .filter(|(label, _)| label.starts_with(names::SHARED_BY))
        .filter_map(|(_, name)| name.as_str().map(str::to_owned))
        .collect();
    all.sort();
    all
}

/// Who owns the object, what it says, and who shares it.
fn part(object: Option<&Value>) -> (String, String, Vec<String>) {
    let text = |path: &str| {
        object.and_then(|o| o.pointer(path)).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    (text("/metadata/labels/app.oam.dev~1name"), text("/data/key"), object.map(sharers).unwrap_or_default())
}

async fn wait_part(fleet: &Fleet, owner: &str, data: &str, all: &[&str]) -> anyhow::Result<Value> {
    let wanted = |object: Option<&Value>| {
        part(object)
            == (owner.to_owned(), data.to_owned(), all.iter().map(|name| format!("demo.{name}")).collect())
    };
    Ok(fleet.wait_object("m1", "v1", "ConfigMap", "shared", wanted).await?.unwrap_or_default())
}

async fn resource(fleet: &Fleet) -> anyhow::Result<Api<kube::api::DynamicObject>> {
    fleet.resource("m1", &json!({"apiVersion": "v1", "kind": "ConfigMap"})).await
}

/// The first owns and writes; the second only puts its label on it. The owner's leaving passes it on, the last deletes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_passed_on_and_goes_with_the_last() -> anyhow::Result<()> {
    let fleet = start().await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &application("a", true)).await?;
    fleet.wait_phase("a", "running").await?;
    let first = wait_part(&fleet, "a", "a", &["a"]).await?;
    fleet.apply("hub", &application("b", true)).await?;
    fleet.wait_phase("b", "running").await?;
    let joined = wait_part(&fleet, "a", "a", &["a", "b"]).await?;
    fleet.wait_phase("a", "running").await?;
    delete(&fleet, "a").await?;
    let passed = wait_part(&fleet, "b", "b", &["b"]).await?;
    for later in [&joined, &passed] {
        assert_eq!(later.pointer("/metadata/uid"), first.pointer("/metadata/uid"), "it was made anew");
    }
    let managers: Vec<&str> = passed
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["manager"].as_str())
        .filter(|manager| manager.starts_with("fleetctl:"))
        .collect();
    assert_eq!(managers.len(), 1, "{managers:?}: the former owner still owns fields");
    fleet.wait_phase("b", "running").await?;
    delete(&fleet, "b").await?;
    assert_eq!(value(&fleet, "m1", "shared").await?, None, "nobody shares it, and it stays");
    engine.stop().await?;
    Ok(())
}

/// Both begin at once: one creates it, the other joins, and each ends its run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_begin_at_once_agree() -> anyhow::Result<()> {
    let fleet = start().await?;
    let engine = Engine::start(&fleet);
    let names = ["a", "b", "c", "d"];
    for name in names {
        fleet.apply("hub", &application(name, true)).await?;
    }
    for name in names {
        fleet.wait_phase(name, "running").await?;
    }
    let there = fleet.get("m1", "v1", "ConfigMap", "shared").await?.expect("there");
    let (owner, data, all) = part(Some(&there));
    assert_eq!(all, ["demo.a", "demo.b", "demo.c", "demo.d"]);
    assert_eq!(owner, data, "one owns it and another's content stands");
    for name in names {
        delete(&fleet, name).await?;
    }
    assert_eq!(value(&fleet, "m1", "shared").await?, None);
    engine.stop().await?;
    Ok(())
}

/// Broken: an application writes to what another doesn't share, or gets it by a policy of its own alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_must_share_it() -> anyhow::Result<()> {
    let fleet = start().await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &application("a", false)).await?;
    fleet.wait_phase("a", "running").await?;
    fleet.apply("hub", &application("b", true)).await?;
    let refused = fleet.wait_phase("b", "workflowFailed").await?;
    let said = crate::small::message(&refused);
    assert!(
        said.contains("ConfigMap demo/shared on m1 belongs to the application demo/a")
            && said.contains("shared-resource policy"),
        "{said}"
    );
    // The owner says that it shares it; then the other's restart goes through.
    fleet.apply("hub", &application("a", true)).await?;
    fleet.wait_run("a", 2, "running").await?;
    let restart = json!({"metadata": {"annotations": {names::RESTART: "again"}}});
    fleet.merge("hub", "core.oam.dev/v1beta1", "Application", "b", &restart).await?;
    fleet.wait_phase("b", "running").await?;
    wait_part(&fleet, "a", "a", &["a", "b"]).await?;
    // A third without the policy is refused too.
    fleet.apply("hub", &application("c", false)).await?;
    fleet.wait_phase("c", "workflowFailed").await?;
    wait_part(&fleet, "a", "a", &["a", "b"]).await?;
    engine.stop().await?;
    Ok(())
}

/// A sharer whose new revision no longer has the object takes its label away; an owner passes it on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_revision_without_it_leaves_it_to_the_others() -> anyhow::Result<()> {
    let fleet = start().await?;
    let engine = Engine::start(&fleet);
    for name in ["a", "b", "c"] {
        fleet.apply("hub", &application(name, true)).await?;
        fleet.wait_phase(name, "running").await?;
    }
    fleet.apply("hub", &without("c")).await?;
    fleet.wait_run("c", 2, "running").await?;
    let there = wait_part(&fleet, "a", "a", &["a", "b"]).await?;
    fleet.apply("hub", &without("a")).await?;
    let done = fleet.wait_run("a", 2, "running").await?;
    let listed =
        done.status.iter().flat_map(|s| &s.applied_resources).map(|r| r.name.as_str()).collect::<Vec<_>>();
    assert_eq!(listed, ["a-own"]);
    let passed = wait_part(&fleet, "b", "b", &["b"]).await?;
    assert_eq!(passed.pointer("/metadata/uid"), there.pointer("/metadata/uid"));
    fleet.apply("hub", &without("b")).await?;
    fleet.wait_run("b", 2, "running").await?;
    assert_eq!(value(&fleet, "m1", "shared").await?, None);
    engine.stop().await?;
    Ok(())
}

/// What somebody does to it by hand is made good: by its owner, by whoever is first where it is gone, by each for its label.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_by_hand_is_made_good() -> anyhow::Result<()> {
    let fleet = start().await?;
    let engine = Engine::start(&fleet);
    for name in ["a", "b"] {
        fleet.apply("hub", &application(name, true)).await?;
        fleet.wait_phase(name, "running").await?;
    }
    fleet.merge("m1", "v1", "ConfigMap", "shared", &json!({"data": {"key": "by hand"}})).await?;
    let there = wait_part(&fleet, "a", "a", &["a", "b"]).await?;
    let labels = there.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let gone: BTreeMap<&String, Value> = labels
        .keys()
        .filter(|label| label.starts_with(names::SHARED_BY))
        .map(|label| (label, Value::Null))
        .collect();
    fleet.merge("m1", "v1", "ConfigMap", "shared", &json!({"metadata": {"labels": gone}})).await?;
    wait_part(&fleet, "a", "a", &["a", "b"]).await?;
    resource(&fleet).await?.delete("shared", &DeleteParams::default()).await?;
    let anew =
        fleet.wait_object("m1", "v1", "ConfigMap", "shared", |object| part(object).2.len() == 2).await?;
    let (owner, data, _) = part(anew.as_ref());
    assert_eq!(owner, data, "one owns it and another's content stands");
    for name in ["a", "b"] {
        fleet.wait_phase(name, "running").await?;
    }
    engine.stop().await?;
    Ok(())
}

/// What passes to an Application while no controller runs for it is written at the start.
async fn walk(killed_at: Option<(u64, bool)>) -> anyhow::Result<(u64, (String, String, Vec<String>))> {
    let fleet = start().await?;
    let (n, carried_out) = killed_at.unwrap_or((u64::MAX, false));
    let engine = Engine::killed_at(&fleet, n, carried_out);
    let first = engine.hub.clone();
    let scenario = async {
        for name in ["a", "b", "c"] {
            fleet.apply("hub", &application(name, true)).await?;
            fleet.wait_phase(name, "running").await?;
        }
        let uid = fleet
            .get("m1", "v1", "ConfigMap", "shared")
            .await?
            .and_then(|o| o.pointer("/metadata/uid").cloned());
        fleet.apply("hub", &without("c")).await?;
        fleet.wait_run("c", 2, "running").await?;
        delete(&fleet, "a").await?;
        let passed = wait_part(&fleet, "b", "b", &["b"]).await?;
        anyhow::ensure!(passed.pointer("/metadata/uid") == uid.as_ref(), "it was deleted and made anew");
        fleet.wait_phase("b", "running").await?;
        let there = part(Some(&passed));
        delete(&fleet, "b").await?;
        delete(&fleet, "c").await?;
        anyhow::ensure!(value(&fleet, "m1", "shared").await?.is_none(), "nobody shares it, and it stays");
        Ok(there)
    };
    let there = survived(&fleet, engine, scenario).await?;
    fleet.stop().await;
    Ok((first.writes(), there))
}

/// Design invariant 7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_any_two_writes_it_is_shared_and_passed_on_all_the_same() -> anyhow::Result<()> {
    after_every_death(20, walk).await
}
