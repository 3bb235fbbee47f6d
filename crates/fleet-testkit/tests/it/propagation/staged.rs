//! Policies with a Workflow: their changes go through plans, gates and steps.

use fleet_api::{Application, RollbackRequest, names};
use fleet_controller::{Planner, World};
use fleet_testkit::{Engine, Fleet};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::{CONFIG, DEPLOYMENT, delete, policy, ready, recorded, wait_policy, wait_value};
use crate::crash::survived;
use crate::small::{config, deployment, value};

mod along;
mod divided;
mod passed;

const OAM: &str = "core.oam.dev/v1alpha1";

/// A Workflow of two steps: the canary's cluster, then, asked for, everywhere.
async fn flow(fleet: &Fleet) -> anyhow::Result<()> {
    let canary = json!({"apiVersion": OAM, "kind": "Policy", "metadata": {"name": "canary", "namespace": "demo"},
        "type": "topology", "properties": {"clusters": ["one"]}});
    fleet.apply("hub", &canary).await?;
    let flow = json!({"apiVersion": OAM, "kind": "Workflow", "metadata": {"name": "flow", "namespace": "demo"},
        "steps": [
            {"name": "first", "type": "deploy", "properties": {"policies": ["canary"]}},
            {"name": "everywhere", "type": "deploy", "properties": {"auto": false}}]});
    fleet.apply("hub", &flow).await?;
    Ok(())
}

/// A policy that rolls out by it.
fn staged(name: &str, kind: (&str, &str), object: &str, clusters: &[&str]) -> Value {
    let mut staged = policy(name, kind, object, clusters);
    staged["spec"]["workflow"] = json!({"ref": "flow"});
    staged
}

/// The Application that carries a policy, as the policy's status names it.
async fn carrier(fleet: &Fleet, name: &str) -> anyhow::Result<String> {
    let named = |policy: &Value| policy.pointer("/status/rollouts/0/application").is_some();
    let policy = wait_policy(fleet, "PropagationPolicy", name, named).await?;
    let application = policy.pointer("/status/rollouts/0/application").and_then(Value::as_str);
    Ok(application.unwrap_or_default().to_owned())
}

/// Waits until the newest run waits at its gate, and approves it.
async fn approve(fleet: &Fleet, application: &str, number: i64) -> anyhow::Result<()> {
    let waiting = fleet.wait_run(application, number, "workflowSuspending").await?;
    fleet.approve(&waiting).await?;
    Ok(())
}

/// A fleet on which a staged policy has delivered, asked for, all objects that are given; with the name of what carries them.
async fn rolled_out(
    members: &[(&str, &str)],
    objects: &[Value],
    policy: &Value,
) -> anyhow::Result<(Fleet, Engine, String)> {
    let fleet = Fleet::start(members).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    for object in objects {
        fleet.apply("hub", object).await?;
    }
    fleet.apply("hub", policy).await?;
    let name = policy.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let application = carrier(&fleet, name).await?;
    approve(&fleet, &application, 1).await?;
    ready(&fleet, name, "Delivered").await?;
    Ok((fleet, engine, application))
}

/// The Applications that policies made.
async fn carriers(fleet: &Fleet) -> anyhow::Result<Vec<Application>> {
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    Ok(api.list(&ListParams::default().labels("fleetctl.dev/stages")).await?.items)
}

async fn no_carrier(fleet: &Fleet, application: &str) -> anyhow::Result<()> {
    let gone = |application: Option<&Value>| application.is_none();
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", application, gone).await?;
    Ok(())
}

/// UID and generation of a Deployment that runs: until it does, the member's own controllers move its generation.
async fn identity(fleet: &Fleet, cluster: &str, name: &str) -> anyhow::Result<(Value, Value)> {
    let available = |object: Option<&Value>| {
        object.and_then(|o| o.pointer("/status/availableReplicas")).and_then(Value::as_i64) == Some(2)
    };
    let found =
        fleet.wait_object(cluster, "apps/v1", "Deployment", name, available).await?.unwrap_or_default();
    let of = |pointer: &str| found.pointer(pointer).cloned().unwrap_or_default();
    Ok((of("/metadata/uid"), of("/metadata/generation")))
}

