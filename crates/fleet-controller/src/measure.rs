//! Steps that measure, ask or tell: taking one measurement, as a job that reports to the board.
//!
//! ```text
//!  Command::Check ──► Job ──► metrics, request, notify, email ──► Outbound ──► servers
//!                      │            └── Secrets (read for each, never shown)
//!                      └─────► wait_for ──► a watch of one object, on hub or member
//!  facts ◄── board ◄── Reading
//!    └────── depends: an Application in the hub's cache
//! ```

mod address;
mod depends;
mod dial;
mod email;
mod metrics;
mod notify;
mod outbound;
mod request;
mod secrets;
mod wait_for;

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::{Measured, StepPhase, StepState};
use fleet_workflow::graph::measure::{Text, What};
use fleet_workflow::measure::Reading;
use fleet_workflow::{Check, CheckFact, Graph, MeasureProperties, StepKind};
use serde_json::{Value, json};
use tracing::Instrument as _;

pub use dial::{Connection, Dial};
pub use outbound::Addresses;
pub(crate) use outbound::Outbound;

use crate::Problem;
use crate::context::{AppKey, Context};
use crate::turn::board::Board;
use crate::turn::walk::Walk;
use secrets::Secrets;

/// Refuses steps that name a server which nothing is ever sent to, where that stands in the workflow itself.
pub(crate) fn refuse_out_of_reach(graph: &Graph) -> Result<(), Problem> {
    for node in &graph.nodes {
        let StepKind::Measure(measure) = &node.kind else { continue };
        // What other steps put in isn't known yet.
        if node.inputs.iter().any(|input| input.at.is_some()) {
            continue;
        }
        for endpoint in measure.what.endpoints() {
            let Text::Plain(url) = &endpoint.url else { continue };
            let why = Some(url).filter(|url| !url.contains("${")).and_then(|url| outbound::never_sent(url));
            if let Some(why) = why {
                let message = format!("workflow: step {:?}: properties: url: {why}", node.name);
                return Err(Problem::wrong("InvalidStepProperties", message));
            }
        }
    }
    Ok(())
}

/// Everything that one measurement needs, detached from the turn that asked for it.
struct Job {
    app: AppKey,
    /// The account that the running revision names.
    account: Option<String>,
    run: String,
    step: String,
    number: (u32, u32),
    /// The same for every try of the same measurement.
    key: String,
    /// What the step is about, for bodies and `${context.…}`.
    context: Value,
    measured: Measured,
    properties: Result<MeasureProperties, String>,
}

/// The number of a step's next measurement.
fn number(step: &StepState) -> (u32, u32) {
    let tries = step.measured.as_ref().map_or(0, Measured::tries);
    (step.attempts, tries.saturating_add(1))
}

impl Job {
    fn of(walk: &Walk, name: &str) -> Option<Self> {
        let (revision, run) = walk.revision.as_ref().zip(walk.run.as_ref())?;
        let steps = walk.run_status()?.steps.as_slice();
        let step = steps.iter().find(|step| step.name == name)?;
        // What other steps made is put into its properties.
        let bound = revision.graph.bound(revision.graph.position(name)?, steps)?;
        let measured = step.measured.clone().unwrap_or_default();
        let uid = run.metadata.uid.as_deref().unwrap_or_default();
        let context = json!({
            "name": walk.key.1,
            "appName": walk.key.1,
            "namespace": walk.key.0,
            "run": walk.run_name(),
            "runNumber": run.spec.number,
            "revision": revision.name,
            "appRevision": revision.name,
            "stepName": name,
            "planHash": step.plan_hash,
        });
        let rendered = bound.map_err(|problem| problem.message).and_then(|node| match &node.kind {
            StepKind::Measure(properties) => properties.rendered(&[("context", &context)]),
            _ => Err("the step measures nothing".to_owned()),
        });
        Some(Self {
            app: walk.key.clone(),
            account: crate::hub::tenancy::named(walk).map(str::to_owned),
            run: walk.run_name().to_owned(),
            step: name.to_owned(),
            number: number(step),
            key: format!("{uid}.{name}.{}.{}", step.attempts, measured.judged().saturating_add(1)),
            context,
            measured,
            properties: rendered,
        })
    }
}

