//! What all writes share: reading the object, completing it, judging it, committing it.

mod judge;
mod strict;

use bytes::Bytes;
use fleet_store::{CommitError, Entry, Expect, Key, Write};
use serde_json::Value;
use std::sync::Arc;

use crate::admission;
use crate::advice;
use crate::author;
use crate::convert;
use crate::dispatch::Call;
use crate::object::{Gapped, ObjectExt, time};
use crate::ownership::{self, Writer};
use crate::policy::{self, Review};
use crate::registry::Kind;
use crate::request::body;
use crate::status::ApiError;
pub(crate) use judge::cause;
use judge::{judge_changed, judge_new};
pub(crate) use strict::check_fields;

/// The kind in the version that is stored.
pub(crate) fn stored_kind(call: &Call<'_>) -> Arc<Kind> {
    match call.kind.stored_as {
        None | Some(crate::registry::StoredAs::SameShape) => Arc::clone(&call.kind),
        Some(_) => call.registry.stored(&call.kind.store_name).unwrap_or(&call.kind).clone(),
    }
}

/// Reads the object in the body, in the version that is stored.
pub(crate) fn read_object(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let decoded = body::decode(&call.body, body::syntax(&call.headers)?)?;
    let mut value = decoded.value;
    check_type(call, &mut value)?;
    let kind = Arc::clone(&call.kind);
    check_fields(call, &kind, &mut value, &decoded.duplicates)?;
    convert::to_stored(&kind, &mut value);
    Ok(value)
}

/// Whether the object is one of this kind. What isn't said is taken from the path.
pub(crate) fn check_type(call: &Call<'_>, value: &mut Value) -> Result<(), ApiError> {
    let kind = &call.kind;
    let Some(fields) = value.as_object_mut() else {
        return Err(ApiError::bad_request(format!("expected a {} object", kind.gvk.kind)));
    };
    let said = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, name) = (said("apiVersion"), said("kind"));
    if !name.is_empty() && name != kind.gvk.kind {
        return Err(ApiError::bad_request(format!(
            "{name} in version {api_version:?} cannot be handled as a {}: the kind of the object and the path differ",
            kind.gvk.kind
        )));
    }
    if !api_version.is_empty() && api_version != kind.api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            kind.api_version
        )));
    }
    fields.insert("apiVersion".into(), kind.api_version.clone().into());
    fields.insert("kind".into(), kind.gvk.kind.clone().into());
    if fields.get("metadata").is_some_and(|metadata| !metadata.is_object() && !metadata.is_null()) {
        return Err(ApiError::bad_request("metadata must be a map"));
    }
    Ok(())
}

/// Whether the object stands where the path says.
pub(crate) fn check_place(call: &Call<'_>, value: &mut Value) -> Result<(), ApiError> {
    let namespace = value.meta_str("namespace").to_owned();
    if !call.kind.namespaced {
        if !namespace.is_empty() {
            return Err(ApiError::bad_request(
                "namespace specified for a resource that has none: remove metadata.namespace",
            ));
        }
        value.take_meta("namespace");
        return Ok(());
    }
    if !namespace.is_empty() && namespace != call.path.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    value.set_meta("namespace", call.path.namespace.clone());
    Ok(())
}

/// Completes and judges a new object, all but its owners. `name` has been checked or made.
pub(crate) fn prepare_new(call: &mut Call<'_>, kind: &Kind, object: &mut Value) -> Result<(), ApiError> {
    let cluster = Arc::clone(call.one_cluster()?);
    let uid = call.server.random.uid();
    for field in
        ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"]
    {
        object.take_meta(field);
    }
    object.set_meta("uid", uid.clone());
    object.set_meta("creationTimestamp", time(call.server.now()));
    if kind.custom.is_some() || fleet_schema::behaviour::has_generation(kind.group(), kind.kind()) {
        object.set_meta("generation", 1);
    }
    drop_nulls(object);
    let (group, name) = (kind.group(), kind.kind());
    if kind.custom.is_some() {
        if kind.has_status() {
            drop_status(object);
        }
        complete(kind, object);
    } else {
        fleet_schema::behaviour::prepare_for_create(group, name, object, kind.has_status());
        complete(kind, object);
        fleet_schema::behaviour::on_create(group, name, object, &uid);
    }
    admission::on_create(call, &cluster, kind, object)?;
    judge_new(call, kind, object)
}

fn drop_status(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
}

/// Metadata entries of `null` mean that they are absent, and so do labels, annotations, owners and finalizers of which
/// none is left.
fn drop_nulls(object: &mut Value) {
    if let Some(metadata) = object.meta_mut() {
        metadata.retain(|name, value| match value {
            Value::Null => false,
            Value::Object(entries) => {
                !entries.is_empty() || !matches!(name.as_str(), "labels" | "annotations")
            }
            Value::Array(items) => {
                !items.is_empty() || !matches!(name.as_str(), "ownerReferences" | "finalizers")
            }
            _ => true,
        });
    }
}

