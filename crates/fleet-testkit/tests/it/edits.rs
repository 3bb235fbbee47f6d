//! Edits, approvals and deletions at awkward moments.

use fleet_api::{Application, Run};
use fleet_testkit::{Engine, Fleet};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use crate::small::{app, config, deployment, gated, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

/// What is taken out of the topology loses what it has and gets nothing on the way out: not the new content, not what is
/// meant for another cluster, not at a gate and not behind another step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_on_the_way_out_gets_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["settings", "other"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}});
    fleet.apply("m2", &namespace).await?;
    let deploy = |name: &str, gated: bool, policies: &[&str]| json!({"name": name, "type": "deploy", "properties": {"auto": !gated, "policies": policies}});
    let topology = |name: &str, clusters: &[&str], namespace: &str| json!({"name": name, "type": "topology", "properties": {"clusters": clusters, "namespace": namespace}});
    let one = json!([deploy("go", true, &["where"])]);
    let two = json!([deploy("go", false, &["where"]), deploy("then", false, &["there", "differs"])]);
    let gated_two = json!([deploy("go", true, &["where"]), deploy("then", true, &["there", "differs"])]);
    let mut number = 0;
    for steps in [one, two, gated_two] {
        for (clusters, namespace) in [(["m1"], "demo"), (["m2"], "demo"), (["m2"], "elsewhere")] {
            let mut manifest = app(&[CONFIG], &[]);
            manifest["spec"]["workflow"] = json!({ "steps": steps });
            let differs = json!({"name": "differs", "type": "override", "properties": {"components": [
                {"name": "main", "traits": [{"type": "annotations", "properties": {"for": "m3"}}]}]}});
            let policies = |first| json!([first, topology("there", &["m3"], "demo"), differs]);
            manifest["spec"]["policies"] = policies(topology("where", &["m1", "m2"], "demo"));
            number += 1;
            manifest["metadata"]["annotations"] = json!({"app.oam.dev/publishVersion": format!("v{number}")});
            fleet.apply("hub", &manifest).await?;
            through(&fleet, number).await?;
            assert!(value(&fleet, "m2", "settings").await?.is_some());
            fleet.apply("hub", &config("settings", &format!("{clusters:?} {namespace}"))).await?;
            // The same edit brings new content, a new object, and takes a place away.
            manifest["spec"]["components"][0]["properties"]["objects"]
                .as_array_mut()
                .expect("a list")
                .push(json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "other"}));
            manifest["spec"]["policies"] = policies(topology("where", &clusters, namespace));
            engine.members.reset();
            number += 1;
            manifest["metadata"]["annotations"] = json!({"app.oam.dev/publishVersion": format!("v{number}")});
            fleet.apply("hub", &manifest).await?;
            through(&fleet, number).await?;
            let said = format!("{steps} to {clusters:?} {namespace}: {:?}", engine.members.count());
            let targets = if steps.as_array().is_some_and(|steps| steps.len() == 2) { 2 } else { 1 };
            assert_eq!(engine.members.count().sum(|kind| kind == "PATCH configmaps"), 2 * targets, "{said}");
            let left = if clusters == ["m1"] { "m2" } else { "m1" };
            for name in ["settings", "other"] {
                assert_eq!(value(&fleet, left, name).await?, None, "{name} stands on {left} after {said}");
            }
            let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
            api.delete("web", &DeleteParams::default()).await?;
            fleet
                .wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none())
                .await?;
            number = 0;
        }
    }
    engine.stop().await?;
    Ok(())
}

/// Opens every gate of the run of this number until it is through.
async fn through(fleet: &Fleet, number: i64) -> anyhow::Result<()> {
    loop {
        let app = fleet
            .wait("web", |app| {
                let Some(status) = &app.status else { return false };
                let phase = status.status.as_str();
                status.latest_revision.as_ref().is_some_and(|revision| revision.revision == number)
                    && matches!(phase, "running" | "workflowSuspending")
            })
            .await?;
        if app.status.as_ref().is_some_and(|status| status.status.as_str() == "running") {
            return Ok(());
        }
        fleet.approve(&app).await?;
        let gate = |app: &Application| {
            app.status.as_ref().and_then(|status| status.workflow.as_ref()).and_then(|w| w.gate.clone())
        };
        let before = gate(&app);
        fleet.wait("web", |app| gate(app) != before).await?;
    }
}

