//! In-process ways to the members.

use fleet_api::{ManagedCluster, names};
use fleet_apiserver::{ApiServer, Identity};
use fleet_members::{Transport, TransportError};
use kube::ResourceExt as _;

use super::{CONTROLLER_USER, in_process};

/// The controller's way to members of this process.
pub struct InProcess {
    api: ApiServer,
}

impl InProcess {
    /// The members of a server.
    pub fn new(api: ApiServer) -> Self {
        Self { api }
    }
}

impl Transport for InProcess {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let name = cluster.name_any();
        let refuse = |message: String| Err(TransportError { cluster: name.clone(), message });
        if name == names::LOCAL_CLUSTER || name == ApiServer::HUB {
            return refuse(
                "it names the hub itself, which holds data and runs nothing; name a member".to_owned(),
            );
        }
        match self.api.profile(&name) {
            Some(profile) if profile.workloads => {
                Ok(kube::Client::new(self.api.service(&name, Identity::admin(CONTROLLER_USER)), "default"))
            }
            _ => refuse(format!(
                "there is no such member in this process; start it with `fleetctl local up --members {name}=ALIAS`"
            )),
        }
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
