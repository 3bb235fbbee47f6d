//! Server-side apply of one configuration.

use std::borrow::Cow;

use fleet_json::Shape;
use serde_json::Value;

use crate::compare::{Comparison, Nulls, compare_objects, equal_objects};
use crate::conflict::{Conflict, conflict_message, conflicts_with};
use crate::element::Path;
use crate::last_applied;
use crate::managed::{
    ManagedFieldsEntry, ManagedFieldsError, Operation, decode_managed_fields, write_managed_fields,
};
use crate::merge::{copy, is_merged, merge_objects};
use crate::node::Place;
use crate::prune::prune;
use crate::remove::remove_items;
use crate::set::FieldSet;
use crate::to_set::fields_of_config;

/// The manager that owns what was there before an object was first applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// One apply.
#[derive(Debug, Clone, Copy)]
pub struct ApplyRequest<'r, S> {
    /// The stored object; `None` to create it.
    pub live: Option<&'r Value>,
    /// The applied configuration.
    pub config: &'r Value,
    /// The field manager that the client named.
    pub manager: &'r str,
    /// The subresource applied to, empty for the object itself.
    pub subresource: &'r str,
    /// The version applied in (`apps/v1`).
    pub api_version: &'r str,
    /// Take fields that others own.
    pub force: bool,
    /// The time (RFC 3339).
    pub now: &'r str,
    /// The type of the object.
    pub shape: S,
    /// Fields that this endpoint resets (`status` on the main resource): neither set nor owned.
    pub ignore: &'r FieldSet,
}

/// What an apply gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The object to store, with its `managedFields`.
    pub object: Value,
    /// Whether it differs from the live object; if not, it is the live object, times included.
    pub changed: bool,
}

/// Why an apply isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that it would change. Kubernetes answers 409 with a cause for each.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration itself is wrong.
    #[error("{path}: {message}")]
    Invalid {
        /// Where.
        path: Path,
        /// What is wrong.
        message: String,
    },
    /// An apply must say who applies.
    #[error("fieldManager: Required value: is required for apply patch")]
    NoManager,
    /// The stored object's managedFields can't be read.
    #[error(
        "failed to decode managed fields of the live object: {0}; reset them with \"managedFields\": [{{}}]"
    )]
    LiveManagedFields(#[from] ManagedFieldsError),
}

/// Applies a configuration: merges it into the live object, removes what this manager applied before and
/// doesn't mention any more (unless someone else owns it), and records who owns what.
///
/// # Errors
/// [`ApplyError::Conflicts`] when it would change fields of other managers and doesn't force;
/// the other variants when the configuration or the live object can't be used.
pub fn apply<'a, S: Shape<'a>>(request: ApplyRequest<'_, S>) -> Result<Applied, ApplyError> {
    if request.manager.is_empty() {
        return Err(ApplyError::NoManager);
    }
    let config = usable_config(&request)?;
    let fields = fields_of_config(&config, request.shape)
        .map_err(|refusal| ApplyError::Invalid { path: refusal.path(), message: refusal.message })?;
    match request.live {
        None => Ok(create(&request, &config, fields)),
        Some(live) => apply_to(&request, live, &config, fields),
    }
}

/// The configuration without the fields that this endpoint resets.
fn usable_config<'r, 'a, S: Shape<'a>>(request: &ApplyRequest<'r, S>) -> Result<Cow<'r, Value>, ApplyError> {
    let invalid = |names: &[&str], message: &str| {
        Err(ApplyError::Invalid { path: Path::of_fields(names), message: message.to_owned() })
    };
    let Value::Object(map) = request.config else {
        return invalid(&[], "expected an object");
    };
    match map.get("metadata") {
        None | Some(Value::Null) => {}
        Some(Value::Object(metadata)) => {
            if metadata.get("managedFields").is_some_and(|fields| !fields.is_null()) {
                return invalid(&["metadata", "managedFields"], "must be nil");
            }
        }
        Some(_) => return invalid(&["metadata"], "expected a map"),
    }
    if map.keys().any(|name| request.ignore.get_field(name).is_some()) {
        return Ok(Cow::Owned(remove_items(request.config, request.ignore, request.shape)));
    }
    Ok(Cow::Borrowed(request.config))
}

fn own_entry<S>(request: &ApplyRequest<'_, S>, fields: FieldSet, time: Option<String>) -> ManagedFieldsEntry {
    ManagedFieldsEntry {
        manager: request.manager.to_owned(),
        operation: Operation::Apply,
        api_version: request.api_version.to_owned(),
        time,
        fields,
        subresource: request.subresource.to_owned(),
    }
}