/// A run ends for an edit, the controller dies before the next one is on record, and the edit is taken back meanwhile.
/// Broken: the run of what is asked for has given way, and nothing begins any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gave_way_to_an_edit_that_was_taken_back_is_begun_again() -> anyhow::Result<()> {
    for n in 1.. {
        let fleet = Fleet::start(&[("m1", "one")]).await?;
        for name in ["settings", "other"] {
            fleet.apply("hub", &config(name, "1")).await?;
        }
        let asked = gated(&[CONFIG], &["m1"]);
        let engine = Engine::start(&fleet);
        fleet.apply("hub", &asked).await?;
        fleet.wait_phase("web", "workflowSuspending").await?;
        engine.stop().await?;
        let engine = Engine::killed_at(&fleet, n, true);
        let killed = engine.hub.killed();
        fleet.apply("hub", &gated(&[CONFIG, ("v1", "ConfigMap", "other")], &["m1"])).await?;
        let died = tokio::select! {
            () = killed.cancelled() => true,
            waits = fleet.wait_run("web", 2, "workflowSuspending") => waits.map(|_| false)?,
        };
        engine.kill().await;
        fleet.apply("hub", &asked).await?;
        let engine = Engine::start(&fleet);
        let waiting = fleet.wait("web", |app| {
            let status = app.status.clone().unwrap_or_default();
            Some(status.observed_generation) == app.metadata.generation
                && status.status.as_str() == "workflowSuspending"
        });
        let waiting = waiting.await.map_err(|error| error.context(format!("killed after write {n}")))?;
        fleet.approve(&waiting).await?;
        fleet.wait_phase("web", "running").await?;
        assert!(value(&fleet, "m1", "settings").await?.is_some());
        assert_eq!(value(&fleet, "m1", "other").await?, None);
        engine.stop().await?;
        fleet.stop().await;
        if !died {
            assert!(n > 4, "it takes {n} writes");
            return Ok(());
        }
    }
    Ok(())
}

/// Nothing that A has may go when A becomes B and A again before B is through (kubevela#7278).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_to_b_to_a_deletes_nothing_of_a() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["settings", "other"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let all = [CONFIG, ("v1", "ConfigMap", "other"), ("apps/v1", "Deployment", "web")];
    let (a, b) = (app(&all, &["m1", "m2"]), app(&[CONFIG], &["m1"]));
    fleet.apply("hub", &a).await?;
    fleet.wait_phase("web", "running").await?;
    let uid = |object: Option<serde_json::Value>| object.and_then(|o| o.pointer("/metadata/uid").cloned());
    let before = uid(fleet.get("m2", "apps/v1", "Deployment", "web").await?);
    for edit in [&b, &a, &b, &a] {
        fleet.apply("hub", edit).await?;
    }
    let generation = fleet.apply("hub", &a).await?.metadata.generation;
    fleet
        .wait("web", |app| {
            let status = app.status.clone().unwrap_or_default();
            Some(status.observed_generation) == generation && status.status.as_str() == "running"
        })
        .await?;
    for member in ["m1", "m2"] {
        assert!(value(&fleet, member, "other").await?.is_some(), "{member} lost an object that A has");
    }
    assert_eq!(uid(fleet.get("m2", "apps/v1", "Deployment", "web").await?), before, "made anew");
    // And what only A has goes when B is there to stay.
    fleet.apply("hub", &b).await?;
    // Two clusters lose their last workload by it: somebody agrees.
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    fleet.approve(&waiting).await?;
    fleet.wait_object("m2", "apps/v1", "Deployment", "web", |object| object.is_none()).await?;
    fleet.wait_object("m1", "v1", "ConfigMap", "other", |object| object.is_none()).await?;
    fleet.wait_phase("web", "running").await?;
    assert!(value(&fleet, "m1", "settings").await?.is_some());
    engine.stop().await?;
    Ok(())
}

