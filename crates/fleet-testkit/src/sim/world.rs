//! Servers, members, simulator and replicas of one play.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_api::ManagedCluster;
use fleet_apiserver::{ApiServer, Identity};
use fleet_controller::replicas::{LeaseOptions, Timing};
use fleet_controller::{Controller, ControllerError};
use fleet_members::{Transport, TransportError};
use fleet_sim::{Faults, Pods, Simulator, Unwell};
use fleetctl::embedded::{Embedded, EmbeddedOptions, MemberSpec};
use fleetctl::simulate::VirtualTime;
use kube::ResourceExt as _;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::asked::Asked;
use super::record::{Life, Log, Mortal};
use super::rewind::Rewound;
use super::script::Script;
use super::wanted::{NAMESPACE, SECRET, USER, app_name, door, member_name};
use crate::Fleet;

/// The most members that a script has.
const MEMBERS: usize = 3;

/// Hub and members as every play finds them: made once, shared by all.
pub struct Base {
    api: ApiServer,
}

impl Base {
    /// Makes it.
    ///
    /// # Errors
    /// Where the fleet doesn't start.
    pub fn new() -> anyhow::Result<Self> {
        let runtime = fleetctl::simulate::runtime()?;
        let api = runtime.block_on(async {
            let mut options = EmbeddedOptions::in_memory(VirtualTime::begin().clock(), 7);
            options.members =
                (0..MEMBERS).map(|member| MemberSpec { name: member_name(member), alias: None }).collect();
            options.controller = false;
            let embedded = Embedded::start(options).await?;
            let fleet = Fleet::of(embedded);
            for name in [NAMESPACE, "fleetctl-system"] {
                let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
                fleet.apply(ApiServer::HUB, &namespace).await?;
            }
            for app in 0..2 {
                let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"password": SECRET},
                    "metadata": {"name": format!("{}-s", app_name(app)), "namespace": NAMESPACE}});
                fleet.apply(ApiServer::HUB, &secret).await?;
                let door = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"open": "yes"},
                    "metadata": {"name": door(app), "namespace": NAMESPACE}});
                fleet.apply(ApiServer::HUB, &door).await?;
            }
            // Until the simulator has nothing more to do.
            tokio::time::sleep(Duration::from_secs(30)).await;
            // A fork without the past, and without anybody who watches.
            let options = server_options(&VirtualTime::begin(), 7);
            anyhow::Ok(fleet.api().fork(fleet_store::Options::default(), options))
        })?;
        Ok(Self { api })
    }
}

/// Everything but the users.
pub(crate) struct World {
    pub(crate) api: ApiServer,
    pub(crate) faults: BTreeMap<String, Faults>,
    pub(crate) unwell: Unwell,
    /// What servers say that steps ask.
    pub(crate) asked: Asked,
    /// How far members' resource versions went back.
    pub(crate) rewound: BTreeMap<String, Rewound>,
    pub(crate) log: Log,
    time: VirtualTime,
    seed: u64,
    alone: bool,
    _parts: Vec<JoinHandle<()>>,
}

fn server_options(time: &VirtualTime, seed: u64) -> fleet_apiserver::Options {
    fleet_apiserver::Options {
        clock: time.clock(),
        seed,
        version: String::new(),
        token_key: None,
        author: Some(fleetctl::embedded::author_stamp()),
        advisor: None,
        certificate_authority: String::new(),
    }
}

struct Workloads(ApiServer);

impl fleet_sim::Members for Workloads {
    fn watch_client(&self) -> kube::Client {
        client(&self.0, ApiServer::WILDCARD)
    }

    fn member(&self, name: &str) -> kube::Client {
        client(&self.0, name)
    }
}

fn client(api: &ApiServer, cluster: &str) -> kube::Client {
    kube::Client::new(api.service(cluster, Identity::admin(USER)), "default")
}

