//! Mistakes of other engines, tried here. Each test is named after what goes wrong there; those that other modules hold
//! are listed with these in docs/mistakes.md.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fleet_api::{Application, Approval, ApprovalSpec, Run, names};
use fleet_controller::Options;
use fleet_testkit::{Engine, Fleet, Meter};
use jiff::SignedDuration;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::small::{annotate, app, condition, config, deployment, gated, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");
const OTHER: (&str, &str, &str) = ("v1", "ConfigMap", "other");
const WEB: (&str, &str, &str) = ("apps/v1", "Deployment", "web");
pub(crate) const WIDGET: (&str, &str, &str) = ("example.com/v1", "Widget", "w");

/// Options with a clock that can be put ahead, by seconds.
fn clocked(fleet: &Fleet, ahead: &Arc<AtomicI64>) -> Options {
    let (mut options, ahead) = (fleet.options(), Arc::clone(ahead));
    options.members.request_timeout = std::time::Duration::from_millis(300);
    let clock = Arc::clone(&options.clock);
    options.clock = Arc::new(move || clock() + SignedDuration::from_secs(ahead.load(Ordering::SeqCst)));
    options
}

fn with(fleet: &Fleet, options: Options) -> Engine {
    Engine::with(fleet, Meter::new(), Meter::new(), options)
}

/// Two steps, one for each of two clusters.
fn two_steps(mut app: Value, gated: bool) -> Value {
    app["spec"]["policies"] = json!([
        {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
        {"name": "second", "type": "topology", "properties": {"clusters": ["m2"]}}]);
    let step = |name: &str, policy: &str, auto: bool| json!({"name": name, "type": "deploy", "properties": {"auto": auto, "policies": [policy]}});
    app["spec"]["workflow"] = json!({"steps": [step("one", "first", true), step("two", "second", !gated)]});
    app
}

/// What a condition says: True, False or Unknown.
fn standing<'a>(app: &'a Application, type_: &str) -> &'a str {
    condition(app, type_).map(|condition| condition.status.as_str()).unwrap_or_default()
}

/// A kind that nobody runs: who is well says the test.
pub(crate) async fn widgets(fleet: &Fleet) -> anyhow::Result<()> {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": any, "status": any}}}}]}});
    for cluster in ["hub", "m1", "m2"] {
        fleet.apply(cluster, &definition).await?;
    }
    Ok(())
}

pub(crate) fn widget(size: i64) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "demo"},
        "spec": {"size": size}})
}

