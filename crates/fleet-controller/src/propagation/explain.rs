//! Why an object stands on a cluster as it does, or not at all: what its policies say now, from what is on the hub.

use std::sync::Arc;

use fleet_api::propagation::{
    ClaimedObject, GROUPS, ObjectPlace, PolicyKind, Precision, PropagationPolicyStatus, Severity,
};
use fleet_api::{Application, ManagedCluster, ObjectId, Provenance, names, staged};
use fleet_json::ContentHash;
use fleet_placement::{Decision, Fleet, Survey};
use fleet_propagation::{Claims, OverridePolicy, Overrides, PolicyId, Reader};
use fleet_render::{KeyRules, LeftKey, OverrideStep, OverriderProblem};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::ApiResource;
use serde_json::Value;

use super::applications::References;
use super::definitions::definitions;
use super::distributor::fleet_of;
use super::items::placed;
use super::ledger::Ledger;
use super::policies::{checked, manifest, read_recorded};
use super::render::{labelled, overridden, replicated};
use super::served::Served;
use super::sources::Source;
use crate::hub::key_rules::read_key_rules;
use crate::plans::preview::{PreviewError, hub_identity};

/// What policies say about an object on a cluster.
#[derive(Debug, Clone)]
pub struct Distributed {
    /// The object, in the version of the hub's.
    pub id: ObjectId,
    /// The policy that has it: `PropagationPolicy demo/web`; nothing where none has.
    pub winner: Option<String>,
    /// How exactly that selects it; nothing where it has errors, keeps what it has, and doesn't select it any more.
    pub precision: Option<Precision>,
    /// No policy selects it: it goes along with workloads that the winner distributes (`propagateDeps`).
    pub dependent: bool,
    /// The others that select it, best first.
    pub lost: Vec<LostClaim>,
    /// How it stands there, as the winner's status says; nothing where it isn't to be there.
    pub place: Option<ObjectPlace>,
    /// Why the winner doesn't choose this cluster, where the cluster itself is the reason.
    pub left_out: Option<String>,
    /// The winner has chosen this cluster, as is on record.
    pub chosen: bool,
    /// The replicas that it was told to have there, where they are divided.
    pub replicas: Option<u64>,
    /// Every override that is made, in order.
    pub overrides: Vec<OverrideStep>,
    /// What overrides don't do, as they seem to say.
    pub warnings: Vec<OverriderProblem>,
    /// The override that can't be made: nothing new is delivered there.
    pub failed: Option<OverriderProblem>,
    /// Labels and annotations of the hub's object that aren't sent: they belong to the member.
    pub left: Vec<LeftKey>,
    /// The object as it is to stand there by what the hub says now; without the overrides where one can't be made.
    pub object: Arc<Value>,
    /// Where its fields come from.
    pub provenance: Provenance,
    /// Hash of its content, as the label `fleetctl.dev/content` has it where it was delivered so.
    pub content: String,
    /// Our field manager.
    pub manager: String,
}

/// A policy that selects an object and doesn't have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostClaim {
    /// The policy: `PropagationPolicy demo/web`.
    pub policy: String,
    /// A code, such as `LowerPriority`.
    pub reason: String,
    /// The same in words, and the way out.
    pub message: String,
}

/// The policies of the hub, judged.
struct Judged {
    served: Served,
    claims: Claims,
    overrides: Overrides,
    /// Their status as it is on the hub.
    statuses: Vec<(PolicyId, PropagationPolicyStatus)>,
}

