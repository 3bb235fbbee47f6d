//! Versions: which there are, which is stored, which comes first.

use std::cmp::Ordering;

use fleet_json::path::FieldPath;
use serde_json::{Value, json};

use super::{flag, names, text, version_rows};
use crate::validate::FieldError;

pub(super) fn check(definition: &Value, errors: &mut Vec<FieldError>) {
    let path = FieldPath::of_fields(["spec", "versions"]);
    let mut names_seen: Vec<&str> = Vec::new();
    let mut stored = 0;
    for (at, version) in version_rows(definition) {
        let name = text(version, "/name");
        if !names::is_dns_1035(name) {
            let path = path.child(at).child("name");
            errors.push(if name.is_empty() {
                FieldError::required(path, "")
            } else {
                FieldError::invalid(path, json!(name), names::label_rule())
            });
        }
        for flag in ["served", "storage"] {
            if version.get(flag).and_then(Value::as_bool).is_none() {
                errors.push(FieldError::required(path.child(at).child(flag), ""));
            }
        }
        names_seen.push(name);
        stored += usize::from(flag(version, "storage"));
    }
    if names_seen.is_empty() {
        errors.push(FieldError::required(path, "must have at least one version"));
        return;
    }
    let shown = json!(names_seen);
    if stored != 1 {
        let message = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(path.clone(), shown.clone(), message));
    }
    names_seen.sort_unstable();
    if names_seen.windows(2).any(|pair| pair.first() == pair.last()) {
        errors.push(FieldError::invalid(path, shown, "must contain unique version names"));
    }
}

/// Kubernetes' order of preference: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then everything else by name.
pub fn compare_versions(left: &str, right: &str) -> Ordering {
    match (rank(left), rank(right)) {
        (Some(left), Some(right)) => right.cmp(&left),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.cmp(right),
    }
}

/// Stability, major, minor.
fn rank(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let split = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at_checked(split)?;
    let major = number(major)?;
    if rest.is_empty() {
        return Some((2, major, 0));
    }
    let (stability, minor) = match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        (Some(minor), _) => (1, minor),
        (_, Some(minor)) => (0, minor),
        _ => return None,
    };
    Some((stability, major, number(minor)?))
}

fn number(digits: &str) -> Option<u64> {
    if digits.starts_with('0') { None } else { digits.parse().ok() }
}
