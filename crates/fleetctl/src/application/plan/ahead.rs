//! What would run: of an Application as it is on the hub, or of manifests before they are applied.

use fleet_api::{GateBefore, ManagedCluster};
use fleet_controller::{GatePlan, Planner, PreviewError, Standing, Step, World};
use fleet_plan::Hint;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::gather::Gathered;
use super::text::{self, Remarks};
use super::trial::{self, Trial};
use super::{
    changes, counted, extend, failure, files, gathered, identity, notes_of, plain_failure, policies, refused,
};
use crate::application::Place;
use crate::args::{Global, PlanArgs};
use crate::cluster::Hub;
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::output::style::{self, paint};
use crate::roster::Roster;
use crate::version::write;

/// One Application with everything that is shown of it.
struct Ahead {
    planner: Planner,
    steps: Vec<Step>,
    hints: Vec<Hint>,
    trials: Vec<Trial>,
}

/// From files alone.
pub(super) async fn offline(
    environment: &Environment,
    global: &Global,
    arguments: &PlanArgs,
) -> Outcome<bool> {
    let namespace = global.namespace.as_deref().unwrap_or("default");
    let given = files::read(&arguments.files, arguments.recursive, namespace).await?;
    let policies = policies::check(environment, &given, arguments.output.output.is_none())?;
    let mut world = World::offline(given).map_err(|error| plain_failure("the manifests", &error))?;
    if policies && about_policies_only(&world, arguments) {
        return no_plans(environment, arguments);
    }
    let names = chosen(&world, namespace, arguments)?;
    let mut planners = Vec::with_capacity(names.len());
    for (namespace, name) in &names {
        let planned = Planner::of_world(&mut world, namespace, name).await;
        planners.push(planned.map_err(|error| explained(&world, namespace, name, &error))?);
    }
    let roster = Roster::new(world.clusters().to_vec());
    let gathered = Gathered::of_records(roster.all());
    environment.streams.note("offline: planned as if nothing stood on the members yet");
    let all = assemble(planners, &gathered, arguments).await?;
    show(environment, &all, &gathered, &roster, arguments)
}

/// From files over what the hub holds.
pub(super) async fn of_files(
    environment: &Environment,
    hub: &Hub,
    namespace: &str,
    arguments: &PlanArgs,
) -> Outcome<bool> {
    let given = files::read(&arguments.files, arguments.recursive, namespace).await?;
    let policies = policies::check(environment, &given, arguments.output.output.is_none())?;
    let mut world = world(hub, given).await?;
    if policies && about_policies_only(&world, arguments) {
        return no_plans(environment, arguments);
    }
    let names = chosen(&world, namespace, arguments)?;
    of_world(environment, hub, &mut world, &names, arguments).await
}

/// Of an Application as it is on the hub.
pub(super) async fn of_hub(
    environment: &Environment,
    hub: &Hub,
    place: &Place,
    arguments: &PlanArgs,
) -> Outcome<bool> {
    let mut world = world(hub, Vec::new()).await?;
    let names = [(place.namespace.clone(), place.name.clone())];
    of_world(environment, hub, &mut world, &names, arguments).await
}

async fn world(hub: &Hub, given: Vec<Value>) -> Outcome<World> {
    let asked = World::of_hub(hub.cluster.client.clone(), given);
    match tokio::time::timeout(hub.cluster.deadline, asked).await {
        Ok(Ok(world)) => Ok(world),
        Ok(Err(error)) => Err(failure("the plan", &hub.cluster, error).await),
        Err(_) => Err(hub.cluster.silent("what the hub holds")),
    }
}

