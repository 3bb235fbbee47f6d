//! More is wanted than may run: newer revisions, other Applications, one object of two.

use anyhow::{Context as _, Result, ensure};
use fleet_api::{Phase, RunPhase, names};
use fleet_real::Life;
use serde_json::{Value, json};

use super::people::{NAMESPACE, held, installed, json, must, newest, run, says, succeeded, suffices};

/// A ConfigMap of its own name for one member, by these steps.
fn application(name: &str, value: &str, member: &str, steps: Value) -> Value {
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "components": [{"name": "main", "type": "k8s-objects", "properties": {"objects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}]}}],
            "policies": [{"name": "where", "type": "topology", "properties": {"clusters": [member]}}],
            "workflow": {"steps": steps}}})
}

fn asking(name: &str, value: &str, rule: &str) -> String {
    let steps =
        json!([{"name": "go", "type": "deploy", "properties": {"policies": ["where"], "auto": false}}]);
    let mut app = application(name, value, "m2", steps);
    app["metadata"]["annotations"] = json!({names::ON_NEW_REVISION: rule});
    app.to_string()
}

fn soaking(name: &str, soak: &str) -> String {
    let steps = json!([{"name": "go", "type": "deploy", "timeout": "2h",
        "properties": {"policies": ["where"], "soak": soak}}]);
    application(name, "1", "m1", steps).to_string()
}

fn waits_for_people(phase: Phase, _: &str) -> bool {
    phase == Phase::WorkflowSuspending
}

/// Broken: on a real hub a newer revision voids what people look at where it should wait, or waits where it should take
/// over; two runs act on one cluster; or nobody is told who has the object before it is delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_when_more_is_wanted() -> Result<()> {
    let (fleet, mut controller) = installed(Life::Bare, 2, "controller.oneRunPerCluster=true").await?;
    for (name, rule) in [("patient", "Queue"), ("pushy", "Supersede")] {
        fleet.apply(&fleet.hub, &asking(name, "1", rule)).await?;
        says(&fleet, name, "waits for people", waits_for_people).await?;
    }
    let before = json(&fleet, "fleetctl plan pushy -o json")?;
    let before = before["planHash"].as_str().context("a plan")?.to_owned();

    // One waits for what people look at, one takes over: what was looked at there counts no more.
    fleet.apply(&fleet.hub, &asking("patient", "2", "Queue")).await?;
    fleet.apply(&fleet.hub, &asking("pushy", "2", "Supersede")).await?;
    newest(&fleet, "pushy", "superseded", 1, |run| {
        run.status.as_ref().is_some_and(|status| status.phase == RunPhase::Superseded)
    })
    .await?;
    newest(&fleet, "pushy", "asks anew", 2, |run| {
        run.status.as_ref().is_some_and(|status| status.phase == RunPhase::Suspending)
    })
    .await?;
    says(&fleet, "pushy", "asks anew", |phase, text| {
        phase == Phase::WorkflowSuspending && text.contains("-2/go")
    })
    .await?;
    let said = run(&fleet, &format!("fleetctl workflow resume pushy --plan {before}"))?;
    ensure!(said.code == 4 && said.all.contains("another one now"), "{} ({})", said.all, said.code);
    says(&fleet, "patient", "something waits", |phase, text| {
        phase == Phase::WorkflowSuspending && text.contains("\"Queued\"")
    })
    .await?;
    must(&fleet, "fleetctl workflow resume patient")?;
    succeeded(&fleet, "patient", 1).await?;
    ensure!(held(fleet.member("m2")?, "patient", "value").await?.as_deref() == Some("1"));
    newest(&fleet, "patient", "what waited asks", 2, |run| {
        run.status.as_ref().is_some_and(|status| status.phase == RunPhase::Suspending)
    })
    .await?;

    // One run on a cluster at a time, and whoever waits says for whom.
    fleet.apply(&fleet.hub, &soaking("slow", "1h")).await?;
    says(&fleet, "slow", "soaks", |_, text| text.contains("\"Soaking\"")).await?;
    fleet.apply(&fleet.hub, &soaking("next", "0s")).await?;
    says(&fleet, "next", "waits for the cluster", |phase, text| {
        phase == Phase::RunningWorkflow && text.contains("WaitingForCluster") && text.contains("slow")
    })
    .await?;
    ensure!(held(fleet.member("m1")?, "next", "value").await?.is_none(), "it didn't wait");
    must(&fleet, "fleetctl workflow terminate slow")?;
    says(&fleet, "next", "has its turn", |phase, _| phase == Phase::Running).await?;

    // Two want one object: told before, and refused.
    let mut thief = application(
        "thief",
        "mine",
        "m1",
        json!([{"name": "go", "type": "deploy", "properties": {"policies": ["where"]}}]),
    );
    thief["spec"]["components"][0]["properties"]["objects"][0]["metadata"]["name"] = json!("next");
    let path = fleet.room().path().join("thief.yaml");
    std::fs::write(&path, thief.to_string())?;
    let planned = json(&fleet, &format!("fleetctl plan -f {} -o json", path.display()))?;
    let hints = planned.pointer("/applications/0/hints").and_then(Value::as_array).context("hints")?;
    let claimed = hints.iter().find(|hint| hint["code"] == "ClaimedByAnother");
    ensure!(
        claimed.is_some_and(|hint| hint["severity"] == "danger" && hint.to_string().contains("shop/next")),
        "{hints:?}"
    );
    fleet.apply(&fleet.hub, &thief.to_string()).await?;
    says(&fleet, "thief", "refused", |phase, text| {
        phase == Phase::WorkflowFailed && text.contains("shop/next")
    })
    .await?;
    ensure!(held(fleet.member("m1")?, "next", "value").await?.as_deref() == Some("1"));
    controller.stop().await?;
    suffices(&fleet, "")?;
    fleet.end();
    Ok(())
}