/// Takes a step's next measurement in the background, unless it is under way.
pub(crate) fn start(ctx: &Arc<Context>, walk: &Walk, step: &str) {
    let Some(job) = Job::of(walk, step) else { return };
    if job.properties.as_ref().is_ok_and(|properties| matches!(properties.what, What::DependsOnApp(_))) {
        // Judged in every turn by what is in the cache: the next one looks.
        return ctx.due.wake_soon(&walk.key);
    }
    let Some(ended) = walk.board.begin_check(&job.run, &job.step, job.number) else { return };
    let (ctx, board) = (Arc::clone(ctx), walk.board.clone());
    let span = tracing::debug_span!(
        "measure",
        namespace = job.app.0,
        application = job.app.1,
        run = job.run,
        step = job.step
    );
    walk.hold.spawn(async move {
        // Ended before its time, with the right to act for the Application, it isn't under way any more.
        let _given_up = GivenUp { board: board.clone(), step: job.step.clone(), number: job.number };
        let say = |check: Check| {
            board.set_check(&job.run, &job.step, CheckFact { number: job.number, state: check });
            ctx.due.wake_soon(&job.app);
        };
        let reading = tokio::select! {
            () = ended.cancelled() => return,
            reading = take(&ctx, &job, &say).instrument(span) => reading,
        };
        say(Check::Taken(reading));
    });
}

/// A measurement that is under way for as long as this lives.
struct GivenUp {
    board: Board,
    step: String,
    number: (u32, u32),
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.board.give_up_check(&self.step, self.number);
    }
}

async fn take(ctx: &Arc<Context>, job: &Job, say: &(dyn Fn(Check) + Send + Sync)) -> Reading {
    let properties = match &job.properties {
        Ok(properties) => properties,
        Err(problem) => return Reading::failed(format!("properties: {problem}")),
    };
    let secrets = match Secrets::read(ctx, job, properties).await {
        Ok(secrets) => secrets,
        Err(problem) => return Reading::error(problem),
    };
    let reading = match &properties.what {
        What::Metrics(query) => metrics::measure(ctx, query, &secrets).await,
        What::Request(request) => request::request(ctx, job, request, &secrets).await,
        What::Webhook(webhook) => request::webhook(ctx, job, webhook, &secrets).await,
        What::Notification(notification) => notify::notify(ctx, job, notification, &secrets).await,
        What::WaitFor(wanted) => wait_for::wait(ctx, job, wanted, say).await,
        What::DependsOnApp(_) => Reading::error("it is judged by what is in the cache"),
    };
    secrets.hide(reading)
}

/// How measuring goes, by step; what is no longer waited for ends.
pub(crate) fn facts(ctx: &Context, walk: &Walk) -> BTreeMap<String, CheckFact> {
    let steps = walk.run_status().map(|status| status.steps.as_slice()).unwrap_or_default();
    let measures = |step: &&StepState| step.phase == StepPhase::Running && step.targets.is_empty();
    let running: Vec<&StepState> = steps.iter().filter(measures).collect();
    let mut facts = walk.board.checks(&|name| running.iter().any(|step| step.name == name));
    let mut awaited = Vec::new();
    for step in running {
        let node = walk.revision.as_ref().and_then(|revision| revision.graph.node(&step.name));
        let Some(StepKind::Measure(properties)) = node.map(|node| &node.kind) else { continue };
        if let What::DependsOnApp(wanted) = &properties.what {
            let (key, state) = depends::judge(ctx, walk, step, wanted);
            awaited.push(key);
            facts.insert(step.name.clone(), CheckFact { number: number(step), state });
        }
    }
    ctx.due.wait_for(&walk.key, awaited);
    facts
}
