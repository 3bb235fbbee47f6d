//! `fleetctl adopt`: an Application of what runs on members already.
//!
//! ```text
//!  words ─► found: live objects of each member ─► said: what each decides ─► manifest: one Application
//!                refusals: whose they are                                      overrides where members differ
//!                                                 trial: a dry run on every member changes labels only ─► the hub
//! ```
//!
//! The objects are written into the Application: on the hub nothing of them exists, so nothing starts there.

pub(crate) mod found;
mod manifest;
mod owners;
pub(crate) mod said;
mod show;
pub(crate) mod trial;

use fleet_api::{Application, ManagedCluster, names};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};

use crate::access::Access;
use crate::application::Place;
use crate::args::{AdoptArgs, Global};
use crate::cluster::{Hub, question};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::roster::Roster;
use crate::version::write;

use found::{Found, Member};
use manifest::Manifest;

/// Who writes the Application.
const MANAGER: &str = "fleetctl";

/// Does it.
///
/// # Errors
/// See the exit codes.
pub async fn run(environment: &Environment, global: &Global, arguments: &AdoptArgs) -> Outcome {
    let request = found::request(&arguments.objects, arguments.selector.as_deref())?;
    let access = Access::load(environment, global)?;
    let cluster = access.hub().await?;
    let place = Place {
        namespace: access.namespace(&cluster),
        name: arguments.app.clone(),
        called: access.called(),
        hub: cluster.clone(),
    };
    let hub = Hub { called: access.called(), cluster, access };
    is_free(&place).await?;
    let roster = Roster::load(&hub.cluster).await?;
    let chosen = chosen(&roster, &arguments.from)?;
    let inside = arguments.namespace_on_member.as_deref().unwrap_or(&place.namespace);
    let owner = owner(&place).await?;
    let members = Member::reach_all(&hub, &chosen, inside).await?;
    let Found { objects, notes } =
        found::read(&members, &request, owner.as_deref(), found::adoptable).await?;
    let manifest = Manifest::of(&place, inside, &members, &objects)?;
    let manager = owner.unwrap_or_else(|| names::owner_hash("", &place.namespace, &place.name));
    let untried = trial::run(&members, &manifest, &place, &manager).await?;
    let note = |text: &str| environment.streams.note(text);
    notes.iter().chain(&untried).for_each(|text| note(text));
    if let Some(format) = arguments.output.output {
        return environment.streams.print(&write(format, &manifest.application)?);
    }
    environment.streams.print(&show::plan(&place, &members, &manifest, untried.is_empty()))?;
    if arguments.dry_run {
        note("dry run: nothing was written");
        return Ok(());
    }
    let application = manifest.read()?;
    // What the hub wouldn't take is said before anybody is asked.
    create(&place, &application, true).await?;
    let question = format!("Make the Application {}/{}?", place.namespace, place.name);
    question::agree(environment, &question, arguments.yes).await?;
    if !arguments.yes {
        // Whoever was asked may have thought about it for long.
        trial::run(&members, &manifest, &place, &manager).await?;
    }
    create(&place, &application, false).await?;
    environment.streams.print(&show::made(&place, &manifest))
}

/// Refuses where the Application is there already, or its namespace isn't.
async fn is_free(place: &Place) -> Outcome {
    let (name, namespace) = (&place.name, &place.namespace);
    let doing = format!("Application {namespace}/{name}");
    let known = place.hub.ask(&doing, place.applications().get_metadata_opt(name)).await;
    if known.map_err(|failure| place.hub.no_hub(failure))?.is_some() {
        return Err(taken(place));
    }
    let namespaces: Api<Namespace> = Api::all(place.hub.client.clone());
    match place.hub.ask(&format!("Namespace {namespace}"), namespaces.get_metadata_opt(namespace)).await {
        Ok(None) => Err(Failure::not_found(format!(
            "the hub has no namespace {namespace:?} for the Application; make it: kubectl create namespace {namespace}, or name another one with -n"
        ))),
        Ok(Some(_)) => Ok(()),
        // Who may not read namespaces may be allowed to make Applications all the same.
        Err(failure) if failure.exit == Exit::Refused => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn taken(place: &Place) -> Failure {
    Failure::refused(format!(
        "Application {}/{} is there already; adopt under another name, or add the objects to it by hand (docs/adoption.md)",
        place.namespace, place.name
    ))
}

/// The members, each once, in the order in which they are named.
pub(crate) fn chosen<'r>(roster: &'r Roster, wanted: &[String]) -> Outcome<Vec<&'r ManagedCluster>> {
    let mut members: Vec<&ManagedCluster> = Vec::new();
    for word in wanted.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
        let found = if word == "all" { roster.all().iter().collect() } else { vec![roster.find(word)?] };
        for member in found {
            if !members.iter().any(|known| known.name_any() == member.name_any()) {
                members.push(member);
            }
        }
    }
    if members.is_empty() {
        return Err(Failure::usage(
            "--from names no member; write names or aliases with commas between, or all",
        ));
    }
    Ok(members)
}

/// Whose the objects will be; nothing where the hub doesn't tell its identity to everybody.
async fn owner(place: &Place) -> Outcome<Option<String>> {
    let namespaces: Api<Namespace> = Api::all(place.hub.client.clone());
    match place.hub.ask("the hub's identity", namespaces.get_metadata("kube-system")).await {
        Ok(system) => {
            let hub = names::hub_identity(&system.metadata).unwrap_or_default();
            Ok(Some(names::owner_hash(hub, &place.namespace, &place.name)))
        }
        Err(failure) if matches!(failure.exit, Exit::Refused | Exit::NotFound) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Makes the Application; one that appeared meanwhile isn't touched.
async fn create(place: &Place, application: &Application, dry_run: bool) -> Outcome {
    let params = PostParams { dry_run, field_manager: Some(MANAGER.to_owned()) };
    let doing = format!("Application {}/{}", place.namespace, place.name);
    let api = place.applications();
    let created = place.hub.ask(&doing, api.create(&params, application)).await;
    created.map(|_| ()).map_err(|failure| match failure.exit {
        Exit::Refused if failure.message.contains("already exists") => taken(place),
        Exit::Refused => Failure::refused(format!(
            "{}; ask for that right on the hub, or hand the manifest (the same with -o yaml) to somebody who has it",
            failure.message
        )),
        _ => failure,
    })
}
