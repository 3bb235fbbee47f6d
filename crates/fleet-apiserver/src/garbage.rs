//! Garbage collection by `metadata.ownerReferences`.
//!
//! ```text
//! owner deleted   ─► its dependents: any owner left? no ─► deleted
//! foregroundDeletion on a deleted owner ─► blocking dependents are deleted first, then the finalizer goes
//! orphan on a deleted owner             ─► its dependents' references to it are dropped, then the finalizer goes
//! an owner that isn't there, or has another uid, is no owner
//! ```
//!
//! The rules are those of
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>: an owner is looked for in the
//! dependent's own namespace, so a reference across namespaces counts as absent; a reference of a
//! cluster-scoped object to a namespaced kind can't be resolved and, like one to an unknown kind, keeps the
//! object. Memory holds only objects with owners: their names and their owners' uids.

mod decide;
mod graph;

use std::sync::Arc;

use fleet_store::{Entry, Event, EventKind, Key};
use http::Method;
use memchr::memmem;
use serde_json::{Value, json};

pub(crate) use graph::Graph;

use crate::registry::Kind;
use crate::upkeep::{Meta, OwnerReference, Refusal, Upkeep, Work, gone_is_fine, object_path};
use decide::{Decision, OwnerState};

const CONTROLLER: &str = "generic-garbage-collector";
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Takes in an object that was there before.
pub(crate) fn found(upkeep: &Upkeep, entry: &Entry) {
    if concerns(&entry.value) {
        let meta = Meta::of(&entry.value);
        there(upkeep, &entry.key, &meta);
        if !meta.owners().is_empty() {
            upkeep.queues.add(&entry.key.cluster, Work::Dependent(entry.key.clone()));
        }
    }
}

/// Takes in a change.
pub(crate) fn changed(upkeep: &Upkeep, event: &Event) {
    let key = &event.key;
    let before = event.previous.as_ref().filter(|bytes| concerns(bytes)).map(|bytes| Meta::of(bytes));
    if event.kind == EventKind::Deleted {
        let meta = Meta::of(&event.value);
        let dependents = {
            let mut graph = upkeep.graph.lock();
            graph.forget(key);
            graph.dependents(&key.cluster, &meta.uid)
        };
        for dependent in dependents {
            upkeep.queues.add(&key.cluster, Work::Dependent(dependent));
        }
        // Its owners may have waited for it.
        look_at_owners(upkeep, key, meta.owners());
        return;
    }
    if !concerns(&event.value) {
        if let Some(before) = before {
            upkeep.graph.lock().forget(key);
            look_at_owners(upkeep, key, before.owners());
        }
        return;
    }
    let meta = Meta::of(&event.value);
    there(upkeep, key, &meta);
    let old = before.as_ref().map(Meta::owners).unwrap_or_default();
    if old != meta.owners() {
        upkeep.queues.add(&key.cluster, Work::Dependent(key.clone()));
        // References that are gone, or are there and block no longer, may be what an owner waits for.
        look_at_owners(upkeep, key, old);
        look_at_owners(upkeep, key, meta.owners());
    }
}

/// Looks at every object with owners: after changes were missed.
pub(crate) fn look_at_all(upkeep: &Upkeep) {
    let all = upkeep.graph.lock().all();
    for key in all {
        upkeep.queues.add(&key.cluster.clone(), Work::Dependent(key));
    }
}

/// Most objects have nothing to do with garbage; telling so without parsing keeps them cheap. A word that only
/// looks like it costs a parse.
fn concerns(object: &[u8]) -> bool {
    memmem::find(object, b"\"ownerReferences\"").is_some()
        || (memmem::find(object, b"\"deletionTimestamp\"").is_some()
            && (memmem::find(object, b"\"foregroundDeletion\"").is_some()
                || memmem::find(object, b"\"orphan\"").is_some()))
}

fn there(upkeep: &Upkeep, key: &Key, meta: &Meta) {
    upkeep.graph.lock().observe(key, meta.owners().iter().map(|owner| owner.uid.as_str()));
    if meta.is_terminating() && (meta.has_finalizer(FOREGROUND) || meta.has_finalizer(ORPHAN)) {
        upkeep.queues.add(&key.cluster, Work::Owner(key.clone()));
    }
}

