//! The record: what happened and who decided, whole after every crash, and longer-lived than what it is about.

use std::sync::Arc;

use base64::Engine as _;
use fleet_api::{AuditEntry, AuditLog, verify_chain};
use fleet_controller::Options;
use fleet_testkit::{Engine, Fleet, Meter};
use futures::StreamExt as _;
use kube::api::{Api, DeleteParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;

use crate::small::{app, config, gated};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

/// Waits until an event of an Application is on record, and gives all that is; the chain is whole.
pub(crate) async fn recorded(
    fleet: &Fleet,
    app: &str,
    event: &str,
    times: usize,
) -> anyhow::Result<Vec<AuditEntry>> {
    let entries = entries(fleet, app, event, times).await?;
    verify_chain(&entries)?;
    Ok(entries)
}

/// Waits until an event of an Application is on record, and gives all that is.
async fn entries(fleet: &Fleet, app: &str, event: &str, times: usize) -> anyhow::Result<Vec<AuditEntry>> {
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
    Ok(tokio::time::timeout(std::time::Duration::from_secs(60), found).await??)
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

// Broken: a controller that takes over in the middle of a run records again what is on record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_record_is_not_recorded_again_after_a_restart() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &gated(&[CONFIG], &["m1"])).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    recorded(&fleet, "web", "GateShut", 1).await?;
    engine.kill().await;
    let engine = Engine::start(&fleet);
    fleet.approve(&waiting).await?;
    let entries = recorded(&fleet, "web", "RunEnded", 1).await?;
    assert_eq!(
        events(&entries),
        ["RunStarted", "GateShut", "Approved", "StepStarted", "StepSucceeded", "RunEnded"]
    );
    engine.stop().await
}

// Broken: what happened while the record couldn't be written is lost once another run has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_written_is_recorded_later() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    recorded(&fleet, "web", "RunEnded", 1).await?;
    let group = "admissionregistration.k8s.io/v1";
    let policy = json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "shut"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": ["fleetctl.dev"], "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"], "resources": ["auditlogs"]}]},
        "validations": [{"expression": "false"}]}});
    let binding = json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "shut"},
        "spec": {"policyName": "shut", "validationActions": ["Deny"]}});
    fleet.apply("hub", &policy).await?;
    fleet.apply("hub", &binding).await?;
    for (number, value) in [(2, "2"), (3, "3")] {
        fleet.apply("hub", &config("settings", value)).await?;
        fleet.wait_run("web", number, "running").await?;
    }
    fleet.resource("hub", &binding).await?.delete("shut", &DeleteParams::default()).await?;
    let entries = recorded(&fleet, "web", "RunEnded", 3).await?;
    let one_run = ["RunStarted", "StepStarted", "StepSucceeded", "RunEnded"];
    assert_eq!(events(&entries), [one_run, one_run, one_run].concat());
    engine.stop().await
}

// Broken: a key is given, and the end of the record isn't signed, or only its first segment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_of_a_record_is_signed_where_a_key_is_given() -> anyhow::Result<()> {
    // PKCS#8 of an Ed25519 key (RFC 8410), whose 32 bytes are all the same.
    let prefix =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let key = base64::engine::general_purpose::STANDARD.encode([&prefix[..], &[7; 32]].concat());
    let label = "PRIVATE KEY";
    let pem = format!("-----BEGIN {label}-----\n{key}\n-----END {label}-----\n");
    let signer = fleet_controller::audit::Signer::from_pem(pem.as_bytes())?;
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let options = Options { audit_signer: Some(Arc::new(signer)), ..fleet.options() };
    let engine = Engine::with(&fleet, Meter::new(), Meter::new(), options);
    let mut signatures = std::collections::BTreeSet::new();
    for run in 1..=2 {
        fleet.apply("hub", &config("settings", &run.to_string())).await?;
        fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
        recorded(&fleet, "web", "RunEnded", run).await?;
        let logs = Api::<AuditLog>::namespaced(fleet.client("hub"), "demo").list(&Default::default()).await?;
        let signature = logs.items[0].spec.head.signature.clone().expect("signed");
        signatures.insert(signature.value);
    }
    assert_eq!(signatures.len(), 2, "each end has its own");
    engine.stop().await
}

/// Broken: somebody takes a record away, and the controller itself makes and signs a new one in which it never was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_taken_away_is_missed() -> anyhow::Result<()> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "1")).await?;
    fleet.apply("hub", &app(&[CONFIG], &["m1"])).await?;
    fleet.wait_run("web", 1, "running").await?;
    let whole = recorded(&fleet, "web", "RunEnded", 1).await?;
    let once = whole.last().map(|entry| entry.sequence).unwrap_or_default();
    let shown = |app: &fleet_api::Application| app.status.as_ref()?.record.as_ref().map(|head| head.sequence);
    fleet.wait("web", |app| shown(app) == Some(once)).await?;
    // With the controller, or behind its back.
    let logs: Api<AuditLog> = Api::namespaced(fleet.client("hub"), "demo");
    logs.delete_collection(&DeleteParams::default(), &Default::default()).await?;
    engine.stop().await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &config("settings", "2")).await?;
    fleet.wait_run("web", 2, "running").await?;
    // What the Runs still know is recorded again, behind the gap.
    let again = entries(&fleet, "web", "RunEnded", 2).await?;
    assert_eq!((again[0].event.as_str(), again[0].sequence), ("RecordLost", once + 1), "the numbers go on");
    assert!(verify_chain(&again).is_err());
    let now = again.last().map(|entry| entry.sequence).unwrap_or_default();
    fleet.wait("web", |app| shown(app) == Some(now)).await?;
    logs.delete_collection(&DeleteParams::default(), &Default::default()).await?;
    fleet.apply("hub", &config("settings", "3")).await?;
    let app = fleet.wait_run("web", 3, "running").await?;
    assert_eq!(fleet.run_of(&app).await?.spec.record.map(|head| head.sequence), Some(now));
    let again = entries(&fleet, "web", "RunEnded", 1).await?;
    assert_eq!((again[0].event.as_str(), again[0].sequence), ("RecordLost", now + 1));
    engine.stop().await?;
    Ok(())
}