/// Broken: a change goes everywhere at once, a gate opens for another change than the one that was approved, or the policy
/// doesn't tell what it waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_go_through_gates_and_steps() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &staged("all", CONFIG, "settings", &["one", "two"])).await?;
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    let waits = ready(&fleet, "all", "StagedWaiting").await?;
    let application = carrier(&fleet, "all").await?;
    let told = waits.pointer("/status/conditions/0/message").and_then(Value::as_str).unwrap_or_default();
    assert!(told.contains(&application) && told.contains("fleetctl workflow resume"), "{told}");
    assert_eq!(value(&fleet, "m2", "settings").await?, None);
    approve(&fleet, &application, 1).await?;
    wait_value(&fleet, "m2", "settings", Some("1")).await?;
    let done = ready(&fleet, "all", "Delivered").await?;
    assert_eq!(done.pointer("/status/objects/delivered"), Some(&json!(1)), "{done:#}");
    assert!(done.pointer("/status/problems").is_none(), "{done:#}");

    // An edit during a run supersedes it: the approval that comes is about the newer one.
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run(&application, 2, "workflowSuspending").await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    fleet.apply("hub", &config("settings", "3")).await?;
    wait_value(&fleet, "m1", "settings", Some("3")).await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    approve(&fleet, &application, 3).await?;
    wait_value(&fleet, "m2", "settings", Some("3")).await?;
    ready(&fleet, "all", "Delivered").await?;

    // So do deletes.
    delete(&fleet, "hub", "v1", "ConfigMap", "settings").await?;
    fleet.wait_run(&application, 4, "workflowSuspending").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("3")), "deletes are the last step's");
    approve(&fleet, &application, 4).await?;
    wait_value(&fleet, "m1", "settings", None).await?;
    wait_value(&fleet, "m2", "settings", None).await?;
    no_carrier(&fleet, &application).await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: an override, or another choice of clusters, is applied past the gate, or starts nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overrides_and_placement_roll_out_as_edits_do() -> anyhow::Result<()> {
    let (fleet, engine, application) = rolled_out(
        &[("m1", "one"), ("m2", "two"), ("m3", "three")],
        &[config("settings", "1")],
        &staged("all", CONFIG, "settings", &["one", "two"]),
    )
    .await?;
    let change = |value: &str| {
        json!({"apiVersion": super::GROUP, "kind": "OverridePolicy", "metadata": {"name": "differ", "namespace": "demo"},
            "spec": {"overrideRules": [{"targetCluster": {"clusterNames": ["two"]},
                "overriders": {"plaintext": [{"operator": "replace", "path": "/data/key", "value": value}]}}]}})
    };
    fleet.apply("hub", &change("two's")).await?;
    let waiting = fleet.wait_run(&application, 2, "workflowSuspending").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")));
    fleet.approve(&waiting).await?;
    wait_value(&fleet, "m2", "settings", Some("two's")).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));
    ready(&fleet, "all", "Delivered").await?;
    // What renders the same starts nothing; what can't be made moves nothing.
    fleet.apply("hub", &staged("all", CONFIG, "settings", &["three", "two"])).await?;
    let waiting = fleet.wait_run(&application, 3, "workflowSuspending").await?;
    assert_eq!(
        (value(&fleet, "m1", "settings").await?, value(&fleet, "m3", "settings").await?),
        (Some(json!("1")), None)
    );
    fleet.approve(&waiting).await?;
    wait_value(&fleet, "m3", "settings", Some("1")).await?;
    wait_value(&fleet, "m1", "settings", None).await?;
    ready(&fleet, "all", "Delivered").await?;
    let mut broken = change("two's");
    broken["spec"]["overrideRules"][0]["overriders"]["plaintext"][0]["path"] = json!("/data/nothing");
    fleet.apply("hub", &broken).await?;
    ready(&fleet, "all", "Failed").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    let refused =
        |policy: &Value| policy.pointer("/status/rollouts/0/reason") == Some(&json!("StagedRefused"));
    wait_policy(&fleet, "PropagationPolicy", "all", refused).await?;
    assert_eq!(value(&fleet, "m3", "settings").await?, Some(json!("1")));
    fleet.apply("hub", &change("two's")).await?;
    approve(&fleet, &application, 4).await?;
    wait_value(&fleet, "m3", "settings", Some("2")).await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: what runs is made anew, or restarted, when a policy gets a Workflow or loses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_staged_and_back_in_place() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    fleet.apply("hub", &policy("all", DEPLOYMENT, "web", &["one", "two"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    let before = [identity(&fleet, "m1", "web").await?, identity(&fleet, "m2", "web").await?];
    fleet.apply("hub", &staged("all", DEPLOYMENT, "web", &["one", "two"])).await?;
    let application = carrier(&fleet, "all").await?;
    approve(&fleet, &application, 1).await?;
    ready(&fleet, "all", "Delivered").await?;
    assert_eq!([identity(&fleet, "m1", "web").await?, identity(&fleet, "m2", "web").await?], before);
    let labelled = |object: Option<&Value>| {
        object.is_some_and(|o| o.pointer("/metadata/labels/app.oam.dev~1name").is_some())
    };
    fleet.wait_object("m2", "apps/v1", "Deployment", "web", labelled).await?;

    // In the middle of a run, too.
    fleet.apply("hub", &deployment("web", "web:2")).await?;
    fleet.wait_run(&application, 2, "workflowSuspending").await?;
    let patch = json!({"spec": {"workflow": null}});
    fleet.merge("hub", super::GROUP, "PropagationPolicy", "all", &patch).await?;
    no_carrier(&fleet, &application).await?;
    for member in ["m1", "m2"] {
        let plain = |object: Option<&Value>| {
            object.is_some_and(|o| {
                o.pointer("/spec/template/spec/containers/0/image") == Some(&json!("web:2"))
                    && o.pointer("/metadata/labels/app.oam.dev~1name").is_none()
            })
        };
        fleet.wait_object(member, "apps/v1", "Deployment", "web", plain).await?;
    }
    ready(&fleet, "all", "Delivered").await?;
    let after = [identity(&fleet, "m1", "web").await?, identity(&fleet, "m2", "web").await?];
    for ((uid, _), (before, _)) in after.iter().zip(&before) {
        assert_eq!(uid, before);
    }
    assert_eq!(carriers(&fleet).await?.len(), 0);
    engine.stop().await?;
    Ok(())
}

/// Broken: without its Workflow a policy moves things, or says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_workflow_is_told_and_nothing_moves() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &staged("all", CONFIG, "settings", &["one", "two"])).await?;
    let told = ready(&fleet, "all", "StagedRefused").await?;
    let message = told.pointer("/status/conditions/0/message").and_then(Value::as_str).unwrap_or_default();
    assert!(message.contains("WorkflowNotFound") && message.contains("\"flow\""), "{message}");
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    flow(&fleet).await?;
    wait_value(&fleet, "m1", "settings", Some("1")).await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: what can't be staged goes out unstaged, or is silently left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_staged_is_refused() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut moving = staged("moving", DEPLOYMENT, "web", &["one", "two"]);
    moving["spec"]["failover"] = json!({"application": {"decisionConditions": {"tolerationSeconds": 5}}});
    fleet.apply("hub", &moving).await?;
    let told = ready(&fleet, "moving", "Invalid").await?;
    assert_eq!(told.pointer("/status/problems/0/reason"), Some(&json!("CannotBeStaged")), "{told:#}");

    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "readers"}, "rules": []});
    fleet.apply("hub", &role).await?;
    let wide = json!({"apiVersion": super::GROUP, "kind": "ClusterPropagationPolicy", "metadata": {"name": "wide"},
        "spec": {"resourceSelectors": [{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "readers"}],
            "workflow": {"ref": "flow", "namespace": "demo"}}});
    fleet.apply("hub", &wide).await?;
    let refused =
        |policy: &Value| policy.pointer("/status/claimed/0/reason") == Some(&json!("CannotBeStaged"));
    wait_policy(&fleet, "ClusterPropagationPolicy", "wide", refused).await?;
    for member in ["m1", "m2"] {
        assert_eq!(fleet.get(member, "apps/v1", "Deployment", "web").await?, None);
        let role = fleet.get(member, "rbac.authorization.k8s.io/v1", "ClusterRole", "readers").await?;
        assert_eq!(role, None);
    }
    engine.stop().await?;
    Ok(())
}

