//! The ways to the members of an embedded hub: in process, or as a hub elsewhere has them.

use fleet_api::{ManagedCluster, names};
use fleet_apiserver::{ApiServer, Identity};
use fleet_members::{Announced, Remote, Transport, TransportError};
use futures::stream::BoxStream;
use kube::ResourceExt as _;

use super::{CONTROLLER_USER, in_process};

/// The controller's way to members: those of this process directly, all others by their credentials.
pub(super) struct Ways {
    pub(super) api: ApiServer,
    pub(super) remote: Remote,
}

impl Ways {
    fn is_here(&self, name: &str) -> bool {
        self.api.profile(name).is_some_and(|profile| profile.workloads)
    }
}

impl Transport for Ways {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let name = cluster.name_any();
        let refuse = |message: String| Err(TransportError { cluster: name.clone(), message });
        if name == names::LOCAL_CLUSTER || name == ApiServer::HUB {
            return refuse(
                "it names the hub itself, which holds data and runs nothing; name a member".to_owned(),
            );
        }
        if self.is_here(&name) {
            return Ok(kube::Client::new(
                self.api.service(&name, Identity::admin(CONTROLLER_USER)),
                "default",
            ));
        }
        self.remote.connect(cluster).map_err(|error| TransportError {
            message: format!(
                "it is no member of this process (`fleetctl local up --members {name}=ALIAS` starts one), and {}",
                error.message
            ),
            ..error
        })
    }

    fn addressed(&self, name: &str) -> Result<(), String> {
        if self.is_here(name) { Ok(()) } else { self.remote.addressed(name) }
    }

    fn announced(&self, name: &str) -> Option<Announced> {
        // A Secret for a member of this process says nothing that isn't known better.
        if self.is_here(name) { None } else { self.remote.announced(name) }
    }

    fn changes(&self) -> BoxStream<'static, String> {
        self.remote.changes()
    }
}

/// The simulator's way to all members at once.
pub(super) struct Workloads(pub(super) ApiServer);

impl fleet_sim::Members for Workloads {
    fn watch_client(&self) -> kube::Client {
        in_process(&self.0, ApiServer::WILDCARD)
    }

    fn member(&self, name: &str) -> kube::Client {
        in_process(&self.0, name)
    }
}
