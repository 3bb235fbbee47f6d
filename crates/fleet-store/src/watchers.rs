//! Who wants to hear of which changes, so that a commit touches only those concerned.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use crate::{Event, Key, Range, WatchEnd};

/// What a commit has put into a watcher's hands and the watcher hasn't taken yet.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) events: VecDeque<Arc<Event>>,
    pub(crate) end: Option<WatchEnd>,
    pub(crate) waker: Option<Waker>,
}

/// A queue as both ends hold it.
pub(crate) type SharedQueue = Arc<Mutex<Queue>>;

/// One watcher, as the index knows it.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) range: Range,
    pub(crate) queue: SharedQueue,
}

/// Watchers of one resource.
#[derive(Debug, Default)]
struct OfResource {
    everywhere: Vec<Slot>,
    by_cluster: HashMap<Arc<str>, Vec<Slot>>,
}

/// All watchers, by resource, then by cluster or for all clusters.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    by_resource: HashMap<Arc<str>, OfResource>,
}

impl Watchers {
    pub(crate) fn add(&mut self, slot: Slot) {
        let of = self.by_resource.entry(slot.range.resource.clone()).or_default();
        match slot.range.cluster.clone() {
            None => of.everywhere.push(slot),
            Some(cluster) => of.by_cluster.entry(cluster).or_default().push(slot),
        }
    }

    pub(crate) fn remove(&mut self, range: &Range, queue: &SharedQueue) {
        let Some(of) = self.by_resource.get_mut(&range.resource) else { return };
        let others = |slot: &Slot| !Arc::ptr_eq(&slot.queue, queue);
        match &range.cluster {
            None => of.everywhere.retain(others),
            Some(cluster) => {
                if let Some(slots) = of.by_cluster.get_mut(cluster) {
                    slots.retain(others);
                    if slots.is_empty() {
                        of.by_cluster.remove(cluster);
                    }
                }
            }
        }
        if of.everywhere.is_empty() && of.by_cluster.is_empty() {
            self.by_resource.remove(&range.resource);
        }
    }

    /// Hands an event to all concerned. `oldest` is the start of the history: what lies after it costs a slow watcher
    /// no memory of its own, so a burst that still fits the history ends nobody.
    pub(crate) fn publish(&mut self, event: &Arc<Event>, limit: usize, oldest: u64, wakes: &mut Vec<Waker>) {
        let Some(of) = self.by_resource.get_mut(&event.key.resource) else { return };
        let deliver = |slots: &mut Vec<Slot>, wakes: &mut Vec<Waker>| {
            slots.retain(|slot| slot.deliver(event, limit, oldest, wakes));
        };
        deliver(&mut of.everywhere, wakes);
        if let Some(slots) = of.by_cluster.get_mut(&event.key.cluster) {
            deliver(slots, wakes);
        }
    }

    /// Ends every watcher.
    pub(crate) fn end(&mut self, end: WatchEnd, wakes: &mut Vec<Waker>) {
        for (_, of) in self.by_resource.drain() {
            for slot in of.everywhere.into_iter().chain(of.by_cluster.into_values().flatten()) {
                let mut queue = slot.queue.lock();
                queue.end.get_or_insert(end);
                wakes.extend(queue.waker.take());
            }
        }
    }
}

impl Slot {
    /// Queues the event if it is wanted; false if the watcher is at its end and leaves the index.
    fn deliver(&self, event: &Arc<Event>, limit: usize, oldest: u64, wakes: &mut Vec<Waker>) -> bool {
        let Key { namespace, name, .. } = &event.key;
        if !self.range.selects(namespace, name) {
            return true;
        }
        let mut queue = self.queue.lock();
        let overdue = queue.events.front().is_some_and(|first| first.revision <= oldest);
        if queue.events.len() >= limit && overdue {
            // The queue is kept: the watcher reads what it has, in order, and then learns that it lagged.
            queue.end = Some(WatchEnd::Lagged);
        } else {
            queue.events.push_back(Arc::clone(event));
        }
        wakes.extend(queue.waker.take());
        queue.end.is_none()
    }
}