fn create<S>(request: &ApplyRequest<'_, S>, config: &Value, fields: FieldSet) -> Applied {
    let mut object = copy(config, Place::Object);
    if !fields.is_empty() {
        let entry = own_entry(request, fields, Some(request.now.to_owned()));
        write_managed_fields(&mut object, &[entry]);
    }
    Applied { object, changed: true }
}

fn apply_to<'a, S: Shape<'a>>(
    request: &ApplyRequest<'_, S>,
    live: &Value,
    config: &Value,
    fields: FieldSet,
) -> Result<Applied, ApplyError> {
    let mut others = decode_managed_fields(live)?;
    if others.is_empty() {
        others.extend(before_first_apply(request, live));
    }
    let own = others
        .iter()
        .position(|entry| {
            entry.is_of(request.manager, Operation::Apply, request.api_version, request.subresource)
        })
        .map(|at| others.remove(at));

    // An entry whose set was given up entirely is gone as well.
    let entry_changed = match &own {
        Some(own) => own.fields != fields || own.api_version != request.api_version,
        None => !fields.is_empty(),
    };
    let unchanged = || Ok(Applied { object: live.clone(), changed: false });
    if !entry_changed && !last_applied::concerns(request.manager) && is_merged(live, config, request.shape) {
        return unchanged();
    }

    let mut object = merge_objects(live, config, request.shape);
    if let Some(own) = &own {
        let keep: Vec<&FieldSet> =
            std::iter::once(&fields).chain(others.iter().map(|entry| &entry.fields)).collect();
        // What this endpoint doesn't set, it doesn't remove either.
        let last = own.fields.recursive_difference(request.ignore);
        prune(&mut object, &last, &keep, request.shape);
    }

    let mut object_changed = !equal_objects(live, &object, Nulls::AreAbsent);
    if object_changed {
        let comparison = compare_objects(live, &object, request.shape).without(request.ignore);
        take_from_others(request, live, &mut others, &comparison)?;
    }
    object_changed |= last_applied::refresh(request.manager, &mut object, config);

    if !object_changed && !entry_changed {
        return unchanged();
    }
    if !fields.is_empty() {
        others.push(own_entry(request, fields, Some(request.now.to_owned())));
    }
    write_managed_fields(&mut object, &others);
    Ok(Applied { object, changed: true })
}

/// Someone owns what an object without managedFields contains.
fn before_first_apply<'a, S: Shape<'a>>(
    request: &ApplyRequest<'_, S>,
    live: &Value,
) -> Option<ManagedFieldsEntry> {
    let nothing = Value::Object(serde_json::Map::new());
    let fields = compare_objects(&nothing, live, request.shape).without(request.ignore).added;
    (!fields.is_empty()).then(|| ManagedFieldsEntry {
        manager: BEFORE_FIRST_APPLY.to_owned(),
        operation: Operation::Update,
        api_version: request.api_version.to_owned(),
        time: Some(request.now.to_owned()),
        fields,
        subresource: request.subresource.to_owned(),
    })
}

/// What changes is no longer theirs, which they must allow; what is gone isn't anybody's.
fn take_from_others<'a, S: Shape<'a>>(
    request: &ApplyRequest<'_, S>,
    live: &Value,
    others: &mut Vec<ManagedFieldsEntry>,
    comparison: &Comparison,
) -> Result<(), ApplyError> {
    let written = comparison.written();
    let taken: Vec<FieldSet> = others.iter().map(|entry| entry.fields.intersection(&written)).collect();
    if !request.force && taken.iter().any(|fields| !fields.is_empty()) {
        let allowed = last_applied::fields_that_may_be_taken(request.manager, live, request.shape);
        let conflicts: Vec<Conflict> = others
            .iter()
            .zip(&taken)
            .flat_map(|(entry, fields)| conflicts_with(entry, &fields.leaves().difference(&allowed)))
            .collect();
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
    }
    for (entry, taken) in others.iter_mut().zip(&taken) {
        if !taken.is_empty() {
            entry.fields = entry.fields.difference(taken);
        }
        if !comparison.removed.is_empty() {
            entry.fields = entry.fields.difference(&comparison.removed);
        }
    }
    others.retain(|entry| !entry.fields.is_empty());
    Ok(())
}