/// Two resumes at once open one gate, not two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_resumes_at_once_open_one_gate() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut app = gated(&[CONFIG], &["m1"]);
    app["spec"]["policies"] = json!([
        {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
        {"name": "second", "type": "topology", "properties": {"clusters": ["m2"]}}]);
    app["spec"]["workflow"] = json!({"steps": [
        {"name": "one", "type": "deploy", "properties": {"auto": false, "policies": ["first"]}},
        {"name": "two", "type": "deploy", "properties": {"auto": false, "policies": ["second"]}}]});
    fleet.apply("hub", &app).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let (one, two) = tokio::join!(fleet.approve(&waiting), fleet.approve(&waiting));
    assert!(one.is_ok() || two.is_ok());
    fleet.wait("web", |app| message(app).contains("step two waits")).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));
    assert_eq!(value(&fleet, "m2", "settings").await?, None, "the second gate wasn't opened");
    engine.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_while_suspended_leaves_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut app = gated(&[CONFIG], &["m2"]);
    app["spec"]["policies"] = json!([
        {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
        {"name": "where", "type": "topology", "properties": {"clusters": ["m2"]}}]);
    app["spec"]["workflow"]["steps"] = json!([
        {"name": "one", "type": "deploy", "properties": {"policies": ["first"]}},
        {"name": "go", "type": "deploy", "properties": {"auto": false, "policies": ["where"]}}]);
    fleet.apply("hub", &app).await?;
    fleet.wait_phase("web", "workflowSuspending").await?;
    assert!(value(&fleet, "m1", "settings").await?.is_some());
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    // The namespace was missing on the member, so it was ours, and it is empty now.
    fleet.wait_object("m1", "v1", "Namespace", "demo", |namespace| namespace.is_none()).await?;
    let trackers: Api<fleet_api::ResourceTracker> = Api::all(fleet.client("hub"));
    assert!(trackers.list(&ListParams::default()).await?.items.is_empty());
    engine.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_stay_when_asked_to() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut app = app(&[CONFIG], &["m1"]);
    app["metadata"]["annotations"] = json!({fleet_api::names::ON_DELETE: "orphan"});
    fleet.apply("hub", &app).await?;
    fleet.wait_phase("web", "running").await?;
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    let kept = fleet.get("m1", "v1", "ConfigMap", "settings").await?.expect("kept");
    assert_eq!(kept.pointer("/data/key"), Some(&json!("1")));
    let labels = kept.pointer("/metadata/labels").and_then(|labels| labels.as_object());
    assert!(labels.is_none_or(|labels| labels.is_empty()), "it is nobody's now: {labels:?}");
    engine.stop().await?;
    Ok(())
}

/// An edit during a run supersedes it; what is delivered in the end is the edit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_while_running_supersedes() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let mut slow = deployment("web", "web:1");
    slow["spec"]["template"]["metadata"]["annotations"] = json!({"sim.fleetctl.dev/hold": "true"});
    fleet.apply("hub", &slow).await?;
    fleet.apply("hub", &app(&[("apps/v1", "Deployment", "web")], &["m1"])).await?;
    fleet.wait_phase("web", "runningWorkflow").await?;
    fleet.apply("hub", &deployment("web", "web:2")).await?;
    fleet.wait_run("web", 2, "running").await?;
    let delivered = fleet.get("m1", "apps/v1", "Deployment", "web").await?.expect("delivered");
    assert_eq!(delivered.pointer("/spec/template/spec/containers/0/image"), Some(&json!("web:2")));
    let runs: Api<Run> = Api::namespaced(fleet.client("hub"), "demo");
    let mut runs = runs.list(&ListParams::default()).await?.items;
    runs.sort_by_key(|run| run.spec.number);
    let phases: Vec<_> =
        runs.iter().filter_map(|run| run.status.as_ref()).map(|s| s.phase.as_str()).collect();
    assert_eq!(
        phases,
        ["superseded", "succeeded"],
        "{:?}",
        runs.iter().map(|r| r.name_any()).collect::<Vec<_>>()
    );
    engine.stop().await?;
    Ok(())
}

/// A run is bound to its revision: a hub edit between two steps changes nothing that a later step delivers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_edit_between_two_steps_changes_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut app = gated(&[CONFIG], &["m2"]);
    app["metadata"]["annotations"] = json!({"app.oam.dev/publishVersion": "v1"});
    app["spec"]["policies"] = json!([
        {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
        {"name": "where", "type": "topology", "properties": {"clusters": ["m2"]}}]);
    app["spec"]["workflow"]["steps"] = json!([
        {"name": "one", "type": "deploy", "properties": {"policies": ["first"]}},
        {"name": "go", "type": "deploy", "properties": {"auto": false, "policies": ["where"]}}]);
    fleet.apply("hub", &app).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait("web", |app| message(app).contains("publishVersion")).await?;
    fleet.approve(&waiting).await?;
    fleet.wait_phase("web", "running").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    engine.stop().await?;
    Ok(())
}

