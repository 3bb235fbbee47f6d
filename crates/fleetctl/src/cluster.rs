//! `fleetctl cluster`: the members of the fleet.
//!
//! ```text
//!  join ─► kubeconfig ─► checks: trouble, naming, rights ─► account (a plan) ─► member (makes it) ─► record (the hub)
//!  list, status ─► holdings: what the hub has on record          probe, rotate, rejoin, detach ─► member
//! ```

mod account;
mod detach;
mod holdings;
mod join;
mod kubeconfig;
mod list;
mod look_after;
mod member;
pub(crate) mod naming;
mod probe;
mod profile;
pub(crate) mod question;
mod record;
mod rename;
mod renew;
mod rights;
mod status;
mod trouble;

pub(crate) use list::table;
pub(crate) use look_after::plural;
pub(crate) use renew::Admin;

use crate::access::{Access, Cluster};
use crate::args::{ClusterArgs, ClusterCommand, Global};
use crate::environment::Environment;
use crate::exit::Outcome;

/// The hub, and the user's other ways.
pub(crate) struct Hub {
    pub(crate) cluster: Cluster,
    pub(crate) access: Access,
    /// What the user types to call this program.
    pub(crate) called: &'static str,
}

/// Does it.
///
/// # Errors
/// See the exit codes.
pub async fn run(environment: &Environment, global: &Global, arguments: &ClusterArgs) -> Outcome {
    let access = Access::load(environment, global)?;
    let cluster = access.hub().await?;
    let hub = Hub { called: access.called(), cluster, access };
    match &arguments.command {
        ClusterCommand::List(arguments) => list::run(environment, &hub, arguments).await,
        ClusterCommand::Status(arguments) => status::run(environment, &hub, arguments).await,
        ClusterCommand::Join(arguments) => Box::pin(join::run(environment, &hub, arguments)).await,
        ClusterCommand::Probe(arguments) => probe::run(environment, &hub, arguments).await,
        ClusterCommand::Label(arguments) => look_after::label(environment, &hub, arguments).await,
        ClusterCommand::Alias(arguments) => look_after::alias(environment, &hub, arguments).await,
        ClusterCommand::Rename(arguments) => Box::pin(rename::run(environment, &hub, arguments)).await,
        ClusterCommand::Rotate(arguments) => Box::pin(renew::rotate(environment, &hub, arguments)).await,
        ClusterCommand::Cordon(arguments) => look_after::cordon(environment, &hub, arguments).await,
        ClusterCommand::Uncordon(arguments) => look_after::uncordon(environment, &hub, arguments).await,
        ClusterCommand::Rejoin(arguments) => Box::pin(renew::rejoin(environment, &hub, arguments)).await,
        ClusterCommand::Detach(arguments) => Box::pin(detach::run(environment, &hub, arguments)).await,
    }
}
