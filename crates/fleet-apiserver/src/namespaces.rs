//! The life of namespaces: what a new one gets, and how one goes.
//!
//! ```text
//! created  ─► ServiceAccount default, ConfigMap kube-root-ca.crt (made again if they are deleted)
//! deleted  ─► Terminating ─► Pods go, then everything else ─► conditions tell what stays, and why
//!                                         nothing left ─► the finalizer `kubernetes` goes, and the namespace
//! ```
//!
//! See <https://kubernetes.io/docs/tasks/administer-cluster/namespaces/#deleting-a-namespace>. Objects are deleted
//! through the API, so their own finalizers count; each that goes brings its namespace up again.

mod conditions;
mod furnish;

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_store::{Entry, Event, EventKind, Key, Page, Range};
use http::Method;
use serde_json::{Value, json};

use crate::registry::Kind;
use crate::upkeep::{Meta, Refusal, Upkeep, Work, gone_is_fine, object_path};
use conditions::Remaining;

const CONTROLLER: &str = "namespace-controller";
const RESOURCE: &str = "namespaces";
/// The finalizer in `spec` that stands for the content.
const FINALIZER: &str = "kubernetes";

/// Takes in an object that was there before.
pub(crate) fn found(upkeep: &Upkeep, key: &Key) {
    if &*key.resource == RESOURCE {
        upkeep.queues.add(&key.cluster, Work::Namespace(Arc::clone(&key.name)));
    }
}

/// Takes in a change: of a namespace, or of what may hold one up or belongs in one.
pub(crate) fn changed(upkeep: &Upkeep, event: &Event) {
    let key = &event.key;
    if &*key.resource == RESOURCE {
        if event.kind != EventKind::Deleted {
            found(upkeep, key);
        }
        return;
    }
    if key.namespace.is_empty() {
        return;
    }
    let lost = event.kind == EventKind::Deleted && furnish::belongs(&key.resource, &key.name);
    if lost || is_terminating(upkeep, key) {
        upkeep.queues.add(&key.cluster, Work::Namespace(Arc::clone(&key.namespace)));
    }
}

/// Looks at every namespace: after changes were missed.
pub(crate) fn look_at_all(upkeep: &Upkeep) {
    let listing = upkeep.server.store().list(&Range::everywhere(RESOURCE), Page::default());
    for entry in listing.into_iter().flat_map(|listing| listing.entries) {
        found(upkeep, &entry.key);
    }
}

/// Whether the namespace of this object is going. Asked for every change, so it looks at as little as it can.
fn is_terminating(upkeep: &Upkeep, inside: &Key) -> bool {
    let entry = upkeep.server.store().get(&key_of(&inside.cluster, &inside.namespace));
    entry.is_some_and(|entry| {
        memchr::memmem::find(&entry.value, b"\"deletionTimestamp\"").is_some()
            && Meta::of(&entry.value).is_terminating()
    })
}

pub(crate) fn key_of(cluster: &Arc<str>, name: &Arc<str>) -> Key {
    Key {
        cluster: Arc::clone(cluster),
        resource: RESOURCE.into(),
        namespace: Arc::default(),
        name: Arc::clone(name),
    }
}

/// Does for a namespace whatever is to be done now.
pub(crate) async fn tend(upkeep: &Upkeep, cluster: &Arc<str>, name: &Arc<str>) -> Result<(), Refusal> {
    let Some(entry) = upkeep.server.store().get(&key_of(cluster, name)) else { return Ok(()) };
    let namespace: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    if !Meta::of(&entry.value).is_terminating() {
        return furnish::furnish(upkeep, cluster, name).await;
    }
    if !finalizers(&namespace).iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let (remaining, failure) = empty(upkeep, cluster, name).await;
    if remaining.is_empty() && failure.is_none() {
        return finalize(upkeep, cluster, name, namespace).await;
    }
    let failed = failure.as_ref().map(ToString::to_string);
    report(upkeep, cluster, name, &namespace, &remaining, failed.as_deref()).await?;
    // A refused delete is tried again; what merely takes its time comes back by its events.
    failure.map_or(Ok(()), Err)
}

