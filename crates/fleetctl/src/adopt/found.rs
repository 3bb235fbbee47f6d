//! The live objects that were asked for, on every member.

use std::collections::BTreeSet;

use fleet_api::{ManagedCluster, ObjectId, names};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::Value;

use super::owners::{self, Whose};
use super::said::{Said, agree, said};
use crate::access::Cluster;
use crate::cluster::{Admin, Hub};
use crate::exit::{Exit, Failure, Outcome};
use crate::get::catalogue::Type;
use crate::get::fetch::fetch;
use crate::get::request::Request;
use crate::roster::label;

/// How many members are asked at once.
const AT_ONCE: usize = 16;

/// A member that is asked.
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// With its alias, for people.
    pub(crate) label: String,
    /// The way to it.
    pub(crate) cluster: Cluster,
    /// The namespace there.
    pub(crate) namespace: String,
    /// Why nothing is delivered to it for now.
    cordoned: Option<String>,
}

/// One object, as it is on every member.
pub(crate) struct Object {
    /// Which, in the members' namespace.
    pub(crate) id: ObjectId,
    /// In the order of the members.
    pub(crate) said: Vec<Said>,
}

/// Everything that was asked for.
pub(crate) struct Found {
    /// In the order in which it was asked for.
    pub(crate) objects: Vec<Object>,
    /// What is worth saying about it.
    pub(crate) notes: Vec<String>,
}

/// What the words of the command line ask for.
pub(crate) fn request(objects: &[String], selector: Option<&str>) -> Outcome<Request> {
    let request = Request::objects(objects, selector)?;
    let named = request.wanted.iter().any(|wanted| !wanted.names.is_empty());
    if named && selector.is_some() {
        return Err(Failure::usage("names and -l exclude each other; give one of them"));
    }
    if let Some(bare) = request.wanted.iter().find(|wanted| wanted.names.is_empty() && selector.is_none()) {
        return Err(Failure::usage(format!(
            "{:?} names no object; write {}/NAME, or choose by labels with -l",
            bare.type_, bare.type_
        )));
    }
    Ok(request)
}

impl Member {
    /// Finds the ways to all of them.
    ///
    /// # Errors
    /// Where there is none to one of them.
    pub(crate) async fn reach_all(
        hub: &Hub,
        members: &[&ManagedCluster],
        namespace: &str,
    ) -> Outcome<Vec<Self>> {
        let ways = futures::stream::iter(members).map(|member| Self::reach(hub, member, namespace));
        ways.buffered(AT_ONCE).try_collect().await
    }

    /// Finds a way to a member that leads to the cluster that joined.
    ///
    /// # Errors
    /// Where there is none.
    async fn reach(hub: &Hub, member: &ManagedCluster, namespace: &str) -> Outcome<Self> {
        let (name, shown) = (member.name_any(), label(member));
        let cluster = Admin::find(hub, member, None, None).await?.cluster;
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        match cluster.ask("its identity", namespaces.get_metadata("kube-system")).await {
            Ok(system) => {
                let uid = system.uid().unwrap_or_default();
                if let Some(recorded) = member.recorded_uid().filter(|recorded| *recorded != uid) {
                    return Err(Failure::refused(format!(
                        "what answers for {shown} is another cluster than the one that joined (UID {uid}, recorded {recorded}); if that is meant: {} cluster rejoin {name}",
                        hub.called
                    )));
                }
            }
            // Who may not read that may be allowed to read the objects all the same.
            Err(failure) if failure.exit == Exit::Refused => {}
            Err(failure) => return Err(on(&shown, failure)),
        }
        let cordoned = member.annotations().get(names::CORDONED).cloned();
        Ok(Self { name, label: shown, cluster, namespace: namespace.to_owned(), cordoned })
    }
}

/// Refuses kinds that can't be taken.
pub(crate) type Takes = fn(&Type) -> Outcome;

