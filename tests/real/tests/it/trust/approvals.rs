//! Plans, who may approve them, and the record of it: the installed control plane, people with rights of their own.

use anyhow::{Context as _, Result, ensure};
use fleet_api::Phase;
use fleet_real::fleet::SYSTEM;
use fleet_real::{Fleet, Life, eventually, ports};
use serde_json::{Value, json};

use super::people::{NAMESPACE, apps, installed, json, must, newest, run, run_as, says, suffices};

const ADA: (&str, &[&str]) = ("ada", &["release"]);
const BOB: (&str, &[&str]) = ("bob", &["release"]);
const CY: (&str, &[&str]) = ("cy", &["release"]);
/// May approve, and is in no group that the step names.
const DI: (&str, &[&str]) = ("di", &["interns"]);
/// May make Approvals and write records as far as roles say, and mustn't approve.
const EVE: (&str, &[&str]) = ("eve", &["release-to-be"]);

/// Who may do what: all edit and see, all but Eve approve.
const RIGHTS: &str = "
set -e
for who in ada bob cy di eve; do
  kubectl --context hub -n shop create rolebinding edit-$who --clusterrole edit --user $who
  kubectl --context hub create clusterrolebinding see-$who --clusterrole fleetctl-fleet-viewer --user $who
done
for who in ada bob cy di; do
  kubectl --context hub -n shop create rolebinding approve-$who --clusterrole fleetctl-approver --user $who
done
kubectl --context hub -n shop create role forge --verb get,create,patch --resource approvals.fleetctl.dev,auditlogs.fleetctl.dev
kubectl --context hub -n shop create rolebinding forge-eve --role forge --user eve
";

fn application(value: &str) -> String {
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": "till", "namespace": NAMESPACE},
        "spec": {
            "components": [{"name": "main", "type": "k8s-objects", "properties": {"objects": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prices"}, "data": {"bread": value}},
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"till": format!("hidden-{value}")}}]}}],
            "policies": [
                {"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}},
                {"name": "second", "type": "topology", "properties": {"clusters": ["m2"]}}],
            "workflow": {"steps": [
                {"name": "first", "type": "deploy", "properties": {"policies": ["first"]}},
                {"name": "second", "type": "deploy", "properties": {"policies": ["second"], "approval":
                    {"required": 2, "groups": ["release"], "excludeAuthor": true, "expiresAfter": "1h"}}}]}}})
    .to_string()
}

/// Refers to a Secret of the hub.
fn referring() -> String {
    json!({"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": {"name": "safe", "namespace": NAMESPACE},
        "spec": {
            "components": [{"name": "main", "type": "ref-objects", "properties": {"objects": [
                {"apiVersion": "v1", "kind": "Secret", "name": "combination"}]}}],
            "policies": [{"name": "first", "type": "topology", "properties": {"clusters": ["m1"]}}]}})
    .to_string()
}

fn file(fleet: &Fleet, value: &str) -> Result<String> {
    let path = fleet.room().path().join(format!("till-{value}.yaml"));
    std::fs::write(&path, application(value))?;
    Ok(path.display().to_string())
}

/// The plan's hash of the step that asks.
fn asks_for(plan: &Value) -> Option<&str> {
    let steps = plan.pointer("/applications/0/steps")?.as_array()?;
    steps.iter().find(|step| step["gate"] == true)?["planHash"].as_str()
}

/// Ada's change, once the API server asks the controller who makes it.
async fn change(fleet: &Fleet, file: &str) -> Result<()> {
    eventually("ada's change is taken", || async {
        let said = run_as(fleet, ADA, &format!("kubectl apply -f {file}"))?;
        ensure!(said.code == 0, "{}", said.all);
        Ok(())
    })
    .await
}

