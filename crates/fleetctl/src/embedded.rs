//! Hub and members in one process.
//!
//! ```text
//!  Embedded ── ApiServer over a Store (memory, SQLite)
//!     │           ▲ in process            ▲ TLS, client certificates
//!     ├── controller, simulator, upkeep   └── listener: hub at /, members at /clusters/NAME, /fleetctl/v1 for us
//!     └── Fleet: who is a member, who answers
//! ```
//!
//! Every task is owned: [`Embedded::shutdown`] ends them in order, and [`Embedded::failure`] tells of one that
//! ended by itself.

mod authors;
mod fleet;
mod handler;
mod install;
mod kubeconfig;
mod parts;
mod transport;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use fleet_apiserver::pki::{Authority, PkiError};
use fleet_apiserver::{ApiServer, ClusterError, ClusterProfile, Identity, listen, upkeep};
use fleet_members::{Remote, RemoteOptions};
use fleet_sim::Simulator;
use fleet_store::{OpenError, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::environment::Clock;

pub use authors::{advisor, stamp as author_stamp};
pub(crate) use fleet::EMBEDDED;
pub use fleet::{Fleet, MemberState};
pub use handler::ADMIN_PREFIX;
pub use kubeconfig::{hub_url, member_url};

pub(crate) use install::definitions as install_definitions;

use handler::FleetHandler;
use parts::Parts;

/// The user of what runs inside the process.
pub(crate) const CONTROLLER_USER: &str = "fleetctl-controller";
/// The user of the kubeconfig that is handed out.
pub(crate) const ADMIN_USER: &str = "fleetctl-admin";

/// Where the objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// As long as the process lives.
    Memory,
    /// In this file.
    Sqlite(PathBuf),
}

/// A member to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSpec {
    /// Its name: a DNS label.
    pub name: String,
    /// Its human name.
    pub alias: Option<String>,
}

impl MemberSpec {
    /// A member with an alias.
    pub fn new(name: &str, alias: &str) -> Self {
        Self { name: name.to_owned(), alias: Some(alias.to_owned()) }
    }

    /// The fleet that examples and the demo speak of, in the order of joining.
    pub fn three_centres() -> Vec<Self> {
        vec![
            Self::new("mc-bj1", "cluster1-beijing"),
            Self::new("mc-bj2", "cluster2-beijing"),
            Self::new("mc-hz1", "cluster1-hangzhou"),
        ]
    }
}

/// What a fleet is started with.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// Where the objects are kept.
    pub storage: Storage,
    /// Members to be there, in the order of joining, beside those that the store knows.
    pub members: Vec<MemberSpec>,
    /// Members that join where there would be none at all.
    pub first_members: Vec<MemberSpec>,
    /// Tells the time.
    pub clock: Clock,
    /// The seed of UIDs and generated names; another one at every start.
    pub seed: u64,
    /// Whether Applications are reconciled.
    pub controller: bool,
    /// Progress within a step is written to an Application's status no more often than this.
    pub progress_interval: jiff::SignedDuration,
    /// Whether workloads on members run.
    pub simulator: bool,
    /// How fast they run.
    pub simulation: fleet_sim::Settings,
    /// Members whose workloads don't become ready for now.
    pub unwell: fleet_sim::Unwell,
    /// Where to listen; port 0 takes a free one. `None` is reachable in process only.
    pub listen: Option<SocketAddr>,
    /// How many runs may act at once.
    pub limits: fleet_controller::Limits,
    /// Signs the end of records, where it is given.
    pub audit_signer: Option<Arc<fleet_controller::audit::Signer>>,
    /// Where certificates are kept; `None` makes them anew, in memory.
    pub pki: Option<PathBuf>,
}

impl EmbeddedOptions {
    /// A fleet of the three centres in memory, reachable in process only, with everything running.
    pub fn in_memory(clock: Clock, seed: u64) -> Self {
        Self {
            storage: Storage::Memory,
            members: Vec::new(),
            first_members: MemberSpec::three_centres(),
            clock,
            seed,
            controller: true,
            progress_interval: jiff::SignedDuration::from_secs(1),
            simulator: true,
            simulation: fleet_sim::Settings::default(),
            unwell: fleet_sim::Unwell::default(),
            listen: None,
            limits: fleet_controller::Limits::default(),
            audit_signer: None,
            pki: None,
        }
    }
}

