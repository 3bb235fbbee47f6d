//! Every change of all clusters, resource by resource.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use fleet_store::{Entry, Event, Page, Range, Store, WatchEnd, Watcher};
use futures::stream::{SelectAll, Stream, StreamExt};

/// What a feed tells. Changes of one resource come in commit order; between resources there is no order.
pub(super) enum Change {
    Event(Arc<Event>),
    /// Changes of that resource were missed; it has to be added again.
    Lagged(Arc<str>),
    /// The store has closed.
    Closed,
}

pub(super) struct Feed {
    store: Store,
    sources: SelectAll<Source>,
    known: HashSet<Arc<str>>,
}

struct Source {
    resource: Arc<str>,
    watcher: Watcher,
}

impl Stream for Source {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change>> {
        let next = ready!(Pin::new(&mut self.watcher).poll_next(context));
        Poll::Ready(next.map(|next| match next {
            Ok(event) => Change::Event(event),
            Err(WatchEnd::Lagged) => Change::Lagged(Arc::clone(&self.resource)),
            Err(WatchEnd::Closed) => Change::Closed,
        }))
    }
}

impl Feed {
    pub(super) fn new(store: Store) -> Self {
        Self { store, sources: SelectAll::new(), known: HashSet::new() }
    }

    /// Begins to watch a resource and gives what there is of it; nothing if it is watched already.
    pub(super) fn add(&mut self, resource: &Arc<str>) -> Vec<Entry> {
        if !self.known.insert(Arc::clone(resource)) {
            return Vec::new();
        }
        let range = Range::everywhere(Arc::clone(resource));
        loop {
            let Ok(listing) = self.store.list(&range, Page::default()) else { continue };
            // Refused only if the whole history was overwritten since the line above: then once more.
            if let Ok(watcher) = self.store.watch(range.clone(), listing.revision) {
                self.sources.push(Source { resource: Arc::clone(resource), watcher });
                return listing.entries;
            }
        }
    }

    /// The next change.
    pub(super) async fn next(&mut self) -> Change {
        let change = self.sources.next().await.unwrap_or(Change::Closed);
        if let Change::Lagged(resource) = &change {
            self.known.remove(resource);
        }
        change
    }
}