/// Reads everything, and refuses what can't be adopted.
///
/// `owner` is whose the objects will be, where that is known.
///
/// # Errors
/// Where a member doesn't have an object, or it is somebody's.
///
/// `takes` refuses kinds that can't be taken.
pub(crate) async fn read(
    members: &[Member],
    request: &Request,
    owner: Option<&str>,
    takes: Takes,
) -> Outcome<Found> {
    let asked = futures::stream::iter(members).map(|member| here(member, request, owner, takes));
    let all: Vec<Here> = asked.buffered(AT_ONCE).try_collect().await?;
    let mut ids: Vec<ObjectId> = Vec::new();
    for (id, _) in all.iter().flat_map(|here| &here.objects) {
        if !ids.iter().any(|known| known.versionless() == id.versionless()) {
            ids.push(id.clone());
        }
    }
    let mut missing: Vec<String> = Vec::new();
    for (member, here) in members.iter().zip(&all) {
        let absent = ids.iter().filter(|id| here.get(id).is_none()).map(ToString::to_string);
        let mut absent: Vec<String> = absent.collect();
        absent.extend(here.missing.iter().filter(|name| !names_any(name, &ids)).cloned());
        if !absent.is_empty() {
            missing.push(format!("{} has no {}", member.label, absent.join(", ")));
        }
    }
    if !missing.is_empty() {
        return Err(Failure::not_found(format!(
            "{}; take what all of them have, and the others by a command of their own",
            missing.join("; ")
        )));
    }
    if ids.is_empty() {
        let labels: Vec<&str> = members.iter().map(|member| member.label.as_str()).collect();
        let namespace = members.first().map_or("", |member| member.namespace.as_str());
        return Err(Failure::not_found(format!(
            "nothing of these kinds in namespace {namespace} on {} has the labels {}, and is nobody's; see what is there: fleetctl get {} -n {namespace} --show-labels -m {}",
            labels.join(", "),
            request.labels.as_deref().unwrap_or_default(),
            request.wanted.iter().map(|wanted| wanted.type_.as_str()).collect::<Vec<_>>().join(","),
            members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(","),
        )));
    }
    let mut objects = Vec::with_capacity(ids.len());
    for id in ids {
        let (mut of_it, mut lives) = (Vec::with_capacity(members.len()), Vec::with_capacity(members.len()));
        for (member, here) in members.iter().zip(&all) {
            let Some((found, live)) = here.get(&id) else { continue };
            if found.api_version != id.api_version {
                return Err(Failure::refused(format!(
                    "{id} is {} on {} and {} elsewhere; name one version for all, as in deployment.v1.apps/{}",
                    found.api_version, member.label, id.api_version, id.name
                )));
            }
            let autoscaled = here.autoscaled.contains(&(id.kind.clone(), id.name.clone()));
            of_it.push(said(&id, live, autoscaled));
            lives.push(live);
        }
        agree(&mut of_it, &lives);
        objects.push(Object { id, said: of_it });
    }
    let mut notes: Vec<String> = Vec::new();
    for (member, here) in members.iter().zip(&all) {
        if member.cordoned.is_some() {
            notes.push(format!(
                "warning: {} is cordoned: nothing is taken over there until: fleetctl cluster uncordon {}",
                member.label, member.name
            ));
        }
        if let Some(why) = &here.unknown {
            notes.push(format!(
                "warning: whether an autoscaler decides on replicas isn't known ({why}); where one does, take spec.replicas out on the hub"
            ));
        }
        if !here.passed_over.is_empty() {
            notes.push(format!(
                "{}: passed over, since others make them: {}",
                member.label,
                here.passed_over.join(", ")
            ));
        }
    }
    Ok(Found { objects, notes })
}

/// What one member has.
struct Here {
    objects: Vec<(ObjectId, Value)>,
    /// Named objects that aren't there, as the server calls them: `deployments.apps "web"`.
    missing: Vec<String>,
    /// Objects with the labels that a controller makes.
    passed_over: Vec<String>,
    /// What autoscalers scale: kind and name.
    autoscaled: BTreeSet<(String, String)>,
    /// Why that isn't known.
    unknown: Option<Failure>,
}

