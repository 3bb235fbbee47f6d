//! Gates that demand approvers, whole: who is proved, who counts, how gates end, and what is deleted unasked.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fleet_api::{Application, Approval, ApprovalSpec, Decision, Gate, GateOutcome};
use fleet_apiserver::Identity;
use fleet_controller::{AuthorSource, Options};
use fleet_testkit::{Engine, Fleet, Meter};
use jiff::SignedDuration;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::small::{app, config, deployment, message, value};

const CONFIG: (&str, &str, &str) = ("v1", "ConfigMap", "settings");
const PEOPLE: &str = include_str!("../../../../charts/fleetctl/files/people.yaml");
const POLICIES: &str = include_str!("../../../../charts/fleetctl/files/policies.yaml");

/// An Application whose one step demands approvers.
fn demanding(approval: &Value) -> Value {
    let mut app = app(&[CONFIG], &["m1"]);
    app["spec"]["workflow"] = json!({"steps": [
        {"name": "go", "type": "deploy", "properties": {"approval": approval, "policies": ["where"]}}]});
    app
}

/// A fleet with roles, and with people who may approve: whoever is in `release`, and eve.
async fn fleet_with_people() -> anyhow::Result<Fleet> {
    let fleet = Fleet::start(&[("m1", "one")]).await?;
    fleet.apply_all("hub", PEOPLE).await?;
    let rbac = "rbac.authorization.k8s.io";
    let subjects = json!([{"kind": "Group", "name": "release", "apiGroup": rbac}, {"kind": "User", "name": "eve", "apiGroup": rbac}]);
    let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
        "metadata": {"name": "approve", "namespace": "demo"}, "subjects": subjects,
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "fleetctl-approver"}});
    fleet.apply("hub", &binding).await?;
    fleet.apply("hub", &config("settings", "1")).await?;
    Ok(fleet)
}

/// The policy that proves approvals, and its binding.
async fn prove(fleet: &Fleet) -> anyhow::Result<()> {
    let ours =
        |manifest: &Value| manifest.pointer("/metadata/name") == Some(&json!("approvals.fleetctl.dev"));
    let text = POLICIES.replace("CONTROLLERS", r#"["fleetctl-controller"]"#);
    for manifest in fleet_testkit::manifests::read(&text)?.iter().filter(|manifest| ours(manifest)) {
        fleet.apply("hub", manifest).await?;
    }
    Ok(())
}

/// No wait after a change of the policy: tests don't sleep.
fn at_once(fleet: &Fleet) -> Options {
    Options { proof_margin: SignedDuration::ZERO, ..fleet.options() }
}

fn started(fleet: &Fleet, options: Options) -> Engine {
    Engine::with(fleet, Meter::new(), Meter::new(), options)
}

/// Somebody decides about the gate that waits, by himself.
async fn decide(
    fleet: &Fleet,
    app: &Application,
    (user, groups): (&str, &[&str]),
    decision: Decision,
) -> anyhow::Result<String> {
    let run = fleet.run_of(app).await?;
    let status = run.status.clone().unwrap_or_default();
    let step = status.steps.iter().find(|step| step.shut_gate().is_some()).expect("a gate waits");
    let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    let spec = ApprovalSpec {
        application: app.name_any(),
        run: run.name_any(),
        step: step.name.clone(),
        plan_hash: step.gate.as_ref().map(|gate| gate.plan_hash.clone()).unwrap_or_default(),
        decision,
        approver: user.to_owned(),
        groups: groups.clone(),
        reason: "looked at it".to_owned(),
    };
    let client = fleet.embedded().client_as("hub", Identity::new(user, groups));
    let api: Api<Approval> = Api::namespaced(client, "demo");
    let mut approval = Approval::new("", spec);
    approval.metadata.name = None;
    approval.metadata.generate_name = Some(format!("{user}-"));
    Ok(api.create(&PostParams::default(), &approval).await?.name_any())
}

fn gate(app: &Application) -> Gate {
    let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
    workflow
        .and_then(|workflow| workflow.steps.first())
        .and_then(|step| step.gate.clone())
        .unwrap_or_default()
}

/// Broken: one person twice, or somebody outside the group, opens a gate that demands two of a group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_of_the_group_open_a_gate() -> anyhow::Result<()> {
    let fleet = fleet_with_people().await?;
    prove(&fleet).await?;
    let engine = started(&fleet, at_once(&fleet));
    fleet.apply("hub", &demanding(&json!({"required": 2, "groups": ["release"]}))).await?;
    let waiting =
        fleet.wait("web", |app| message(app).contains("0 of 2 approvals from group release")).await?;
    decide(&fleet, &waiting, ("bob", &["release"]), Decision::Approve).await?;
    decide(&fleet, &waiting, ("bob", &["release"]), Decision::Approve).await?;
    decide(&fleet, &waiting, ("eve", &["guests"]), Decision::Approve).await?;
    let seen = fleet.wait("web", |app| gate(app).refused.len() == 2).await?;
    let reasons: Vec<String> = gate(&seen).refused.into_iter().map(|refusal| refusal.reason).collect();
    assert!(
        reasons.contains(&"Duplicate".to_owned()) && reasons.contains(&"NotInGroup".to_owned()),
        "{reasons:?}"
    );
    assert!(message(&seen).contains("1 of 2 approvals (bob)"), "{}", message(&seen));
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    decide(&fleet, &waiting, ("cy", &["release"]), Decision::Approve).await?;
    let done = fleet.wait_phase("web", "running").await?;
    let gate = gate(&done);
    let who: Vec<&str> = gate.approvals.iter().map(|approval| approval.approver.as_str()).collect();
    assert_eq!((gate.outcome, who), (GateOutcome::Approved, vec!["bob", "cy"]));
    assert!(gate.approvals.iter().all(|approval| approval.proven));
    engine.stop().await?;
    Ok(())
}

