//! The life of a release: installed, upgraded, uninstalled; what it refuses and what its policies prove.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fleet_api::{Application, Phase, Run, names};
use fleet_real::fleet::SYSTEM as NAMESPACE;
use fleet_real::{ClusterSpec, Controller, Fleet, Life, kubeconfig, tools, until};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

pub(crate) const APPLICATION: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: default}
data: {colour: blue}
---
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: settings, namespace: default}
spec:
  components:
    - name: settings
      type: ref-objects
      properties: {objects: [{apiVersion: v1, kind: ConfigMap, name: settings}]}
      traits: [{type: labels, properties: {tier: front}}]
  policies:
    - {name: everywhere, type: topology, properties: {clusters: [m1]}}
";

/// A hub on which nothing is installed, and a member.
pub(crate) async fn bare() -> Result<Fleet> {
    Fleet::clusters(ClusterSpec::new("hub", Life::Bare), [ClusterSpec::new("m1", Life::Bare)]).await
}

/// Installs or upgrades the chart.
pub(crate) fn helm(fleet: &Fleet, arguments: &str) -> Result<String> {
    let line = format!("helm upgrade --install fleetctl charts/fleetctl -n {NAMESPACE} --create-namespace");
    let said = fleet.shell(&format!("{line} --kube-context hub {arguments}"))?;
    fleet.wait_served()?;
    Ok(said)
}

/// Makes `m1` a member.
pub(crate) async fn join(fleet: &Fleet) -> Result<()> {
    fleet.register_all().await
}

/// What was delivered, with its resource version.
pub(crate) async fn delivered(fleet: &Fleet) -> Result<ConfigMap> {
    let there: Api<ConfigMap> = Api::namespaced(fleet.member("m1")?.client().await?, "default");
    until(there, "settings", "delivered", |object| object.is_some()).await?.context("the object")
}

/// Waits until the Application runs.
pub(crate) async fn running(fleet: &Fleet) -> Result<Application> {
    let api: Api<Application> = Api::namespaced(fleet.hub.client().await?, "default");
    let is_running = |app: Option<&Application>| {
        app.and_then(|app| app.status.as_ref()).is_some_and(|status| status.status == Phase::Running)
    };
    until(api, "settings", "running", is_running).await?.context("the Application")
}

pub(crate) async fn runs(fleet: &Fleet) -> Result<Vec<(String, Option<String>)>> {
    let api: Api<Run> = Api::namespaced(fleet.hub.client().await?, "default");
    let all = api.list(&ListParams::default()).await?;
    Ok(all.items.iter().map(|run| (run.name_any(), run.resource_version())).collect())
}

/// Ends it; a controller that was refused anything would have said so.
pub(crate) async fn ends_well(mut controller: Controller) -> Result<()> {
    let ended = controller.stop().await?;
    let log = controller.log();
    ensure!(ended.is_some_and(|status| status.success()), "{log}");
    ensure!(!log.contains("forbidden"), "a right is missing: {log}");
    Ok(())
}

/// What is on the hub of the installation besides definitions.
pub(crate) fn installed(fleet: &Fleet) -> Result<String> {
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,\
                 deployments,serviceaccounts,roles,rolebindings,poddisruptionbudgets,networkpolicies,services,jobs";
    fleet.kubectl(&format!("get {kinds} -A -l app.kubernetes.io/name=fleetctl -o name --context hub"))
}

