//! Members over HTTPS, with the credentials that the hub holds as Secrets.
//!
//! ```text
//!  Secrets ──► Credentials ──► Way ──► Link ──► kube::Client of a member
//!  (secrets)                   │       swapped while in use when the Secret changes
//!                              ├── Wire: one HTTP/2 connection, pinged; HTTP/1.1 where a server has no more
//!                              └── Bearer: a token, fixed or from a credential plugin
//! ```

use std::sync::Arc;

use fleet_api::{ManagedCluster, names};
use futures::stream::BoxStream;
use kube::ResourceExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Announced, Transport, TransportError};

mod bearer;
mod body;
mod connect;
mod credentials;
mod error;
mod greeting;
mod kubeconfig;
mod link;
mod plugin;
mod secrets;
mod wire;

pub use credentials::{Credentials, CredentialsError, Identity};
pub use error::LinkError;
pub use link::is_watch;
pub use plugin::{AllowedPlugin, Clock, Plugins};
pub use wire::Timing;

use secrets::Known;

/// Where members' Secrets are looked for unless told otherwise: our own namespace, and the one where the established
/// cluster gateway keeps them. Whoever may write Secrets there decides where applications go, so it isn't everywhere.
pub const CREDENTIAL_NAMESPACES: [&str; 2] = [names::SYSTEM_NAMESPACE, "vela-system"];

/// What [`Remote`] goes by.
#[derive(Clone)]
pub struct RemoteOptions {
    /// The hub's namespaces whose labelled Secrets are members' credentials. Where two have one of the same name, the
    /// namespace that stands first counts.
    pub namespaces: Vec<String>,
    /// Which credential plugins may run.
    pub plugins: Plugins,
    /// Times that hold for each connection.
    pub timing: Timing,
    /// Tells the wall-clock time, for the end of tokens that plugins give.
    pub clock: Clock,
}

impl RemoteOptions {
    /// The defaults, with a clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            namespaces: CREDENTIAL_NAMESPACES.map(str::to_owned).to_vec(),
            plugins: Plugins::default(),
            timing: Timing::default(),
            clock,
        }
    }
}

/// The way to members by their credential Secrets: label `cluster.core.oam.dev/cluster-credential-type`, named as the
/// member. Clones share what is known. What changes in a Secret is taken up by the clients that are in use.
#[derive(Clone)]
pub struct Remote {
    known: Arc<Known>,
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
        let tasks = TaskTracker::new();
        let known = Arc::new(Known::new(options, tasks.clone(), stop.clone()));
        known.follow(&hub, &stop).await?;
        tasks.close();
        Ok(Self { known, tasks })
    }

    /// Resolves when nothing is followed and no connection is open any more.
    pub async fn finished(&self) {
        self.tasks.wait().await;
    }
}

impl Transport for Remote {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let name = cluster.name_any();
        if name == names::LOCAL_CLUSTER {
            let message = "the hub itself isn't delivered to yet; name a member".to_owned();
            return Err(TransportError { cluster: name, message });
        }
        self.known.client(&name).map_err(|message| TransportError { cluster: name, message })
    }

    fn addressed(&self, name: &str) -> Result<(), String> {
        self.known.addressed(name)
    }

    fn announced(&self, name: &str) -> Option<Announced> {
        self.known.announced(name)
    }

    fn changes(&self) -> BoxStream<'static, String> {
        self.known.changes()
    }
}