/// Its controller on a member says that it has seen a generation, and how it is.
async fn judged(fleet: &Fleet, member: &str, generation: i64, ready: bool) -> anyhow::Result<()> {
    let there = |object: Option<&Value>| object.is_some();
    fleet.wait_object(member, WIDGET.0, WIDGET.1, WIDGET.2, there).await?;
    let ready = if ready { "True" } else { "False" };
    let status = json!({"status": {"observedGeneration": generation, "conditions": [
        {"type": "Ready", "status": ready, "reason": "Tested", "message": "says the test", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let api = fleet.resource(member, &widget(0)).await?;
    api.patch_status("w", &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

/// Going back and forth quickly, the garbage collection of one edit takes what the next one wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quick_edits_back_and_forth_delete_what_is_wanted() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["settings", "other", "third"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let all = app(&[CONFIG, OTHER], &["m1", "m2"]);
    fleet.apply("hub", &all).await?;
    fleet.wait_phase("web", "running").await?;
    for _ in 0..8 {
        fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
        fleet.apply("hub", &all).await?;
    }
    fleet.apply("hub", &app(&[CONFIG, OTHER, ("v1", "ConfigMap", "third")], &["m1", "m2"])).await?;
    fleet
        .wait("web", |app| {
            let Some(status) = &app.status else { return false };
            let third = status.applied_resources.iter().filter(|object| object.name == "third").count();
            status.status.as_str() == "running" && third == 2
        })
        .await?;
    for member in ["m1", "m2"] {
        for name in ["settings", "other", "third"] {
            assert_eq!(value(&fleet, member, name).await?, Some(json!("1")), "{name} is gone from {member}");
        }
    }
    engine.stop().await
}

/// A workload that can't get well, after its time: the run has failed, and that is what everything says.
async fn never_well() -> anyhow::Result<(Fleet, Engine, Application)> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let ahead = Arc::new(AtomicI64::new(0));
    let engine = with(&fleet, clocked(&fleet, &ahead));
    fleet.apply("hub", &deployment("web", "web:broken")).await?;
    fleet.apply("hub", &app(&[WEB], &["m1"])).await?;
    let target = |app: &Application| {
        let steps = app.status.iter().filter_map(|status| status.workflow.as_ref()).flat_map(|w| &w.steps);
        steps.flat_map(|step| &step.targets).any(|target| target.message.contains("ready"))
    };
    fleet.wait("web", target).await?;
    // Half an hour later; a word about anything is a turn.
    ahead.store(31 * 60, Ordering::SeqCst);
    annotate(&fleet, json!({"example.com/note": "1"})).await?;
    let failed = fleet.wait_phase("web", "workflowFailed").await?;
    Ok((fleet, engine, failed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_that_never_gets_well_is_waited_for_without_end() -> anyhow::Result<()> {
    let (fleet, engine, failed) = never_well().await?;
    for said in ["m1/demo", "not done within", "replicas", "fleetctl workflow restart web -n demo"] {
        assert!(message(&failed).contains(said), "{} doesn't say {said}", message(&failed));
    }
    // What failed stands in nobody's way.
    fleet.apply("hub", &deployment("web", "web:2")).await?;
    fleet.wait_run("web", 2, "running").await?;
    engine.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_failed_still_looks_healthy_and_ready() -> anyhow::Result<()> {
    let (_fleet, engine, failed) = never_well().await?;
    for type_ in ["Ready", "Workflow", "Healthy"] {
        assert_eq!(standing(&failed, type_), "False", "{type_}");
    }
    let services = failed.status.iter().flat_map(|status| &status.services);
    assert!(services.clone().all(|service| !service.healthy), "{:?}", services.collect::<Vec<_>>());
    engine.stop().await
}

/// Once everything is delivered nobody looks any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_forgotten_once_a_run_is_through() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    widgets(&fleet).await?;
    fleet.apply("hub", &widget(1)).await?;
    fleet.apply("hub", &app(&[WIDGET], &["m1"])).await?;
    judged(&fleet, "m1", 1, true).await?;
    fleet.wait_phase("web", "running").await?;
    judged(&fleet, "m1", 1, false).await?;
    let ill = fleet.wait_phase("web", "unhealthy").await?;
    assert_eq!((standing(&ill, "Ready"), standing(&ill, "Healthy")), ("False", "False"));
    judged(&fleet, "m1", 1, true).await?;
    let well = fleet.wait_phase("web", "running").await?;
    assert_eq!(well.status.and_then(|status| status.latest_revision).map(|r| r.revision), Some(1));
    engine.stop().await
}

/// Production goes first, since what staging says is about the revision before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_health_lets_a_later_step_go_first() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    widgets(&fleet).await?;
    fleet.apply("hub", &widget(1)).await?;
    fleet.apply("hub", &two_steps(app(&[WIDGET], &["m1"]), false)).await?;
    for member in ["m1", "m2"] {
        judged(&fleet, member, 1, true).await?;
    }
    fleet.wait_run("web", 1, "running").await?;
    fleet.apply("hub", &widget(2)).await?;
    let size = |object: Option<&Value>| object.and_then(|o| o.pointer("/spec/size")) == Some(&json!(2));
    fleet.wait_object("m1", WIDGET.0, WIDGET.1, WIDGET.2, size).await?;
    // It still says that it is well: of the generation before. Saying so again changes nothing.
    judged(&fleet, "m1", 1, true).await?;
    let waits = fleet.wait("web", |app| message(app).contains("has seen generation 1 of 2")).await?;
    assert!(message(&waits).contains("m1"), "{}", message(&waits));
    let size_of = async |member: &str| -> anyhow::Result<Option<Value>> {
        let there = fleet.get(member, WIDGET.0, WIDGET.1, WIDGET.2).await?;
        Ok(there.and_then(|object| object.pointer("/spec/size").cloned()))
    };
    assert_eq!(size_of("m2").await?, Some(json!(1)), "the second step went on");
    judged(&fleet, "m1", 2, true).await?;
    fleet.wait_object("m2", WIDGET.0, WIDGET.1, WIDGET.2, size).await?;
    judged(&fleet, "m2", 2, true).await?;
    fleet.wait_run("web", 2, "running").await?;
    engine.stop().await
}

/// A component that was taken out is shown for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_out_stays_in_the_status() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["settings", "other"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    let mut manifest = app(&[CONFIG], &["m1"]);
    let other = json!({"name": "extra", "type": "ref-objects", "properties": {"objects": [
        {"apiVersion": OTHER.0, "kind": OTHER.1, "name": OTHER.2}]}});
    manifest["spec"]["components"].as_array_mut().expect("a list").push(other);
    fleet.apply("hub", &manifest).await?;
    let shown = |app: &Application| {
        let status = app.status.clone().unwrap_or_default();
        let services = status.services.iter().any(|service| service.name == "extra");
        (services, status.applied_resources.iter().any(|object| object.name == "other"))
    };
    let both = fleet.wait_run("web", 1, "running").await?;
    assert_eq!(shown(&both), (true, true));
    manifest["spec"]["components"].as_array_mut().expect("a list").truncate(1);
    fleet.apply("hub", &manifest).await?;
    let one = fleet.wait_run("web", 2, "running").await?;
    assert_eq!(shown(&one), (false, false));
    engine.stop().await
}

/// An edit of a policy that many share is everywhere at once, past steps and gates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_a_policy_reaches_all_clusters_at_once() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    let policy = |side: &str| {
        json!({"apiVersion": "core.oam.dev/v1alpha1", "kind": "Policy",
        "metadata": {"name": "differs", "namespace": "demo"}, "type": "override", "properties": {"components": [
            {"name": "main", "traits": [{"type": "labels", "properties": {"side": side}}]}]}})
    };
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("a")).await?;
    let mut manifest = two_steps(app(&[CONFIG], &["m1"]), true);
    for (step, topology) in [(0, "first"), (1, "second")] {
        manifest["spec"]["workflow"]["steps"][step]["properties"]["policies"] = json!([topology, "differs"]);
    }
    fleet.apply("hub", &manifest).await?;
    let waiting = fleet.wait_run("web", 1, "workflowSuspending").await?;
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 1, "running").await?;
    fleet.apply("hub", &policy("b")).await?;
    let waiting = fleet.wait_run("web", 2, "workflowSuspending").await?;
    let side = async |member: &str| -> anyhow::Result<Option<Value>> {
        let there = fleet.get(member, CONFIG.0, CONFIG.1, CONFIG.2).await?;
        Ok(there.and_then(|object| object.pointer("/metadata/labels/side").cloned()))
    };
    assert_eq!((side("m1").await?, side("m2").await?), (Some(json!("b")), Some(json!("a"))));
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert_eq!(side("m2").await?, Some(json!("b")));
    engine.stop().await
}

/// What a person has ended is tried again by the next restart, or the next edit of a label.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_has_ended_begins_again_by_itself() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &gated(&[CONFIG], &["m1"])).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    annotate(&fleet, json!({names::TERMINATE: fleet.run_of(&waiting).await?.name_any()})).await?;
    fleet.wait_phase("web", "workflowTerminated").await?;
    engine.kill().await;
    let engine = Engine::start(&fleet);
    annotate(&fleet, json!({"example.com/note": "1", names::TERMINATE: null})).await?;
    // Somebody else's run, begun later, is through by now.
    let mut second = app(&[OTHER], &["m1"]);
    second["metadata"]["name"] = json!("second");
    fleet.apply("hub", &config("other", "1")).await?;
    fleet.apply("hub", &second).await?;
    fleet.wait_phase("second", "running").await?;
    let runs = Api::<Run>::namespaced(fleet.client("hub"), "demo").list(&Default::default()).await?;
    assert_eq!(runs.iter().filter(|run| run.spec.application == "web").count(), 1);
    fleet.wait_run("web", 1, "workflowTerminated").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    engine.stop().await
}

/// A member that never comes back keeps an Application from being deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_gone_for_good_keeps_a_deletion_waiting() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let ahead = Arc::new(AtomicI64::new(0));
    let engine = with(&fleet, clocked(&fleet, &ahead));
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1", "m2"])).await?;
    fleet.wait_phase("web", "running").await?;
    fleet.api().set_reachable("m2", false);
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    api.delete("web", &DeleteParams::default()).await?;
    let waiting = fleet.wait("web", |app| message(app).contains("doesn't answer")).await?;
    assert!(message(&waiting).contains("--force"), "{}", message(&waiting));
    fleet.wait_object("m1", CONFIG.0, CONFIG.1, CONFIG.2, |object| object.is_none()).await?;
    engine.kill().await;
    ahead.store(11 * 60, Ordering::SeqCst);
    let engine = with(&fleet, clocked(&fleet, &ahead));
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    let entries = crate::record::recorded(&fleet, "web", "ApplicationDeleted", 1).await?;
    let said = &entries.last().expect("an entry").message;
    assert!(said.contains("owned by nobody"), "{said}");
    engine.stop().await
}

