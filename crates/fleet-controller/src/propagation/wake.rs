//! What makes the distribution look at an object: at the whole of it, or at one of its places.

use std::time::Duration;

use fleet_api::ObjectId;
use jiff::Timestamp;
use tokio::time::Instant;

use super::distributor::Distributor;

impl Distributor {
    /// An object is to be settled.
    pub(super) fn touch(&mut self, id: &ObjectId) {
        self.dirty.insert(id.clone());
    }

    /// Whether an object is to be settled.
    pub(super) fn is_to_be_settled(&self, id: &ObjectId) -> bool {
        self.dirty.contains(id) || self.confirmations.waits(id)
    }

    /// An object is to be settled at a time.
    pub(super) fn wake_at(&mut self, at: Timestamp, id: &ObjectId) {
        let wait = at.duration_since(self.ctx.now()).unsigned_abs();
        let wait = if at > self.ctx.now() { wait } else { Duration::ZERO };
        self.wake_in(wait, id);
    }

    pub(super) fn wake_in(&mut self, wait: Duration, id: &ObjectId) {
        self.timers.no_later(id, Instant::now() + wait);
    }

    /// Something was seen of an object on a cluster, or what was sent there has ended.
    pub(super) fn touch_place(&mut self, id: &ObjectId, cluster: &str) {
        self.seen.insert((id.clone(), cluster.to_owned()));
    }

    /// Looks at one place. What a move waits for is settled anew with the whole object; one at rest moves nowhere,
    /// whatever its places show.
    pub(super) fn look_again(&mut self, id: &ObjectId, cluster: &str) {
        if self.is_to_be_settled(id) {
            return;
        }
        // What workloads need goes before them: who waits for it is woken by settling it.
        if !self.dependents.is_empty() || !self.items.get(id).is_some_and(|item| item.at_rest) {
            self.dirty.insert(id.clone());
            return;
        }
        self.look(id, cluster);
        self.touch_report(id);
        self.tell_of(id);
    }
}