/// Owners that are being deleted and may have waited for this dependent.
fn look_at_owners(upkeep: &Upkeep, dependent: &Key, owners: &[OwnerReference]) {
    for owner in owners {
        if let Some((key, meta)) = resolve(upkeep, dependent, owner).and_then(|key| live(upkeep, key))
            && meta.uid == owner.uid
            && meta.is_terminating()
        {
            upkeep.queues.add(&key.cluster.clone(), Work::Owner(key));
        }
    }
}

/// Where an owner would be; `None` where the reference can't be resolved.
fn resolve(upkeep: &Upkeep, dependent: &Key, owner: &OwnerReference) -> Option<Key> {
    let cluster = upkeep.server.inner.cluster(&dependent.cluster)?;
    let registry = cluster.registry();
    let kind = registry.by_kind(owner.group(), &owner.kind)?;
    let namespace: Arc<str> = match kind.namespaced {
        true if dependent.namespace.is_empty() => return None,
        true => Arc::clone(&dependent.namespace),
        false => Arc::default(),
    };
    Some(Key {
        cluster: Arc::clone(&dependent.cluster),
        resource: Arc::clone(&kind.store_name),
        namespace,
        name: owner.name.as_str().into(),
    })
}

fn live(upkeep: &Upkeep, key: Key) -> Option<(Key, Meta)> {
    let entry = upkeep.server.store().get(&key)?;
    Some((key, Meta::of(&entry.value)))
}

fn path_of(upkeep: &Upkeep, key: &Key) -> Option<String> {
    let registry = upkeep.server.inner.cluster(&key.cluster)?.registry();
    let kind: &Arc<Kind> = registry.stored(&key.resource)?;
    Some(object_path(kind, &key.namespace, &key.name))
}

/// Looks at an object with owners, and deletes it if none is left.
pub(crate) async fn dependent(upkeep: &Upkeep, key: &Key) -> Result<(), Refusal> {
    let Some((key, meta)) = live(upkeep, key.clone()) else { return Ok(()) };
    if meta.owners().is_empty() || meta.is_terminating() {
        return Ok(());
    }
    let Some(path) = path_of(upkeep, &key) else { return Ok(()) };
    let states: Vec<OwnerState> = meta.owners().iter().map(|owner| state_of(upkeep, &key, owner)).collect();
    let dependents = upkeep.graph.lock().dependents(&key.cluster, &meta.uid);
    match decide::decide(&meta, &states, !dependents.is_empty()) {
        Decision::Keep => {}
        Decision::Drop(uids) => drop_references(upkeep, &key, &path, &meta, &uids).await?,
        Decision::Delete(policy) => {
            if policy == decide::Policy::Foreground {
                unblock_cycle(upkeep, &meta, &dependents).await?;
            }
            upkeep.delete(&key.cluster, CONTROLLER, &path, &meta, policy.name()).await?;
        }
    }
    Ok(())
}

fn state_of(upkeep: &Upkeep, dependent: &Key, owner: &OwnerReference) -> OwnerState {
    let Some(key) = resolve(upkeep, dependent, owner) else { return OwnerState::Unresolvable };
    match live(upkeep, key) {
        Some((_, meta)) if meta.uid == owner.uid => {
            match meta.is_terminating() && meta.has_finalizer(FOREGROUND) {
                true => OwnerState::Waiting,
                false => OwnerState::Solid,
            }
        }
        _ => OwnerState::Absent,
    }
}

