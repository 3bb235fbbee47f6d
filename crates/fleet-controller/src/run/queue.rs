//! Newer revisions that wait until the run is over (`fleetctl.dev/on-new-revision: Queue`).
//!
//! What waits follows from the Application as it is now and its newest Run: nothing is kept in between, so a crash loses
//! nothing. What waited before, and since when, stands in the Application's status.

use std::sync::Arc;

use fleet_api::{Application, OnNewRevision, QueuedRevision, RunPhase, RunStatus, names};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::Problem;
use crate::context::Context;
use crate::report::events;
use crate::run::joining;
use crate::turn::walk::Walk;

/// How many of those that were passed over are named.
const NAMED: usize = 10;

/// What an Application says, as part of what is wrong with it.
///
/// # Errors
/// What stands there and what may.
pub(crate) fn rule(app: &Application) -> Result<OnNewRevision, Problem> {
    OnNewRevision::of(app).map_err(|message| Problem::wrong("InvalidOnNewRevision", message))
}

/// Whether what is asked for waits until the run is over. Only what an edit asks for does: a person who restarts or
/// rolls back means now. A run that only owes something to targets that it passed over keeps nobody waiting.
pub(crate) fn waits(rule: OnNewRevision, cause: &str, status: Option<&RunStatus>) -> bool {
    let Some(status) = status.filter(|status| !status.phase.is_over()) else { return false };
    let by_edit = matches!(cause, "RevisionChanged" | "PublishVersion");
    rule == OnNewRevision::Queue && by_edit && !joining::only_owes(status)
}

/// What waits now, from what waited before.
pub(crate) fn next(
    before: Option<&QueuedRevision>,
    wanted: Option<QueuedRevision>,
    now: Timestamp,
) -> Option<QueuedRevision> {
    let wanted = wanted?;
    let Some(before) = before else {
        return Some(QueuedRevision { since: Some(now), ..wanted });
    };
    let (mut skipped, mut total) = (before.skipped.clone(), before.skipped_total);
    let same = before.is_same(&wanted);
    if !same {
        skipped.push(before.revision.clone());
        skipped.drain(..skipped.len().saturating_sub(NAMED));
        total = total.saturating_add(1);
    }
    let since = before.since.filter(|_| same).or(Some(now));
    Some(QueuedRevision { since, skipped, skipped_total: total, ..wanted })
}

/// A revision that waits for the run.
pub(crate) fn wanted(app: &Application, walk: &Walk, hash: &str) -> QueuedRevision {
    QueuedRevision {
        revision: names::derived_name(&walk.key.1, hash),
        publish_version: app.annotations().get(names::PUBLISH_VERSION).cloned(),
        behind: walk.run_name().to_owned(),
        ..QueuedRevision::default()
    }
}

/// What waited, as far as the hub shows it.
pub(crate) fn shown<'a>(app: &'a Application, walk: &'a Walk) -> Option<&'a QueuedRevision> {
    let written = walk.written.as_ref().filter(|written| written.hides(app));
    written.map_or(app, |written| &written.now).status.as_ref()?.queued.as_ref()
}

/// In words, with the commands that move it.
pub(crate) fn message(queued: &QueuedRevision, app: &Application, run: Option<RunPhase>) -> String {
    let address = format!("{} -n {}", app.name_any(), app.namespace().unwrap_or_default());
    let since = queued.since.map(|since| format!(" since {since}")).unwrap_or_default();
    let skipped = match queued.skipped_total {
        0 => String::new(),
        1 => format!(" (1 before it skipped: {})", queued.skipped.join(", ")),
        n => format!(" ({n} before it skipped, last: {})", queued.skipped.last().map_or("", String::as_str)),
    };
    let stands = run.map(|phase| format!(" ({})", phase.as_str())).unwrap_or_default();
    format!(
        "revision {} waits{since} until run {}{stands} is over{skipped}; end that run to let it begin: fleetctl workflow terminate {address}",
        queued.revision, queued.behind
    )
}

/// What is to be told once what waits has changed: reason, subject and words.
fn news(
    before: Option<&QueuedRevision>,
    after: Option<&QueuedRevision>,
    running: Option<&str>,
) -> Vec<(&'static str, String, String)> {
    let mut all = Vec::new();
    let gone = before.filter(|before| after.is_none_or(|after| !before.is_same(after)));
    if let Some(gone) = gone.filter(|gone| after.is_some() || running != Some(&gone.revision)) {
        let instead = after.map_or_else(
            || "something else is asked for by now".to_owned(),
            |after| format!("revision {} took its place", after.revision),
        );
        let note = format!("revision {}, which waited, will not run: {instead}", gone.revision);
        all.push(("RevisionSkipped", gone.revision.clone(), note));
    }
    if let Some(new) = after.filter(|after| before.is_none_or(|before| !before.is_same(after))) {
        let note = format!("revision {} waits until run {} is over", new.revision, new.behind);
        all.push(("RevisionQueued", new.revision.clone(), note));
    }
    all
}

/// Tells what has changed.
pub(crate) fn tell(
    ctx: &Arc<Context>,
    app: &Application,
    before: Option<&QueuedRevision>,
    after: Option<&QueuedRevision>,
    running: Option<&str>,
) {
    for (reason, subject, note) in news(before, after, running) {
        tracing::info!(namespace = app.namespace(), application = app.name_any(), reason, "{note}");
        events::about_application(ctx, app, reason, &subject, &note);
    }
}

#[cfg(test)]
mod tests;
