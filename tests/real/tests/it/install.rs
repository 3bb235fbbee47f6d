//! `fleetctl install` and `uninstall` on a real hub.

use anyhow::Result;
use fleet_api::{Application, names};
use fleet_real::fleet::SYSTEM as NAMESPACE;
use fleet_real::{ClusterSpec, Fleet, Life, until};
use kube::ResourceExt as _;
use kube::api::Api;

use crate::release::{APPLICATION, bare, delivered, ends_well, helm, installed, join, running, runs};

/// Runs a line that must fail with a code; answers what it said.
fn fails(fleet: &Fleet, line: &str, code: i32) -> Result<String> {
    let output = fleet.try_shell(line)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{line}: {said}");
    Ok(said)
}

/// Broken: what `install` puts on the hub doesn't let the controller work, running it again isn't an upgrade, or
/// `uninstall` takes somebody's applications along; or what is installed needs more than the oldest version has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_lives_and_goes() -> Result<()> {
    let hub = ClusterSpec::new("hub", Life::Bare).oldest();
    let fleet = Fleet::clusters(hub, [ClusterSpec::new("m1", Life::Bare)]).await?;
    assert!(fleet.fleetctl("install")?.contains("clusterrole/fleetctl-controller created"));
    join(&fleet).await?;
    let controller = fleet.installed_controller("controller").await?;
    fleet.apply(&fleet.hub, APPLICATION).await?;
    running(&fleet).await?;
    let (object, before) = (delivered(&fleet).await?.metadata.resource_version, runs(&fleet).await?);

    let again = fleet.fleetctl("install")?;
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    let other = fails(&fleet, "fleetctl install -n other", 4)?;
    assert!(other.contains("already, in namespace fleetctl-system"), "{other}");
    let helm = fails(&fleet, &format!("helm install fleetctl charts/fleetctl -n {NAMESPACE}"), 1)?;
    assert!(helm.contains("installed by fleetctl install"), "{helm}");

    let smaller = fleet.fleetctl("install --replicas 1 --set networkPolicy.enabled=false")?;
    for gone in ["poddisruptionbudget", "networkpolicy"] {
        assert!(smaller.contains(&format!("{gone}/fleetctl-controller in {NAMESPACE} deleted")), "{smaller}");
    }
    assert_eq!(runs(&fleet).await?, before, "an upgrade starts no run");
    ends_well(controller).await?;

    fails(&fleet, "fleetctl uninstall < /dev/null", 7)?;
    let said = fleet.fleetctl("uninstall --yes")?;
    assert!(said.contains("1 Applications released"), "{said}");
    assert_eq!(installed(&fleet)?, "");
    let app = running(&fleet).await?;
    assert!(!app.finalizers().iter().any(|name| name == names::FINALIZER), "the finalizer is released");
    assert_eq!(
        delivered(&fleet).await?.metadata.resource_version,
        object,
        "what was delivered isn't touched"
    );
    fails(&fleet, "fleetctl uninstall --yes --delete-crds --finalizers-only", 2)?;

    // Without a Deployment, and a controller elsewhere.
    let without = fleet.fleetctl("install --no-controller")?;
    assert!(!without.contains("deployment"), "{without}");
    let mut elsewhere = fleet.controller()?;
    let api: Api<Application> = Api::namespaced(fleet.hub.client().await?, "default");
    let taken_up = |app: Option<&Application>| {
        app.is_some_and(|app| app.finalizers().iter().any(|name| name == names::FINALIZER))
    };
    until(api, "settings", "taken up again", taken_up).await?;
    assert_eq!(runs(&fleet).await?.len(), 1, "a new installation starts no run");
    elsewhere.stop().await?;

    fleet.fleetctl("uninstall --yes --delete-crds")?;
    let left = fleet.kubectl("get crd -o name --context hub")?;
    assert_eq!(left, "", "every definition is ours and goes");
    assert!(delivered(&fleet).await?.data.is_some(), "what was delivered stays");
    fleet.end();
    Ok(())
}

const VELA: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: vela-system}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: applications.core.oam.dev}
spec:
  group: core.oam.dev
  names: {kind: Application, plural: applications, singular: application, listKind: ApplicationList}
  scope: Namespaced
  versions:
    - name: v1beta1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: kubevela-vela-core
  namespace: vela-system
  labels: {app.kubernetes.io/name: vela-core, controller.oam.dev/name: vela-core}
