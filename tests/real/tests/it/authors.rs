//! Who changes Applications, recorded by the webhook of the installed control plane.

use anyhow::{Result, ensure};
use fleet_api::{Application, Run, names};
use fleet_real::fleet::SYSTEM;
use fleet_real::{ClusterSpec, Fleet, Life, eventually, ports, until};
use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::{Value, json};

const WEBHOOK: &str = "authors.fleetctl.dev";

fn manifest(value: &str) -> Value {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
        "data": {"value": value}});
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "components": [{"name": "main", "type": "k8s-objects", "properties": {"objects": [object]}}],
            "policies": [{"name": "where", "type": "topology", "properties": {"clusters": ["m1"]}}]}})
}

/// A line of kubectl to the hub as a person; whether it was taken, and what was said.
fn as_person(fleet: &Fleet, who: &str, line: &str) -> Result<(bool, String)> {
    let output = fleet.try_shell(&format!("{line} --context hub --as={who} --as-group=system:masters"))?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), said))
}

fn apply(fleet: &Fleet, who: &str, value: &str) -> Result<(bool, String)> {
    as_person(fleet, who, &format!("echo '{}' | kubectl apply -f -", manifest(value)))
}

/// Broken: an API server can't ask the controller who changes what, trusts it not, or lets changes pass while it
/// doesn't answer; or somebody can write another's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_changes_applications_is_recorded() -> Result<()> {
    let hub = ClusterSpec::new("hub", Life::Inert).audited();
    let fleet = Fleet::clusters(hub, [ClusterSpec::new("m1", Life::Bare)]).await?;
    let port = ports::free()?;
    let url = format!("https://127.0.0.1:{port}/authors");
    fleet.helm_install(&format!("--set webhook.enabled=true,webhook.port={port},webhook.url={url}"))?;
    fleet.register_all().await?;
    let (taken, said) = apply(&fleet, "ada", "1")?;
    ensure!(!taken && said.contains(WEBHOOK), "nobody answers yet, and it was taken: {said}");

    let mut controller = fleet.installed_controller("controller").await?;
    let client = fleet.hub.client().await?;
    // An API server follows its own configuration with a delay that nothing tells of.
    eventually("an application is taken", || async {
        let (taken, said) = apply(&fleet, "ada", "1")?;
        ensure!(taken, "{said}");
        Ok(())
    })
    .await?;
    eventually("the controller relies on it", || async {
        ensure!(controller.log().contains("authors of changes are recorded"), "{}", controller.log());
        Ok(())
    })
    .await?;
    let apps: Api<Application> = Api::namespaced(client.clone(), "default");
    let author = async || -> Result<Option<String>> {
        Ok(apps.get("web").await?.annotations().get(names::AUTHOR).cloned())
    };
    assert_eq!(author().await?.as_deref(), Some("ada"));
    until(apps.clone(), "web", "running", |app| {
        app.and_then(|app| app.status.as_ref()).is_some_and(|status| status.status.as_str() == "running")
    })
    .await?;
    let runs: Api<Run> = Api::namespaced(client, "default");
    let run = runs.list(&Default::default()).await?.items.remove(0);
    assert_eq!(
        (run.spec.author.as_deref(), run.spec.authors.as_slice()),
        (Some("ada"), &["ada".to_owned()][..])
    );

    let forged = format!("kubectl annotate application web --overwrite {}=bob", names::AUTHOR);
    assert!(as_person(&fleet, "eve", &forged)?.0);
    assert!(as_person(&fleet, "eve", &format!("kubectl annotate application web {}-", names::AUTHOR))?.0);
    assert!(as_person(&fleet, "eve", "kubectl label application web a=b")?.0);
    assert_eq!(author().await?.as_deref(), Some("ada"));
    assert!(apply(&fleet, "eve", "2")?.0);
    assert_eq!(author().await?.as_deref(), Some("eve"));

    // Without an answer nothing changes what is delivered; what says nothing new goes on.
    controller.stop().await?;
    let (taken, said) = apply(&fleet, "ada", "3")?;
    ensure!(!taken && said.contains(WEBHOOK), "nobody answers, and it was taken: {said}");
    assert!(as_person(&fleet, "ada", "kubectl label application web a=c --overwrite")?.0);
    let secret = fleet.kubectl(&format!("get secret fleetctl-webhook -n {SYSTEM} --context hub -o name"))?;
    assert_eq!(secret.trim(), "secret/fleetctl-webhook");

    let account = format!("system:serviceaccount:{SYSTEM}:fleetctl-controller");
    let refused =
        fleet.hub.audit()?.into_iter().find(|request| request.user == account && request.code == 403);
    ensure!(refused.is_none(), "the chart's rights don't suffice: {refused:?}");
    fleet.end();
    Ok(())
}