/// Why a fleet doesn't start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The store's file can't be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A certificate couldn't be had.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A cluster couldn't be made.
    #[error(transparent)]
    Cluster(Box<ClusterError>),
    /// The port can't be had.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The hub refused what a fleet needs.
    #[error("{what} can't be installed: {cause}")]
    Install {
        /// What.
        what: String,
        /// What the server said.
        cause: String,
    },
    /// A member can't be named so.
    #[error("{name:?} can't be a member: {why}")]
    Member {
        /// The name.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// A task ended by itself.
    #[error("{part} has stopped: {cause}")]
    Part {
        /// Which.
        part: &'static str,
        /// Why.
        cause: String,
    },
}

impl From<ClusterError> for EmbeddedError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(Box::new(error))
    }
}

/// A running fleet.
pub struct Embedded {
    api: ApiServer,
    fleet: Fleet,
    authority: Option<Arc<Authority>>,
    address: Option<SocketAddr>,
    parts: Parts,
    quit: CancellationToken,
}

impl Embedded {
    /// Starts hub, members and what is asked for; ready when it returns.
    ///
    /// # Errors
    /// See [`EmbeddedError`]. What was started by then is stopped.
    pub async fn start(options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let now = (options.clock)();
        // The port first: where it is taken, nothing is touched.
        let listener = match options.listen {
            Some(address) => {
                let listen = |source| EmbeddedError::Listen { address, source };
                Some(TcpListener::bind(address).await.map_err(listen)?)
            }
            None => None,
        };
        let authority = match (&options.pki, &listener) {
            (Some(directory), _) => Some(Arc::new(Authority::open(directory, now)?)),
            (None, Some(_)) => Some(Arc::new(Authority::in_memory(now)?)),
            (None, None) => None,
        };
        let store = open(&options.storage).await?;
        let api = ApiServer::new(
            store,
            fleet_apiserver::Options {
                clock: Arc::clone(&options.clock),
                seed: options.seed,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                token_key: authority.as_ref().map(|authority| authority.token_key()).transpose()?,
                certificate_authority: authority
                    .as_ref()
                    .map_or_else(String::new, |a| a.certificate_pem().to_owned()),
                author: Some(author_stamp()),
                advisor: Some(advisor()),
            },
        );
        let mut parts = Parts::default();
        let quit = CancellationToken::new();
        let started = Self::fill(&options, &api, &mut parts, listener, authority.clone(), &quit).await;
        match started {
            Ok((fleet, address)) => Ok(Self { api, fleet, authority, address, parts, quit }),
            Err(error) => {
                parts.shutdown().await;
                api.store().close().await;
                Err(error)
            }
        }
    }