/// A policy about what is collected counts only for what comes after it, and what it kept is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_policy_about_collection_forgets_what_is_there() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    for name in ["settings", "other"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    fleet.apply("hub", &app(&[CONFIG, OTHER], &["m1"])).await?;
    fleet.wait_run("web", 1, "running").await?;
    // The same edit takes the object out and says that what is taken out stays.
    let mut keeps = app(&[CONFIG], &["m1"]);
    keeps["spec"]["policies"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"name": "keep", "type": "garbage-collect", "properties": {"keepLegacyResource": true}}));
    fleet.apply("hub", &keeps).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert!(value(&fleet, "m1", "other").await?.is_some());
    // Without the policy it goes.
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_run("web", 3, "running").await?;
    assert_eq!(value(&fleet, "m1", "other").await?, None);
    engine.stop().await
}

/// Two traits of one type: the second takes the place of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_trait_of_a_type_takes_the_place_of_the_first() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut manifest = app(&[CONFIG], &["m1"]);
    let labels = |key: &str| json!({"type": "labels", "properties": {key: "yes"}});
    manifest["spec"]["components"][0]["traits"] = json!([labels("a"), labels("b")]);
    fleet.apply("hub", &manifest).await?;
    fleet.wait_phase("web", "running").await?;
    let there = fleet.get("m1", CONFIG.0, CONFIG.1, CONFIG.2).await?.expect("delivered");
    for key in ["a", "b"] {
        assert_eq!(there["metadata"]["labels"][key], json!("yes"), "{key}");
    }
    engine.stop().await
}

