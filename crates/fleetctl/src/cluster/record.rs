//! What is written on the hub about a member.

use fleet_api::{Condition, ManagedCluster, conditions, names};
use fleet_members::Credentials;
use fleet_members::remote::CREDENTIAL_NAMESPACES;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};

use super::account::MANAGER;
use super::member::Identity;
use super::rights::Right;
use crate::access::Cluster;
use crate::exit::{Exit, Failure, Outcome};
use crate::roster::Roster;

/// Our kinds' group.
const GROUP: &str = "cluster.open-cluster-management.io";

/// What `join` has found out and decided.
pub(crate) struct Registration {
    pub(crate) name: String,
    /// `None` leaves the one that it has.
    pub(crate) alias: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    /// Annotations about the account; null takes one away.
    pub(crate) access: Map<String, Value>,
    pub(crate) identity: Identity,
    pub(crate) credentials: Credentials,
}

/// What whoever registers members must be allowed to do on the hub.
pub(crate) fn needs() -> Vec<Right> {
    let mut needs: Vec<Right> = Vec::new();
    for verb in ["create", "patch"] {
        needs.push(Right::new(verb, GROUP, "managedclusters"));
    }
    needs.push(Right::new("patch", GROUP, "managedclusters/status"));
    for verb in ["get", "create", "update"] {
        needs.push(Right::new(verb, "", "secrets").within(names::SYSTEM_NAMESPACE));
    }
    needs
}

/// The UID of the hub's kube-system namespace.
pub(crate) async fn hub_uid(hub: &Cluster) -> Outcome<String> {
    let api: Api<Namespace> = Api::all(hub.client.clone());
    let system = hub.ask("the hub's identity", api.get_metadata(super::profile::SYSTEM)).await?;
    Ok(system.uid().unwrap_or_default())
}

/// How a registration begins.
pub(crate) struct Begin {
    /// What the note on the unfinished member says.
    pub(crate) why: String,
    /// Whether it is accepted at the end.
    pub(crate) accept: bool,
}

/// Registers a member. It is accepted last, so what a crash leaves receives nothing, and the same again completes it.
pub(crate) async fn register(
    hub: &Cluster,
    roster: &Roster,
    wanted: &Registration,
    now: Timestamp,
) -> Outcome {
    let known = roster.all().iter().find(|member| member.name_any() == wanted.name);
    // One that a person doesn't accept stays so; one that we had begun, or that is new, is accepted at the end.
    let accept = known.is_none_or(|member| member.annotations().contains_key(names::JOINING));
    begin(hub, roster, wanted, &Begin { why: "true".to_owned(), accept }).await?;
    complete(hub, wanted, accept, now).await
}

/// Makes the member's object, with a note that it isn't finished where it is to be accepted later.
pub(crate) async fn begin(hub: &Cluster, roster: &Roster, wanted: &Registration, begin: &Begin) -> Outcome {
    let name = wanted.name.as_str();
    let known = roster.all().iter().find(|member| member.name_any() == name);
    make_namespace(hub).await?;
    let mut annotations = wanted.access.clone();
    if begin.accept {
        annotations.insert(names::JOINING.to_owned(), json!(begin.why));
    }
    if let Some(alias) = &wanted.alias {
        annotations.insert(names::CLUSTER_ALIAS.to_owned(), json!(alias));
    }
    let ordered =
        annotations.contains_key(names::JOIN_ORDER) || known.is_some_and(|member| member.join_order() > 0);
    if !ordered {
        let last = roster.all().iter().map(ManagedCluster::join_order).max().unwrap_or_default();
        annotations.insert(names::JOIN_ORDER.to_owned(), json!((last + 1).to_string()));
    }
    let labels: Map<String, Value> =
        wanted.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let metadata = json!({ "name": name, "annotations": annotations, "labels": labels });
    match known {
        Some(_) => patch(hub, name, &json!({ "metadata": metadata })).await?,
        None => create(hub, &metadata).await?,
    };
    Ok(())
}

