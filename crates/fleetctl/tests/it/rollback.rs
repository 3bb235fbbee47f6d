//! Back to what ran before, and what ran when.

use fleet_api::{Application, Run, RunPhase};
use fleetctl::embedded::Embedded;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::support::{CommandLine, apply, eventually, fleet_with};

async fn say(hub: &kube::Client, value: &str) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "demo"},
        "data": {"key": value}});
    apply(hub, &object).await;
}

fn manifest(clusters: &[&str]) -> Value {
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
    "metadata": {"name": "web-demo", "namespace": "demo"},
    "spec": {
        "components": [{"name": "main", "type": "ref-objects",
            "properties": {"objects": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "settings"}]}}],
        "policies": [{"name": "where", "type": "topology", "properties": {"clusters": clusters}}],
        // Where a target loses everything, nobody is asked first.
        "workflow": {"steps": [{"name": "ship", "type": "deploy",
            "properties": {"policies": ["where"], "onDelete": "Prune"}}]},
    }})
}

/// Waits until so many runs are there and the newest succeeded.
async fn through(hub: &kube::Client, number: i64) -> Vec<Run> {
    let api: Api<Run> = Api::namespaced(hub.clone(), "demo");
    eventually(&format!("run {number}"), async || {
        let runs = api.list(&ListParams::default()).await.unwrap().items;
        let done = |run: &Run| run.status.as_ref().is_some_and(|status| status.phase == RunPhase::Succeeded);
        runs.iter().any(|run| run.spec.number == number && done(run))
    })
    .await;
    let mut runs = api.list(&ListParams::default()).await.unwrap().items;
    runs.sort_by_key(|run| run.spec.number);
    runs
}

async fn started() -> (Embedded, kube::Client, CommandLine) {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    apply(&hub, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})).await;
    say(&hub, "one").await;
    let line = CommandLine::of(&fleet);
    (fleet, hub, line)
}

/// The transcript of the manual: what ran, how it differs, back again, and what ran when.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_again_by_hand() {
    let (fleet, hub, line) = started().await;
    let said = line.fails("fleetctl history web-demo -n demo", 3).await;
    assert!(said.contains("no Application \"web-demo\""), "{said}");
    apply(&hub, &manifest(&["mc-bj1", "mc-bj2"])).await;
    through(&hub, 1).await;
    let said = line.fails("fleetctl workflow rollback web-demo -n demo", 4).await;
    assert!(said.contains("no revision was completed before"), "{said}");
    say(&hub, "two").await;
    let runs = through(&hub, 2).await;
    let (first, second) = (&runs[0].spec.revision, &runs[1].spec.revision);

    let differs = line.done("fleetctl diff web-demo 1 2 -n demo").await;
    for words in [first.as_str(), "(run 2, succeeded)", "~ ConfigMap settings", "data.key: one → two"] {
        assert!(differs.contains(words), "{words} is missing in:\n{differs}");
    }
    assert_eq!(line.done(&format!("fleetctl diff web-demo {first} -n demo")).await, differs);
    let whole: Value =
        serde_json::from_str(&line.done("fleetctl diff web-demo 2 1 -n demo -o json").await).unwrap();
    assert_eq!(whole["delivered"][0]["objects"][0]["fields"][0]["to"], "one", "{whole}");

    for (to, code, words) in [
        ("2", 4, "is the one that run"),
        (second.as_str(), 4, "(run 1, succeeded)"),
        ("7", 3, "kept are: 1, 2"),
        ("web-demo-nonsense", 3, "no revision \"web-demo-nonsense\""),
    ] {
        let said = line.fails(&format!("fleetctl workflow rollback web-demo -n demo --to {to}"), code).await;
        assert!(said.contains(words), "{to}: {said}");
    }
    let back = line.run("fleetctl workflow rollback web-demo -n demo --reason CHG-7").await;
    assert_eq!((back.code, back.out.as_str()), (0, "Successfully rollback workflow: web-demo\n"), "{back:?}");
    assert!(back.err.contains(second) && back.err.contains("(run 1, succeeded)"), "{back:?}");
    let runs = through(&hub, 3).await;
    assert_eq!(&runs[2].spec.revision, first);
    eventually("the status says so", async || {
        let said = line.done("fleetctl status web-demo -n demo").await;
        said.contains("RolledBack: rolled back from") && said.contains("CHG-7")
    })
    .await;
    let said = line.fails("fleetctl workflow rollback web-demo -n demo", 4).await;
    assert!(
        said.contains("no revision was completed before") && said.contains("(run 2, succeeded)"),
        "{said}"
    );

    let history = line.done("fleetctl history web-demo -n demo").await;
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[1].starts_with("3 ") && lines[1].contains("rollback to run 1 by"), "{history}");
    assert!(lines[1].contains(": CHG-7") && lines[1].contains("2/2"), "{history}");
    assert!(lines[2].contains("edit") && lines[3].contains("creation"), "{history}");
    assert!(history.contains("mc-bj2 (cluster2-beijing)/demo"), "{history}");
    let ended = runs[1].status.as_ref().unwrap().ended_at.unwrap();
    let then = line.done(&format!("fleetctl history web-demo -n demo --at {ended}")).await;
    assert!(then.contains(second) && !then.contains(first), "{then}");
    let value: Value = serde_json::from_str(
        &line.done(&format!("fleetctl history web-demo -n demo --at {ended} -o json")).await,
    )
    .unwrap();
    assert_eq!(
        (&value["targets"][0]["revision"], &value["recordIsComplete"]),
        (&json!(second), &json!(true))
    );
    let before = line.done("fleetctl history web-demo -n demo --at 3d").await;
    assert!(before.contains("nothing was there yet"), "{before}");
    let value: Value =
        serde_json::from_str(&line.done("fleetctl history web-demo -n demo -o json").await).unwrap();
    assert_eq!(value["runs"][0]["cause"], "Rollback", "{value}");
    assert_eq!(line.run("fleetctl history web-demo -n demo --at soon").await.code, 2);

    // What is gone is still on record.
    let apps: Api<Application> = Api::namespaced(hub.clone(), "demo");
    apps.delete("web-demo", &DeleteParams::default()).await.unwrap();
    eventually("it is gone", async || apps.get_opt("web-demo").await.unwrap().is_none()).await;
    let api: Api<Run> = Api::namespaced(hub.clone(), "demo");
    eventually("its runs are gone", async || {
        api.list(&ListParams::default()).await.unwrap().items.is_empty()
    })
    .await;
    let history = line.done("fleetctl history web-demo -n demo").await;
    assert!(history.contains("rollback by") && history.contains("was deleted at"), "{history}");
    let then = line.done(&format!("fleetctl history web-demo -n demo --at {ended}")).await;
    assert!(then.contains(second) && !then.contains(first), "{then}");
    fleet.shutdown().await;
}

