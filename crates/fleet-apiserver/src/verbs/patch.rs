//! Changes to objects: JSON patch, merge patch, strategic merge patch, and server-side apply.

use fleet_json::{PatchError, Untyped, json_patch, merge_patch, strategic_merge_patch};
use fleet_store::Entry;
use http::Response;
use serde_json::Value;

use super::create::create_object;
use super::get::stored;
use super::update::check_versions;
use super::write::{Owners, check_fields, check_place, check_type, commit_change, stored_kind};
use crate::convert;
use crate::dispatch::Call;
use crate::encode::{Body, json_bytes};
use crate::object::{ObjectExt, time};
use crate::ownership::{self, Writer};
use crate::registry::Kind;
use crate::request::body::{self, BodySyntax};
use crate::request::query::FieldValidation;
use crate::status::{ApiError, Cause};
use crate::view::View;

/// How often a patch is made anew because somebody wrote in between.
const TRIES: usize = 5;

/// How a body describes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchKind {
    /// From the body's media type; custom kinds know no strategic merge.
    pub(crate) fn of(call: &Call<'_>, strategic: bool) -> Result<Self, ApiError> {
        const COMMON: &str =
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
        let media = body::media_type(&call.headers);
        match media.as_str() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply),
            "application/strategic-merge-patch+json" if strategic => Ok(Self::Strategic),
            other => {
                let more = if strategic { ", application/strategic-merge-patch+json" } else { "" };
                Err(ApiError::unsupported_media_type(other, &format!("{COMMON}{more}")))
            }
        }
    }
}

pub(crate) async fn patch(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    patch_through(call, "").await
}

/// A patch of the object, or of one of its subresources that has the object's form.
pub(crate) async fn patch_through(
    call: &mut Call<'_>,
    subresource: &str,
) -> Result<Response<Body>, ApiError> {
    if PatchKind::of(call, call.kind.custom.is_none())? == PatchKind::Apply {
        return apply(call, subresource).await;
    }
    let patch = read_patch(call)?;
    let mut tries = 0;
    loop {
        let entry = stored(call)?;
        let old: Value = serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
        let new = patched(call, &old, &patch)?;
        check_versions(call, &old, &new)?;
        match commit_change(call, &entry, &old, new, subresource, Owners::Recorded).await {
            Err(error) if error.is_conflict() && tries < TRIES => tries += 1,
            other => return answer(call, &entry, &other?),
        }
    }
}

fn answer(call: &Call<'_>, entry: &Entry, bytes: &bytes::Bytes) -> Result<Response<Body>, ApiError> {
    Ok(json_bytes(200, View::of(call).single(&entry.key.cluster, bytes)))
}

/// The patch document with the way it is meant.
pub(crate) fn read_patch(call: &mut Call<'_>) -> Result<(PatchKind, Value), ApiError> {
    let kind = PatchKind::of(call, call.kind.custom.is_none())?;
    let decoded = body::decode(&call.body, BodySyntax::Json)?;
    if kind != PatchKind::Json {
        report_duplicates(call, &decoded.duplicates)?;
    }
    Ok((kind, decoded.value))
}

fn report_duplicates(call: &mut Call<'_>, duplicates: &[fleet_json::FieldPath]) -> Result<(), ApiError> {
    if duplicates.is_empty() {
        return Ok(());
    }
    let findings: Vec<String> =
        duplicates.iter().map(|path| format!("duplicate field {:?}", fleet_schema::place(path))).collect();
    match call.query.field_validation()? {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            call.warnings.extend(findings);
            Ok(())
        }
        FieldValidation::Strict => {
            Err(ApiError::bad_request(format!("strict decoding error: {}", findings.join(", "))))
        }
    }
}

/// The object after the patch, in the stored version.
fn patched(call: &mut Call<'_>, old: &Value, patch: &(PatchKind, Value)) -> Result<Value, ApiError> {
    let kind = call.kind.clone();
    let mut new = old.clone();
    convert::from_stored(&kind, &mut new);
    run(&kind, &mut new, patch, &call.path.name)?;
    if new.name() != old.name() {
        let why = format!("Invalid value: {:?}: field is immutable", new.name());
        return Err(ApiError::invalid(
            kind.group(),
            kind.kind(),
            old.name(),
            vec![Cause::field("FieldValueInvalid", "metadata.name", why)],
        ));
    }
    check_type(call, &mut new)?;
    check_place(call, &mut new)?;
    check_fields(call, &kind, &mut new, &[])?;
    convert::to_stored(&kind, &mut new);
    Ok(new)
}