/// Fills in the kind's defaults.
fn complete(kind: &Kind, object: &mut Value) {
    if kind.custom.is_none() {
        fleet_schema::behaviour::apply_defaults(kind.group(), &kind.gvk.version, kind.kind(), object);
    } else if let Some(schema) = kind.schema() {
        fleet_schema::apply_defaults(schema, object);
    }
}

/// Completes and judges a changed object: what a client may not change stays as it was.
pub(crate) fn prepare_changed(
    call: &mut Call<'_>,
    kind: &Kind,
    old: &Value,
    new: &mut Value,
    subresource: &str,
) -> Result<(), ApiError> {
    let cluster = Arc::clone(call.one_cluster()?);
    let (group, name) = (kind.group(), kind.kind());
    if subresource == "status" {
        fleet_schema::behaviour::prepare_for_status_update(old, new);
    }
    keep_identity(old, new);
    drop_nulls(new);
    // A binding and a finalizer's end may say something of the status; other doors lead to the rest only.
    if matches!(subresource, "" | "scale" | "resize" | "ephemeralcontainers") {
        if kind.custom.is_some() {
            if kind.has_status() {
                keep_status(old, new);
            }
        } else {
            fleet_schema::behaviour::prepare_for_update(group, name, old, new, kind.has_status());
        }
    }
    complete(kind, new);
    admission::on_update(call, &cluster, kind, old, new)?;
    // A status can't raise the generation, nor can a finalizer or a label.
    let moves = subresource != "status"
        && (kind.custom.is_some() || fleet_schema::behaviour::has_generation(group, name))
        && match &kind.custom {
            Some(_) => custom_generation_moves(kind, old, new),
            None => fleet_schema::behaviour::generation_moves(group, name, old, new),
        };
    if moves {
        new.set_meta("generation", old.generation() + 1);
    }
    judge_changed(call, kind, old, new, subresource)
}

