//! Fields of one object: what may not change, what a server refuses, how many replicas.

use fleet_json::Untyped;
use fleet_schema::behaviour::{apply_defaults, validate_create, validate_update};
use fleet_schema::{GroupVersionKind, builtin};
use fleet_ssa::{ApplyError, ApplyRequest, FieldSet, apply};
use serde_json::Value;

use super::{Case, Finding};
use crate::ActionKind;

/// A change that no server takes.
pub(super) fn immutable(case: &Case<'_>) -> Vec<Finding> {
    if !case.is(ActionKind::Change) || case.action.recreate {
        return Vec::new();
    }
    let advice = "the server refuses the change; to have it deleted and made anew, name the field in a policy resource-update (recreateFields)";
    let findings = forbidden(case).into_iter();
    findings.map(|(path, why)| Finding::new(format!("{path}: {why}; {advice}")).at(&path)).collect()
}

/// A change that is carried out by deleting and making anew.
pub(super) fn recreated(case: &Case<'_>) -> Vec<Finding> {
    let said = "it is deleted and made anew: until that is done nothing of it runs";
    case.action.recreate.then(|| Finding::new(said)).into_iter().collect()
}

/// What a server refuses whatever stood there before.
pub(super) fn invalid(case: &Case<'_>) -> Vec<Finding> {
    let Some(after) = case.after.filter(|_| case.is_sent()) else { return Vec::new() };
    let (group, kind) = case.kind();
    let found = validate_create(group, kind, &defaulted(case, &after.object));
    let secret = case.is_secret();
    let said = found.into_iter().map(|(path, message)| {
        let why =
            if secret { "it isn't what the kind takes".to_owned() } else { shortened(&plain(&message)) };
        Finding::new(format!("{path}: {why}; a server refuses it")).at(&path)
    });
    said.collect()
}

/// All replicas go.
pub(super) fn no_replicas(case: &Case<'_>) -> Vec<Finding> {
    let Some((before, 0)) = replicas(case).filter(|(before, _)| *before > 0) else { return Vec::new() };
    vec![
        Finding::new(format!("replicas go from {before} to 0: nothing of it runs any more"))
            .at("spec.replicas"),
    ]
}

/// Some replicas go.
pub(super) fn fewer_replicas(case: &Case<'_>) -> Vec<Finding> {
    let Some((before, after)) = replicas(case).filter(|(before, after)| after < before && *after > 0) else {
        return Vec::new();
    };
    let said = format!("replicas go from {before} to {after}; can what is left carry the load?");
    vec![Finding::new(said).at("spec.replicas")]
}

/// How many replicas a workload has and will have. What the member has counts where it is known: an autoscaler may have
/// made more of them.
fn replicas(case: &Case<'_>) -> Option<(i64, i64)> {
    const SCALED: [(&str, &str); 4] = [
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "ReplicaSet"),
        ("", "ReplicationController"),
    ];
    if !case.is(ActionKind::Change) || !SCALED.contains(&case.kind()) {
        return None;
    }
    let count = |object: &Value| object.pointer("/spec/replicas").and_then(Value::as_i64);
    let after = case.after.and_then(|after| count(&after.object));
    let before = case.before.and_then(|before| count(&before.object));
    if after == before {
        return None;
    }
    // One that isn't delivered any more stays as it is, with whoever else sets it; the server's default is 1.
    let there = case.live.and_then(count).or(before).unwrap_or(1);
    Some((there, after.unwrap_or(1)))
}

/// What the kind's rules forbid to change, as path and reason.
fn forbidden(case: &Case<'_>) -> Vec<(String, String)> {
    let (Some(before), Some(after)) = (case.before, case.after) else { return Vec::new() };
    let (group, kind) = case.kind();
    // Of Secrets only the metadata is known.
    let live = case.live.filter(|_| !case.is_secret());
    let applied = live.and_then(|live| applied(case, live, &after.object, "fleetctl", true).ok());
    let (before, after) = match live.zip(applied) {
        Some((live, applied)) => (defaulted(case, live), defaulted(case, &applied)),
        None => (defaulted(case, &before.object), defaulted(case, &after.object)),
    };
    let anyway = validate_create(group, kind, &after);
    let found = validate_update(group, kind, &before, &after).into_iter();
    let secret = case.is_secret();
    found
        .filter(|finding| !anyway.contains(finding))
        .map(|(path, message)| {
            let why = if secret { "it may not change".to_owned() } else { shortened(&plain(&message)) };
            (path, why)
        })
        .collect()
}

/// The object as a server-side apply leaves it, by the same algorithm as a server's.
pub(super) fn applied(
    case: &Case<'_>,
    live: &Value,
    config: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, ApplyError> {
    let api_version = case.action.id.api_version.as_str();
    let status = FieldSet::of_fields(&[&["status"]]);
    let id = &case.action.id;
    let known = builtin().by_kind(&GroupVersionKind::new(id.group(), id.version(), &id.kind));
    // The time stands in managedFields alone, which nobody reads here.
    let (now, subresource) = ("1970-01-01T00:00:00Z", "");
    let live = Some(live);
    let applied = match known.and_then(|known| known.schema()) {
        Some(shape) => apply(ApplyRequest {
            live,
            config,
            manager,
            subresource,
            api_version,
            force,
            now,
            shape,
            ignore: &status,
        }),
        None => apply(ApplyRequest {
            live,
            config,
            manager,
            subresource,
            api_version,
            force,
            now,
            shape: Untyped,
            ignore: &status,
        }),
    };
    applied.map(|applied| applied.object)
}

fn defaulted(case: &Case<'_>, object: &Value) -> Value {
    let mut object = object.clone();
    let id = &case.action.id;
    apply_defaults(id.group(), id.version(), &id.kind, &mut object);
    object
}

/// The reason without the value that it is about: values may be long.
fn plain(message: &str) -> String {
    let Some(rest) = message.strip_prefix("Invalid value: ") else { return message.to_owned() };
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let end = match values.next() {
        Some(Ok(_)) => values.byte_offset(),
        _ => 0,
    };
    rest.get(end..).map_or(message, |detail| detail.trim_start_matches([':', ' '])).to_owned()
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    /// Broken: a hint about a field shows the whole pod template that stands in it.
    #[test]
    fn values_are_left_out_of_reasons() {
        assert_eq!(plain("Invalid value: {\"a\":{\"b\":1}}: field is immutable"), "field is immutable");
        assert_eq!(plain("Invalid value: \"x: y\": must be z: really"), "must be z: really");
        assert_eq!(plain("Forbidden: updates: no"), "Forbidden: updates: no");
        assert_eq!(plain("Invalid value: "), "");
    }
}