/// Broken: what a release puts on the hub doesn't let its controller work, an upgrade restarts what runs or leaves old
/// kinds, or uninstalling takes somebody's applications along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_lives_and_goes() -> Result<()> {
    let fleet = bare().await?;
    helm(&fleet, "")?;
    join(&fleet).await?;
    let controller = fleet.installed_controller("first").await?;
    fleet.apply(&fleet.hub, APPLICATION).await?;
    running(&fleet).await?;
    let before = (delivered(&fleet).await?.metadata.resource_version, runs(&fleet).await?);
    assert_eq!(before.1.len(), 1);
    let types =
        fleet.kubectl(&format!("get componentdefinitions,traitdefinitions -n {NAMESPACE} -o name"))?;
    assert!(types.contains("componentdefinition.core.oam.dev/webservice"), "{types}");

    // Twice is once too often.
    let said = fleet.try_shell("helm install other charts/fleetctl -n other --create-namespace")?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("installed by release \"fleetctl\" in namespace \"fleetctl-system\""), "{said}");

    let over = "--take-ownership --set takeOver=true";
    let said =
        fleet.try_shell(&format!("helm install other charts/fleetctl -n other --create-namespace {over}"))?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("still runs in namespace fleetctl-system"), "{said}");

    // The next version has another column.
    let next = fleet.room().path().join("chart");
    let (next, file) = (next.display(), "files/crds/approvals.fleetctl.dev.yaml");
    fleet.shell(&format!(
        "cp -r charts/fleetctl {next} && sed -i 's/name: APPROVER/name: WHO/' {next}/{file}"
    ))?;
    fleet.shell(&format!("helm upgrade fleetctl {next} -n {NAMESPACE} --set replicas=3"))?;
    let columns =
        "get crd approvals.fleetctl.dev -o jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}";
    assert!(fleet.kubectl(columns)?.contains("WHO"), "the definitions aren't upgraded");
    ends_well(controller).await?;
    let controller = fleet.installed_controller("second").await?;
    // The second controller has looked at everything when it repairs.
    fleet.kubectl("label configmap settings fleetctl.dev/owner- tier- --context m1")?;
    let api: Api<ConfigMap> = Api::namespaced(fleet.member("m1")?.client().await?, "default");
    let repaired = |map: Option<&ConfigMap>| map.is_some_and(|map| map.labels().contains_key("tier"));
    until(api, "settings", "repaired", repaired).await?;
    assert_eq!(runs(&fleet).await?, before.1, "an upgrade starts no run");
    running(&fleet).await?;
    ends_well(controller).await?;

    // No node runs the Job that releases the finalizers; it is run beside, as it would be.
    let ended = fleet.room().path().join("uninstalled");
    let line = format!("helm uninstall fleetctl -n {NAMESPACE} --timeout 60s");
    fleet.shell(&format!("({line}; echo code $?) > {} 2>&1 &", ended.display()))?;
    run_the_hook(&fleet).await?;
    fleet_real::eventually("helm has ended", || {
        let said = std::fs::read_to_string(&ended).unwrap_or_default();
        std::future::ready(if said.contains("code ") { Ok(()) } else { Err(anyhow::anyhow!("{said}")) })
    })
    .await?;
    assert!(std::fs::read_to_string(&ended)?.contains("code 0"), "{}", std::fs::read_to_string(&ended)?);
    assert_eq!(installed(&fleet)?, "");
    // Nobody keeps its status any more, and it may tell of the repair.
    let api: Api<Application> = Api::namespaced(fleet.hub.client().await?, "default");
    let app = api.get("settings").await?;
    assert!(!app.finalizers().iter().any(|name| name == names::FINALIZER), "the finalizer is released");
    assert!(app.status.is_some_and(|status| status.latest_revision.is_some()), "its status is kept");
    assert!(delivered(&fleet).await?.data.is_some_and(|data| data["colour"] == "blue"));
    assert_eq!(
        fleet.kubectl("get crd -o name --context hub")?.lines().count(),
        fleet_api::crds::all()?.len()
    );

    // And back: the same run, the same object.
    helm(&fleet, "")?;
    let controller = fleet.installed_controller("third").await?;
    let taken_up = |app: Option<&Application>| {
        app.is_some_and(|app| app.finalizers().iter().any(|name| name == names::FINALIZER))
    };
    until(api, "settings", "taken up again", taken_up).await?;
    assert_eq!(runs(&fleet).await?.len(), 1, "a new installation starts no run");
    ends_well(controller).await?;
    fleet.end();
    Ok(())
}

