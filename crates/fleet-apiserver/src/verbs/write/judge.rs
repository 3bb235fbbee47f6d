//! Whether an object is acceptable: its metadata, its schema, the rules in code.

use fleet_schema::{Context, ErrorKind, FieldError, Mode, RuleRunner, behaviour, validate};
use serde_json::Value;

use crate::admission::metadata;
use crate::dispatch::Call;
use crate::object::ObjectExt;
use crate::registry::Kind;
use crate::status::{ApiError, Cause};

/// Judges a new object.
///
/// # Errors
/// 422 with a cause for each finding; 400 where a built-in kind's field has the wrong type.
pub(crate) fn judge_new(_call: &Call<'_>, kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let mut causes = metadata::check_new(kind, object);
    causes.extend(by_schema(kind, None, object)?);
    if kind.custom.is_none() {
        causes.extend(by_code(behaviour::validate_create(kind.group(), kind.kind(), object)));
        causes.extend(crate::crd::check(kind, None, object));
        causes.extend(crate::policy::check(kind, None, object));
        causes.extend(crate::authorization::validate::role(kind, object));
    }
    verdict(kind, object, causes)
}

/// Judges a changed object: what must not change, too.
///
/// # Errors
/// As [`judge_new`].
pub(crate) fn judge_changed(
    _call: &Call<'_>,
    kind: &Kind,
    old: &Value,
    new: &Value,
    subresource: &str,
) -> Result<(), ApiError> {
    let mut causes = metadata::check_changed(kind, old, new);
    causes.extend(by_schema(kind, Some(old), new)?);
    if kind.custom.is_none() && subresource != "status" {
        causes.extend(by_code(behaviour::validate_update(kind.group(), kind.kind(), old, new)));
        causes.extend(crate::crd::check(kind, Some(old), new));
        causes.extend(crate::policy::check(kind, Some(old), new));
        causes.extend(crate::authorization::validate::role(kind, new));
    }
    verdict(kind, new, causes)
}

fn verdict(kind: &Kind, object: &Value, causes: Vec<Cause>) -> Result<(), ApiError> {
    if causes.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(kind.group(), kind.kind(), object.name(), causes))
}

fn by_schema(kind: &Kind, old: Option<&Value>, object: &Value) -> Result<Vec<Cause>, ApiError> {
    let Some(schema) = kind.schema() else { return Ok(Vec::new()) };
    let custom = kind.custom.as_ref();
    let rules = custom.map(|custom| &custom.rules).filter(|rules| !rules.is_empty());
    let rules = rules.map(|rules| rules as &dyn RuleRunner);
    let mode = if custom.is_some() { Mode::Custom } else { Mode::BuiltIn };
    let findings = validate(schema, object, Context { mode, old, rules });
    let mistyped = findings.iter().find(|finding| finding.kind == ErrorKind::TypeInvalid);
    if let Some(wrong) = mistyped.filter(|_| custom.is_none()) {
        let (name, version) = (&kind.gvk.kind, &kind.gvk.version);
        return Err(ApiError::bad_request(format!(
            "{name} in version {version:?} cannot be handled as a {name}: {wrong}"
        )));
    }
    Ok(findings.iter().map(cause).collect())
}

/// A finding of the schema as a cause.
pub(crate) fn cause(finding: &FieldError) -> Cause {
    Cause::field(finding.kind.reason(), finding.field(), finding.body())
}

fn by_code(findings: Vec<(String, String)>) -> impl Iterator<Item = Cause> {
    findings
        .into_iter()
        .map(|(field, message)| Cause::field(behaviour::cause_reason(&message), field, message))
}
