//! The door: one handle for both backends.

use std::path::Path;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::change::decide;
use crate::sqlite::Writer;
use crate::state::State;
use crate::{CommitError, Entry, Expect, Key, Listing, OpenError, Page, Range, ReadError, Watcher, Write};

/// The revision of a store that nothing was ever written to. Not 0, which means "any" in Kubernetes.
pub(crate) const FIRST_REVISION: u64 = 1;

/// Limits of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many bytes of past changes are kept for watches and lists that go back.
    pub history_bytes: usize,
    /// How many events a watcher may have waiting that have already left the history, before it counts as lagging.
    pub watch_queue: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { history_bytes: 8 << 20, watch_queue: 1024 }
    }
}

/// A revisioned store. Clones share it.
///
/// When the last clone goes, so does the store: a SQLite store finishes what was handed to it and gives its file free.
#[derive(Clone, Debug)]
pub struct Store {
    state: Arc<RwLock<State>>,
    /// `None` keeps everything in memory only.
    writer: Option<Arc<Writer>>,
}

impl Store {
    /// An empty store that lives as long as the process.
    #[must_use]
    pub fn memory(options: Options) -> Self {
        Self { state: Arc::new(RwLock::new(State::new(&options, FIRST_REVISION))), writer: None }
    }

    /// Another store in memory that begins with what this one holds, at the same revision and without its past. The two
    /// know nothing of each other; objects are shared, not copied.
    #[must_use]
    pub fn fork(&self, options: Options) -> Self {
        let state = self.state.read().fork(&options);
        Self { state: Arc::new(RwLock::new(state)), writer: None }
    }

    /// Opens or creates a store in a SQLite file, and holds a lock on it (`<path>.lock`) until closed or dropped.
    ///
    /// The revision goes on where it was; the history is empty, so watches from older revisions are expired.
    /// Blocks while the file is read: call it before serving, or from a blocking thread.
    ///
    /// # Errors
    /// See [`OpenError`]: each says what is wrong with the file and what to do.
    pub fn sqlite(path: &Path, options: Options) -> Result<Self, OpenError> {
        let (state, writer) = Writer::open(path, &options)?;
        Ok(Self { state, writer: Some(Arc::new(writer)) })
    }

    /// The object as it is.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Entry> {
        self.state.read().get(key).cloned().map(|stored| stored.entry(key.clone()))
    }

    /// The objects of a range, ordered by cluster, namespace, name, as they are or as they were.
    ///
    /// # Errors
    /// [`ReadError`] if the page asks for a revision that isn't known any more, or not yet.
    pub fn list(&self, range: &Range, page: Page) -> Result<Listing, ReadError> {
        self.state.read().list(range, &page)
    }

    /// The store's revision: that of the last visible commit.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.state.read().revision()
    }

    /// Commits one change; resolves once it is durable and visible. A put gives the entry as stored, a delete the last
    /// state. Dropping the future doesn't take the change back.
    ///
    /// # Errors
    /// [`CommitError`]; the object is then as it was.
    pub async fn commit(&self, key: Key, expect: Expect, write: Write) -> Result<Entry, CommitError> {
        match &self.writer {
            Some(writer) => writer.commit(key, expect, write).await,
            None => self.commit_now(key, expect, write),
        }
    }

    fn commit_now(&self, key: Key, expect: Expect, write: Write) -> Result<Entry, CommitError> {
        let mut wakes = Vec::new();
        let entry = {
            let mut state = self.state.write();
            if state.closed() {
                return Err(CommitError::Closed);
            }
            let current = state.get(&key).cloned();
            let change = decide(key, current, expect, write, state.revision() + 1)?;
            let entry = change.entry();
            state.publish(change, &mut wakes);
            entry
        };
        wakes.into_iter().for_each(Waker::wake);
        Ok(entry)
    }

    /// Watches a range for changes after a revision, usually that of a list.
    ///
    /// # Errors
    /// [`ReadError`] if the changes since then aren't known any more, or the revision lies in the future.
    pub fn watch(&self, range: Range, from: u64) -> Result<Watcher, ReadError> {
        let (backlog, queue) = self.state.write().watch(&range, from)?;
        Ok(Watcher::new(range, backlog, queue, Arc::clone(&self.state)))
    }

    /// Removes every object of a cluster, each with a revision and an event of its own; `last` gives the last states.
    /// Returns how many were removed. Objects created meanwhile may stay: keep writers out first.
    ///
    /// # Errors
    /// [`CommitError::Storage`] or [`CommitError::Closed`]; part of the objects may be gone then, repeat to finish.
    pub async fn remove_cluster<F>(&self, cluster: &str, last: F) -> Result<usize, CommitError>
    where
        F: Fn(&Entry, u64) -> Bytes + Send + Sync + 'static,
    {
        let last = Arc::new(last);
        let entries = self.state.read().of_cluster(cluster);
        let commits = entries.into_iter().map(|entry| {
            let last = Arc::clone(&last);
            let key = entry.key.clone();
            self.commit(key, Expect::Any, Write::delete(move |revision| last(&entry, revision)))
        });
        let mut removed = 0;
        // Together, so that SQLite can take them in one transaction.
        for result in futures::future::join_all(commits).await {
            match result {
                Ok(_) => removed += 1,
                Err(CommitError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Ends all watchers, refuses commits from now on, and gives the file free. Reads go on from memory.
    pub async fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
        let mut wakes = Vec::new();
        self.state.write().close(&mut wakes);
        wakes.into_iter().for_each(Waker::wake);
    }
}
