//! `fleetctl why`: who set each field of an object on a member.
//!
//! ```text
//!  the live object ──► leaves ─┬─ delivered as it stands ──► who set it in the revision (provenance)
//!  managedFields ──────────────┼─ somebody else's ─────────► the field manager
//!                              └─ nobody's ────────────────► the member's API server
//! ```

mod fields;
mod object;
mod show;

use fleet_controller::delivered;

use crate::access::Access;
use crate::application::plan::gather::reach;
use crate::args::{Global, WhyArgs};
use crate::cluster::Hub;
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::roster::{Roster, label};

/// Does it.
///
/// # Errors
/// See the exit codes.
pub async fn run(environment: &Environment, global: &Global, arguments: &WhyArgs) -> Outcome {
    let (kind, name) = object::words(&arguments.object)?;
    let wanted = arguments.field.as_deref().map(fields::parse).transpose()?;
    let access = Access::load(environment, global)?;
    let cluster = access.hub().await?;
    let namespace = access.namespace(&cluster);
    let hub = Hub { called: access.called(), cluster, access };
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.member)?;
    let place = label(member);
    let on = |failure: Failure| Failure::new(failure.exit, format!("{place}: {}", failure.message));
    let reached = reach(&hub, member, hub.cluster.deadline).await.map_err(on)?;
    let (id, live) = object::read(&reached, &kind, &name, &namespace).await.map_err(on)?;
    let app = object::application(&hub, &live, &id, &place, arguments, &namespace).await?;
    let cluster = member.metadata.name.as_deref().unwrap_or_default();
    let asked = delivered(&hub.cluster.client, &app, cluster, &id);
    let found = match Box::pin(tokio::time::timeout(hub.cluster.deadline, asked)).await {
        Ok(found) => {
            found.map_err(|error| Failure::failed(format!("what was delivered of {id}: {error}")))?
        }
        Err(_) => return Err(hub.cluster.silent("what was delivered")),
    };
    let Some(delivered) = found else { return Err(object::not_in_inventory(&hub, &app, &id, &place, &live)) };
    let explained = fields::explain(&id, &live, &delivered);
    let explained = match wanted {
        Some(wanted) => fields::within(explained, &wanted, &live, &id)?,
        None => explained,
    };
    let head = show::Head { place: &place, cluster, id: &id, app: &app, delivered: &delivered };
    match arguments.output.output {
        Some(format) => environment.streams.print(&show::for_programs(format, &head, &explained)?),
        None => environment.streams.print(&show::for_people(&head, &explained)),
    }
}