/// What policies say about an object of the hub on a cluster. `id` may be of another version than the hub's. Nothing where
/// the hub doesn't have the object, or no policy selects it.
///
/// # Errors
/// What the hub refused, or can't be read.
pub async fn distributed(
    client: &kube::Client,
    cluster: &str,
    id: &ObjectId,
) -> Result<Option<Distributed>, PreviewError> {
    let judged = judge(client).await?;
    let Some(resource) = judged.served.resource(id.group(), id.version(), &id.kind) else { return Ok(None) };
    let api: Api<DynamicObject> = match id.namespace.as_str() {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let found = api.get_opt(&id.name).await.map_err(|error| PreviewError::hub(id.to_string(), error))?;
    let keys = key_rules(client).await;
    let left = found.as_ref().map(|found| left_to_member(&keys, &resource, found)).unwrap_or_default();
    let read = |found| Source::read(&resource.api_version, &resource.kind, found, &keys);
    let Some(source) = found.and_then(read) else {
        return Ok(None);
    };
    let id = source.facts.id.clone();
    let Judged { mut claims, overrides, statuses, .. } = judged;

    let (_, mut recorded) = Ledger::load(client).await?;
    let remembered = recorded.objects.remove(&id).map(|(remembered, _)| remembered).unwrap_or_default();
    let mut facts = source.facts.clone();
    facts.application = application_of(client, &source).await?;
    facts.holder = remembered.policy.as_ref().and_then(read_recorded);
    claims.set_object(facts);
    let Some(outcome) = claims.outcome(&id) else { return Ok(None) };
    let chosen = outcome.winner.as_ref().map(|(winner, _)| winner);
    let along = statuses.iter().find(|(_, status)| entry(&status.dependents, &id).is_some());
    let winner = chosen.or(along.filter(|_| remembered.dependent).map(|(policy, _)| policy));
    if winner.is_none() && outcome.lost.is_empty() {
        return Ok(None);
    }
    let lost = outcome.lost.iter().map(|(policy, lost)| LostClaim {
        policy: policy.to_string(),
        reason: lost.code().to_owned(),
        message: lost.message(winner),
    });

    let clusters: Api<ManagedCluster> = Api::all(client.clone());
    let clusters = clusters.list(&ListParams::default()).await;
    let clusters = clusters.map_err(|error| PreviewError::hub("the ManagedClusters", error))?;
    let clusters: Vec<Arc<ManagedCluster>> = clusters.items.into_iter().map(Arc::new).collect();
    let fleet: Fleet = fleet_of(&clusters);
    let chosen_there = remembered.shares.contains_key(cluster);
    let placed = placed(&remembered);
    let left_out = winner.and_then(|winner| claims.policy(winner)).and_then(|policy| {
        let survey = Survey::of(&policy.rules, &fleet);
        let left = Decision { placed, ..Decision::default() }.explain(&survey, &fleet);
        left.into_iter().find(|left| left.cluster == cluster).map(|left| left.reason.to_string())
    });
    let left_out = left_out.or_else(|| said_of(&statuses, winner?, &id));
    let about = overrides.about(&source.facts);
    let replicas = remembered.told.get(cluster).copied();
    let mut object = replicated(&source, replicas);
    let mut provenance = Provenance::new(fleet_api::Source::Referenced);
    let (mut steps, mut warnings, mut failed) = (Vec::new(), Vec::new(), None);
    let broken = about.iter().find(|(policy, _)| !policy.acts).map(|(policy, _)| policy);
    match overridden(&object, &about, cluster, &fleet) {
        _ if broken.is_some() => failed = broken.map(|policy| invalid(policy, &id)),
        Ok(done) => {
            (object, provenance) = (done.object, done.provenance);
            (steps, warnings) = (done.steps, done.warnings);
        }
        Err(error) => failed = Some(*error.0),
    }
    let content = ContentHash::of_value(&object).short();
    let owner = owner(client).await?;
    Ok(Some(Distributed {
        place: winner.and_then(|winner| place(&statuses, winner, &id, cluster)),
        winner: winner.map(ToString::to_string),
        precision: outcome.winner.as_ref().and_then(|(_, precision)| *precision),
        dependent: winner.is_some() && chosen.is_none(),
        lost: lost.collect(),
        left_out,
        chosen: chosen_there,
        replicas,
        overrides: steps,
        warnings,
        failed,
        left,
        object: Arc::new(labelled(object, &owner)),
        provenance,
        content,
        manager: names::field_manager(&owner),
        id,
    }))
}

/// An override policy with errors, as an override that can't be made.
fn invalid(policy: &OverridePolicy, id: &ObjectId) -> OverriderProblem {
    let error = policy.problems.iter().find(|problem| problem.severity == Severity::Error);
    OverriderProblem {
        policy: policy.id.to_string(),
        place: error.map(|problem| problem.path.clone()).unwrap_or_default(),
        object: id.to_string(),
        code: "InvalidOverride",
        message: error.map(|problem| problem.message.clone()).unwrap_or_default(),
    }
}

/// The rules of keys, as far as whoever asks may read them: else the defaults.
async fn key_rules(client: &kube::Client) -> KeyRules {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    let listed = maps.list(&ListParams::default().labels(names::KEY_RULES)).await;
    listed.map_or_else(|_| KeyRules::builtin().clone(), |maps| read_key_rules(&maps.items).0)
}

fn left_to_member(keys: &KeyRules, resource: &ApiResource, found: &DynamicObject) -> Vec<LeftKey> {
    keys.leave(&mut serde_json::json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": found.metadata,
    }))
}

