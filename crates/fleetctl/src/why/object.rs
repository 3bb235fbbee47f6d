//! The object that is asked about, and the Application that delivers it.

use fleet_api::{Application, Inventory, ObjectId, ResourceTracker, names};
use http::Request;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::Value;

use crate::application::plan::gather::Reached;
use crate::args::WhyArgs;
use crate::cluster::Hub;
use crate::exit::{Exit, Failure, Outcome};
use crate::get::catalogue::{Catalogue, Type};

/// How many names are looked through for the nearest.
const NAMES: usize = 500;

/// `KIND/NAME`.
pub(super) fn words(text: &str) -> Outcome<(String, String)> {
    match text.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((kind.to_owned(), name.to_owned()))
        }
        _ => Err(Failure::usage(format!("{text:?} names no object; write KIND/NAME, as in deploy/web-demo"))),
    }
}

/// Which object is meant, by the kinds that a cluster serves.
pub(super) fn identify<'c>(
    catalogue: &'c Catalogue,
    kind: &str,
    name: &str,
    namespace: &str,
) -> Outcome<(&'c Type, ObjectId)> {
    let types = catalogue.find(kind)?;
    let [type_] = types.as_slice() else {
        return Err(Failure::usage(format!("{kind:?} is a category; name one kind, as in deploy/{name}")));
    };
    let namespace = if type_.namespaced { namespace } else { "" };
    let id = ObjectId::new(type_.api_version(), &type_.kind, namespace, name);
    Ok((type_, id))
}

/// What is on record of a member without a policy that has it: what is about to leave, and namespaces that were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnRecord {
    /// Nothing.
    Nothing,
    /// A namespace that was missing there for what policies distribute.
    Made,
    /// An object that was distributed.
    Distributed,
}

/// What is on record of an object on a member.
pub(super) async fn on_record(hub: &Hub, cluster: &str, id: &ObjectId) -> Outcome<OnRecord> {
    let trackers: Api<ResourceTracker> = Api::all(hub.cluster.client.clone());
    let shards = ListParams::default().labels(names::SHARD);
    let listed = hub.cluster.ask("resourcetrackers", trackers.list(&shards)).await?;
    for tracker in listed.items {
        let Ok(inventory) = tracker.spec.inventory.unpack() else { continue };
        let inventory: Inventory = inventory;
        let there = inventory.targets.iter().filter(|entry| entry.target.cluster == cluster);
        let same = |known: &ObjectId| known.versionless() == id.versionless();
        let mut found = there.flat_map(|entry| &entry.objects).filter(|(known, _)| same(known));
        if let Some((_, owned)) = found.next() {
            return Ok(if owned.made_namespace { OnRecord::Made } else { OnRecord::Distributed });
        }
    }
    Ok(OnRecord::Nothing)
}

/// It isn't there; what the hub knows of it.
pub(super) async fn not_there(hub: &Hub, missing: Failure, id: &ObjectId, place: &str) -> Failure {
    let Ok(catalogue) = Catalogue::load(&hub.cluster).await else { return missing };
    let kind = |type_: &&Type| type_.group == id.group() && type_.kind == id.kind;
    let Some(type_) = catalogue.types().iter().find(kind) else { return missing };
    let Ok(request) = Request::get(type_.path(Some(&id.namespace), Some(&id.name))).body(Vec::new()) else {
        return missing;
    };
    let asked: Outcome<Value> = hub.cluster.ask(&id.to_string(), hub.cluster.client.request(request)).await;
    if asked.is_err() {
        return missing;
    }
    let inside = if id.namespace.is_empty() { String::new() } else { format!(" -n {}", id.namespace) };
    Failure::not_found(format!(
        "{id} isn't on {place}: it is on the hub, and no policy selects it; let one select it (kubectl get propagation{inside}), or an Application refer to it"
    ))
}

