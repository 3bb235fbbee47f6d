//! Who owns which field after a write: the bridge to server-side apply.

use fleet_json::Untyped;
use fleet_ssa::{ApplyError, ApplyRequest, FieldSet, UpdateRequest, write_managed_fields};
use serde_json::Value;

use crate::registry::Kind;
use crate::status::{ApiError, Cause};

/// Who writes what through which door.
#[derive(Debug, Clone)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    /// The version that the client wrote in.
    pub(crate) api_version: &'a str,
    pub(crate) now: &'a str,
}

/// Records the owners in the object after a create, PUT or patch.
pub(crate) fn record(kind: &Kind, writer: &Writer<'_>, live: Option<&Value>, new: &mut Value) {
    let ignore = ignored(kind, writer.subresource, new);
    let entries = {
        macro_rules! request {
            ($shape:expr) => {
                UpdateRequest {
                    live,
                    new,
                    manager: writer.manager,
                    subresource: writer.subresource,
                    api_version: writer.api_version,
                    now: writer.now,
                    shape: $shape,
                    ignore: &ignore,
                }
            };
        }
        match kind.schema() {
            Some(schema) => fleet_ssa::update(request!(schema)),
            None => fleet_ssa::update(request!(Untyped)),
        }
    };
    write_managed_fields(new, &entries);
}

/// Applies a configuration to the live object.
///
/// # Errors
/// 409 with a cause for each field in conflict; 400 where the configuration is wrong.
pub(crate) fn apply(
    kind: &Kind,
    writer: &Writer<'_>,
    live: Option<&Value>,
    config: &Value,
    force: bool,
    name: &str,
) -> Result<fleet_ssa::Applied, ApiError> {
    let ignore = ignored(kind, writer.subresource, config);
    macro_rules! request {
        ($shape:expr) => {
            ApplyRequest {
                live,
                config,
                manager: writer.manager,
                subresource: writer.subresource,
                api_version: writer.api_version,
                force,
                now: writer.now,
                shape: $shape,
                ignore: &ignore,
            }
        };
    }
    let applied = match kind.schema() {
        Some(schema) => fleet_ssa::apply(request!(schema)),
        None => fleet_ssa::apply(request!(Untyped)),
    };
    applied.map_err(|error| refuse(kind, &error, name))
}

fn refuse(kind: &Kind, error: &ApplyError, name: &str) -> ApiError {
    match error {
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts
                .iter()
                .map(|conflict| {
                    Cause::field("FieldManagerConflict", conflict.field.to_string(), conflict.cause())
                })
                .collect();
            ApiError::new(409, "Conflict", error.to_string())
                .about(kind.group(), &kind.plural, name)
                .with_causes(causes)
        }
        ApplyError::NoManager => ApiError::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            vec![Cause::field(
                "FieldValueRequired",
                "fieldManager",
                "Required value: is required for apply patch",
            )],
        ),
        ApplyError::Invalid { .. } => ApiError::bad_request(format!(
            "failed to create typed patch object ({name}; {}, Kind={}): {error}",
            kind.api_version, kind.gvk.kind
        )),
        ApplyError::LiveManagedFields(_) => ApiError::internal(error),
    }
}

/// What a door resets, so that nobody owns it by writing there.
fn ignored(kind: &Kind, subresource: &str, object: &Value) -> FieldSet {
    match subresource {
        "status" => {
            // Everything but the status; and of that only what the object has can matter.
            let keys = object.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
            let others: Vec<&str> =
                keys.filter(|key| !matches!(*key, "status" | "apiVersion" | "kind")).collect();
            let paths: Vec<&[&str]> = others.chunks(1).collect();
            FieldSet::of_fields(&paths)
        }
        "" if kind.has_status() => FieldSet::of_fields(&[&["status"]]),
        _ => FieldSet::new(),
    }
}
