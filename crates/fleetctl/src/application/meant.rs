//! A name that is no Application's: a policy about native objects may have it, or an object that one distributes.

use fleet_api::ObjectId;
use fleet_api::propagation::{GROUPS, PolicyKind, PropagationPolicyStatus};
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};

use super::Place;

/// What the name may mean, and which command tells of that. What can't be read is passed over.
pub(super) async fn beside_applications(place: &Place) -> Option<String> {
    let kinds = GROUPS.into_iter().flat_map(|group| PolicyKind::ALL.map(|kind| (group, kind)));
    let mut object: Option<ObjectId> = None;
    // An object may be named as `why` names it: KIND/NAME.
    let name = place.name.rsplit('/').next().unwrap_or_default();
    for (group, kind) in kinds {
        let (client, resource) = (place.hub.client.clone(), kind.resource(group));
        let api: Api<DynamicObject> = match kind.namespaced() {
            true => Api::namespaced_with(client, &place.namespace, &resource),
            false => Api::all_with(client, &resource),
        };
        let Ok(listed) = place.hub.ask(kind.plural(), api.list(&ListParams::default())).await else {
            continue;
        };
        for policy in listed.items {
            if policy.name_any() == place.name {
                return Some(format!(
                    "{} is a {kind}; see kubectl get propagation -A, and of one object {} why KIND/NAME -m CLUSTER",
                    place.name, place.called
                ));
            }
            let status = policy.data.get("status").cloned().unwrap_or_default();
            let status: PropagationPolicyStatus = serde_json::from_value(status).unwrap_or_default();
            let distributed = status.claimed.into_iter().chain(status.dependents).map(|told| told.object);
            let here =
                |id: &ObjectId| id.name == name && [place.namespace.as_str(), ""].contains(&&*id.namespace);
            object = object.or_else(|| distributed.into_iter().find(here));
        }
    }
    object.map(|id| {
        let inside = if id.namespace.is_empty() { String::new() } else { format!(" -n {}", id.namespace) };
        let (kind, called) = (id.kind.to_lowercase(), place.called);
        format!("policies distribute {id}; ask about it: {called} why {kind}/{}{inside} -m CLUSTER", id.name)
    })
}