    async fn fill(
        options: &EmbeddedOptions,
        api: &ApiServer,
        parts: &mut Parts,
        listener: Option<TcpListener>,
        authority: Option<Arc<Authority>>,
        quit: &CancellationToken,
    ) -> Result<(Fleet, Option<SocketAddr>), EmbeddedError> {
        api.create_cluster(ApiServer::HUB, ClusterProfile { workloads: false }).await?;
        let hub = in_process(api, ApiServer::HUB);
        install::definitions(&hub).await?;
        install::policies(&hub).await?;
        install::roles(&hub).await?;
        let fleet = Fleet::new(api.clone(), hub.clone(), Arc::clone(&options.clock));
        fleet.open(&options.members, &options.first_members).await?;
        let server = api.clone();
        parts.start("the upkeep", |stop| async move {
            upkeep::run(server, stop).await;
            Ok(())
        });
        if options.simulator {
            let mut simulation = fleet_sim::Options::new({
                let clock = Arc::clone(&options.clock);
                move || clock()
            });
            simulation.settings = options.simulation.clone();
            simulation.unwell = options.unwell.clone();
            let simulator = Simulator::new(transport::Workloads(api.clone()), simulation);
            parts.start("the simulator", |stop| async move {
                simulator.run(stop.cancelled_owned()).await;
                Ok(())
            });
        }
        if options.controller {
            let mut controlled = fleet_controller::Options::new(Arc::clone(&options.clock));
            controlled.progress_interval = options.progress_interval;
            // What it runs beside is on this machine.
            controlled.addresses = fleet_controller::Addresses::Local;
            controlled.author = fleet_controller::AuthorSource::BuiltIn;
            controlled.limits = options.limits;
            // This server looks at policies through no cache; times on objects are whole seconds.
            controlled.proof_margin = jiff::SignedDuration::from_secs(1);
            controlled.audit_signer.clone_from(&options.audit_signer);
            let (api, remote) = (api.clone(), RemoteOptions::new(Arc::clone(&options.clock)));
            parts.start("the controller", |stop| async move {
                let remote = Remote::open(hub.clone(), remote, stop.child_token()).await;
                let remote = remote.map_err(|error| fleet_members::innermost(&error))?;
                let ways = Arc::new(transport::Ways { api, remote: remote.clone() });
                let controller = fleet_controller::Controller::new(hub, ways, controlled);
                let ended = controller.run(stop).await.map_err(|error| error.to_string());
                remote.finished().await;
                ended
            });
        }
        let mut address = None;
        if let (Some(listener), Some(authority)) = (listener, authority) {
            let serving = authority.server(&[], (options.clock)())?;
            let tls = Arc::new(authority.server_config(&serving)?);
            address = listener.local_addr().ok();
            let handler = FleetHandler::new(api.clone(), fleet.clone(), quit.clone());
            parts.start("the listener", |stop| async move {
                listen::serve(listener, tls, handler, listen::Limits::default(), stop).await;
                Ok(())
            });
        }
        Ok((fleet, address))
    }

    /// The server below.
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// Who is a member, and who answers.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// A client of the hub or a member that may do everything, in process.
    pub fn client(&self, cluster: &str) -> kube::Client {
        kube::Client::new(self.api.service(cluster, Identity::admin(ADMIN_USER)), "default")
    }

    /// A client that calls as somebody, in process.
    pub fn client_as(&self, cluster: &str, identity: Identity) -> kube::Client {
        kube::Client::new(self.api.service(cluster, identity), "default")
    }

    /// The kubeconfig for hub and members; nothing where it doesn't listen. What `before` says of namespaces, of the
    /// current context and of other clusters stays.
    ///
    /// # Errors
    /// [`EmbeddedError::Pki`].
    pub fn kubeconfig(&self, before: Option<serde_json::Value>) -> Result<Option<String>, EmbeddedError> {
        let (Some(authority), Some(address)) = (&self.authority, self.address) else { return Ok(None) };
        let members: Vec<String> = self.fleet.members().into_iter().map(|member| member.name).collect();
        kubeconfig::write(authority, address, &members, before, self.fleet.now()).map(Some)
    }

    /// Fires when somebody asked the process to end through the listener.
    pub fn quit(&self) -> CancellationToken {
        self.quit.clone()
    }

    /// Resolves when a task has ended by itself, which none should.
    pub async fn failure(&mut self) -> EmbeddedError {
        self.parts.failure().await
    }

    /// Ends everything in order: first what brings work in, then what does it, then the store.
    pub async fn shutdown(mut self) {
        self.parts.shutdown().await;
        self.api.store().close().await;
    }
}

/// A client of a cluster for what runs inside.
pub(crate) fn in_process(api: &ApiServer, cluster: &str) -> kube::Client {
    kube::Client::new(api.service(cluster, Identity::admin(CONTROLLER_USER)), "default")
}

async fn open(storage: &Storage) -> Result<Store, EmbeddedError> {
    let options = fleet_store::Options::default();
    let path = match storage {
        Storage::Memory => return Ok(Store::memory(options)),
        Storage::Sqlite(path) => path.clone(),
    };
    let opened = tokio::task::spawn_blocking(move || Store::sqlite(&path, options)).await;
    opened
        .map_err(|error| EmbeddedError::Part { part: "the store", cause: error.to_string() })?
        .map_err(Into::into)
}