/// Which object it is, and how it is on the member, or that it isn't there.
///
/// # Errors
/// Where the member doesn't know the kind, refuses or doesn't answer.
pub(super) async fn read(
    reached: &Reached,
    kind: &str,
    name: &str,
    namespace: &str,
) -> Outcome<(ObjectId, Result<Value, Failure>)> {
    let (type_, id) = identify(&reached.catalogue, kind, name, namespace)?;
    let get = async |path: String| -> Outcome<Value> {
        let request =
            Request::get(path).body(Vec::new()).map_err(|error| Failure::failed(error.to_string()))?;
        reached.cluster.ask(&format!("{kind}/{name}"), reached.cluster.client.request(request)).await
    };
    match get(type_.path(Some(namespace), Some(name))).await {
        Ok(live) => Ok((id, Ok(live))),
        Err(failure) if failure.exit == Exit::NotFound => {
            let listed =
                get(format!("{}?limit={NAMES}", type_.path(Some(namespace), None))).await.unwrap_or_default();
            let items = listed.get("items").and_then(Value::as_array).into_iter().flatten();
            let known: Vec<&str> =
                items.filter_map(|item| item.pointer("/metadata/name").and_then(Value::as_str)).collect();
            let (what, inside) = match type_.namespaced {
                true => (format!("{} there", type_.plural), format!(" in namespace {namespace}")),
                false => (format!("{} there", type_.plural), String::new()),
            };
            let advice = crate::nearest::advice(name, &known, &what);
            let missing = format!("there is no {} {name:?}{inside}{advice}", type_.kind);
            Ok((id, Err(Failure::not_found(missing))))
        }
        Err(failure) => Err(failure),
    }
}

fn label<'v>(live: &'v Value, name: &str) -> Option<&'v str> {
    live.pointer("/metadata/labels")?.get(name)?.as_str()
}

/// Who delivers an object.
pub(super) enum Deliverer {
    /// An Application.
    Application(Box<Application>),
    /// Policies about native objects.
    Policies,
}

/// Who delivers it: the Application that is named, else who its labels name.
pub(super) async fn deliverer(
    hub: &Hub,
    live: &Value,
    id: &ObjectId,
    place: &str,
    arguments: &WhyArgs,
    namespace: &str,
) -> Outcome<Deliverer> {
    let inside = label(live, names::APP_NAMESPACE).unwrap_or(namespace);
    let api: Api<Application> = Api::namespaced(hub.cluster.client.clone(), inside);
    if let Some(name) = &arguments.app {
        let found = hub.cluster.ask(&format!("Application {inside}/{name}"), api.get_opt(name)).await?;
        return match found {
            Some(app) => Ok(Deliverer::Application(Box::new(app))),
            None => {
                let listed = hub.cluster.ask("Applications", api.list_metadata(&ListParams::default())).await;
                let known: Vec<String> = listed
                    .map(|list| list.items.iter().map(|app| app.name_any()).collect())
                    .unwrap_or_default();
                let advice =
                    crate::nearest::advice(name, &known, &format!("Applications in namespace {inside}"));
                Err(Failure::not_found(format!("no Application {name:?} in namespace {inside}{advice}")))
            }
        };
    }
    let Some(owner) = label(live, names::OWNER) else { return Err(nobodys(hub, id, place, live)) };
    let namespaces: Api<Namespace> = Api::all(hub.cluster.client.clone());
    let system = hub.cluster.ask("the hub's identity", namespaces.get_metadata("kube-system")).await?;
    let uid = names::hub_identity(&system.metadata).unwrap_or_default();
    if owner == fleet_api::staged::distribution_owner(uid) {
        return Ok(Deliverer::Policies);
    }
    let listed = hub.cluster.ask("Applications", api.list(&ListParams::default())).await?;
    // The label holds the name only as far as labels allow; the hash tells.
    let found = listed.items.into_iter().find(|app| names::owner_hash(uid, inside, &app.name_any()) == owner);
    found.map(|app| Deliverer::Application(Box::new(app))).ok_or_else(|| {
        let said = label(live, names::APP_NAME).unwrap_or("?");
        Failure::refused(format!(
            "{id} on {place} is that of Application {inside}/{said}, which this hub doesn't have: it is delivered from another hub, or its Application was lost; ask that hub with --context, or apply the Application again"
        ))
    })
}

/// For what it was made: kind and name.
fn made_for(live: &Value) -> Option<(&str, &str)> {
    let all = live.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    let controls = |owner: &&Value| owner.get("controller") == Some(&Value::Bool(true));
    let owner = all.iter().find(controls).or(all.first())?;
    let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or("?");
    Some((text("kind"), text("name")))
}