/// Broken: somebody waits for a rollback that can't come, or a cluster is left out that nobody meant to leave out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_left_is_said_before_anything_is_asked() {
    let (fleet, hub, line) = started().await;
    apply(&hub, &manifest(&["mc-bj1", "mc-hz1"])).await;
    through(&hub, 1).await;
    say(&hub, "two").await;
    apply(&hub, &manifest(&["mc-bj1"])).await;
    let run: Api<Run> = Api::namespaced(hub.clone(), "demo");
    eventually("one cluster is left", async || {
        let apps: Api<Application> = Api::namespaced(hub.clone(), "demo");
        let app = apps.get("web-demo").await.unwrap();
        let runs = run.list(&ListParams::default()).await.unwrap().items;
        let newest = runs.into_iter().max_by_key(|run| run.spec.number).unwrap();
        let targets = newest.status.iter().flat_map(|s| &s.steps).flat_map(|step| &step.targets);
        let reached: Vec<_> = targets.filter(|state| !state.cleared).collect();
        app.status.as_ref().is_some_and(|status| status.status == fleet_api::Phase::Running)
            && reached.len() == 1
    })
    .await;
    let clusters: Api<fleet_api::ManagedCluster> = Api::all(hub.clone());
    clusters.delete("mc-hz1", &DeleteParams::default()).await.unwrap();
    let said = line.fails("fleetctl workflow rollback web-demo -n demo --to 1", 4).await;
    assert!(said.contains("left the fleet: mc-hz1") && said.contains("--without-missing"), "{said}");
    let apps: Api<Application> = Api::namespaced(hub.clone(), "demo");
    let asked = apps.get("web-demo").await.unwrap().metadata.annotations.unwrap_or_default();
    assert!(!asked.contains_key(fleet_api::names::ROLLBACK), "nothing was asked");
    let newest = run.list(&ListParams::default()).await.unwrap().items.len() as i64;
    line.done("fleetctl workflow rollback web-demo -n demo --to 1 --without-missing").await;
    through(&hub, newest + 1).await;
    fleet.shutdown().await;
}
