//! What somebody who tries the program finds first: approvers without the fleet's rights, what can't be rolled out, runs
//! that ended without delivering, records that somebody changed.

use fleet_api::{Application, AuditLog, Phase, Run};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{CommandLine, apply, apply_example, eventually, fleet_with, in_phase};

/// The same command line, as somebody else of some groups.
fn as_user(line: &CommandLine, user: &str, groups: &[&str]) -> CommandLine {
    let text = std::fs::read_to_string(&line.kubeconfig).unwrap();
    let mut config: Value = fleetctl::yaml::read_all(&text).unwrap().remove(0);
    for known in config["users"].as_array_mut().unwrap() {
        known["user"]["as"] = json!(user);
        known["user"]["as-groups"] = json!(groups);
    }
    CommandLine::with(&config.to_string())
}

async fn plan_hash(line: &CommandLine) -> String {
    let plan: Value =
        serde_json::from_str(&line.done("fleetctl plan web-demo -n demo -o json").await).unwrap();
    plan["planHash"].as_str().unwrap().to_owned()
}

async fn waits_in_run(hub: &kube::Client, number: i64) {
    let runs: Api<Run> = Api::namespaced(hub.clone(), "demo");
    eventually("the run waits at its gate", async || {
        let found = runs.list(&ListParams::default()).await.unwrap().items;
        found.iter().any(|run| {
            let steps = run.status.iter().flat_map(|status| &status.steps);
            run.spec.number == number && steps.into_iter().any(|step| step.shut_gate().is_some())
        })
    })
    .await;
    let apps: Api<Application> = Api::namespaced(hub.clone(), "demo");
    eventually("the Application shows it", async || {
        let status = apps.get("web-demo").await.unwrap().status.unwrap_or_default();
        let latest = status.latest_revision.map(|latest| latest.revision);
        (status.status, latest) == (Phase::WorkflowSuspending, Some(number))
    })
    .await;
}

/// Broken: who may approve and not look at the whole fleet learns that the plan is another one, and never what differs;
/// and a slip of the pen looks like an old plan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approver_is_told_what_differs() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    for role in ["view", "fleetctl-approver"] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": role, "namespace": "demo" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "release" }],
        });
        apply(&hub, &binding).await;
    }
    let admin = CommandLine::of(&fleet);
    let ann = as_user(&admin, "ann", &["release", "system:authenticated"]);
    let before = plan_hash(&admin).await;
    let said = ann.fails("fleetctl plan web-demo -n demo", 4).await;
    assert!(said.contains("kube-system"), "ann may see the fleet: {said}");
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(hub.clone(), "demo");
    let patch = json!({"spec": {"minReadySeconds": 1}});
    deployments.patch("web-demo", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    admin.done("fleetctl workflow restart web-demo -n demo").await;
    waits_in_run(&hub, 2).await;
    let resume = "fleetctl workflow resume web-demo -n demo --plan";
    let said = ann.fails(&format!("{resume} {before}"), 4).await;
    assert!(said.contains("what differs, as far as you may see: "), "{said}");
    assert!(said.contains("~ Deployment web-demo on") && said.contains(".spec.minReadySeconds"), "{said}");
    assert!(!said.contains("ConfigMap"), "what stays the same doesn't differ: {said}");
    for who in [&ann, &admin] {
        let said = who.fails(&format!("{resume} abcdef0123"), 4).await;
        assert!(said.contains("no plan on record has a hash that begins with abcdef0123"), "{said}");
    }
    fleet.shutdown().await;
}

fn broken_app(object: &Value) -> Value {
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application", "metadata": {"name": "cyc", "namespace": "demo"},
    "spec": {
        "components": [{"name": "main", "type": "ref-objects", "properties": {"objects": [object]}}],
        "policies": [{"name": "where", "type": "topology", "properties": {"clusters": ["mc-bj1"]}}],
        "workflow": {"steps": [
            {"name": "a", "type": "deploy", "if": "context.nosuch == 'x'", "properties": {"policies": ["where"]}},
        ]},
    }})
}

/// Broken: a script that waits for what can't be rolled out waits for ever, and a restart of it says that all went well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_rolled_out_is_said_and_ends() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    apply_example(&hub).await;
    let here = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web-demo"});
    apply(&hub, &broken_app(&here)).await;
    let said = line.run("fleetctl status cyc -n demo -w").await;
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("isn't rolled out as it is now: InvalidCondition"), "{said:?}");
    assert!(said.err.contains("context has no field \"nosuch\""), "{said:?}");
    let said = line.fails("fleetctl workflow restart cyc -n demo", 4).await;
    assert!(said.contains("nothing was started") && said.contains("nosuch"), "{said}");
    let apps: Api<Application> = Api::namespaced(hub.clone(), "demo");
    let app = apps.get("cyc").await.unwrap();
    assert!(!app.annotations().contains_key(fleet_api::names::RESTART), "{:?}", app.annotations());
    // Once it is corrected, it goes on by itself, and watching it ends with the run.
    let steps = json!([{"name": "a", "type": "deploy", "properties": {"policies": ["where"]}}]);
    let patch = json!({"spec": {"workflow": {"steps": steps}}});
    apps.patch("cyc", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let said = line.run("fleetctl status cyc -n demo -w").await;
    assert!(!said.err.contains("isn't rolled out"), "{said:?}");
    fleet.shutdown().await;
}

