//! Plans, who may approve them, and the record of it: the installed control plane, people with rights of their own.

use anyhow::{Context as _, Result, ensure};
use fleet_api::Phase;
use fleet_real::fleet::SYSTEM;
use fleet_real::{ClusterSpec, Fleet, Life, eventually, ports};
use serde_json::{Value, json};

use super::people::{NAMESPACE, apps, json, must, newest, run, run_as, says};

const ADA: (&str, &[&str]) = ("ada", &["release"]);
const BOB: (&str, &[&str]) = ("bob", &["release"]);
const CY: (&str, &[&str]) = ("cy", &["release"]);
/// May approve, and is in no group that a step names.
const DI: (&str, &[&str]) = ("di", &["interns"]);
/// May edit, and mustn't approve.
const EVE: (&str, &[&str]) = ("eve", &["release-to-be"]);

/// Who may do what: all five edit and see, all but Eve approve.
const RIGHTS: &str = "
for who in ada bob cy di eve; do
  kubectl --context hub -n shop create rolebinding edit-$who --clusterrole edit --user $who
  kubectl --context hub create clusterrolebinding see-$who --clusterrole fleetctl-fleet-viewer --user $who
done
for who in ada bob cy di; do
  kubectl --context hub -n shop create rolebinding approve-$who --clusterrole fleetctl-approver --user $who
done
kubectl --context hub -n shop create role forge --verb create --resource approvals.fleetctl.dev
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