/// Broken: on a Kubernetes hub, whose API server asks its own authorizer, a plan of files differs from the plan that is
/// asked for; somebody approves who mustn't, or in another's name; the record of it isn't whole; or what the hub refuses
/// stands in a log only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_approve_what_they_saw() -> Result<()> {
    let port = ports::free()?;
    let webhook =
        format!("webhook.enabled=true,webhook.port={port},webhook.url=https://127.0.0.1:{port}/authors");
    let (fleet, mut controller) = installed(Life::Inert, 2, &webhook).await?;
    fleet.shell(RIGHTS)?;

    // What would be: the same hash before and after it is applied, and members that would take it. An API server that
    // got new kinds a moment ago asks to come back.
    let first = file(&fleet, "1")?;
    let planned = run(&fleet, &format!("fleetctl plan -f {first} --dry-run=server --exit-code -o json"))?;
    ensure!(planned.code == 8, "{} ({})", planned.all, planned.code);
    ensure!(!planned.all.contains("hidden-1"), "{}", planned.all);
    let planned: Value = serde_json::from_str(&planned.out)?;
    let trials = planned.pointer("/applications/0/trials").and_then(Value::as_array);
    let trials = trials.context("members were asked")?;
    ensure!(trials.len() == 4 && trials.iter().all(|trial| trial["verdict"] == "accepted"), "{trials:?}");
    let foreseen = asks_for(&planned).context("a step that asks")?.to_owned();

    // Without the right to Secrets nothing begins, and the Application says what grants it.
    change(&fleet, &first).await?;
    must(&fleet, "kubectl create secret generic combination --from-literal=first=7")?;
    fleet.apply(&fleet.hub, &referring()).await?;
    for app in ["till", "safe"] {
        fleet_real::until(apps(&fleet).await?, app, "stopped", |app| {
            let said = app.and_then(|app| serde_json::to_string(&app.status).ok()).unwrap_or_default();
            said.contains("HubRefuses") && said.contains("referenced.secrets=true")
        })
        .await?;
    }
    let status = must(&fleet, "fleetctl status till")?;
    ensure!(status.contains("referenced.secrets=true"), "{status}");
    fleet.shell(&format!(
        "helm upgrade fleetctl charts/fleetctl -n {SYSTEM} --reuse-values --set referenced.secrets=true"
    ))?;
    let gated = |phase: Phase, text: &str| {
        phase == Phase::WorkflowSuspending && text.contains("0 of 2") && !text.contains("HubRefuses")
    };
    says(&fleet, "till", "waits for people", gated).await?;
    let plan = json(&fleet, "fleetctl plan till -o json")?;
    ensure!(plan["planHash"] == foreseen.as_str(), "planned as {foreseen}, asked for {plan}");

    // Who mustn't.
    let said = run_as(&fleet, EVE, "fleetctl workflow resume till")?;
    ensure!(said.code == 4 && said.all.contains("approve"), "{}", said.all);
    let run_name =
        newest(&fleet, "till", "the first run", 1, |_| true).await?.metadata.name.unwrap_or_default();
    let forged = json!({"apiVersion": "fleetctl.dev/v1alpha1", "kind": "Approval",
        "metadata": {"name": "forged", "namespace": NAMESPACE},
        "spec": {"application": "till", "run": run_name, "step": "second", "planHash": foreseen,
            "approver": "bob", "groups": ["release"]}});
    for who in [EVE, CY] {
        let said = run_as(&fleet, who, &format!("kubectl create -f - <<'EOF'\n{forged}\nEOF"))?;
        ensure!(said.code != 0 && said.all.contains("approvals.fleetctl.dev"), "{}: {}", who.0, said.all);
    }
    // Who may, and doesn't count.
    for (who, why) in [(ADA, "ada changed the spec"), (DI, "isn't in any of the groups asked for")] {
        let said = run_as(&fleet, who, &format!("fleetctl workflow resume till --plan {foreseen}"))?;
        ensure!(said.code == 4 && said.all.contains(why), "{}: {} ({})", who.0, said.all, said.code);
    }
    let said = run_as(&fleet, BOB, "fleetctl workflow resume till --plan 0123456789ab")?;
    ensure!(said.code == 4 && said.all.contains("another one now"), "{}", said.all);
    // Two who count. The policy that proves who they are was touched a moment ago: that is waited for.
    must(&fleet, "kubectl label validatingadmissionpolicybinding approvals.fleetctl.dev seen=now")?;
    eventually("the controller has heard of it", || async {
        ensure!(controller.log().matches("approvals are proved").count() == 2, "{}", controller.log());
        Ok(())
    })
    .await?;
    let line = format!("fleetctl workflow resume till --plan {foreseen} --reason CHG-1");
    let said = run_as(&fleet, BOB, &line)?;
    ensure!(said.code == 0 && said.all.contains("1 of 2 approvals"), "{}", said.all);
    ensure!(said.all.contains("it is said again in"), "{}", said.all);
    let said = run_as(&fleet, CY, "fleetctl workflow approve till")?;
    ensure!(said.code == 0, "{}", said.all);
    says(&fleet, "till", "running", |phase, _| phase == Phase::Running).await?;
    let why = must(&fleet, "fleetctl why cm/prices -m m2 data.bread")?;
    ensure!(why.contains("component main"), "{why}");

    says(&fleet, "safe", "running", |phase, _| phase == Phase::Running).await?;

    the_record(&fleet)?;
    controller.stop().await?;
    suffices(&fleet, "secrets")?;
    fleet.end();
    Ok(())
}

/// It is there, whole, exported, and shows what was done to it.
fn the_record(fleet: &Fleet) -> Result<()> {
    let shown = must(fleet, "fleetctl audit show till")?;
    for what in ["RunStarted", "GateShut", "Approved", "bob", "cy", "CHG-1", "ApprovalRefused", "RunEnded"] {
        ensure!(shown.contains(what), "no {what} in\n{shown}");
    }
    ensure!(shown.matches("not proved").count() == 1, "bob's first word, and no other:\n{shown}");
    let exported = fleet.room().path().join("till.jsonl").display().to_string();
    must(fleet, &format!("fleetctl audit export till > {exported}"))?;
    must(fleet, &format!("fleetctl audit verify till --against {exported}"))?;
    fleet.shell(&format!("fleetctl audit verify -f {exported}"))?;
    // Nobody but the controller writes it; what the mightiest do shows.
    let logs = must(fleet, "kubectl get auditlogs -o name")?;
    let log = logs.lines().find(|name| name.contains("/till-")).context("a record")?;
    let forge = format!(
        "kubectl patch {} --type json -p '[{{\"op\": \"replace\", \"path\": \"/spec/entries/1/actor\", \"value\": \"eve\"}}]'",
        log
    );
    let said = run_as(fleet, EVE, &forge)?;
    ensure!(said.code != 0 && said.all.contains("records.fleetctl.dev"), "{}", said.all);
    must(fleet, &forge)?;
    let said = run(fleet, "fleetctl audit verify till")?;
    ensure!(said.code == 1 && said.all.contains("isn't whole"), "{}", said.all);
    Ok(())
}