impl Here {
    fn get(&self, id: &ObjectId) -> Option<&(ObjectId, Value)> {
        self.objects.iter().find(|(known, _)| known.versionless() == id.versionless())
    }
}

/// Whether a missing object is one that another member has: then it is told by its kind.
fn names_any(missing: &str, ids: &[ObjectId]) -> bool {
    ids.iter().any(|id| missing.ends_with(&format!("{:?}", id.name)))
}

async fn here(member: &Member, request: &Request, owner: Option<&str>, takes: Takes) -> Outcome<Here> {
    let answer = fetch(&member.cluster, request, &member.namespace).await;
    let answer = answer.map_err(|failure| on(&member.label, failure))?;
    let named = request.labels.is_none();
    if named && answer.found.len() > request.wanted.len() {
        return Err(Failure::usage(
            "a category such as all has no objects of its own; write KIND/NAME with one kind",
        ));
    }
    let mut here = Here {
        objects: Vec::new(),
        missing: answer.missing.iter().map(|missing| missing.object.clone()).collect(),
        passed_over: Vec::new(),
        autoscaled: BTreeSet::new(),
        unknown: None,
    };
    for found in &answer.found {
        takes(&found.type_)?;
        for live in &found.parts {
            let Some(id) = ObjectId::of(live) else { continue };
            match owners::whose(live, owner) {
                Whose::Nobodys => {}
                Whose::Controllers(_) if !named => {
                    here.passed_over.push(format!("{} {}", id.kind, id.name));
                    continue;
                }
                Whose::Controllers(by) => return Err(owners::controlled(member, &id, by).await),
                Whose::Applications { application, foreign } => {
                    return Err(owners::owned(member, &id, &application, foreign));
                }
                Whose::Going => {
                    return Err(Failure::refused(format!(
                        "{id} on {} is being deleted; leave it out, or wait until it is gone and made anew",
                        member.label
                    )));
                }
            }
            if here.get(&id).is_some() {
                return Err(Failure::usage(format!("{id} is named twice; name it once")));
            }
            here.objects.push((id, live.clone()));
        }
    }
    if here.objects.iter().any(|(_, live)| live.pointer("/spec/replicas").is_some()) {
        match autoscaled(member).await {
            Ok(autoscaled) => here.autoscaled = autoscaled,
            Err(failure) => here.unknown = Some(failure),
        }
    }
    Ok(here)
}

/// What autoscalers scale, by kind and name.
async fn autoscaled(member: &Member) -> Outcome<BTreeSet<(String, String)>> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(member.cluster.client.clone(), &member.namespace);
    let listed = member.cluster.ask("HorizontalPodAutoscalers", api.list(&ListParams::default())).await;
    let listed = listed.map_err(|failure| on(&member.label, failure))?;
    let targets = listed.items.into_iter().filter_map(|autoscaler| autoscaler.spec);
    Ok(targets.map(|spec| (spec.scale_target_ref.kind, spec.scale_target_ref.name)).collect())
}

/// Refuses kinds that no Application takes from a member.
pub(crate) fn adoptable(type_: &Type) -> Outcome {
    let kind = &type_.kind;
    if !type_.namespaced {
        return Err(Failure::usage(format!(
            "{kind} is a kind without namespaces: it belongs to the whole cluster, and isn't adopted; leave it out, or deliver it by an Application with a take-over policy (docs/adoption.md)"
        )));
    }
    if type_.group.is_empty() && kind == "Secret" {
        return Err(Failure::refused(
            "a Secret isn't adopted: its values would stand in the Application; leave it out, it stays as it is, or put it on the hub and refer to it with ref-objects and a take-over policy (docs/adoption.md)",
        ));
    }
    Ok(())
}

/// The same, and where it was.
pub(crate) fn on(label: &str, failure: Failure) -> Failure {
    let advice = match failure.message.contains("forbidden") {
        true => "; ask that cluster's administrator for the right, or leave this out",
        false => "",
    };
    Failure::new(failure.exit, format!("{label}: {}{advice}", failure.message))
}
