//! `fleetctl cluster probe`: asks a member now, as the hub would.

use std::time::Duration;

use kube::ResourceExt as _;
use serde_json::json;

use super::account::{self, Account};
use super::profile::{DELIVER, Profile, SYSTEM};
use super::rights::{self, Right};
use super::trouble::Door;
use super::{Hub, kubeconfig, member, record};
use crate::access::Cluster;
use crate::args::ProbeArgs;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::roster::{Roster, label};
use crate::table::Table;
use crate::version::write;

/// What was found.
#[derive(Default)]
struct Found {
    endpoint: String,
    version: String,
    uid: String,
    latency: Duration,
    rights: usize,
    missing: Vec<String>,
    /// Whether the rights are somebody else's business: what is missing is told, and no failure.
    lenient: bool,
    warning: Option<String>,
}

pub(super) async fn run(environment: &Environment, hub: &Hub, arguments: &ProbeArgs) -> Outcome {
    let roster = Roster::load(&hub.cluster).await?;
    let cluster = roster.find(&arguments.name)?;
    let (secret, credentials) = record::stored(&hub.cluster, cluster, hub.called).await?;
    let (name, server) = (cluster.name_any(), credentials.endpoint());
    let client = credentials
        .client()
        .map_err(|error| Failure::failed(format!("the credentials of {name}: {error}")))?;
    let there = Cluster::of_member(client, &name, &server, hub.cluster.deadline);
    let place = format!("Secret {}/{}", secret.namespace().unwrap_or_default(), secret.name_any());
    let key = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    let door = Door {
        server: &server,
        who: &format!("the hub ({place})"),
        authority: &format!("ca.crt of {place}"),
        expires: match key("tls.crt") {
            Some(certificate) => kubeconfig::certificate_end(certificate),
            None => key("token").and_then(|token| kubeconfig::token_end(&String::from_utf8_lossy(token))),
        },
        renew: &format!("make new ones: {} cluster rotate {name} KUBECONFIG", hub.called),
    };
    let before = tokio::time::Instant::now();
    let outcome = member::identify(&there, &door, environment.now()).await;
    let latency = before.elapsed();
    let identity = match outcome {
        Ok(identity) => identity,
        Err(failure) => return unreachable(environment, arguments, &name, &server, failure),
    };
    let hub_uid = record::hub_uid(&hub.cluster).await?;
    let (needs, lenient) = expected(cluster, &fleet_api::names::hub_hash(&hub_uid));
    let missing = rights::missing(&there, &needs).await?;
    let found = Found {
        endpoint: server,
        latency,
        rights: needs.len(),
        missing: missing.iter().map(ToString::to_string).collect(),
        lenient,
        warning: member::supported(&identity.version).unwrap_or_else(|failure| Some(failure.message)),
        version: identity.version,
        uid: identity.uid,
    };
    let recorded = cluster.recorded_uid().unwrap_or_default();
    tell(environment, arguments, &label(cluster), recorded, &found)?;
    if !recorded.is_empty() && recorded != found.uid {
        return Err(Failure::refused(format!(
            "{} is another cluster than the one that joined (UID {}, recorded {recorded}): nothing is delivered to it; if that is meant: {} cluster rejoin {name}",
            label(cluster),
            found.uid,
            hub.called
        )));
    }
    if !found.missing.is_empty() && !lenient {
        return Err(Failure::refused(format!(
            "the hub's account on {} may not: {}; make it anew: {} cluster join KUBECONFIG --name {name}",
            label(cluster),
            found.missing.join(", "),
            hub.called
        )));
    }
    Ok(())
}

/// The rights that a member's profile needs, and whether they are somebody else's business.
fn expected(cluster: &fleet_api::ManagedCluster, hub: &str) -> (Vec<Right>, bool) {
    match Profile::recorded(cluster) {
        Some(profile) => {
            let account = Account::recorded(cluster, hub).unwrap_or_else(|| Account::of_hub(hub));
            (account::expected(hub, &account, &profile), account.given)
        }
        None => {
            let mut needs = vec![Right::new("get", "", "namespaces").named(SYSTEM)];
            needs.extend(DELIVER.iter().map(|verb| Right::new(verb, "*", "*")));
            (needs, true)
        }
    }
}

fn unreachable(
    environment: &Environment,
    arguments: &ProbeArgs,
    name: &str,
    server: &str,
    failure: Failure,
) -> Outcome {
    if let Some(format) = arguments.output.output {
        let facts = json!({
            "cluster": name, "endpoint": server, "reachable": failure.exit != Exit::Unreachable, "problem": failure.message,
        });
        environment.streams.print(&write(format, &facts)?)?;
    }
    Err(failure)
}

fn tell(
    environment: &Environment,
    arguments: &ProbeArgs,
    shown: &str,
    recorded: &str,
    found: &Found,
) -> Outcome {
    let milliseconds = found.latency.as_millis();
    if let Some(format) = arguments.output.output {
        let facts = json!({
            "cluster": shown, "endpoint": found.endpoint, "reachable": true, "latencyMilliseconds": milliseconds,
            "version": found.version, "uid": found.uid, "recordedUid": recorded,
            "rights": found.rights, "missing": found.missing, "warning": found.warning,
        });
        return environment.streams.print(&write(format, &facts)?);
    }
    let mut table = Table::bare();
    table.row(["Cluster", shown]);
    table.row(["Reachable", &format!("yes, {} in {milliseconds} ms", found.endpoint)]);
    let warning = found.warning.as_ref().map(|warning| format!(": {warning}")).unwrap_or_default();
    table.row(["Version", &format!("{}{warning}", found.version)]);
    let same = match recorded {
        "" => "nothing is recorded yet".to_owned(),
        recorded if recorded == found.uid => "the one that joined".to_owned(),
        recorded => format!("another one joined: {recorded}"),
    };
    table.row(["UID", &format!("{}, {same}", found.uid)]);
    let rights = match (found.missing.is_empty(), found.lenient) {
        (true, _) => format!("all {} that are needed", found.rights),
        (false, true) => format!("what needs these will fail there: {}", found.missing.join(", ")),
        (false, false) => format!("missing: {}", found.missing.join(", ")),
    };
    table.row(["Rights", &rights]);
    environment.streams.print(&table.to_string())
}