/// Does what a node and the Job controller would do: runs the hook's container, and says that the Job is complete.
async fn run_the_hook(fleet: &Fleet) -> Result<()> {
    let jobs: Api<Job> = Api::namespaced(fleet.hub.client().await?, NAMESPACE);
    let job =
        until(jobs.clone(), "fleetctl-uninstall", "there", |job| job.is_some()).await?.context("the Job")?;
    let pod = job.spec.and_then(|spec| spec.template.spec).context("its pod")?;
    let account = pod.service_account_name.context("its account")?;
    let token = fleet.kubectl(&format!("create token {account} -n {NAMESPACE} --context hub"))?;
    let user = kubeconfig::User::Token(token.trim().to_owned());
    let path = fleet.room().path().join("uninstall.kubeconfig");
    kubeconfig::write(&path, &fleet.hub.kubeconfig_as(&user))?;
    let arguments = pod.containers.first().and_then(|container| container.args.clone()).unwrap_or_default();
    let arguments = arguments.join(" ");
    fleet.fleetctl(&format!("{arguments} --kubeconfig {}", path.display()))?;
    let now = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "reason": "CompletionsReached", "lastTransitionTime": now });
    let status = json!({ "status": {
        "startTime": now, "completionTime": now, "succeeded": 1, "uncountedTerminatedPods": {},
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    }});
    jobs.patch_status("fleetctl-uninstall", &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

/// Broken: an approval doesn't prove who approved, or somebody writes what only the controller may write, and it is
/// delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_are_proved_and_records_are_the_controllers() -> Result<()> {
    let fleet = bare().await?;
    helm(&fleet, "")?;
    fleet.kubectl("create namespace demo --context hub")?;
    let ann = fleet.hub.pki()?.client("ann", &["dev"])?;
    let ann = fleet.hub.kubeconfig_as(&kubeconfig::User::Certificate(ann));
    let path = fleet.room().path().join("ann.kubeconfig");
    kubeconfig::write(&path, &ann)?;
    let ann = |line: &str, input: &str| -> Result<(bool, String)> {
        // kubectl takes what begins with a brace for JSON.
        let input = format!("---\n{input}");
        let line = format!("kubectl --kubeconfig {} {line} <<'EOF'\n{input}\nEOF", path.display());
        let output = fleet.try_shell(&line)?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok((output.status.success(), said))
    };
    let approval = |approver: &str, group: &str| {
        format!(
            "{{apiVersion: fleetctl.dev/v1alpha1, kind: Approval, metadata: {{name: a, namespace: demo}}, \
             spec: {{application: web, run: r, step: s, planHash: x, approver: {approver}, groups: [{group}]}}}}"
        )
    };
    let write = |(done, said): (bool, String), expected: Option<&str>| match expected {
        None => assert!(done, "{said}"),
        Some(words) => assert!(!done && said.contains(words), "{said}"),
    };
    // Everything that RBAC can grant, short of `approve` and `record`.
    let verbs = "get,list,watch,create,update,patch,delete";
    fleet.kubectl(&format!(
        "create role all -n demo --context hub --verb={verbs} --resource=approvals.fleetctl.dev,runs.fleetctl.dev,applicationrevisions.core.oam.dev,applications.core.oam.dev,secrets"
    ))?;
    fleet.kubectl("create rolebinding all -n demo --role all --user ann --context hub")?;
    fleet_real::eventually("ann has her rights", || {
        std::future::ready(ann("auth can-i create approvals.fleetctl.dev -n demo", "").and_then(
            |(done, said)| {
                ensure!(done, "{said}");
                Ok(())
            },
        ))
    })
    .await?;
    write(ann("apply -f -", &approval("bob", "dev"))?, Some("nobody approves in the name of another"));
    write(ann("apply -f -", &approval("ann", "ops"))?, Some("a group that the user who asks isn't in"));
    write(
        ann("apply -f -", &approval("ann", "dev"))?,
        Some("the verb approve on applications.core.oam.dev is missing"),
    );
    fleet.kubectl(
        "create rolebinding approver -n demo --clusterrole fleetctl-approver --user ann --context hub",
    )?;
    fleet_real::eventually("ann may approve", || {
        std::future::ready(ann("auth can-i approve applications.core.oam.dev/web -n demo", "").and_then(
            |(done, said)| {
                ensure!(done, "{said}");
                Ok(())
            },
        ))
    })
    .await?;
    write(ann("apply -f -", &approval("ann", "dev"))?, None);
    write(ann("apply -f -", &approval("ann", "system:authenticated"))?, Some("an approval can't be changed"));

    let run = "{apiVersion: fleetctl.dev/v1alpha1, kind: Run, metadata: {name: r, namespace: demo}, \
               spec: {application: web, applicationUid: u, number: 1, revision: r, cause: Created}}";
    write(ann("apply -f -", run)?, Some("runs are the controller's records; ann may not write them"));
    // A backup is restored by somebody who may do everything, or was granted the verb.
    fleet.apply(&fleet.hub, run).await?;
    write(ann("annotate run r -n demo note=1", "")?, None);
    write(ann("label run r -n demo note=1", "")?, Some("the controller's records"));
    let patch = "patch run r -n demo --type merge -p '{\"spec\":{\"revision\":\"other\"}}'";
    write(ann(patch, "")?, Some("the controller's records"));
    write(
        ann("create secret generic s -n demo --type=fleetctl.dev/revision", "")?,
        Some("the controller's records"),
    );
    write(ann("create secret generic s -n demo", "")?, None);
    fleet.end();
    Ok(())
}

