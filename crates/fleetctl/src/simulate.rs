//! `fleetctl simulate`: the real controller takes an Application through a fleet that exists only in memory, in virtual
//! time.
//!
//! ```text
//!  files ─► input ─► rehearsal: cues (faults, answers at gates) ─► world: hub, members, simulator, the controller
//!                        └── status of the Application ─► timeline ─► text or JSON
//! ```
//!
//! Every delay is drawn from the seed and from what it belongs to, and what happens at one instant is told in one order,
//! so the same files, arguments and seed give the same output.

mod fault;
mod input;
mod rehearsal;
mod timeline;
mod world;

use fleet_api::Phase;
use serde_json::json;

pub use fault::{Approvals, PlannedFault, Trouble};
pub use world::{FaultyWays, VirtualTime, runtime};

use crate::application::tree;
use crate::args::{Global, SimulateArgs, SimulateOutput};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use input::{Input, Origin};
use rehearsal::{Ended, Scenario};
use timeline::{Entry, clock};

/// Runs the command.
pub(crate) async fn run(environment: &Environment, global: &Global, arguments: &SimulateArgs) -> Outcome {
    let namespace = global.namespace.as_deref().unwrap_or("default");
    let scenario = Scenario {
        input: Input::read(&arguments.files, namespace)?,
        faults: arguments.faults.clone(),
        approvals: arguments.approve.clone(),
        seed: arguments.seed,
        until: arguments.until,
    };
    let (rehearsed, how) = (scenario.clone(), arguments.output);
    // Virtual time needs a runtime of its own, and that a thread of its own.
    let ended = tokio::task::spawn_blocking(move || {
        let runtime = world::runtime().map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
        // What the controller would log at these times that never were, the timeline says.
        tracing::dispatcher::with_default(&tracing::Dispatch::none(), || {
            let ended = runtime.block_on(Box::pin(rehearsal::run(rehearsed)));
            // Within: what is left of the engine ends here, and would be told of as if it had died.
            drop(runtime);
            ended
        })
    });
    let ended =
        ended.await.map_err(|error| Failure::failed(format!("the rehearsal broke off: {error}")))??;
    tell(environment, &scenario, ended, how)
}

fn tell(environment: &Environment, scenario: &Scenario, ended: Ended, how: SimulateOutput) -> Outcome {
    let Ended { timeline, app, roster, at } = ended;
    let status = app.as_ref().and_then(|app| app.status.clone()).unwrap_or_default();
    let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    let entries = timeline.into_entries();
    let verdict = verdict(environment, scenario, &status);
    let streams = &environment.streams;
    let Input { namespace, application, members, origin, .. } = &scenario.input;
    let names: Vec<&str> =
        members.iter().map(|m| m.spec.alias.as_deref().unwrap_or(m.spec.name.as_str())).collect();
    match how {
        SimulateOutput::Json => {
            let whole = json!({
                "application": application, "namespace": namespace, "seed": scenario.seed, "members": names,
                "timeline": entries,
                "end": {
                    "at": millis,
                    "phase": status.status.as_str(),
                    "message": verdict.as_ref().err().map_or("", |failure| failure.message.as_str()),
                    "exitCode": verdict.as_ref().err().map_or(Exit::Done, |failure| failure.exit).code(),
                    "steps": status.workflow.iter().flat_map(|workflow| workflow.all_steps())
                        .map(|step| json!({"name": step.name, "phase": step.phase, "reason": step.reason}))
                        .collect::<Vec<_>>(),
                },
            });
            let text =
                serde_json::to_string_pretty(&whole).map_err(|error| Failure::failed(error.to_string()))?;
            streams.line(&text)?;
        }
        SimulateOutput::Text => {
            let from = match origin {
                Origin::Files => "from the files",
                Origin::Topologies => "as the topologies name them; the files have no ManagedCluster",
                Origin::Invented => "made up; neither ManagedClusters nor topologies name any",
            };
            let count = names.len();
            let named = names.join(", ");
            streams.line(&format!(
                "{namespace}/{application}, seed {}, on {count} members ({from}): {named}\n",
                scenario.seed
            ))?;
            entries.iter().map(Entry::line).try_for_each(|line| streams.line(&line))?;
            streams.line(&format!("\nat {}:", clock(millis)))?;
            if let Some(app) = &app {
                tree::of(app, &roster).lines(None).iter().try_for_each(|line| streams.line(line))?;
            }
        }
    }
    verdict
}

/// What the end means for a script.
fn verdict(environment: &Environment, scenario: &Scenario, status: &fleet_api::ApplicationStatus) -> Outcome {
    let workflow = status.workflow.clone().unwrap_or_default();
    let unhealthy = status.services.iter().find(|service| !service.healthy);
    let said = match (workflow.message.as_str(), unhealthy) {
        ("", Some(service)) => service.message.clone(),
        (message, _) => message.to_owned(),
    };
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let phase = status.status.as_str();
    match status.status {
        Phase::Running => Ok(()),
        Phase::WorkflowFailed | Phase::WorkflowTerminated => {
            Err(Failure::failed(format!("the run ends as {phase}{said}")))
        }
        _ => {
            let until = clock(u64::try_from(scenario.until.as_millis()).unwrap_or(u64::MAX));
            let next = match status.status {
                Phase::WorkflowSuspending => {
                    format!("; let somebody answer: {} simulate --approve auto", environment.called.as_str())
                }
                _ => "; give it more time with --until".to_owned(),
            };
            Err(Failure::new(Exit::Waiting, format!("at {until} it is still {phase}{said}{next}")))
        }
    }
}
