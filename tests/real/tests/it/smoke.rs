//! The tier itself.

use anyhow::Result;
use fleet_real::Fleet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

const APPLICATION: &str = r"
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
  policies:
    - {name: everywhere, type: topology, properties: {clusters: [m1]}}
";

/// Broken: nothing at all works on a real hub and a real member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_arrives() -> Result<()> {
    let fleet = Fleet::small(1).await?;
    let mut controller = fleet.controller()?;
    fleet.apply(&fleet.hub, APPLICATION).await?;
    let there: Api<ConfigMap> = Api::namespaced(fleet.member("m1")?.client().await?, "default");
    fleet_real::until(there, "settings", "delivered", |object| object.is_some()).await?;
    assert!(controller.stop().await?.is_some_and(|status| status.success()), "{}", controller.log());
    fleet.end();
    Ok(())
}
