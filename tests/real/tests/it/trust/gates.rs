//! Steps that measure, ask and tell: a controller of its own process, a hub that has the Secrets, servers on loopback.

mod server;

use anyhow::{Result, ensure};
use fleet_api::Phase;
use fleet_real::Life;
use serde_json::json;

use self::server::Server;
use super::people::{NAMESPACE, held, installed, must, says, succeeded, suffices};

const TOKEN: &str = "s3cr3t-t0ken";

fn application(server: &Server, value: &str) -> String {
    let token = json!({"prefix": "Bearer ", "secretRef": {"name": "hooks", "key": "token"}});
    let steps = json!([
        {"name": "first", "type": "deploy", "properties": {"policies": ["first"]}},
        {"name": "errors", "type": "check-metrics", "properties": {
            "metricServer": server.url("/prometheus"), "query": "errors{app=\"${context.name}\"}",
            "successCondition": "result[0] < 0.05", "count": 2, "interval": "1s",
            "header": {"Authorization": token}}},
        {"name": "ready", "type": "request", "properties": {"url": server.url("/ready"), "method": "POST",
            "body": {"app": "oven"}, "successCondition": "response.status == 200 && response.body.ready"}},
        {"name": "ask", "type": "webhook", "properties": {"url": server.url("/ask"),
            "signature": {"secretRef": {"name": "hooks", "key": "token"}}}},
        {"name": "tell", "type": "notification", "properties": {"webhook": {"url": server.url("/tell"),
            "message": {"text": "the oven is warm"}}}},
        {"name": "second", "type": "deploy", "properties": {"policies": ["second"]}}]);
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": "oven", "namespace": NAMESPACE},
        "spec": {
            "components": [{"name": "main", "type": "k8s-objects", "properties": {"objects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "oven"}, "data": {"heat": value}}]}}],
            "policies": [
                {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
                {"name": "second", "type": "topology", "properties": {"clusters": ["m2"]}}],
            "workflow": {"steps": steps}}})
    .to_string()
}

/// Broken: in its own process, with a hub of Kubernetes, the controller doesn't reach what steps ask and tell, sends
/// without the Secrets' values or writes them down, asks twice, or delivers though a measurement was bad.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_asked_before_the_rest_gets_it() -> Result<()> {
    let values = "referenced.secrets=true,controller.extraArgs={--allow-local-addresses}";
    let (fleet, mut controller) = installed(Life::Bare, 2, values).await?;
    let server = Server::start().await?;
    must(&fleet, &format!("kubectl create secret generic hooks --from-literal=token={TOKEN}"))?;
    server.errors(0.01);
    fleet.apply(&fleet.hub, &application(&server, "low")).await?;
    succeeded(&fleet, "oven", 1).await?;
    ensure!(held(fleet.member("m2")?, "oven", "heat").await?.as_deref() == Some("low"));
    let asked = server.received();
    let paths: Vec<&str> = asked.iter().map(|request| request.path.as_str()).collect();
    let metrics = "/prometheus/api/v1/query";
    ensure!(paths == [metrics, metrics, "/ready", "/ask", "/tell"], "{paths:?}");
    ensure!(asked[0].header("authorization") == format!("Bearer {TOKEN}"), "{:?}", asked[0].headers);
    ensure!(asked[0].body == "query=errors%7Bapp%3D%22oven%22%7D", "{}", asked[0].body);
    ensure!(asked[2].body.contains("oven"), "{}", asked[2].body);
    ensure!(asked[3].header("x-fleetctl-signature").starts_with("sha256="), "{:?}", asked[3].headers);
    ensure!(asked[3].body.contains("planHash"), "{}", asked[3].body);
    ensure!(asked[4].body.contains("the oven is warm"), "{}", asked[4].body);

    // A bad value: nothing is told, and nobody else gets it.
    server.errors(0.5);
    fleet.apply(&fleet.hub, &application(&server, "high")).await?;
    says(&fleet, "oven", "stopped", |phase, text| {
        phase == Phase::WorkflowFailed && text.contains("measurements failed") && text.contains("0.5")
    })
    .await?;
    ensure!(held(fleet.member("m1")?, "oven", "heat").await?.as_deref() == Some("high"));
    ensure!(held(fleet.member("m2")?, "oven", "heat").await?.as_deref() == Some("low"));
    ensure!(server.received().len() == 6, "one measurement more is enough");

    let written =
        must(&fleet, "kubectl get applications,runs,applicationrevisions,auditlogs,events -o json")?;
    ensure!(!written.contains(TOKEN), "the Secret's value is written down");
    controller.stop().await?;
    ensure!(!controller.log().contains(TOKEN), "the Secret's value is in the log");
    suffices(&fleet, "")?;
    fleet.end();
    Ok(())
}
