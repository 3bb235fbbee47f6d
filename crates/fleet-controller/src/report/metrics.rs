//! What is counted, in the text form that Prometheus reads (OpenMetrics 1.0).
//!
//! ```text
//!  turns, runs, steps ── counted where they happen ──┐
//!  MemberCounts ── requests, drift, per member ──────┼──► Registry ──► text
//!  State ── queue, applications, approvals: looked at when asked ──┘
//! ```
//!
//! Labels are bounded: phases, types, verbs and codes, and members (they are forgotten when they leave). Nothing has
//! a label per Application or object.

mod members;
mod process;
mod state;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fleet_api::{ApprovalRecord, RunPhase, StepPhase};
use jiff::{SignedDuration, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use self::process::Process;
use self::state::State;
use crate::context::Context;

pub use members::{Drift, MemberCounts};

/// Upper bounds of what takes milliseconds to seconds.
const FAST: [f64; 9] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
/// Upper bounds of what takes seconds to days: steps, runs, people.
const SLOW: [f64; 10] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 604_800.0];

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];
type Durations<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Everything that is counted. Clones share it.
#[derive(Clone)]
pub struct Metrics(Arc<Counts>);

struct Counts {
    registry: Registry,
    members: Arc<MemberCounts>,
    state: Arc<State>,
    turns: Family<Labels<1>, Counter>,
    turn_durations: Histogram,
    turns_under_way: Gauge,
    runs_started: Family<Labels<1>, Counter>,
    runs_ended: Family<Labels<1>, Counter>,
    run_durations: Durations<1>,
    steps: Family<Labels<2>, Counter>,
    step_durations: Durations<2>,
    approvals: Family<Labels<1>, Counter>,
    approval_waits: Histogram,
    hub_watches: Family<Labels<1>, Counter>,
    lost_events: Counter,
    events: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        let fast = || Histogram::new(FAST);
        let slow: fn() -> Histogram = || Histogram::new(SLOW);
        let mut counts = Counts {
            registry: Registry::default(),
            members: Arc::default(),
            state: Arc::default(),
            turns: Family::default(),
            turn_durations: fast(),
            turns_under_way: Gauge::default(),
            runs_started: Family::default(),
            runs_ended: Family::default(),
            run_durations: Family::new_with_constructor(slow),
            steps: Family::default(),
            step_durations: Family::new_with_constructor(slow),
            approvals: Family::default(),
            approval_waits: slow(),
            hub_watches: Family::default(),
            lost_events: Counter::default(),
            events: Counter::default(),
        };
        counts.register();
        Self(Arc::new(counts))
    }

    /// The text that is scraped.
    ///
    /// # Errors
    /// Never, as far as known: writing into a string doesn't fail.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }

    /// The media type of [`Self::encode`].
    pub const MEDIA_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// What is counted per member.
    pub fn members(&self) -> &Arc<MemberCounts> {
        &self.0.members
    }

    /// From now on a scrape looks at this controller.
    pub(crate) fn look_at(&self, ctx: &Weak<Context>) {
        self.0.state.look_at(ctx.clone());
    }

    pub(crate) fn turn_begins(&self) {
        self.0.turns_under_way.inc();
    }

    pub(crate) fn turn_ended(&self, outcome: &'static str, took: Duration) {
        self.0.turns_under_way.dec();
        self.0.turns.get_or_create(&[("outcome", outcome.into())]).inc();
        self.0.turn_durations.observe(took.as_secs_f64());
    }

    pub(crate) fn run_started(&self, cause: &str) {
        self.0.runs_started.get_or_create(&[("cause", cause.to_owned().into())]).inc();
    }

    pub(crate) fn run_ended(&self, phase: RunPhase, started: Option<Timestamp>, ended: Option<Timestamp>) {
        let labels = [("phase", phase.as_str().into())];
        self.0.runs_ended.get_or_create(&labels).inc();
        if let Some(took) = between(started, ended) {
            self.0.run_durations.get_or_create(&labels).observe(took);
        }
    }

    pub(crate) fn step_moved(&self, type_: &str, phase: StepPhase) {
        let labels = [("type", type_.to_owned().into()), ("state", phase.as_str().into())];
        self.0.steps.get_or_create(&labels).inc();
    }

    pub(crate) fn step_ended(
        &self,
        type_: &str,
        phase: StepPhase,
        started: Option<Timestamp>,
        ended: Option<Timestamp>,
    ) {
        if let Some(took) = between(started, ended) {
            let labels = [("type", type_.to_owned().into()), ("state", phase.as_str().into())];
            self.0.step_durations.get_or_create(&labels).observe(took);
        }
    }

    pub(crate) fn approved(&self, approval: &ApprovalRecord, since: Option<Timestamp>) {
        let proven = if approval.proven { "true" } else { "false" };
        self.0.approvals.get_or_create(&[("proven", proven.into())]).inc();
        if let Some(waited) = between(since, approval.at) {
            self.0.approval_waits.observe(waited);
        }
    }

    pub(crate) fn hub_watch_interrupted(&self, kind: &str) {
        self.0.hub_watches.get_or_create(&[("kind", kind.to_owned().into())]).inc();
    }

    pub(crate) fn event_published(&self) {
        self.0.events.inc();
    }

    pub(crate) fn event_lost(&self) {
        self.0.lost_events.inc();
    }
}

