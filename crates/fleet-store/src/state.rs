//! The state in memory: what is, what was, and who watches.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use crate::change::{Change, Stored};
use crate::history::History;
use crate::watchers::{Queue, SharedQueue, Slot, Watchers};
use crate::{Entry, Event, Key, Listing, Options, Page, Range, ReadError, WatchEnd};

/// Namespace and name.
type Place = (Arc<str>, Arc<str>);
type Objects = BTreeMap<Place, Stored>;
/// The place over all clusters, in list order.
type FullPlace = (Arc<str>, Arc<str>, Arc<str>);

/// What happened before a watch was registered.
pub(crate) type Backlog = VecDeque<Arc<Event>>;

/// Everything that readers see. Guarded by one lock; every method is short.
#[derive(Debug)]
pub(crate) struct State {
    revision: u64,
    current: HashMap<Arc<str>, BTreeMap<Arc<str>, Objects>>,
    history: History,
    watchers: Watchers,
    watch_queue: usize,
    closed: bool,
}

impl State {
    /// An empty state at a revision. Watches from before it are expired.
    pub(crate) fn new(options: &Options, revision: u64) -> Self {
        Self {
            revision,
            current: HashMap::new(),
            history: History::new(options.history_bytes, revision),
            watchers: Watchers::default(),
            watch_queue: options.watch_queue,
            closed: false,
        }
    }

