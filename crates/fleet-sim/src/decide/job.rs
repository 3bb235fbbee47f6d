//! Jobs: pods until enough have succeeded, or too many have failed.

use std::time::Duration;

use serde_json::Value;

use super::pods::{BURST, fresh_names, of_template};
use crate::object::{
    Said, after, condition, deleting, flag, int, int_or, list, name, pod_active, pod_ready, set,
    set_condition, set_count, stamp, status_of, text, uid,
};
use crate::settings::{Moment, Pods, held};
use crate::stages::{Image, image_of};
use crate::world::Held;
use crate::{Decision, Kind};

/// How long a counted job runs.
const RUN: Duration = Duration::from_millis(50);

/// What a Job does next.
#[must_use]
pub fn next(job: &Held, pods: &[&Held], moment: Moment<'_>) -> Decision {
    let mut decision = Decision::default();
    let owner = &job.value;
    if deleting(owner) {
        return decision;
    }
    if finished(owner) {
        expire(owner, moment, &mut decision);
        return decision;
    }
    if flag(owner, "/spec/suspend") {
        suspend(owner, pods, moment, &mut decision);
        return decision;
    }
    let tally = if moment.settings.pods == Pods::Counted {
        counted(job, moment, &mut decision)
    } else {
        Tally::of(pods)
    };
    let goal = int_or(owner, "/spec/completions", int_or(owner, "/spec/parallelism", 1));
    let outcome = if tally.failed > int_or(owner, "/spec/backoffLimit", 6) {
        Some(Outcome::Failed)
    } else if tally.succeeded >= goal {
        Some(Outcome::Complete)
    } else {
        None
    };
    let mut active = tally.active;
    if outcome.is_some() {
        for pod in pods.iter().filter(|pod| pod_active(&pod.value)) {
            decision.delete(Kind::Pod, &pod.value);
        }
        active = 0;
    } else if moment.settings.pods == Pods::Full {
        let want = int_or(owner, "/spec/parallelism", 1).min(goal - tally.succeeded).max(0);
        let missing = usize::try_from(want - tally.active).unwrap_or_default().min(BURST);
        for pod_name in fresh_names(owner, pods, moment).take(missing) {
            decision.create(Kind::Pod, pod(owner, &pod_name));
        }
        active = active.max(want);
    }
    let mut status = status_of(owner);
    if text(&status, "/startTime").is_empty() {
        set(&mut status, "startTime", stamp(moment.now));
    }
    set_count(&mut status, "active", active);
    set_count(&mut status, "ready", if outcome.is_some() { 0 } else { tally.ready });
    set_count(&mut status, "succeeded", tally.succeeded);
    set_count(&mut status, "failed", tally.failed);
    if condition(&status, "Suspended").is_some_and(|suspended| text(suspended, "/status") == "True") {
        say(&mut status, "Suspended", "False", "JobResumed", "Job resumed", moment);
    }
    if let Some(outcome) = outcome {
        outcome.record(&mut status, moment);
    }
    decision.status(Kind::Job, owner, &status);
    decision
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Complete,
    Failed,
}

impl Outcome {
    fn record(self, status: &mut Value, moment: Moment<'_>) {
        let conditions = match self {
            Self::Complete => {
                set(status, "completionTime", stamp(moment.now));
                [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")]
            }
            Self::Failed => [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")],
        };
        let message = match self {
            Self::Complete => "Reached expected number of succeeded pods",
            Self::Failed => "Job has reached the specified backoff limit",
        };
        for (kind, reason) in conditions {
            say(status, kind, "True", reason, message, moment);
        }
    }
}

fn say(status: &mut Value, kind: &str, truth: &str, reason: &str, message: &str, moment: Moment<'_>) {
    set_condition(status, Said { kind, status: truth, reason, message }, moment.now, false);
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    active: i64,
    ready: i64,
    succeeded: i64,
    failed: i64,
}

impl Tally {
    fn of(pods: &[&Held]) -> Self {
        let mut tally = Self::default();
        for pod in pods {
            match text(&pod.value, "/status/phase") {
                "Succeeded" => tally.succeeded += 1,
                "Failed" => tally.failed += 1,
                _ if pod_active(&pod.value) => {
                    tally.active += 1;
                    tally.ready += i64::from(pod_ready(&pod.value));
                    // Containers that are restarted in their pod count as failures too.
                    let restarts = list(&pod.value, "/status/containerStatuses");
                    tally.failed += restarts.iter().map(|status| int(status, "/restartCount")).sum::<i64>();
                }
                _ => {}
            }
        }
        tally
    }
}

fn finished(job: &Value) -> bool {
    let over = |kind| {
        let status = job.get("status").and_then(|status| condition(status, kind));
        status.is_some_and(|condition| text(condition, "/status") == "True")
    };
    over("Complete") || over("Failed")
}

/// `ttlSecondsAfterFinished`.
fn expire(job: &Value, moment: Moment<'_>, decision: &mut Decision) {
    let ttl = job.pointer("/spec/ttlSecondsAfterFinished").and_then(Value::as_u64);
    let end = list(job, "/status/conditions")
        .iter()
        .filter_map(|one| text(one, "/lastTransitionTime").parse().ok())
        .max();
    if let (Some(ttl), Some(end)) = (ttl, end) {
        let due = after(end, Duration::from_secs(ttl));
        if due <= moment.now {
            decision.delete(Kind::Job, job);
        } else {
            decision.wake_at(due);
        }
    }
}

fn suspend(job: &Value, pods: &[&Held], moment: Moment<'_>, decision: &mut Decision) {
    for pod in pods.iter().filter(|pod| pod_active(&pod.value)) {
        decision.delete(Kind::Pod, &pod.value);
    }
    let mut status = status_of(job);
    set_count(&mut status, "active", 0);
    set_count(&mut status, "ready", 0);
    say(&mut status, "Suspended", "True", "JobSuspended", "Job suspended", moment);
    if let Some(map) = status.as_object_mut() {
        map.remove("startTime");
    }
    decision.status(Kind::Job, job, &status);
}

/// Without pods: all succeed or fail together, after the time that pods would take.
fn counted(job: &Held, moment: Moment<'_>, decision: &mut Decision) -> Tally {
    let owner = &job.value;
    let template = owner.pointer("/spec/template").unwrap_or(&Value::Null);
    let parallelism = int_or(owner, "/spec/parallelism", 1);
    let running = Tally { active: parallelism, ..Tally::default() };
    if text(owner, "/status/startTime").is_empty() || held(owner) || held(template) {
        return running;
    }
    let delay = moment.settings.ready_delay_of(&[template, owner]) + RUN;
    let due = after(job.since, moment.settings.jittered(delay, 0.2, uid(owner)));
    match image_of(template, owner) {
        Image::Unpullable => running,
        _ if due > moment.now => {
            decision.wake_at(due);
            running
        }
        Image::Good => {
            Tally { succeeded: int_or(owner, "/spec/completions", parallelism), ..Tally::default() }
        }
        Image::Crashing => Tally { failed: int_or(owner, "/spec/backoffLimit", 6) + 1, ..Tally::default() },
    }
}

fn pod(job: &Value, pod_name: &str) -> Value {
    let labels = [
        ("batch.kubernetes.io/controller-uid", uid(job)),
        ("batch.kubernetes.io/job-name", name(job)),
        ("controller-uid", uid(job)),
        ("job-name", name(job)),
    ];
    of_template(Kind::Job, job, pod_name, &labels)
}
