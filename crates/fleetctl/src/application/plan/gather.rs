//! What is known of the members of a plan: asked in parallel, each within a deadline; one that doesn't answer costs the
//! others nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleet_api::{ManagedCluster, ObjectId};
use fleet_controller::{GatePlan, Planner, claims};
use fleet_plan::hints::version;
use fleet_plan::{ActionKind, Facts, MemberFacts};
use futures::StreamExt as _;
use http::Request;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::Api;
use serde::Serialize;
use serde_json::Value;

use crate::access::Cluster;
use crate::cluster::{Admin, Hub};
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::get::catalogue::Catalogue;
use crate::roster::Roster;

/// How many members are asked at once.
const MEMBERS_AT_ONCE: usize = 32;
/// How many objects of one member.
const OBJECTS_AT_ONCE: usize = 8;
/// So long one member may take for everything, where the command line doesn't give it less.
const PATIENCE: Duration = Duration::from_secs(10);
/// Metadata without the object: what is asked for of Secrets.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// A way to a member, with what it serves.
pub(crate) struct Reached {
    pub(crate) cluster: Cluster,
    pub(crate) catalogue: Catalogue,
}

/// A member that nothing is known of.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Silent {
    /// Its name.
    pub(crate) cluster: String,
    /// Why.
    pub(crate) message: String,
}

/// What was gathered.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) facts: Facts,
    pub(crate) reached: BTreeMap<String, Reached>,
    pub(crate) silent: Vec<Silent>,
    pub(crate) notes: Vec<String>,
}

impl Gathered {
    /// From what the hub, or files, say of members alone.
    pub(super) fn of_records(clusters: &[ManagedCluster]) -> Self {
        let known = clusters.iter().map(|member| (member.name_any(), of_record(member)));
        Self { facts: Facts { members: known.collect(), ..Facts::default() }, ..Self::default() }
    }

    /// From the members themselves.
    pub(super) async fn of_members(
        environment: &Environment,
        hub: &Hub,
        roster: &Roster,
        plans: &[&GatePlan],
    ) -> Self {
        let mut gathered = Self::of_records(roster.all());
        let wanted = wanted(plans);
        let patience = hub.cluster.deadline.min(PATIENCE);
        let (count, total) = (AtomicUsize::new(0), wanted.len());
        let asked = wanted.iter().map(|(name, ids)| {
            let count = &count;
            async move {
                let answer = async {
                    let member = roster.find(name)?;
                    ask(hub, member, ids, patience).await
                };
                let answer = match tokio::time::timeout(patience, answer).await {
                    Ok(answer) => answer,
                    Err(_) => Err(Failure::new(
                        Exit::Unreachable,
                        format!("no answer within {} s", patience.as_secs()),
                    )),
                };
                progress(environment, count.fetch_add(1, Ordering::Relaxed) + 1, total);
                (name.clone(), answer)
            }
        });
        let mut asked = futures::stream::iter(asked).buffer_unordered(MEMBERS_AT_ONCE);
        while let Some((name, answer)) = asked.next().await {
            match answer {
                Ok((facts, reached)) => {
                    let version = gathered.facts.members.get(&name).and_then(|known| known.version);
                    gathered.facts.members.insert(name.clone(), MemberFacts { version, ..facts });
                    gathered.reached.insert(name, reached);
                }
                Err(failure) => gathered.silent.push(Silent { cluster: name, message: failure.to_string() }),
            }
        }
        gathered.silent.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        gathered
    }

    /// Adds what other Applications claim.
    pub(super) async fn and_claims(
        &mut self,
        hub: &Cluster,
        plans: &[&GatePlan],
        except: &[(String, String)],
    ) {
        let clusters: BTreeSet<String> = wanted(plans).into_keys().collect();
        let asked = claims(&hub.client, &clusters, except);
        match tokio::time::timeout(hub.deadline, asked).await {
            Ok(Ok(claims)) => self.facts.claims = claims,
            Ok(Err(error)) => self.notes.push(format!("what other applications have isn't known: {error}")),
            Err(_) => {
                self.notes.push("what other applications have isn't known: the hub doesn't answer".to_owned())
            }
        }
    }

    /// Adds which groups that gates demand may not approve.
    pub(super) async fn and_powers(&mut self, hub: &Cluster, planners: &[Planner]) {
        for planner in planners {
            match tokio::time::timeout(hub.deadline, planner.powerless(&hub.client)).await {
                Ok(Ok(said)) => self.notes.extend(said),
                Ok(Err(error)) => self.notes.push(format!("whether groups may approve isn't known: {error}")),
                Err(_) => {
                    self.notes
                        .push("whether groups may approve isn't known: the hub doesn't answer".to_owned());
                }
            }
        }
    }

    /// The facts for one of several Applications that are planned together: what the others will have counts as claimed.
    pub(super) fn for_one(&self, planners: &[Planner], me: usize) -> Facts {
        let mut facts = self.facts.clone();
        for other in planners.iter().enumerate().filter(|(at, _)| *at != me).map(|(_, other)| other) {
            let app = other.application();
            let name = format!("{}/{}", app.namespace().unwrap_or_default(), app.name_any());
            for (cluster, ids) in other.claimed() {
                facts.claims.entry(cluster).or_default().extend(ids.into_iter().map(|id| (id, name.clone())));
            }
        }
        facts
    }
}

