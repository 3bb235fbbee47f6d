//! `fleetctl promote`: a running cluster's objects come to the hub, from where policies distribute them.
//!
//! ```text
//!  words ─► adopt::found: live objects of the member ─► bundle: objects for the hub and a policy that names them
//!                                   nothing on the hub is in the way, no other policy would take them ─► standing
//!                                   a dry run on the member changes labels only ─► adopt::trial
//!  the hub: namespace, policy, objects ─► the policy says that all is delivered ─► same UIDs, same generations?
//! ```

mod bundle;
mod carry;
mod standing;

use fleet_api::{names, staged};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use serde_json::json;

use crate::access::Access;
use crate::adopt::found::{self, Member};
use crate::adopt::trial;
use crate::args::{Global, PromoteArgs};
use crate::cluster::{Hub, question};
use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::get::catalogue::Type;
use crate::roster::Roster;
use crate::table::Table;
use crate::version::write;

use bundle::Bundle;

/// Does it.
///
/// # Errors
/// See the exit codes.
pub async fn run(environment: &Environment, global: &Global, arguments: &PromoteArgs) -> Outcome {
    let request = found::request(&arguments.objects, arguments.selector.as_deref())?;
    let access = Access::load(environment, global)?;
    let cluster = access.hub().await?;
    let namespace = access.namespace(&cluster);
    let hub = Hub { called: access.called(), cluster, access };
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.from)?;
    let members = Member::reach_all(&hub, &[member], &namespace).await?;
    let [member] = members.as_slice() else {
        return Err(Failure::failed("one member was asked for, and another number was found"));
    };
    let owner = owner(&hub).await?;
    let found = found::read(&members, &request, Some(&owner), promotable).await?;
    let policy = arguments.policy.clone().unwrap_or_else(|| format!("promoted-{}", member.name));
    let bundle = Bundle::of(&namespace, &policy, member, &found.objects, &owner)?;
    let standing = standing::of(&hub, &bundle, environment.now()).await?;
    let untried = trial::on_member(member, bundle.trials(), &owner).await?;
    let note = |text: &str| environment.streams.note(text);
    found.notes.iter().chain(&untried).for_each(|text| note(text));
    if let Some(format) = arguments.output.output {
        let list =
            json!({ "apiVersion": "v1", "kind": "List", "items": bundle.manifests(standing.namespace) });
        return environment.streams.print(&write(format, &list)?);
    }
    environment.streams.print(&plan(&bundle, member, untried.is_empty()))?;
    if arguments.dry_run {
        note("dry run: nothing was written");
        return Ok(());
    }
    let question = format!("Bring {} to the hub?", count(bundle.objects.len()));
    question::agree(environment, &question, arguments.yes).await?;
    carry::out(environment, &hub, member, &bundle, &standing, arguments.timeout).await
}

/// Whose everything is that policies of this hub distribute.
async fn owner(hub: &Hub) -> Outcome<String> {
    let namespaces: Api<Namespace> = Api::all(hub.cluster.client.clone());
    let asked = hub.cluster.ask("the hub's identity", namespaces.get_metadata("kube-system")).await;
    let system = asked.map_err(|failure| hub.cluster.no_hub(failure))?;
    Ok(staged::distribution_owner(names::hub_identity(&system.metadata).unwrap_or_default()))
}

/// Refuses kinds that aren't brought from one cluster.
fn promotable(type_: &Type) -> Outcome {
    if type_.namespaced {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is a kind without namespaces; write it to the hub by hand, with a ClusterPropagationPolicy that names it and \
         conflictResolution: Overwrite (docs/promote.md)",
        type_.kind
    )))
}

/// `1 object`, `3 objects`.
fn count(objects: usize) -> String {
    if objects == 1 { "1 object".to_owned() } else { format!("{objects} objects") }
}

fn plan(bundle: &Bundle, member: &Member, tried: bool) -> String {
    let mut table = Table::new(["OBJECT", "LEFT TO OTHERS"]);
    for object in &bundle.objects {
        let left = if object.left.is_empty() { "-".to_owned() } else { object.left.join(", ") };
        table.row([object.id.to_string(), left]);
    }
    let changes = match tried {
        true => "Nothing of them changes there but labels: tried by a dry run.",
        false => "Nothing of them is meant to change there but labels; not everything could be tried.",
    };
    format!(
        "From {} to the hub, as they are, distributed by PropagationPolicy {}/{}:\n\n{table}\n{changes}\n\
         Nothing is deleted there until prune and preserveResourcesOnDeletion are taken out of the policy.\n",
        member.label, bundle.namespace, bundle.policy
    )
}
