//! Commands about applications: how far they are, what a gate would change, approving and steering their runs.

pub(crate) mod approve;
mod delete;
mod diff;
pub(crate) mod follow;
mod list;
pub(crate) mod live;
mod meant;
mod notable;
mod outdated;
pub(crate) mod plan;
pub(crate) mod revisions;
mod rollback;
mod show;
mod single;
mod steer;
pub(crate) mod tree;
mod window;

use fleet_api::{Application, Run, RunPhase, StepState, TargetAction, names};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::access::{Access, Cluster};
use crate::args::{DeleteArgs, DiffArgs, Global, PlanArgs, StatusArgs, WorkflowArgs, WorkflowCommand};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::roster::Roster;

/// What is kept of one Application, by its label.
pub(crate) fn of_application(name: &str) -> ListParams {
    ListParams::default().labels(&format!("{}={}", names::APPLICATION, names::short_label(name)))
}

/// An application on its hub.
pub(crate) struct Place {
    pub(crate) hub: Cluster,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What the user types to call this program.
    pub(crate) called: &'static str,
}

impl Place {
    pub(crate) async fn find(environment: &Environment, global: &Global, name: &str) -> Outcome<Self> {
        let access = Access::load(environment, global)?;
        let hub = access.hub().await?;
        let namespace = access.namespace(&hub);
        Ok(Self { hub, namespace, name: name.to_owned(), called: access.called() })
    }

    pub(crate) fn applications(&self) -> Api<Application> {
        Api::namespaced(self.hub.client.clone(), &self.namespace)
    }

    pub(crate) fn runs(&self) -> Api<Run> {
        Api::namespaced(self.hub.client.clone(), &self.namespace)
    }

    /// A command line that is a next step.
    pub(crate) fn command(&self, verb: &str) -> String {
        format!("{} {verb} {} -n {}", self.called, self.name, self.namespace)
    }

    /// The Application.
    pub(crate) async fn application(&self) -> Outcome<Application> {
        let doing = format!("Application {}/{}", self.namespace, self.name);
        let found = self.hub.ask(&doing, self.applications().get_opt(&self.name)).await?;
        if let Some(found) = found {
            return Ok(found);
        }
        let others = self.hub.ask(&doing, self.applications().list_metadata(&ListParams::default())).await;
        let others = others.map_err(|failure| self.hub.no_hub(failure))?;
        let others: Vec<String> = others.items.iter().map(|app| app.name_any()).collect();
        let what = format!("Applications in namespace {}", self.namespace);
        let advice = match meant::beside_applications(self).await {
            Some(meant) => format!("; {meant}"),
            None => crate::nearest::advice(&self.name, &others, &what),
        };
        Err(Failure::not_found(format!(
            "no Application {:?} in namespace {}{advice}",
            self.name, self.namespace
        )))
    }

    /// The Application, where something can still be asked of it.
    ///
    /// # Errors
    /// Where it is being deleted: a decision about it would count for nothing.
    pub(crate) async fn lasting(&self, verb: &str) -> Outcome<Application> {
        let app = self.application().await?;
        match notable::deletion(&app) {
            None => Ok(app),
            Some(said) => Err(Failure::refused(format!(
                "Application {} is {said}; there is nothing to {verb}; look at it: {}",
                self.name,
                self.command("status")
            ))),
        }
    }

    /// The run that its status is about.
    pub(crate) async fn run(&self, app: &Application) -> Outcome<Run> {
        let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
        let run = workflow.map(|workflow| workflow.run.as_str()).filter(|run| !run.is_empty());
        let Some(run) = run else {
            let phase = app.status.as_ref().map_or("not seen yet", |status| status.status.as_str());
            return Err(Failure::refused(format!(
                "Application {} has no run yet (phase {phase}){}; look at it: {}",
                self.name,
                trouble(app).map(|said| format!(": {said}")).unwrap_or_default(),
                self.command("status")
            )));
        };
        let found = self.hub.ask(&format!("Run {run}"), self.runs().get_opt(run)).await?;
        found.ok_or_else(|| {
            Failure::not_found(format!(
                "run {run} of {} is gone: somebody deleted it; a new one starts with: {}",
                self.name,
                self.command("workflow restart")
            ))
        })
    }
}