/// Broken: a misspelt value is passed over in silence, and somebody believes that it holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_values_are_refused_by_both() -> Result<()> {
    let fleet = Fleet::clusters(ClusterSpec::new("hub", Life::Bare), []).await?;
    for (bad, said) in [
        ("replica=3", "replica"),
        ("replicas=0", "replicas"),
        ("replicas=many", "replicas"),
        ("controller.logs=x", "logs"),
        ("controller.drift=ignore", "drift"),
        ("controller.memberTimeout=soon", ""),
        ("image.pullPolicy=Maybe", "pullPolicy"),
        ("metrics.port=80", "port"),
        ("crds.managedClusters=perhaps", "managedClusters"),
        ("serviceAccount.name=Not_A_Name", "name"),
    ] {
        let helm =
            fleet.try_shell(&format!("helm install fleetctl charts/fleetctl -n {NAMESPACE} --set {bad}"))?;
        let words = String::from_utf8_lossy(&helm.stderr).into_owned();
        assert!(!helm.status.success() && words.contains(said), "{bad}: {words}");
        let ours = fleet.try_shell(&format!("fleetctl install --dry-run --set {bad}"))?;
        let words = String::from_utf8_lossy(&ours.stderr).into_owned();
        assert_eq!(ours.status.code(), Some(2), "{bad}: {words}");
    }
    assert_eq!(installed(&fleet)?, "");
    fleet.end();
    Ok(())
}

/// Broken: `fleetctl install` puts something else on a hub than the chart.
#[test]
fn install_says_what_the_chart_says() -> Result<()> {
    let sets = [
        "",
        "replicas=1 referenced.secrets=true metrics.serviceMonitor.enabled=true crds.managedClusters=never",
        "members.credentialsNamespaces=[vela-system] controller.users=[ops] rbac.people=false policies.install=false",
        "controller.enabled=false image.tag=v9 networkPolicy.enabled=false dashboard.enabled=true",
        "webhook.enabled=true webhook.timeoutSeconds=3 metrics.address=127.0.0.1",
        "webhook.enabled=true webhook.url=https://controller.example:9443/authors controller.enabled=false",
        "metrics.service.enabled=true metrics.service.annotations.a=b podLabels.team=x podAnnotations.note=y \
         nodeSelector.disk=ssd priorityClassName=high serviceAccount.annotations.role=z controller.drift=report \
         controller.watchNamespaces=[a] controller.extraArgs=[--beside-another-controller] podDisruptionBudget.enabled=false",
    ];
    for set in sets {
        let words: Vec<&str> = set.split_whitespace().collect();
        assert_eq!(charted(&words)?, ours(&words)?, "{set}");
    }
    Ok(())
}

type Objects = BTreeMap<String, Value>;

/// What helm renders, without its hooks.
fn charted(sets: &[&str]) -> Result<Objects> {
    let mut helm = Command::new(tools::program("helm", "helm")?);
    helm.args([
        "template",
        "fleetctl",
        "charts/fleetctl",
        "-n",
        NAMESPACE,
        "--no-hooks",
        "--kube-version",
        "1.35.0",
    ]);
    for set in sets {
        // Helm writes lists with braces.
        helm.args(["--set", &set.replace('[', "{").replace(']', "}")]);
    }
    let rendered = said(helm.current_dir(tools::root()?))?;
    let text = rendered.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    by_title(fleet_real::fleet::documents(&text)?.into_iter().filter(|document| !document.is_null()))
}

/// What `fleetctl install` would apply, without the namespace, which helm leaves to its user.
fn ours(sets: &[&str]) -> Result<Objects> {
    let mut program = Command::new(fleet_real::controller::built()?);
    program.args(["install", "--dry-run", "-o", "json"]);
    for set in sets {
        program.args(["--set", set]);
    }
    let list: Value = serde_json::from_str(&said(&mut program)?)?;
    let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    by_title(items.into_iter().filter(|object| object.get("kind").is_none_or(|kind| kind != "Namespace")))
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn by_title(objects: impl Iterator<Item = Value>) -> Result<Objects> {
    objects
        .map(|mut object| {
            let part = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let title =
                format!("{} {}/{}", part("/kind"), part("/metadata/namespace"), part("/metadata/name"));
            for metadata in ["/metadata", "/spec/template/metadata"] {
                let Some(metadata) = object.pointer_mut(metadata).and_then(Value::as_object_mut) else {
                    continue;
                };
                // Who installed it, each says in a way of its own.
                if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
                    labels.retain(|key, _| key != "helm.sh/chart" && key != "app.kubernetes.io/managed-by");
                }
                if title == "ClusterRole /fleetctl-controller" {
                    metadata.remove("annotations");
                }
            }
            Ok((title, object))
        })
        .collect()
}
