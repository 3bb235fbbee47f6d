//! What the hub has already: nothing may be in the way, and nobody else may take what comes.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::propagation::{GROUPS, PolicyKind};
use fleet_api::{Application, Memory, ObjectId, ResourceTracker, names};
use fleet_controller::{References, read_recorded};
use fleet_json::diff_by_name;
use fleet_propagation::{Claims, KindTable, Lost, ObjectFacts, PolicyId, Reader};
use fleet_schema::behaviour::referenced_content;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::Value;

use super::bundle::Bundle;
use crate::cluster::Hub;
use crate::diagnose::gather::workloads_start;
use crate::diagnose::snapshot::starts_pods;
use crate::exit::{Exit, Failure, Outcome};
use crate::get::fetch::fetch;
use crate::get::request::Request;

/// What is there already, as it is to be.
pub(super) struct Standing {
    pub(super) namespace: bool,
    pub(super) policy: bool,
    pub(super) objects: BTreeSet<ObjectId>,
}

/// Looks.
///
/// # Errors
/// Where something else stands there, or would take the objects.
pub(super) async fn of(hub: &Hub, bundle: &Bundle, now: Timestamp) -> Outcome<Standing> {
    let workloads = bundle.objects.iter().any(|object| starts_pods(&object.id.api_version, &object.id.kind));
    if workloads && workloads_start(&hub.cluster, now).await {
        return Err(Failure::refused(
            "the hub runs workload controllers: pods would start there, too; docs/hub.md has the ways out",
        ));
    }
    let namespaces: Api<Namespace> = Api::all(hub.cluster.client.clone());
    let doing = format!("Namespace {}", bundle.namespace);
    let namespace = hub.cluster.ask(&doing, namespaces.get_metadata_opt(&bundle.namespace)).await;
    let namespace = match namespace.map_err(|failure| hub.cluster.no_hub(failure)) {
        Ok(found) => found.is_some(),
        // Who may not read namespaces may be allowed to write into this one all the same.
        Err(failure) if failure.exit == Exit::Refused => true,
        Err(failure) => return Err(failure),
    };
    let mut standing = Standing { namespace, policy: false, objects: BTreeSet::new() };
    for object in &bundle.objects {
        let Some(live) = one(hub, &object.id, &bundle.namespace).await? else { continue };
        let differs = diff_by_name(&referenced_content(&live), &object.object);
        if !differs.is_empty() {
            let fields: Vec<String> = differs.iter().map(|change| change.path.to_dotted()).collect();
            return Err(Failure::refused(format!(
                "{} is on the hub already and differs in {}; make the two alike, or leave it out",
                object.id,
                fields.join(", ")
            )));
        }
        standing.objects.insert(object.id.clone());
    }
    standing.policy = contest(hub, bundle).await?;
    Ok(standing)
}

/// An object of the hub.
async fn one(hub: &Hub, id: &ObjectId, namespace: &str) -> Outcome<Option<Value>> {
    let answer = fetch(&hub.cluster, &Request::one(&id.api_version, &id.kind, &id.name)?, namespace).await;
    match answer {
        Ok(answer) => Ok(answer.into_objects().next()),
        Err(failure) if failure.exit == Exit::NotFound => Err(Failure::not_found(format!(
            "the hub has no kind {} {}; install its definition there first",
            id.api_version, id.kind
        ))),
        Err(failure) => Err(failure),
    }
}

