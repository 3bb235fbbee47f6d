//! Onto the hub: what is there first, then one server-side apply for each object.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Resource, ResourceExt as _};
use serde_json::Value;

use super::manifests::{
    CONTROLLER, KINDS, MANAGED_BY, MANAGED_CLUSTERS, MANAGER, NAME_LABEL, NAMESPACE_NOTE, SELECTOR, name,
};
use super::optional;
use crate::access::Cluster;
use crate::exit::{Exit, Failure, Outcome};

/// What is on a hub before.
pub(super) struct Found {
    /// The definition of ManagedCluster is there, and isn't ours.
    pub(super) others_clusters: bool,
    /// Whose it is, in words.
    pub(super) clusters_owner: Option<String>,
}

/// Looks at what is there, and refuses what can't be upgraded.
pub(super) async fn look(hub: &Cluster, namespace: &str, take_over: bool) -> Outcome<Found> {
    installed(hub, namespace).await?;
    let api: Api<CustomResourceDefinition> = Api::all(hub.client.clone());
    let mut found = Found { others_clusters: false, clusters_owner: None };
    let wanted = fleet_api::crds::all().map_err(|error| Failure::failed(error.to_string()))?;
    for definition in &wanted {
        let name = name(definition);
        let doing = format!("definition {name}");
        let Some(there) = optional(hub, &doing, api.get(name)).await? else { continue };
        if there.labels().get(NAME_LABEL).is_some_and(|part| part == "fleetctl") {
            continue;
        }
        let owner = owner(&there);
        if name == MANAGED_CLUSTERS {
            usable(&there, &owner)?;
            found.others_clusters = true;
            found.clusters_owner = Some(owner);
        } else if !take_over {
            return Err(Failure::refused(format!(
                "the definition {name} belongs to {owner}; two controllers of the same kinds undo each other's work. \
                 docs/moving-over.md has the way; where the other engine is stopped for good, take it over: \
                 fleetctl install --take-over"
            )));
        }
    }
    Ok(found)
}

/// Refuses a second installation, and one that helm keeps.
async fn installed(hub: &Cluster, namespace: &str) -> Outcome {
    let Some(role) = role(hub).await? else { return Ok(()) };
    if let Some(release) = helm(&role) {
        return Err(Failure::refused(format!(
            "fleetctl is on this hub already, installed by helm as {release}; upgrade it with helm"
        )));
    }
    match role.annotations().get(NAMESPACE_NOTE) {
        Some(place) if place != namespace => Err(Failure::refused(format!(
            "fleetctl is on this hub already, in namespace {place}; a hub has one control plane. Upgrade that one \
             (-n {place}), or take it away first: fleetctl uninstall -n {place}"
        ))),
        _ => Ok(()),
    }
}

/// The object that there is one of on every hub with an installation.
pub(super) async fn role(hub: &Cluster) -> Outcome<Option<DynamicObject>> {
    let roles = api(hub, "rbac.authorization.k8s.io/v1", "ClusterRole", "");
    optional(hub, "what is installed", roles.get(CONTROLLER)).await
}

/// The helm release that an object is part of.
pub(super) fn helm<K: Resource>(object: &K) -> Option<String> {
    let notes = object.annotations();
    let release = notes.get("meta.helm.sh/release-name")?;
    let namespace = notes.get("meta.helm.sh/release-namespace").map(String::as_str).unwrap_or_default();
    (object.labels().get(MANAGED_BY).is_some_and(|by| by == "Helm"))
        .then(|| format!("release {release:?} in namespace {namespace:?}"))
}

/// Whose a definition is, in words.
fn owner(definition: &CustomResourceDefinition) -> String {
    if let Some(release) = helm(definition) {
        return format!("helm's {release}");
    }
    let applied = definition.managed_fields().iter().filter(|entry| entry.subresource.is_none());
    let manager = applied.filter_map(|entry| entry.manager.clone()).next_back();
    manager.map_or_else(
        || "somebody else".to_owned(),
        |manager| format!("somebody else (written by {manager:?})"),
    )
}

/// Whether another project's ManagedCluster has what we read and write of it.
fn usable(definition: &CustomResourceDefinition, owner: &str) -> Outcome {
    let served = definition.spec.versions.iter().find(|version| version.name == "v1" && version.served);
    let tree = served.and_then(|version| serde_json::to_value(version).ok()).unwrap_or_default();
    let properties = "/schema/openAPIV3Schema/properties";
    let wanted = [
        "spec/properties/hubAcceptsClient",
        "status/properties/conditions",
        "status/properties/clusterClaims",
    ];
    let missing = wanted.iter().find(|path| tree.pointer(&format!("{properties}/{path}")).is_none());
    let what = match (served, missing) {
        (None, _) => "doesn't serve version v1".to_owned(),
        (_, Some(path)) => format!("has no field {}", path.replace("/properties/", ".")),
        _ => return Ok(()),
    };
    Err(Failure::refused(format!(
        "the definition of ManagedCluster belongs to {owner} and {what}; upgrade that project, or this hub can't have members"
    )))
}

