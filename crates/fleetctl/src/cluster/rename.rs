//! `fleetctl cluster rename`: a ManagedCluster's name can't change, so it is registered anew, while nothing of any
//! application is there. Inventories, runs and policies name members; rewriting them under a controller that is reading
//! them would be guessing.

use fleet_api::{ManagedCluster, names};
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};

use super::holdings::{Holding, Holdings};
use super::member::Identity;
use super::record::Registration;
use super::renew::Admin;
use super::{Hub, look_after, naming, record};
use crate::args::RenameArgs;
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::roster::{Roster, label};

pub(super) async fn run(environment: &Environment, hub: &Hub, arguments: &RenameArgs) -> Outcome {
    let new = arguments.new.as_str();
    naming::name(new).map_err(Failure::usage)?;
    let roster = Roster::load(&hub.cluster).await?;
    let begun = begun(&roster, &arguments.name, new);
    let old = match (roster.find(&arguments.name), begun) {
        (Ok(old), _) => old.clone(),
        // A rename that was cut short after the old name had gone.
        (Err(_), Some(half)) => half.clone(),
        (Err(failure), None) => return Err(failure),
    };
    let name = old.name_any();
    if begun.is_none() {
        if new == name {
            return environment
                .streams
                .line(&format!("managedcluster {} has that name already", label(&old)));
        }
        if roster.all().iter().any(|member| member.name_any() == new) {
            return Err(Failure::refused(format!(
                "the name {new:?} is taken by another member; choose another one"
            )));
        }
        naming::free(&roster, new, None, &name)?;
    }
    unused(hub, &old).await?;
    let (_, credentials) = record::stored(&hub.cluster, &old, hub.called).await?;
    let identity = match old.recorded_uid() {
        Some(uid) => {
            let version = old.status.as_ref().and_then(|status| status.version.as_ref());
            let version = version.map(|version| version.kubernetes.clone()).unwrap_or_default();
            Identity { uid: uid.to_owned(), version }
        }
        None => Admin::find(hub, &old, None, None).await?.identify(environment).await?,
    };
    let mut kept: Map<String, Value> = Map::new();
    for (key, value) in old.annotations().iter().filter(|(key, _)| key.as_str() != names::JOINING) {
        kept.insert(key.clone(), json!(value));
    }
    let registration = Registration {
        name: new.to_owned(),
        alias: old.alias().map(str::to_owned),
        labels: old.labels().iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        access: kept,
        identity,
        credentials,
    };
    let accept = old.spec.hub_accepts_client || begun.is_some();
    let begin = record::Begin { why: format!("{RENAMED}{}", arguments.name), accept };
    // The new name begins, unaccepted; the old one goes; the new one is accepted: at no time two receive.
    record::begin(&hub.cluster, &roster, &registration, &begin).await?;
    record::put_secret(&hub.cluster, &registration.credentials.secret(names::SYSTEM_NAMESPACE, new)).await?;
    if name != new {
        record::forget(&hub.cluster, &name).await?;
    }
    record::complete(&hub.cluster, &registration, accept, environment.now()).await?;
    environment.streams.line(&format!("managedcluster {name} renamed to {new}"))
}

/// Before the old name, in the note on a member that is being renamed.
const RENAMED: &str = "renamed from ";

fn begun<'r>(roster: &'r Roster, old: &str, new: &str) -> Option<&'r ManagedCluster> {
    let note = format!("{RENAMED}{old}");
    roster
        .all()
        .iter()
        .find(|member| member.name_any() == new && member.annotations().get(names::JOINING) == Some(&note))
}

/// Whether nothing names it.
async fn unused(hub: &Hub, member: &ManagedCluster) -> Outcome {
    let name = member.name_any();
    let advice = format!("give it an alias instead: {} cluster alias {name} ALIAS", hub.called);
    if member.labels().contains_key(crate::embedded::EMBEDDED) {
        return Err(Failure::refused(format!(
            "member {name} runs in the hub's process, which knows it by that name; {advice}"
        )));
    }
    let held = Holdings::load(&hub.cluster).await?.on(&name);
    if !held.is_empty() {
        let mut all: Vec<String> = held.iter().map(Holding::shown).collect();
        all.dedup();
        return Err(Failure::refused(format!(
            "member {name} can't be renamed while applications are on it or on their way there, since their inventories name it: {}; {advice}",
            all.join(", ")
        )));
    }
    let users = look_after::mentions(hub, &name).await?;
    if !users.is_empty() {
        return Err(Failure::refused(format!(
            "member {name} can't be renamed while policies name it: {}; {advice}",
            users.join(", ")
        )));
    }
    Ok(())
}