/// Broken: a policy that is deleted leaves something behind, or takes away what is to stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_policy_leaves_as_it_says() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    for (name, prunes) in [("goes", true), ("stays", false)] {
        fleet.apply("hub", &config(name, "1")).await?;
        let mut policy = staged(name, CONFIG, name, &["one", "two"]);
        policy["spec"]["prune"] = json!(prunes);
        fleet.apply("hub", &policy).await?;
        let application = carrier(&fleet, name).await?;
        approve(&fleet, &application, 1).await?;
        ready(&fleet, name, "Delivered").await?;
    }
    let applications: Vec<String> = carriers(&fleet).await?.iter().map(|one| one.name_any()).collect();
    assert_eq!(applications.len(), 2);
    delete(&fleet, "hub", super::GROUP, "PropagationPolicy", "goes").await?;
    delete(&fleet, "hub", super::GROUP, "PropagationPolicy", "stays").await?;
    for member in ["m1", "m2"] {
        wait_value(&fleet, member, "goes", None).await?;
        let nobodys = |object: Option<&Value>| {
            object.is_some_and(|o| o.pointer("/metadata/labels/fleetctl.dev~1owner").is_none())
        };
        fleet.wait_object(member, "v1", "ConfigMap", "stays", nobodys).await?;
    }
    for application in &applications {
        no_carrier(&fleet, application).await?;
    }
    engine.stop().await?;
    Ok(())
}

