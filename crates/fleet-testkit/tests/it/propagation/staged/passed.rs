//! What the distribution had where a policy with a Workflow doesn't have it any more: it leaves by a run.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{approve, carrier, carriers, flow, rolled_out, staged};
use crate::held::cordon;
use crate::propagation::{CONFIG, delete, policy, ready, wait_marks, wait_value};
use crate::small::{config, value};

/// Broken: what a policy had on a cluster that it loses when it gets its Workflow stays there for ever, or goes past the gate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stood_elsewhere_leaves_behind_the_gate() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &policy("all", CONFIG, "settings", &["one", "two"])).await?;
    wait_value(&fleet, "m2", "settings", Some("1")).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.apply("hub", &staged("all", CONFIG, "settings", &["one"])).await?;
    let application = carrier(&fleet, "all").await?;
    let waiting = fleet.wait_run(&application, 1, "workflowSuspending").await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("1")), "deletes are the last step's");
    fleet.approve(&waiting).await?;
    wait_value(&fleet, "m2", "settings", None).await?;
    ready(&fleet, "all", "Delivered").await?;
    assert_eq!(value(&fleet, "m1", "settings").await?, Some(json!("1")));
    // That it is gone is no change that somebody has to approve.
    fleet.apply("hub", &config("settings", "2")).await?;
    approve(&fleet, &application, 2).await?;
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: what is deleted before the run that was to take it along stays on members for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_before_its_first_run_leaves_by_it() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    for name in ["settings", "other"] {
        fleet.apply("hub", &config(name, "1")).await?;
    }
    fleet.apply("hub", &policy("all", CONFIG, "", &["one", "two"])).await?;
    for member in ["m1", "m2"] {
        wait_value(&fleet, member, "settings", Some("1")).await?;
        wait_value(&fleet, member, "other", Some("1")).await?;
    }
    fleet.apply("hub", &staged("all", CONFIG, "", &["two"])).await?;
    let application = carrier(&fleet, "all").await?;
    fleet.wait_run(&application, 1, "workflowSuspending").await?;
    delete(&fleet, "hub", "v1", "ConfigMap", "settings").await?;
    approve(&fleet, &application, 2).await?;
    for member in ["m1", "m2"] {
        wait_value(&fleet, member, "settings", None).await?;
    }
    wait_value(&fleet, "m1", "other", None).await?;
    ready(&fleet, "all", "Delivered").await?;
    assert_eq!(value(&fleet, "m2", "other").await?, Some(json!("1")));
    // The last one goes, and with it what carried it.
    delete(&fleet, "hub", "v1", "ConfigMap", "other").await?;
    approve(&fleet, &application, 3).await?;
    wait_value(&fleet, "m2", "other", None).await?;
    super::no_carrier(&fleet, &application).await?;
    assert!(carriers(&fleet).await?.is_empty());
    engine.stop().await?;
    Ok(())
}

/// Broken: what somebody edits on a member while the first run waits at its gate fails that run, or stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_before_the_first_run_is_drift() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    for (name, value) in [("same", "1"), ("changed", "1")] {
        fleet.apply("hub", &config(name, value)).await?;
    }
    fleet.apply("hub", &policy("all", CONFIG, "", &["one", "two"])).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.apply("hub", &staged("all", CONFIG, "", &["one", "two"])).await?;
    let application = carrier(&fleet, "all").await?;
    fleet.wait_run(&application, 1, "workflowSuspending").await?;
    for name in ["same", "changed"] {
        fleet.merge("m2", "v1", "ConfigMap", name, &json!({"data": {"key": "theirs"}})).await?;
    }
    fleet.apply("hub", &config("changed", "2")).await?;
    approve(&fleet, &application, 2).await?;
    wait_value(&fleet, "m2", "changed", Some("2")).await?;
    wait_value(&fleet, "m2", "same", Some("1")).await?;
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: the same where another policy's Application had it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_between_two_applications_is_drift() -> anyhow::Result<()> {
    let members = [("m1", "one"), ("m2", "two")];
    let all = staged("all", CONFIG, "settings", &["one", "two"]);
    let (fleet, engine, _) = rolled_out(&members, &[config("settings", "1")], &all).await?;
    let mut other = staged("other", CONFIG, "settings", &["one", "two"]);
    other["spec"]["priority"] = json!(1);
    other["spec"]["preemption"] = json!("Always");
    fleet.apply("hub", &other).await?;
    let application = carrier(&fleet, "other").await?;
    fleet.wait_run(&application, 1, "workflowSuspending").await?;
    fleet.merge("m2", "v1", "ConfigMap", "settings", &json!({"data": {"key": "theirs"}})).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    approve(&fleet, &application, 2).await?;
    wait_value(&fleet, "m2", "settings", Some("2")).await?;
    ready(&fleet, "other", "Delivered").await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: the same after a restart, of what couldn't be delivered to since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_after_it_was_handed_back_is_drift() -> anyhow::Result<()> {
    let members = [("m1", "one"), ("m2", "two")];
    let all = staged("all", CONFIG, "settings", &["one", "two"]);
    let (fleet, engine, application) = rolled_out(&members, &[config("settings", "1")], &all).await?;
    cordon(&fleet, "m2", json!("disks are swapped")).await?;
    let patch = json!({"spec": {"workflow": null}});
    fleet.merge("hub", crate::propagation::GROUP, "PropagationPolicy", "all", &patch).await?;
    super::no_carrier(&fleet, &application).await?;
    wait_marks(&fleet, 2).await?;
    fleet.merge("m2", "v1", "ConfigMap", "settings", &json!({"data": {"key": "theirs"}})).await?;
    engine.stop().await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    let engine = Engine::start(&fleet);
    cordon(&fleet, "m2", Value::Null).await?;
    wait_value(&fleet, "m2", "settings", Some("2")).await?;
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await?;
    Ok(())
}

/// Broken: what somebody edits on a member while a policy loses its Workflow is refused for ever, as another writer's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_before_it_is_handed_back_is_drift() -> anyhow::Result<()> {
    let members = [("m1", "one"), ("m2", "two")];
    let all = staged("all", CONFIG, "settings", &["one", "two"]);
    let (fleet, engine, application) = rolled_out(&members, &[config("settings", "1")], &all).await?;
    cordon(&fleet, "m2", json!("disks are swapped")).await?;
    fleet.merge("m2", "v1", "ConfigMap", "settings", &json!({"data": {"key": "theirs"}})).await?;
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run(&application, 2, "workflowSuspending").await?;
    let patch = json!({"spec": {"workflow": null}});
    fleet.merge("hub", crate::propagation::GROUP, "PropagationPolicy", "all", &patch).await?;
    super::no_carrier(&fleet, &application).await?;
    wait_value(&fleet, "m1", "settings", Some("2")).await?;
    assert_eq!(value(&fleet, "m2", "settings").await?, Some(json!("theirs")));
    cordon(&fleet, "m2", Value::Null).await?;
    wait_value(&fleet, "m2", "settings", Some("2")).await?;
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await?;
    Ok(())
}