/// What an Application's conditions complain about.
fn trouble(app: &Application) -> Option<String> {
    let conditions = &app.status.as_ref()?.conditions;
    let bad = conditions.iter().find(|condition| !condition.is_true() && !condition.message.is_empty())?;
    Some(bad.message.clone())
}

/// Steps whose gates wait for a person, the one that waits longest first.
pub(crate) fn waiting(run: &Run) -> Vec<&StepState> {
    let steps = run.status.iter().flat_map(|status| &status.steps);
    let mut gates: Vec<&StepState> = steps.filter(|step| is_waiting(step)).collect();
    gates.sort_by_key(|step| step.gate.as_ref().and_then(|gate| gate.since));
    gates
}

pub(crate) fn is_waiting(step: &StepState) -> bool {
    step.shut_gate().is_some()
}

/// Whether a person has suspended this run.
pub(crate) fn is_suspended_by_person(app: &Application, run: &Run) -> bool {
    app.annotations().get(names::SUSPEND) == Some(&run.name_any())
}

pub(crate) use show::{age, clock, painted};

fn phase_of(run: &Run) -> RunPhase {
    run.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// `fleetctl status`
///
/// # Errors
/// See the exit codes.
pub async fn status(environment: &Environment, global: &Global, arguments: &StatusArgs) -> Outcome {
    let place = Place::find(environment, global, &arguments.app.app).await?;
    let app = place.application().await?;
    if let Some(format) = arguments.output.output {
        return environment.streams.print(&show::for_programs(format, &app)?);
    }
    let roster = Roster::load(&place.hub).await.unwrap_or_default();
    if arguments.watch {
        return follow::status(environment, &place, &roster, arguments.tree).await;
    }
    environment.streams.print(&show::for_people(&place, &app, &roster, arguments.tree))
}

/// `fleetctl plan`
///
/// # Errors
/// See the exit codes.
pub async fn plan(environment: &Environment, global: &Global, arguments: &PlanArgs) -> Outcome {
    plan::run(environment, global, arguments).await
}

/// `fleetctl diff`
///
/// # Errors
/// See the exit codes.
pub async fn diff(environment: &Environment, global: &Global, arguments: &DiffArgs) -> Outcome {
    diff::run(environment, global, arguments).await
}

/// `fleetctl delete`
///
/// # Errors
/// See the exit codes.
pub async fn delete(environment: &Environment, global: &Global, arguments: &DeleteArgs) -> Outcome {
    let place = Place::find(environment, global, &arguments.app.app).await?;
    delete::run(environment, &place, arguments).await
}

/// `fleetctl workflow`
///
/// # Errors
/// See the exit codes.
pub async fn workflow(environment: &Environment, global: &Global, arguments: &WorkflowArgs) -> Outcome {
    match &arguments.command {
        WorkflowCommand::List(arguments) => list::run(environment, global, arguments).await,
        WorkflowCommand::Resume(arguments) => {
            let place = Place::find(environment, global, &arguments.app.app).await?;
            approve::run(environment, &place, arguments).await
        }
        WorkflowCommand::Reject(arguments) => {
            let place = Place::find(environment, global, &arguments.app.app).await?;
            approve::reject(environment, &place, arguments).await
        }
        WorkflowCommand::Suspend(app) => {
            let place = Place::find(environment, global, &app.app).await?;
            steer::mark_run(environment, &place, names::SUSPEND, "suspend").await
        }
        WorkflowCommand::Terminate(app) => {
            let place = Place::find(environment, global, &app.app).await?;
            steer::mark_run(environment, &place, names::TERMINATE, "terminate").await
        }
        WorkflowCommand::Restart(app) => {
            let place = Place::find(environment, global, &app.app).await?;
            steer::restart(environment, &place).await
        }
        WorkflowCommand::Rollback(arguments) => {
            let place = Place::find(environment, global, &arguments.app.app).await?;
            rollback::ask(environment, &place, arguments).await
        }
        WorkflowCommand::Retry(arguments) => {
            let place = Place::find(environment, global, &arguments.app.app).await?;
            single::ask(environment, &place, arguments, TargetAction::Retry, "").await
        }
        WorkflowCommand::Skip(arguments) => {
            let place = Place::find(environment, global, &arguments.target.app.app).await?;
            single::ask(environment, &place, &arguments.target, TargetAction::Skip, &arguments.reason).await
        }
    }
}
