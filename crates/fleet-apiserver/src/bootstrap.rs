//! The objects that every cluster has from the start.

use std::sync::Arc;

use fleet_store::{CommitError, Expect, Key, Write};
use serde_json::{Value, json};

use crate::admission::ingress::DEFAULT_CLASS;
use crate::cluster::Cluster;
use crate::object::{Gapped, ObjectExt, time};
use crate::server::{ClusterError, Inner};

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// The class that Ingresses get on clusters with workloads.
const INGRESS_CLASS: &str = "nginx";

/// Makes what isn't there yet.
pub(crate) async fn cluster(server: &Inner, cluster: &Arc<Cluster>) -> Result<(), ClusterError> {
    for name in NAMESPACES {
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        make(server, cluster, "namespaces", "", namespace).await?;
        let account = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": name},
        });
        make(server, cluster, "serviceaccounts", name, account).await?;
        let authority = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "kube-root-ca.crt",
                "namespace": name,
                "annotations": {"kubernetes.io/description": "The certificate of the authority that signs this server's certificate."},
            },
            "data": {"ca.crt": server.options.certificate_authority},
        });
        make(server, cluster, "configmaps", name, authority).await?;
    }
    // Together: a store on disk then keeps them with one write.
    let roles = crate::authorization::defaults::objects()
        .iter()
        .map(|(resource, object)| make_or_complete(server, cluster, resource, object));
    futures::future::try_join_all(roles).await?;
    if cluster.profile.workloads {
        let class = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": INGRESS_CLASS, "annotations": {DEFAULT_CLASS: "true"}, "generation": 1},
            "spec": {"controller": "k8s.io/ingress-nginx"},
        });
        make(server, cluster, "ingressclasses.networking.k8s.io", "", class).await?;
    }
    Ok(())
}

/// Makes a default role or binding; where an earlier version made it, what that one didn't know is added.
async fn make_or_complete(
    server: &Inner,
    cluster: &Arc<Cluster>,
    resource: &str,
    object: &Value,
) -> Result<(), ClusterError> {
    make(server, cluster, resource, "", object.clone()).await?;
    let key = Key {
        cluster: cluster.name.clone(),
        resource: resource.into(),
        namespace: "".into(),
        name: object.name().into(),
    };
    let Some(entry) = server.store.get(&key) else { return Ok(()) };
    let stored: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    let Some(completed) = crate::authorization::defaults::completed(&stored, object) else { return Ok(()) };
    let gapped = Gapped::new(&completed);
    let write = Write::put(move |revision| gapped.fill(revision));
    match server.store.commit(key, Expect::Revision(entry.revision), write).await {
        // Whoever was faster starts as well, and completes it.
        Ok(_) | Err(CommitError::Exists | CommitError::Conflict { .. }) => Ok(()),
        Err(source) => Err(ClusterError::Store { name: cluster.name.as_ref().to_owned(), source }),
    }
}

async fn make(
    server: &Inner,
    cluster: &Arc<Cluster>,
    resource: &str,
    namespace: &str,
    mut object: Value,
) -> Result<(), ClusterError> {
    let key = Key {
        cluster: cluster.name.clone(),
        resource: resource.into(),
        namespace: namespace.into(),
        name: object.name().into(),
    };
    if server.store.get(&key).is_some() {
        return Ok(());
    }
    object.set_meta("uid", server.random.uid());
    object.set_meta("creationTimestamp", time(server.now()));
    let gapped = Gapped::new(&object);
    match server.store.commit(key, Expect::Absent, Write::put(move |revision| gapped.fill(revision))).await {
        Ok(_) | Err(CommitError::Exists) => Ok(()),
        Err(source) => Err(ClusterError::Store { name: cluster.name.as_ref().to_owned(), source }),
    }
}