/// Gives a member its credentials and its identity, and accepts it.
pub(crate) async fn complete(hub: &Cluster, wanted: &Registration, accept: bool, now: Timestamp) -> Outcome {
    let name = wanted.name.as_str();
    put_secret(hub, &wanted.credentials.secret(names::SYSTEM_NAMESPACE, name)).await?;
    let api: Api<ManagedCluster> = Api::all(hub.client.clone());
    let before = hub.ask(&format!("ManagedCluster {name}"), api.get(name)).await?;
    record_identity(hub, &before, &wanted.identity, now).await?;
    if accept {
        let last = json!({
            "metadata": { "annotations": { names::JOINING: null } }, "spec": { "hubAcceptsClient": true },
        });
        patch(hub, name, &last).await?;
    }
    Ok(())
}

/// Patches a ManagedCluster (JSON merge patch).
pub(crate) async fn patch(hub: &Cluster, name: &str, change: &Value) -> Outcome<ManagedCluster> {
    let api: Api<ManagedCluster> = Api::all(hub.client.clone());
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    hub.ask(&format!("ManagedCluster {name}"), api.patch(name, &params, &Patch::Merge(change))).await
}

async fn create(hub: &Cluster, metadata: &Value) -> Outcome<ManagedCluster> {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ManagedCluster", "metadata": metadata,
        "spec": { "hubAcceptsClient": false },
    });
    // A new object has nothing to take away.
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.retain(|_, value| !value.is_null());
    }
    let made: ManagedCluster =
        serde_json::from_value(object).map_err(|error| Failure::failed(error.to_string()))?;
    let api: Api<ManagedCluster> = Api::all(hub.client.clone());
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    hub.ask(&format!("ManagedCluster {}", made.name_any()), api.create(&params, &made)).await
}

/// Records which cluster a member is.
pub(crate) async fn record_identity(
    hub: &Cluster,
    before: &ManagedCluster,
    identity: &Identity,
    now: Timestamp,
) -> Outcome {
    let name = before.name_any();
    let old = before.status.clone().unwrap_or_default();
    let mut claims = vec![json!({ "name": names::CLUSTER_ID_CLAIM, "value": identity.uid })];
    let others = old.cluster_claims.iter().filter(|claim| claim.name != names::CLUSTER_ID_CLAIM);
    claims.extend(others.map(|claim| json!({ "name": claim.name, "value": claim.value })));
    let joined = Condition::new("Joined", true, "ManagedClusterJoined", "fleetctl cluster join");
    let mut all = conditions::settle(&old.conditions, vec![joined], now);
    all.extend(old.conditions.into_iter().filter(|condition| condition.type_ != "Joined"));
    let status = json!({ "status": {
        "conditions": all, "version": { "kubernetes": identity.version }, "clusterClaims": claims,
    }});
    let api: Api<ManagedCluster> = Api::all(hub.client.clone());
    let (params, patch) = (PatchParams::default(), Patch::Merge(&status));
    let sent = api.patch_status(&name, &params, &patch);
    hub.ask(&format!("ManagedCluster {name}"), sent).await.map(|_| ())
}

async fn make_namespace(hub: &Cluster) -> Outcome {
    let api: Api<Namespace> = Api::all(hub.client.clone());
    let name = names::SYSTEM_NAMESPACE;
    if hub.ask("the hub's namespaces", api.get_metadata_opt(name)).await?.is_some() {
        return Ok(());
    }
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    match hub
        .ask(&format!("namespace {name} on the hub"), api.create(&PostParams::default(), &namespace))
        .await
    {
        Ok(_) => Ok(()),
        // Somebody else was quicker.
        Err(failure) if hub.ask("the hub's namespaces", api.get_metadata_opt(name)).await?.is_none() => {
            Err(failure)
        }
        Err(_) => Ok(()),
    }
}

/// Writes a member's credentials, whole: keys that only the old ones had go.
pub(crate) async fn put_secret(hub: &Cluster, secret: &Secret) -> Outcome {
    let name = secret.name_any();
    let api: Api<Secret> = Api::namespaced(hub.client.clone(), &secret.namespace().unwrap_or_default());
    let doing = format!("Secret {name} on the hub");
    let Some(before) = hub.ask(&doing, api.get_opt(&name)).await? else {
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        return hub.ask(&doing, api.create(&params, secret)).await.map(|_| ());
    };
    if !before.labels().contains_key(names::CREDENTIAL_TYPE) {
        return Err(foreign(&before));
    }
    let mut after = secret.clone();
    after.metadata.resource_version = before.metadata.resource_version;
    after.metadata.annotations = before.metadata.annotations;
    let mut labels = before.metadata.labels.unwrap_or_default();
    labels.extend(after.metadata.labels.take().unwrap_or_default());
    after.metadata.labels = Some(labels);
    // It can't be changed, and says nothing that matters here.
    after.type_ = before.type_;
    hub.ask(&doing, api.replace(&name, &PostParams::default(), &after)).await.map(|_| ())
}

