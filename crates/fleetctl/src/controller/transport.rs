//! Members over HTTPS, with the credentials that the hub holds as Secrets.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use fleet_api::{ManagedCluster, names};
use fleet_members::{Transport, TransportError};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Credentials, CredentialsError};

type Known = Arc<RwLock<BTreeMap<String, Result<Credentials, CredentialsError>>>>;

/// The way to members by their credential Secrets: label `cluster.core.oam.dev/cluster-credential-type`, named as the
/// member. Clones share what is known.
#[derive(Clone)]
pub struct Remote {
    known: Known,
    tasks: TaskTracker,
}

impl Remote {
    /// Reads the Secrets, and follows them until `stop` fires.
    ///
    /// # Errors
    /// Where the hub doesn't list them.
    pub async fn open(hub: kube::Client, stop: CancellationToken) -> Result<Self, kube::Error> {
        let api: Api<Secret> = Api::all(hub);
        let listed = api.list(&ListParams::default().labels(names::CREDENTIAL_TYPE)).await?;
        let known: Known = Arc::default();
        for secret in &listed.items {
            take(&known, secret);
        }
        let remote = Self { known: Arc::clone(&known), tasks: TaskTracker::new() };
        let config = watcher::Config::default().labels(names::CREDENTIAL_TYPE);
        let changes = watcher(api, config).default_backoff().applied_objects();
        remote.tasks.spawn(stop.run_until_cancelled_owned(async move {
            let mut changes = std::pin::pin!(changes);
            loop {
                match changes.try_next().await {
                    Ok(Some(secret)) => take(&known, &secret),
                    Ok(None) => return,
                    Err(error) => {
                        tracing::warn!(%error, "the members' credentials can't be followed; tried again")
                    }
                }
            }
        }));
        remote.tasks.close();
        Ok(remote)
    }

    /// Resolves when nothing is followed any more.
    pub async fn finished(&self) {
        self.tasks.wait().await;
    }
}

fn take(known: &Known, secret: &Secret) {
    known
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(secret.name_any(), Credentials::read(secret));
}

impl Transport for Remote {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let name = cluster.name_any();
        let refuse = |message: String| TransportError { cluster: name.clone(), message };
        if name == names::LOCAL_CLUSTER {
            return Err(refuse("the hub itself isn't delivered to yet; name a member".to_owned()));
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(&name) {
            Some(Ok(credentials)) => credentials.client().map_err(|why| refuse(format!("its Secret: {why}"))),
            Some(Err(error)) => Err(refuse(format!("its Secret: {error}"))),
            None => Err(refuse(format!(
                "the hub has no Secret {name:?} with the label {} and the keys endpoint, ca.crt, tls.crt and tls.key (or token)",
                names::CREDENTIAL_TYPE
            ))),
        }
    }
}
