//! What isn't as it should be though the phase doesn't say so: conditions that hold, in the words that they carry.

use fleet_api::{Application, ApplicationStatus, Phase, conditions};

/// Conditions whose being true is worth a word.
const TOLD_WHERE_TRUE: [&str; 2] = ["Held", "Drifted"];

/// A condition, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notable {
    /// Its type.
    pub(crate) what: String,
    /// `Reason: message`.
    pub(crate) said: String,
}

/// Deletion first, then what is held, then what differs.
pub(crate) fn of(app: &Application) -> Vec<Notable> {
    let deletion = deletion(app).map(|said| Notable { what: "Deleting".to_owned(), said });
    let Some(status) = &app.status else { return deletion.into_iter().collect() };
    let held = TOLD_WHERE_TRUE.iter().filter_map(|type_| conditions::find(&status.conditions, type_));
    let held = held.filter(|condition| condition.is_true()).map(|condition| Notable {
        what: condition.type_.clone(),
        said: match condition.message.is_empty() {
            true => condition.reason.clone(),
            false => format!("{}: {}", condition.reason, condition.message),
        },
    });
    deletion.into_iter().chain(held).collect()
}

/// `being deleted since …: what it waits for`, for one that somebody has deleted.
pub(crate) fn deletion(app: &Application) -> Option<String> {
    let since = app.metadata.deletion_timestamp.as_ref()?.0;
    let waits = app.status.as_ref().and_then(waits_for).map(|said| format!(": {said}")).unwrap_or_default();
    Some(format!("being deleted since {since}{waits}"))
}

/// What the deletion waits for: once the controller has taken it up, the entry that sums the application up says so.
fn waits_for(status: &ApplicationStatus) -> Option<&str> {
    let said = status.services.first().filter(|_| status.status == Phase::Deleting)?.message.as_str();
    let said = said.strip_prefix("deleting: ").unwrap_or(said);
    (!said.is_empty()).then_some(said)
}
