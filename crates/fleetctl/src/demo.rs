//! `fleetctl demo`: the whole story in one process, in a minute.

mod outcome;
mod scenario;

use std::time::Duration;

use fleet_api::{Application, Decision, Phase, Run};
use kube::ResourceExt as _;
use kube::api::Api;
use tokio::time::Instant;

use crate::access::Cluster;
use crate::application::approve::{Request, decide};
use crate::application::follow::{Follow, rests};
use crate::application::plan;
use crate::application::tree::Changes;
use crate::application::{Place, waiting};
use crate::args::DemoArgs;
use crate::embedded::{Embedded, EmbeddedOptions};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::local::write_private;
use crate::output::style::{STRONG, paint};
use crate::roster::Roster;
use crate::signals::Signals;

/// A rollout that takes longer than this between two questions has gone wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// Does it.
///
/// # Errors
/// See the exit codes.
pub async fn run(environment: &Environment, arguments: &DemoArgs) -> Outcome {
    let mut signals = Signals::new(false)?;
    let began = Instant::now();
    let mut options = EmbeddedOptions::in_memory(environment.clock.clone(), environment.seed);
    // Somebody looks: workloads are slow enough to be seen, and told of at once.
    options.progress_interval = jiff::SignedDuration::from_millis(50);
    if environment.redraws {
        options.simulation.ready_delay = Duration::from_millis(700);
    }
    if arguments.keep {
        options.listen = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    }
    let mut fleet = Embedded::start(options).await.map_err(|error| Failure::failed(error.to_string()))?;
    let ready = began.elapsed().as_secs_f64();
    let streams = &environment.streams;
    let said = streams
        .line(&format!("hub and {} members are ready after {ready:.2} s", fleet.fleet().members().len()));
    let mut story = Story::new(environment, arguments, &fleet);
    let told = match said {
        Ok(()) => tokio::select! {
            told = Box::pin(story.tell()) => told,
            failure = fleet.failure() => Err(Failure::failed(failure.to_string())),
            () = signals.wait() => Err(Failure::silent(Exit::Interrupted)),
        },
        Err(failure) => Err(failure),
    };
    let ended = match told {
        Ok(()) => {
            let whole = began.elapsed().as_secs_f64();
            streams.line(&format!("\nready after {ready:.2} s, everything after {whole:.2} s"))
        }
        Err(failure) => Err(failure),
    };
    let ended = match ended {
        Ok(()) if arguments.keep => keep(environment, &mut fleet, &mut signals).await,
        other => other,
    };
    fleet.shutdown().await;
    ended
}

struct Story<'a> {
    environment: &'a Environment,
    arguments: &'a DemoArgs,
    place: Place,
    clients: Vec<(String, Cluster)>,
    changes: Changes,
}

impl<'a> Story<'a> {
    fn new(environment: &'a Environment, arguments: &'a DemoArgs, fleet: &Embedded) -> Self {
        let cluster = |name: &str| Cluster::in_process(fleet.client(name), name);
        let members = fleet.fleet().members();
        Self {
            environment,
            arguments,
            place: Place {
                hub: cluster(fleet_apiserver::ApiServer::HUB),
                namespace: scenario::NAMESPACE.to_owned(),
                name: scenario::APPLICATION.to_owned(),
                called: environment.called.as_str(),
            },
            clients: members.into_iter().map(|member| (member.name.clone(), cluster(&member.name))).collect(),
            changes: Changes::default(),
        }
    }

    async fn tell(&mut self) -> Outcome {
        let streams = &self.environment.streams;
        for (file, count) in scenario::apply(&self.place.hub).await? {
            streams.line(&format!("applied {file}: {count} objects on the hub"))?;
        }
        streams.line("")?;
        let roster = Roster::load(&self.place.hub).await?;
        loop {
            let app = self.follow(&roster).await?;
            let phase = app.status.as_ref().map(|status| status.status).unwrap_or_default();
            match phase {
                Phase::Running => break,
                Phase::WorkflowSuspending => Box::pin(self.gate(&app, &roster)).await?,
                other => {
                    let said = app.status.and_then(|status| status.workflow).map(|workflow| workflow.message);
                    let said = said.unwrap_or_default();
                    return Err(Failure::failed(format!("the rollout ended as {}: {said}", other.as_str())));
                }
            }
        }
        streams.line("")?;
        let members: Vec<&(String, Cluster)> = roster
            .all()
            .iter()
            .filter_map(|member| self.clients.iter().find(|(name, _)| *name == member.name_any()))
            .collect();
        streams.print(&outcome::table(&roster, &members).await?.to_string())
    }

    async fn follow(&mut self, roster: &Roster) -> Outcome<Application> {
        let follow = Follow {
            ends_refused: false,
            environment: self.environment,
            place: &self.place,
            roster,
            changes: &mut self.changes,
            whole: None,
        };
        let late = |_| {
            let seconds = PATIENCE.as_secs();
            Failure::new(
                Exit::Waiting,
                format!("nothing has come to rest within {seconds} s; run it again with FLEETCTL_LOG=debug"),
            )
        };
        tokio::time::timeout(PATIENCE, follow.until(rests)).await.map_err(late)?
    }