/// Looks at an object that is being deleted with a finalizer of the garbage collector's.
pub(crate) async fn owner(upkeep: &Upkeep, key: &Key) -> Result<(), Refusal> {
    let Some((key, meta)) = live(upkeep, key.clone()) else { return Ok(()) };
    if !meta.is_terminating() {
        return Ok(());
    }
    let Some(path) = path_of(upkeep, &key) else { return Ok(()) };
    let mut dependents = upkeep.graph.lock().dependents(&key.cluster, &meta.uid);
    dependents.retain(|dependent| *dependent != key);
    if meta.has_finalizer(ORPHAN) {
        for dependent in dependents {
            let Some((dependent, its)) = live(upkeep, dependent) else { continue };
            if let Some(path) = path_of(upkeep, &dependent) {
                drop_references(upkeep, &dependent, &path, &its, std::slice::from_ref(&meta.uid)).await?;
            }
        }
        return remove_finalizer(upkeep, &key, &path, &meta, ORPHAN).await;
    }
    if !meta.has_finalizer(FOREGROUND) {
        return Ok(());
    }
    let mut is_blocked = false;
    for dependent in dependents {
        let Some((dependent, its)) = live(upkeep, dependent) else { continue };
        is_blocked |= its.owners().iter().any(|owner| owner.uid == meta.uid && owner.is_blocking());
        if !its.is_terminating() {
            upkeep.queues.add(&key.cluster, Work::Dependent(dependent));
        }
    }
    // Where it is blocked, the event that ends the last blocking dependent comes back here.
    if is_blocked { Ok(()) } else { remove_finalizer(upkeep, &key, &path, &meta, FOREGROUND).await }
}

async fn remove_finalizer(
    upkeep: &Upkeep,
    key: &Key,
    path: &str,
    meta: &Meta,
    finalizer: &str,
) -> Result<(), Refusal> {
    let rest: Vec<&String> = meta.finalizers().iter().filter(|one| *one != finalizer).collect();
    patch(upkeep, key, path, meta, json!({"finalizers": rest})).await
}

/// Takes owners with these uids out of an object's references.
async fn drop_references(
    upkeep: &Upkeep,
    key: &Key,
    path: &str,
    meta: &Meta,
    uids: &[String],
) -> Result<(), Refusal> {
    edit_references(
        upkeep,
        key,
        path,
        meta,
        |reference, uid| {
            if uids.contains(uid) { None } else { Some(reference) }
        },
    )
    .await
}

/// In a circle of owners every one would wait for the other: a reference back to an object that is going no
/// longer blocks it.
async fn unblock_cycle(upkeep: &Upkeep, meta: &Meta, dependents: &[Key]) -> Result<(), Refusal> {
    for dependent in dependents {
        let Some((dependent, its)) = live(upkeep, dependent.clone()) else { continue };
        let blocks = its.owners().iter().any(|owner| owner.uid == meta.uid && owner.is_blocking());
        if blocks
            && its.is_terminating()
            && let Some(path) = path_of(upkeep, &dependent)
        {
            edit_references(upkeep, &dependent, &path, &its, |mut reference, uid| {
                if *uid == meta.uid
                    && let Some(fields) = reference.as_object_mut()
                {
                    fields.insert("blockOwnerDeletion".into(), json!(false));
                }
                Some(reference)
            })
            .await?;
        }
    }
    Ok(())
}

/// Rewrites an object's owner references, if that changes anything. They are read as a tree, so that fields
/// which this module doesn't know stay.
async fn edit_references(
    upkeep: &Upkeep,
    key: &Key,
    path: &str,
    meta: &Meta,
    edit: impl Fn(Value, &String) -> Option<Value>,
) -> Result<(), Refusal> {
    let Some(entry) = upkeep.server.store().get(key) else { return Ok(()) };
    let object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let before = references.cloned().unwrap_or_default();
    let uid_of =
        |reference: &Value| reference.get("uid").and_then(Value::as_str).unwrap_or_default().to_owned();
    let after: Vec<Value> =
        before.iter().filter_map(|reference| edit(reference.clone(), &uid_of(reference))).collect();
    if before == after {
        return Ok(());
    }
    patch(upkeep, key, path, meta, json!({"ownerReferences": after})).await
}

async fn patch(
    upkeep: &Upkeep,
    key: &Key,
    path: &str,
    seen: &Meta,
    mut metadata: Value,
) -> Result<(), Refusal> {
    if let Some(fields) = metadata.as_object_mut() {
        fields.insert("uid".into(), json!(seen.uid));
        fields.insert("resourceVersion".into(), json!(seen.resource_version));
    }
    let body = json!({"metadata": metadata});
    gone_is_fine(upkeep.call(&key.cluster, CONTROLLER, Method::PATCH, path, &body).await)
}
