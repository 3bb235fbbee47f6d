//! `fleetctl cluster detach`: a member leaves the fleet, and what happens to its objects is said.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::{ApplicationRevision, ManagedCluster, names};
use fleet_controller::{Clearing, Loaded, known_kinds, read_revision};
use fleet_members::{Acting, Members, Options, Transport, TransportError};
use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::account::{self, Account};
use super::holdings::{Holding, Holdings};
use super::look_after::{mentions, plural};
use super::renew::Admin;
use super::{Hub, member, question, record};
use crate::args::DetachArgs;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::roster::{Roster, label};

/// How often what was left is looked for: a delivery that was under way when the member was cordoned may still land.
const ROUNDS: usize = 3;

/// What happens to the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They stay, as nobody's.
    Keep,
    /// They go.
    Delete,
}

impl Fate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "kept",
            Self::Delete => "deleted",
        }
    }
}

pub(super) async fn run(environment: &Environment, hub: &Hub, arguments: &DetachArgs) -> Outcome {
    let roster = Roster::load(&hub.cluster).await?;
    let member = roster.find(&arguments.name)?;
    let name = member.name_any();
    if member.labels().contains_key(crate::embedded::EMBEDDED) {
        return Err(Failure::refused(format!(
            "member {name} runs in the hub's process and can't be taken out of it; to have nothing delivered to it: {} cluster cordon {name}",
            hub.called
        )));
    }
    let held = Holdings::load(&hub.cluster).await?.on(&name);
    let fate = fate(environment, hub, arguments, member, &held).await?;
    let note = |text: &str| environment.streams.note(text);
    let mut users = mentions(hub, &name).await?;
    if let Some(alias) = member.alias() {
        users.extend(mentions(hub, alias).await?);
    }
    if !users.is_empty() {
        users.sort();
        users.dedup();
        note(&format!("warning: these name it, and will find no such cluster: {}", users.join(", ")));
    }
    let way = reach(environment, hub, arguments, member).await;
    let way = match (way, fate) {
        (Ok(way), _) => Some(way),
        (Err(failure), Fate::Delete) => {
            return Err(Failure::new(
                failure.exit,
                format!(
                    "{}; its objects can't be deleted without it: nothing was changed; leave them with --keep-objects",
                    failure.message
                ),
            ));
        }
        (Err(failure), Fate::Keep) => {
            note(&format!(
                "warning: {}; what is there stays as it is, our labels and our account included",
                failure.message
            ));
            None
        }
    };
    // From here on the controller leaves it alone, and the list says why.
    let why = format!("being detached, its objects are {}", fate.as_str());
    let marked =
        json!({ "metadata": { "annotations": { names::CORDONED: why, names::DETACHING: fate.as_str() } } });
    record::patch(&hub.cluster, &name, &marked).await?;
    let hub_uid = record::hub_uid(&hub.cluster).await?;
    let objects: usize = held.iter().map(Holding::objects).sum();
    if let Some(way) = &way {
        if objects > 0 {
            note(&format!(
                "{}: {} of its applications are {}",
                label(member),
                plural(objects, "object", "objects"),
                fate.as_str()
            ));
            clear(hub, way, member, &held, &hub_uid, fate).await?;
        }
        let hub_hash = names::hub_hash(&hub_uid);
        if let Some(account) = Account::recorded(member, &hub_hash) {
            note(&format!("taking account {} away", account.shown()));
            if let Err(failure) = member::remove(&way.cluster, &hub_hash, &account).await {
                note(&format!(
                    "warning: {failure}; take it away there: {}",
                    account::removal(&account, &hub_hash)
                ));
            }
        }
    }
    record::forget(&hub.cluster, &name).await?;
    let end = match (objects, &way) {
        (0, _) => String::new(),
        (_, Some(_)) => {
            format!("; {} {} there", plural(objects, "object was", "objects were"), fate.as_str())
        }
        (_, None) => format!("; {} there, unreached", plural(objects, "object stays", "objects stay")),
    };
    environment.streams.line(&format!("managedcluster {} detached{end}", label(member)))
}

