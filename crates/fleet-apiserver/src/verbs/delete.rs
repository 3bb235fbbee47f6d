//! Deleting: at once, or marked until every finalizer is gone.

mod options;

use std::sync::Arc;

use fleet_store::{Entry, Expect, Page};
use http::Response;
use serde_json::{Value, json};

use super::get::stored;
use super::write::{commit, is_finished, remove, spec_finalizers, stored_kind};
use crate::admission;
use crate::dispatch::Call;
use crate::encode::{Body, json, json_bytes, to_bytes};
use crate::object::{Gapped, ObjectExt, time};
use crate::policy::{self, Review};
use crate::selection::Selection;
use crate::status::{ApiError, success};
use crate::view::View;
pub(crate) use options::DeleteOptions;
use options::Propagation;

pub(crate) async fn delete(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    let options = DeleteOptions::of(call)?;
    delete_named(call, &options).await
}

/// Deletes the object that the path names, under these options.
pub(crate) async fn delete_named(
    call: &mut Call<'_>,
    options: &DeleteOptions,
) -> Result<Response<Body>, ApiError> {
    let mut tries = 0;
    loop {
        let entry = stored(call)?;
        match delete_entry(call, &entry, options).await {
            Err(error) if error.is_conflict() && !options.is_conditional() && tries < 5 => tries += 1,
            Err(error) => return Err(error),
            Ok(Outcome::Removed(last)) => {
                let status = success(call.kind.group(), &call.kind.plural, &entry.key.name, last.uid());
                return Ok(json(200, &status));
            }
            Ok(Outcome::Marked(bytes)) => {
                return Ok(json_bytes(200, View::of(call).single(&entry.key.cluster, &bytes)));
            }
        }
    }
}

/// What a delete came to.
pub(crate) enum Outcome {
    /// The object is gone; this was it.
    Removed(Value),
    /// The object waits for its finalizers.
    Marked(bytes::Bytes),
}

/// Deletes one object as it was read, or marks it.
pub(crate) async fn delete_entry(
    call: &mut Call<'_>,
    entry: &Entry,
    options: &DeleteOptions,
) -> Result<Outcome, ApiError> {
    let old: Value = serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
    options.check(call, entry, &old)?;
    admission::on_delete(call, &old)?;
    policy::admit(call, &Review::delete(&old))?;
    let dry_run = call.query.dry_run()?;
    let mut new = old.clone();
    propagate(&mut new, options.propagation);
    let held = !new.finalizers().is_empty() || spec_finalizers(&new) > 0;
    if !held {
        if new.is_terminating() && !is_finished(&new) {
            return Err(call.modified(&entry.key.name));
        }
        remove(call, entry, &new, dry_run).await?;
        return Ok(Outcome::Removed(new));
    }
    if !new.is_terminating() {
        new.set_meta("deletionTimestamp", time(call.server.now()));
        new.set_meta("deletionGracePeriodSeconds", 0);
        if new.generation() > 0 {
            let generation = new.generation() + 1;
            new.set_meta("generation", generation);
        }
        admission::mark_terminating(&stored_kind(call), &mut new);
    }
    if new == old {
        return Ok(Outcome::Marked(entry.value.clone()));
    }
    if dry_run {
        return Ok(Outcome::Marked(Gapped::new(&new).fill(entry.revision)));
    }
    let kind = stored_kind(call);
    let marked = commit(call, entry.key.clone(), Expect::Revision(entry.revision), &new).await?;
    admission::after_change(call, &kind, Some(&old), &new).await;
    Ok(Outcome::Marked(marked.value))
}

/// The finalizers by which the garbage collector learns what is to become of dependents.
fn propagate(object: &mut Value, propagation: Option<Propagation>) {
    const ORPHAN: &str = "orphan";
    const FOREGROUND: &str = "foregroundDeletion";
    let Some(propagation) = propagation else { return };
    let mut finalizers = object.finalizers();
    finalizers.retain(|name| name != ORPHAN && name != FOREGROUND);
    match propagation {
        Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
        Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
        Propagation::Background => {}
    }
    if finalizers.is_empty() {
        object.take_meta("finalizers");
    } else {
        object.set_meta("finalizers", finalizers);
    }
}

/// Deletes what a list with the same selectors would show.
pub(crate) async fn delete_collection(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    let options = DeleteOptions::of(call)?;
    call.one_cluster()?;
    let selection = Selection::of(call)?;
    let range = selection.range(call);
    let listing = call.server.store.list(&range, Page::default()).map_err(ApiError::internal)?;
    let view = View::of(call);
    let mut items = Vec::new();
    for entry in listing.entries.into_iter().filter(|entry| selection.matches(&entry.value)) {
        call.path.name = entry.key.name.as_ref().to_owned();
        call.path.namespace = entry.key.namespace.as_ref().to_owned();
        let mut entry = entry;
        let mut tries = 0;
        loop {
            match delete_entry(call, &entry, &options).await {
                Ok(Outcome::Removed(last)) => items.extend(view.value(&entry.key.cluster, &to_bytes(&last))),
                Ok(Outcome::Marked(bytes)) => items.extend(view.value(&entry.key.cluster, &bytes)),
                Err(error) if error.code() == 404 => {}
                Err(error) if error.is_conflict() && tries < 5 => {
                    tries += 1;
                    match stored(call) {
                        Ok(again) => {
                            entry = again;
                            continue;
                        }
                        Err(_) => break,
                    }
                }
                Err(error) => return Err(error),
            }
            break;
        }
    }
    let kind = Arc::clone(&call.kind);
    let list = json!({
        "kind": kind.list_kind,
        "apiVersion": kind.api_version,
        "metadata": {"resourceVersion": call.server.store.revision().to_string()},
        "items": items,
    });
    Ok(json(200, &list))
}