/// Seconds between two times; none where one isn't known or they are the wrong way round (another clock).
fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<f64> {
    let took = to?.duration_since(from?);
    (took >= SignedDuration::ZERO).then(|| took.as_secs_f64())
}

impl Counts {
    fn register(&mut self) {
        for outcome in ["done", "failed"] {
            let _ = self.turns.get_or_create(&[("outcome", outcome.into())]);
        }
        for proven in ["true", "false"] {
            let _ = self.approvals.get_or_create(&[("proven", proven.into())]);
        }
        self.registry.register_collector(Box::new(Process));
        let ours = self.registry.sub_registry_with_prefix("fleetctl");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        ours.register("build", "The version that runs", build);
        ours.register("turns", "Looks at an Application, by how they ended", self.turns.clone());
        ours.register_with_unit(
            "turn_duration",
            "How long one look at an Application takes",
            Unit::Seconds,
            self.turn_durations.clone(),
        );
        ours.register(
            "turns_under_way",
            "Applications that are looked at right now",
            self.turns_under_way.clone(),
        );
        ours.register("runs_started", "Runs that were started, by cause", self.runs_started.clone());
        ours.register("runs_ended", "Runs that have ended, by outcome", self.runs_ended.clone());
        ours.register_with_unit(
            "run_duration",
            "From the start of a run to its end, people's time included, by outcome",
            Unit::Seconds,
            self.run_durations.clone(),
        );
        ours.register("steps", "Steps that came into a state, by type", self.steps.clone());
        ours.register_with_unit(
            "step_duration",
            "From the moment a step acts to its end, by type and how it ended",
            Unit::Seconds,
            self.step_durations.clone(),
        );
        ours.register(
            "approvals",
            "Gates that were opened, by whether the API server proved who",
            self.approvals.clone(),
        );
        ours.register_with_unit(
            "approval_wait",
            "How long a gate waited before it was opened",
            Unit::Seconds,
            self.approval_waits.clone(),
        );
        ours.register(
            "hub_watch_interruptions",
            "Watches on the hub that began anew, by kind",
            self.hub_watches.clone(),
        );
        ours.register("events", "Kubernetes Events that were published", self.events.clone());
        ours.register(
            "events_lost",
            "Kubernetes Events that the hub didn't take in time",
            self.lost_events.clone(),
        );
        ours.register_collector(boxed(&self.members));
        ours.register_collector(boxed(&self.state));
    }
}

fn boxed<C: Collector>(collector: &Arc<C>) -> Box<dyn Collector> {
    Box::new(Arc::clone(collector))
}

#[cfg(test)]
mod tests;
