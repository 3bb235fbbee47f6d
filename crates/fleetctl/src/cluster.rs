//! `fleetctl cluster`: the members of the fleet.

use fleet_api::{ManagedCluster, conditions};
use kube::ResourceExt as _;

use crate::access::Access;
use crate::args::{ClusterArgs, ClusterCommand, Global, Output};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::output::Streams;
use crate::roster::Roster;
use crate::table::Table;
use crate::version::write;

/// Does it.
///
/// # Errors
/// See the exit codes.
pub async fn run(environment: &Environment, global: &Global, arguments: &ClusterArgs) -> Outcome {
    let hub = Access::load(environment, global)?.hub().await?;
    let roster = Roster::load(&hub).await?;
    let streams = &environment.streams;
    match &arguments.command {
        ClusterCommand::List(format) => match format.output {
            Some(format) => streams.print(&objects(format, roster.all())?),
            None => list(streams, &roster),
        },
        ClusterCommand::Status(wanted) => {
            let cluster = roster.find(&wanted.name)?;
            match wanted.output.output {
                Some(format) => streams.print(&object(format, cluster)?),
                None => status(streams, cluster),
            }
        }
    }
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

fn list(streams: &Streams, roster: &Roster) -> Outcome {
    if roster.all().is_empty() {
        return streams.line("no members");
    }
    let mut table = Table::new(["NAME", "ALIAS", "ACCEPTED", "JOINED", "AVAILABLE", "VERSION"]);
    for cluster in roster.all() {
        let version = cluster.status.as_ref().and_then(|status| status.version.as_ref());
        table.row([
            cluster.name_any(),
            cluster.alias().unwrap_or_default().to_owned(),
            cluster.spec.hub_accepts_client.to_string(),
            condition(cluster, "Joined"),
            condition(cluster, "Available"),
            version.map(|version| version.kubernetes.clone()).unwrap_or_default(),
        ]);
    }
    streams.print(&table.to_string())
}

fn condition(cluster: &ManagedCluster, type_: &str) -> String {
    let all = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions::find(all, type_).map_or_else(|| "Unknown".to_owned(), |condition| condition.status.clone())
}

fn status(streams: &Streams, cluster: &ManagedCluster) -> Outcome {
    let mut table = Table::bare();
    table.row(["Name", &cluster.name_any()]);
    table.row(["Alias", cluster.alias().unwrap_or("-")]);
    table.row([
        "Accepted",
        if cluster.spec.hub_accepts_client { "true" } else { "false: it receives nothing" },
    ]);
    if let Some(uid) = cluster.recorded_uid() {
        table.row(["UID", uid]);
    }
    let labels: Vec<String> = cluster.labels().iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !labels.is_empty() {
        table.row(["Labels", &labels.join(", ")]);
    }
    let all = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    for condition in all {
        let said = format!("{} ({}) {}", condition.status, condition.reason, condition.message);
        table.row([condition.type_.as_str(), said.trim_end()]);
    }
    streams.print(&table.to_string())
}

fn typed(cluster: &ManagedCluster) -> Outcome<serde_json::Value> {
    let mut cluster = cluster.clone();
    cluster.metadata.managed_fields = None;
    serde_json::to_value(&cluster).map_err(|error| Failure::failed(error.to_string()))
}

fn object(format: Output, cluster: &ManagedCluster) -> Outcome<String> {
    write(format, &typed(cluster)?)
}

fn objects(format: Output, clusters: &[ManagedCluster]) -> Outcome<String> {
    let items = clusters.iter().map(typed).collect::<Outcome<Vec<_>>>()?;
    write(format, &serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}