/// Broken: a run moves what the mask holds, or drift there is brought to the newer revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mask_holds_in_a_run() -> anyhow::Result<()> {
    let mut policy = staged("all", CONFIG, "settings", &["one", "two"]);
    let (fleet, engine, application) =
        rolled_out(&[("m1", "one"), ("m2", "two")], &[config("settings", "1")], &policy).await?;
    policy["spec"]["mask"] = json!(["one"]);
    fleet.apply("hub", &policy).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    approve(&fleet, &application, 2).await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    ready(&fleet, "all", "StagedRunning").await?;
    fleet.apply("m2", &config("settings", "theirs")).await?;
    wait_value(&fleet, "m2", "settings", Some("1")).await?;
    policy["spec"]["mask"] = json!(["one", "two"]);
    fleet.apply("hub", &policy).await?;
    wait_value(&fleet, "m2", "settings", Some("2")).await?;
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: a person's edit of the Application, or its deletion, changes what is on members.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_is_kept_as_the_policy_says() -> anyhow::Result<()> {
    let (fleet, engine, application) = rolled_out(
        &[("m1", "one"), ("m2", "two")],
        &[deployment("web", "web:1")],
        &staged("all", DEPLOYMENT, "web", &["one", "two"]),
    )
    .await?;
    let before = [identity(&fleet, "m1", "web").await?, identity(&fleet, "m2", "web").await?];
    let kept =
        fleet.get("hub", "core.oam.dev/v1beta1", "Application", &application).await?.unwrap_or_default();
    let patch = json!({"spec": {"components": []}});
    fleet.merge("hub", "core.oam.dev/v1beta1", "Application", &application, &patch).await?;
    let restored = |app: Option<&Value>| app.is_some_and(|app| app.get("spec") == kept.get("spec"));
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", &application, restored).await?;
    delete(&fleet, "hub", "core.oam.dev/v1beta1", "Application", &application).await?;
    let uid = kept.pointer("/metadata/uid");
    let anew = |app: Option<&Value>| app.is_some_and(|app| app.pointer("/metadata/uid") != uid);
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", &application, anew).await?;
    ready(&fleet, "all", "StagedWaiting").await?;
    let waiting = fleet.wait_phase(&application, "workflowSuspending").await?;
    fleet.approve(&waiting).await?;
    ready(&fleet, "all", "Delivered").await?;
    assert_eq!([identity(&fleet, "m1", "web").await?, identity(&fleet, "m2", "web").await?], before);
    // Nobody else's Application may deliver as the distribution does.
    let mut forged = kept.clone();
    forged["metadata"] = json!({"name": "forged", "namespace": "demo"});
    forged.as_object_mut().map(|forged| forged.remove("status"));
    fleet.apply("hub", &forged).await?;
    let refused = fleet.wait("forged", |app| {
        crate::small::condition(app, "Rendered")
            .is_some_and(|condition| condition.reason == "UnknownPolicyType")
    });
    refused.await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: another policy that takes an object over loses it to the Application that carried it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_passes_to_another_policy_in_place() -> anyhow::Result<()> {
    let (fleet, engine, application) = rolled_out(
        &[("m1", "one"), ("m2", "two")],
        &[deployment("web", "web:1"), deployment("other", "other:1")],
        &staged("all", DEPLOYMENT, "", &["one", "two"]),
    )
    .await?;
    let before = [identity(&fleet, "m1", "web").await?, identity(&fleet, "m2", "web").await?];
    let mut taker = policy("taker", DEPLOYMENT, "web", &["one", "two"]);
    taker["spec"]["priority"] = json!(5);
    taker["spec"]["preemption"] = json!("Always");
    fleet.apply("hub", &taker).await?;
    ready(&fleet, "taker", "Delivered").await?;
    assert_eq!([identity(&fleet, "m1", "web").await?, identity(&fleet, "m2", "web").await?], before);
    // The other object goes on by the policy that has it.
    let waiting = fleet.wait_phase(&application, "workflowSuspending").await?;
    fleet.approve(&waiting).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.apply("hub", &deployment("web", "web:2")).await?;
    for member in ["m1", "m2"] {
        let image = |object: Option<&Value>| {
            object.and_then(|o| o.pointer("/spec/template/spec/containers/0/image")) == Some(&json!("web:2"))
        };
        fleet.wait_object(member, "apps/v1", "Deployment", "web", image).await?;
    }
    engine.stop().await?;
    Ok(())
}