/// Deletes what is in a namespace, and tells what is still there afterwards.
async fn empty(upkeep: &Upkeep, cluster: &Arc<str>, name: &Arc<str>) -> (Remaining, Option<Refusal>) {
    let Some(known) = upkeep.server.inner.cluster(cluster) else { return Default::default() };
    let registry = known.registry();
    let (pods, rest): (Vec<_>, Vec<_>) = registry
        .stored_kinds()
        .into_iter()
        .filter(|kind| kind.namespaced)
        .partition(|kind| &*kind.store_name == "pods");
    let mut failure = None;
    // Pods first: what they use must outlive them.
    for kinds in [&pods, &rest] {
        for kind in kinds {
            let result = delete_all(upkeep, cluster, name, kind).await;
            failure = failure.or(result.err());
        }
        if kinds.iter().any(|kind| !content(upkeep, cluster, name, kind).is_empty()) {
            break;
        }
    }
    let mut remaining = Remaining::default();
    for kind in pods.iter().chain(&rest) {
        for entry in content(upkeep, cluster, name, kind) {
            let resource = format!("{}.{}", kind.plural, kind.group());
            remaining.add(&resource, Meta::of(&entry.value).finalizers());
        }
    }
    (remaining, failure)
}

fn content(upkeep: &Upkeep, cluster: &Arc<str>, name: &Arc<str>, kind: &Kind) -> Vec<Entry> {
    let range = Range::cluster(Arc::clone(cluster), Arc::clone(&kind.store_name)).namespace(Arc::clone(name));
    upkeep.server.store().list(&range, Page::default()).map(|listing| listing.entries).unwrap_or_default()
}

async fn delete_all(
    upkeep: &Upkeep,
    cluster: &Arc<str>,
    name: &Arc<str>,
    kind: &Kind,
) -> Result<(), Refusal> {
    let mut failure = Ok(());
    for entry in content(upkeep, cluster, name, kind) {
        let meta = Meta::of(&entry.value);
        if !meta.is_terminating() {
            let path = object_path(kind, name, &entry.key.name);
            let result = upkeep.delete(cluster, CONTROLLER, &path, &meta, "Background").await;
            failure = failure.and(result);
        }
    }
    failure
}

fn finalizers(namespace: &Value) -> Vec<String> {
    let list = namespace.pointer("/spec/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

async fn finalize(upkeep: &Upkeep, cluster: &str, name: &str, mut namespace: Value) -> Result<(), Refusal> {
    let rest: Vec<String> = finalizers(&namespace).into_iter().filter(|one| one != FINALIZER).collect();
    if let Some(spec) = namespace.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("finalizers".into(), json!(rest));
    }
    let path = format!("/api/v1/namespaces/{name}/finalize");
    gone_is_fine(upkeep.call(cluster, CONTROLLER, Method::PUT, &path, &namespace).await)
}

/// Writes what remains into the conditions, if it isn't there yet.
async fn report(
    upkeep: &Upkeep,
    cluster: &str,
    name: &str,
    namespace: &Value,
    remaining: &Remaining,
    failure: Option<&str>,
) -> Result<(), Refusal> {
    let now = upkeep.server.time();
    let before = namespace.pointer("/status/conditions").and_then(Value::as_array);
    let before = before.map(Vec::as_slice).unwrap_or_default();
    let after = conditions::conditions(before, remaining, failure, &now);
    let phase = namespace.pointer("/status/phase").and_then(Value::as_str);
    if phase == Some("Terminating") && before == after {
        return Ok(());
    }
    let path = format!("/api/v1/namespaces/{name}/status");
    let body = json!({"status": {"phase": "Terminating", "conditions": after}});
    gone_is_fine(upkeep.call(cluster, CONTROLLER, Method::PATCH, &path, &body).await)
}

/// Counts by name, in the names' order.
type Counts = BTreeMap<String, usize>;