/// Broken: where nothing holds approvers to who they are, a claimed name opens a gate; or nobody is told what is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_policy_nobody_opens_a_gate_that_demands_approvers() -> anyhow::Result<()> {
    let fleet = fleet_with_people().await?;
    for kind in ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"] {
        let manifest = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind});
        let api = fleet.resource("hub", &manifest).await?;
        if api.get_opt("approvals.fleetctl.dev").await?.is_some() {
            api.delete("approvals.fleetctl.dev", &Default::default()).await?;
        }
    }
    let engine = started(&fleet, fleet.options());
    fleet.apply("hub", &demanding(&json!({}))).await?;
    let what = "ValidatingAdmissionPolicy approvals.fleetctl.dev isn't there; restore it: fleetctl install";
    let waiting = fleet.wait("web", |app| message(app).contains(what)).await?;
    decide(&fleet, &waiting, ("bob", &["release"]), Decision::Approve).await?;
    let seen = fleet.wait("web", |app| gate(app).refused.len() == 1).await?;
    assert_eq!(gate(&seen).refused[0].reason, "NotProven");
    // Clearing suspend by hand proves nobody.
    let api: Api<Application> = Api::namespaced(fleet.client("hub"), "demo");
    let patch = json!({"status": {"workflow": {"suspend": false}}});
    api.patch_status("web", &Default::default(), &kube::api::Patch::Merge(&patch)).await?;
    // With the policy back, what was approved before, or right after, still isn't proved.
    prove(&fleet).await?;
    let late = decide(&fleet, &waiting, ("bob", &["release"]), Decision::Approve).await?;
    let seen = fleet
        .wait("web", |app| {
            gate(app).refused.iter().any(|r| r.approval == late && r.message.contains("decide again"))
        })
        .await?;
    assert!(gate(&seen).is_shut() && value(&fleet, "m1", "settings").await?.is_none());
    engine.stop().await?;
    // Once enough time has passed since the policy came back, who decides is proved.
    let engine = started(&fleet, at_once(&fleet));
    decide(&fleet, &waiting, ("cy", &["release"]), Decision::Approve).await?;
    fleet.wait_phase("web", "running").await?;
    engine.stop().await?;
    Ok(())
}

