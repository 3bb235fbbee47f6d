//! `fleetctl plan`: what a gate would change, what would run, and what manifests would change before they are applied.
//!
//! ```text
//!  APP ─► its run, a gate waits ──► gate: the plan that an approval is about
//!      └► otherwise ──────────────► ahead: what would run        files ─► the same, as if they were applied
//!                                     │
//!      gather: members (live objects, kinds, quotas) ─► hints    trial: dry runs    text, JSON
//! ```

mod ahead;
pub(super) mod contents;
mod files;
pub(crate) mod gather;
mod policies;
pub(crate) mod shown;
mod text;
mod trial;

use fleet_api::{Application, DISTRIBUTION, Run, StepState, staged};
use fleet_controller::{GatePlan, Planner, PreviewError};
use fleet_plan::{ActionKind, Hint};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use self::gather::{Gathered, Silent};
use self::text::Remarks;
use self::trial::{Trial, Verdict};
use super::{Place, waiting};
use crate::access::{Access, Cluster};
use crate::args::{Global, PlanArgs};
use crate::cluster::Hub;
use crate::diagnose::gather::workloads_on_hub;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::style::{self, paint};
use crate::roster::Roster;
use crate::version::write;

/// The plan of a gate, with what it was made from.
pub(crate) struct Planned {
    pub(crate) planner: Planner,
    pub(crate) plan: GatePlan,
}

pub(super) async fn run(environment: &Environment, global: &Global, arguments: &PlanArgs) -> Outcome {
    let changes = if arguments.offline {
        Box::pin(ahead::offline(environment, global, arguments)).await?
    } else {
        let access = Access::load(environment, global)?;
        let cluster = access.hub().await?;
        let namespace = access.namespace(&cluster);
        let hub = Hub { called: access.called(), cluster, access };
        match &arguments.app {
            Some(name) if arguments.files.is_empty() => {
                let place =
                    Place { hub: hub.cluster.clone(), namespace, name: name.clone(), called: hub.called };
                Box::pin(of_application(environment, &hub, &place, arguments)).await?
            }
            _ => Box::pin(ahead::of_files(environment, &hub, &namespace, arguments)).await?,
        }
    };
    if changes && arguments.exit_code {
        return Err(Failure::silent(Exit::Changes));
    }
    Ok(())
}

/// Of an Application as it is on the hub: the gate that waits, or what would run.
async fn of_application(
    environment: &Environment,
    hub: &Hub,
    place: &Place,
    arguments: &PlanArgs,
) -> Outcome<bool> {
    let app = place.application().await?;
    let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
    let has_run = workflow.is_some_and(|workflow| !workflow.run.is_empty());
    let run = if has_run && !arguments.next { Some(place.run(&app).await?) } else { None };
    let step = match &run {
        Some(run) => step_of(run, arguments.step.as_deref())?,
        None => None,
    };
    match run.zip(step) {
        Some((run, step)) => gate(environment, hub, place, arguments, (&app, &run, &step)).await,
        None => {
            if let Some(said) = super::notable::deletion(&app) {
                return Err(Failure::refused(format!(
                    "Application {} is {said}; there is nothing to plan; look at it: {}",
                    place.name,
                    place.command("status")
                )));
            }
            ahead::of_hub(environment, hub, place, arguments).await
        }
    }
}

/// The step that is meant: the one named, else the one whose gate waits longest.
fn step_of(run: &Run, wanted: Option<&str>) -> Outcome<Option<String>> {
    let Some(wanted) = wanted else {
        return Ok(waiting(run).first().map(|step| step.name.clone()));
    };
    let steps: &[StepState] = run.status.as_ref().map(|status| status.steps.as_slice()).unwrap_or_default();
    if steps.iter().any(|step| step.name == wanted) {
        return Ok(Some(wanted.to_owned()));
    }
    let known: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    let advice = crate::nearest::advice(wanted, &known, "steps");
    Err(Failure::not_found(format!("run {} has no step {wanted:?}{advice}", run.name_any())))
}

