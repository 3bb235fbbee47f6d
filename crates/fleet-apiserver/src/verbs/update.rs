//! Whole objects put in place of others.

use http::Response;
use serde_json::Value;

use super::get::stored;
use super::write::{Owners, check_place, commit_change, read_object};
use crate::dispatch::Call;
use crate::encode::{Body, json_bytes};
use crate::object::ObjectExt;
use crate::status::{ApiError, Cause};
use crate::view::View;

pub(crate) async fn update(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    put(call, "").await
}

/// PUT of the object or of one of its subresources that has the object's form.
pub(crate) async fn put(call: &mut Call<'_>, subresource: &str) -> Result<Response<Body>, ApiError> {
    let mut new = read_object(call)?;
    check_place(call, &mut new)?;
    check_name(call, &new)?;
    let mut tries = 0;
    loop {
        let entry = stored(call)?;
        let old: Value = serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
        check_preconditions(call, &old, &new)?;
        let unconditional = new.meta_str("resourceVersion").is_empty();
        match commit_change(call, &entry, &old, new.clone(), subresource, Owners::Recorded).await {
            // Without a version the last writer wins, whoever came between.
            Err(error) if error.is_conflict() && unconditional && tries < 5 => tries += 1,
            other => {
                let bytes = other?;
                return Ok(json_bytes(200, View::of(call).single(&entry.key.cluster, &bytes)));
            }
        }
    }
}

fn check_name(call: &Call<'_>, new: &Value) -> Result<(), ApiError> {
    match new.name() {
        "" => Err(ApiError::invalid(
            call.kind.group(),
            call.kind.kind(),
            "",
            vec![Cause::field("FieldValueRequired", "metadata.name", "Required value: name is required")],
        )),
        name if name != call.path.name => Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.path.name
        ))),
        _ => Ok(()),
    }
}

/// The optimistic lock, and the identity that the client believes to change.
pub(crate) fn check_preconditions(call: &Call<'_>, old: &Value, new: &Value) -> Result<(), ApiError> {
    let version = new.meta_str("resourceVersion");
    if version.is_empty() && call.kind.custom.is_some() && call.path.subresource.is_empty() {
        let why = "Invalid value: 0: must be specified for an update";
        return Err(ApiError::invalid(
            call.kind.group(),
            call.kind.kind(),
            &call.path.name,
            vec![Cause::field("FieldValueInvalid", "metadata.resourceVersion", why)],
        ));
    }
    check_versions(call, old, new)
}

/// As [`check_preconditions`], where no version need be given.
pub(crate) fn check_versions(call: &Call<'_>, old: &Value, new: &Value) -> Result<(), ApiError> {
    let (uid, version) = (new.uid(), new.meta_str("resourceVersion"));
    if !uid.is_empty() && uid != old.uid() {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.uid());
        return Err(ApiError::conflict(call.kind.group(), &call.kind.plural, &call.path.name, &why));
    }
    if !version.is_empty() && version != old.meta_str("resourceVersion") {
        return Err(call.modified(&call.path.name));
    }
    Ok(())
}
