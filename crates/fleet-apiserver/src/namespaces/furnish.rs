//! What every namespace has.

use std::sync::Arc;

use fleet_store::Key;
use http::Method;
use serde_json::{Value, json};

use super::CONTROLLER;
use crate::upkeep::{Refusal, Upkeep, gone_is_fine};

const ACCOUNT: (&str, &str) = ("serviceaccounts", "default");
const AUTHORITY: (&str, &str) = ("configmaps", "kube-root-ca.crt");

/// Whether this is an object that every namespace has.
pub(super) fn belongs(resource: &str, name: &str) -> bool {
    [ACCOUNT, AUTHORITY].contains(&(resource, name))
}

/// Makes what is missing, and renews the authority's certificate where it has changed.
pub(super) async fn furnish(
    upkeep: &Upkeep,
    cluster: &Arc<str>,
    namespace: &Arc<str>,
) -> Result<(), Refusal> {
    let there = |(resource, name): (&str, &str)| {
        upkeep.server.store().get(&Key {
            cluster: Arc::clone(cluster),
            resource: resource.into(),
            namespace: Arc::clone(namespace),
            name: name.into(),
        })
    };
    if there(ACCOUNT).is_none() {
        let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT.1}});
        create(upkeep, cluster, namespace, ACCOUNT.0, &object).await?;
    }
    let certificate = &upkeep.server.inner.options.certificate_authority;
    match there(AUTHORITY) {
        None => {
            let note = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed \
                across distributions of Kubernetes clusters.";
            let object = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": AUTHORITY.1, "annotations": {"kubernetes.io/description": note}},
                "data": {"ca.crt": certificate},
            });
            create(upkeep, cluster, namespace, AUTHORITY.0, &object).await
        }
        Some(entry) => {
            let object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
            let shown = object.pointer("/data").and_then(|data| data.get("ca.crt")).and_then(Value::as_str);
            if shown == Some(certificate) {
                return Ok(());
            }
            let path = format!("/api/v1/namespaces/{namespace}/{}/{}", AUTHORITY.0, AUTHORITY.1);
            let body = json!({"data": {"ca.crt": certificate}});
            gone_is_fine(upkeep.call(cluster, CONTROLLER, Method::PATCH, &path, &body).await)
        }
    }
}

async fn create(
    upkeep: &Upkeep,
    cluster: &str,
    namespace: &str,
    resource: &str,
    object: &Value,
) -> Result<(), Refusal> {
    let path = format!("/api/v1/namespaces/{namespace}/{resource}");
    match upkeep.call(cluster, CONTROLLER, Method::POST, &path, object).await {
        // Somebody else was quicker, or the namespace is going or gone: both are fine.
        Err(Refusal { code: 403 | 404 | 409, .. }) => Ok(()),
        other => other,
    }
}
