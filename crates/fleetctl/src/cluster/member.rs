//! What is read and made on a member's side of joining.

use std::time::Duration;

use fleet_api::names;
use fleet_members::{Credentials, Identity as Shown};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role, RoleBinding};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::account::{self, Account, MANAGER};
use super::profile::SYSTEM;
use super::rights::{self, Right};
use super::trouble::{self, Door};
use crate::access::Cluster;
use crate::exit::{Exit, Failure, Outcome};

/// The oldest minor version of Kubernetes 1 that is tested.
pub(crate) const OLDEST: u32 = 30;
/// The newest one.
pub(crate) const NEWEST: u32 = 35;
/// How often what was granted is looked for.
const LOOKS: u32 = 50;
/// How long a cluster may take to fill a token's Secret.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what no watch tells.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Which cluster it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// As it says it (`v1.35.0`).
    pub(crate) version: String,
    /// The UID of its kube-system namespace.
    pub(crate) uid: String,
}

/// Asks a cluster who it is.
///
/// # Errors
/// Why it can't be talked to.
pub(crate) async fn identify(cluster: &Cluster, door: &Door<'_>, now: Timestamp) -> Outcome<Identity> {
    let version = within(cluster, door, now, cluster.client.apiserver_version()).await?;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let system = within(cluster, door, now, namespaces.get_metadata(SYSTEM)).await?;
    let uid = system.uid().unwrap_or_default();
    if uid.is_empty() {
        return Err(Failure::failed(format!(
            "{}: its namespace {SYSTEM} has no UID; this isn't a Kubernetes API",
            door.server
        )));
    }
    Ok(Identity { version: version.git_version, uid })
}

async fn within<T>(
    cluster: &Cluster,
    door: &Door<'_>,
    now: Timestamp,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Outcome<T> {
    match tokio::time::timeout(cluster.deadline, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(trouble::explain(&error, door, now)),
        Err(_) => Err(trouble::silent(door, cluster.deadline.as_secs_f64())),
    }
}

/// Whether a version is one that members may have: a warning for one that is newer than what was tested.
///
/// # Errors
/// For one that is too old, or is none.
pub(crate) fn supported(version: &str) -> Outcome<Option<String>> {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (number(parts.next()), number(parts.next())) else {
        return Err(Failure::failed(format!(
            "its version {version:?} is none of Kubernetes; is it the address of an API server?"
        )));
    };
    if (major, minor) < (1, OLDEST) {
        return Err(Failure::refused(format!(
            "it runs Kubernetes {version}; members need 1.{OLDEST} or newer: upgrade it first"
        )));
    }
    let newer = (major, minor) > (1, NEWEST);
    Ok(newer.then(|| format!("it runs Kubernetes {version}, which is newer than what fleetctl was tested with (1.{OLDEST} to 1.{NEWEST})")))
}

/// Makes what stands in a plan, and takes away what an earlier one had and this one hasn't.
///
/// # Errors
/// What was refused. What was made until then stays, and the same plan again completes it.
pub(crate) async fn make(cluster: &Cluster, hub: &str, plan: &[Value]) -> Outcome {
    let mut root: Option<Value> = None;
    for object in plan {
        let mut object = object.clone();
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        if let (Some(root), Some(metadata)) =
            (&root, object.get_mut("metadata").and_then(Value::as_object_mut))
        {
            metadata.insert("ownerReferences".to_owned(), json!([root]));
        }
        let made = apply(cluster, &object).await?;
        if kind == "ClusterRole" {
            root = Some(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "name": name, "uid": made.uid(),
            }));
        }
    }
    if !plan.is_empty() {
        tidy::<Role>(cluster, hub, plan, "Role").await?;
        tidy::<RoleBinding>(cluster, hub, plan, "RoleBinding").await?;
    }
    Ok(())
}

async fn apply(cluster: &Cluster, object: &Value) -> Outcome<DynamicObject> {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let api: Api<DynamicObject> = match namespace {
        "" => Api::all_with(cluster.client.clone(), &resource),
        namespace => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
    };
    let params = PatchParams::apply(MANAGER).force();
    let doing = format!("{} {name} on the member", text("/kind"));
    cluster.ask(&doing, api.patch(name, &params, &Patch::Apply(object))).await
}

