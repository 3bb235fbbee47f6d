//! Namespaces as the place of other objects: nothing new where there is none, or one that is going.

use std::sync::Arc;

use fleet_store::Key;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::object::ObjectExt;
use crate::registry::Kind;
use crate::server::Inner;
use crate::status::{ApiError, Cause};

/// Namespaces that every cluster keeps.
const KEPT: [&str; 3] = ["default", "kube-system", "kube-public"];

#[derive(Deserialize)]
struct Namespace {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

pub(crate) fn check(
    server: &Inner,
    cluster: &Arc<Cluster>,
    kind: &Kind,
    object: &Value,
) -> Result<(), ApiError> {
    let namespace = object.meta_str("namespace");
    let key = Key {
        cluster: cluster.name.clone(),
        resource: "namespaces".into(),
        namespace: Arc::default(),
        name: namespace.into(),
    };
    let Some(entry) = server.store.get(&key) else {
        return Err(ApiError::not_found("", "namespaces", namespace));
    };
    let going = serde_json::from_slice::<Namespace>(&entry.value)
        .is_ok_and(|namespace| namespace.metadata.deletion_timestamp.is_some());
    if !going {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = Cause::field(
        "NamespaceTerminating",
        "metadata.namespace",
        format!("namespace {namespace} is being terminated"),
    );
    Err(ApiError::forbidden(kind.group(), &kind.plural, object.name(), &why).with_causes(vec![cause]))
}

pub(crate) fn check_delete(namespace: &Value) -> Result<(), ApiError> {
    if KEPT.contains(&namespace.name()) {
        return Err(ApiError::forbidden(
            "",
            "namespaces",
            namespace.name(),
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}