/// A step waits without end for a value that a step before it, which was passed over or failed to, never made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_never_made_is_waited_for_without_end() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let cases = [
        (
            json!({"if": "context.appLabels.?tier.orValue(\"none\") == \"gold\"",
                "outputs": [{"name": "place", "valueFrom": "output.clusters[0]"}]}),
            ["step ask", "takes \"place\" from step \"one\"", "give the step an `if`"],
        ),
        (
            json!({"outputs": [{"name": "place", "valueFrom": "output.clusters[7]"}]}),
            ["step one", "outputs: place", "fleetctl workflow restart"],
        ),
    ];
    for (fields, words) in cases {
        let mut manifest = two_steps(app(&[CONFIG], &["m1"]), false);
        for (field, value) in fields.as_object().expect("fields") {
            manifest["spec"]["workflow"]["steps"][0][field] = value.clone();
        }
        let ask = json!({"name": "ask", "type": "suspend", "inputs": [{"from": "place", "parameterKey": "message"}]});
        manifest["spec"]["workflow"]["steps"].as_array_mut().expect("a list").insert(1, ask);
        fleet.apply("hub", &manifest).await?;
        let failed = fleet
            .wait("web", |app| message(app).contains(words[0]) && message(app).contains(words[1]))
            .await?;
        assert_eq!(failed.status.as_ref().map(|status| status.status.as_str()), Some("workflowFailed"));
        assert!(
            message(&failed).contains(words[2]) && !message(&failed).contains('\n'),
            "{}",
            message(&failed)
        );
        assert_eq!(value(&fleet, "m2", "settings").await?, None);
    }
    engine.stop().await
}

/// A word about a step counts for whatever stands in its place after it was renamed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_of_a_step_that_was_renamed_counts_for_its_successor() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    let mut manifest = gated(&[CONFIG], &["m1"]);
    fleet.apply("hub", &manifest).await?;
    let before = fleet.wait_run("web", 1, "workflowSuspending").await?;
    manifest["spec"]["workflow"]["steps"][0]["name"] = json!("renamed");
    fleet.apply("hub", &manifest).await?;
    // It is another workflow, so another run; the one before has ended.
    let waiting = fleet.wait_run("web", 2, "workflowSuspending").await?;
    let run = fleet.run_of(&waiting).await?;
    let gate = run.status.iter().flat_map(|status| &status.steps).find_map(|step| step.shut_gate());
    let plan_hash = gate.map(|gate| gate.plan_hash.clone()).expect("a gate waits");
    let old_run = fleet.run_of(&before).await?.name_any();
    let api: Api<Approval> = Api::namespaced(fleet.client_of("tester", &["system:masters"]), "demo");
    for (name, run) in [("old-run", old_run), ("old-step", run.name_any())] {
        let spec = ApprovalSpec {
            application: "web".to_owned(),
            run,
            step: "go".to_owned(),
            plan_hash: plan_hash.clone(),
            approver: "tester".to_owned(),
            ..ApprovalSpec::default()
        };
        api.create(&PostParams::default(), &Approval::new(name, spec)).await?;
    }
    let refused = |run: Option<&Value>| {
        let all = run.and_then(|run| run.pointer("/status/steps/0/gate/refused")).and_then(Value::as_array);
        all.is_some_and(|all| {
            all.iter().any(|one| one["approval"] == "old-step" && one["reason"] == "OtherStep")
        })
    };
    fleet.wait_object("hub", "fleetctl.dev/v1alpha1", "Run", &run.name_any(), refused).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 2, "running").await?;
    engine.stop().await
}
