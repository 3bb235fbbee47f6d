//! Carrying it out: the hub gets everything, and what the member has is compared with what it had.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_api::propagation::{GROUPS, PolicyKind, PropagationPolicyStatus};
use fleet_api::{ObjectId, conditions};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use serde_json::Value;

use super::bundle::Bundle;
use super::count;
use super::standing::Standing;
use crate::adopt::found::Member;
use crate::cluster::Hub;
use crate::environment::Environment;
use crate::exit::{Exit, Failure, Outcome};
use crate::get::catalogue::Catalogue;
use crate::get::fetch::fetch;
use crate::get::request::Request;

/// Who writes on the hub.
const MANAGER: &str = "fleetctl";

/// Who an object is, and how often its spec was changed.
type Identity = (Option<String>, Option<i64>);

/// Does it.
///
/// # Errors
/// Where something is refused, isn't taken over in time, or isn't the same afterwards.
pub(super) async fn out(
    environment: &Environment,
    hub: &Hub,
    member: &Member,
    bundle: &Bundle,
    standing: &Standing,
    timeout: Duration,
) -> Outcome {
    let before = identities(member, bundle).await?;
    if !standing.namespace {
        let namespaces: Api<Namespace> = Api::all(hub.cluster.client.clone());
        let metadata = ObjectMeta { name: Some(bundle.namespace.clone()), ..ObjectMeta::default() };
        let made = Namespace { metadata, ..Namespace::default() };
        let doing = format!("Namespace {}", bundle.namespace);
        hub.cluster.ask(&doing, namespaces.create(&PostParams::default(), &made)).await?;
        environment.streams.print(&format!("namespace/{} created\n", bundle.namespace))?;
    }
    if !standing.policy {
        let policies = policies(hub, bundle);
        let doing = format!("PropagationPolicy {}/{}", bundle.namespace, bundle.policy);
        let params = PatchParams::apply(MANAGER);
        let patch = Patch::Apply(bundle.policy_manifest());
        hub.cluster.ask(&doing, policies.patch(&bundle.policy, &params, &patch)).await?;
        environment.streams.print(&format!("propagationpolicy/{} created\n", bundle.policy))?;
    }
    let catalogue = Catalogue::load(&hub.cluster).await?;
    for object in &bundle.objects {
        if standing.objects.contains(&object.id) {
            continue;
        }
        write(hub, &catalogue, &object.id, &object.object).await?;
        environment.streams.print(&format!("{} created\n", object.id))?;
    }
    delivered(hub, member, bundle, timeout).await?;
    let after = identities(member, bundle).await?;
    let changed: Vec<String> = bundle
        .objects
        .iter()
        .filter(|object| before.get(&object.id) != after.get(&object.id))
        .map(|object| object.id.to_string())
        .collect();
    if !changed.is_empty() {
        return Err(Failure::failed(format!(
            "taken over, but meanwhile somebody changed on {}: {}; see what: {} drift list",
            member.label,
            changed.join(", "),
            hub.called
        )));
    }
    environment.streams.print(&format!(
        "{} on {} taken over in place: same UIDs, same generations\n  \
         to add clusters: kubectl edit propagationpolicy {} -n {}   (clusterNames)\n  \
         to delete there what is deleted here: take prune and preserveResourcesOnDeletion out of it\n",
        count(bundle.objects.len()),
        member.label,
        bundle.policy,
        bundle.namespace
    ))
}

fn policies(hub: &Hub, bundle: &Bundle) -> Api<DynamicObject> {
    let [group, ..] = GROUPS;
    let resource = PolicyKind::PropagationPolicy.resource(group);
    Api::namespaced_with(hub.cluster.client.clone(), &bundle.namespace, &resource)
}

async fn write(hub: &Hub, catalogue: &Catalogue, id: &ObjectId, object: &Value) -> Outcome {
    let no_kind = || Failure::not_found(format!("the hub has no kind {} {}", id.api_version, id.kind));
    let type_ = catalogue.of(id).ok_or_else(no_kind)?;
    let gvk = GroupVersionKind::gvk(id.group(), id.version(), &id.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, &type_.plural);
    let api: Api<DynamicObject> = Api::namespaced_with(hub.cluster.client.clone(), &id.namespace, &resource);
    let params = PatchParams::apply(MANAGER);
    hub.cluster.ask(&id.to_string(), api.patch(&id.name, &params, &Patch::Apply(object))).await?;
    Ok(())
}

/// Waits until the policy says that everything is where it is to be.
async fn delivered(hub: &Hub, member: &Member, bundle: &Bundle, timeout: Duration) -> Outcome {
    let mut said = "nobody has looked at the policy yet; is the controller there?".to_owned();
    let mut changes = std::pin::pin!(watch_object(policies(hub, bundle), &bundle.policy).default_backoff());
    let ready = async {
        loop {
            // Between two events the watch waits by itself, errors included.
            let Ok(Some(Some(policy))) = changes.try_next().await else { continue };
            let status = policy.data.get("status").cloned().unwrap_or_default();
            let status: PropagationPolicyStatus = serde_json::from_value(status).unwrap_or_default();
            let all = status.objects.delivered >= bundle.objects.len() as u64;
            if let Some(ready) = conditions::find(&status.conditions, "Ready") {
                said = format!("{}: {}", ready.reason, ready.message);
                if ready.is_true() && all {
                    return;
                }
            }
        }
    };
    if tokio::time::timeout(timeout, ready).await.is_ok() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Waiting,
        format!(
            "not everything is taken over on {} after {} s: {said}; nothing is lost: see kubectl describe propagationpolicy \
             {} -n {}, and give the same command again",
            member.label,
            timeout.as_secs(),
            bundle.policy,
            bundle.namespace
        ),
    ))
}

/// Who the objects are on the member.
async fn identities(member: &Member, bundle: &Bundle) -> Outcome<BTreeMap<ObjectId, Identity>> {
    let mut all = BTreeMap::new();
    for object in &bundle.objects {
        let id = &object.id;
        let request = Request::one(&id.api_version, &id.kind, &id.name)?;
        let answer = fetch(&member.cluster, &request, &member.namespace).await?;
        if let Some(live) = answer.into_objects().next() {
            let uid = live.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
            let generation = live.pointer("/metadata/generation").and_then(Value::as_i64);
            all.insert(id.clone(), (uid, generation));
        }
    }
    Ok(all)
}
