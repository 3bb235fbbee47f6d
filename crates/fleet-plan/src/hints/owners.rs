//! Whose an object and its fields are.

use fleet_api::names;
use fleet_json::FieldPath;
use fleet_ssa::ApplyError;
use serde_json::Value;

use super::{Case, Finding, Severity, fields};
use crate::{Action, ActionKind, Entry, Standing};

/// Another Application has it in its inventory.
pub(super) fn claimed(case: &Case<'_>) -> Vec<Finding> {
    let Action { id, kind, shared, .. } = case.action;
    if matches!(kind, ActionKind::Ensure | ActionKind::Observe | ActionKind::Delete | ActionKind::Release) {
        return Vec::new();
    }
    let Some(claims) = case.facts.claims.get(&case.input.target.cluster) else { return Vec::new() };
    let by = claims.iter().find(|(known, _)| known.versionless() == id.versionless()).map(|(_, by)| by);
    let Some(by) = by else { return Vec::new() };
    // Inventories of what policies distribute have no namespace.
    if by.starts_with('/') {
        let message = "a policy distributes it, and only one may deliver it; fleetctl why says which policy: take it out of that one, or of the Application";
        return vec![Finding::new(message.to_owned())];
    }
    if *shared {
        return vec![Finding::new(format!("Application {by} has it, too; it is shared")).as_(Severity::Info)];
    }
    vec![Finding::new(format!(
        "Application {by} has it, too, and only one may; deliver it with one of them, or share it by a policy shared-resource in both"
    ))]
}

/// It stands there and isn't ours.
pub(super) fn foreign(case: &Case<'_>) -> Vec<Finding> {
    let Some(live) = case.live.filter(|_| case.is_sent()) else { return Vec::new() };
    let labels: std::collections::BTreeMap<String, String> = live
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let said = |name: &str| labels.get(name).map_or("?", String::as_str);
    match Standing::of(&labels).enter(&case.facts.owner) {
        Entry::Owns | Entry::Shares => Vec::new(),
        Entry::Joins if case.action.shared => Vec::new(),
        Entry::Free if case.action.take_over => {
            let said = "it stands there and is no application's; it is taken over, and what it says is changed to what is planned";
            vec![Finding::new(said).as_(Severity::Warning)]
        }
        Entry::Free => vec![Finding::new(
            "it stands there and is no application's, so its delivery is refused; add a policy take-over, or delete it there",
        )],
        // What policies distribute bears no Application's name.
        Entry::Joins | Entry::Refused if !labels.contains_key(names::APP_NAME) => vec![Finding::new(
            "it stands there and policies distribute it, so its delivery is refused; fleetctl why says which policy: take it out of that one, or of the Application",
        )],
        Entry::Joins | Entry::Refused => vec![Finding::new(format!(
            "it stands there and is that of Application {}/{}, so its delivery is refused; deliver it with one of them",
            said(names::APP_NAMESPACE),
            said(names::APP_NAME)
        ))],
    }
}

/// Fields that others own there, by the algorithm that the server itself will use.
pub(super) fn conflicts(case: &Case<'_>) -> Vec<Finding> {
    let Some((live, after)) = case.live.zip(case.after).filter(|_| case.is_sent() && !case.is_secret())
    else {
        return Vec::new();
    };
    let Err(ApplyError::Conflicts(conflicts)) =
        fields::applied(case, live, &after.object, &case.facts.manager, false)
    else {
        return Vec::new();
    };
    let mark = FieldPath::of_fields(["metadata", "labels", names::OWNER]);
    let paths = conflicts.iter().map(|conflict| (crate::managed::path(&conflict.field), conflict));
    // Whose it is was told already, and nobody can leave that label out.
    let found = paths.filter(|(path, _)| *path != mark).map(|(path, conflict)| {
        let by = &conflict.manager;
        let field = path.to_dotted();
        // What the last delivery there had is drift, and taken back.
        let ours = case.before.is_some_and(|before| path.get(&before.object).is_some());
        let finding = match (ours, case.action.take_over) {
            (true, _) => Finding::new(format!("{field} was changed there by {by}; it is changed back"))
                .as_(Severity::Warning),
            (false, true) => Finding::new(format!("{field} is {by}'s there; it is taken over")).as_(Severity::Warning),
            (false, false) => Finding::new(format!(
                "{field} is {by}'s there, so its delivery is refused; leave the field out, let {by} give it up, or add a policy take-over"
            )),
        };
        Finding { field: Some(path), ..finding }
    });
    found.collect()
}
