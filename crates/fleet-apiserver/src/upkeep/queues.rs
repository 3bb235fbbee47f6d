//! Work by cluster, each piece once.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use fleet_store::Key;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Something to look at. What is to be done is found out from the store when its turn comes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// Does this object still have an owner?
    Dependent(Key),
    /// This object is being deleted and may wait for its dependents.
    Owner(Key),
    /// A namespace is new, or has something left in it while it goes.
    Namespace(Arc<str>),
    /// A ClusterRole has changed: roles that gather others may have to.
    Roles,
}

/// The work of all clusters. A cluster is in here only while it has a worker.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    clusters: Mutex<HashMap<Arc<str>, Queue>>,
    starts: Mutex<VecDeque<Arc<str>>>,
    started: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Work>,
    known: HashSet<Work>,
    wake: Arc<Notify>,
}

impl Queues {
    /// Adds a piece of work unless it waits already, and asks for a worker where the cluster has none.
    pub(crate) fn add(&self, cluster: &Arc<str>, work: Work) {
        let mut clusters = self.clusters.lock();
        let (queue, is_new) = match clusters.entry(Arc::clone(cluster)) {
            Entry::Occupied(there) => (there.into_mut(), false),
            Entry::Vacant(free) => (free.insert(Queue::default()), true),
        };
        if queue.known.insert(work.clone()) {
            queue.waiting.push_back(work);
            queue.wake.notify_one();
        }
        drop(clusters);
        if is_new {
            self.starts.lock().push_back(Arc::clone(cluster));
            self.started.notify_one();
        }
    }

    /// The next cluster that needs a worker.
    pub(super) async fn next_start(&self) -> Arc<str> {
        loop {
            if let Some(cluster) = self.starts.lock().pop_front() {
                return cluster;
            }
            self.started.notified().await;
        }
    }

    /// The next piece of a cluster's work.
    pub(super) fn take(&self, cluster: &str) -> Option<Work> {
        let mut clusters = self.clusters.lock();
        let queue = clusters.get_mut(cluster)?;
        let work = queue.waiting.pop_front()?;
        queue.known.remove(&work);
        Some(work)
    }

    /// What wakes a cluster's worker.
    pub(super) fn wake(&self, cluster: &str) -> Option<Arc<Notify>> {
        self.clusters.lock().get(cluster).map(|queue| Arc::clone(&queue.wake))
    }

    /// Ends a cluster's worker if there is nothing left to do; false if something has come meanwhile.
    pub(super) fn finish(&self, cluster: &str) -> bool {
        let mut clusters = self.clusters.lock();
        let idle = clusters.get(cluster).is_none_or(|queue| queue.waiting.is_empty());
        if idle {
            clusters.remove(cluster);
        }
        idle
    }

    /// Whether no cluster has work.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.clusters.lock().is_empty()
    }
}