/// Broken: an edit that came after a mask rolls out where the mask holds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mask_that_was_set_before_an_edit_holds_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    let flow = json!({"apiVersion": OAM, "kind": "Workflow", "metadata": {"name": "flow", "namespace": "demo"},
        "steps": [{"name": "all", "type": "deploy"}]});
    fleet.apply("hub", &flow).await?;
    fleet.apply("hub", &config("settings", "0")).await?;
    let policy = staged("all", CONFIG, "settings", &["one"]);
    fleet.apply("hub", &policy).await?;
    ready(&fleet, "all", "Delivered").await?;
    let application = carrier(&fleet, "all").await?;
    for n in 1..=4 {
        let mut masked = policy.clone();
        masked["spec"]["mask"] = json!([]);
        fleet.apply("hub", &masked).await?;
        fleet.apply("hub", &config("settings", &n.to_string())).await?;
        fleet.wait_run(&application, n + 1, "runningWorkflow").await?;
        ready(&fleet, "all", "StagedRunning").await?;
        assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!((n - 1).to_string())));
        fleet.apply("hub", &policy).await?;
        wait_value(&fleet, "m1", "settings", Some(&n.to_string())).await?;
        ready(&fleet, "all", "Delivered").await?;
    }
    engine.stop().await?;
    Ok(())
}

/// Broken: a cluster-scoped policy rolls out in one namespace only, or doesn't find its Workflow; or what would run next can't be
/// shown, since the Workflow is looked for beside the objects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_scoped_policy_rolls_out_in_each_namespace() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    let mut shop = config("settings", "shop");
    shop["metadata"]["namespace"] = json!("shop");
    fleet
        .apply("hub", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}))
        .await?;
    fleet.apply("hub", &config("settings", "demo")).await?;
    let resource = kube::core::ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
    let configs = |cluster: &str| {
        Api::<kube::api::DynamicObject>::namespaced_with(fleet.client(cluster), "shop", &resource)
    };
    configs("hub").create(&Default::default(), &serde_json::from_value(shop)?).await?;
    let wide = json!({"apiVersion": super::GROUP, "kind": "ClusterPropagationPolicy", "metadata": {"name": "wide"},
        "spec": {"resourceSelectors": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "settings"}],
            "workflow": {"ref": "flow", "namespace": "demo"}}});
    fleet.apply("hub", &wide).await?;
    let wait = |policy: &Value| {
        let rollouts = policy.pointer("/status/rollouts").and_then(Value::as_array);
        rollouts.is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["reason"] == "StagedWaiting"))
    };
    wait_policy(&fleet, "ClusterPropagationPolicy", "wide", wait).await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("demo")));
    assert_eq!(configs("m1").get("settings").await?.data["data"]["key"], "shop");
    assert!(configs("m2").get_opt("settings").await?.is_none());
    engine.stop().await?;
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "shop");
    let carrier = api.list(&ListParams::default().labels("fleetctl.dev/stages")).await?.items;
    let carrier = carrier.first().map(|application| application.name_any()).unwrap_or_default();
    let mut world = World::of_hub(fleet.client("hub"), Vec::new()).await?;
    let planner = Planner::of_world(&mut world, "shop", &carrier).await?;
    assert_eq!(planner.steps(), ["first", "everywhere"]);
    Ok(())
}

