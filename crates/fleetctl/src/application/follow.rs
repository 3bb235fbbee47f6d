//! Follows an Application while it changes.

use fleet_api::{Application, Phase};
use futures::TryStreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use std::time::Duration;

use super::live::Live;
use super::tree::{self, Changes};
use super::{Place, show};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::roster::Roster;

/// So long what can't be rolled out is given to become something that can: what is applied together comes one after
/// the other.
const GRACE: Duration = Duration::from_secs(5);
/// How often the spinner moves.
const TICK: Duration = Duration::from_millis(100);

/// Shows a rollout until it satisfies `until`.
pub(crate) struct Follow<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) place: &'a Place,
    pub(crate) roster: &'a Roster,
    /// What was told already, where nothing is redrawn.
    pub(crate) changes: &'a mut Changes,
    /// Redraw what `status` shows instead of the tree alone.
    pub(crate) whole: Option<bool>,
    /// End where what is asked for can't be rolled out, for whoever won't mend it meanwhile.
    pub(crate) ends_refused: bool,
}

impl Follow<'_> {
    /// Resolves with the Application as it then is.
    pub(crate) async fn until(mut self, until: impl Fn(&Application) -> bool) -> Outcome<Application> {
        let mut live = Live::new(self.environment);
        let mut tick = tokio::time::interval(TICK);
        let mut changes =
            std::pin::pin!(watch_object(self.place.applications(), &self.place.name).default_backoff());
        let mut last: Option<Application> = None;
        let mut refused = None;
        loop {
            tokio::select! {
                change = changes.try_next() => match change {
                    Ok(Some(Some(app))) => {
                        self.show(&mut live, &app)?;
                        if !self.ends_refused || refusal(&app).is_none() {
                            refused = None;
                        } else if refused.is_none() {
                            refused = Some(Box::pin(tokio::time::sleep(GRACE)));
                        }
                        if until(&app) && refused.is_none() {
                            live.finish();
                            return Ok(app);
                        }
                        last = Some(app);
                    }
                    Ok(Some(None)) if last.is_some() => {
                        let gone = format!("Application {} was deleted", self.place.name);
                        return Err(Failure::new(Exit::NotFound, gone));
                    }
                    // Not there yet, or the hub doesn't answer just now: the watch tries again by itself.
                    Ok(_) | Err(_) => tokio::task::yield_now().await,
                },
                () = over(refused.as_mut()) => {
                    live.finish();
                    // It was seen, else nothing would be refused.
                    if let Some(app) = last.take().filter(|app| ends_refused(app) || until(app)) {
                        return Ok(app);
                    }
                    refused = None;
                }
                _ = tick.tick(), if live.redraws() => {
                    if let Some(app) = &last {
                        self.show(&mut live, app)?;
                    }
                }
            }
        }
    }

    fn show(&mut self, live: &mut Live, app: &Application) -> Outcome {
        if !live.redraws() {
            let lines = self.changes.since_last(app, self.roster);
            return lines.iter().try_for_each(|line| self.environment.streams.line(line));
        }
        let frame = live.next_frame();
        let lines = match self.whole {
            Some(false) => {
                show::for_people(self.place, app, self.roster, false).lines().map(str::to_owned).collect()
            }
            Some(true) | None => tree::of(app, self.roster).lines(Some(frame)),
        };
        live.draw(&lines)
    }
}

async fn over(refused: Option<&mut std::pin::Pin<Box<tokio::time::Sleep>>>) {
    match refused {
        Some(grace) => grace.await,
        None => std::future::pending().await,
    }
}

/// Why what is asked for can't be rolled out, where the controller has looked at it as it is now.
pub(crate) fn refusal(app: &Application) -> Option<String> {
    let status = app.status.as_ref()?;
    let rendered = fleet_api::conditions::find(&status.conditions, "Rendered")?;
    let current = rendered.observed_generation == app.metadata.generation;
    (current && !rendered.is_true()).then(|| format!("{}: {}", rendered.reason, rendered.message))
}

/// Whether nothing goes on, and what is asked for never begins.
fn ends_refused(app: &Application) -> bool {
    let phase = app.status.as_ref().map(|status| status.status).unwrap_or_default();
    refusal(app).is_some() && !matches!(phase, Phase::RunningWorkflow | Phase::Deleting)
}

/// Whether nothing changes any more without a person.
pub(crate) fn rests(app: &Application) -> bool {
    let Some(status) = &app.status else { return false };
    let observed = app.metadata.generation.is_none_or(|generation| status.observed_generation >= generation);
    let resting = matches!(
        status.status,
        Phase::Running | Phase::WorkflowSuspending | Phase::WorkflowFailed | Phase::WorkflowTerminated
    );
    observed && (resting || owes(app))
}

/// Whether all that is left are targets that were passed over.
fn owes(app: &Application) -> bool {
    let conditions = app.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Workflow" && condition.reason == "CatchUpPending")
}

/// `fleetctl status -w`
pub(super) async fn status(environment: &Environment, place: &Place, roster: &Roster, tree: bool) -> Outcome {
    let mut changes = Changes::default();
    let follow =
        Follow { environment, place, roster, changes: &mut changes, whole: Some(tree), ends_refused: true };
    verdict(place, &follow.until(rests).await?)
}

/// What the end of a rollout means for whoever waited for it.
fn verdict(place: &Place, app: &Application) -> Outcome {
    let status = app.status.clone().unwrap_or_default();
    let workflow = status.workflow.unwrap_or_default();
    let said = if workflow.message.is_empty() { String::new() } else { format!(": {}", workflow.message) };
    let run = workflow.run;
    if let Some(why) = refusal(app) {
        return Err(Failure::refused(format!(
            "Application {} isn't rolled out as it is now: {why}; correct it, and it goes on by itself; look at it: {}",
            place.name,
            place.command("status")
        )));
    }
    match status.status {
        Phase::Running => Ok(()),
        Phase::WorkflowSuspending => {
            let next = place.command(if workflow.gate.is_some() { "plan" } else { "workflow resume" });
            let waits = format!("run {run} waits for a person{said}");
            // The message may name the next step already.
            let next = if waits.contains(&next) { String::new() } else { format!("; next: {next}") };
            Err(Failure::new(Exit::Waiting, format!("{waits}{next}")))
        }
        Phase::RunningWorkflow => Err(Failure::new(Exit::Waiting, format!("run {run} waits{said}"))),
        other => Err(Failure::failed(format!(
            "run {run} ended as {}{said}; look at it: {}",
            other.as_str(),
            place.command("status --tree")
        ))),
    }
}