spec:
  replicas: 1
  selector: {matchLabels: {app: vela}}
  template:
    metadata: {labels: {app: vela}}
    spec: {containers: [{name: vela, image: vela}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: kubevela-vela-core-admission}
webhooks:
  - name: validating.core.oam.dev.v1beta1.applications
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Ignore
    clientConfig: {service: {name: vela-core-webhook, namespace: vela-system, path: /}}
    rules: [{apiGroups: [core.oam.dev], apiVersions: [v1beta1], operations: [CREATE], resources: [applications]}]
";

/// Broken: two engines undo each other's work, or somebody else's definitions are replaced behind their back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_another_engine_nothing_starts() -> Result<()> {
    let fleet = bare().await?;
    fleet.apply(&fleet.hub, VELA).await?;
    let said = fails(&fleet, "fleetctl install", 4)?;
    assert!(said.contains("the definition applications.core.oam.dev belongs to somebody else"), "{said}");
    let said = fails(
        &fleet,
        &format!("helm install fleetctl charts/fleetctl -n {NAMESPACE} --create-namespace"),
        1,
    )?;
    assert!(said.contains("applications.core.oam.dev belongs to another engine"), "{said}");
    for line in ["fleetctl install --take-over", "fleetctl controller --context hub"] {
        let said = fails(&fleet, line, 4)?;
        for evidence in [
            "KubeVela runs as Deployment kubevela-vela-core in namespace vela-system",
            "validatingwebhookconfiguration kubevela-vela-core-admission judges objects of core.oam.dev",
            "docs/moving-over.md",
        ] {
            assert!(said.contains(evidence), "{line}: {said}");
        }
    }
    fleet.kubectl("scale deployment kubevela-vela-core -n vela-system --replicas=0 --context hub")?;
    fleet.kubectl("delete validatingwebhookconfiguration kubevela-vela-core-admission --context hub")?;
    let lease = "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: kubevela-v1z10z9, namespace: vela-system}, \
                 spec: {holderIdentity: pod-1, leaseDurationSeconds: 15, renewTime: \"RENEWED\"}}";
    let now = fleet.shell("date -u +%Y-%m-%dT%H:%M:%S.000000Z")?;
    fleet.apply(&fleet.hub, &lease.replace("RENEWED", now.trim())).await?;
    let said = fails(&fleet, "fleetctl install --take-over", 4)?;
    assert!(said.contains("KubeVela holds lease kubevela-v1z10z9 in namespace vela-system (pod-1"), "{said}");

    // Stopped for good: its lease has run out.
    fleet.apply(&fleet.hub, &lease.replace("RENEWED", "2026-01-01T00:00:00.000000Z")).await?;
    assert!(fleet.fleetctl("install --take-over")?.contains("applications.core.oam.dev changed"));
    assert!(fleet.fleetctl("install")?.contains("applications.core.oam.dev unchanged"));
    fleet.end();
    Ok(())
}

/// Broken: the definition that Open Cluster Management brings is replaced by ours, and its controllers break.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_project_s_managed_clusters_are_used() -> Result<()> {
    let fleet = bare().await?;
    let theirs = |fields: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: managedclusters.cluster.open-cluster-management.io}}
spec:
  group: cluster.open-cluster-management.io
  names: {{kind: ManagedCluster, plural: managedclusters, singular: managedcluster, listKind: ManagedClusterList}}
  scope: Cluster
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {{status: {{}}}}
      schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{{fields}}}}}, status: {{type: object, x-kubernetes-preserve-unknown-fields: true, properties: {{conditions: {{type: array, items: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}, clusterClaims: {{type: array, items: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}}}}}}}}}
"
        )
    };
    fleet.apply(&fleet.hub, &theirs("other: {type: string}")).await?;
    let said = fails(&fleet, "fleetctl install", 4)?;
    assert!(said.contains("has no field spec.hubAcceptsClient"), "{said}");
    fleet.apply(&fleet.hub, &theirs("hubAcceptsClient: {type: boolean}")).await?;
    let version = "get crd managedclusters.cluster.open-cluster-management.io -o jsonpath={.metadata.generation} --context hub";
    let before = fleet.kubectl(version)?;
    helm(&fleet, "")?;
    helm(&fleet, "--set replicas=3")?;
    assert_eq!(fleet.kubectl(version)?, before, "helm left it alone");
    fleet.shell(&format!("helm uninstall fleetctl -n {NAMESPACE} --no-hooks"))?;
    let output = fleet.try_shell("fleetctl install")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("the definition of ManagedCluster belongs to"),
        "{said}"
    );
    assert_eq!(fleet.kubectl(version)?, before, "fleetctl left it alone");
    join(&fleet).await?;
    let controller = fleet.installed_controller("controller").await?;
    fleet.apply(&fleet.hub, APPLICATION).await?;
    running(&fleet).await?;
    ends_well(controller).await?;
    fleet.end();
    Ok(())
}