impl World {
    pub(crate) fn start(base: &Base, script: &Script) -> Self {
        let time = VirtualTime::begin();
        let keeps = fleet_store::Options { history_bytes: 1 << 30, watch_queue: usize::MAX };
        let api = base.api.fork(keeps, server_options(&time, script.seed));
        let mut faults = BTreeMap::new();
        faults.insert(ApiServer::HUB.to_owned(), Faults::new());
        for member in 0..MEMBERS {
            faults.insert(member_name(member), Faults::new());
        }
        for (name, faults) in &faults {
            faults.set_weather(if name == ApiServer::HUB { script.hub_weather } else { script.weather });
        }
        let unwell = Unwell::default();
        let mut simulation = fleet_sim::Options::new(move || time.now());
        simulation.settings.pods = Pods::Counted;
        simulation.settings.ready_delay = Duration::from_millis(500);
        simulation.settings.seed = script.seed;
        simulation.unwell = unwell.clone();
        let simulator = Simulator::new(Workloads(api.clone()), simulation);
        let server = api.clone();
        #[expect(clippy::disallowed_methods, reason = "they end with the runtime of the play")]
        let parts = vec![
            tokio::spawn(fleet_apiserver::upkeep::run(server, CancellationToken::new())),
            tokio::spawn(simulator.run(std::future::pending())),
        ];
        let alone = script.replicas == 1;
        let rewound = faults.keys().map(|name| (name.clone(), Rewound::default())).collect();
        Self {
            api,
            faults,
            unwell,
            asked: Asked::default(),
            rewound,
            log: Log::default(),
            time,
            seed: script.seed,
            alone,
            _parts: parts,
        }
    }

    /// A user's client.
    pub(crate) fn client(&self, cluster: &str) -> kube::Client {
        client(&self.api, cluster)
    }

    /// The client of a user of a name of their own.
    pub(crate) fn client_of(&self, user: &str, mut groups: Vec<String>) -> kube::Client {
        groups.push(Identity::MASTERS.to_owned());
        kube::Client::new(self.api.service(ApiServer::HUB, Identity::new(user, groups)), "default")
    }

    /// The time of day.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.time.now()
    }

    /// Starts a replica; `incarnation` differs from start to start.
    pub(crate) fn replica(
        &self,
        replica: usize,
        incarnation: u64,
    ) -> (Life, JoinHandle<Result<(), ControllerError>>) {
        let life = Life::default();
        let ways = Ways {
            api: self.api.clone(),
            faults: self.faults.clone(),
            rewound: self.rewound.clone(),
            life: life.clone(),
            log: self.log.clone(),
            replica,
        };
        let mut options = fleet_controller::Options::new(self.time.clock());
        options.author = fleet_controller::AuthorSource::BuiltIn;
        options.dial = Some(Arc::new(self.asked.clone()));
        if !self.alone {
            let seed = self.seed.wrapping_mul(31).wrapping_add(incarnation * 8 + replica as u64);
            let timing =
                Timing::new(Duration::from_secs(60), Duration::from_secs(24), Duration::from_secs(10));
            options.leases = timing.ok().map(|timing| LeaseOptions {
                timing,
                ..LeaseOptions::new("fleetctl-system", &format!("r{replica}"), seed)
            });
        }
        let controller = Controller::new(ways.client(ApiServer::HUB), Arc::new(ways), options);
        #[expect(clippy::disallowed_methods, reason = "the handle is kept by the play")]
        let task = tokio::spawn(controller.run(CancellationToken::new()));
        (life, task)
    }
}

/// A replica's ways to hub and members.
struct Ways {
    api: ApiServer,
    faults: BTreeMap<String, Faults>,
    rewound: BTreeMap<String, Rewound>,
    life: Life,
    log: Log,
    replica: usize,
}

impl Ways {
    fn client(&self, cluster: &str) -> kube::Client {
        let service = self.api.service(cluster, Identity::admin("fleetctl-controller"));
        let service = self.rewound.get(cluster).cloned().unwrap_or_default().before(service);
        let faults = self.faults.get(cluster).cloned().unwrap_or_default();
        let mortal = Mortal {
            service: faults.before(service),
            life: self.life.clone(),
            log: self.log.clone(),
            replica: self.replica,
            cluster: cluster.to_owned(),
            store: self.api.store().clone(),
        };
        kube::Client::new(mortal, "default")
    }
}

impl Transport for Ways {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        Ok(self.client(&cluster.name_any()))
    }
}
