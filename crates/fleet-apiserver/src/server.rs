//! The server: many logical clusters over one store.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fleet_store::{CommitError, Store};
use futures::FutureExt;
use http::{Request, Response};
use jiff::Timestamp;
use parking_lot::RwLock;

use crate::advice::Advisor;
use crate::authentication::{KeyError, TokenKey};
use crate::author::AuthorStamp;
use crate::authorization::Rights;
use crate::cluster::{Cluster, ClusterProfile, Life};
use crate::crd::Definitions;
use crate::encode::{self, Body};
use crate::identity::Identity;
use crate::object::{Gapped, time};
use crate::random::Random;
use crate::registry::Registry;
use crate::service::ClusterService;
use crate::status::ApiError;

/// The clock that a server reads.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a server is made with.
#[derive(Clone)]
pub struct Options {
    /// The time of `creationTimestamp` and the like.
    pub clock: Clock,
    /// The seed of uids and generated names. A store that outlives the process needs another one at every start.
    pub seed: u64,
    /// The version of the program, shown behind the `+` of `/version`; empty for none.
    pub version: String,
    /// What signs the tokens of ServiceAccounts; `None` makes a key when the first one is needed, and tokens end with
    /// the process then.
    pub token_key: Option<TokenKey>,
    /// The PEM certificate of the authority that clusters show in their `kube-root-ca.crt`; empty for none.
    pub certificate_authority: String,
    /// How who changes what is recorded; `None` where it isn't.
    pub author: Option<AuthorStamp>,
    /// Who has advice about what is written; `None` where nobody has.
    pub advisor: Option<Advisor>,
}

/// Why a cluster can't be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The name isn't a DNS label, which it must be since it stands in URLs.
    #[error(
        "{name:?} can't name a cluster: use lower-case letters, digits and '-', at most 63, beginning and ending with a letter or digit"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// There is no such cluster.
    #[error("there is no cluster {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The store refused.
    #[error("cluster {name:?}: {source}")]
    Store {
        /// The name.
        name: String,
        /// What the store said.
        source: CommitError,
    },
}

/// The Kubernetes API of many logical clusters in one process. Clones share it.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) options: Options,
    pub(crate) random: Random,
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) rights: Rights,
    made_key: OnceLock<Result<TokenKey, KeyError>>,
    clusters: RwLock<HashMap<String, Arc<Cluster>>>,
}

impl Inner {
    pub(crate) fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.clusters.read().get(name).cloned()
    }

    /// What signs tokens.
    pub(crate) fn token_key(&self) -> Result<&TokenKey, KeyError> {
        match &self.options.token_key {
            Some(key) => Ok(key),
            None => self.made_key.get_or_init(TokenKey::generate).as_ref().map_err(Clone::clone),
        }
    }

    /// Whether the wildcard cluster shows this one's objects.
    pub(crate) fn has_workloads(&self, name: &str) -> bool {
        self.clusters.read().get(name).is_some_and(|cluster| cluster.profile.workloads)
    }
}

impl ApiServer {
    /// The name under which lists and watches see every cluster with workloads at once.
    pub const WILDCARD: &'static str = "*";
    /// The cluster that the listener serves at `/`.
    pub const HUB: &'static str = "hub";

