//! `fleetctl cluster status`: told from what the hub has on record, so that it also works while a member doesn't answer.

use fleet_api::{ManagedCluster, names};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::holdings::{Holding, Holdings};
use super::{Hub, list};
use crate::args::ClusterStatusArgs;
use crate::environment::Environment;
use crate::exit::Outcome;
use crate::roster::Roster;
use crate::table::Table;
use crate::version::write;

pub(super) async fn run(environment: &Environment, hub: &Hub, arguments: &ClusterStatusArgs) -> Outcome {
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.name)?;
    let holdings = Holdings::load(&hub.cluster).await?.on(&member.name_any());
    if let Some(format) = arguments.output.output {
        let applications: Vec<Value> = holdings.iter().map(Holding::to_value).collect();
        let all = json!({ "cluster": list::typed(member)?, "applications": applications });
        return environment.streams.print(&write(format, &all)?);
    }
    environment.streams.print(&(facts(member).to_string() + &applications(&holdings)))
}

fn facts(member: &ManagedCluster) -> Table {
    let annotations = member.annotations();
    let mut table = Table::bare();
    table.row(["Name", &member.name_any()]);
    table.row(["Alias", member.alias().unwrap_or("-")]);
    table.row(["Accepted", &accepted(member)]);
    let status = member.status.as_ref();
    if let Some(version) = status.and_then(|status| status.version.as_ref()) {
        table.row(["Version", &version.kubernetes]);
    }
    if let Some(uid) = member.recorded_uid() {
        table.row(["UID", uid]);
    }
    let labels = list::labels(member);
    if !labels.is_empty() {
        table.row(["Labels", &labels]);
    }
    for (heading, name) in [
        ("Account", names::MEMBER_ACCOUNT),
        ("Profile", names::MEMBER_PROFILE),
        ("Namespaces", names::MEMBER_NAMESPACES),
        ("Acts as", names::MEMBER_IMPERSONATES),
    ] {
        if let Some(value) = annotations.get(name) {
            table.row([heading, value]);
        }
    }
    if let Some(allocatable) = status.map(|status| &status.allocatable).filter(|all| !all.is_empty()) {
        let all: Vec<String> = allocatable.iter().map(|(name, amount)| format!("{name} {amount}")).collect();
        table.row(["Allocatable", &all.join(", ")]);
    }
    for condition in status.map(|status| status.conditions.as_slice()).unwrap_or_default() {
        let said = format!("{} ({}) {}", condition.status, condition.reason, condition.message);
        table.row([condition.type_.as_str(), said.trim_end()]);
    }
    table
}

fn accepted(member: &ManagedCluster) -> String {
    let reason = member.annotations().get(names::CORDONED).filter(|reason| *reason != "true");
    match list::accepted(member) {
        "true" => "true".to_owned(),
        "cordoned" => format!(
            "cordoned: nothing is delivered to it{}",
            reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
        ),
        "joining" => "joining: it receives nothing until its join is completed".to_owned(),
        "detaching" => "detaching: it receives nothing; the same detach again completes it".to_owned(),
        _ => "false: it receives nothing".to_owned(),
    }
}

fn applications(holdings: &[Holding]) -> String {
    if holdings.is_empty() {
        return "\nno application is on it, or on its way there\n".to_owned();
    }
    let mut table = Table::new(["APPLICATION", "NAMESPACE THERE", "REVISION", "OBJECTS", "PENDING"]);
    for holding in holdings {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        table.row([
            holding.shown(),
            holding.target.clone(),
            or_dash(&holding.revision),
            holding.objects_in_words(),
            or_dash(&holding.pends),
        ]);
    }
    format!("\n{table}")
}
