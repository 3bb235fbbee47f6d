//! The record: what happened and who decided, whole after every crash, and longer-lived than what it is about.

use fleet_api::{AuditEntry, AuditLog, verify_chain};
use fleet_testkit::{Engine, Fleet};
use futures::StreamExt as _;
use kube::api::{Api, DeleteParams};
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::small::{app, config, gated};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

/// Waits until an event of an Application is on record, and gives all that is; the chain is whole.
pub(crate) async fn recorded(
    fleet: &Fleet,
    app: &str,
    event: &str,
    times: usize,
) -> anyhow::Result<Vec<AuditEntry>> {
    let api: Api<AuditLog> = Api::namespaced(fleet.client("hub"), "demo");
    let changes = watcher(api.clone(), watcher::Config::default()).touched_objects();
    let found = Box::pin(async {
        tokio::pin!(changes);
        loop {
            let mut segments = api.list(&Default::default()).await?.items;
            segments.retain(|log| log.spec.application == app);
            segments.sort_by_key(|log| log.spec.segment);
            let entries: Vec<AuditEntry> = segments.into_iter().flat_map(|log| log.spec.entries).collect();
            if entries.iter().filter(|entry| entry.event == event).count() >= times {
                return Ok::<_, kube::Error>(entries);
            }
            changes.next().await;
        }
    });
    let entries = tokio::time::timeout(std::time::Duration::from_secs(60), found).await??;
    verify_chain(&entries)?;
    Ok(entries)
}

fn events(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.event.as_str()).collect()
}

/// Who let it in, for which plan, and what came of it: what an auditor asks, after the Application is gone too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_is_on_record_and_outlives_its_application() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &gated(&[CONFIG], &["m1"])).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    let approval = fleet.approve(&waiting).await?;
    fleet.wait_phase("web", "running").await?;
    let entries = recorded(&fleet, "web", "RunEnded", 1).await?;
    let first_run = ["RunStarted", "GateShut", "Approved", "StepStarted", "StepSucceeded", "RunEnded"];
    assert_eq!(events(&entries), first_run);
    assert_eq!(
        (&entries[2].actor, &entries[2].plan_hash),
        (&approval.spec.approver, &approval.spec.plan_hash)
    );
    assert_eq!(entries[4].targets["succeeded"], ["m1/demo"]);
    // Another controller goes on where this one stopped.
    engine.stop().await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_run("web", 2, "running").await?;
    let entries = recorded(&fleet, "web", "RunEnded", 2).await?;
    assert_eq!(events(&entries)[6..], ["RunStarted", "StepStarted", "StepSucceeded", "RunEnded"]);
    let apps: Api<fleet_api::Application> = Api::namespaced(fleet.client("hub"), "demo");
    apps.delete("web", &DeleteParams::default()).await?;
    let entries = recorded(&fleet, "web", "ApplicationDeleted", 1).await?;
    assert_eq!(entries.len(), 11);
    // What is on record comes before the finalizer goes.
    fleet.wait_object("hub", "core.oam.dev/v1beta1", "Application", "web", |app| app.is_none()).await?;
    // One made anew under the name continues the record.
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    let entries = recorded(&fleet, "web", "RunEnded", 3).await?;
    assert_eq!(entries.len(), 15);
    engine.stop().await?;
    Ok(())
}
