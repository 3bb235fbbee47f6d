//! Back again, by a person's word and by itself; and what ran when.

use anyhow::{Context as _, Result, ensure};
use fleet_api::Phase;
use fleet_real::{Fleet, Life};
use serde_json::{Value, json};

use super::people::{NAMESPACE, held, installed, json, must, says, succeeded, suffices};
use super::waves::refuse_sour;

fn application(taste: &str) -> String {
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": "stew", "namespace": NAMESPACE},
        "spec": {
            "components": [{"name": "main", "type": "k8s-objects", "properties": {"objects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stew"}, "data": {"taste": taste}},
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("made-{taste}")}}]}}],
            "policies": [
                {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
                {"name": "second", "type": "topology", "properties": {"clusters": ["m2"]}}],
            "workflow": {"steps": [
                {"name": "first", "type": "deploy", "properties": {"policies": ["first"]}},
                {"name": "second", "type": "deploy", "properties": {"policies": ["second"], "onFailure": "Rollback"}}]}}})
    .to_string()
}

async fn tastes(fleet: &Fleet, wanted: &str) -> Result<()> {
    for member in &fleet.members {
        let taste = held(member, "stew", "taste").await?;
        ensure!(taste.as_deref() == Some(wanted), "{} has {taste:?}, not {wanted}", member.name());
    }
    Ok(())
}

/// Broken: on real clusters what is gone back to doesn't come whole, what came since stays, a step that fails leaves half of
/// the fleet with what failed, or nobody can tell afterwards what ran when.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_before_comes_back() -> Result<()> {
    let (fleet, mut controller) = installed(Life::Bare, 2, "controller.keptRevisions=5").await?;
    for (number, taste) in [(1, "sweet"), (2, "salty")] {
        fleet.apply(&fleet.hub, &application(taste)).await?;
        succeeded(&fleet, "stew", number).await?;
    }
    tastes(&fleet, "salty").await?;
    let second = succeeded(&fleet, "stew", 2).await?;
    let then = second.status.and_then(|status| status.ended_at).context("it ended")?;
    let differs = must(&fleet, "fleetctl diff stew 1 2")?;
    for what in ["data.taste", "sweet", "salty", "made-sweet", "made-salty"] {
        ensure!(differs.contains(what), "no {what} in\n{differs}");
    }

    // By a person's word: what only the newer one had goes.
    must(&fleet, "fleetctl workflow rollback stew --reason 'too much salt'")?;
    let back = succeeded(&fleet, "stew", 3).await?;
    let rollback = back.spec.rollback.context("it says that it goes back")?;
    ensure!(!rollback.automatic && rollback.reason == "too much salt", "{rollback:?}");
    says(&fleet, "stew", "rolled back", |phase, text| {
        phase == Phase::Running && text.contains("RolledBack") && text.contains("too much salt")
    })
    .await?;
    tastes(&fleet, "sweet").await?;
    for member in ["m1", "m2"] {
        let there = must(&fleet, &format!("kubectl --context {member} get configmaps -o name"))?;
        ensure!(there.contains("made-sweet") && !there.contains("made-salty"), "{member}: {there}");
    }

    // By itself: the second member refuses, and the first one goes back, too.
    refuse_sour(&fleet, "m2").await?;
    fleet.apply(&fleet.hub, &application("sour")).await?;
    let back = succeeded(&fleet, "stew", 5).await?;
    let rollback = back.spec.rollback.context("it says that it goes back")?;
    ensure!(rollback.automatic, "{rollback:?}");
    says(&fleet, "stew", "rolled back", |phase, text| phase == Phase::Running && text.contains("RolledBack"))
        .await?;
    tastes(&fleet, "sweet").await?;

    // What ran when.
    let history = json(&fleet, "fleetctl history stew -o json")?;
    let runs = history["runs"].as_array().cloned().unwrap_or_default();
    let causes: Vec<&str> = runs.iter().filter_map(|run| run["cause"].as_str()).collect();
    ensure!(
        causes == ["AutomaticRollback", "RevisionChanged", "Rollback", "RevisionChanged", "Created"],
        "{history}"
    );
    let of_run = |run: usize| runs.get(run).and_then(|run| run["revision"].as_str()).unwrap_or_default();
    let at = json(&fleet, &format!("fleetctl history stew --at {then} -o json"))?;
    let had = |value: &Value| -> Vec<String> {
        let targets = value["targets"].as_array().into_iter().flatten();
        targets.filter_map(|target| target["revision"].as_str()).map(str::to_owned).collect()
    };
    ensure!(had(&at) == [of_run(3), of_run(3)], "{at}");
    ensure!(had(&history) == [of_run(4), of_run(4)] && of_run(4) != of_run(3), "{history}");
    controller.stop().await?;
    suffices(&fleet, "")?;
    fleet.end();
    Ok(())
}