/// Broken: what went back comes again by itself, or the policy says that everything is as it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_is_rolled_back() -> anyhow::Result<()> {
    let (fleet, engine, application) = rolled_out(
        &[("m1", "one"), ("m2", "two")],
        &[config("settings", "1")],
        &staged("all", CONFIG, "settings", &["one", "two"]),
    )
    .await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    approve(&fleet, &application, 2).await?;
    let done = fleet.wait_run(&application, 2, "running").await?;
    let request = RollbackRequest {
        run: fleet.run_of(&done).await?.name_any(),
        by: "ada".to_owned(),
        reason: "the shop is empty".to_owned(),
        ..RollbackRequest::default()
    };
    let text = request.write().map_err(anyhow::Error::msg)?;
    let patch = json!({"metadata": {"annotations": {names::ROLLBACK: text}}});
    fleet.merge("hub", "core.oam.dev/v1beta1", "Application", &application, &patch).await?;
    approve(&fleet, &application, 3).await?;
    wait_value(&fleet, "m2", "settings", Some("1")).await?;
    ready(&fleet, "all", "StagedBehind").await?;
    fleet.apply("hub", &config("settings", "3")).await?;
    approve(&fleet, &application, 4).await?;
    wait_value(&fleet, "m2", "settings", Some("3")).await?;
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await?;
    Ok(())
}

/// The whole life of a policy with a Workflow.
async fn life(fleet: &Fleet) -> anyhow::Result<()> {
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one", "two"])).await?;
    wait_value(fleet, "m2", "settings", Some("1")).await?;
    fleet.apply("hub", &staged("all", CONFIG, "settings", &["one", "two"])).await?;
    let application = carrier(fleet, "all").await?;
    approve(fleet, &application, 1).await?;
    fleet.wait_run(&application, 1, "running").await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    approve(fleet, &application, 2).await?;
    wait_value(fleet, "m2", "settings", Some("2")).await?;
    fleet.wait_run(&application, 2, "running").await?;
    let patch = json!({"spec": {"workflow": null}});
    fleet.merge("hub", super::GROUP, "PropagationPolicy", "all", &patch).await?;
    no_carrier(fleet, &application).await?;
    fleet.apply("hub", &config("settings", "3")).await?;
    for member in ["m1", "m2"] {
        wait_value(fleet, member, "settings", Some("3")).await?;
    }
    ready(fleet, "all", "Delivered").await?;
    delete(fleet, "hub", "v1", "ConfigMap", "settings").await?;
    for member in ["m1", "m2"] {
        wait_value(fleet, member, "settings", None).await?;
    }
    Ok(())
}

/// Broken: a controller that dies between two writes leaves an object that nobody owns, one that two act on, or a policy that
/// waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_any_two_writes_a_staged_policy_ends_the_same() -> anyhow::Result<()> {
    for n in 1..=40 {
        let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
        flow(&fleet).await?;
        let engine = Engine::killed_at(&fleet, n, n % 2 == 0);
        survived(&fleet, engine, life(&fleet)).await.map_err(|error| error.context(format!("write {n}")))?;
        let left = recorded(&fleet).await?;
        assert!(left.is_empty() || carriers(&fleet).await?.is_empty(), "after write {n}: {left:?}");
        fleet.stop().await;
    }
    Ok(())
}

