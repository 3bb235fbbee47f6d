//! `workflow rollback`: a request to go back to an earlier revision, as an annotation on the Application. What is written
//! only asks; the controller decides by what stands then.

use fleet_api::{ManagedCluster, RollbackRequest, Run, names};
use fleet_controller::rollback;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::json;

use super::revisions::{self, Kept};
use super::{Place, phase_of, steer};
use crate::args::RollbackArgs;
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};

/// Asks for it, where it can be done as far as can be told from here.
pub(super) async fn ask(environment: &Environment, place: &Place, arguments: &RollbackArgs) -> Outcome {
    let app = place.lasting("roll back").await?;
    let kept = Kept::of(place, app.uid().as_deref()).await?;
    // The status may not show the newest yet.
    let Some(current) = kept.newest() else {
        // That says what the Application waits for.
        let run = place.run(&app).await?;
        return Err(Failure::refused(format!(
            "run {} of {} isn't on record (yet), so nothing was asked for; look at it: {}, then ask again",
            run.name_any(),
            place.name,
            place.command("status")
        )));
    };
    let to = revision(place, &kept, current, arguments)?;
    refuse_twice(place, &app, current)?;
    let missing = missing(environment, place, &to).await?;
    if !missing.is_empty() && !arguments.without_missing {
        return Err(Failure::refused(format!(
            "revision {to} names clusters that left the fleet: {}; go back without them: {} --to {to} --without-missing",
            missing.join(", "),
            place.command("workflow rollback")
        )));
    }
    let request = RollbackRequest {
        run: current.name_any(),
        // What was looked at is what is meant, though something may be completed meanwhile.
        to: Some(to.clone()),
        by: place.hub.asker().await.user,
        reason: arguments.reason.clone(),
        generation: app.metadata.generation,
        restart: app.annotations().get(names::RESTART).cloned(),
        publish_version: app.annotations().get(names::PUBLISH_VERSION).cloned(),
        without_missing: arguments.without_missing,
    };
    let text = request.write().map_err(|said| Failure::usage(format!("--reason: {said}")))?;
    steer::annotate(place, &app, names::ROLLBACK, json!(text)).await?;
    environment.streams.note(&format!(
        "from {} to {}; look at it: {}",
        kept.described(&current.spec.revision),
        kept.described(&to),
        place.command("status")
    ));
    environment.streams.line(&format!("Successfully rollback workflow: {}", place.name))
}

fn revision(place: &Place, kept: &Kept, current: &Run, arguments: &RollbackArgs) -> Outcome<String> {
    let refused = |problem: fleet_controller::Problem| Failure::refused(problem.message);
    match &arguments.to {
        None => {
            let found = rollback::earlier(&kept.runs, current).map_err(refused)?;
            kept.named(place, &found.spec.revision)
        }
        Some(said) => {
            let name = kept.named(place, said)?;
            rollback::differs(&kept.runs, current, &name).map_err(refused)?;
            Ok(name)
        }
    }
}

/// One request a run: what was asked is on its way, or refused and shown in the status.
fn refuse_twice(place: &Place, app: &fleet_api::Application, current: &Run) -> Outcome {
    let asked = app.annotations().get(names::ROLLBACK).and_then(|text| RollbackRequest::read(text).ok());
    let conditions = app.status.iter().flat_map(|status| &status.conditions);
    let refused = conditions.into_iter().any(|condition| condition.type_ == "Rollback");
    match asked {
        Some(request) if request.run == current.name_any() && !refused => Err(Failure::refused(format!(
            "{} was asked to go back to {} already, from run {} ({}); look at it: {}",
            place.name,
            request.to.as_deref().unwrap_or("an earlier revision"),
            request.run,
            phase_of(current).as_str(),
            place.command("status")
        ))),
        _ => Ok(()),
    }
}

/// The clusters that a revision names and that aren't there.
async fn missing(environment: &Environment, place: &Place, revision: &str) -> Outcome<Vec<String>> {
    let loaded = match revisions::read(place, revision).await {
        Ok(loaded) => loaded,
        // Its Secret may be the controller's alone to read; the controller says what it finds.
        Err(failure) => {
            environment.streams.note(&format!("its clusters aren't checked from here: {failure}"));
            return Ok(Vec::new());
        }
    };
    let api: Api<ManagedCluster> = Api::all(place.hub.client.clone());
    let clusters = place.hub.ask("the list of members", api.list(&ListParams::default())).await?.items;
    let missing = rollback::missing(&loaded, &place.namespace, &clusters);
    let missing = missing.map_err(|problem| {
        Failure::refused(format!("revision {revision} can't be gone back to: {}", problem.message))
    })?;
    Ok(missing.into_iter().collect())
}
