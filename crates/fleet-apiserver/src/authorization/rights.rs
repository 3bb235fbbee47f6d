//! The RBAC objects of all clusters, kept as the store has them.

use std::collections::HashMap;
use std::sync::Arc;

use fleet_store::{EventKind, Page, Range, Store, WatchEnd, Watcher};
use parking_lot::Mutex;

use super::known::Known;

/// The store's names of what decides.
const RESOURCES: [&str; 4] = [
    "roles.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
];

/// Answers questions about the rights in a cluster. An answer takes in every change that was committed before the
/// question: the store's own watchers carry the changes here, and they are read before each answer. Nothing is kept
/// of clusters that nobody has asked about.
#[derive(Debug, Default)]
pub(crate) struct Rights(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// `None` until the first question, and after changes were missed.
    watchers: Option<Vec<Watcher>>,
    clusters: HashMap<Arc<str>, Known>,
}

enum Progress {
    Still,
    Moved,
    Missed,
}

impl Rights {
    /// Asks about a cluster. `ask` must not come back here.
    pub(crate) fn of<T>(&self, store: &Store, cluster: &Arc<str>, ask: impl FnOnce(&Known) -> T) -> T {
        let mut state = self.0.lock();
        loop {
            state.catch_up(store);
            match state.clusters.get(cluster) {
                Some(known) => return ask(known),
                None => state.load(store, cluster),
            }
        }
    }

    /// Drops what is known of a cluster that is gone.
    pub(crate) fn forget(&self, cluster: &str) {
        self.0.lock().clusters.remove(cluster);
    }
}

impl State {
    /// Until a look at all four finds nothing new: then they belong to one moment, and no binding meets a role that
    /// was written before or after its time.
    fn catch_up(&mut self, store: &Store) {
        loop {
            if self.watchers.is_none() {
                self.clusters.clear();
                self.watchers = subscribe(store);
            }
            match self.drain() {
                Progress::Still => return,
                Progress::Moved => {}
                Progress::Missed => self.watchers = None,
            }
        }
    }

    fn drain(&mut self) -> Progress {
        let mut progress = Progress::Still;
        for watcher in self.watchers.iter_mut().flatten() {
            loop {
                match watcher.try_recv() {
                    Some(Ok(event)) => {
                        progress = Progress::Moved;
                        if let Some(known) = self.clusters.get_mut(&event.key.cluster) {
                            let value = (event.kind != EventKind::Deleted).then_some(&*event.value);
                            known.set(&event.key, value);
                        }
                    }
                    Some(Err(WatchEnd::Lagged)) => return Progress::Missed,
                    // A closed store changes no more.
                    Some(Err(WatchEnd::Closed)) | None => break,
                }
            }
        }
        progress
    }

    /// What happens while this reads comes by the watchers again, in order.
    fn load(&mut self, store: &Store, cluster: &Arc<str>) {
        let mut known = Known::default();
        for resource in RESOURCES {
            let range = Range::cluster(Arc::clone(cluster), resource);
            for entry in store.list(&range, Page::default()).map(|list| list.entries).unwrap_or_default() {
                known.set(&entry.key, Some(&entry.value));
            }
        }
        self.clusters.insert(Arc::clone(cluster), known);
    }
}

/// `None` only if the whole history was overwritten in between: then once more.
fn subscribe(store: &Store) -> Option<Vec<Watcher>> {
    let revision = store.revision();
    RESOURCES.iter().map(|resource| store.watch(Range::everywhere(*resource), revision).ok()).collect()
}
