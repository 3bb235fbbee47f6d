//! `fleetctl drift hold|release|holds`

use fleet_api::{DriftHold, DriftHoldSpec};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use crate::access::Access;
use crate::application::Place;
use crate::args::{DriftHoldArgs, DriftHoldsArgs, DriftReleaseArgs, Global};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::roster::Roster;
use crate::table::Table;
use crate::version::write;

/// The longest hold: whoever needs longer takes the member or the fields out.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 31);

pub(super) async fn hold(environment: &Environment, global: &Global, arguments: &DriftHoldArgs) -> Outcome {
    let lasts = SignedDuration::try_from(arguments.lasts).unwrap_or(SignedDuration::MAX);
    if lasts > LONGEST {
        return Err(Failure::usage("--for must be at most 31 days: a hold is for work by hand, and ends"));
    }
    if arguments.reason.trim().is_empty() {
        return Err(Failure::usage("--reason is empty; say why, others will wonder"));
    }
    let place = Place::find(environment, global, &arguments.app).await?;
    let app = place.lasting("hold").await?;
    let roster = Roster::load(&place.hub).await?;
    let chosen = roster.select(&arguments.members)?;
    let until = environment.now().checked_add(lasts).map_err(|error| Failure::usage(error.to_string()))?;
    let by = place.hub.asker().await.user;
    let clusters: Vec<String> = chosen.iter().map(|cluster| cluster.name_any()).collect();
    let spec = DriftHoldSpec {
        application: place.name.clone(),
        clusters: clusters.clone(),
        until,
        reason: arguments.reason.clone(),
        by,
    };
    let mut hold = DriftHold::new("", spec);
    hold.metadata.name = None;
    hold.metadata.generate_name = Some(format!("{}-", place.name));
    hold.owner_references_mut().extend(app.owner_ref(&()));
    let made = place.hub.ask("the DriftHold", holds(&place).create(&PostParams::default(), &hold)).await?;
    let labels: Vec<String> = clusters.iter().map(|name| roster.label(name)).collect();
    environment.streams.line(&format!(
        "{} is held on {} until {until}: drift there is shown and left, and nothing new is sent; end it with: {} ({})",
        place.name,
        labels.join(", "),
        place.command("drift release"),
        made.name_any()
    ))
}

fn holds(place: &Place) -> Api<DriftHold> {
    Api::namespaced(place.hub.client.clone(), &place.namespace)
}

pub(super) async fn release(
    environment: &Environment,
    global: &Global,
    arguments: &DriftReleaseArgs,
) -> Outcome {
    let place = Place::find(environment, global, &arguments.app).await?;
    let found = place.application().await;
    let members: Vec<String> = match arguments.members.members.as_slice() {
        [] => Vec::new(),
        wanted => {
            let roster = Roster::load(&place.hub).await?;
            roster.select(wanted)?.iter().map(|cluster| cluster.name_any()).collect()
        }
    };
    let api = holds(&place);
    let listed = place.hub.ask("the list of DriftHolds", api.list(&ListParams::default())).await?;
    let mut released = Vec::new();
    for hold in listed.items.iter().filter(|hold| hold.spec.application == place.name) {
        let name = hold.name_any();
        let doing = format!("DriftHold {name}");
        let rest: Vec<&String> = hold.spec.clusters.iter().filter(|c| !members.contains(c)).collect();
        if members.is_empty() || (rest.is_empty() && !hold.spec.clusters.is_empty()) {
            place.hub.ask(&doing, api.delete(&name, &DeleteParams::default())).await?;
            released.push(name);
        } else if hold.spec.clusters.is_empty() {
            return Err(Failure::refused(format!(
                "the hold {name} is about every member; end it as a whole with: {}",
                place.command("drift release")
            )));
        } else if rest.len() < hold.spec.clusters.len() {
            let patch =
                json!({"metadata": {"resourceVersion": hold.resource_version()}, "spec": {"clusters": rest}});
            place.hub.ask(&doing, api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))).await?;
            released.push(name);
        }
    }
    if released.is_empty() {
        // A hold may outlast its Application; a name that means nothing is a mistake.
        found?;
        environment.streams.note(&format!("nobody holds {}{}", place.name, where_(&members)));
        return Ok(());
    }
    environment.streams.line(&format!(
        "released {}{}: drift is taken back and what waits goes on",
        place.name,
        where_(&members)
    ))
}

fn where_(members: &[String]) -> String {
    if members.is_empty() { String::new() } else { format!(" on {}", members.join(", ")) }
}

pub(super) async fn list(environment: &Environment, global: &Global, arguments: &DriftHoldsArgs) -> Outcome {
    let access = Access::load(environment, global)?;
    let hub = access.hub().await?;
    let namespace = access.namespace(&hub);
    let api: Api<DriftHold> = if arguments.all_namespaces {
        Api::all(hub.client.clone())
    } else {
        Api::namespaced(hub.client.clone(), &namespace)
    };
    let listed = hub.ask("the list of DriftHolds", api.list(&ListParams::default())).await;
    let now = environment.now();
    let mut holds = listed.map_err(|failure| hub.no_hub(failure))?.items;
    holds.retain(|hold| hold.spec.until > now);
    holds.sort_by_key(|hold| hold.spec.until);
    if let Some(format) = arguments.output.output {
        let items: Vec<Value> = holds.iter().map(to_value).collect();
        return environment.streams.print(&write(format, &json!({ "items": items }))?);
    }
    if holds.is_empty() {
        environment.streams.note("nothing is held");
        return Ok(());
    }
    let mut headings = vec!["APPLICATION", "CLUSTERS", "ENDS IN", "BY", "REASON"];
    if arguments.all_namespaces {
        headings.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(headings);
    for hold in &holds {
        let mut cells = cells(hold, now);
        if arguments.all_namespaces {
            cells.insert(0, hold.namespace().unwrap_or_default());
        }
        table.row(cells);
    }
    environment.streams.print(&table.to_string())
}

fn cells(hold: &DriftHold, now: Timestamp) -> Vec<String> {
    let spec = &hold.spec;
    let clusters = if spec.clusters.is_empty() { "all".to_owned() } else { spec.clusters.join(", ") };
    let by = if spec.by.is_empty() { "-" } else { &spec.by };
    vec![
        spec.application.clone(),
        clusters,
        crate::application::age(now, spec.until),
        by.to_owned(),
        spec.reason.clone(),
    ]
}

fn to_value(hold: &DriftHold) -> Value {
    json!({
        "namespace": hold.namespace(), "name": hold.name_any(), "application": hold.spec.application,
        "clusters": hold.spec.clusters, "until": hold.spec.until, "by": hold.spec.by, "reason": hold.spec.reason,
    })
}