    /// A server over a store, as yet without clusters.
    pub fn new(store: Store, options: Options) -> Self {
        let inner = Inner {
            random: Random::new(options.seed),
            definitions: Arc::new(Definitions::new(Arc::new(Registry::builtin()))),
            rights: Rights::default(),
            made_key: OnceLock::new(),
            store,
            options,
            clusters: RwLock::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Another server over a fork of this one's store, with the same clusters, all reachable: nothing is made, read or
    /// compiled again, so that it costs next to nothing. Nobody may change definitions meanwhile; afterwards neither
    /// knows of the other.
    #[must_use]
    pub fn fork(&self, keeps: fleet_store::Options, options: Options) -> Self {
        let clusters = self.inner.clusters.read();
        let clusters =
            clusters.iter().map(|(name, cluster)| (name.clone(), Arc::new(cluster.fork()))).collect();
        let inner = Inner {
            random: Random::new(options.seed),
            definitions: Arc::clone(&self.inner.definitions),
            rights: Rights::default(),
            made_key: OnceLock::new(),
            store: self.inner.store.fork(keeps),
            options,
            clusters: RwLock::new(clusters),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Adds a cluster, with the objects that every cluster has. What the store holds of it already is kept, custom
    /// resource definitions are served again, and doing it twice changes nothing.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn create_cluster(&self, name: &str, profile: ClusterProfile) -> Result<(), ClusterError> {
        if !crate::admission::names::is_dns_label(name) {
            return Err(ClusterError::Name { name: name.to_owned() });
        }
        if self.inner.cluster(name).is_some() {
            return Ok(());
        }
        let cluster = Arc::new(Cluster::new(name, profile, self.inner.definitions.builtin()));
        self.inner.definitions.refresh(&self.inner.store, &cluster);
        crate::bootstrap::cluster(&self.inner, &cluster).await?;
        crate::crd::clean_up(&self.inner, &cluster).await;
        self.inner.clusters.write().entry(name.to_owned()).or_insert(cluster);
        Ok(())
    }

    /// Removes a cluster with everything in it. Its watches end.
    ///
    /// # Errors
    /// [`ClusterError::Unknown`]; [`ClusterError::Store`], after which it can be repeated.
    pub async fn remove_cluster(&self, name: &str) -> Result<(), ClusterError> {
        let removed = self.inner.clusters.write().remove(name);
        let Some(cluster) = removed else { return Err(ClusterError::Unknown { name: name.to_owned() }) };
        cluster.set_life(Life::Removed);
        let last = |entry: &fleet_store::Entry, revision: u64| {
            serde_json::from_slice(&entry.value)
                .map_or_else(|_| entry.value.clone(), |object| Gapped::new(&object).fill(revision))
        };
        match self.inner.store.remove_cluster(name, last).await {
            Ok(_) => {
                self.inner.rights.forget(name);
                Ok(())
            }
            Err(source) => {
                // Kept known, so that the caller can try again.
                self.inner.clusters.write().insert(name.to_owned(), cluster);
                Err(ClusterError::Store { name: name.to_owned(), source })
            }
        }
    }

    /// The names of all clusters, sorted.
    pub fn clusters(&self) -> Vec<String> {
        let mut names: Vec<String> = self.inner.clusters.read().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// A cluster's profile; `None` where there is no such cluster.
    pub fn profile(&self, cluster: &str) -> Option<ClusterProfile> {
        self.inner.cluster(cluster).map(|cluster| cluster.profile)
    }

    /// A cluster (or [`ApiServer::WILDCARD`]) as a tower service that calls as `identity`.
    pub fn service(&self, cluster: &str, identity: Identity) -> ClusterService {
        ClusterService::new(self.clone(), cluster, identity)
    }

    /// Lets a cluster answer or not. One that doesn't lets requests hang and watches fall silent; they break when it
    /// is back, as connections to a machine that was down do.
    pub fn set_reachable(&self, cluster: &str, reachable: bool) {
        if let Some(cluster) = self.inner.cluster(cluster) {
            cluster.set_life(if reachable { Life::Reachable } else { Life::Unreachable });
        }
    }

    /// The time as objects hold it.
    pub(crate) fn time(&self) -> String {
        time(self.inner.now())
    }

    /// Answers one request. Refusals are answers: `kind: Status` with a reason. While the cluster is unreachable this
    /// doesn't resolve.
    pub async fn handle<B>(&self, cluster: &str, identity: Identity, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let answer =
            AssertUnwindSafe(Box::pin(crate::dispatch::answer(&self.inner, cluster, identity, request)));
        match answer.catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => encode::refusal(&error),
            Err(_) => {
                tracing::error!(cluster, "a request handler panicked");
                encode::refusal(&ApiError::internal("the handler of this request failed; the server goes on"))
            }
        }
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("clusters", &self.inner.clusters.read().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("seed", &self.seed)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