/// Whose an object is that policies of this hub didn't bring.
pub(super) fn whose(live: &Value) -> String {
    let application = label(live, names::APP_NAMESPACE).zip(label(live, names::APP_NAME));
    match (label(live, names::OWNER), application, made_for(live), managers(live)) {
        (Some(_), Some((namespace, name)), _, _) => format!("it is that of Application {namespace}/{name}"),
        (Some(owner), None, _, _) => {
            format!("its label {} names {owner:?}, which isn't this hub's distribution", names::OWNER)
        }
        (None, _, Some((kind, name)), _) => format!("it is made by {kind} {name}"),
        (None, _, None, managers) if managers.is_empty() => "it is nobody's".to_owned(),
        (None, _, None, managers) => format!("it was written by {}", managers.join(", ")),
    }
}

/// Nobody's Application has it.
fn nobodys(hub: &Hub, id: &ObjectId, place: &str, live: &Value) -> Failure {
    if let Some((kind, name)) = made_for(live) {
        return Failure::refused(format!(
            "{id} on {place} is made by {kind} {name}; ask about that: {} why {}/{name} -m …",
            hub.called,
            kind.to_lowercase()
        ));
    }
    let managers = managers(live);
    let by = match managers.is_empty() {
        true => String::new(),
        false => format!(", it was written by {}", managers.join(", ")),
    };
    Failure::refused(format!(
        "{id} on {place} is delivered by no Application{by}; to have it delivered: {} adopt NAME --from … {}/{}",
        hub.called,
        id.kind.to_lowercase(),
        id.name
    ))
}

/// Policies distributed it, and none selects it any more; or it was made for what they distribute.
pub(super) fn left_behind(hub: &Hub, id: &ObjectId, place: &str, record: OnRecord) -> Failure {
    if record == OnRecord::Made {
        return Failure::refused(format!(
            "{id} on {place} was missing for what policies distribute in it, so the controller made it; it is deleted when nothing of theirs is in it any more and nobody else uses it"
        ));
    }
    Failure::refused(format!(
        "{id} on {place} was distributed by policies, and no policy selects it on the hub any more, or the hub doesn't have it: it is being taken away, or held there: by a mask, or since the cluster is cordoned or not accepted; see {called} diagnose, and {called} get rt -l fleetctl.dev/shard",
        called = hub.called
    ))
}

/// The member doesn't answer, and no policy has the object: what is on record of it there.
pub(super) fn unseen(
    hub: &Hub,
    id: &ObjectId,
    (place, cluster): (&str, &str),
    silent: &Failure,
    record: OnRecord,
) -> Failure {
    let said = match record {
        OnRecord::Nothing => "no policy has it, and nothing is on record of it there".to_owned(),
        OnRecord::Made => "it was made there for what policies distribute, and is deleted when nothing of theirs is in it any more".to_owned(),
        OnRecord::Distributed => format!(
            "policies distributed it there, and none has it any more: it leaves when the cluster answers; where that never will: {} cluster detach {cluster} --keep-objects",
            hub.called
        ),
    };
    Failure::new(silent.exit, format!("{id} on {place}: {}; {said}", silent.message))
}

/// The Application doesn't have it there.
pub(super) fn not_in_inventory(
    hub: &Hub,
    app: &Application,
    id: &ObjectId,
    place: &str,
    live: &Value,
) -> Failure {
    let (namespace, name) = (app.namespace().unwrap_or_default(), app.name_any());
    if label(live, names::OWNER).is_none() {
        return nobodys(hub, id, place, live);
    }
    Failure::refused(format!(
        "{id} on {place} isn't in the inventory of Application {namespace}/{name}; see what it has: {} status {name} -n {namespace} --tree",
        hub.called
    ))
}

/// Who wrote an object, each once.
pub(super) fn managers(live: &Value) -> Vec<&str> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    let mut managers: Vec<&str> = entries
        .filter_map(|entry| entry.get("manager")?.as_str())
        .filter(|manager| !manager.is_empty())
        .collect();
    managers.sort_unstable();
    managers.dedup();
    managers
}