async fn gate(
    environment: &Environment,
    hub: &Hub,
    place: &Place,
    arguments: &PlanArgs,
    (app, run, step): (&Application, &Run, &str),
) -> Outcome<bool> {
    let Planned { planner, plan } = make(place, app, run, step).await?;
    let roster = Roster::load(&place.hub).await.unwrap_or_default();
    let gathered =
        gathered(environment, hub, &roster, &[&plan], std::slice::from_ref(&planner), arguments).await;
    let hints = planner.hints(step, &gathered.for_one(std::slice::from_ref(&planner), 0));
    let trials = match arguments.dry_run {
        Some(_) => trial::run(&planner, &plan, &hints, &gathered.reached).await,
        None => Vec::new(),
    };
    let warnings = Box::pin(workloads_on_hub(&place.hub, place.called, environment.now(), app)).await;
    let notes = notes_of(&gathered);
    if let Some(format) = arguments.output.output {
        let mut value = serde_json::to_value(&plan).map_err(|error| Failure::failed(error.to_string()))?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("application".to_owned(), identity(app));
            fields.insert("run".to_owned(), json!(run.name_any()));
            extend(fields, &hints, &trials, &gathered.silent, arguments);
        }
        for warning in &warnings {
            let said = format!("warning: {}: {}; {}", warning.about, warning.message, warning.mend);
            environment.streams.note(&said);
        }
        notes.iter().for_each(|note| environment.streams.note(note));
        environment.streams.print(&write(format, &value)?)?;
    } else {
        let heading = heading(&plan, run);
        let body = text::body(&planner, &plan, &roster, &Remarks::of(&hints, &trials));
        environment.streams.print(&format!("{heading}{body}"))?;
        if let Some(counted) = counted(&hints) {
            environment.streams.line(&counted)?;
        }
        for warning in &warnings {
            let (word, about) = (paint(style::WAITING, "warning"), &warning.about);
            environment.streams.line(&format!("{word}: {about}: {}; {}", warning.message, warning.mend))?;
        }
        notes.iter().for_each(|note| environment.streams.note(note));
        if waiting(run).iter().any(|gate| gate.name == step) {
            let next = format!("{} --plan {}", place.command("workflow resume"), plan.plan_hash);
            environment.streams.line(&format!("approve it: {next}"))?;
        }
    }
    refused(&trials)?;
    Ok(changes(&plan))
}

/// What is known of the members of some plans, and what other Applications claim there.
async fn gathered(
    environment: &Environment,
    hub: &Hub,
    roster: &Roster,
    plans: &[&GatePlan],
    planners: &[Planner],
    arguments: &PlanArgs,
) -> Gathered {
    let mut gathered = if arguments.no_members {
        Gathered::of_records(roster.all())
    } else {
        Gathered::of_members(environment, hub, roster, plans).await
    };
    let except: Vec<(String, String)> = planners
        .iter()
        .flat_map(|planner| {
            let app = planner.application();
            // What a policy's own Application carries is on record of the policies, too.
            let carries = staged::policy_of(app).map(|_| (String::new(), DISTRIBUTION.to_owned()));
            [Some((app.namespace().unwrap_or_default(), app.name_any())), carries].into_iter().flatten()
        })
        .collect();
    gathered.and_claims(&hub.cluster, plans, &except).await;
    gathered.and_powers(&hub.cluster, planners).await;
    gathered
}

/// The plan of a step's gate.
pub(crate) async fn make(place: &Place, app: &Application, run: &Run, step: &str) -> Outcome<Planned> {
    let made = Box::pin(Planner::of_run(&place.hub.client, app, run));
    let planner = match tokio::time::timeout(place.hub.deadline, made).await {
        Ok(Ok(made)) => made,
        Ok(Err(error)) => return Err(failure(&format!("the plan of step {step}"), &place.hub, error).await),
        Err(_) => return Err(place.hub.silent("the plan")),
    };
    match planner.gate(step) {
        Some(plan) => Ok(Planned { planner, plan }),
        None => Err(Failure::failed(format!("run {} has no plan of step {step}", run.name_any()))),
    }
}

/// Why there is no plan: who may not read what it is made of is told which role lets them.
async fn failure(doing: &str, hub: &Cluster, error: PreviewError) -> Failure {
    match error {
        PreviewError::Hub { doing: asked, cause } => {
            let failed: Outcome<()> = hub.ask(&format!("{doing}: {asked}"), async { Err(cause) }).await;
            let failure = failed.err().unwrap_or_else(|| Failure::failed(doing));
            match failure.exit {
                Exit::Refused => Failure::refused(format!(
                    "{failure}; the role fleetctl-fleet-viewer, bound for the whole hub, lets you make plans"
                )),
                _ => hub.no_hub(failure),
            }
        }
        other => plain_failure(doing, &other),
    }
}

