//! Who owns what after a write that isn't an apply.

use fleet_json::Shape;
use serde_json::Value;

use crate::compare::{Comparison, compare_objects};
use crate::managed::{ManagedFieldsEntry, Operation, cap_updaters, decode_managed_fields, is_reset};
use crate::set::FieldSet;

/// A create, PUT or patch.
#[derive(Debug, Clone, Copy)]
pub struct UpdateRequest<'r, S> {
    /// The stored object; `None` when it is created.
    pub live: Option<&'r Value>,
    /// The object as it will be stored.
    pub new: &'r Value,
    /// The field manager; where the client named none, the start of its user agent.
    pub manager: &'r str,
    /// The subresource written to, empty for the object itself.
    pub subresource: &'r str,
    /// The version written in (`apps/v1`).
    pub api_version: &'r str,
    /// The time (RFC 3339).
    pub now: &'r str,
    /// The type of the object.
    pub shape: S,
    /// Fields that this endpoint resets (`status` on the main resource): not owned by writing here.
    pub ignore: &'r FieldSet,
}

/// The `managedFields` for the new object, to be put there with
/// [`write_managed_fields`](crate::write_managed_fields).
///
/// What the write changed or added belongs to its manager and to no one else; what it removed belongs to
/// nobody. An entry's time moves when its manager changes something. At most 10 updaters are kept, the
/// oldest become `ancient-changes`.
///
/// `managedFields` in the new object replace the live ones, except through a subresource; `[{}]` clears them,
/// and an object whose managedFields were cleared isn't tracked until it is applied. An empty or unreadable
/// list leaves the live ones.
pub fn update<'a, S: Shape<'a>>(request: UpdateRequest<'_, S>) -> Vec<ManagedFieldsEntry> {
    let mut entries = known_entries(&request);
    if request.live.is_some() && entries.is_empty() {
        return entries;
    }
    let nothing = Value::Object(serde_json::Map::new());
    let comparison =
        compare_objects(request.live.unwrap_or(&nothing), request.new, request.shape).without(request.ignore);
    if !comparison.is_same() {
        record(&request, &comparison, &mut entries);
        cap_updaters(&mut entries);
    }
    entries
}

fn known_entries<S>(request: &UpdateRequest<'_, S>) -> Vec<ManagedFieldsEntry> {
    let of_live = || request.live.and_then(|live| decode_managed_fields(live).ok()).unwrap_or_default();
    if !request.subresource.is_empty() {
        return of_live();
    }
    if is_reset(request.new) {
        return Vec::new();
    }
    match decode_managed_fields(request.new) {
        Ok(entries) if !entries.is_empty() => entries,
        _ => of_live(),
    }
}

fn record<S>(request: &UpdateRequest<'_, S>, comparison: &Comparison, entries: &mut Vec<ManagedFieldsEntry>) {
    let manager = if request.manager.is_empty() { "unknown" } else { request.manager };
    let written = comparison.written();
    let mut own = entries
        .iter()
        .position(|entry| entry.is_of(manager, Operation::Update, request.api_version, request.subresource))
        .map(|at| entries.remove(at));

    for entry in entries.iter_mut() {
        let lost = entry.fields.intersection(&written).union(&entry.fields.intersection(&comparison.removed));
        if !lost.is_empty() {
            entry.fields = entry.fields.difference(&lost);
        }
    }

    let before = own.take().unwrap_or_else(|| ManagedFieldsEntry {
        manager: manager.to_owned(),
        operation: Operation::Update,
        api_version: request.api_version.to_owned(),
        time: None,
        fields: FieldSet::new(),
        subresource: request.subresource.to_owned(),
    });
    let fields = before.fields.difference(&comparison.removed).union(&written);
    let touched = !written.is_empty() || fields != before.fields;
    let time = if touched { Some(request.now.to_owned()) } else { before.time.clone() };
    entries.push(ManagedFieldsEntry { fields, time, ..before });
    entries.retain(|entry| !entry.fields.is_empty());
}
