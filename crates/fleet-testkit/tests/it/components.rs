//! Component types and references in the form in which users of the established engines have them.

use fleet_testkit::{Engine, Fleet};
use serde_json::{Value, json};

const LIGHT: &str = include_str!("../data/light.yaml");
const REFERENCES: &str = include_str!("../data/references.yaml");

fn at<'a>(object: &'a Option<Value>, path: &str) -> Option<&'a Value> {
    object.as_ref().and_then(|object| object.pointer(path))
}

/// A webservice beside raw objects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webservice_and_raw_objects() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply_all("hub", LIGHT).await?;
    fleet.wait_phase("app-1", "running").await?;
    let web = fleet.get("m1", "apps/v1", "Deployment", "app-1-v1").await?;
    assert_eq!(at(&web, "/spec/replicas"), Some(&json!(0)));
    assert_eq!(at(&web, "/spec/template/spec/containers/0/image"), Some(&json!("nginx")));
    let config = fleet.get("m1", "v1", "ConfigMap", "cm-1").await?;
    assert_eq!(at(&config, "/data/version"), Some(&json!("1")));
    assert!(fleet.get("m1", "v1", "Secret", "secret-1").await?.is_some());
    engine.stop().await?;
    Ok(())
}

/// References by resource and group, by name and by labels; external policies and workflow; a change of either is
/// taken up by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn references_policies_and_a_workflow_of_their_own() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("cluster-worker", "worker")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply_all("hub", REFERENCES).await?;
    fleet.wait_run("podinfo", 1, "running").await?;
    let there = fleet.get("cluster-worker", "apps/v1", "Deployment", "podinfo").await?;
    assert_eq!(at(&there, "/spec/replicas"), Some(&json!(3)), "the override's scaler wins");
    for name in ["podinfo-1", "podinfo-2"] {
        assert!(fleet.get("cluster-worker", "v1", "ConfigMap", name).await?.is_some(), "{name}");
    }
    let third = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "podinfo-3", "namespace": "demo", "labels": {"app": "podinfo"}}, "data": {"version": "3"}});
    fleet.apply("hub", &third).await?;
    fleet.wait_run("podinfo", 2, "running").await?;
    assert!(fleet.get("cluster-worker", "v1", "ConfigMap", "podinfo-3").await?.is_some());
    let fewer = json!({"properties": {"components": [
        {"name": "podinfo", "traits": [{"type": "scaler", "properties": {"replicas": 1}}]}]}});
    fleet.merge("hub", "core.oam.dev/v1alpha1", "Policy", "override-high-availability", &fewer).await?;
    fleet.wait_run("podinfo", 3, "running").await?;
    let there = fleet.get("cluster-worker", "apps/v1", "Deployment", "podinfo").await?;
    assert_eq!(at(&there, "/spec/replicas"), Some(&json!(1)));
    engine.stop().await?;
    Ok(())
}
