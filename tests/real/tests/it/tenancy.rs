//! Delivery with a tenant's rights: what they couldn't have read or applied doesn't arrive.

use anyhow::{Result, ensure};
use fleet_api::{Application, conditions};
use fleet_real::{Fleet, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;

/// The tenant's account on the hub and on the member: ConfigMaps in one namespace, and no more.
const ACCOUNT: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: tenant, namespace: team-a}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tenant, namespace: team-a}
rules:
  - {apiGroups: [''], resources: [configmaps], verbs: [get, list, create, patch, update, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant, namespace: team-a}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}
subjects: [{kind: ServiceAccount, name: tenant, namespace: team-a}]
";

/// On the hub the tenant may read Deployments too, so that only the member can refuse them.
const READS_DEPLOYMENTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reads-deployments, namespace: team-a}
rules:
  - {apiGroups: [apps], resources: [deployments], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reads-deployments, namespace: team-a}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads-deployments}
subjects: [{kind: ServiceAccount, name: tenant, namespace: team-a}]
";

const OBJECTS: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: team-a}
data: {colour: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: team-a}
stringData: {key: hidden}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: theirs, namespace: team-b}
data: {plan: hidden}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team-a}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'nginx:1.27'}]}
";

fn application(name: &str, object: &str) -> String {
    format!(
        "
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: {name}
  namespace: team-a
  annotations: {{app.oam.dev/service-account-name: tenant}}
spec:
  components:
    - {{name: main, type: ref-objects, properties: {{objects: [{object}]}}}}
  policies:
    - {{name: where, type: topology, properties: {{clusters: [m1]}}}}
"
    )
}

async fn said(fleet: &Fleet, name: &str, what: &str, reason: &str) -> Result<String> {
    let api: Api<Application> = Api::namespaced(fleet.hub.client().await?, "team-a");
    let mut message = String::new();
    let found = |app: Option<&Application>| {
        let all = app.and_then(|app| app.status.as_ref()).map(|status| status.conditions.clone());
        let all = all.unwrap_or_default();
        let found = conditions::find(&all, what).filter(|c| !c.is_true() && c.reason == reason);
        found.map(|c| c.message.clone())
    };
    let app = until(api, name, &format!("{what} is {reason}"), |app| found(app).is_some()).await?;
    message.push_str(&found(app.as_ref()).unwrap_or_default());
    Ok(message)
}

/// Broken: a tenant delivers through the controller what they may not apply, or reads what they may not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_gets_what_their_account_may() -> Result<()> {
    let fleet = Fleet::small(1).await?;
    let member = fleet.member("m1")?;
    for cluster in [&fleet.hub, member] {
        fleet.namespace(cluster, "team-a").await?;
        fleet.apply(cluster, ACCOUNT).await?;
    }
    fleet.namespace(&fleet.hub, "team-b").await?;
    fleet.apply(&fleet.hub, READS_DEPLOYMENTS).await?;
    fleet.apply(&fleet.hub, OBJECTS).await?;
    let mut controller = fleet.controller()?;
    let client = member.client().await?;

    fleet
        .apply(&fleet.hub, &application("allowed", "{apiVersion: v1, kind: ConfigMap, name: settings}"))
        .await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "team-a");
    until(maps.clone(), "settings", "delivered", |object| object.is_some()).await?;

    fleet
        .apply(&fleet.hub, &application("too-much", "{apiVersion: apps/v1, kind: Deployment, name: web}"))
        .await?;
    let refused = said(&fleet, "too-much", "Workflow", "Forbidden").await?;
    ensure!(refused.contains("system:serviceaccount:team-a:tenant"), "{refused}");
    ensure!(refused.contains("deployments") && refused.contains("m1"), "{refused}");
    ensure!(Api::<Deployment>::namespaced(client.clone(), "team-a").get_opt("web").await?.is_none());

    fleet.apply(&fleet.hub, &application("secretive", "{apiVersion: v1, kind: Secret, name: keys}")).await?;
    let refused = said(&fleet, "secretive", "Rendered", "NotReadable").await?;
    ensure!(refused.contains("ServiceAccount team-a/tenant may not get secrets \"keys\""), "{refused}");
    ensure!(Api::<Secret>::namespaced(client.clone(), "team-a").get_opt("keys").await?.is_none());

    // What isn't there is refused in the same words as what is: nobody learns which.
    let theirs = "{apiVersion: v1, kind: ConfigMap, name: theirs, namespace: team-b}";
    fleet.apply(&fleet.hub, &application("curious", theirs)).await?;
    let refused = said(&fleet, "curious", "Rendered", "NotReadable").await?;
    ensure!(refused.contains("configmaps \"theirs\" in namespace team-b"), "{refused}");
    let absent = "{apiVersion: v1, kind: ConfigMap, name: absent, namespace: team-b}";
    fleet.apply(&fleet.hub, &application("guessing", absent)).await?;
    let refused = said(&fleet, "guessing", "Rendered", "NotReadable").await?;
    ensure!(refused.contains("configmaps \"absent\" in namespace team-b"), "{refused}");

    // Deleting is the account's work too.
    fleet.kubectl("delete application allowed -n team-a --wait=false")?;
    until(maps, "settings", "deleted", |object| object.is_none()).await?;
    controller.stop().await?;
    fleet.end();
    Ok(())
}