/// The same where no hub is asked.
fn plain_failure(doing: &str, error: &PreviewError) -> Failure {
    let exit = match error {
        PreviewError::Problem(problem) if problem.waiting => Exit::NotFound,
        PreviewError::NoApplication { .. } => Exit::NotFound,
        _ => Exit::Failed,
    };
    Failure::new(exit, format!("{doing}: {error}"))
}

/// A plan for people to read, as it stands before a gate.
pub(crate) fn text(planned: &Planned, run: &Run, roster: &Roster) -> String {
    let body = text::body(&planned.planner, &planned.plan, roster, &Remarks::default());
    format!("{}{body}", heading(&planned.plan, run))
}

fn heading(plan: &GatePlan, run: &Run) -> String {
    format!("plan {} of step {}, run {}\n", paint(style::STRONG, &plan.plan_hash), plan.step, run.name_any())
}

fn identity(app: &Application) -> Value {
    json!({ "namespace": app.namespace().unwrap_or_default(), "name": app.name_any() })
}

fn extend(
    fields: &mut serde_json::Map<String, Value>,
    hints: &[Hint],
    trials: &[Trial],
    silent: &[Silent],
    arguments: &PlanArgs,
) {
    fields.insert("hints".to_owned(), json!(hints));
    if arguments.dry_run.is_some() {
        fields.insert("trials".to_owned(), json!(trials));
    }
    if !silent.is_empty() {
        fields.insert("silent".to_owned(), json!(silent));
    }
}

/// What isn't known, and why.
fn notes_of(gathered: &Gathered) -> Vec<String> {
    let silent = gathered.silent.iter().map(|silent| {
        format!(
            "warning: {} isn't asked, so hints about it come from what the hub knows: {}",
            silent.cluster, silent.message
        )
    });
    let notes = gathered.notes.iter().map(|note| format!("warning: {note}"));
    silent.chain(notes).collect()
}

/// How many hints there are, the dangerous ones first.
fn counted(hints: &[Hint]) -> Option<String> {
    use fleet_plan::Severity;
    let count = |severity: Severity| hints.iter().filter(|hint| hint.severity == severity).count();
    let shown = [
        (Severity::Danger, "danger", "dangers", style::BAD),
        (Severity::Warning, "warning", "warnings", style::WAITING),
        (Severity::Info, "note", "notes", style::FAINT),
    ];
    let parts = shown.into_iter().filter_map(|(severity, one, many, look)| match count(severity) {
        0 => None,
        1 => Some(paint(look, &format!("1 {one}"))),
        several => Some(paint(look, &format!("{several} {many}"))),
    });
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| format!("hints: {}", parts.join(", ")))
}

/// Whether a plan changes anything.
fn changes(plan: &GatePlan) -> bool {
    use ActionKind::{Change, Create, Delete, Release};
    let actions = plan.plans.iter().flat_map(|plan| &plan.targets).flat_map(|target| &target.actions);
    actions.into_iter().any(|action| matches!(action.kind, Create | Change | Delete | Release))
}

fn refused(trials: &[Trial]) -> Outcome {
    let refused = trials.iter().filter(|trial| trial.verdict == Verdict::Refused).count();
    if refused == 0 {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the members would refuse {refused} of {} objects; see above",
        trials.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broken: who may approve and not read inventories gets a puzzle instead of the name of a role.
    #[tokio::test]
    async fn a_missing_role_is_named() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            let status = json!({ "kind": "Status", "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": "you may not" });
            let body = kube::client::Body::from(status.to_string().into_bytes());
            Ok::<_, std::convert::Infallible>(http::Response::builder().status(403).body(body).unwrap())
        });
        let hub = Cluster::in_process(kube::Client::new(service, "default"), "hub");
        let place = Place { hub, namespace: "demo".into(), name: "web".into(), called: "fleetctl" };
        let app = Application::new("web", Default::default());
        let run = Run::new("web-1", Default::default());
        let failure = make(&place, &app, &run, "first").await.err().unwrap();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.message.contains("fleetctl-fleet-viewer") && failure.message.contains("you may not"));
    }
}
