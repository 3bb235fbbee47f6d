//! The three-centre rollout from the first apply to the second revision.

use fleet_testkit::{Engine, Fleet, manifests};
use serde_json::{Value, json};

fn env_of(deployment: &Value) -> Option<&str> {
    deployment.pointer("/spec/template/spec/containers/0/env/0/value").and_then(Value::as_str)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_centres_from_the_first_apply_to_the_second_revision() -> anyhow::Result<()> {
    let fleet = Fleet::three_centres().await?;
    let engine = Engine::start(&fleet);
    fleet.apply_all("hub", manifests::APP_META).await?;
    fleet.apply_all("hub", manifests::APP).await?;

    let app = fleet.wait_phase("web-demo", "workflowSuspending").await?;
    let status = app.status.clone().unwrap_or_default();
    assert!(status.services.first().is_some_and(|service| service.healthy), "{:?}", status.services);
    let first = fleet.get("mc-bj1", "apps/v1", "Deployment", "web-demo").await?.expect("delivered");
    assert_eq!(first.pointer("/status/readyReplicas"), Some(&json!(5)));
    for waiting in ["mc-bj2", "mc-hz1"] {
        assert_eq!(fleet.get(waiting, "apps/v1", "Deployment", "web-demo").await?, None, "before the gate");
    }

    fleet.approve(&app).await?;
    fleet.wait_phase("web-demo", "running").await?;
    let second = fleet.get("mc-bj2", "apps/v1", "Deployment", "web-demo").await?.expect("delivered");
    assert_eq!(env_of(&second), Some("cluster2-beijing"));
    assert_eq!(second.pointer("/status/readyReplicas"), Some(&json!(5)));
    let third = fleet.get("mc-hz1", "apps/v1", "Deployment", "web-demo").await?.expect("delivered");
    assert_eq!(
        (env_of(&third), third.pointer("/status/readyReplicas")),
        (Some("cluster1-hangzhou"), Some(&json!(1)))
    );
    let config = fleet.get("mc-hz1", "v1", "ConfigMap", "web-demo").await?.expect("delivered");
    assert!(
        config.pointer("/data/config.json").and_then(Value::as_str).unwrap_or("").contains("hangzhou-db")
    );

    // Another image on the hub: held back until publishVersion changes, and said so.
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web-demo",
        "image": "registry.example.com/web-demo:0.5.0", "env": [{"name": "ENV_NAME", "value": "cluster1-beijing"}],
        "volumeMounts": [{"name": "config-file", "mountPath": "/config-file", "readOnly": true}]}]}}}});
    fleet.merge("hub", "apps/v1", "Deployment", "web-demo", &image).await?;
    let held = fleet
        .wait("web-demo", |app| {
            let services = app.status.iter().flat_map(|status| &status.services);
            services.into_iter().any(|service| service.message.contains("publishVersion"))
        })
        .await?;
    assert_eq!(held.status.map(|status| status.status.as_str()), Some("running"));

    let version = json!({"metadata": {"annotations": {"app.oam.dev/publishVersion": "version9"}}});
    fleet.merge("hub", "core.oam.dev/v1beta1", "Application", "web-demo", &version).await?;
    let app = fleet.wait_run("web-demo", 2, "workflowSuspending").await?;
    fleet.approve(&app).await?;
    fleet.wait_run("web-demo", 2, "running").await?;
    for member in ["mc-bj1", "mc-bj2", "mc-hz1"] {
        let deployment = fleet.get(member, "apps/v1", "Deployment", "web-demo").await?.expect("delivered");
        let image = deployment.pointer("/spec/template/spec/containers/0/image");
        assert_eq!(image, Some(&json!("registry.example.com/web-demo:0.5.0")), "{member}");
    }
    engine.stop().await?;
    fleet.stop().await;
    Ok(())
}