/// Broken: a check in CI is green where a rollout was rejected or ended before it delivered anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_ended_without_delivering_is_no_run_that_did() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    line.done("fleetctl workflow reject web-demo -n demo --reason no").await;
    in_phase(&hub, Phase::WorkflowTerminated).await;
    let ran = line.run("fleetctl plan web-demo -n demo --exit-code").await;
    assert_eq!(ran.code, 8, "{ran:?}");
    assert!(!ran.out.contains("nothing to change: run"), "{ran:?}");
    assert!(
        ran.out.contains("is over (Rejected)") && ran.out.contains("workflow restart web-demo"),
        "{ran:?}"
    );
    assert!(ran.out.contains("+ Deployment web-demo (create)"), "{ran:?}");
    let plan = line.run("fleetctl plan web-demo -n demo -o json").await;
    assert!(plan.out.contains("\"ended\"") && plan.out.contains("Rejected"), "{plan:?}");
    fleet.shutdown().await;
}

/// Broken: a record that somebody changed is shown with exit code 0, diagnosis finds nothing, and a wrong key looks like
/// a broken record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_record_is_an_error_and_a_wrong_key_is_none() {
    let fleet = fleet_with(true).await;
    let hub = fleet.client("hub");
    let line = CommandLine::of(&fleet);
    apply_example(&hub).await;
    in_phase(&hub, Phase::WorkflowSuspending).await;
    let logs: Api<AuditLog> = Api::namespaced(hub.clone(), "demo");
    eventually("the gate is on record", async || {
        !logs.list(&ListParams::default()).await.unwrap().items.is_empty()
    })
    .await;
    line.done("fleetctl audit show web-demo -n demo").await;
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("export.jsonl");
    let text = line.done("fleetctl audit export web-demo -n demo").await;
    std::fs::write(&export, text.replace("RunStarted", "RunStarved")).unwrap();
    let key = folder.path().join("audit.key");
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n").unwrap();
    for (words, said) in [
        (format!("--key {}", key.display()), "holds no PEM block \"PUBLIC KEY\""),
        (format!("--against {}", export.display()), "isn't whole itself"),
    ] {
        let refused = line.fails(&format!("fleetctl audit verify web-demo -n demo {words}"), 2).await;
        assert!(refused.contains(said) && refused.contains("nothing was verified"), "{refused}");
        assert!(!refused.contains("the record of demo/web-demo isn't whole"), "{refused}");
    }

    // Somebody writes a record anew who may: here, by making it again.
    let mut log = logs.list(&ListParams::default()).await.unwrap().items.remove(0);
    log.spec.entries[0].actor = "nobody".to_owned();
    let name = log.name_any();
    let policies: Api<k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding> =
        Api::all(hub.clone());
    policies.delete("records.fleetctl.dev", &DeleteParams::default()).await.unwrap();
    eventually("the record is changed", async || {
        let entries = json!({"spec": {"entries": log.spec.entries}});
        logs.patch(&name, &PatchParams::default(), &Patch::Merge(&entries)).await.is_ok()
    })
    .await;
    let shown = line.run("fleetctl audit show web-demo -n demo").await;
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(shown.out.contains("RunStarted") && shown.err.contains("isn't whole"), "{shown:?}");
    let found = line.run("fleetctl diagnose web-demo -n demo").await;
    assert_eq!(found.code, 1, "{found:?}");
    assert!(found.out.contains("RecordBroken") && found.out.contains("audit verify web-demo"), "{found:?}");

    // Broken: a record that was taken away as a whole is one that there never was.
    std::fs::write(&export, text).unwrap();
    logs.delete(&name, &DeleteParams::default()).await.unwrap();
    for (words, remembers) in [
        (String::new(), "Application web-demo remembers it".to_owned()),
        (format!(" --against {}", export.display()), "remembers it".to_owned()),
    ] {
        let gone = line.fails(&format!("fleetctl audit verify web-demo -n demo{words}"), 1).await;
        assert!(gone.contains("taken away as a whole") && gone.contains(&remembers), "{gone}");
    }
    // The Application forgets, and an export doesn't.
    let forget = json!({"status": {"record": null}});
    let apps: Api<Application> = Api::namespaced(hub.clone(), "demo");
    apps.patch_status("web-demo", &PatchParams::default(), &Patch::Merge(&forget)).await.unwrap();
    let gone = line
        .fails(&format!("fleetctl audit verify web-demo -n demo --against {}", export.display()), 1)
        .await;
    assert!(gone.contains("taken away as a whole") && gone.contains("export.jsonl remembers it"), "{gone}");
    fleet.shutdown().await;
}
