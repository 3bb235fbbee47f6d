//! What this replica does, for everybody who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::duty::Duty;
use super::hold::{Fence, Hold};
use super::lease::Timing;
use super::membership::{Membership, Moment};
use crate::context::lock;

/// How long what is under way may take to end before a duty is handed over; then it is cut off.
const GRACE: Duration = Duration::from_secs(2);

/// Which duties this replica has. Cheap to clone.
#[derive(Clone)]
pub struct Shares(Arc<Inner>);

struct Inner {
    /// Ends everything.
    stop: CancellationToken,
    /// What a replica that is alone has under way.
    jobs: TaskTracker,
    /// `None` for a replica that is alone.
    state: Option<Mutex<State>>,
    changed: watch::Sender<u64>,
}

struct State {
    origin: Instant,
    membership: Membership,
    holds: BTreeMap<Duty, Hold>,
    fence: Arc<Fence>,
}

impl State {
    fn now(&self) -> Moment {
        self.origin.elapsed()
    }

    fn end_all(&mut self) {
        for hold in std::mem::take(&mut self.holds).into_values() {
            hold.cancel();
        }
        // What ran under the old one must find it past for ever.
        self.fence = Arc::new(Fence::new(self.origin));
    }
}

impl Shares {
    /// All duties are this replica's: it is the only one.
    pub fn alone() -> Self {
        Self::with(None)
    }

    /// Duties are shared with others as Leases say; none is held before [`super::Driver`] runs.
    pub(crate) fn shared(replica: &str, timing: Timing) -> Self {
        let origin = Instant::now();
        Self::with(Some(Mutex::new(State {
            origin,
            membership: Membership::new(replica, timing),
            holds: BTreeMap::new(),
            fence: Arc::new(Fence::new(origin)),
        })))
    }

    fn with(state: Option<Mutex<State>>) -> Self {
        let (changed, _) = watch::channel(0);
        Self(Arc::new(Inner { stop: CancellationToken::new(), jobs: TaskTracker::new(), state, changed }))
    }

    /// Whether a duty is this replica's now.
    pub fn is_mine(&self, duty: &Duty) -> bool {
        self.hold(duty).is_some()
    }

    /// The right to carry out a duty, where it is this replica's. To be asked for again for each piece of work.
    pub fn hold(&self, duty: &Duty) -> Option<Hold> {
        let Some(state) = &self.0.state else {
            return Some(Hold::new(self.0.stop.clone(), self.0.jobs.clone(), None));
        };
        let mut state = lock(state);
        if let Some(hold) = state.holds.get(duty) {
            return (!hold.is_over()).then(|| hold.clone());
        }
        let now = state.now();
        if self.0.stop.is_cancelled() || !state.membership.may_begin(duty, now) {
            return None;
        }
        let fence = Arc::clone(&state.fence);
        let hold = Hold::new(self.0.stop.child_token(), TaskTracker::new(), Some(fence));
        state.holds.insert(duty.clone(), hold.clone());
        Some(hold)
    }

    /// A duty that is there no more.
    pub(crate) fn forget(&self, duty: &Duty) {
        if let Some(state) = &self.0.state {
            lock(state).holds.remove(duty);
        }
    }

    /// Changes whenever duties may have come or gone.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// How many duties are held; nothing for a replica that is alone.
    pub fn held(&self) -> Option<usize> {
        self.0.state.as_ref().map(|state| lock(state).holds.len())
    }

    /// Ends everything that runs under any hold when it is dropped.
    pub(crate) fn end_with(&self) -> DropGuard {
        self.0.stop.clone().drop_guard()
    }

    /// Ends everything that runs under any hold, and waits for it.
    pub(crate) async fn end(&self) {
        self.0.stop.cancel();
        self.0.jobs.close();
        self.0.jobs.wait().await;
        let holds = match &self.0.state {
            Some(state) => std::mem::take(&mut lock(state).holds),
            None => BTreeMap::new(),
        };
        for hold in holds.into_values() {
            hold.close();
            hold.ended().await;
        }
    }

    /// Looks at or changes the membership; nothing for a replica that is alone.
    pub(crate) fn with_membership<T>(&self, act: impl FnOnce(&mut Membership, Moment) -> T) -> Option<T> {
        let mut state = lock(self.0.state.as_ref()?);
        let now = state.now();
        Some(act(&mut state.membership, now))
    }

    /// A renewal was answered that was sent at this moment.
    pub(crate) fn answered(&self, sent: Moment) {
        let Some(state) = &self.0.state else { return };
        let mut state = lock(state);
        let now = state.now();
        if !state.membership.answered(sent, now) {
            state.end_all();
        }
        if let Some(until) = state.membership.valid_until() {
            state.fence.move_to(until);
        }
    }

    /// The validity has ended: everything stops.
    pub(crate) fn lapse(&self) {
        let Some(state) = &self.0.state else { return };
        let mut state = lock(state);
        state.membership.lapse();
        state.end_all();
    }

    /// The local instant of a moment.
    pub(crate) fn instant(&self, moment: Moment) -> Option<Instant> {
        self.0.state.as_ref().map(|state| lock(state).origin + moment)
    }

    /// Begins nothing more of what a view takes away; resolves when all of that has ended.
    pub(crate) fn hand_over(&self, view: &BTreeSet<String>) -> impl Future<Output = ()> + Send + use<> {
        let mut ending = Vec::new();
        if let Some(state) = &self.0.state {
            let state = lock(state);
            for (duty, hold) in state.holds.iter().filter(|(duty, _)| !state.membership.wins(duty, view)) {
                tracing::debug!(%duty, "handed over");
                hold.close();
                ending.push(hold.clone());
            }
        }
        async move {
            let all = futures::future::join_all(ending.iter().map(Hold::ended));
            let _ = tokio::time::timeout(GRACE, all).await;
            ending.iter().for_each(Hold::cancel);
        }
    }

    /// What a view takes away has stopped: the view is published from now on.
    pub(crate) fn adopt(&self, view: BTreeSet<String>) {
        let Some(state) = &self.0.state else { return };
        let mut state = lock(state);
        let State { membership, holds, .. } = &mut *state;
        holds.retain(|duty, hold| {
            let kept = membership.wins(duty, &view) && !hold.is_over();
            if !kept {
                hold.cancel();
            }
            kept
        });
        membership.adopt(view);
    }

    /// Tells everybody that duties may have come or gone.
    pub(crate) fn tell(&self) {
        self.0.changed.send_modify(|count| *count += 1);
    }
}
