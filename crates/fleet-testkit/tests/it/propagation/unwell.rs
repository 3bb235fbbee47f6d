//! Workloads that are unhealthy on a cluster move where their policy says so; Jobs are divided once.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

use super::{DEPLOYMENT, GROUP, delete, deployment, policy, ready, wait_policy};

/// On the first cluster no pod comes up.
fn breaks_on_one() -> Value {
    json!({"apiVersion": GROUP, "kind": "OverridePolicy", "metadata": {"name": "breaks", "namespace": "demo"},
        "spec": {"overrideRules": [{"targetCluster": {"clusterNames": ["one"]}, "overriders": {"imageOverrider": [
            {"component": "Tag", "operator": "replace", "value": "broken"}]}}]}})
}

fn number(object: Option<&Value>, at: &str) -> Option<u64> {
    object.and_then(|object| object.pointer(at)?.as_u64())
}

async fn wait_number(
    fleet: &Fleet,
    cluster: &str,
    kind: (&str, &str),
    name: &str,
    at: &str,
    wanted: Option<u64>,
) -> anyhow::Result<()> {
    fleet.wait_object(cluster, kind.0, kind.1, name, |object| number(object, at) == wanted).await?;
    Ok(())
}

async fn told_place(fleet: &Fleet, policy: &str, reason: &str) -> anyhow::Result<Value> {
    wait_policy(fleet, "PropagationPolicy", policy, |policy| {
        let claimed = policy.pointer("/status/claimed").and_then(Value::as_array);
        let mut places =
            claimed.into_iter().flatten().filter_map(|object| object["places"].as_array()).flatten();
        places.any(|place| place["reason"] == json!(reason))
    })
    .await
}

/// Broken: replicas stay for ever where they never come up, a policy that doesn't say so moves them, or the copy that there is
/// leaves although nothing replaces it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unhealthy_for_too_long_moves_where_the_policy_says_so() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &breaks_on_one()).await?;
    let mut web = deployment("web", "web:1");
    web["spec"]["replicas"] = json!(4);
    fleet.apply("hub", &web).await?;
    let mut split = policy("split", DEPLOYMENT, "web", &["one", "two"]);
    split["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided"});
    fleet.apply("hub", &split).await?;
    for cluster in ["m1", "m2"] {
        wait_number(&fleet, cluster, DEPLOYMENT, "web", "/spec/replicas", Some(2)).await?;
    }
    wait_number(&fleet, "m2", DEPLOYMENT, "web", "/status/readyReplicas", Some(2)).await?;
    let unasked = ready(&fleet, "split", "Delivered").await?;
    assert!(!unasked.to_string().contains("NotActedOn"), "{unasked:#}");

    // Longer than a status waits until it is written, so that it is told before it moves.
    split["spec"]["failover"] = json!({"application": {"decisionConditions": {"tolerationSeconds": 3}}});
    fleet.apply("hub", &split).await?;
    let unwell = told_place(&fleet, "split", "Unhealthy").await?;
    assert!(unwell.to_string().contains("it moves to a cluster that fits"), "{unwell:#}");
    wait_number(&fleet, "m2", DEPLOYMENT, "web", "/spec/replicas", Some(4)).await?;
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", |object| object.is_none()).await?;
    ready(&fleet, "split", "Delivered").await?;

    // Nowhere else to go: it stays, and that is told.
    let mut stuck = policy("stuck", DEPLOYMENT, "alone", &["one"]);
    stuck["spec"]["failover"] = json!({"application": {"decisionConditions": {"tolerationSeconds": 0}}});
    fleet.apply("hub", &deployment("alone", "web:1")).await?;
    fleet.apply("hub", &stuck).await?;
    let stays = told_place(&fleet, "stuck", "Unhealthy").await?;
    assert!(stays.to_string().contains("as far as no other cluster fits"), "{stays:#}");
    assert!(fleet.get("m1", "apps/v1", "Deployment", "alone").await?.is_some());
    engine.stop().await
}

/// Broken: `purgeMode: Never` deletes the copy that was left, or it is put right for ever as if it were still wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_stays_where_the_policy_says_so() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &breaks_on_one()).await?;
    let mut one = policy("one", DEPLOYMENT, "web", &["one"]);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    fleet.apply("hub", &one).await?;
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", |object| object.is_some()).await?;
    one["spec"]["placement"] = json!({"clusterAffinity": {"clusterNames": ["one", "two"]},
        "spreadConstraints": [{"spreadByField": "cluster", "minGroups": 1, "maxGroups": 1}]});
    one["spec"]["failover"] =
        json!({"application": {"decisionConditions": {"tolerationSeconds": 1}, "purgeMode": "Never"}});
    fleet.apply("hub", &one).await?;
    fleet.wait_object("m2", "apps/v1", "Deployment", "web", |object| object.is_some()).await?;
    let nobodys = |object: Option<&Value>| {
        object.is_some_and(|o| o.pointer("/metadata/labels/fleetctl.dev~1owner").is_none())
    };
    fleet.wait_object("m1", "apps/v1", "Deployment", "web", nobodys).await?;
    let told = ready(&fleet, "one", "Delivered").await?;
    assert!(!told.to_string().contains("NotActedOn"), "{told:#}");
    engine.stop().await
}

/// Broken: clusters together run a Job more often than asked for, or one that runs is divided anew and refused for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_divided_once() -> anyhow::Result<()> {
    const JOB: (&str, &str) = ("batch/v1", "Job");
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two"), ("m3", "three")]).await?;
    let engine = Engine::start(&fleet);
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "sum", "namespace": "demo"},
        "spec": {"completions": 6, "parallelism": 4, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "sum", "image": "sum:1"}]}}}});
    fleet.apply("hub", &job).await?;
    let mut split = policy("split", JOB, "sum", &["one", "two"]);
    split["spec"]["placement"]["replicaScheduling"] = json!({"replicaSchedulingType": "Divided"});
    fleet.apply("hub", &split).await?;
    for cluster in ["m1", "m2"] {
        wait_number(&fleet, cluster, JOB, "sum", "/spec/completions", Some(3)).await?;
        wait_number(&fleet, cluster, JOB, "sum", "/spec/parallelism", Some(2)).await?;
    }
    ready(&fleet, "split", "Delivered").await?;
    split["spec"]["placement"]["clusterAffinity"]["clusterNames"] = json!(["one", "two", "three"]);
    fleet.apply("hub", &split).await?;
    let told = wait_policy(&fleet, "PropagationPolicy", "split", |policy| {
        policy.pointer("/status/claimed/0/reason") == Some(&json!("NotDividedAnew"))
    });
    let told = told.await?;
    assert!(told.to_string().contains("apply it again"), "{told:#}");
    assert!(fleet.get("m3", "batch/v1", "Job", "sum").await?.is_none());

    delete(&fleet, "hub", "batch/v1", "Job", "sum").await?;
    for cluster in ["m1", "m2"] {
        fleet.wait_object(cluster, "batch/v1", "Job", "sum", |object| object.is_none()).await?;
    }
    fleet.apply("hub", &job).await?;
    for cluster in ["m1", "m2", "m3"] {
        wait_number(&fleet, cluster, JOB, "sum", "/spec/completions", Some(2)).await?;
    }
    engine.stop().await
}
