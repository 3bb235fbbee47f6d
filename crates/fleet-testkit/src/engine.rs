//! A controller under test.

use std::sync::Arc;
use std::time::Duration;

use fleet_api::ManagedCluster;
use fleet_apiserver::{ApiServer, Identity};
use fleet_controller::replicas::{LeaseOptions, Timing};
use fleet_controller::{Controller, ControllerError, Options};
use fleet_members::{Transport, TransportError};
use jiff::SignedDuration;
use kube::ResourceExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Fleet, Meter};

/// A running controller.
pub struct Engine {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ControllerError>>,
    /// What it asks of the hub and, in the same order of writes, of the members.
    pub hub: Meter,
    /// What it asks of members.
    pub members: Meter,
}

struct Metered {
    api: ApiServer,
    meter: Meter,
}

impl Transport for Metered {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let service = self.api.service(&cluster.name_any(), Identity::admin("fleetctl-controller"));
        Ok(self.meter.client(service))
    }
}

impl Engine {
    /// Starts a controller whose requests to hub and members pass different meters.
    pub fn start(fleet: &Fleet) -> Self {
        Self::with(fleet, Meter::new(), Meter::new(), fleet.options())
    }

    /// Starts a controller that is killed at its n-th write, to hub or member, before or after it is carried out.
    pub fn killed_at(fleet: &Fleet, n: u64, carried_out: bool) -> Self {
        let meter = Meter::killing(n, carried_out);
        Self::with(fleet, meter.clone(), meter, fleet.options())
    }

    /// Starts a controller that doesn't get the answer to its n-th write, to hub or member.
    pub fn losing(fleet: &Fleet, n: u64) -> Self {
        let meter = Meter::losing(n);
        Self::with(fleet, meter.clone(), meter, fleet.options())
    }

    /// Starts one of several replicas. Its clock goes wrong by so much.
    pub fn replica(fleet: &Fleet, name: &str, clock_off_by: SignedDuration) -> Self {
        Self::with(fleet, Meter::new(), Meter::new(), Self::shared(fleet, name, clock_off_by))
    }

    /// Options of one of several replicas.
    pub fn shared(fleet: &Fleet, name: &str, clock_off_by: SignedDuration) -> Options {
        let mut options = fleet.options();
        let right = Arc::clone(&options.clock);
        options.clock = Arc::new(move || right() + clock_off_by);
        let millis = Duration::from_millis;
        // As short as leases can be: tests wait for one to run out.
        let timing = Timing::new(Duration::from_secs(3), millis(1400), millis(350));
        options.leases = timing.ok().map(|timing| {
            let leases = LeaseOptions::new("fleetctl-system", name, 1);
            LeaseOptions { timing, ..leases }
        });
        options
    }

    /// Starts a controller with meters and options of one's own.
    pub fn with(fleet: &Fleet, hub: Meter, members: Meter, options: Options) -> Self {
        let transport = Arc::new(Metered { api: fleet.api().clone(), meter: members.clone() });
        Self::through(fleet, transport, hub, members, options)
    }

    /// Starts a controller with a way of one's own to the members; `members` counts what that lets it count.
    pub fn through(
        fleet: &Fleet,
        transport: Arc<dyn Transport>,
        hub: Meter,
        members: Meter,
        options: Options,
    ) -> Self {
        let stop = CancellationToken::new();
        let service = fleet.api().service(ApiServer::HUB, Identity::admin("fleetctl-controller"));
        let client = hub.client(service);
        let controller = Controller::new(client, transport, options);
        #[expect(clippy::disallowed_methods, reason = "the handle is kept, and aborted on drop")]
        let task = tokio::spawn(controller.run(stop.clone()));
        Self { stop, task, hub, members }
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// Where it had failed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        (&mut self.task).await??;
        Ok(())
    }

    /// Ends it at once, as `kill -9` would.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}
