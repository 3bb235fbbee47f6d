//! What jobs report, per Application. Between a job and the next turn this is the only link.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_api::{ObjectId, Target};
use fleet_workflow::{Delivery, Prune};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::lock;

/// Repairs of one object within this time count as a fight.
const FIGHT_WINDOW: Duration = Duration::from_secs(60);
/// How long a member that refused a deletion is left alone.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(5);
/// The reason of what wasn't answered.
const UNREACHABLE: &str = "Unreachable";
/// So many repairs in the window are made at once; after that each waits longer.
const PATIENCE: u32 = 3;

/// The board of one Application.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<State>>, CancellationToken);

#[derive(Default)]
struct State {
    /// The run that the entries below are about.
    run: String,
    deliveries: BTreeMap<(String, Target), Delivery>,
    prunes: BTreeMap<(String, Target), Prune>,
    /// What we own on each object after our last apply, as a hash: anything else is drift.
    expected: BTreeMap<(String, ObjectId), u64>,
    /// Objects whose drift is being looked at.
    repairing: BTreeMap<(String, ObjectId), ()>,
    /// How many repairs are being sent to each member.
    sending_repairs: BTreeMap<String, usize>,
    /// Drift that is reported and not repaired.
    reported: BTreeMap<(String, ObjectId), String>,
    /// How often an object was repaired lately.
    repairs: BTreeMap<(String, ObjectId), (u32, Instant)>,
    /// Targets of a deletion: done, or why not.
    cleared: BTreeMap<Target, (Prune, Instant)>,
}

impl Board {
    /// Starts over for another run; what is known of objects stays.
    pub(crate) fn begin(&self, run: &str) {
        let mut state = lock(&self.0);
        if state.run != run {
            state.run = run.to_owned();
            state.deliveries.clear();
            state.prunes.clear();
        }
    }

    pub(crate) fn delivery(&self, key: &(String, Target)) -> Delivery {
        lock(&self.0).deliveries.get(key).cloned().unwrap_or_default()
    }

    /// Records a delivery, unless another run has begun meanwhile.
    pub(crate) fn set_delivery(&self, run: &str, key: &(String, Target), delivery: Delivery) {
        let mut state = lock(&self.0);
        if state.run == run {
            state.deliveries.insert(key.clone(), delivery);
        }
    }

    pub(crate) fn prune(&self, key: &(String, Target)) -> Option<Prune> {
        lock(&self.0).prunes.get(key).cloned()
    }

    pub(crate) fn set_prune(&self, run: &str, key: &(String, Target), prune: Prune) {
        let mut state = lock(&self.0);
        if state.run == run {
            state.prunes.insert(key.clone(), prune);
        }
    }

    /// A member answers again: what waited for it may be tried anew.
    pub(crate) fn retry_unreachable(&self, reachable: &dyn Fn(&str) -> bool) {
        let mut state = lock(&self.0);
        for (key, delivery) in &mut state.deliveries {
            if matches!(delivery, Delivery::Unreachable(_)) && reachable(&key.1.cluster) {
                *delivery = Delivery::Idle;
            }
        }
        state.cleared.retain(|target, (prune, since)| match prune {
            Prune::Refused(problem) if problem.reason == UNREACHABLE => !reachable(&target.cluster),
            Prune::Refused(_) => since.elapsed() < BETWEEN_REFUSALS,
            _ => true,
        });
    }

    /// The Application is being deleted: nothing is repaired any more.
    pub(crate) fn close(&self) {
        self.1.cancel();
    }

    /// Resolves once the board is closed.
    pub(crate) async fn closed(&self) {
        self.1.cancelled().await;
    }

    /// Whether this is still the run that the board is about.
    pub(crate) fn is_about(&self, run: &str) -> bool {
        lock(&self.0).run == run
    }

    /// Notes that a repair is being sent; false where none may be any more.
    pub(crate) fn begin_sending_repair(&self, cluster: &str) -> bool {
        let mut state = lock(&self.0);
        if self.1.is_cancelled() {
            return false;
        }
        *state.sending_repairs.entry(cluster.to_owned()).or_default() += 1;
        true
    }

    pub(crate) fn end_sending_repair(&self, cluster: &str) {
        if let Some(count) = lock(&self.0).sending_repairs.get_mut(cluster) {
            *count = count.saturating_sub(1);
        }
    }

    /// Whether a repair is being sent to a member.
    pub(crate) fn is_repairing(&self, cluster: &str) -> bool {
        lock(&self.0).sending_repairs.get(cluster).is_some_and(|count| *count > 0)
    }

    pub(crate) fn expected(&self, cluster: &str, id: &ObjectId) -> Option<u64> {
        lock(&self.0).expected.get(&(cluster.to_owned(), id.clone())).copied()
    }

    pub(crate) fn expect(&self, cluster: &str, id: &ObjectId, managed: Option<u64>) {
        let key = (cluster.to_owned(), id.clone());
        let mut state = lock(&self.0);
        match managed {
            Some(hash) => state.expected.insert(key, hash),
            None => state.expected.remove(&key),
        };
    }

    /// True for the first who begins to look at an object's drift.
    pub(crate) fn begin_repair(&self, cluster: &str, id: &ObjectId) -> bool {
        lock(&self.0).repairing.insert((cluster.to_owned(), id.clone()), ()).is_none()
    }

    pub(crate) fn end_repair(&self, cluster: &str, id: &ObjectId) {
        lock(&self.0).repairing.remove(&(cluster.to_owned(), id.clone()));
    }

    /// How long to wait before repairing an object once more: nothing at first, then doubling to a minute.
    pub(crate) fn repair_wait(&self, cluster: &str, id: &ObjectId) -> Duration {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let entry = state.repairs.entry((cluster.to_owned(), id.clone())).or_insert((0, now));
        if now.duration_since(entry.1) > FIGHT_WINDOW {
            entry.0 = 0;
        }
        *entry = (entry.0.saturating_add(1), now);
        match entry.0.checked_sub(PATIENCE + 1) {
            None => Duration::ZERO,
            Some(beyond) => Duration::from_secs(1 << beyond.min(6)).min(FIGHT_WINDOW),
        }
    }

    pub(crate) fn report_drift(&self, cluster: &str, id: &ObjectId, message: Option<String>) {
        let key = (cluster.to_owned(), id.clone());
        let mut state = lock(&self.0);
        match message {
            Some(message) => state.reported.insert(key, message),
            None => state.reported.remove(&key),
        };
    }

    pub(crate) fn reported(&self) -> Vec<(String, ObjectId, String)> {
        let state = lock(&self.0);
        state
            .reported
            .iter()
            .map(|((cluster, id), text)| (cluster.clone(), id.clone(), text.clone()))
            .collect()
    }

    pub(crate) fn cleared(&self, target: &Target) -> Prune {
        lock(&self.0).cleared.get(target).map_or(Prune::Idle, |(prune, _)| prune.clone())
    }

    pub(crate) fn set_cleared(&self, target: &Target, prune: Prune) {
        lock(&self.0).cleared.insert(target.clone(), (prune, Instant::now()));
    }
}
