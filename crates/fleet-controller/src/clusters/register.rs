//! Members whose credentials are on the hub and that nobody registered: a Secret in the established form is enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleet_api::{ManagedCluster, ManagedClusterSpec, names};
use fleet_members::Announced;
use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::reflector::ObjectRef;

use crate::context::Context;

/// The first wait after a failure to register, doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait between tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Follows the ways to members: what changed is taken up, who is new is registered.
pub(crate) async fn follow(ctx: Arc<Context>) {
    let mut changes = ctx.members.changes();
    let mut later = BTreeSet::new();
    let mut wait = FIRST_WAIT;
    loop {
        let changed = tokio::select! {
            () = ctx.stop.cancelled() => return,
            name = changes.next() => match name {
                Some(name) => Some(name),
                None => return,
            },
            () = tokio::time::sleep(wait), if !later.is_empty() => None,
        };
        let due = match changed {
            Some(name) => {
                if ctx.members.way_changed(&name) {
                    ctx.place_anew();
                }
                ctx.due.touched.touch(&name);
                BTreeSet::from([name])
            }
            None => {
                wait = (wait * 2).min(LONGEST_WAIT);
                std::mem::take(&mut later)
            }
        };
        for name in due {
            match ctx.stop.run_until_cancelled(register(&ctx, &name)).await {
                Some(true) => {}
                Some(false) => {
                    later.insert(name);
                }
                None => return,
            }
        }
        if later.is_empty() {
            wait = FIRST_WAIT;
        }
    }
}

/// Registers a member that its credentials announce, if nobody has. False where it is to be tried again.
async fn register(ctx: &Context, name: &str) -> bool {
    let registered = ctx.hub.clusters.get(&ObjectRef::new(name)).is_some();
    let Some(cluster) = registration(ctx.members.announced(name), registered) else { return true };
    let api: Api<ManagedCluster> = Api::all(ctx.hub.client.clone());
    let params = PostParams { field_manager: Some("fleetctl".to_owned()), ..PostParams::default() };
    match api.create(&params, &cluster).await {
        Ok(_) => {
            tracing::info!(cluster = name, "credentials of a member were found, and it is registered");
            true
        }
        // Somebody else was quicker: a person, or another replica.
        Err(kube::Error::Api(status)) if status.code == 409 => true,
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 422) => {
            tracing::warn!(
                cluster = name,
                error = status.message,
                "a member with credentials can't be registered"
            );
            true
        }
        Err(error) => {
            tracing::debug!(cluster = name, %error, "a member isn't registered yet");
            false
        }
    }
}

/// What to register: a member as its Secret describes it, accepted because whoever may write Secrets there may add
/// members. Nothing where it is registered, accepted or not, and nothing for the hub itself.
fn registration(announced: Option<Announced>, registered: bool) -> Option<ManagedCluster> {
    let announced = announced.filter(|announced| !registered && announced.name != names::LOCAL_CLUSTER)?;
    let mut cluster = ManagedCluster::new(
        &announced.name,
        ManagedClusterSpec { hub_accepts_client: true, ..ManagedClusterSpec::default() },
    );
    let mut annotations = BTreeMap::new();
    if let Some(alias) = announced.alias.filter(|alias| !alias.is_empty()) {
        annotations.insert(names::CLUSTER_ALIAS.to_owned(), alias);
    }
    let from = format!("{}/{}", announced.namespace, announced.name);
    annotations.insert(names::REGISTERED_FROM.to_owned(), from);
    *cluster.annotations_mut() = annotations;
    *cluster.labels_mut() = announced.labels;
    Some(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(name: &str) -> Announced {
        Announced {
            name: name.to_owned(),
            namespace: "vela-system".to_owned(),
            alias: Some("beijing".to_owned()),
            labels: BTreeMap::from([("region".to_owned(), "bj".to_owned())]),
        }
    }

    /// A hub that has members in the established form needs no registration, and what a person decided stays.
    #[test]
    fn a_secret_makes_a_member_once() {
        let made = registration(Some(announced("m1")), false).unwrap();
        assert!(made.spec.hub_accepts_client);
        assert_eq!(made.alias(), Some("beijing"));
        assert_eq!(made.labels().get("region").map(String::as_str), Some("bj"));
        assert_eq!(made.annotations()[names::REGISTERED_FROM], "vela-system/m1");
        assert!(registration(Some(announced("m1")), true).is_none(), "it is registered");
        assert!(registration(None, false).is_none(), "there are no credentials");
        assert!(registration(Some(announced("local")), false).is_none(), "it names the hub");
    }
}
