//! `fleetctl cluster list`

use fleet_api::{ManagedCluster, conditions, names};
use fleet_json::selector::LabelSelector;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::Hub;
use super::holdings::Holdings;
use crate::application::age;
use crate::args::{ClusterListArgs, ListOutput, Output};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::roster::Roster;
use crate::table::Table;
use crate::version::write;

pub(super) async fn run(environment: &Environment, hub: &Hub, arguments: &ClusterListArgs) -> Outcome {
    let selector = arguments.selector.as_deref().map(LabelSelector::parse).transpose();
    let selector = selector.map_err(|error| Failure::usage(format!("--selector: {error}")))?;
    let roster = Roster::load(&hub.cluster).await?;
    let chosen =
        |member: &&ManagedCluster| selector.as_ref().is_none_or(|selector| selector.matches(member.labels()));
    let members: Vec<&ManagedCluster> = roster.all().iter().filter(chosen).collect();
    let streams = &environment.streams;
    let wide = match arguments.output {
        Some(ListOutput::Json) => return streams.print(&objects(Output::Json, &members)?),
        Some(ListOutput::Yaml) => return streams.print(&objects(Output::Yaml, &members)?),
        Some(ListOutput::Name) => {
            let line = |member: &&ManagedCluster| {
                format!("managedcluster.cluster.open-cluster-management.io/{}\n", member.name_any())
            };
            return streams.print(&members.iter().map(line).collect::<String>());
        }
        Some(ListOutput::Wide) => true,
        None => false,
    };
    if members.is_empty() {
        let which = if selector.is_some() { " with these labels" } else { "" };
        streams.note(&format!("no members{which}; take one in: {} cluster join KUBECONFIG", hub.called));
        return Ok(());
    }
    // Who may see the members may not always see what is on them.
    let holdings = Holdings::load(&hub.cluster).await.ok();
    streams.print(&rows(&members, holdings.as_ref(), wide, environment.now()).to_string())
}

fn rows(members: &[&ManagedCluster], holdings: Option<&Holdings>, wide: bool, now: Timestamp) -> Table {
    let mut headings = vec!["NAME", "ALIAS", "ACCEPTED", "AVAILABLE", "VERSION", "APPLICATIONS", "AGE"];
    if wide {
        headings.extend(["PROFILE", "UID", "LABELS"]);
    }
    let mut table = Table::new(headings);
    for member in members {
        let applications = holdings.map(|holdings| {
            let mut all: Vec<String> =
                holdings.on(&member.name_any()).iter().map(|one| one.shown()).collect();
            all.dedup();
            all.len().to_string()
        });
        let version = member.status.as_ref().and_then(|status| status.version.as_ref());
        let version = version.map(|version| version.kubernetes.clone()).filter(|version| !version.is_empty());
        let made = member.creation_timestamp().map(|time| age(time.0, now));
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let mut cells = vec![
            member.name_any(),
            or_dash(member.alias().map(str::to_owned)),
            accepted(member).to_owned(),
            condition(member, "Available"),
            or_dash(version),
            or_dash(applications),
            or_dash(made),
        ];
        if wide {
            cells.push(or_dash(member.annotations().get(names::MEMBER_PROFILE).cloned()));
            cells.push(or_dash(member.recorded_uid().map(str::to_owned)));
            let labels = labels(member);
            cells.push(or_dash(Some(labels).filter(|labels| !labels.is_empty())));
        }
        table.row(cells);
    }
    table
}

/// Whether it receives, in a word.
pub(super) fn accepted(member: &ManagedCluster) -> &'static str {
    let annotations = member.annotations();
    if annotations.contains_key(names::DETACHING) {
        "detaching"
    } else if annotations.contains_key(names::JOINING) {
        "joining"
    } else if !member.spec.hub_accepts_client {
        "false"
    } else if annotations.contains_key(names::CORDONED) {
        "cordoned"
    } else {
        "true"
    }
}

pub(super) fn labels(member: &ManagedCluster) -> String {
    let all: Vec<String> = member.labels().iter().map(|(key, value)| format!("{key}={value}")).collect();
    all.join(",")
}

fn condition(member: &ManagedCluster, type_: &str) -> String {
    let all = member.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions::find(all, type_).map_or_else(|| "Unknown".to_owned(), |condition| condition.status.clone())
}

/// A member as it is written for programs.
pub(super) fn typed(member: &ManagedCluster) -> Outcome<Value> {
    let mut member = member.clone();
    member.metadata.managed_fields = None;
    serde_json::to_value(&member).map_err(|error| Failure::failed(error.to_string()))
}

fn objects(format: Output, members: &[&ManagedCluster]) -> Outcome<String> {
    let items = members.iter().map(|member| typed(member)).collect::<Outcome<Vec<_>>>()?;
    write(format, &json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}

/// The members under the headings that `get managedcluster` has always had.
pub(crate) fn table(clusters: &[&ManagedCluster], headings: bool) -> Table {
    let mut table = if headings { Table::new(["Name", "Alias", "HubAccepted"]) } else { Table::bare() };
    for cluster in clusters {
        let accepted = cluster.spec.hub_accepts_client.to_string();
        table.row([cluster.name_any(), cluster.alias().unwrap_or_default().to_owned(), accepted]);
    }
    table
}
