//! `fleetctl delete`

use fleet_api::{Application, names};
use futures::TryStreamExt as _;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use serde_json::json;

use super::{Place, steer, trouble};
use crate::args::DeleteArgs;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};

pub(super) async fn run(environment: &Environment, place: &Place, arguments: &DeleteArgs) -> Outcome {
    let app = place.application().await?;
    // First what is to happen, then the deletion: the other way round the controller could be quicker.
    if arguments.orphan {
        steer::annotate(place, &app, names::ON_DELETE, json!("orphan")).await?;
    }
    if arguments.force {
        steer::annotate(place, &app, names::FORCE_DELETE, json!("true")).await?;
    }
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: app.uid(), resource_version: None }),
        ..DeleteParams::background()
    };
    let api = place.applications();
    place.hub.ask(&format!("Application {}", place.name), api.delete(&place.name, &params)).await?;
    if arguments.wait {
        gone(place, &app, arguments).await?;
    }
    let end = if arguments.orphan { "; what it delivered stays on the members" } else { "" };
    environment.streams.line(&format!("application.core.oam.dev \"{}\" deleted{end}", place.name))
}

async fn gone(place: &Place, app: &Application, arguments: &DeleteArgs) -> Outcome {
    let mut last: Option<Application> = None;
    let waited = tokio::time::timeout(arguments.timeout, async {
        let mut changes = std::pin::pin!(watch_object(place.applications(), &place.name).default_backoff());
        loop {
            match changes.try_next().await {
                Ok(Some(Some(now))) if now.uid() == app.uid() => last = Some(now),
                Ok(Some(_)) => return,
                Ok(None) | Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    if waited.await.is_ok() {
        return Ok(());
    }
    let said = last.as_ref().and_then(cause).map(|said| format!(": {said}")).unwrap_or_default();
    // What it waits for may name the way out already.
    let end = if arguments.force || said.contains("--force") {
        String::new()
    } else {
        format!(", or end it now: {} --force", place.command("delete"))
    };
    Err(Failure::new(
        Exit::Waiting,
        format!(
            "Application {} is still being deleted after {} s{said}; look at it: {}{end}",
            place.name,
            arguments.timeout.as_secs(),
            place.command("status"),
        ),
    ))
}

/// What its end waits for: the entry that sums the application up says so.
fn cause(app: &Application) -> Option<String> {
    let said = app.status.as_ref()?.services.first().map(|service| service.message.clone());
    said.filter(|said| !said.is_empty()).or_else(|| trouble(app))
}
