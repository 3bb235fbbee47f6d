//! Steps that ask, wait and hand on, in the order that they say.

use anyhow::{Result, ensure};
use fleet_api::Phase;
use fleet_real::Fleet;
use serde_json::{Value, json};

use super::people::{NAMESPACE, held, must, open, says, succeeded};

fn application(name: &str, clusters: [&str; 2], more: Value) -> String {
    let mut steps = vec![json!({"name": "first", "type": "deploy", "properties": {"policies": ["first"]},
        "outputs": [{"name": "where", "valueFrom": "output.clusters"}]})];
    steps.extend(more.as_array().cloned().unwrap_or_default());
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "components": [{"name": "main", "type": "k8s-objects", "properties": {"objects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}]}}],
            "policies": [
                {"name": "first", "type": "topology", "properties": {"clusters": [clusters[0]]}},
                {"name": "second", "type": "topology", "properties": {"clusters": [clusters[1]]}}],
            "workflow": {"steps": steps}}})
    .to_string()
}

/// Broken: on real clusters a step that waits for an object of a member, or for another Application, doesn't see it
/// come; conditions, groups or outputs don't hold; a window lets a step begin, or its override doesn't.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_wait_ask_and_hand_on() -> Result<()> {
    let fleet = Fleet::small(2).await?;
    open(&fleet).await?;
    let mut controller = fleet.controller()?;
    let steps = json!([
        {"name": "both", "type": "step-group", "subSteps": [
            {"name": "there", "type": "wait-for", "properties": {"apiVersion": "v1", "kind": "ConfigMap",
                "name": "go", "cluster": "m1", "condition": "object.data.now == 'yes'"}},
            {"name": "not-at-all", "type": "wait-for", "if": "context.appName == 'another'",
                "properties": {"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "condition": "true"}}]},
        {"name": "second", "type": "deploy", "properties": {"policies": ["second"]}, "if": "'m1' in inputs.where",
            "inputs": [{"from": "where"}],
            "windows": {"deny": [{"cron": "* * * * *", "duration": "1h"}]}}]);
    // Whatever lies always within denied times is refused.
    fleet.apply(&fleet.hub, &application("never", ["m1", "m2"], steps.clone())).await?;
    says(&fleet, "never", "refused", |_, text| text.contains("InvalidWindow")).await?;
    let mut steps = steps;
    steps[1]["windows"] = json!({"allow": [{"cron": "0 0 29 2 *", "duration": "1m"}]});
    fleet.apply(&fleet.hub, &application("bread", ["m1", "m2"], steps)).await?;
    let after = json!([{"name": "after", "type": "depends-on-app", "properties": {"name": "bread"}},
        {"name": "second", "type": "deploy", "properties": {"policies": ["second"]}}]);
    fleet.apply(&fleet.hub, &application("butter", ["m2", "m1"], after)).await?;

    says(&fleet, "bread", "waits for the object", |phase, text| {
        phase == Phase::RunningWorkflow && text.contains("\"there\"") && text.contains("go")
    })
    .await?;
    let go = |now: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: go, namespace: {NAMESPACE}}}, data: {{now: '{now}'}}}}"
        )
    };
    fleet.apply(fleet.member("m1")?, &go("no")).await?;
    fleet.apply(fleet.member("m1")?, &go("yes")).await?;
    says(&fleet, "bread", "waits for its window", |_, text| text.contains("WaitingForWindow")).await?;
    let there = async || held(fleet.member("m2")?, "bread", "a").await;
    ensure!(there().await?.is_none(), "it begins outside its window");
    must(
        &fleet,
        "fleetctl workflow resume bread --step second --override-window --reason 'bread can not wait'",
    )?;
    let run = succeeded(&fleet, "bread", 1).await?;
    let status = run.status.unwrap_or_default();
    let passed = status.steps.iter().find(|step| step.name == "not-at-all");
    ensure!(passed.is_some_and(|step| step.reason == "ConditionFalse"), "{:?}", status.steps);
    ensure!(there().await?.is_some());

    says(&fleet, "butter", "went on after the other", |phase, _| phase == Phase::Running).await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}
