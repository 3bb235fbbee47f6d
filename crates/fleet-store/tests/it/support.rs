//! Stores to test, and short ways to write to them.

use bytes::Bytes;
use fleet_store::{
    CommitError, Entry, Event, EventKind, Expect, Key, Options, Page, Range, Store, Watcher, Write,
};
use std::sync::Arc;

/// A store and the folder it lives in.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) _folder: Option<tempfile::TempDir>,
}

/// One store of each kind.
pub(crate) fn both(options: &Options) -> Vec<Fixture> {
    vec![memory(options), sqlite(options)]
}

pub(crate) fn memory(options: &Options) -> Fixture {
    Fixture { store: Store::memory(options.clone()), _folder: None }
}

pub(crate) fn sqlite(options: &Options) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(&folder.path().join("store.db"), options.clone()).unwrap();
    Fixture { store, _folder: Some(folder) }
}

pub(crate) fn key(cluster: &str, resource: &str, namespace: &str, name: &str) -> Key {
    Key::new(cluster, resource, namespace, name)
}

/// A value that names its own revision, as API objects do.
pub(crate) fn put(text: impl Into<String>) -> Write {
    let text = text.into();
    Write::put(move |revision| Bytes::from(format!("{text}@{revision}")))
}

pub(crate) fn delete(text: impl Into<String>) -> Write {
    let text = text.into();
    Write::delete(move |revision| Bytes::from(format!("{text}@{revision}")))
}

pub(crate) async fn set(store: &Store, key: &Key, text: &str) -> Entry {
    store.commit(key.clone(), Expect::Any, put(text)).await.unwrap()
}

pub(crate) async fn remove(store: &Store, key: &Key) -> Result<Entry, CommitError> {
    store.commit(key.clone(), Expect::Any, delete("gone")).await
}

/// What a watcher has been given up to now.
pub(crate) fn drain(watcher: &mut Watcher) -> Vec<Arc<Event>> {
    std::iter::from_fn(|| watcher.try_recv()).map_while(Result::ok).collect()
}

/// Kind, name and revision of an event: what a log line would show.
pub(crate) fn line(event: &Event) -> (EventKind, String, u64) {
    (event.kind, event.key.to_string(), event.revision)
}

pub(crate) fn names(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.key.to_string()).collect()
}

pub(crate) fn pods(cluster: &str) -> Range {
    Range::cluster(cluster, "pods")
}

pub(crate) fn page(limit: usize, last: Option<&Entry>, at: Option<u64>) -> Page {
    Page {
        limit: Some(limit),
        after: last.map(|entry| (entry.key.namespace.clone(), entry.key.name.clone())),
        after_cluster: last.map(|entry| entry.key.cluster.clone()),
        at,
    }
}