/// Broken: on a Kubernetes hub, whose API server asks its own authorizer, a plan of files differs from the plan that is
/// asked for; somebody approves who mustn't, or in another's name; the record of it isn't whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_approve_what_they_saw() -> Result<()> {
    let hub = ClusterSpec::new("hub", Life::Inert).audited();
    let members = ["m1", "m2"].map(|name| ClusterSpec::new(name, Life::Inert));
    let fleet = Fleet::clusters(hub, members).await?;
    let port = ports::free()?;
    let url = format!("https://127.0.0.1:{port}/authors");
    fleet.helm_install(&format!("--set webhook.enabled=true,webhook.port={port},webhook.url={url}"))?;
    fleet.register_all().await?;
    for cluster in [&fleet.hub, fleet.member("m1")?, fleet.member("m2")?] {
        fleet.namespace(cluster, NAMESPACE).await?;
    }
    fleet.shell(RIGHTS)?;
    let mut controller = fleet.installed_controller("controller").await?;

    // What would be: the same hash before and after it is applied, and members that would take it.
    let first = file(&fleet, "1")?;
    let planned = run(&fleet, &format!("fleetctl plan -f {first} --dry-run=server --exit-code -o json"))?;
    ensure!(planned.code == 8, "{}", planned.all);
    ensure!(!planned.all.contains("hidden-1"), "{}", planned.all);
    let planned = json(&planned.out)?;
    let trials = planned.pointer("/applications/0/trials").and_then(Value::as_array);
    let trials = trials.context("members were asked")?;
    ensure!(trials.len() == 4 && trials.iter().all(|trial| trial["verdict"] == "accepted"), "{trials:?}");
    let foreseen = asks_for(&planned).context("a step that asks")?.to_owned();
    eventually("ada's change is taken", || async {
        let said = run_as(&fleet, ADA, &format!("kubectl apply -f {first}"))?;
        ensure!(said.code == 0, "{}", said.all);
        Ok(())
    })
    .await?;
    let gated = |phase: Phase, text: &str| phase == Phase::WorkflowSuspending && text.contains("\"second\"");
    says(&fleet, "till", "waits for people", gated).await?;
    let plan = json(&must(&fleet, "fleetctl plan till -o json")?)?;
    ensure!(plan["planHash"] == foreseen.as_str(), "planned as {foreseen}, asked for {plan}");

    // Who mustn't.
    let said = run_as(&fleet, EVE, "fleetctl workflow resume till")?;
    ensure!(said.code != 0 && said.all.contains("approve"), "{}", said.all);
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
    for (who, code) in [(ADA, "Author"), (DI, "NotInGroup")] {
        run_as(&fleet, who, &format!("fleetctl workflow resume till --plan {foreseen}"))?;
        says(&fleet, "till", code, |phase, text| phase == Phase::WorkflowSuspending && text.contains(code))
            .await?;
    }
    // Two who count.
    let said =
        run_as(&fleet, BOB, &format!("fleetctl workflow resume till --plan {foreseen} --reason CHG-1"))?;
    ensure!(said.code == 0, "{}", said.all);
    says(&fleet, "till", "one of two", |phase, text| {
        phase == Phase::WorkflowSuspending && text.contains("\"bob\"")
    })
    .await?;
    let said = run_as(&fleet, CY, "fleetctl workflow approve till")?;
    ensure!(said.code == 0, "{}", said.all);
    says(&fleet, "till", "running", |phase, _| phase == Phase::Running).await?;
    let why = must(&fleet, "fleetctl why cm/prices -m m2 data.bread")?;
    ensure!(why.contains("component"), "{why}");

    // The record, which nobody else may write.
    let shown = must(&fleet, "fleetctl audit show till")?;
    for what in ["RunStarted", "ApprovalRefused", "Approved", "bob", "cy", "CHG-1", "RunEnded"] {
        ensure!(shown.contains(what), "no {what} in\n{shown}");
    }
    must(&fleet, "fleetctl audit verify till")?;
    let log = must(&fleet, "kubectl get auditlogs -o name")?;
    let forge = format!(
        "kubectl patch {} --type json -p '[{{\"op\": \"remove\", \"path\": \"/spec/entries/1\"}}]'",
        log.trim()
    );
    let said = run(&fleet, &forge)?;
    ensure!(said.code != 0 && said.all.contains("records.fleetctl.dev"), "{}", said.all);

    // Without the policy nobody's word is proved.
    let kept = must(&fleet, "kubectl get validatingadmissionpolicybinding approvals.fleetctl.dev -o json")?;
    must(
        &fleet,
        "kubectl delete validatingadmissionpolicybinding approvals.fleetctl.dev records.fleetctl.dev",
    )?;
    let second = file(&fleet, "2")?;
    let said = run_as(&fleet, ADA, &format!("kubectl apply -f {second}"))?;
    ensure!(said.code == 0, "{}", said.all);
    says(&fleet, "till", "asks again", |phase, text| {
        phase == Phase::WorkflowSuspending && text.contains("approvals.fleetctl.dev")
    })
    .await?;
    for who in [BOB, CY] {
        run_as(&fleet, who, "fleetctl workflow resume till")?;
    }
    says(&fleet, "till", "proves nothing", |phase, text| {
        phase == Phase::WorkflowSuspending && text.contains("NotProven")
    })
    .await?;
    let mut kept = json(&kept)?;
    kept["metadata"] = json!({"name": "approvals.fleetctl.dev"});
    must(&fleet, &format!("kubectl create -f - <<'EOF'\n{kept}\nEOF"))?;
    // What was said before it was back counts no more than before.
    eventually("the policy is relied on again", || async {
        run_as(&fleet, BOB, "fleetctl workflow resume till")?;
        let text = serde_json::to_string(&apps(&fleet).await?.get("till").await?.status)?;
        ensure!(text.contains("\"bob\"") && text.contains("1 of 2"), "{text}");
        Ok(())
    })
    .await?;
    // One no ends it.
    let said = run_as(&fleet, CY, "fleetctl workflow reject till --reason 'the bread is stale'")?;
    ensure!(said.code == 0, "{}", said.all);
    says(&fleet, "till", "rejected", |phase, text| {
        phase == Phase::WorkflowTerminated && text.contains("the bread is stale")
    })
    .await?;
    let bread = must(&fleet, "fleetctl get cm prices -m m2 -o yaml")?;
    ensure!(bread.contains("bread: \"1\""), "{bread}");

    // What was cut out shows, once somebody could.
    let said = run(&fleet, &forge)?;
    ensure!(said.code == 0, "{}", said.all);
    let said = run(&fleet, "fleetctl audit verify till")?;
    ensure!(said.code != 0, "{}", said.all);

    controller.stop().await?;
    let account = format!("system:serviceaccount:{SYSTEM}:fleetctl-controller");
    let refused =
        fleet.hub.audit()?.into_iter().find(|request| request.user == account && request.code == 403);
    ensure!(refused.is_none(), "the chart's rights don't suffice: {refused:?}");
    fleet.end();
    Ok(())
}
