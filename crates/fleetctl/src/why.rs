//! `fleetctl why`: who set each field of an object on a member; of what policies distribute also which policy has it, which
//! others don't, and what each override made of it.
//!
//! ```text
//!  the live object ──► leaves ─┬─ delivered as it stands ──► who set it in the revision, or by policies (provenance)
//!  managedFields ──────────────┼─ somebody else's ─────────► the field manager
//!                              └─ nobody's ────────────────► the member's API server
//! ```

mod fields;
mod object;
mod policies;
mod show;

use std::time::Duration;

use fleet_api::{ManagedCluster, ObjectId, conditions};
use fleet_controller::{Distributed, PreviewError, delivered, distributed};
use fleet_json::FieldPath;
use serde_json::Value;

use crate::access::Access;
use crate::application::plan::gather::reach;
use crate::args::{Global, WhyArgs};
use crate::cluster::Hub;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::get::catalogue::Catalogue;
use crate::roster::{Roster, label};

/// How long a member is waited for that was silent when the controller last asked.
const SILENT: Duration = Duration::from_secs(3);

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
    if arguments.member == "all" || arguments.member.contains(',') {
        return Err(Failure::usage(format!(
            "-m {}: why is about one cluster at a time; name one of {} cluster list",
            arguments.member, hub.called
        )));
    }
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.member)?;
    let place = label(member);
    let on = |failure: Failure| Failure::new(failure.exit, format!("{place}: {}", failure.message));
    let at = At { hub: &hub, place: &place, cluster: member.metadata.name.as_deref().unwrap_or_default() };
    let reached = match reach(&hub, member, patience(&hub, member)).await {
        Ok(reached) => reached,
        // What the hub knows is told all the same.
        Err(failure) if failure.exit == Exit::Unreachable && arguments.app.is_none() => {
            let catalogue = Catalogue::load(&hub.cluster).await?;
            let (_, id) = object::identify(&catalogue, &kind, &name, &namespace)?;
            let Some(found) = at.by_policies(&id).await? else {
                let record = object::on_record(&hub, at.cluster, &id).await?;
                return Err(object::unseen(&hub, &id, (at.place, at.cluster), &failure, record));
            };
            environment.streams.note(&format!("{place}: {}; what the hub knows:", failure.message));
            return at.print(environment, arguments, &at.head(&found), Vec::new());
        }
        Err(failure) => return Err(on(failure)),
    };
    let (id, live) = object::read(&reached, &kind, &name, &namespace).await.map_err(on)?;
    let live = match live {
        Ok(live) => live,
        Err(missing) if arguments.app.is_none() => {
            // Policies may say why it isn't there.
            let Some(found) = at.by_policies(&id).await? else {
                return Err(object::not_there(&hub, on(missing), &id, &place).await);
            };
            return at.print(environment, arguments, &at.head(&found), Vec::new());
        }
        Err(missing) => return Err(on(missing)),
    };
    let within = |explained: Vec<fields::Field>| match &wanted {
        Some(wanted) => fields::within(explained, wanted, &live, &id),
        None => Ok(explained),
    };
    // What policies say of it, whosever it is.
    let told = |found: &Distributed, whose: Whose| {
        let nothing = Value::Null;
        let ours = whose == Whose::Policies || object::managers(&live).contains(&found.manager.as_str());
        let author = |path: &FieldPath| fields::by_policies(path, found);
        let object = if ours { &*found.object } else { &nothing };
        let sent = fields::Sent { object, manager: &found.manager, author: &author };
        let explained = within(fields::explain(&id, &live, &sent))?;
        let instead = (!ours).then(|| object::whose(&live));
        let head = policies::Head { live: ours.then_some(&live), instead, ..at.head(found) };
        at.print(environment, arguments, &head, explained)
    };
    // It isn't from an Application, or from none of this hub; policies may be to bring it there all the same.
    let or_policies = async |refusal: Failure| match arguments.app {
        None => match at.by_policies(&id).await {
            Ok(Some(found)) => told(&found, Whose::Unknown),
            Ok(None) | Err(_) => Err(refusal),
        },
        Some(_) => Err(refusal),
    };
    let app = match object::deliverer(&hub, &live, &id, &place, arguments, &namespace).await {
        Ok(object::Deliverer::Application(app)) => app,
        Ok(object::Deliverer::Policies) => {
            let Some(found) = at.by_policies(&id).await? else {
                let record = object::on_record(&hub, at.cluster, &id).await?;
                return Err(object::left_behind(&hub, &id, &place, record));
            };
            return told(&found, Whose::Policies);
        }
        Err(refusal) => return or_policies(refusal).await,
    };
    let asked = delivered(&hub.cluster.client, &app, at.cluster, &id);
    let found = Box::pin(at.asked(asked)).await?;
    let Some(delivered) = found else {
        return or_policies(object::not_in_inventory(&hub, &app, &id, &place, &live)).await;
    };
    let author = |path: &FieldPath| fields::in_revision(path, &delivered);
    let sent = fields::Sent { object: &delivered.object, manager: &delivered.manager, author: &author };
    let explained = within(fields::explain(&id, &live, &sent))?;
    // Whoever may not read policies is told of the Application.
    let policies = at.by_policies(&id).await.ok().flatten();
    let policies = policies.as_ref().map(|found| policies::Head { live: Some(&live), ..at.head(found) });
    let head = show::Head {
        place: &place,
        cluster: at.cluster,
        id: &id,
        app: &app,
        delivered: &delivered,
        policies,
    };
    match arguments.output.output {
        Some(format) => environment.streams.print(&show::for_programs(format, &head, &explained)?),
        None => environment.streams.print(&show::for_people(&head, &explained)),
    }
}

/// How long a member is waited for: one that is known to be silent says nothing in most cases.
fn patience(hub: &Hub, member: &ManagedCluster) -> Duration {
    let status = member.status.as_ref();
    let available = status.and_then(|status| conditions::find(&status.conditions, "Available"));
    match available {
        Some(available) if !available.is_true() => hub.cluster.deadline.min(SILENT),
        _ => hub.cluster.deadline,
    }
}

/// From whom an object is.
#[derive(PartialEq, Eq)]
enum Whose {
    Policies,
    /// Its labels don't tell.
    Unknown,
}

/// Where an object is asked about.
struct At<'a> {
    hub: &'a Hub,
    place: &'a str,
    cluster: &'a str,
}

impl At<'_> {
    /// What policies say, where nothing of theirs is there.
    fn head<'h>(&'h self, distributed: &'h Distributed) -> policies::Head<'h> {
        policies::Head { place: self.place, cluster: self.cluster, distributed, live: None, instead: None }
    }

    async fn by_policies(&self, id: &ObjectId) -> Outcome<Option<Distributed>> {
        self.asked(distributed(&self.hub.cluster.client, self.cluster, id)).await
    }

    async fn asked<T>(&self, asked: impl Future<Output = Result<T, PreviewError>>) -> Outcome<T> {
        match Box::pin(tokio::time::timeout(self.hub.cluster.deadline, asked)).await {
            Ok(found) => found
                .map_err(|error| Failure::failed(format!("what was delivered on {}: {error}", self.place))),
            Err(_) => Err(self.hub.cluster.silent("what was delivered")),
        }
    }

    fn print(
        &self,
        environment: &Environment,
        arguments: &WhyArgs,
        head: &policies::Head<'_>,
        fields: Vec<fields::Field>,
    ) -> Outcome {
        match arguments.output.output {
            Some(format) => environment.streams.print(&policies::for_programs(format, head, &fields)?),
            None => environment.streams.print(&policies::for_people(head, &fields)),
        }
    }
}