/// By member, the objects that a plan would make or change.
fn wanted(plans: &[&GatePlan]) -> BTreeMap<String, BTreeSet<ObjectId>> {
    let mut wanted: BTreeMap<String, BTreeSet<ObjectId>> = BTreeMap::new();
    for target in plans.iter().flat_map(|gate| &gate.plans).flat_map(|plan| &plan.targets) {
        let here = wanted.entry(target.target.cluster.clone()).or_default();
        let sent =
            target.actions.iter().filter(|a| matches!(a.kind, ActionKind::Create | ActionKind::Change));
        here.extend(sent.map(|action| action.id.clone()));
    }
    wanted
}

fn of_record(member: &ManagedCluster) -> MemberFacts {
    let known = member.status.as_ref().and_then(|status| status.version.as_ref());
    MemberFacts { version: known.and_then(|known| version(&known.kubernetes)), ..MemberFacts::default() }
}

fn progress(environment: &Environment, done: usize, total: usize) {
    if environment.streams.err_is_terminal
        && total > MEMBERS_AT_ONCE
        && (done.is_multiple_of(MEMBERS_AT_ONCE) || done == total)
    {
        environment.streams.note(&format!("asked {done} of {total} members"));
    }
}

/// Finds a way to a member that leads to the cluster that joined.
///
/// # Errors
/// Where there is none.
pub(crate) async fn reach(hub: &Hub, member: &ManagedCluster, patience: Duration) -> Outcome<Reached> {
    let mut cluster = Admin::find(hub, member, None, None).await?.cluster;
    cluster.deadline = patience;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    match cluster.ask("its identity", namespaces.get_metadata("kube-system")).await {
        Ok(system) => {
            let uid = system.uid().unwrap_or_default();
            if let Some(recorded) = member.recorded_uid().filter(|recorded| *recorded != uid) {
                return Err(Failure::refused(format!(
                    "what answers is another cluster than the one that joined (UID {uid}, recorded {recorded}); if that is meant: {} cluster rejoin {}",
                    hub.called,
                    member.name_any()
                )));
            }
        }
        // Who may not read that may be allowed to read the objects all the same.
        Err(failure) if failure.exit == Exit::Refused => {}
        Err(failure) => return Err(failure),
    }
    let catalogue = Catalogue::load(&cluster).await?;
    Ok(Reached { cluster, catalogue })
}

async fn ask(
    hub: &Hub,
    member: &ManagedCluster,
    ids: &BTreeSet<ObjectId>,
    patience: Duration,
) -> Outcome<(MemberFacts, Reached)> {
    let reached = reach(hub, member, patience).await?;
    let types = reached.catalogue.types().iter();
    let served = types.map(|type_| (type_.api_version(), type_.kind.clone())).collect();
    let live = futures::stream::iter(ids).map(|id| async { (id.clone(), get(&reached, id).await) });
    let live: Vec<(ObjectId, Option<Value>)> = live.buffer_unordered(OBJECTS_AT_ONCE).collect().await;
    let live = live.into_iter().filter_map(|(id, object)| Some((id, object?))).collect();
    let namespaces: BTreeSet<&str> =
        ids.iter().map(|id| id.namespace.as_str()).filter(|namespace| !namespace.is_empty()).collect();
    let mut quotas = Vec::new();
    for namespace in namespaces {
        quotas.extend(quotas_of(&reached.cluster, namespace).await);
    }
    Ok((MemberFacts { served: Some(served), live, quotas, ..MemberFacts::default() }, reached))
}

/// An object as it is there; of a Secret its metadata. What may not be read is taken for unknown.
async fn get(reached: &Reached, id: &ObjectId) -> Option<Value> {
    let type_ = reached.catalogue.of(id)?;
    let path =
        type_.path(Some(&id.namespace).filter(|_| type_.namespaced).map(String::as_str), Some(&id.name));
    let mut request = Request::get(path);
    if id.is_secret() {
        request = request.header(http::header::ACCEPT, METADATA);
    }
    let request = request.body(Vec::new()).ok()?;
    let mut object: Value =
        reached.cluster.ask("an object", reached.cluster.client.request(request)).await.ok()?;
    if id.is_secret() {
        // A server that doesn't know that form answers with the whole.
        for holder in ["data", "stringData"] {
            object.as_object_mut()?.remove(holder);
        }
    }
    Some(object)
}

async fn quotas_of(cluster: &Cluster, namespace: &str) -> Vec<Value> {
    let path =
        format!("/api/v1/namespaces/{}/resourcequotas", crate::get::catalogue::escape_value(namespace));
    let Ok(request) = Request::get(path).body(Vec::new()) else { return Vec::new() };
    let listed: Outcome<Value> = cluster.ask("quotas", cluster.client.request(request)).await;
    let items = listed.ok().and_then(|mut list| list.get_mut("items").map(Value::take));
    match items {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}