async fn fate(
    environment: &Environment,
    hub: &Hub,
    arguments: &DetachArgs,
    member: &ManagedCluster,
    held: &[Holding],
) -> Outcome<Fate> {
    if arguments.keep_objects {
        return Ok(Fate::Keep);
    }
    if arguments.delete_objects {
        return Ok(Fate::Delete);
    }
    // One that was cut short goes on as it began.
    match member.annotations().get(names::DETACHING).map(String::as_str) {
        Some("kept") => return Ok(Fate::Keep),
        Some("deleted") => return Ok(Fate::Delete),
        _ => {}
    }
    let objects: usize = held.iter().map(Holding::objects).sum();
    let mut all: Vec<String> = held.iter().map(Holding::shown).collect();
    all.dedup();
    let of = if all.is_empty() { String::new() } else { format!(" of {}", all.join(", ")) };
    let question = format!(
        "{} has {}{of}: keep or delete them, or give up? [k/d/N]",
        label(member),
        plural(objects, "object", "objects"),
    );
    let flag = format!(
        "{} cluster detach {} with --keep-objects or --delete-objects",
        hub.called,
        member.name_any()
    );
    match question::ask(environment, &question, &flag).await?.as_str() {
        "k" | "keep" => Ok(Fate::Keep),
        "d" | "delete" => Ok(Fate::Delete),
        _ => Err(Failure::new(Exit::Waiting, "given up; nothing was changed")),
    }
}

/// A way to the member that leads to the cluster that joined.
async fn reach(
    environment: &Environment,
    hub: &Hub,
    arguments: &DetachArgs,
    member: &ManagedCluster,
) -> Outcome<Admin> {
    let admin = Admin::find(hub, member, arguments.admin_kubeconfig.as_deref(), None).await?;
    let identity = admin.identify(environment).await?;
    match member.recorded_uid() {
        Some(recorded) if recorded != identity.uid => Err(Failure::refused(format!(
            "what answers for {} is another cluster (UID {}, recorded {recorded})",
            label(member),
            identity.uid
        ))),
        _ => Ok(admin),
    }
}

/// The one member that is asked.
struct Only(kube::Client);

impl Transport for Only {
    fn connect(&self, _: &ManagedCluster) -> Result<kube::Client, TransportError> {
        Ok(self.0.clone())
    }
}

async fn clear(
    hub: &Hub,
    way: &Admin,
    cluster: &ManagedCluster,
    held: &[Holding],
    hub_uid: &str,
    fate: Fate,
) -> Outcome {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let transport = Arc::new(Only(way.cluster.client.clone()));
    let members = Members::new(transport, known_kinds(), Options::default(), stop, Box::new(|_| {}));
    // What holds the controller off doesn't hold us.
    let mut uncordoned = cluster.clone();
    uncordoned.annotations_mut().remove(names::CORDONED);
    members.upsert(uncordoned);
    let member = members.get(&cluster.name_any()).map_err(|error| Failure::failed(error.to_string()))?;
    let member = Acting::new(member, None);
    let mut revisions: BTreeMap<(String, String), Option<Arc<Loaded>>> = BTreeMap::new();
    for holding in held {
        let key = (holding.namespace.clone(), holding.revision.clone());
        if let std::collections::btree_map::Entry::Vacant(free) = revisions.entry(key) {
            free.insert(revision(hub, &holding.namespace, &holding.revision).await?);
        }
    }
    let mut refused = None;
    for _ in 0..ROUNDS {
        refused = None;
        for holding in held {
            let Some(entry) = &holding.entry else { continue };
            let owner = names::owner_hash(hub_uid, &holding.namespace, &holding.application);
            let revision = revisions.get(&(holding.namespace.clone(), holding.revision.clone()));
            let clearing =
                Clearing::of(entry, revision.and_then(Option::as_deref), &owner, fate == Fate::Keep);
            if let Err(error) = clearing.carry_out(&member).await {
                refused = Some(format!("{}: {error}", holding.shown()));
            }
        }
    }
    match refused {
        None => Ok(()),
        Some(why) => Err(Failure::failed(format!(
            "not everything was {} on {}: {why}; it is cordoned until then: repeat this, or leave what is there with --keep-objects",
            fate.as_str(),
            label(cluster)
        ))),
    }
}

/// The revision that is there, for its garbage-collect policies; without one everything goes.
async fn revision(hub: &Hub, namespace: &str, name: &str) -> Outcome<Option<Arc<Loaded>>> {
    if name.is_empty() {
        return Ok(None);
    }
    let api: Api<ApplicationRevision> = Api::namespaced(hub.cluster.client.clone(), namespace);
    let doing = format!("ApplicationRevision {namespace}/{name}");
    if hub.cluster.ask(&doing, api.get_metadata_opt(name)).await?.is_none() {
        return Ok(None);
    }
    let read = read_revision(&hub.cluster.client, namespace, name).await;
    read.map(Some).map_err(|why| Failure::failed(format!("{doing}: {why}")))
}
