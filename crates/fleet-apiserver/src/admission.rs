//! What happens to a write besides what its sender asked for.

pub(crate) mod addresses;
pub(crate) mod ingress;
pub(crate) mod lifecycle;
pub(crate) mod metadata;
pub(crate) mod names;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::authorization::escalation;
use crate::cluster::Cluster;
use crate::dispatch::Call;
use crate::registry::Kind;
use crate::status::ApiError;

/// Completes a new object, or refuses it.
pub(crate) fn on_create(
    call: &Call<'_>,
    cluster: &Arc<Cluster>,
    kind: &Kind,
    object: &mut Value,
) -> Result<(), ApiError> {
    escalation::check(call, cluster, kind, None, object)?;
    if kind.namespaced {
        lifecycle::check(call.server, cluster, kind, object)?;
    }
    if kind.is("networking.k8s.io", "ingresses") && cluster.profile.workloads {
        ingress::default_class(call.server, cluster, object);
    }
    if kind.is("", "services") && cluster.profile.workloads {
        addresses::allocate(call.server, cluster, object)?;
    }
    if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
        crate::crd::complete(call.server, cluster, None, object);
    }
    Ok(())
}

/// Completes a changed object, or refuses it.
pub(crate) fn on_update(
    call: &Call<'_>,
    cluster: &Arc<Cluster>,
    kind: &Kind,
    old: &Value,
    new: &mut Value,
) -> Result<(), ApiError> {
    escalation::check(call, cluster, kind, Some(old), new)?;
    if kind.is("", "services") && cluster.profile.workloads {
        addresses::allocate(call.server, cluster, new)?;
    }
    if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
        crate::crd::complete(call.server, cluster, Some(old), new);
    }
    Ok(())
}

/// Refuses to delete what must stay.
pub(crate) fn on_delete(call: &Call<'_>, old: &Value) -> Result<(), ApiError> {
    if call.kind.is("", "namespaces") {
        lifecycle::check_delete(old)?;
    }
    Ok(())
}

/// What an object shows from the moment its deletion is asked for.
pub(crate) fn mark_terminating(kind: &Kind, object: &mut Value) {
    let Some(fields) = object.as_object_mut().filter(|_| kind.is("", "namespaces")) else { return };
    let status = fields.entry("status").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(status) = status.as_object_mut() {
        status.insert("phase".into(), "Terminating".into());
    }
}

/// After a create: the bytes as they are now, where more was done to the object.
pub(crate) async fn after_create(call: &Call<'_>, kind: &Kind, object: &Value) -> Option<Bytes> {
    after_change(call, kind, None, object).await;
    None
}

/// After a change has been committed.
pub(crate) async fn after_change(call: &Call<'_>, kind: &Kind, _old: Option<&Value>, _new: &Value) {
    let Some(cluster) = call.cluster else { return };
    if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
        call.server.definitions.refresh(&call.server.store, cluster);
        crate::crd::clean_up(call.server, cluster).await;
    }
}

/// After an object is gone.
pub(crate) async fn after_removal(call: &Call<'_>, kind: &Kind, _last: &Value) {
    let Some(cluster) = call.cluster else { return };
    if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
        call.server.definitions.refresh(&call.server.store, cluster);
    } else if kind.custom.is_some() && cluster.has_terminating_definitions() {
        crate::crd::clean_up(call.server, cluster).await;
    }
}