/// A policy that was weakened counts as none, and the object and the field are named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weakened_binding_is_named() -> anyhow::Result<()> {
    let fleet = fleet_with_people().await?;
    prove(&fleet).await?;
    let engine = started(&fleet, at_once(&fleet));
    fleet.apply("hub", &demanding(&json!({}))).await?;
    fleet
        .wait("web", |app| message(app).contains("0 of 1 approvals; ") && !message(app).contains("proved"))
        .await?;
    let kind = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding");
    let warn = json!({"spec": {"validationActions": ["Warn"]}});
    fleet.merge("hub", kind.0, kind.1, "approvals.fleetctl.dev", &warn).await?;
    let what = "the ValidatingAdmissionPolicyBinding approvals.fleetctl.dev was weakened: validationActions doesn't say Deny";
    fleet.wait("web", |app| message(app).contains(what)).await?;
    engine.stop().await?;
    Ok(())
}

/// A no ends the run: who, why, and the way on are said, and nothing is delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_ends_the_run() -> anyhow::Result<()> {
    let fleet = fleet_with_people().await?;
    prove(&fleet).await?;
    let engine = started(&fleet, at_once(&fleet));
    fleet.apply("hub", &demanding(&json!({"required": 2}))).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    decide(&fleet, &waiting, ("bob", &["release"]), Decision::Reject).await?;
    let ended = fleet.wait_phase("web", "workflowTerminated").await?;
    for said in ["was rejected by bob: looked at it", "fleetctl workflow restart web -n demo"] {
        assert!(message(&ended).contains(said), "{}", message(&ended));
    }
    assert_eq!(gate(&ended).outcome, GateOutcome::Rejected);
    let run = fleet.run_of(&ended).await?.status.unwrap_or_default();
    assert_eq!(run.reason, "Rejected");
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    engine.stop().await?;
    Ok(())
}

/// A gate expires at a time that a crash doesn't move, and what was approved is void.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_expires_while_nobody_looks() -> anyhow::Result<()> {
    let fleet = fleet_with_people().await?;
    prove(&fleet).await?;
    let ahead = Arc::new(AtomicI64::new(0));
    let options = || {
        let (mut options, ahead) = (at_once(&fleet), Arc::clone(&ahead));
        let clock = Arc::clone(&options.clock);
        options.clock = Arc::new(move || clock() + SignedDuration::from_secs(ahead.load(Ordering::SeqCst)));
        options
    };
    let engine = started(&fleet, options());
    fleet.apply("hub", &demanding(&json!({"required": 2, "expiresAfter": "2h"}))).await?;
    let waiting = fleet.wait_phase("web", "workflowSuspending").await?;
    decide(&fleet, &waiting, ("bob", &["release"]), Decision::Approve).await?;
    fleet.wait("web", |app| gate(app).approvals.len() == 1).await?;
    engine.kill().await;
    decide(&fleet, &waiting, ("cy", &["release"]), Decision::Approve).await?;
    ahead.store(7300, Ordering::SeqCst);
    let engine = started(&fleet, options());
    let ended = fleet.wait_phase("web", "workflowFailed").await?;
    assert_eq!(gate(&ended).outcome, GateOutcome::Expired);
    assert!(message(&ended).contains("fleetctl workflow restart web -n demo"), "{}", message(&ended));
    assert_eq!(value(&fleet, "m1", "settings").await?, None);
    engine.stop().await?;
    Ok(())
}

