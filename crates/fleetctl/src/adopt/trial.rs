//! Taking over, tried: the same apply as the engine's, as a dry run, changes labels and nothing else.

use std::sync::Arc;

use fleet_api::{ObjectId, Target, names};
use fleet_json::diff_by_name;
use fleet_plan::Delivery;
use futures::{StreamExt as _, TryStreamExt as _};
use http::Request;
use serde_json::Value;

use super::found::{Member, on};
use super::manifest::Manifest;
use super::said::untouched;
use crate::application::Place;
use crate::attempt::{self, Try};
use crate::exit::{Exit, Failure, Outcome};
use crate::get::catalogue::Catalogue;
use crate::get::request::kind_word;

/// How many members are tried at once.
const AT_ONCE: usize = 8;
/// How often an object is tried that somebody else writes in the same moment.
const TRIES: usize = 3;

/// Tries every object on every member. Answers what couldn't be tried, in words.
///
/// # Errors
/// Where something would change, or is refused.
pub(super) async fn run(
    members: &[Member],
    manifest: &Manifest,
    place: &Place,
    owner: &str,
) -> Outcome<Vec<String>> {
    let delivery = Delivery { application: &place.name, namespace: &place.namespace, owner };
    let mut trials = Vec::new();
    for group in &manifest.groups {
        for member in group.members.iter().filter_map(|at| members.get(*at)) {
            let target = Target::new(member.name.as_str(), member.namespace.as_str());
            let desired = fleet_plan::prepare(&group.objects, &target, &delivery, &|_| false, &|_, _| {
                fleet_plan::Claim::Own
            });
            let desired = desired.into_iter().map(|desired| (desired.id, desired.object)).collect();
            trials.push(on_member(member, desired, owner));
        }
    }
    let notes: Vec<Vec<String>> = futures::stream::iter(trials).buffered(AT_ONCE).try_collect().await?;
    Ok(notes.into_iter().flatten().collect())
}

/// Tries objects on one member. Answers what couldn't be tried, in words.
///
/// # Errors
/// Where something would change, or is refused.
pub(crate) async fn on_member(
    member: &Member,
    desired: Vec<(ObjectId, Arc<Value>)>,
    owner: &str,
) -> Outcome<Vec<String>> {
    let catalogue = Catalogue::load(&member.cluster).await.map_err(|failure| on(&member.label, failure))?;
    let mut untried = Vec::new();
    for (id, object) in &desired {
        let kind = kind_word(&id.api_version, &id.kind);
        let types = catalogue.find(&kind).map_err(|failure| on(&member.label, failure))?;
        let Some(type_) = types.first() else { continue };
        let path = type_.path(Some(&member.namespace), Some(&id.name));
        match on_object(member, id, object, &path, owner).await {
            Ok(()) => {}
            // A webhook that has side effects refuses dry runs; that says nothing about the apply itself.
            Err(failure) if failure.message.contains("dry run") || failure.message.contains("dryRun") => {
                untried
                    .push(format!("warning: taking {id} over can't be tried on {}: {failure}", member.label));
            }
            Err(failure) => return Err(on(&member.label, failure)),
        }
    }
    Ok(untried)
}

async fn on_object(member: &Member, id: &ObjectId, object: &Value, path: &str, owner: &str) -> Outcome {
    let manager = names::field_manager(owner);
    let mut changed = Vec::new();
    for _ in 0..TRIES {
        let before: Value = send(member, id, Request::get(path).body(Vec::new())).await?;
        let try_ = Try { path, object, manager: &manager, force: true };
        let after =
            attempt::apply(&member.cluster, &id.to_string(), &try_).await.map_err(|f| went(id, f))?.object;
        let changes = diff_by_name(&untouched(&before), &untouched(&after));
        if changes.is_empty() {
            return Ok(());
        }
        changed = changes.iter().map(|change| change.path.to_dotted()).collect();
    }
    Err(Failure::refused(format!(
        "taking {id} over would change {} there; leave the object out, and tell its owner",
        changed.join(", ")
    )))
}

async fn send(
    member: &Member,
    id: &ObjectId,
    request: Result<Request<Vec<u8>>, http::Error>,
) -> Outcome<Value> {
    let request = request.map_err(|error| Failure::failed(error.to_string()))?;
    let answer = member.cluster.ask(&id.to_string(), member.cluster.client.request(request)).await;
    answer.map_err(|failure| went(id, failure))
}

fn went(id: &ObjectId, failure: Failure) -> Failure {
    match failure.exit {
        Exit::NotFound => Failure::refused(format!("{id} went away meanwhile; try again")),
        _ => failure,
    }
}