fn custom_generation_moves(kind: &Kind, old: &Value, new: &Value) -> bool {
    let relevant = |key: &str| key != "metadata" && !(kind.has_status() && key == "status");
    let content = |object: &Value| -> Vec<(String, Value)> {
        let fields = object.as_object().into_iter().flatten();
        fields.filter(|(key, _)| relevant(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let same_size =
        |object: &Value| object.as_object().into_iter().flatten().filter(|(key, _)| relevant(key)).count();
    same_size(old) != same_size(new) || content(new).iter().any(|(key, value)| old.get(key) != Some(value))
}

fn keep_status(old: &Value, new: &mut Value) {
    if let Some(fields) = new.as_object_mut() {
        match old.get("status") {
            Some(status) => fields.insert("status".into(), status.clone()),
            None => fields.remove("status"),
        };
    }
}

/// Metadata that belongs to the server.
fn keep_identity(old: &Value, new: &mut Value) {
    for field in [
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "namespace",
        "name",
    ] {
        match old.meta(field) {
            Some(value) => {
                let value = value.clone();
                new.set_meta(field, value);
            }
            None => {
                new.take_meta(field);
            }
        }
    }
    new.take_meta("selfLink");
}

/// Who is to own what a write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// The writer owns what differs.
    Recorded,
    /// An apply has settled it already.
    Settled,
}

/// Puts the owners into the object.
pub(crate) fn own(
    call: &Call<'_>,
    kind: &Kind,
    subresource: &str,
    live: Option<&Value>,
    new: &mut Value,
) -> Result<(), ApiError> {
    let manager = call.field_manager()?;
    let now = time(call.server.now());
    let writer = Writer { manager: &manager, subresource, api_version: &call.kind.api_version, now: &now };
    ownership::record(kind, &writer, live, new);
    Ok(())
}

/// Completes, judges and commits a change; gives the bytes as stored. A change that changes nothing isn't written.
pub(crate) async fn commit_change(
    call: &mut Call<'_>,
    old_entry: &Entry,
    old: &Value,
    mut new: Value,
    subresource: &str,
    owners: Owners,
) -> Result<Bytes, ApiError> {
    let kind = stored_kind(call);
    prepare_changed(call, &kind, old, &mut new, subresource)?;
    author::restore(call, Some(old), &mut new);
    // The Scale or Binding that was written has been judged; this is what follows from it.
    let judged = matches!(subresource, "scale" | "binding");
    if owners == Owners::Recorded {
        if same_content(old, &new) && subresource.is_empty() && !brings_owners(old, &new) {
            policy::admit(call, &Review::update(old, &new))?;
            return Ok(old_entry.value.clone());
        }
        own(call, &kind, subresource, Some(old), &mut new)?;
    }
    author::stamp(call, Some(old), &mut new);
    if !judged {
        policy::admit(call, &Review::update(old, &new))?;
    }
    if subresource.is_empty() {
        advice::advise(call, Some(old), &new);
    }
    if same(old, &new) {
        return Ok(old_entry.value.clone());
    }
    let dry_run = call.query.dry_run()?;
    if is_finished(&new) {
        return remove(call, old_entry, &new, dry_run).await;
    }
    if dry_run {
        return Ok(Gapped::new(&new).fill(old_entry.revision));
    }
    let bytes = commit(call, old_entry.key.clone(), Expect::Revision(old_entry.revision), &new).await?.value;
    admission::after_change(call, &kind, Some(old), &new).await;
    Ok(bytes)
}

/// Whether nothing holds back a deletion that was asked for.
pub(crate) fn is_finished(object: &Value) -> bool {
    object.is_terminating() && object.finalizers().is_empty() && spec_finalizers(object) == 0
}

/// A Namespace is held by finalizers in its spec, too.
pub(crate) fn spec_finalizers(object: &Value) -> usize {
    let is_namespace = object.get("kind").and_then(Value::as_str) == Some("Namespace")
        && object.get("apiVersion").and_then(Value::as_str) == Some("v1");
    match object.pointer("/spec/finalizers").and_then(Value::as_array) {
        Some(list) if is_namespace => list.len(),
        _ => 0,
    }
}

/// Removes the object; watchers see `last`.
pub(crate) async fn remove(
    call: &mut Call<'_>,
    entry: &Entry,
    last: &Value,
    dry_run: bool,
) -> Result<Bytes, ApiError> {
    let gapped = Gapped::new(last);
    if dry_run {
        return Ok(gapped.fill(entry.revision));
    }
    let write = Write::delete(move |revision| gapped.fill(revision));
    let removed = call.server.store.commit(entry.key.clone(), Expect::Revision(entry.revision), write).await;
    let bytes = removed.map_err(|error| refuse(call, &entry.key.name, error))?.value;
    let kind = stored_kind(call);
    admission::after_removal(call, &kind, last).await;
    Ok(bytes)
}

/// Commits the object under its key.
pub(crate) async fn commit(
    call: &Call<'_>,
    key: Key,
    expect: Expect,
    object: &Value,
) -> Result<Entry, ApiError> {
    let gapped = Gapped::new(object);
    let name = Arc::clone(&key.name);
    let write = Write::put(move |revision| gapped.fill(revision));
    call.server.store.commit(key, expect, write).await.map_err(|error| refuse(call, &name, error))
}

fn refuse(call: &Call<'_>, name: &str, error: CommitError) -> ApiError {
    let (group, resource) = (call.kind.group(), call.kind.plural.as_str());
    match error {
        CommitError::Exists => ApiError::already_exists(group, resource, name),
        CommitError::NotFound => ApiError::not_found(group, resource, name),
        CommitError::Conflict { .. } => ApiError::modified(group, resource, name),
        CommitError::Storage(why) => ApiError::internal(format!("the change was not stored: {why}")),
        CommitError::Closed => ApiError::unavailable("the server is shutting down").retry_after(1),
    }
}

/// Whether two states differ in nothing that is kept, the resource version and the times of owners aside: applying again
/// what stands there writes nothing, although defaults are put back on the way (kube-apiserver's
/// `ignoreManagedFieldsTimestampsTransformer`).
fn same(old: &Value, new: &Value) -> bool {
    same_content(old, new) && owners(old) == owners(new)
}

/// Who owns what, without since when, in an order that times have no part in.
fn owners(object: &Value) -> Vec<(String, &Value)> {
    let entries = object.meta("managedFields").and_then(Value::as_array).into_iter().flatten();
    let mut all: Vec<(String, &Value)> = entries
        .map(|entry| {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            let who = [text("manager"), text("operation"), text("subresource"), text("apiVersion")];
            (who.join("\n"), entry.get("fieldsV1").unwrap_or(&Value::Null))
        })
        .collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

fn same_content(old: &Value, new: &Value) -> bool {
    same_but(old, new, &["resourceVersion", "managedFields"])
}

/// Whether the client sent owners of its own: to take over or to clear them.
fn brings_owners(old: &Value, new: &Value) -> bool {
    new.meta("managedFields").is_some_and(|fields| Some(fields) != old.meta("managedFields"))
}

fn same_but(old: &Value, new: &Value, ignored: &[&str]) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return false };
    let fields_equal =
        |a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>, skip: &[&str]| {
            let count = |map: &serde_json::Map<String, Value>| {
                map.keys().filter(|key| !skip.contains(&key.as_str())).count()
            };
            count(a) == count(b)
                && a.iter()
                    .filter(|(key, _)| !skip.contains(&key.as_str()))
                    .all(|(key, value)| b.get(key) == Some(value))
        };
    let meta = |object: &serde_json::Map<String, Value>| {
        object.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default()
    };
    fields_equal(old, new, &["metadata"]) && fields_equal(&meta(old), &meta(new), ignored)
}