/// A gate whose approvers can't exist, or whose author isn't known, says so instead of waiting in silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_open_says_so() -> anyhow::Result<()> {
    let fleet = fleet_with_people().await?;
    prove(&fleet).await?;
    // Nobody notes authors here.
    let engine = started(&fleet, Options { author: AuthorSource::Webhook, ..at_once(&fleet) });
    fleet.apply("hub", &demanding(&json!({"groups": ["release", "nobody"], "excludeAuthor": true}))).await?;
    let waiting = fleet.wait("web", |app| message(app).contains("nothing grants group")).await?;
    let said = message(&waiting);
    assert!(said.contains("\"nobody\"") && !said.contains("group \"release\""), "{said}");
    assert!(said.contains("--clusterrole fleetctl-approver"), "{said}");
    assert!(said.contains("nobody can open it, as whoever changed the spec may not approve"), "{said}");
    // Behind another gate it is said while that one waits.
    let mut later = demanding(&json!({"groups": ["nobody"]}));
    later["metadata"]["name"] = json!("later");
    let ask = json!({"name": "ask", "type": "suspend"});
    later["spec"]["workflow"]["steps"].as_array_mut().expect("a list").insert(0, ask);
    fleet.apply("hub", &later).await?;
    let waiting = fleet.wait_phase("later", "workflowSuspending").await?;
    let steps = waiting.status.and_then(|status| status.workflow).map(|w| w.steps).unwrap_or_default();
    let (reason, said) = (steps[1].reason.as_str(), steps[1].message.as_str());
    assert!(reason == "GroupMayNotApprove" && said.contains("Application demo/later"), "{reason} {said}");
    // Broken: it is said for ever, though somebody did what it says, since nothing else happens.
    let rbac = "rbac.authorization.k8s.io";
    let granted = json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
        "metadata": {"name": "approve-later", "namespace": "demo"},
        "subjects": [{"kind": "Group", "name": "nobody", "apiGroup": rbac}],
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "fleetctl-approver"}});
    fleet.apply("hub", &granted).await?;
    fleet.wait("web", |app| !message(app).contains("nothing grants group")).await?;
    let workflow = |app: &Application| app.status.clone().and_then(|status| status.workflow);
    fleet.wait("later", |app| workflow(app).is_some_and(|flow| flow.steps[1].message.is_empty())).await?;
    engine.stop().await?;
    Ok(())
}

const WEB: (&str, &str, &str) = ("apps/v1", "Deployment", "web");

/// Two clusters with a workload each; then one of them.
async fn leaving(properties: Value) -> anyhow::Result<(Fleet, Engine)> {
    let fleet = Fleet::start(&[("m1", "one"), ("m2", "two")]).await?;
    let engine = Engine::start(&fleet);
    fleet.apply("hub", &deployment("web", "web:1")).await?;
    let mut manifest = app(&[WEB], &["m1", "m2"]);
    let mut properties = properties;
    properties["policies"] = json!(["where"]);
    manifest["spec"]["workflow"] =
        json!({"steps": [{"name": "go", "type": "deploy", "properties": properties}]});
    fleet.apply("hub", &manifest).await?;
    fleet.wait_run("web", 1, "running").await?;
    manifest["spec"]["policies"][0]["properties"]["clusters"] = json!(["m1"]);
    fleet.apply("hub", &manifest).await?;
    Ok((fleet, engine))
}

/// Broken: a cluster that is taken off a list loses its programs at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_workload_of_a_cluster_goes_only_when_somebody_agrees() -> anyhow::Result<()> {
    let (fleet, engine) = leaving(json!({})).await?;
    let waiting = fleet.wait_run("web", 2, "workflowSuspending").await?;
    let said = message(&waiting);
    assert!(said.contains("waits for approval of what it deletes: m2/demo: everything goes there"), "{said}");
    assert!(fleet.get("m2", WEB.0, WEB.1, WEB.2).await?.is_some());
    // It is asked again after a crash, and nothing was forgotten.
    engine.kill().await;
    let engine = Engine::start(&fleet);
    fleet.approve(&waiting).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert!(fleet.get("m2", WEB.0, WEB.1, WEB.2).await?.is_none());
    engine.stop().await?;
    Ok(())
}

/// `Prune` asks nobody; `Keep` leaves what is there, as nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_may_prune_unasked_or_keep() -> anyhow::Result<()> {
    let (fleet, engine) = leaving(json!({"onDelete": "Prune"})).await?;
    fleet.wait_run("web", 2, "running").await?;
    assert!(fleet.get("m2", WEB.0, WEB.1, WEB.2).await?.is_none());
    engine.stop().await?;
    let (fleet, engine) = leaving(json!({"onDelete": "Keep"})).await?;
    fleet.wait_run("web", 2, "running").await?;
    let kept = fleet.get("m2", WEB.0, WEB.1, WEB.2).await?.expect("it stays");
    let labels = kept.pointer("/metadata/labels").cloned().unwrap_or_default();
    assert!(labels.get("fleetctl.dev/owner").is_none(), "it is nobody's: {labels}");
    engine.stop().await?;
    Ok(())
}
