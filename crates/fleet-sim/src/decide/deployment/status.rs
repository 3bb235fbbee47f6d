//! A Deployment's status: counts of its sets, and whether it is available and gets on.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::replica_sets::Sets;
use crate::Decision;
use crate::object::{
    Said, after, condition, flag, int, int_or, name, set_condition, set_count, stamp, status_of, text,
};
use crate::settings::Moment;

const PROGRESSING: &str = "Progressing";
const DONE: &str = "NewReplicaSetAvailable";
const LATE: &str = "ProgressDeadlineExceeded";

/// The status that the sets give; wakes when the deadline passes.
pub(super) fn of(deployment: &Value, sets: &Sets<'_>, moment: Moment<'_>, decision: &mut Decision) -> Value {
    let now = moment.now;
    let mut status = status_of(deployment);
    let sum = |field: &str| sets.all().map(|set| set.status(field)).sum::<i64>();
    let available = sum("availableReplicas");
    set_count(&mut status, "observedGeneration", int(deployment, "/metadata/generation"));
    set_count(&mut status, "replicas", sum("replicas"));
    let updated = sets.new.as_ref().map_or(0, |new| new.status("replicas"));
    set_count(&mut status, "updatedReplicas", updated);
    set_count(&mut status, "readyReplicas", sum("readyReplicas"));
    set_count(&mut status, "availableReplicas", available);
    set_count(&mut status, "unavailableReplicas", (sets.total() - available).max(0));

    let enough = available >= sets.replicas - sets.unavailable();
    let said = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    say(&mut status, "Available", said, now);
    progress(deployment, sets, &mut status, now, decision);
    status
}

fn say(status: &mut Value, kind: &str, (truth, reason, message): (&str, &str, &str), now: Timestamp) {
    set_condition(status, Said { kind, status: truth, reason, message }, now, true);
}

/// All pods are of the new template, available, and none is left over.
pub(super) fn complete(deployment: &Value, status: &Value) -> bool {
    let replicas = int_or(deployment, "/spec/replicas", 1);
    int(status, "/updatedReplicas") == replicas
        && int(status, "/replicas") == replicas
        && int(status, "/availableReplicas") == replicas
        && int(status, "/observedGeneration") >= int(deployment, "/metadata/generation")
}

fn progress(
    deployment: &Value,
    sets: &Sets<'_>,
    status: &mut Value,
    now: Timestamp,
    decision: &mut Decision,
) {
    let old = status_of(deployment);
    let before = condition(&old, PROGRESSING).cloned().unwrap_or_default();
    let reason = text(&before, "/reason");
    if flag(deployment, "/spec/paused") {
        if reason != "DeploymentPaused" && reason != LATE {
            say(status, PROGRESSING, ("Unknown", "DeploymentPaused", "Deployment is paused"), now);
        }
        return;
    }
    let Some(new) = &sets.new else { return };
    if new.value.is_none() {
        let message = format!("Created new replica set \"{}\"", new.name);
        say(status, PROGRESSING, ("True", "NewReplicaSetCreated", &message), now);
        wake_at_deadline(deployment, now, decision);
        return;
    }
    if reason == "DeploymentPaused" {
        say(status, PROGRESSING, ("Unknown", "DeploymentResumed", "Deployment is resumed"), now);
        wake_at_deadline(deployment, now, decision);
        return;
    }
    if complete(deployment, status) {
        let message = format!("ReplicaSet \"{}\" has successfully progressed.", new.name);
        say(status, PROGRESSING, ("True", DONE, &message), now);
        return;
    }
    if reason == DONE && int(status, "/replicas") == int(status, "/updatedReplicas") && !changed(sets) {
        // Done before: pods that come and go later are a matter of availability.
        return;
    }
    let more = |field: &str| int(status, field) > int(&old, field);
    let outdated = |of: &Value| int(of, "/replicas") - int(of, "/updatedReplicas");
    let moved = more("/updatedReplicas")
        || more("/readyReplicas")
        || more("/availableReplicas")
        || outdated(status) < outdated(&old);
    if moved || reason.is_empty() || (reason == DONE && changed(sets)) {
        let message = format!("ReplicaSet \"{}\" is progressing.", new.name);
        advance(status, &message, now);
        wake_at_deadline(deployment, now, decision);
        return;
    }
    if reason == LATE || reason == DONE {
        return;
    }
    let since = text(&before, "/lastUpdateTime").parse().unwrap_or(now);
    match deadline(deployment, since) {
        Some(deadline) if deadline <= now => {
            let message = format!("ReplicaSet \"{}\" has timed out progressing.", new.name);
            say(status, PROGRESSING, ("False", LATE, &message), now);
        }
        Some(deadline) => decision.wake_at(deadline),
        None => tracing::trace!(deployment = name(deployment), "no deadline"),
    }
}

/// Whether the sets are on their way to another template.
fn changed(sets: &Sets<'_>) -> bool {
    sets.old.iter().any(|set| set.want > 0 || set.status("replicas") > 0)
}

/// Progress made: also the same words are said anew, with a new time, for the deadline counts from it.
fn advance(status: &mut Value, message: &str, now: Timestamp) {
    let fresh = !set_condition(
        status,
        Said { kind: PROGRESSING, status: "True", reason: "ReplicaSetUpdated", message },
        now,
        true,
    );
    if fresh
        && let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut)
        && let Some(condition) =
            conditions.iter_mut().find(|condition| text(condition, "/type") == PROGRESSING)
    {
        crate::object::set(condition, "lastUpdateTime", stamp(now));
    }
}

fn wake_at_deadline(deployment: &Value, now: Timestamp, decision: &mut Decision) {
    if let Some(deadline) = deadline(deployment, now) {
        decision.wake_at(deadline);
    }
}

/// When progress is late; `None` where there is no deadline.
fn deadline(deployment: &Value, since: Timestamp) -> Option<Timestamp> {
    let seconds = int_or(deployment, "/spec/progressDeadlineSeconds", 600);
    if seconds >= i64::from(i32::MAX) {
        return None;
    }
    Some(after(since, Duration::from_secs(u64::try_from(seconds).ok()?)))
}