    /// Shows the plan, asks, approves, and waits until the run has gone on.
    async fn gate(&mut self, app: &Application, roster: &Roster) -> Outcome {
        let run = self.place.run(app).await?;
        let Some(step) = waiting(&run).first().map(|step| step.name.clone()) else {
            // The status is older than the run: what comes next is on its way.
            return self.moves_on(app, &run).await;
        };
        let planned = plan::make(&self.place, app, &run, &step).await?;
        let streams = &self.environment.streams;
        streams.line(&format!(
            "\n{}",
            paint(STRONG, &format!("step {step} asks first; this is what it would change:"))
        ))?;
        streams.line(&plan::text(&planned, &run, roster))?;
        if !self.agreed(&step).await? {
            streams.line(&format!("nothing was changed by {step}"))?;
            return Err(Failure::new(
                Exit::Waiting,
                format!("the question was answered with no; step {step} stays suspended"),
            ));
        }
        let asker = self.place.hub.asker().await;
        let request = Request {
            step: &step,
            hash: &planned.plan.plan_hash,
            asker: &asker,
            reason: "fleetctl demo",
            spent: 0,
        };
        decide(self.environment, &self.place, &run, &request, Decision::Approve).await?;
        streams.line(&format!("approved plan {} as {}\n", planned.plan.plan_hash, asker.user))?;
        self.moves_on(app, &run).await
    }

    async fn agreed(&self, step: &str) -> Outcome<bool> {
        let streams = &self.environment.streams;
        if self.arguments.yes {
            return streams.line("answered by --yes").map(|()| true);
        }
        if !streams.in_is_terminal {
            return Err(Failure::new(
                Exit::CannotAsk,
                format!(
                    "step {step} has to be approved and there is no terminal to ask on; answer beforehand: {} demo --yes",
                    self.place.called
                ),
            ));
        }
        streams.print("go on? [y/N] ")?;
        // Reading can't be given up, so it has a thread of its own, which the end of the program doesn't wait for.
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        });
        let line = line.await.ok().and_then(Result::ok).unwrap_or_default();
        Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Waits until the status is no longer about the gate that was opened.
    async fn moves_on(&self, app: &Application, run: &Run) -> Outcome {
        let before = gate(app);
        let api: Api<Application> = self.place.applications();
        let name = self.place.name.clone();
        // The next gate may wait by the time that we look.
        let changed = |now: Option<&Application>| {
            now.is_some_and(|now| phase(now) != Phase::WorkflowSuspending || gate(now) != before)
        };
        let waited = kube::runtime::wait::await_condition(api, &name, changed);
        match tokio::time::timeout(PATIENCE, waited).await {
            Ok(_) => Ok(()),
            Err(_) => {
                let message =
                    format!("run {} hasn't gone on within {} s", run.name_any(), PATIENCE.as_secs());
                Err(Failure::new(Exit::Waiting, message))
            }
        }
    }
}

fn gate(app: &Application) -> Option<String> {
    app.status.as_ref()?.workflow.as_ref()?.gate.clone()
}

fn phase(app: &Application) -> Phase {
    app.status.as_ref().map(|status| status.status).unwrap_or_default()
}

/// Leaves everything running until Ctrl-C.
async fn keep(environment: &Environment, fleet: &mut Embedded, signals: &mut Signals) -> Outcome {
    let folder = environment.temporary.join(format!("fleetctl-demo-{}", environment.process));
    std::fs::create_dir_all(&folder).map_err(|error| Failure::file(&folder, &error))?;
    let path = folder.join("kubeconfig");
    let kubeconfig = fleet.kubeconfig(None).map_err(|error| Failure::failed(error.to_string()))?;
    write_private(&path, &kubeconfig.unwrap_or_default())?;
    let address = fleet.address().map(|address| address.to_string()).unwrap_or_default();
    let called = environment.called.as_str();
    let (app, namespace) = (scenario::APPLICATION, scenario::NAMESPACE);
    let said = environment.streams.line(&format!(
        "\nIt goes on at https://{address} until Ctrl-C. In another terminal:\n  \
         export KUBECONFIG={}\n  {called} get deployment -n {namespace} -m all\n  \
         {called} status {app} -n {namespace} --tree\n  kubectl get app -n {namespace}",
        path.display()
    ));
    let ended = match said {
        Ok(()) => tokio::select! {
            failure = fleet.failure() => Err(Failure::failed(failure.to_string())),
            () = signals.wait() => Ok(()),
        },
        Err(failure) => Err(failure),
    };
    // Of no use without the process.
    let _ = std::fs::remove_dir_all(&folder);
    ended
}