/// Deletes our Roles of namespaces that the plan doesn't name any more.
async fn tidy<K>(cluster: &Cluster, hub: &str, plan: &[Value], kind: &str) -> Outcome
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let planned = |namespace: &str, name: &str| {
        plan.iter().any(|object| {
            let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
            text("/kind") == kind
                && text("/metadata/namespace") == namespace
                && text("/metadata/name") == name
        })
    };
    let everywhere: Api<K> = Api::all(cluster.client.clone());
    let ours = ListParams::default().labels(&format!("{}={hub}", names::HUB));
    let found = match cluster.ask(kind, everywhere.list_metadata(&ours)).await {
        Ok(found) => found.items,
        // Whoever sees some namespaces only has made nothing in others.
        Err(failure) if failure.exit == Exit::Refused => return Ok(()),
        Err(failure) => return Err(failure),
    };
    for object in found {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        if !planned(&namespace, &name) {
            let api: Api<K> = Api::namespaced(cluster.client.clone(), &namespace);
            let params = DeleteParams::background();
            let deleted = api.delete(&name, &params);
            match cluster.ask(&format!("{kind} {namespace}/{name}"), deleted).await {
                Err(failure) if failure.exit != Exit::NotFound => return Err(failure),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Makes a token's Secret and waits until Kubernetes has filled it.
///
/// # Errors
/// What was refused, or that it wasn't filled.
pub(crate) async fn issue(cluster: &Cluster, hub: &str, account: &Account, name: &str) -> Outcome<String> {
    let mut secret = account::token(hub, account, name);
    if !account.given {
        // It goes with the account.
        let roles: Api<ClusterRole> = Api::all(cluster.client.clone());
        let role = account::role_name(hub);
        let root = cluster.ask("our ClusterRole on the member", roles.get_metadata(&role)).await?;
        if let Some(metadata) = secret.get_mut("metadata").and_then(Value::as_object_mut) {
            let owner = json!([{
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": role, "uid": root.uid(),
            }]);
            metadata.insert("ownerReferences".to_owned(), owner);
        }
    }
    apply(cluster, &secret).await?;
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), &account.namespace);
    let filled = |secret: Option<&Secret>| secret.and_then(token_of).is_some();
    let waited = kube::runtime::wait::await_condition(api, name, filled);
    match tokio::time::timeout(PATIENCE, waited).await {
        Ok(Ok(secret)) => secret.as_ref().and_then(token_of).ok_or_else(|| unfilled(account, name)),
        _ => Err(unfilled(account, name)),
    }
}

fn token_of(secret: &Secret) -> Option<String> {
    let token = secret.data.as_ref()?.get("token")?;
    String::from_utf8(token.0.clone()).ok().filter(|token| !token.is_empty())
}

fn unfilled(account: &Account, name: &str) -> Failure {
    Failure::new(
        Exit::Waiting,
        format!(
            "the member hasn't put a token for {} into Secret {name} within {} s; does kube-controller-manager run there, with a service account key? The same command again goes on from here",
            account.shown(),
            PATIENCE.as_secs()
        ),
    )
}

/// Tries new credentials: whether they reach the cluster that is meant, and which rights they lack. What was granted a
/// moment ago may take a moment to count, so `patient` looks more than once.
///
/// # Errors
/// Where they don't reach it.
pub(crate) async fn verify(
    credentials: &Credentials,
    uid: &str,
    needs: &[Right],
    patient: bool,
    deadline: Duration,
    now: Timestamp,
) -> Outcome<Vec<Right>> {
    let server = credentials.endpoint();
    let client =
        credentials.client().map_err(|error| Failure::failed(format!("the new credentials: {error}")))?;
    let cluster = Cluster::of_member(client, "the member", &server, deadline);
    let door = Door {
        server: &server,
        who: "the new account",
        authority: "the certificate-authority given",
        expires: None,
        renew: "try again",
    };
    let mut looks = if patient { LOOKS } else { 1 };
    loop {
        looks -= 1;
        let seen = match identify(&cluster, &door, now).await {
            Ok(identity) if identity.uid != uid => {
                return Err(Failure::refused(format!(
                    "{server} is another cluster (UID {}) than the one that was checked (UID {uid}); check --endpoint",
                    identity.uid
                )));
            }
            Ok(_) => rights::missing(&cluster, needs).await,
            Err(failure) => Err(failure),
        };
        match seen {
            Ok(missing) if missing.is_empty() || looks == 0 => return Ok(missing),
            Err(failure) if failure.exit != Exit::Refused || looks == 0 => return Err(failure),
            _ => tokio::time::sleep(BETWEEN_LOOKS).await,
        }
    }
}

/// Revokes the account's tokens but one.
///
/// # Errors
/// What was refused.
pub(crate) async fn revoke(
    cluster: &Cluster,
    hub: &str,
    account: &Account,
    keep: Option<&str>,
) -> Outcome<usize> {
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), &account.namespace);
    let ours = ListParams::default().labels(&format!("{}={hub}", names::HUB));
    let found = cluster.ask("our tokens on the member", api.list_metadata(&ours)).await?;
    let mut revoked = 0;
    for secret in
        found.items.iter().map(|secret| secret.name_any()).filter(|name| Some(name.as_str()) != keep)
    {
        match cluster.ask(&format!("Secret {secret}"), api.delete(&secret, &DeleteParams::default())).await {
            Ok(_) => revoked += 1,
            Err(failure) if failure.exit == Exit::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(revoked)
}

/// Takes an account away with everything that was made for it.
///
/// # Errors
/// What was refused.
pub(crate) async fn remove(cluster: &Cluster, hub: &str, account: &Account) -> Outcome {
    if account.given {
        return revoke(cluster, hub, account, None).await.map(|_| ());
    }
    let roles: Api<ClusterRole> = Api::all(cluster.client.clone());
    let role = account::role_name(hub);
    match cluster.ask("our account on the member", roles.delete(&role, &DeleteParams::background())).await {
        Err(failure) if failure.exit != Exit::NotFound => Err(failure),
        _ => Ok(()),
    }
}

/// The kubeconfig's own identity, for keeping.
///
/// # Errors
/// Where it is of a form that a credential Secret doesn't hold.
pub(crate) fn own_identity(way: &super::kubeconfig::Way) -> Outcome<Shown> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let file = &way.file;
    let shown = serde_json::to_value(&way.user).map_err(|error| Failure::failed(error.to_string()))?;
    let text = |key: &str| shown.get(key).and_then(Value::as_str).map(str::to_owned);
    let pem = |data: &str, path: &str| -> Outcome<Option<String>> {
        let bytes = match (text(data), text(path)) {
            (Some(data), _) => STANDARD
                .decode(data)
                .map_err(|_| Failure::failed(format!("kubeconfig {file}: {path}-data is no base64")))?,
            (None, Some(path)) => std::fs::read(&path)
                .map_err(|error| Failure::failed(format!("kubeconfig {file}: {path}: {error}")))?,
            (None, None) => return Ok(None),
        };
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Failure::failed(format!("kubeconfig {file}: {path} is no PEM")))
    };
    let certificate = pem("client-certificate-data", "client-certificate")?;
    let key = pem("client-key-data", "client-key")?;
    if let (Some(certificate), Some(key)) = (certificate, key) {
        return Ok(Shown::Certificate { certificate, key: key.into() });
    }
    match (text("token"), &way.user.exec) {
        (Some(token), _) => Ok(Shown::Token(token.into())),
        (None, Some(exec)) => Ok(Shown::Plugin(Box::new(exec.clone()))),
        (None, None) => Err(Failure::refused(format!(
            "kubeconfig {file} has neither a client certificate, nor a token, nor an exec plugin to keep; leave --keep-credentials out, and an account is made"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The range that is tested is the range that is let in; what is newer is let in and said.
    #[test]
    fn versions() {
        assert_eq!(supported("v1.30.0").unwrap(), None);
        assert_eq!(supported("v1.35.4+k3s1").unwrap(), None);
        assert!(supported("v1.36.0-alpha.1").unwrap().unwrap().contains("newer"));
        for (version, said) in [("v1.29.14", "upgrade it first"), ("nginx", "is none of Kubernetes")] {
            assert!(supported(version).unwrap_err().to_string().contains(said), "{version}");
        }
    }
}
