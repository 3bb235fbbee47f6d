//! `workflow suspend`, `terminate`, `restart`: requests that stand as annotations on the Application.

use fleet_api::{Application, names};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Place, follow, phase_of};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};

/// Asks for something to happen to the run that is under way.
pub(super) async fn mark_run(
    environment: &Environment,
    place: &Place,
    annotation: &str,
    verb: &str,
) -> Outcome {
    let app = place.lasting(verb).await?;
    let run = place.run(&app).await?;
    let name = run.name_any();
    if phase_of(&run).is_over() {
        return Err(Failure::refused(format!(
            "run {name} of {} is over ({}); there is nothing to {verb}; a new one starts with: {}",
            place.name,
            phase_of(&run).as_str(),
            place.command("workflow restart")
        )));
    }
    if app.annotations().get(annotation) == Some(&name) {
        let again =
            if verb == "suspend" { place.command("workflow resume") } else { place.command("status") };
        return Err(Failure::refused(format!("run {name} was asked to {verb} already; next: {again}")));
    }
    ask(place, &app, annotation, &name).await?;
    environment.streams.line(&format!("Successfully {verb} workflow: {}", place.name))
}

/// Asks for a new run of what the hub holds now.
pub(super) async fn restart(environment: &Environment, place: &Place) -> Outcome {
    let app = place.lasting("restart").await?;
    if let Some(why) = follow::refusal(&app) {
        return Err(Failure::refused(format!(
            "Application {} can't be rolled out as it is now: {why}; nothing was started; correct it, and it starts by itself; look at it: {}",
            place.name,
            place.command("status")
        )));
    }
    ask(place, &app, names::RESTART, &environment.now().to_string()).await?;
    environment.streams.line(&format!("Successfully restart workflow: {}", place.name))
}

/// Asks by an annotation, and says who.
async fn ask(place: &Place, app: &Application, annotation: &str, value: &str) -> Outcome {
    let by = place.hub.asker().await.user;
    let said = format!("{value} {by}");
    annotate_all(place, app, json!({ annotation: value, names::asked_by(annotation): said })).await
}

/// Lifts what a person asked for about a run, and says who did.
pub(super) async fn lift(place: &Place, app: &Application, annotation: &str, run: &str) -> Outcome {
    let by = place.hub.asker().await.user;
    let said = format!("{run} {by}");
    annotate_all(place, app, json!({ annotation: Value::Null, names::asked_by(annotation): said })).await
}

/// Sets an annotation, or takes it away with null.
pub(super) async fn annotate(place: &Place, app: &Application, annotation: &str, value: Value) -> Outcome {
    annotate_all(place, app, json!({ annotation: value })).await
}

async fn annotate_all(place: &Place, app: &Application, annotations: Value) -> Outcome {
    // The UID holds it to the Application that was looked at.
    let patch = json!({ "metadata": { "uid": app.uid(), "annotations": annotations } });
    let params = PatchParams { field_manager: Some("fleetctl".to_owned()), ..PatchParams::default() };
    let api = place.applications();
    let patch = Patch::Merge(&patch);
    let sent = api.patch(&place.name, &params, &patch);
    place.hub.ask(&format!("Application {}", place.name), sent).await.map(|_| ())
}