async fn of_world(
    environment: &Environment,
    hub: &Hub,
    world: &mut World,
    names: &[(String, String)],
    arguments: &PlanArgs,
) -> Outcome<bool> {
    let mut planners = Vec::with_capacity(names.len());
    for (namespace, name) in names {
        let asked = Box::pin(Planner::of_world(world, namespace, name));
        let planned = match tokio::time::timeout(hub.cluster.deadline, asked).await {
            Ok(planned) => planned,
            Err(_) => return Err(hub.cluster.silent("the plan")),
        };
        match planned {
            Ok(planner) => planners.push(planner),
            Err(error @ PreviewError::Hub { .. }) => {
                let doing = format!("the plan of Application {namespace}/{name}");
                return Err(failure(&doing, &hub.cluster, error).await);
            }
            Err(error) => return Err(explained(world, namespace, name, &error)),
        }
    }
    world.notes().iter().for_each(|note| environment.streams.note(&format!("warning: {note}")));
    let clusters: Vec<ManagedCluster> = world.clusters().to_vec();
    let roster = Roster::new(clusters);
    let plans: Vec<Vec<Step>> = planners.iter().map(Planner::plans).collect();
    let plans: Vec<&GatePlan> = plans.iter().flatten().map(|step| &step.plan).collect();
    let gathered = gathered(environment, hub, &roster, &plans, &planners, arguments).await;
    let all = assemble(planners, &gathered, arguments).await?;
    show(environment, &all, &gathered, &roster, arguments)
}

/// Whether the files have nothing that is planned, and nothing is named that they may be about.
fn about_policies_only(world: &World, arguments: &PlanArgs) -> bool {
    arguments.app.is_none() && world.applications().is_empty()
}

/// Programs read that there are none; people were told what there is.
fn no_plans(environment: &Environment, arguments: &PlanArgs) -> Outcome<bool> {
    if let Some(format) = arguments.output.output {
        environment.streams.print(&write(format, &json!({ "applications": [] }))?)?;
    }
    Ok(false)
}

/// Which Applications are planned: the one that is named, else all of the files.
fn chosen(world: &World, namespace: &str, arguments: &PlanArgs) -> Outcome<Vec<(String, String)>> {
    let mut known = world.applications();
    known.dedup();
    match &arguments.app {
        None if known.is_empty() => Err(Failure::usage(
            "there is no Application in these files; name the one that they are about: fleetctl plan APP -f …",
        )),
        None => Ok(known),
        Some(name) => {
            let found = known.iter().find(|(_, known)| known == name).cloned();
            Ok(vec![found.unwrap_or_else(|| (namespace.to_owned(), name.clone()))])
        }
    }
}

fn explained(world: &World, namespace: &str, name: &str, error: &PreviewError) -> Failure {
    if matches!(error, PreviewError::NoApplication { .. }) {
        let known: Vec<String> = world.applications().into_iter().map(|(_, name)| name).collect();
        let advice = crate::nearest::advice(name, &known, "Applications in these files");
        return Failure::not_found(format!("{error}{advice}"));
    }
    plain_failure(&format!("Application {namespace}/{name}"), error)
}

async fn assemble(planners: Vec<Planner>, gathered: &Gathered, arguments: &PlanArgs) -> Outcome<Vec<Ahead>> {
    let facts: Vec<_> = (0..planners.len()).map(|at| gathered.for_one(&planners, at)).collect();
    let mut all = Vec::with_capacity(planners.len());
    let mut known: Vec<String> = Vec::new();
    for (planner, facts) in planners.into_iter().zip(facts) {
        known.extend(planner.steps().into_iter().map(str::to_owned));
        let mut steps = match planner.standing() {
            Standing::Current { .. } => Vec::new(),
            _ => planner.plans(),
        };
        if let Some(wanted) = &arguments.step {
            steps.retain(|step| step.plan.step == *wanted);
        }
        let (mut hints, mut trials) = (Vec::new(), Vec::new());
        for step in steps.iter().filter(|step| acts(step)) {
            let found = planner.hints(&step.plan.step, &facts);
            if arguments.dry_run.is_some() {
                trials.extend(trial::run(&planner, &step.plan, &found, &gathered.reached).await);
            }
            hints.extend(found);
        }
        all.push(Ahead { planner, steps, hints, trials });
    }
    match &arguments.step {
        Some(wanted) if !known.contains(wanted) => {
            let advice = crate::nearest::advice(wanted, &known, "steps");
            Err(Failure::not_found(format!("there is no step {wanted:?}{advice}")))
        }
        _ => Ok(all),
    }
}

/// Whether it delivers itself: the plan of a suspend step is about others.
fn acts(step: &Step) -> bool {
    matches!(step.plan.plans.as_slice(), [only] if only.step == step.plan.step)
}