/// The resource of an object. Plurals are regular for everything that is installed.
fn api(hub: &Cluster, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        "" => Api::all_with(hub.client.clone(), &resource),
        namespace => Api::namespaced_with(hub.client.clone(), namespace, &resource),
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// An object as `kind/name`, with its namespace.
pub(super) fn title(object: &Value) -> String {
    let namespace = text(object, "/metadata/namespace");
    let place = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
    format!("{}/{}{place}", text(object, "/kind").to_lowercase(), name(object))
}

/// Applies an object; answers what came of it.
pub(super) async fn one(hub: &Cluster, object: &Value) -> Outcome<String> {
    let title = title(object);
    let api =
        api(hub, text(object, "/apiVersion"), text(object, "/kind"), text(object, "/metadata/namespace"));
    let before = optional(hub, &title, api.get_metadata(name(object))).await?;
    // Our own objects are ours whole; whose they were before was looked at first.
    let params = PatchParams::apply(MANAGER).force();
    let after = hub.ask(&title, api.patch(name(object), &params, &Patch::Apply(object))).await;
    let after = after.map_err(|failure| explained(failure, object))?;
    let verb = match before {
        None => "created",
        Some(before) if before.resource_version() == after.resource_version() => "unchanged",
        Some(_) => "changed",
    };
    Ok(format!("{title} {verb}"))
}

fn explained(failure: Failure, object: &Value) -> Failure {
    let namespace = text(object, "/metadata/namespace");
    if failure.exit == Exit::NotFound && !namespace.is_empty() {
        let message = format!("{failure}; does the hub have this kind, and namespace {namespace}?");
        return Failure::new(failure.exit, message);
    }
    if failure.exit == Exit::Refused {
        let message = format!("{failure}; installing takes the rights of a cluster administrator");
        return Failure::new(failure.exit, message);
    }
    failure
}

/// Waits until the kinds are served.
pub(super) async fn established(hub: &Cluster, definitions: &[Value], patience: Duration) -> Outcome {
    let api: Api<CustomResourceDefinition> = Api::all(hub.client.clone());
    let all = definitions.iter().map(async |definition| {
        let name = name(definition);
        let waited = await_condition(api.clone(), name, conditions::is_crd_established());
        match tokio::time::timeout(patience, waited).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Failure::failed(format!("definition {name}: {error}"))),
            Err(_) => Err(Failure::new(
                Exit::Waiting,
                format!(
                    "definition {name} isn't served after {} s; see: kubectl describe crd {name}",
                    patience.as_secs()
                ),
            )),
        }
    });
    futures::future::try_join_all(all).await.map(|_| ())
}

/// Waits until every controller is of this version and ready.
pub(super) async fn rolled_out(hub: &Cluster, namespace: &str, patience: Duration) -> Outcome {
    let api: Api<Deployment> = Api::namespaced(hub.client.clone(), namespace);
    let done = conditions::is_deployment_completed();
    match tokio::time::timeout(patience, await_condition(api, CONTROLLER, done)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Failure::failed(format!("the Deployment: {error}"))),
        Err(_) => Err(Failure::new(
            Exit::Waiting,
            format!(
                "the controllers aren't ready after {} s; see: kubectl describe deployment {CONTROLLER} -n {namespace}",
                patience.as_secs()
            ),
        )),
    }
}

/// Deletes what an earlier installation made and this one leaves out.
pub(super) async fn prune(hub: &Cluster, wanted: &[Value]) -> Outcome<Vec<String>> {
    let mut gone = Vec::new();
    for object in ours(hub).await? {
        if !wanted.iter().any(|wanted| title(wanted) == title(&object)) {
            delete(hub, &object).await?;
            gone.push(format!("{} deleted", title(&object)));
        }
    }
    Ok(gone)
}

/// Everything but definitions and the namespace that an installation made.
pub(super) async fn ours(hub: &Cluster) -> Outcome<Vec<Value>> {
    let params = ListParams::default().labels(SELECTOR);
    let mut all = Vec::new();
    for (api_version, kind) in KINDS {
        let api = api(hub, api_version, kind, "");
        let doing = format!("the list of {kind}s");
        let Some(listed) = optional(hub, &doing, api.list(&params)).await? else { continue };
        all.extend(listed.items.into_iter().map(|object| {
            serde_json::json!({
                "apiVersion": api_version,
                "kind": kind,
                "metadata": { "name": object.name_any(), "namespace": object.namespace() },
            })
        }));
    }
    Ok(all)
}

/// Deletes an object; one that is gone is gone.
pub(super) async fn delete(hub: &Cluster, object: &Value) -> Outcome {
    let api =
        api(hub, text(object, "/apiVersion"), text(object, "/kind"), text(object, "/metadata/namespace"));
    let params = DeleteParams::background();
    optional(hub, &title(object), api.delete(name(object), &params)).await.map(|_| ())
}