/// Who would have the objects, with the new policy among those that are there. Whether it is there already.
async fn contest(hub: &Hub, bundle: &Bundle) -> Outcome<bool> {
    let mut kinds = KindTable::builtin();
    for object in &bundle.objects {
        kinds.add(object.id.group(), object.id.version(), &object.id.kind, true);
    }
    let reader = Reader::new(kinds);
    let unreadable = |problem: String| Failure::failed(format!("the policy can't be read: {problem}"));
    let ours = reader.propagation(bundle.policy_manifest()).map_err(|problem| unreadable(problem.message))?;
    if let Some(problem) = ours.problems.first() {
        return Err(unreadable(format!("{}: {}", problem.path, problem.message)));
    }
    let mut claims = Claims::new();
    let mut there = false;
    for manifest in policies(hub, &bundle.namespace).await? {
        let Ok(policy) = reader.propagation(&manifest) else { continue };
        if policy.id == ours.id {
            if policy.spec != ours.spec {
                return Err(Failure::refused(format!(
                    "PropagationPolicy {}/{} is there already and says something else; name another one with --policy",
                    bundle.namespace, bundle.policy
                )));
            }
            there = true;
            continue;
        }
        claims.set_policy(policy);
    }
    let id = ours.id.clone();
    claims.set_policy(ours);
    let (holders, references) = (holders(hub, bundle).await?, references(hub).await?);
    for object in &bundle.objects {
        let Some(mut facts) = ObjectFacts::of(&object.object) else { continue };
        let which = facts.id.clone();
        facts.holder = holders.get(&object.id).cloned();
        facts.application = references.of(&facts.id, &facts.labels);
        claims.set_object(facts);
        let Some(outcome) = claims.outcome(&which) else { continue };
        let winner = outcome.winner.map(|(winner, _)| winner);
        if winner.as_ref() != Some(&id) {
            let lost = outcome.lost.into_iter().find(|(policy, _)| *policy == id).map(|(_, lost)| lost);
            return Err(Failure::refused(match (&lost, &winner) {
                (Some(Lost::AlreadyClaimed { .. }), Some(winner)) => format!(
                    "{which} is distributed by {winner} already, and stays with it; let that one choose this cluster, or take \
                     the object out of its resourceSelectors first"
                ),
                (Some(owned @ Lost::OwnedByApplication(_)), None) => {
                    format!("{which}: {}", owned.message(None))
                }
                _ => {
                    let why = lost.map(|lost| lost.message(winner.as_ref())).unwrap_or_default();
                    format!("{which} would be taken by another policy, which may send it elsewhere: {why}")
                }
            }));
        }
    }
    Ok(there)
}

/// The policies that have objects already, as the controller has it on record: they keep them against what would win.
async fn holders(hub: &Hub, bundle: &Bundle) -> Outcome<BTreeMap<ObjectId, PolicyId>> {
    let trackers: Api<ResourceTracker> = Api::all(hub.cluster.client.clone());
    let shards = ListParams::default().labels(names::SHARD);
    let listed = hub.cluster.ask("resourcetrackers", trackers.list(&shards)).await?;
    let mut holders = BTreeMap::new();
    for tracker in listed.items {
        let memory: Option<Memory> = tracker.spec.memory.and_then(|memory| memory.unpack().ok());
        // What goes along with workloads is nobody's by itself.
        let objects = memory.into_iter().flat_map(|memory| memory.objects);
        for (known, remembered) in objects.filter(|(_, remembered)| !remembered.dependent) {
            let ours = bundle.objects.iter().find(|ours| ours.id.versionless() == known.versionless());
            let policy = remembered.policy.as_ref().and_then(read_recorded);
            holders.extend(ours.map(|ours| ours.id.clone()).zip(policy));
        }
    }
    Ok(holders)
}

/// What Applications refer to: they deliver it, and policies leave it alone.
async fn references(hub: &Hub) -> Outcome<References> {
    let applications: Api<Application> = Api::all(hub.cluster.client.clone());
    let listed = hub.cluster.ask("applications", applications.list(&ListParams::default())).await?;
    Ok(References::among(&listed.items))
}

/// The policies that could take objects of a namespace.
async fn policies(hub: &Hub, namespace: &str) -> Outcome<Vec<Value>> {
    let mut all = Vec::new();
    for group in GROUPS {
        for kind in [PolicyKind::PropagationPolicy, PolicyKind::ClusterPropagationPolicy] {
            let resource = kind.resource(group);
            let api: Api<DynamicObject> = match kind.namespaced() {
                true => Api::namespaced_with(hub.cluster.client.clone(), namespace, &resource),
                false => Api::all_with(hub.cluster.client.clone(), &resource),
            };
            let doing = format!("the list of {}.{group}", kind.plural());
            match hub.cluster.ask(&doing, api.list(&ListParams::default())).await {
                Ok(listed) => {
                    for item in listed.items {
                        let mut manifest = serde_json::to_value(&item).unwrap_or_default();
                        if let Some(manifest) = manifest.as_object_mut() {
                            manifest.insert("apiVersion".to_owned(), resource.api_version.clone().into());
                            manifest.insert("kind".to_owned(), resource.kind.clone().into());
                        }
                        all.push(manifest);
                    }
                }
                Err(failure) if failure.exit == Exit::NotFound && GROUPS.first() != Some(&group) => {}
                Err(failure) if failure.exit == Exit::NotFound => {
                    return Err(Failure::not_found(format!(
                        "the hub doesn't know {}.{group}; install or upgrade the control plane: {} install",
                        kind.plural(),
                        hub.called
                    )));
                }
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(all)
}