/// What everything that policies distribute has as its owner.
async fn owner(client: &kube::Client) -> Result<String, PreviewError> {
    Ok(staged::distribution_owner(&hub_identity(client).await?))
}

/// Reads every policy of the hub.
async fn judge(client: &kube::Client) -> Result<Judged, PreviewError> {
    let list = async |resource: ApiResource| {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let listed = api.list(&ListParams::default()).await;
        listed.map_err(|error| PreviewError::hub(format!("the list of {}", resource.plural), error))
    };
    let mut served = Served::default();
    for definition in list(definitions()).await?.items {
        served.put(&serde_json::to_value(definition).unwrap_or_default());
    }
    let reader = Reader::new(served.table());
    let kinds = GROUPS.into_iter().flat_map(|group| PolicyKind::ALL.map(|kind| (group, kind)));
    let kinds = kinds.filter(|(group, kind)| served.has(&format!("{}.{group}", kind.plural())));
    let kinds: Vec<(&str, PolicyKind)> = kinds.collect();
    let lists = try_join_all(kinds.iter().map(|(group, kind)| list(kind.resource(group)))).await?;
    let (mut claims, mut overrides, mut statuses) = (Claims::new(), Overrides::new(), Vec::new());
    for ((group, kind), listed) in kinds.into_iter().zip(lists) {
        for policy in listed.items {
            let Some((id, manifest)) = manifest(kind, group, &policy) else { continue };
            if kind.overrides() {
                reader.overrides(&manifest).map(|policy| overrides.set(checked(policy))).ok();
            } else {
                reader.propagation(&manifest).map(|policy| claims.set_policy(policy)).ok();
                let status = policy.data.get("status").cloned().unwrap_or_default();
                statuses.push((id, serde_json::from_value(status).unwrap_or_default()));
            }
        }
    }
    Ok(Judged { served, claims, overrides, statuses })
}

/// The Application that refers to an object.
async fn application_of(client: &kube::Client, source: &Source) -> Result<Option<String>, PreviewError> {
    let applications: Api<Application> = Api::all(client.clone());
    let listed = applications.list(&ListParams::default()).await;
    let listed = listed.map_err(|error| PreviewError::hub("the Applications", error))?;
    Ok(References::among(&listed.items).of(&source.facts.id, &source.facts.labels))
}

/// How an object stands on a cluster, as its policy's status says.
fn place(
    statuses: &[(PolicyId, PropagationPolicyStatus)],
    policy: &PolicyId,
    id: &ObjectId,
    cluster: &str,
) -> Option<ObjectPlace> {
    let (_, status) = statuses.iter().find(|(known, _)| known == policy)?;
    let entry = entry(&status.claimed, id).or_else(|| entry(&status.dependents, id))?;
    entry.places.iter().find(|place| place.cluster == cluster).cloned()
}

/// What a policy's status says of an object wherever it is.
fn said_of(
    statuses: &[(PolicyId, PropagationPolicyStatus)],
    policy: &PolicyId,
    id: &ObjectId,
) -> Option<String> {
    let (_, status) = statuses.iter().find(|(known, _)| known == policy)?;
    let entry = entry(&status.claimed, id).filter(|entry| !entry.message.is_empty())?;
    Some(entry.message.clone())
}

fn entry<'s>(told: &'s [ClaimedObject], id: &ObjectId) -> Option<&'s ClaimedObject> {
    told.iter().find(|told| told.object.versionless() == id.versionless())
}
