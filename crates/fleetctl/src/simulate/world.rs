//! A fleet in virtual time: time passes only when nothing else is to be done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_api::ManagedCluster;
use fleet_apiserver::{ApiServer, Identity};
use fleet_controller::{Controller, ControllerError};
use fleet_members::{Transport, TransportError};
use fleet_sim::{Faults, Unwell, Weather};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::embedded::{CONTROLLER_USER, Embedded, EmbeddedError, EmbeddedOptions, MemberSpec};
use crate::environment::Clock;

/// When virtual time begins: 2026-01-01T00:00:00Z, a Thursday.
const BEGINNING: i64 = 1_767_225_600;
/// How long containers take to become ready, before what the seed adds.
const READY: Duration = Duration::from_secs(3);
/// The longest that a request to a member takes; which one takes how long, the seed says.
const LATENCY: Duration = Duration::from_millis(40);

/// The time of day that follows tokio's clock, which a runtime with paused time moves on by itself.
#[derive(Debug, Clone, Copy)]
pub struct VirtualTime {
    began: Instant,
}

impl VirtualTime {
    /// Begins now, within a runtime.
    pub fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        let beginning = Timestamp::from_second(BEGINNING).unwrap_or(Timestamp::UNIX_EPOCH);
        let elapsed = SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::MAX);
        beginning.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// For whoever takes a clock.
    pub fn clock(self) -> Clock {
        Arc::new(move || self.now())
    }
}

/// A runtime of one thread in virtual time.
///
/// # Errors
/// Where the system gives none.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()
}

/// The members of this process, behind their faults.
#[derive(Clone)]
pub struct FaultyWays {
    /// The server below.
    pub api: ApiServer,
    /// By member.
    pub faults: BTreeMap<String, Faults>,
}

impl Transport for FaultyWays {
    fn connect(&self, cluster: &ManagedCluster) -> Result<kube::Client, TransportError> {
        let name = cluster.name_any();
        self.addressed(&name).map_err(|message| TransportError { cluster: name.clone(), message })?;
        let service = self.api.service(&name, Identity::admin(CONTROLLER_USER));
        Ok(match self.faults.get(&name) {
            Some(faults) => kube::Client::new(faults.before(service), "default"),
            None => kube::Client::new(service, "default"),
        })
    }

    fn addressed(&self, name: &str) -> Result<(), String> {
        match self.api.profile(name) {
            Some(profile) if profile.workloads => Ok(()),
            _ => Err(format!("{name} is no member of the simulated fleet")),
        }
    }
}

/// Hub, members and the engine.
pub(super) struct World {
    pub(super) embedded: Embedded,
    pub(super) ways: FaultyWays,
    pub(super) unwell: Unwell,
    time: VirtualTime,
    engine: Option<AbortOnDropHandle<Result<(), ControllerError>>>,
}

impl World {
    pub(super) async fn start(members: Vec<MemberSpec>, seed: u64) -> Result<Self, EmbeddedError> {
        let time = VirtualTime::begin();
        let mut options = EmbeddedOptions::in_memory(time.clock(), seed);
        let unwell = Unwell::default();
        options.unwell = unwell.clone();
        options.members = members;
        options.controller = false;
        options.simulation.seed = seed;
        options.simulation.ready_delay = READY;
        let embedded = Embedded::start(options).await?;
        let weather = Weather { seed, late: 1000, longest: LATENCY, ..Weather::default() };
        let faults = embedded.fleet().members().into_iter().map(|member| {
            let faults = Faults::new();
            faults.set_weather(weather);
            (member.name, faults)
        });
        let ways = FaultyWays { api: embedded.api().clone(), faults: faults.collect() };
        Ok(Self { embedded, ways, unwell, time, engine: None })
    }

    /// Starts the engine, where it doesn't run.
    pub(super) fn start_engine(&mut self) {
        if self.engine.is_some() {
            return;
        }
        let mut options = fleet_controller::Options::new(self.time.clock());
        options.progress_interval = SignedDuration::ZERO;
        options.author = fleet_controller::AuthorSource::BuiltIn;
        // The policy that proves approvals is as old as the rehearsal; nobody changes it here, and no cache is before it.
        options.proof_margin = SignedDuration::ZERO;
        let hub = self.ways.api.service(ApiServer::HUB, Identity::admin(CONTROLLER_USER));
        let hub = kube::Client::new(hub, "default");
        let controller = Controller::new(hub, Arc::new(self.ways.clone()), options);
        #[expect(clippy::disallowed_methods, reason = "the handle is kept, and ends the task")]
        let engine = tokio::spawn(controller.run(CancellationToken::new()));
        self.engine = Some(AbortOnDropHandle::new(engine));
    }

    /// Ends the engine at once, as a crash does.
    pub(super) async fn kill_engine(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.abort();
            let _ = engine.await;
        }
    }

    /// Resolves where the engine ended by itself; says why.
    pub(super) async fn engine_failed(&mut self) -> String {
        let Some(engine) = &mut self.engine else { return std::future::pending().await };
        let ended = engine.await;
        self.engine = None;
        match ended {
            Ok(Ok(())) => "it ended without being asked to".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }
}
