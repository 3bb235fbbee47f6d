//! What the hub refuses the controller for good, said on the Application that it stops.

use fleet_api::{Application, ApplicationStatus, Condition, ServiceStatus, conditions};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::core::Status;

use crate::context::Context;
use crate::problem::Problem;
use crate::records::{RecordError, light};

/// The condition that is there, and False, while the hub refuses what a turn needs.
const RECORDED: &str = "Recorded";
/// The reason of what the hub refuses.
pub(crate) const HUB_REFUSES: &str = "HubRefuses";

/// The right to Secrets, and what grants it.
pub(crate) const SECRETS: &str = "Applications that hold Secrets, or refer to them, need the controller's right to Secrets: install again with --set referenced.secrets=true (helm upgrade --reuse-values, or fleetctl install)";

/// Why a turn can't be taken until somebody mends it; nothing where that passes by itself.
pub(crate) fn refusal(error: &RecordError) -> Option<Problem> {
    let RecordError::Hub(kube::Error::Api(status)) = error else { return None };
    // Somebody else wrote, something isn't there, the server asks for patience, or doesn't know us any more.
    if !(400..500).contains(&status.code) || matches!(status.code, 401 | 404 | 408 | 409 | 429) {
        return None;
    }
    let advice = match status.code {
        403 if is_about_secrets(status) => SECRETS,
        403 => {
            "the chart grants the controller all that it needs: install it again (helm upgrade, or fleetctl install), or look for admission policies of your own"
        }
        _ => "look at admission policies and quotas on the hub",
    };
    let message = format!("the hub refuses what the controller has to record: {}; {advice}", status.message);
    Some(Problem::awaited(HUB_REFUSES, message))
}

fn is_about_secrets(status: &Status) -> bool {
    let kind = status.details.as_ref().map(|details| details.kind.to_lowercase()).unwrap_or_default();
    matches!(kind.as_str(), "secret" | "secrets")
}

/// Says so on the Application, unless it stands there. What is shown otherwise stays as it is: nothing newer is on
/// record. The next turn that is taken shows everything anew.
pub(crate) async fn tell(ctx: &Context, app: &Application, error: &RecordError) {
    let Some(problem) = refusal(error) else { return };
    let status = shown(app, &problem, ctx.now());
    if app.status.as_ref() == Some(&status) {
        return;
    }
    let mut new = light(app.clone());
    new.status = Some(status);
    let api: Api<Application> =
        Api::namespaced(ctx.hub.client.clone(), app.metadata.namespace.as_deref().unwrap_or_default());
    // Where an older object was looked at, the turn that comes soon says it.
    if let Err(error) = api.replace_status(&app.name_any(), &PostParams::default(), &new).await {
        tracing::debug!(application = app.name_any(), %error, "what the hub refuses isn't shown yet");
    }
}

fn shown(app: &Application, problem: &Problem, now: Timestamp) -> ApplicationStatus {
    let before = app.status.clone().unwrap_or_default();
    let mut condition = Condition::new(RECORDED, false, &problem.reason, &problem.message);
    condition.observed_generation = app.metadata.generation;
    let mut all: Vec<Condition> =
        before.conditions.iter().filter(|known| known.type_ != RECORDED).cloned().collect();
    all.push(condition);
    let mut services = before.services.clone();
    if services.is_empty() {
        let name = app.spec.components.first().map(|component| component.name.clone()).unwrap_or_default();
        services.push(ServiceStatus { name, ..ServiceStatus::default() });
    }
    if let Some(first) = services.first_mut() {
        first.message.clone_from(&problem.message);
    }
    ApplicationStatus { conditions: conditions::settle(&before.conditions, all, now), services, ..before }
}

#[cfg(test)]
mod tests {
    use fleet_api::{ApplicationSpec, Phase};

    use super::*;

    fn answer(code: u16, kind: &str) -> RecordError {
        let status = serde_json::json!({"code": code, "message": "no", "details": {"kind": kind}});
        let status: Status = serde_json::from_value(status).unwrap();
        kube::Error::Api(status.boxed()).into()
    }

    /// Broken: what somebody has to mend stands in a log only; or what passes by itself is shown as if it didn't.
    #[test]
    fn what_has_to_be_mended_is_told_with_what_mends_it() {
        for (code, kind, advice) in [
            (403, "secrets", "referenced.secrets=true"),
            (403, "runs", "install it again"),
            (413, "applicationrevisions", "quotas"),
            (422, "runs", "admission policies"),
        ] {
            let problem = refusal(&answer(code, kind)).unwrap();
            assert!(problem.message.contains(advice), "{code} {kind}: {}", problem.message);
        }
        for code in [401, 404, 409, 429, 500, 503] {
            assert_eq!(refusal(&answer(code, "runs")), None, "{code}");
        }
    }

    /// Broken: what was shown of a run that is under way is lost, or a refusal that lasts writes status for ever.
    #[test]
    fn what_is_shown_stays_and_nothing_is_said_twice() {
        let mut app = Application::new("web", ApplicationSpec::default());
        let before = ApplicationStatus {
            status: Phase::Running,
            conditions: vec![Condition::new("Rendered", true, "Rendered", "")],
            services: vec![ServiceStatus::default(); 2],
            ..ApplicationStatus::default()
        };
        app.status = Some(before.clone());
        let problem = refusal(&answer(403, "secrets")).unwrap();
        let first = shown(&app, &problem, Timestamp::UNIX_EPOCH);
        assert_eq!((first.status, first.services.len()), (before.status, 2));
        assert!(conditions::find(&first.conditions, "Rendered").is_some_and(Condition::is_true));
        assert!(conditions::find(&first.conditions, RECORDED).is_some_and(|c| c.reason == HUB_REFUSES));
        app.status = Some(first.clone());
        assert_eq!(shown(&app, &problem, Timestamp::MAX), first);
    }
}