    /// The same objects at the same revision, without past and watchers.
    pub(crate) fn fork(&self, options: &Options) -> Self {
        Self { current: self.current.clone(), ..Self::new(options, self.revision) }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn closed(&self) -> bool {
        self.closed
    }

    /// Ends all watchers; commits are refused from now on.
    pub(crate) fn close(&mut self, wakes: &mut Vec<Waker>) {
        self.closed = true;
        self.watchers.end(WatchEnd::Closed, wakes);
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Stored> {
        // Two reference counts are cheaper than a borrowed form of the pair.
        let place = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        self.current.get(&key.resource)?.get(&key.cluster)?.get(&place)
    }

    /// All objects of a cluster.
    pub(crate) fn of_cluster(&self, cluster: &str) -> Vec<Entry> {
        let objects = self.current.iter().flat_map(|(resource, clusters)| {
            let of = clusters.get_key_value(cluster);
            of.into_iter().flat_map(move |(cluster, objects)| {
                objects.iter().map(move |((namespace, name), stored)| {
                    let key = Key {
                        cluster: Arc::clone(cluster),
                        resource: Arc::clone(resource),
                        namespace: Arc::clone(namespace),
                        name: Arc::clone(name),
                    };
                    stored.clone().entry(key)
                })
            })
        });
        let mut entries: Vec<Entry> = objects.collect();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        entries
    }

    /// Puts an object in without telling anybody: loading from a file.
    pub(crate) fn load(&mut self, key: Key, stored: Stored) {
        let clusters = self.current.entry(key.resource).or_default();
        clusters.entry(key.cluster).or_default().insert((key.namespace, key.name), stored);
    }

    /// Makes a decided (and, where the backend is durable, durable) change visible.
    pub(crate) fn publish(&mut self, change: Change, wakes: &mut Vec<Waker>) {
        debug_assert!(change.event.revision > self.revision, "revisions grow");
        self.revision = change.event.revision;
        let key = &change.event.key;
        match change.stored() {
            Some(stored) => self.load(key.clone(), stored),
            None => self.unload(key),
        }
        let event = Arc::clone(&change.event);
        self.history.push(change);
        self.watchers.publish(&event, self.watch_queue, self.history.oldest(), wakes);
    }

    fn unload(&mut self, key: &Key) {
        let Some(clusters) = self.current.get_mut(&key.resource) else { return };
        let Some(objects) = clusters.get_mut(&key.cluster) else { return };
        objects.remove(&(Arc::clone(&key.namespace), Arc::clone(&key.name)));
        if objects.is_empty() {
            clusters.remove(&key.cluster);
        }
        if clusters.is_empty() {
            self.current.remove(&key.resource);
        }
    }

    fn check(&self, revision: u64) -> Result<(), ReadError> {
        if revision > self.revision {
            Err(ReadError::Future { current: self.revision })
        } else if revision < self.history.oldest() {
            Err(ReadError::Expired { oldest: self.history.oldest() })
        } else {
            Ok(())
        }
    }

    /// Registers a watcher and gives it what happened since `from`, in one step.
    pub(crate) fn watch(&mut self, range: &Range, from: u64) -> Result<(Backlog, SharedQueue), ReadError> {
        self.check(from)?;
        let concerned = self.history.after(from).filter(|change| range.contains(&change.event.key));
        let backlog = concerned.map(|change| Arc::clone(&change.event)).collect();
        let queue = Arc::new(Mutex::new(Queue::default()));
        if self.closed {
            queue.lock().end = Some(WatchEnd::Closed);
        } else {
            self.watchers.add(Slot { range: range.clone(), queue: Arc::clone(&queue) });
        }
        Ok((backlog, queue))
    }

    pub(crate) fn forget(&mut self, range: &Range, queue: &SharedQueue) {
        self.watchers.remove(range, queue);
    }

    pub(crate) fn list(&self, range: &Range, page: &Page) -> Result<Listing, ReadError> {
        let revision = page.at.unwrap_or(self.revision);
        self.check(revision)?;
        let past = self.past(range, revision);
        let after = start(range, page);
        let mut now = self
            .scan(range, after.as_ref())
            .filter(|(cluster, (namespace, name), _)| {
                past.is_empty()
                    || !past.contains_key(&(Arc::clone(cluster), Arc::clone(namespace), Arc::clone(name)))
            })
            .peekable();
        let lower = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut then = past
            .range((lower, Bound::Unbounded))
            .filter_map(|(place, stored)| {
                stored.as_ref().map(|stored| (&place.0, (&place.1, &place.2), stored))
            })
            .peekable();

        let limit = page.limit.unwrap_or(usize::MAX);
        let mut entries = Vec::new();
        let mut remaining = 0;
        loop {
            let older_first = match (now.peek(), then.peek()) {
                (Some(a), Some(b)) => (b.0, b.1) < (a.0, a.1),
                (None, Some(_)) => true,
                _ => false,
            };
            let next = if older_first { then.next() } else { now.next() };
            let Some((cluster, (namespace, name), stored)) = next else { break };
            if entries.len() >= limit {
                remaining += 1;
                continue;
            }
            let key = Key {
                cluster: Arc::clone(cluster),
                resource: Arc::clone(&range.resource),
                namespace: Arc::clone(namespace),
                name: Arc::clone(name),
            };
            entries.push(stored.clone().entry(key));
        }
        Ok(Listing { entries, revision, more: remaining > 0, remaining })
    }

    /// The objects of a range as they are, in list order.
    fn scan<'a>(
        &'a self,
        range: &'a Range,
        after: Option<&'a FullPlace>,
    ) -> impl Iterator<Item = (&'a Arc<str>, (&'a Arc<str>, &'a Arc<str>), &'a Stored)> {
        let clusters = self.current.get(&range.resource).into_iter().flat_map(move |clusters| {
            let bounds = match (&range.cluster, after) {
                (Some(one), _) => (Bound::Included(one), Bound::Included(one)),
                (None, Some((cluster, _, _))) => (Bound::Included(cluster), Bound::Unbounded),
                (None, None) => (Bound::Unbounded, Bound::Unbounded),
            };
            clusters.range::<Arc<str>, _>(bounds)
        });
        clusters.flat_map(move |(cluster, objects)| {
            let after = after
                .filter(|(of, _, _)| of == cluster)
                .map(|(_, ns, name)| (Arc::clone(ns), Arc::clone(name)));
            let first = range.namespace.as_ref().map(|namespace| (Arc::clone(namespace), Arc::default()));
            let lower = match (after, first) {
                (Some(after), Some(first)) if after < first => Bound::Included(first),
                (Some(after), _) => Bound::Excluded(after),
                (None, Some(first)) => Bound::Included(first),
                (None, None) => Bound::Unbounded,
            };
            objects
                .range((lower, Bound::Unbounded))
                .take_while(|((namespace, _), _)| {
                    range.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
                })
                .filter(|((namespace, name), _)| range.selects(namespace, name))
                .map(move |((namespace, name), stored)| (cluster, (namespace, name), stored))
        })
    }

    /// What the objects that changed after a revision were at that revision; `None` for those that weren't.
    fn past(&self, range: &Range, revision: u64) -> BTreeMap<FullPlace, Option<Stored>> {
        let mut past = BTreeMap::new();
        let newer = self.history.after(revision).rev();
        for change in newer.filter(|change| range.contains(&change.event.key)) {
            let Key { cluster, namespace, name, .. } = change.event.key.clone();
            // Newest first, so what stays is the state before the oldest of the newer changes.
            past.insert((cluster, namespace, name), change.previous.clone());
        }
        past
    }
}

/// The place that a page starts after.
fn start(range: &Range, page: &Page) -> Option<FullPlace> {
    let (namespace, name) = page.after.clone()?;
    let cluster = range.cluster.clone().or_else(|| page.after_cluster.clone()).unwrap_or_default();
    Some((cluster, namespace, name))
}
