//! Work that ends.

use serde_json::{Map, Value, json};

use super::conditions::names;
use super::reports::{Reports, of, put};
use crate::conditions::condition;
use crate::view::View;

fn holds(view: &View<'_>, kind: &str) -> bool {
    condition(view, kind).is_some_and(|condition| condition.is_true())
}

/// The API server holds a Job's status to rules (`validateJobStatusUpdate`): a finished one never changes and has no
/// active pods, counters don't fall, a start isn't moved, `Complete` comes with `SuccessCriteriaMet` and a time, `Failed`
/// with `FailureTarget`, which stays as well. So while other members still work, one that failed makes `FailureTarget` only.
pub(super) fn job(reports: &Reports<'_>) -> Map<String, Value> {
    let before = reports.hub.at(&["status"]).and_then(Value::as_object);
    if (holds(&reports.hub, "Complete") || holds(&reports.hub, "Failed"))
        && let Some(finished) = before
    {
        return finished.clone();
    }
    let members = |kinds: &[&str]| -> Vec<&str> {
        let hold = |view: &View<'_>| kinds.iter().any(|kind| holds(view, kind));
        reports.each().filter(|(_, view)| hold(view)).map(|(cluster, _)| cluster).collect()
    };
    let count = reports.each().count();
    let everywhere = |some: &[&str]| reports.complete() && some.len() == count;
    let failing = members(&["Failed", "FailureTarget"]);
    // What was said of the end can't be unsaid, though the member that it was about may have left.
    let said = |kind: &str| {
        let conditions = reports.hub.list(&["status", "conditions"]);
        let of_kind = |item: &&Value| item.get("type").and_then(Value::as_str) == Some(kind);
        conditions.iter().find(of_kind).filter(|_| holds(&reports.hub, kind)).cloned()
    };
    let (failed_before, met_before) = (said("FailureTarget"), said("SuccessCriteriaMet"));
    let met = members(&["SuccessCriteriaMet", "Complete"]);
    let complete = members(&["Complete"]);
    let over = everywhere(&members(&["Complete", "Failed"]));
    let started = reports.complete() && reports.texts("startTime").count() == count;
    let start = match reports.hub.text(&["status", "startTime"]) {
        "" if started => reports.earliest("startTime"),
        "" => None,
        earlier => Some(json!(earlier)),
    };
    let never_falls = |field: &str| {
        let sum = reports.sum(field).and_then(|sum| sum.as_i64());
        sum.max(reports.hub.int(&["status", field])).map(|count| json!(count))
    };
    let mut status = of([
        ("active", reports.sum("active")),
        ("ready", reports.sum("ready")),
        ("terminating", reports.sum("terminating")),
        ("succeeded", never_falls("succeeded")),
        ("failed", never_falls("failed")),
        ("startTime", start.clone()),
    ]);
    let mut conditions = Vec::new();
    let tell = |kind: &str, deciding: &[&str], reason: &str, message: String| {
        let mut made = json!({"type": kind, "status": "True", "reason": reason, "message": message});
        for time in ["lastProbeTime", "lastTransitionTime"] {
            let times =
                reports.each().filter(|(cluster, _)| deciding.contains(cluster)).flat_map(|(_, view)| {
                    let text = |item: &Value, field: &str| {
                        item.get(field).and_then(Value::as_str).map(str::to_owned)
                    };
                    let items = view.list(&["status", "conditions"]).iter();
                    items.filter_map(move |item| text(item, time)).collect::<Vec<_>>()
                });
            if let (Some(latest), Some(map)) = (times.max(), made.as_object_mut()) {
                map.insert(time.to_owned(), json!(latest));
            }
        }
        made
    };
    if failed_before.is_some() || !failing.is_empty() && met_before.is_none() {
        let reasons = reports.each().filter_map(|(_, view)| {
            let failed = ["Failed", "FailureTarget"].iter().find_map(|kind| condition(&view, kind))?;
            (failed.is_true() && !failed.reason.is_empty()).then(|| failed.reason.to_owned())
        });
        let mut reason = reasons.min().unwrap_or_else(|| "JobFailed".to_owned());
        let mut message = format!("failed in {}", names(&failing));
        if let (true, Some(before)) = (failing.is_empty(), condition(&reports.hub, "FailureTarget")) {
            reason = before.reason_or("JobFailed").to_owned();
            message = before.message_or("failed in a cluster that has left");
        }
        match failed_before {
            Some(before) if failing.is_empty() => conditions.push(before),
            _ => conditions.push(tell("FailureTarget", &failing, &reason, message.clone())),
        }
        if over && start.is_some() {
            conditions.push(tell("Failed", &failing, &reason, message));
        }
    } else if met_before.is_some() || everywhere(&met) {
        match met_before {
            Some(before) if !everywhere(&met) => conditions.push(before),
            _ => {
                let message = format!("met in all {count} clusters");
                conditions.push(tell("SuccessCriteriaMet", &met, "CompletionsReached", message));
            }
        }
        if everywhere(&complete) && start.is_some() {
            let message = format!("completed in all {count} clusters");
            conditions.push(tell("Complete", &complete, "CompletionsReached", message));
            put(&mut status, "completionTime", reports.latest("completionTime"));
        }
    } else if everywhere(&members(&["Suspended"])) {
        let suspended = members(&["Suspended"]);
        conditions.push(tell("Suspended", &suspended, "JobSuspended", "suspended".to_owned()));
    }
    if over {
        for field in ["active", "ready", "terminating"] {
            status.remove(field);
        }
    }
    put(&mut status, "conditions", (!conditions.is_empty()).then_some(Value::Array(conditions)));
    status
}

pub(super) fn cron_job(reports: &Reports<'_>) -> Map<String, Value> {
    of([
        ("active", reports.united(&["status", "active"])),
        ("lastScheduleTime", reports.latest("lastScheduleTime")),
        ("lastSuccessfulTime", reports.latest("lastSuccessfulTime")),
    ])
}
