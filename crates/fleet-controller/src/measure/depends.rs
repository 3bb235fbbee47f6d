//! `depends-on-app`: another Application of the hub, by the cache that every Application is in.

use fleet_api::{Application, Outcome, Phase, StepState};
use fleet_workflow::graph::measure::DependsOnApp;
use fleet_workflow::measure::Reading;
use fleet_workflow::{Check, Problem};
use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::ObjectRef;

use crate::context::{AppKey, Context};
use crate::hub::tenancy;
use crate::turn::walk::Walk;

/// So long an Application that isn't there is waited for: what is applied together comes one after the other.
const COMES_WITHIN: SignedDuration = SignedDuration::from_mins(1);

/// Whom a step waits for, and how that goes.
pub(super) fn judge(ctx: &Context, walk: &Walk, step: &StepState, wanted: &DependsOnApp) -> (AppKey, Check) {
    let namespace = if wanted.namespace.is_empty() { walk.key.0.clone() } else { wanted.namespace.clone() };
    let key: AppKey = (namespace, wanted.name.clone());
    let name = format!("{}/{}", key.0, key.1);
    if key == walk.key {
        let message = format!("Application {name} waits for itself; name another one");
        return (key, Check::Taken(Reading::failed(message)));
    }
    let bound = tenancy::is_closed(ctx) || !tenancy::readers(ctx, &walk.key, tenancy::named(walk)).is_empty();
    if key.0 != walk.key.0 && bound {
        let message = format!(
            "namespace {} is bound to accounts or closed (ClusterAccessPolicy), so it may depend on Applications of its own only; {name} isn't one",
            walk.key.0
        );
        return (key, Check::Taken(Reading::failed(message)));
    }
    let found = ctx.hub.applications.get(&ObjectRef::new(&key.1).within(&key.0));
    let check = match found {
        Some(app) => seen(&name, &app),
        None => missing(ctx.now(), step, &name),
    };
    (key, check)
}

fn missing(now: Timestamp, step: &StepState, name: &str) -> Check {
    let until = step.started_at.and_then(|began| began.checked_add(COMES_WITHIN).ok()).unwrap_or(now);
    if until <= now {
        return Check::Taken(Reading::failed(format!(
            "Application {name} isn't there; apply it, or correct its name"
        )));
    }
    let message = format!("waits until {until} for Application {name}, which isn't there yet");
    Check::Running(Some(Problem { reason: "ApplicationMissing".to_owned(), message }), Some(until))
}

fn seen(name: &str, app: &Application) -> Check {
    let waits = |message: String| {
        Check::Running(Some(Problem { reason: "WaitingForApplication".to_owned(), message }), None)
    };
    if app.metadata.deletion_timestamp.is_some() {
        return Check::Taken(Reading::failed(format!("Application {name} is being deleted")));
    }
    let Some(status) = &app.status else { return waits(format!("Application {name} hasn't begun")) };
    let newer = app.metadata.generation.is_some_and(|generation| generation > status.observed_generation);
    if newer {
        return waits(format!("Application {name} has changed and hasn't taken it up yet"));
    }
    let said = status.workflow.as_ref().map(|workflow| workflow.message.as_str()).unwrap_or_default();
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    match status.status {
        Phase::Running => Check::Taken(Reading {
            outcome: Outcome::Successful,
            value: status.latest_revision.as_ref().map(|revision| revision.name.clone()).unwrap_or_default(),
            ..Reading::default()
        }),
        Phase::WorkflowFailed | Phase::WorkflowTerminated | Phase::Deleting => {
            Check::Taken(Reading::failed(format!("Application {name} is {}{said}", status.status.as_str())))
        }
        Phase::Starting
        | Phase::Rendering
        | Phase::RunningWorkflow
        | Phase::WorkflowSuspending
        | Phase::Unhealthy => waits(format!("Application {name} is {}{said}", status.status.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use fleet_api::ApplicationStatus;

    use super::*;

    fn app(phase: Phase, generation: i64, observed_generation: i64) -> Application {
        let mut app = Application::new("base", Default::default());
        app.metadata.generation = Some(generation);
        app.status = Some(ApplicationStatus { status: phase, observed_generation, ..Default::default() });
        app
    }

    fn outcome(check: &Check) -> Option<Outcome> {
        match check {
            Check::Taken(reading) => Some(reading.outcome),
            Check::Running(..) => None,
        }
    }

    // Broken: what is said of the revision before lets a step go on, or one that failed is waited for without end.
    #[test]
    fn only_what_is_said_of_the_newest_revision_counts() {
        for (phase, observed, expected) in [
            (Phase::Running, 2, Some(Outcome::Successful)),
            (Phase::Running, 1, None),
            (Phase::WorkflowFailed, 1, None),
            (Phase::WorkflowFailed, 2, Some(Outcome::Failed)),
            (Phase::WorkflowTerminated, 2, Some(Outcome::Failed)),
            (Phase::Deleting, 2, Some(Outcome::Failed)),
            (Phase::WorkflowSuspending, 2, None),
            (Phase::Unhealthy, 2, None),
        ] {
            assert_eq!(
                outcome(&seen("demo/base", &app(phase, 2, observed))),
                expected,
                "{phase:?} {observed}"
            );
        }
    }

    // Broken: an Application that was never applied, or is misspelt, is waited for without end.
    #[test]
    fn one_that_is_not_there_is_waited_for_a_minute() {
        let began: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let step = StepState { started_at: Some(began), ..StepState::default() };
        let at = |seconds: i64| missing(began + SignedDuration::from_secs(seconds), &step, "demo/base");
        assert_eq!(outcome(&at(59)), None);
        assert_eq!(outcome(&at(60)), Some(Outcome::Failed));
    }
}
