//! Fields that the schema doesn't know, and fields given twice.

use fleet_json::FieldPath;
use fleet_schema::{place, prune};
use serde_json::Value;

use crate::dispatch::Call;
use crate::registry::Kind;
use crate::request::query::FieldValidation;
use crate::status::ApiError;

/// Drops what the schema doesn't know; says so as `fieldValidation` asks.
///
/// # Errors
/// 400 in strict mode, naming every such field.
pub(crate) fn check_fields(
    call: &mut Call<'_>,
    kind: &Kind,
    value: &mut Value,
    duplicates: &[FieldPath],
) -> Result<(), ApiError> {
    let unknown = kind.schema().map(|schema| prune(schema, value)).unwrap_or_default();
    if unknown.is_empty() && duplicates.is_empty() {
        return Ok(());
    }
    let duplicates = duplicates.iter().map(|path| format!("duplicate field {:?}", place(path)));
    let unknown = unknown.iter().map(|path| format!("unknown field {:?}", place(path)));
    let findings: Vec<String> = duplicates.chain(unknown).collect();
    match call.query.field_validation()? {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            call.warnings.extend(findings);
            Ok(())
        }
        FieldValidation::Strict => Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
            kind.gvk.kind,
            kind.gvk.version,
            kind.gvk.kind,
            findings.join(", ")
        ))),
    }
}
