//! Replicas that a policy with a Workflow divides.

use fleet_api::Target;
use fleet_controller::{Planner, World};
use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{approve, carrier, carriers, flow, no_carrier, rolled_out, staged};
use crate::propagation::{DEPLOYMENT, delete, policy, ready, wait_policy};
use crate::small::deployment;

fn web(replicas: u64) -> Value {
    let mut web = deployment("web", "web:1");
    web["spec"]["replicas"] = json!(replicas);
    web
}

/// A policy with a Workflow that divides by weights; all the same where there are none.
fn divided(clusters: &[&str], weights: &[(&str, u64)]) -> Value {
    let mut divided = staged("all", DEPLOYMENT, "web", clusters);
    let list: Vec<Value> = weights
        .iter()
        .map(|(cluster, weight)| json!({"targetCluster": {"clusterNames": [cluster]}, "weight": weight}))
        .collect();
    divided["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided",
        "replicaDivisionPreference": "Weighted", "weightPreference": {"staticWeightList": list}});
    divided
}

async fn share(fleet: &Fleet, member: &str) -> anyhow::Result<Option<u64>> {
    let found = fleet.get(member, "apps/v1", "Deployment", "web").await?;
    Ok(found.and_then(|found| found.pointer("/spec/replicas")?.as_u64()))
}

async fn wait_share(fleet: &Fleet, member: &str, wanted: Option<u64>) -> anyhow::Result<()> {
    let has = |object: Option<&Value>| object.and_then(|object| object.pointer("/spec/replicas")?.as_u64());
    fleet.wait_object(member, "apps/v1", "Deployment", "web", |object| has(object) == wanted).await?;
    Ok(())
}

/// What the plan of a step has as replicas of each cluster.
async fn planned(fleet: &Fleet, application: &str, clusters: &[&str]) -> anyhow::Result<Vec<Option<u64>>> {
    let mut world = World::of_hub(fleet.client("hub"), Vec::new()).await?;
    let planner = Planner::of_world(&mut world, "demo", application).await?;
    let planned = |cluster: &&str| {
        let desired = planner.desired("everywhere", &Target::new(*cluster, "demo"));
        desired.iter().find_map(|desired| desired.object.pointer("/spec/replicas")?.as_u64())
    };
    Ok(clusters.iter().map(planned).collect())
}

/// Broken: each cluster runs all replicas, what moves between clusters moves past the gate, or the plan and the policy show
/// other replicas than those that are delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_roll_out_as_edits_do() -> anyhow::Result<()> {
    let members = [("m1", "one"), ("m2", "two"), ("m3", "three")];
    let (fleet, engine, application) =
        rolled_out(&members, &[web(4)], &divided(&["one", "two"], &[])).await?;
    assert_eq!((share(&fleet, "m1").await?, share(&fleet, "m2").await?), (Some(2), Some(2)));

    // Scaled on the hub.
    fleet.apply("hub", &web(8)).await?;
    let waiting = fleet.wait_run(&application, 2, "workflowSuspending").await?;
    wait_share(&fleet, "m1", Some(4)).await?;
    assert_eq!(share(&fleet, "m2").await?, Some(2), "the gate isn't open");
    assert_eq!(planned(&fleet, &application, &["m1", "m2"]).await?, [Some(4), Some(4)]);
    fleet.approve(&waiting).await?;
    wait_share(&fleet, "m2", Some(4)).await?;
    ready(&fleet, "all", "Delivered").await?;

    // Other clusters and other weights.
    let thirds = divided(&["one", "two", "three"], &[("one", 2), ("two", 1), ("three", 1)]);
    fleet.apply("hub", &thirds).await?;
    let waiting = fleet.wait_run(&application, 3, "workflowSuspending").await?;
    assert_eq!((share(&fleet, "m2").await?, share(&fleet, "m3").await?), (Some(4), None));
    let told = wait_policy(&fleet, "PropagationPolicy", "all", |policy| {
        policy.pointer("/status/claimed/0/places/2/replicas") == Some(&json!(2))
    });
    let told = told.await?;
    assert_eq!(told.pointer("/status/claimed/0/places/2/reason"), Some(&json!("Staged")), "{told:#}");
    fleet.approve(&waiting).await?;
    for (member, wanted) in [("m1", 4), ("m2", 2), ("m3", 2)] {
        wait_share(&fleet, member, Some(wanted)).await?;
    }
    ready(&fleet, "all", "Delivered").await?;

    // One that none names gets nothing: its copy is taken away behind the gate.
    fleet.apply("hub", &divided(&["one", "two", "three"], &[("one", 1), ("three", 1)])).await?;
    let waiting = fleet.wait_run(&application, 4, "workflowSuspending").await?;
    assert_eq!((share(&fleet, "m2").await?, share(&fleet, "m3").await?), (Some(2), Some(2)));
    fleet.approve(&waiting).await?;
    for (member, wanted) in [("m1", Some(4)), ("m2", None), ("m3", Some(4))] {
        wait_share(&fleet, member, wanted).await?;
    }
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await
}

