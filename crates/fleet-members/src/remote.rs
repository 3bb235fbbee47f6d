//! Members over HTTPS, with the credentials that the hub holds as Secrets.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use fleet_api::{ManagedCluster, names};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Transport, TransportError};

mod credentials;

pub use credentials::{Credentials, CredentialsError, Identity};

/// Where members' Secrets are looked for unless told otherwise: our own namespace, and the one where the established
/// cluster gateway keeps them. Whoever may write Secrets there decides where applications go, so it isn't everywhere.
pub const CREDENTIAL_NAMESPACES: [&str; 2] = [names::SYSTEM_NAMESPACE, "vela-system"];

/// What [`Remote`] goes by.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// The hub's namespaces whose labelled Secrets are members' credentials.
    pub namespaces: Vec<String>,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self { namespaces: CREDENTIAL_NAMESPACES.map(str::to_owned).to_vec() }
    }
}

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
    pub async fn open(
        hub: kube::Client,
        options: RemoteOptions,
        stop: CancellationToken,
    ) -> Result<Self, kube::Error> {
        let known: Known = Arc::default();
        let remote = Self { known: Arc::clone(&known), tasks: TaskTracker::new() };
        for namespace in &options.namespaces {
            let api: Api<Secret> = Api::namespaced(hub.clone(), namespace);
            let listed = api.list(&ListParams::default().labels(names::CREDENTIAL_TYPE)).await?;
            for secret in &listed.items {
                take(&known, secret);
            }
            let known = Arc::clone(&known);
            remote.tasks.spawn(stop.clone().run_until_cancelled_owned(follow(api, known)));
        }
        remote.tasks.close();
        Ok(remote)
    }

    /// Resolves when nothing is followed any more.
    pub async fn finished(&self) {
        self.tasks.wait().await;
    }
}

async fn follow(api: Api<Secret>, known: Known) {
    let config = watcher::Config::default().labels(names::CREDENTIAL_TYPE);
    let mut changes = std::pin::pin!(watcher(api, config).default_backoff().applied_objects());
    loop {
        match changes.try_next().await {
            Ok(Some(secret)) => take(&known, &secret),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the members' credentials can't be followed; tried again");
            }
        }
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
