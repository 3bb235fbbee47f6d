//! Health of kinds that people judge by rules of their own.

use fleet_testkit::{Engine, Fleet};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::mistakes::{WIDGET, widget, widgets};
use crate::small::{app, config, message};

/// Rules, as administrators give them.
async fn rules(fleet: &Fleet, text: &str) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleetctl-system"}});
    fleet.apply("hub", &namespace).await?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "ours", "namespace": "fleetctl-system", "labels": {"fleetctl.dev/health-rules": ""}},
        "data": {"rules.yaml": text}});
    fleet.apply("hub", &map).await?;
    Ok(())
}

async fn phase(fleet: &Fleet, phase: &str) -> anyhow::Result<()> {
    fleet.wait_object("m1", WIDGET.0, WIDGET.1, WIDGET.2, |found| found.is_some()).await?;
    let api = fleet.resource("m1", &widget(0)).await?;
    let status = json!({"status": {"phase": phase}});
    api.patch_status("w", &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

const BY_PHASE: &str = "
- group: example.com
  kind: Widget
  rules:
  - {when: status.phase == 'Done', status: Healthy, reason: Done}
  - {when: status.phase == 'Broken', status: Degraded, message: 'it is ${status.phase}'}
";

/// Broken: an object of a kind with conventions of its own counts as well the moment it exists, and the next step goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_is_judged_by_the_rules_that_people_gave() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    widgets(&fleet).await?;
    rules(&fleet, BY_PHASE).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &widget(1)).await?;
    fleet.apply("hub", &app(&[WIDGET], &["m1"])).await?;
    fleet.wait("web", |app| message(app).contains("no health rule of")).await?;
    phase(&fleet, "Done").await?;
    fleet.wait_phase("web", "running").await?;
    phase(&fleet, "Broken").await?;
    let ill = fleet.wait_phase("web", "unhealthy").await?;
    assert!(message(&ill).contains("it is Broken"), "{}", message(&ill));
    // What can't be used makes nothing well.
    rules(&fleet, &BY_PHASE.replace("status.phase == 'Broken'", "status.phase = 'Broken'")).await?;
    let said = "ConfigMap fleetctl-system/ours, rules.yaml";
    fleet.wait("web", |app| message(app).contains(said) && message(app).contains("rules[1].when")).await?;
    // Without rules it is well since it is there.
    rules(&fleet, "[]").await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await
}

/// Broken: of a kind that is seen by its metadata alone the rules see nothing, or what was judged stands for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_come_later_judge_what_is_there() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[("v1", "ConfigMap", "settings")], &["m1"])).await?;
    fleet.wait_phase("web", "running").await?;
    let by_value = |value: &str| -> Value {
        json!([{"kind": "ConfigMap", "rules": [
            {"when": format!("object.data.key == '{value}'"), "status": "Healthy"},
            {"when": "has(metadata.labels) && 'app.oam.dev/name' in metadata.labels", "status": "Degraded"}]}])
    };
    rules(&fleet, &by_value("2").to_string()).await?;
    fleet.wait_phase("web", "unhealthy").await?;
    rules(&fleet, &by_value("1").to_string()).await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await
}