/// Applies a patch document to any tree.
pub(crate) fn run(
    kind: &Kind,
    target: &mut Value,
    patch: &(PatchKind, Value),
    name: &str,
) -> Result<(), ApiError> {
    let (how, document) = patch;
    let done = match how {
        PatchKind::Json => json_patch(target, document),
        PatchKind::Merge | PatchKind::Apply if document.is_object() => {
            merge_patch(target, document);
            Ok(())
        }
        PatchKind::Merge | PatchKind::Apply => {
            return Err(ApiError::bad_request("a merge patch must be a JSON object"));
        }
        PatchKind::Strategic => match kind.schema() {
            Some(schema) => strategic_merge_patch(target, document, Some(schema)),
            None => strategic_merge_patch(target, document, None::<Untyped>),
        },
    };
    done.map_err(|error| refuse(kind, &error, name))
}

fn refuse(kind: &Kind, error: &PatchError, name: &str) -> ApiError {
    match error {
        PatchError::Malformed { .. } => ApiError::bad_request(error.to_string()),
        // It was understood, but doesn't fit this object: a failed `test`, a path that isn't there.
        // kubectl shows the causes of such a refusal and nothing else.
        _ => ApiError::invalid(
            kind.group(),
            kind.kind(),
            name,
            vec![Cause::field("FieldValueInvalid", "patch", error.to_string())],
        ),
    }
}

/// Server-side apply.
async fn apply(call: &mut Call<'_>, subresource: &str) -> Result<Response<Body>, ApiError> {
    let kind = call.kind.clone();
    let decoded = body::decode(&call.body, BodySyntax::Yaml)?;
    let mut config = decoded.value;
    check_config(call, &config)?;
    check_type(call, &mut config)?;
    check_fields(call, &kind, &mut config, &decoded.duplicates)?;
    if config.name().is_empty() {
        config.set_meta("name", call.path.name.clone());
    }
    if config.name() != call.path.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            config.name(),
            call.path.name
        )));
    }
    check_place(call, &mut config)?;
    convert::to_stored(&kind, &mut config);
    let stored_kind = stored_kind(call);
    let force = call.query.flag("force");
    let manager = match call.query.get("fieldManager") {
        Some(_) => call.field_manager()?,
        None => String::new(),
    };
    let now = time(call.server.now());
    let name = call.path.name.clone();
    let mut tries = 0;
    loop {
        let writer = Writer { manager: &manager, subresource, api_version: &kind.api_version, now: &now };
        let entry = match stored(call) {
            Ok(entry) => entry,
            Err(error) if error.code() == 404 && subresource.is_empty() => {
                if !config.uid().is_empty() {
                    let why = format!(
                        "uid mismatch: the provided object specified uid {}, and no existing object was found",
                        config.uid()
                    );
                    return Err(ApiError::conflict(kind.group(), &kind.plural, &name, &why));
                }
                let applied = ownership::apply(&stored_kind, &writer, None, &config, force, &name)?;
                match create_object(call, applied.object, true).await {
                    Err(error) if error.reason() == "AlreadyExists" && tries < TRIES => {
                        tries += 1;
                        continue;
                    }
                    other => return other,
                }
            }
            Err(error) => return Err(error),
        };
        let old: Value = serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
        check_versions(call, &old, &config)?;
        let applied = ownership::apply(&stored_kind, &writer, Some(&old), &config, force, &name)?;
        if !applied.changed {
            return answer(call, &entry, &entry.value);
        }
        let conditional = !config.meta_str("resourceVersion").is_empty();
        match commit_change(call, &entry, &old, applied.object, subresource, Owners::Settled).await {
            Err(error) if error.is_conflict() && !conditional && tries < TRIES => tries += 1,
            other => return answer(call, &entry, &other?),
        }
    }
}

/// An applied configuration says what it is.
fn check_config(call: &Call<'_>, config: &Value) -> Result<(), ApiError> {
    if !config.is_object() {
        return Err(ApiError::bad_request(format!(
            "an applied configuration is a map: a {}",
            call.kind.gvk.kind
        )));
    }
    for field in ["apiVersion", "kind"] {
        if config.get(field).and_then(Value::as_str).unwrap_or_default().is_empty() {
            return Err(ApiError::bad_request(format!(
                "Object '{}' is missing in the applied configuration",
                if field == "kind" { "Kind" } else { field }
            )));
        }
    }
    if config.meta("managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}
