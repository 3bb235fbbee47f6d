//! `fleetctl history`: what ran, what started it and what came of it; and what each target ran at some time, and why.
//!
//! ```text
//!  Runs that are kept ─┐
//!                      ├─► Past ──► Moment (by target, at a time)
//!  AuditLog ───────────┘
//! ```

mod moment;
mod past;
mod show;
mod time;

use fleet_api::AuditEntry;
use kube::ResourceExt as _;

use crate::application::Place;
use crate::application::revisions::Kept;
use crate::args::{Global, HistoryArgs};
use crate::audit::recorded;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::roster::Roster;

use self::moment::Moment;
use self::past::Past;

/// Does it.
///
/// # Errors
/// See the exit codes; a time that nothing reaches back to isn't found.
pub async fn run(environment: &Environment, global: &Global, arguments: &HistoryArgs) -> Outcome {
    let now = environment.now();
    let at = arguments.at.as_deref().map(|text| time::parse(text, now)).transpose()?;
    let place = Place::find(environment, global, &arguments.app).await?;
    let doing = format!("Application {}/{}", place.namespace, place.name);
    let app = place.hub.ask(&doing, place.applications().get_opt(&place.name)).await;
    let app = app.map_err(|failure| place.hub.no_hub(failure))?;
    let kept = Kept::of(&place, app.as_ref().and_then(|app| app.uid()).as_deref()).await?;
    let entries: Vec<AuditEntry> = match recorded(&place).await {
        Ok(entries) => entries,
        Err(failure) if failure.exit == Exit::NotFound => Vec::new(),
        // Whoever may not read the record still sees the runs that are kept.
        Err(failure) if failure.exit == Exit::Refused => {
            environment.streams.note(&format!("without the record: {failure}"));
            Vec::new()
        }
        Err(failure) => return Err(failure),
    };
    let past = Past::of(&kept.runs, &entries);
    if past.runs.is_empty() {
        if app.is_none() {
            // It names what there is.
            place.application().await?;
        }
        return Err(Failure::not_found(format!(
            "nothing has run of Application {} yet; look at it: {}",
            place.name,
            place.command("status")
        )));
    }
    if let Some(at) = at.filter(|at| past.begins_after(*at)) {
        return Err(Failure::not_found(format!(
            "what is on record of {} doesn't reach back to {at}: it begins at {} with run {}",
            place.name,
            past.begins.map(|begins| begins.to_string()).unwrap_or_default(),
            past.runs.last().map(|run| run.run.as_str()).unwrap_or_default()
        )));
    }
    let moment = Moment::of(&past, at.unwrap_or(now));
    if let Some(format) = arguments.output.output {
        return environment.streams.print(&show::for_programs(format, &place, &past, &moment, at)?);
    }
    let roster = Roster::load(&place.hub).await.unwrap_or_default();
    environment.streams.print(&match at {
        Some(at) => show::moment(&moment, &roster, at),
        None => show::past(&past, &moment, &roster, now),
    })
}