fn foreign(secret: &Secret) -> Failure {
    let (name, namespace) = (secret.name_any(), secret.namespace().unwrap_or_default());
    Failure::refused(format!(
        "the hub has a Secret {namespace}/{name} that holds no member's credentials (no label {}); remove it, or choose another name with --name",
        names::CREDENTIAL_TYPE
    ))
}

/// Refuses where a Secret of the member's name stands in the way.
pub(crate) async fn secret_is_free(hub: &Cluster, name: &str) -> Outcome {
    let api: Api<Secret> = Api::namespaced(hub.client.clone(), names::SYSTEM_NAMESPACE);
    match hub.ask(&format!("Secret {name} on the hub"), api.get_metadata_opt(name)).await? {
        Some(secret) if !secret.labels().contains_key(names::CREDENTIAL_TYPE) => {
            let metadata = secret.metadata;
            Err(foreign(&Secret { metadata, ..Secret::default() }))
        }
        _ => Ok(()),
    }
}

/// A member's credentials as the hub holds them.
///
/// # Errors
/// Where there are none, or they can't be read.
pub(crate) async fn stored(
    hub: &Cluster,
    cluster: &ManagedCluster,
    called: &str,
) -> Outcome<(Secret, Credentials)> {
    let name = cluster.name_any();
    for namespace in CREDENTIAL_NAMESPACES {
        let api: Api<Secret> = Api::namespaced(hub.client.clone(), namespace);
        let found = hub.ask(&format!("Secret {namespace}/{name} on the hub"), api.get_opt(&name)).await?;
        let Some(secret) = found.filter(|secret| secret.labels().contains_key(names::CREDENTIAL_TYPE)) else {
            continue;
        };
        let credentials = Credentials::read(&secret).map_err(|error| {
            Failure::failed(format!(
                "Secret {namespace}/{name} on the hub: {error}; make new ones: {called} cluster join KUBECONFIG --name {name}"
            ))
        })?;
        return Ok((secret, credentials));
    }
    if cluster.labels().contains_key(crate::embedded::EMBEDDED) {
        return Err(Failure::refused(format!(
            "member {name} runs in the hub's process: it needs no credentials, and the hub has none for it"
        )));
    }
    Err(Failure::not_found(format!(
        "the hub has no credentials for member {name}: no Secret of that name with the label {} in {}; make them: {called} cluster join KUBECONFIG --name {name}",
        names::CREDENTIAL_TYPE,
        CREDENTIAL_NAMESPACES.join(" or ")
    )))
}

/// Takes a member's credentials and then the member off the hub.
pub(crate) async fn forget(hub: &Cluster, name: &str) -> Outcome {
    for namespace in CREDENTIAL_NAMESPACES {
        let api: Api<Secret> = Api::namespaced(hub.client.clone(), namespace);
        let doing = format!("Secret {namespace}/{name} on the hub");
        let found = hub.ask(&doing, api.get_metadata_opt(name)).await?;
        if found.is_some_and(|secret| secret.labels().contains_key(names::CREDENTIAL_TYPE)) {
            gone(hub.ask(&doing, api.delete(name, &DeleteParams::default())).await.map(|_| ()))?;
        }
    }
    let api: Api<ManagedCluster> = Api::all(hub.client.clone());
    let params = DeleteParams::default();
    let deleted = api.delete(name, &params);
    gone(hub.ask(&format!("ManagedCluster {name}"), deleted).await.map(|_| ()))
}

fn gone(outcome: Outcome) -> Outcome {
    match outcome {
        Err(failure) if failure.exit == Exit::NotFound => Ok(()),
        other => other,
    }
}
