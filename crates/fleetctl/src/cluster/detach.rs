//! `fleetctl cluster detach`: a member leaves the fleet, and what happens to its objects is said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::{ApplicationRevision, ManagedCluster, ObjectId, names, staged};
use fleet_controller::{Clearing, Loaded, known_kinds, read_revision};
use fleet_members::{Acting, MemberError, Members, Options, Transport, TransportError};
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
    let why = format!("{}, its objects are {}", names::BEING_DETACHED, fate.as_str());
    let marked =
        json!({ "metadata": { "annotations": { names::CORDONED: why, names::DETACHING: fate.as_str() } } });
    record::patch(&hub.cluster, &name, &marked).await?;
    let hub_uid = record::hub_uid(&hub.cluster).await?;
    let objects: usize = held.iter().map(Holding::objects).sum();
    let mut done = 0;
    if let Some(way) = &way {
        if held.iter().any(|holding| holding.entry.is_some()) {
            note(&format!("{}: what its applications have there is {}", label(member), fate.as_str()));
            let cleared = clear(hub, way, member, &held, &hub_uid, fate).await?;
            done = cleared.done.len();
            for (id, why) in &cleared.left {
                note(&format!(
                    "warning: {id}: {why}; where it is there, it stays as it is, our labels included"
                ));
            }
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
        (_, Some(_)) if done > 0 => {
            format!("; {} {} there", plural(done, "object was", "objects were"), fate.as_str())
        }
        (0, _) | (_, Some(_)) => String::new(),
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
        "{} has up to {}{of}: keep or delete them, or give up? [k/d/N]",
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

/// What became of what is on record there.
struct Cleared {
    done: BTreeSet<ObjectId>,
    /// What the member lets nobody read or change, and why: it can't be kept from that, and needn't be deleted.
    left: Vec<(ObjectId, MemberError)>,
}

async fn clear(
    hub: &Hub,
    way: &Admin,
    cluster: &ManagedCluster,
    held: &[Holding],
    hub_uid: &str,
    fate: Fate,
) -> Outcome<Cleared> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let transport = Arc::new(Only(way.cluster.client.clone()));
    let members = Members::new(transport, known_kinds(), Options::default(), stop, Box::new(|_| {}));
    // What holds the controller off doesn't hold us.
    let mut let_go = cluster.clone();
    let_go.annotations_mut().remove(names::CORDONED);
    let_go.spec.hub_accepts_client = true;
    members.upsert(let_go);
    let member = members.get(&cluster.name_any()).map_err(|error| Failure::failed(error.to_string()))?;
    let member = Acting::new(member, None);
    let mut revisions: BTreeMap<(String, String), Option<Arc<Loaded>>> = BTreeMap::new();
    for holding in held {
        let key = (holding.namespace.clone(), holding.revision.clone());
        if let std::collections::btree_map::Entry::Vacant(free) = revisions.entry(key) {
            free.insert(revision(hub, &holding.namespace, &holding.revision).await?);
        }
    }
    let clearings: Vec<(String, Clearing)> = held
        .iter()
        .filter_map(|holding| {
            let owner = if holding.carries {
                staged::distribution_owner(hub_uid)
            } else {
                names::owner_hash(hub_uid, &holding.namespace, &holding.application)
            };
            let revision = revisions.get(&(holding.namespace.clone(), holding.revision.clone()));
            let revision = revision.and_then(Option::as_deref);
            let clearing = Clearing::of(holding.entry.as_ref()?, revision, &owner, fate == Fate::Keep);
            Some((holding.shown(), clearing))
        })
        .collect();
    carry_out(&member, &clearings, fate).await.map_err(|why| {
        let or_leave = match fate {
            Fate::Delete => ", or leave what is there with --keep-objects",
            Fate::Keep => "",
        };
        Failure::failed(format!(
            "not everything was {} on {}: {why}; it is cordoned until then: repeat this{or_leave}",
            fate.as_str(),
            label(cluster)
        ))
    })
}

/// Does what can be done.
///
/// # Errors
/// What must be tried again.
async fn carry_out(member: &Acting, clearings: &[(String, Clearing)], fate: Fate) -> Result<Cleared, String> {
    let mut all = Cleared { done: BTreeSet::new(), left: Vec::new() };
    let mut refused = None;
    for _ in 0..ROUNDS {
        refused = None;
        all.left.clear();
        for (shown, clearing) in clearings {
            let cleared = clearing.attempt(member).await;
            all.done.extend(cleared.done);
            for (id, error) in cleared.refused {
                // What stays anyway holds nobody up, unless the member may answer when asked again.
                if fate == Fate::Keep && !error.is_transient() {
                    all.left.push((id, error));
                } else {
                    refused = Some(format!("{shown}: {id}: {error}"));
                }
            }
        }
    }
    refused.map_or(Ok(all), Err)
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use fleet_api::{ManagedClusterSpec, Owned, Target, TargetInventory};
    use kube::client::Body;

    use super::*;

    /// A member that knows `web/kept`, refuses everything in `default`, and answers `code` for the rest.
    fn member(code: u16) -> Acting {
        let answer = move |path: &str| match path {
            "/api/v1/namespaces/web/configmaps/kept" => (
                200,
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "web",
                    "uid": "u", "resourceVersion": "1", "labels": {names::OWNER: "owner"}}}),
            ),
            "/api/v1/namespaces/kube-system" if code == 404 => (
                200,
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "k"}}),
            ),
            path => {
                let (code, reason) =
                    if path.contains("/default/") { (403, "Forbidden") } else { (code, "NotFound") };
                (
                    code,
                    json!({"kind": "Status", "status": "Failure", "code": code, "message": "forbidden", "reason": reason}),
                )
            }
        };
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (code, body) = answer(request.uri().path());
            let answer =
                http::Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(answer.unwrap()) }
        });
        let client = kube::Client::new(service, "default");
        let stop = CancellationToken::new();
        let members =
            Members::new(Arc::new(Only(client)), known_kinds(), Options::default(), stop, Box::new(|_| {}));
        let accepted = ManagedClusterSpec { hub_accepts_client: true, ..ManagedClusterSpec::default() };
        members.upsert(ManagedCluster::new("mb", accepted));
        Acting::new(members.get("mb").unwrap(), None)
    }

    fn clearing(namespaces: &[&str], keep: bool) -> Vec<(String, Clearing)> {
        let entry = TargetInventory {
            target: Target { cluster: "mb".to_owned(), namespace: "web".to_owned() },
            layers: Vec::new(),
            begun: Vec::new(),
            objects: namespaces
                .iter()
                .map(|namespace| {
                    let id = ObjectId::new("v1", "ConfigMap", *namespace, "kept");
                    (id, Owned::default())
                })
                .collect(),
        };
        vec![("demo/web".to_owned(), Clearing::of(&entry, None, "owner", keep))]
    }

    /// Broken: a member whose account may not look everywhere can never leave.
    #[tokio::test]
    async fn what_may_not_be_read_holds_up_no_keeping() {
        let member = member(404);
        let cleared = carry_out(&member, &clearing(&["default", "web"], true), Fate::Keep).await.unwrap();
        assert_eq!((cleared.done.len(), cleared.left.len()), (1, 1));
        let (id, why) = &cleared.left[0];
        assert_eq!((id.namespace.as_str(), why.is_transient()), ("default", false), "{why}");
        // To be deleted it would have to be read, and nothing is counted that wasn't there.
        let why = carry_out(&member, &clearing(&["default"], false), Fate::Delete).await.err().unwrap();
        assert!(why.contains("ConfigMap default/kept") && why.contains("forbidden"), "{why}");
        let none = carry_out(&member, &clearing(&["elsewhere"], true), Fate::Keep).await.unwrap();
        assert!(none.done.is_empty() && none.left.is_empty());
    }

    /// What may answer later is asked again, not left with our labels.
    #[tokio::test]
    async fn a_busy_member_is_asked_again() {
        assert!(carry_out(&member(429), &clearing(&["elsewhere"], true), Fate::Keep).await.is_err());
    }
}