/// Broken: going back brings what another policy distributes by now, and the two put each other right for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_policy_has_by_now_is_not_brought_back() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    let tier = |name: &str, tier: &str| {
        let mut object = config(name, "1");
        object["metadata"]["labels"] = json!({"tier": tier});
        object
    };
    for name in ["stays", "moves"] {
        fleet.apply("hub", &tier(name, "staged")).await?;
    }
    let mut all = staged("all", CONFIG, "", &["one", "two"]);
    all["spec"]["resourceSelectors"] = json!([{"apiVersion": "v1", "kind": "ConfigMap",
        "labelSelector": {"matchLabels": {"tier": "staged"}}}]);
    fleet.apply("hub", &all).await?;
    let application = carrier(&fleet, "all").await?;
    approve(&fleet, &application, 1).await?;
    ready(&fleet, "all", "Delivered").await?;
    // First nobody selects it, and it goes; then another policy does.
    fleet.apply("hub", &tier("moves", "none")).await?;
    approve(&fleet, &application, 2).await?;
    for cluster in ["m1", "m2"] {
        wait_value(&fleet, cluster, "moves", None).await?;
    }
    let done = fleet.wait_run(&application, 2, "running").await?;
    // As long as the policy knows of it, another one that takes it has the Application made anew.
    let run = fleet.run_of(&done).await?.name_any();
    let left = |policy: &Value| {
        super::reason_of(policy) == "Delivered"
            && policy.pointer("/status/rollouts/0/run") == Some(&json!(run))
            && policy.pointer("/status/claimed").and_then(Value::as_array).map(Vec::len) == Some(1)
    };
    wait_policy(&fleet, "PropagationPolicy", "all", left).await?;
    fleet.apply("hub", &policy("other", CONFIG, "moves", &["one"])).await?;
    wait_value(&fleet, "m1", "moves", Some("1")).await?;
    ready(&fleet, "other", "Delivered").await?;
    let request = RollbackRequest {
        run,
        by: "ada".to_owned(),
        reason: "it was better before".to_owned(),
        ..RollbackRequest::default()
    };
    let text = request.write().map_err(anyhow::Error::msg)?;
    let patch = json!({"metadata": {"annotations": {names::ROLLBACK: text}}});
    fleet.merge("hub", "core.oam.dev/v1beta1", "Application", &application, &patch).await?;
    let told = |app: Option<&Value>| {
        app.is_some_and(|app| app["status"].to_string().contains("DistributedByAnother"))
    };
    let app = fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", &application, told).await?;
    let said = app.unwrap_or_default()["status"].to_string();
    assert!(said.contains("moves (by PropagationPolicy other)"), "{said}");
    assert_eq!(value(&fleet, "m2", "moves").await?, None, "the other policy has it on one cluster only");
    ready(&fleet, "other", "Delivered").await?;
    engine.stop().await
}

/// Broken: a namespace that was made by a run stays once nothing is in it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_a_run_made_goes() -> anyhow::Result<()> {
    let all = staged("all", CONFIG, "settings", &["one", "two"]);
    let members = [("m1", "one"), ("m2", "two")];
    let (fleet, engine, application) = rolled_out(&members, &[config("settings", "1")], &all).await?;
    delete(&fleet, "hub", "v1", "ConfigMap", "settings").await?;
    approve(&fleet, &application, 2).await?;
    for cluster in ["m1", "m2"] {
        fleet.wait_object(cluster, "v1", "Namespace", "demo", |object| object.is_none()).await?;
    }
    engine.stop().await
}

/// Broken: an Application that carries nothing any more stays, since a cluster that left had the last of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cluster_that_left_had_is_carried_by_nothing() -> anyhow::Result<()> {
    let mut all = staged("all", CONFIG, "settings", &[]);
    all["spec"]["placement"]["clusterAffinity"] = json!({"labelSelector": {"matchLabels": {"tier": "gold"}}});
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    const FLEET: &str = "cluster.open-cluster-management.io/v1";
    let gold = json!({"metadata": {"labels": {"tier": "gold"}}});
    fleet.merge("hub", FLEET, "ManagedCluster", "m1", &gold).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &all).await?;
    let application = carrier(&fleet, "all").await?;
    approve(&fleet, &application, 1).await?;
    ready(&fleet, "all", "Delivered").await?;
    delete(&fleet, "hub", "v1", "ConfigMap", "settings").await?;
    fleet.wait_run(&application, 2, "workflowSuspending").await?;
    delete(&fleet, "hub", FLEET, "ManagedCluster", "m1").await?;
    no_carrier(&fleet, &application).await?;
    engine.stop().await
}