/// Broken: without its Workflow, in the middle of a run, each cluster is told all replicas, or what is divided stays as the
/// run left it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_pass_to_the_distribution_and_back() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    fleet.apply("hub", &web(4)).await?;
    let mut plain = divided(&["one", "two"], &[]);
    plain["spec"].as_object_mut().map(|spec| spec.remove("workflow"));
    fleet.apply("hub", &plain).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.apply("hub", &divided(&["one", "two"], &[])).await?;
    let application = carrier(&fleet, "all").await?;
    approve(&fleet, &application, 1).await?;
    ready(&fleet, "all", "Delivered").await?;
    assert_eq!((share(&fleet, "m1").await?, share(&fleet, "m2").await?), (Some(2), Some(2)));

    fleet.apply("hub", &divided(&["one", "two"], &[("one", 3), ("two", 1)])).await?;
    fleet.wait_run(&application, 2, "workflowSuspending").await?;
    wait_share(&fleet, "m1", Some(3)).await?;
    assert_eq!(share(&fleet, "m2").await?, Some(2));
    let patch = json!({"spec": {"workflow": null}});
    fleet.merge("hub", crate::propagation::GROUP, "PropagationPolicy", "all", &patch).await?;
    no_carrier(&fleet, &application).await?;
    wait_share(&fleet, "m2", Some(1)).await?;
    ready(&fleet, "all", "Delivered").await?;
    assert_eq!(share(&fleet, "m1").await?, Some(3));
    engine.stop().await
}

/// Broken: clusters get what they have no room for or before they have told what they have, or more by room past the gate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_follow_room_behind_the_gate() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let mut others = deployment("others", "web:1");
    others["spec"]["replicas"] = json!(48);
    let request = json!({"requests": {"cpu": "1"}});
    others["spec"]["template"]["spec"]["containers"][0]["resources"] = request.clone();
    fleet
        .apply("m1", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}))
        .await?;
    fleet.apply("m1", &others).await?;
    let all = |object: Option<&Value>| {
        object.and_then(|object| object.pointer("/status/readyReplicas")) == Some(&json!(48))
    };
    fleet.wait_object("m1", "apps/v1", "Deployment", "others", all).await?;
    let engine = Engine::start(&fleet);
    flow(&fleet).await?;
    let hungry = |replicas: u64| {
        let mut hungry = web(replicas);
        hungry["spec"]["template"]["spec"]["containers"][0]["resources"] = request.clone();
        hungry
    };
    fleet.apply("hub", &hungry(20)).await?;
    let mut by_room = divided(&["one", "two"], &[]);
    by_room["spec"]["placement"]["replicaScheduling"]["weightPreference"] =
        json!({"dynamicWeight": "AvailableReplicas"});
    // No revision is made by room that nobody told yet.
    engine.members.stall_lists("nodes");
    fleet.apply("hub", &by_room).await?;
    wait_policy(&fleet, "PropagationPolicy", "all", |policy| policy.to_string().contains("MeasuringRoom"))
        .await?;
    assert!(carriers(&fleet).await?.is_empty());
    engine.members.wake();
    let application = carrier(&fleet, "all").await?;
    wait_share(&fleet, "m1", Some(4)).await?;
    assert_eq!(share(&fleet, "m2").await?, None);
    approve(&fleet, &application, 1).await?;
    wait_share(&fleet, "m2", Some(16)).await?;
    ready(&fleet, "all", "Delivered").await?;
    fleet.apply("hub", &hungry(30)).await?;
    wait_share(&fleet, "m1", Some(6)).await?;
    assert_eq!(share(&fleet, "m2").await?, Some(16), "what comes by room waits, too");
    approve(&fleet, &application, 2).await?;
    wait_share(&fleet, "m2", Some(24)).await?;
    ready(&fleet, "all", "Delivered").await?;
    engine.stop().await
}

/// Broken: a Job that runs divided is divided anew, which members refuse, so that a run fails; by the Application, or after
/// the policy has lost its Workflow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_runs_is_not_divided_anew() -> anyhow::Result<()> {
    const JOB: (&str, &str) = ("batch/v1", "Job");
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum", "namespace": "demo"},
        "spec": {"completions": 6, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "sum", "image": "sum:1"}]}}}});
    let mut split = policy("all", JOB, "sum", &["one", "two"]);
    split["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided"});
    split["spec"]["workflow"] = json!({"ref": "flow"});
    let members = [("m1", "one"), ("m2", "two"), ("m3", "three")];
    let (fleet, engine, application) = rolled_out(&members, &[job], &split).await?;
    let completions = async |member: &str| -> anyhow::Result<Option<u64>> {
        let found = fleet.get(member, "batch/v1", "Job", "sum").await?;
        Ok(found.and_then(|found| found.pointer("/spec/completions")?.as_u64()))
    };
    assert_eq!((completions("m1").await?, completions("m2").await?), (Some(3), Some(3)));
    let not_anew =
        |policy: &Value| policy.pointer("/status/claimed/0/reason") == Some(&json!("NotDividedAnew"));
    split["spec"]["placement"]["clusterAffinity"]["clusterNames"] = json!(["one", "two", "three"]);
    fleet.apply("hub", &split).await?;
    wait_policy(&fleet, "PropagationPolicy", "all", not_anew).await?;
    split["spec"].as_object_mut().map(|spec| spec.remove("workflow"));
    fleet.apply("hub", &split).await?;
    no_carrier(&fleet, &application).await?;
    let delivered = |policy: &Value| {
        not_anew(policy) && policy.pointer("/status/conditions/0/reason") == Some(&json!("Delivered"))
    };
    wait_policy(&fleet, "PropagationPolicy", "all", delivered).await?;
    assert_eq!((completions("m1").await?, completions("m3").await?), (Some(3), None));
    delete(&fleet, "hub", "batch/v1", "Job", "sum").await?;
    fleet.wait_object("m1", "batch/v1", "Job", "sum", |object| object.is_none()).await?;
    engine.stop().await
}