/// Drift is repaired to the revision that was delivered, also while a gate waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_while_suspended_is_repaired_to_what_was_delivered() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &gated(&[CONFIG], &["m1"])).await?;
    let first = fleet.wait_phase("web", "workflowSuspending").await?;
    fleet.approve(&first).await?;
    fleet.wait_run("web", 1, "running").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run("web", 2, "workflowSuspending").await?;
    let edit = json!({"data": {"key": "by hand"}});
    fleet.merge("m1", "v1", "ConfigMap", "settings", &edit).await?;
    fleet
        .wait_object("m1", "v1", "ConfigMap", "settings", |object| {
            object.and_then(|object| object.pointer("/data/key")) == Some(&json!("1"))
        })
        .await?;
    // Deleted by hand, it comes back as it was delivered, not as the waiting revision has it.
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    fleet.resource("m1", &manifest).await?.delete("settings", &DeleteParams::default()).await?;
    fleet
        .wait_object("m1", "v1", "ConfigMap", "settings", |object| {
            object.and_then(|object| object.pointer("/data/key")) == Some(&json!("1"))
        })
        .await?;
    engine.stop().await?;
    Ok(())
}

/// Drift of what an apply-once policy names is reported and left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_once_reports_drift_and_leaves_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut app = app(&[CONFIG], &["m1"]);
    app["spec"]["policies"].as_array_mut().expect("a list").push(json!(
        {"name": "once", "type": "apply-once", "properties": {"enable": true}}));
    fleet.apply("hub", &app).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.merge("m1", "v1", "ConfigMap", "settings", &json!({"data": {"key": "by hand"}})).await?;
    let told = fleet.wait("web", |app| message(app).contains("apply-once")).await?;
    assert!(message(&told).contains("data.key"), "{}", message(&told));
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("by hand")));
    engine.stop().await?;
    Ok(())
}

/// An edit that renders the same starts nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_renders_the_same_starts_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let mut same = app(&[CONFIG], &["m1"]);
    same["spec"]["policies"][0]["name"] = json!("renamed");
    same["spec"]["workflow"] = json!({"steps": [
        {"name": "deploy-where", "type": "deploy", "properties": {"policies": ["renamed"]}}], "mode": {"steps": "DAG"}});
    let generation = fleet.apply("hub", &same).await?.metadata.generation;
    let after = fleet
        .wait("web", |app| app.status.as_ref().map(|status| status.observed_generation) == generation)
        .await?;
    assert_eq!(after.status.and_then(|s| s.latest_revision).map(|r| r.revision), Some(1));
    engine.stop().await?;
    Ok(())
}

/// A gate that is opened by setting `status.workflow.suspend` to false, as other tools do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspend_cleared_by_hand_opens_a_plain_gate_and_is_recorded() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &gated(&[CONFIG], &["m1"])).await?;
    fleet.wait_phase("web", "workflowSuspending").await?;
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    let patch = json!({"status": {"workflow": {"suspend": false}}});
    api.patch_status("web", &Default::default(), &kube::api::Patch::Merge(&patch)).await?;
    let done = fleet.wait_phase("web", "running").await?;
    let run = fleet.run_of(&done).await?;
    let gate = run.status.and_then(|status| status.steps.into_iter().next()).and_then(|step| step.gate);
    let approval = gate.and_then(|gate| gate.approval).expect("recorded");
    assert_eq!((approval.approver.as_str(), approval.proven), ("unidentified", false));
    engine.stop().await?;
    Ok(())
}

/// An Application that renders no objects runs once and rests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_to_deliver_is_delivered_once() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let mut nothing = app(&[], &["m1"]);
    nothing["spec"]["components"] =
        json!([{"name": "main", "type": "k8s-objects", "properties": {"objects": []}}]);
    fleet.apply("hub", &nothing).await?;
    let first = fleet
        .wait("web", |app| {
            !message(app).is_empty()
                || app.status.as_ref().is_some_and(|s| s.status == fleet_api::Phase::Running)
        })
        .await?;
    // A second Application's run shows that the first was looked at again meanwhile.
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut other = app(&[CONFIG], &["m1"]);
    other["metadata"]["name"] = json!("other");
    fleet.apply("hub", &other).await?;
    fleet.wait_phase("other", "running").await?;
    let runs: Api<Run> = Api::namespaced(fleet.client("hub"), "demo");
    let runs = runs.list(&ListParams::default()).await?.items;
    let mine = runs.iter().filter(|run| run.spec.application == "web").count();
    assert!(mine <= 1, "{mine} runs; {:?}", first.status);
    engine.stop().await?;
    Ok(())
}
