//! How things stand at the moment of the scrape: nothing is kept for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use fleet_api::{Application, Phase, StepPhase};
use fleet_members::Reachability;
use jiff::Timestamp;
use kube::ResourceExt as _;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::context::{Context, lock};

/// Looks at a controller that runs; before one does, everything is zero.
#[derive(Default)]
pub(super) struct State(Mutex<Weak<Context>>);

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// What a scrape shows.
#[derive(Default)]
struct Seen {
    queue: usize,
    queue_seconds: f64,
    applications: BTreeMap<&'static str, u64>,
    waiting: u64,
    waiting_seconds: f64,
    /// Whether this replica may begin work, and how much is its own.
    lease: bool,
    duties: usize,
    /// Whether each member answers, and whether its breaker is open.
    members: Vec<(String, bool, bool)>,
}

impl State {
    pub(super) fn look_at(&self, ctx: Weak<Context>) {
        *lock(&self.0) = ctx;
    }

    fn look(&self) -> Seen {
        let ctx = lock(&self.0).upgrade();
        let Some(ctx) = ctx else { return Seen::default() };
        let (queue, oldest) = ctx.due.queue();
        let mut seen =
            Seen { queue, queue_seconds: oldest.as_secs_f64(), members: members(&ctx), ..Seen::default() };
        seen.lease = ctx.shares.with_membership(|membership, now| membership.can_begin(now)).unwrap_or(true);
        seen.duties =
            ctx.shares.held().unwrap_or_else(|| ctx.hub.applications.state().len() + seen.members.len());
        let now = ctx.now();
        for app in ctx.hub.applications.state() {
            *seen.applications.entry(phase(&app).as_str()).or_default() += 1;
            for since in waiting_since(&app) {
                seen.waiting += 1;
                let waited = since.map_or(0.0, |since: Timestamp| now.duration_since(since).as_secs_f64());
                seen.waiting_seconds = seen.waiting_seconds.max(waited);
            }
        }
        seen
    }
}

fn phase(app: &Arc<Application>) -> Phase {
    app.status.as_ref().map(|status| status.status).unwrap_or_default()
}

/// The gates of an Application that wait, as its status says.
fn waiting_since(app: &Application) -> Vec<Option<Timestamp>> {
    let workflow = app.status.as_ref().and_then(|status| status.workflow.as_ref());
    let steps =
        workflow.filter(|workflow| workflow.suspend).into_iter().flat_map(|workflow| workflow.all_steps());
    // A group waits where its steps do.
    let waiting =
        steps.filter(|step| step.phase == StepPhase::Suspending.as_str() && step.sub_steps.is_empty());
    waiting.map(|step| step.first_execute_time).collect()
}

fn members(ctx: &Context) -> Vec<(String, bool, bool)> {
    let clusters = ctx.members.clusters().into_iter().map(|cluster| cluster.name_any());
    clusters
        .map(|name| match ctx.members.get(&name).map(|member| member.reachability()) {
            Ok(Reachability::Reachable) => (name, true, false),
            Ok(Reachability::Unreachable { .. }) => (name, false, true),
            // It can't be addressed: nothing is sent that a breaker could hold back.
            Err(_) => (name, false, false),
        })
        .collect()
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let seen = self.look();
        let seconds = Unit::Seconds;
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
        };
        gauge("queue_length", "Applications that wait to be looked at", None, seen.queue as f64)?;
        let help = "How long the Application waits that waits longest to be looked at";
        gauge("queue_oldest", help, Some(&seconds), seen.queue_seconds)?;
        gauge("approvals_waiting", "Gates that wait for a person", None, seen.waiting as f64)?;
        let help = "How long the gate waits that waits longest for a person";
        gauge("approvals_oldest", help, Some(&seconds), seen.waiting_seconds)?;
        let help = "Whether this replica's Lease holds, or it is alone";
        gauge("lease_held", help, None, f64::from(u8::from(seen.lease)))?;
        let help = "Applications and members that are this replica's share";
        gauge("duties", help, None, seen.duties as f64)?;

        let help = "Applications, by phase";
        let mut applications = encoder.encode_descriptor("applications", help, None, MetricType::Gauge)?;
        for (phase, count) in &seen.applications {
            applications.encode_family(&[("phase", *phase)])?.encode_gauge(count)?;
        }
        let help = "Whether a member answers, as far as known";
        let mut reachable = encoder.encode_descriptor("member_reachable", help, None, MetricType::Gauge)?;
        for (cluster, answers, _) in &seen.members {
            reachable.encode_family(&[("cluster", cluster.as_str())])?.encode_gauge(&u64::from(*answers))?;
        }
        let help = "Whether requests to a member are held back because it didn't answer";
        let mut breakers = encoder.encode_descriptor("member_breaker_open", help, None, MetricType::Gauge)?;
        for (cluster, _, open) in &seen.members {
            breakers.encode_family(&[("cluster", cluster.as_str())])?.encode_gauge(&u64::from(*open))?;
        }
        Ok(())
    }
}