fn show(
    environment: &Environment,
    all: &[Ahead],
    gathered: &Gathered,
    roster: &Roster,
    arguments: &PlanArgs,
) -> Outcome<bool> {
    notes_of(gathered).iter().for_each(|note| environment.streams.note(note));
    match arguments.output.output {
        Some(format) => {
            let apps: Vec<Value> = all.iter().map(|one| value(one, arguments)).collect();
            let mut whole = json!({ "applications": apps });
            if let Some(fields) = whole.as_object_mut().filter(|_| !gathered.silent.is_empty()) {
                fields.insert("silent".to_owned(), json!(gathered.silent));
            }
            environment.streams.print(&write(format, &whole)?)?;
        }
        None => {
            for (at, one) in all.iter().enumerate() {
                let gap = if at > 0 { "\n" } else { "" };
                environment.streams.print(&format!("{gap}{}", for_people(one, roster)))?;
            }
        }
    }
    for one in all {
        refused(&one.trials)?;
    }
    Ok(all.iter().flat_map(|one| &one.steps).any(changes_left))
}

/// Whether a step changes anything where it isn't over.
fn changes_left(step: &Step) -> bool {
    let mut plan = step.plan.clone();
    for plan in plan.plans.iter_mut().filter(|plan| plan.step == step.plan.step) {
        plan.targets.retain(|target| !step.over.contains(&target.target));
    }
    changes(&plan)
}

fn value(one: &Ahead, arguments: &PlanArgs) -> Value {
    let mut value = json!({
        "application": identity(one.planner.application()),
        "standing": one.planner.standing(),
        "revision": one.planner.revision(),
        "steps": one.steps,
    });
    if let Some(fields) = value.as_object_mut() {
        extend(fields, &one.hints, &one.trials, &[], arguments);
    }
    value
}

fn for_people(one: &Ahead, roster: &Roster) -> String {
    let app = one.planner.application();
    let name = format!("{}/{}", app.namespace().unwrap_or_default(), app.name_any());
    let name = paint(style::STRONG, &name);
    let mut out = match one.planner.standing() {
        Standing::Running { run } => format!("{name}: run {run} is under way; what is left of it:\n"),
        Standing::Starts { cause } => format!("{name}: a run would start ({cause}):\n"),
        Standing::Queued { cause, run } => format!(
            "{name}: a run would start ({cause}) once run {run} is over; to end that one: fleetctl workflow terminate {} -n {}:\n",
            app.name_any(),
            app.namespace().unwrap_or_default()
        ),
        Standing::HeldBack { publish_version } => format!(
            "{name}: held back until the annotation {} is another one than {publish_version:?}; then this would run:\n",
            fleet_api::names::PUBLISH_VERSION
        ),
        Standing::RolledBack { run } => format!(
            "{name}: left for an earlier revision by run {run}; after fleetctl workflow restart, or an edit, this would run:\n"
        ),
        Standing::Ended { run, phase, reason } => {
            let why = if reason.is_empty() { phase.as_str() } else { reason };
            let restart =
                format!("workflow restart {} -n {}", app.name_any(), app.namespace().unwrap_or_default());
            format!(
                "{name}: run {run} is over ({why}) without delivering all of it; a restart ({restart}) would do:\n"
            )
        }
        Standing::Current { run } => {
            return format!("{name}: nothing to change: run {run} delivered what is asked for\n");
        }
    };
    let remarks = Remarks::of(&one.hints, &one.trials);
    for step in &one.steps {
        let hash = paint(style::STRONG, &step.plan.plan_hash);
        let asks = match step.before {
            Some(GateBefore::Step) => format!(" asks first, for plan {hash}"),
            Some(GateBefore::Deletes) => format!(" asks before it deletes, for plan {hash}"),
            None => String::new(),
        };
        let title = format!("step {}{asks}", paint(style::STRONG, &step.plan.step));
        if acts(step) {
            out.push_str(&format!("{title}:\n{}", text::body(&one.planner, &step.plan, roster, &remarks)));
        } else if step.gate {
            out.push_str(&format!("{title}: {}\n", step.plan.summary));
        } else {
            out.push_str(&format!("{title} ({})\n", step.type_));
        }
    }
    if let Some(counted) = counted(&one.hints) {
        out.push_str(&format!("{counted}\n"));
    }
    out
}
