//! Admission on a member that refuses, or doesn't answer.

use anyhow::{Result, ensure};
use fleet_api::Phase;
use fleet_real::Fleet;
use fleet_real::webhook::{Mood, Webhook};
use kube::api::DynamicObject;

use super::web;

async fn guarded(fleet: &Fleet, mood: Mood) -> Result<Webhook> {
    let member = fleet.member("m2")?;
    let webhook = Webhook::start(member.pki()?, mood)?;
    fleet.namespace(member, web::NAMESPACE).await?;
    let configuration = webhook.configuration(web::NAMESPACE);
    fleet.apply(member, &serde_json::to_string(&configuration)?).await?;
    // The API server takes it up a moment later.
    fleet_real::eventually("the webhook is asked", || async {
        let probe = "{apiVersion: v1, kind: ConfigMap, metadata: {name: probe, namespace: demo}}";
        let object: DynamicObject = serde_json::from_value(fleet_real::fleet::documents(probe)?.remove(0))?;
        let api = kube::Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(
            member.client().await?,
            web::NAMESPACE,
        );
        let patch = kube::api::Patch::Apply(&object);
        let asked = api.patch("probe", &kube::api::PatchParams::apply("probe"), &patch).await;
        ensure!(asked.is_err(), "not yet");
        Ok(())
    })
    .await?;
    Ok(webhook)
}

/// Broken: a refusal on one member stops the others, isn't told, or can't be got over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_refuses_is_named_and_stops_nobody_else() -> Result<()> {
    let fleet = Fleet::small(2).await?;
    let webhook = guarded(&fleet, Mood::Refuse).await?;
    let mut controller = web::controller(&fleet)?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1, m2").await?;
    web::painted(&fleet, "m1", "blue").await?;
    let failed = web::until_status(&fleet, "refused by the webhook", |phase, text| {
        phase == Phase::WorkflowFailed
            && text.contains("rules.house.example")
            && text.contains("the house forbids it")
    });
    let failed = failed.await?;
    ensure!(web::settings(&fleet, "m2").await?.is_none(), "it was let in");
    webhook.set(Mood::Allow);
    fleet.fleetctl("workflow restart web -n demo")?;
    web::running_after(&fleet, &failed).await?;
    web::painted(&fleet, "m2", "blue").await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}

/// Broken: a webhook that hangs holds up other members, is taken for a dead member or for a final refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_hangs_is_waited_for_alone() -> Result<()> {
    let fleet = Fleet::small(2).await?;
    let webhook = guarded(&fleet, Mood::Hang).await?;
    // Longer than the webhook's own deadline, so that the API server can say what hangs.
    let mut controller = fleet.controller_with(&["--member-timeout=10s"])?;
    web::paint(&fleet, "blue").await?;
    web::deploy(&fleet, "m1, m2").await?;
    web::painted(&fleet, "m1", "blue").await?;
    let waiting = web::until_status(&fleet, "waiting for the webhook", |phase, text| {
        phase == Phase::RunningWorkflow && text.contains("rules.house.example")
    });
    waiting.await?;
    webhook.set(Mood::Allow);
    web::running(&fleet).await?;
    web::painted(&fleet, "m2", "blue").await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}
