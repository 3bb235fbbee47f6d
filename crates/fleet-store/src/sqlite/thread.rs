//! The writer thread: takes all waiting commits, writes them in one transaction, then makes them visible.

use std::collections::HashMap;
use std::task::Waker;

use parking_lot::RwLock;
use rusqlite::{Error, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use super::Job;
use super::file::OpenFile;
use crate::change::{Change, Stored, decide};
use crate::state::State;
use crate::{CommitError, Entry, EventKind, Expect, Key, Write};

/// At most so many commits in one transaction: bounds the memory and the wait of the first.
const BATCH: usize = 512;

type Reply = oneshot::Sender<Result<Entry, CommitError>>;

/// Runs until closed or until the last handle is gone. Everything handed over before is finished.
pub(super) fn run(file: OpenFile, state: &RwLock<State>, mut queue: mpsc::Receiver<Job>) {
    let mut closing: Option<oneshot::Sender<()>> = None;
    while closing.is_none() {
        let Some(first) = queue.blocking_recv() else { break };
        let mut batch = Batch::new(state);
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Commit { key, expect, write, reply } => batch.add(key, expect, write, reply),
                Job::Close { done } => {
                    closing = Some(done);
                    break;
                }
            }
            next = if batch.answers.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        batch.finish(&file);
    }
    // Folds the log into the file, so that one file holds everything. If it can't, the log is read at the next start.
    if let Err(error) = file.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::debug!(%error, "the log stays beside the store's file");
    }
    // The file is free before anybody hears that it is; queued commits hear that the store is closed.
    drop(file);
    drop(queue);
    if let Some(done) = closing {
        let _ = done.send(());
    }
}

/// Commits decided but not yet on disk.
struct Batch<'a> {
    state: &'a RwLock<State>,
    /// What the batch makes of the objects it touches; hides the state's.
    pending: HashMap<Key, Option<Stored>>,
    changes: Vec<Change>,
    answers: Vec<(Reply, Result<Entry, CommitError>)>,
    revision: u64,
}

impl<'a> Batch<'a> {
    fn new(state: &'a RwLock<State>) -> Self {
        let revision = state.read().revision();
        Self { state, pending: HashMap::new(), changes: Vec::new(), answers: Vec::new(), revision }
    }

    /// Decides one commit against what the store will be when those before it are on disk.
    fn add(&mut self, key: Key, expect: Expect, write: Write, reply: Reply) {
        let current = match self.pending.get(&key) {
            Some(pending) => pending.clone(),
            None => self.state.read().get(&key).cloned(),
        };
        let answer = match decide(key, current, expect, write, self.revision + 1) {
            Ok(change) => {
                let entry = change.entry();
                self.revision = entry.revision;
                self.pending.insert(entry.key.clone(), change.stored());
                self.changes.push(change);
                Ok(entry)
            }
            Err(error) => Err(error),
        };
        self.answers.push((reply, answer));
    }

    /// Writes, publishes, answers: in this order.
    fn finish(self, file: &OpenFile) {
        if let Err(error) = self.write(file) {
            let text = explain(&error);
            tracing::warn!(error = %text, commits = self.changes.len(), "the store's file can't be written");
            for (reply, _) in self.answers {
                // Also those that were refused: they may have been judged by what was never written.
                let _ = reply.send(Err(CommitError::Storage(text.clone())));
            }
            return;
        }
        let mut wakes = Vec::new();
        {
            let mut state = self.state.write();
            for change in self.changes {
                state.publish(change, &mut wakes);
            }
        }
        wakes.into_iter().for_each(Waker::wake);
        for (reply, answer) in self.answers {
            // Nobody may be waiting any more; the change stands.
            let _ = reply.send(answer);
        }
    }

    fn write(&self, file: &OpenFile) -> Result<(), Error> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let result = self.transaction(file);
        if result.is_err() {
            if !file.connection.is_autocommit() {
                // Fails where SQLite has rolled back by itself.
                let _ = file.connection.execute_batch("ROLLBACK");
            }
            // A failed COMMIT may have reached the disk all the same; the file says which.
            if file.revision().is_ok_and(|revision| revision == self.revision) {
                return Ok(());
            }
        }
        result
    }

    fn transaction(&self, file: &OpenFile) -> Result<(), Error> {
        let connection = &file.connection;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        {
            let mut put = connection.prepare(
                "INSERT INTO current (cluster, resource, namespace, name, revision, created, value)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET revision = excluded.revision, created = excluded.created, value = excluded.value",
            )?;
            let mut delete = connection.prepare(
                "DELETE FROM current WHERE cluster = ?1 AND resource = ?2 AND namespace = ?3 AND name = ?4",
            )?;
            for change in self.last_of_each() {
                let Key { cluster, resource, namespace, name } = &change.event.key;
                if change.event.kind == EventKind::Deleted {
                    delete.execute((&**cluster, &**resource, &**namespace, &**name))?;
                    continue;
                }
                let revision = change.event.revision.cast_signed();
                let created = change.created.cast_signed();
                let value: &[u8] = &change.event.value;
                put.execute((&**cluster, &**resource, &**namespace, &**name, revision, created, value))?;
            }
            connection.execute(
                "UPDATE meta SET value = ?1 WHERE name = 'revision'",
                [self.revision.cast_signed()],
            )?;
        }
        connection.execute_batch("COMMIT")
    }

    /// Of several changes of one object in the batch only the last is worth writing.
    fn last_of_each(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| {
            let last = self.pending.get(&change.event.key);
            let revision = last.and_then(|last| last.as_ref().map(|stored| stored.revision));
            revision.is_none_or(|revision| revision == change.event.revision)
        })
    }
}

/// What SQLite's error means for whoever sent the change.
fn explain(error: &Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; free some space and repeat".to_owned(),
        Some(ErrorCode::ReadOnly) => "the store's file has become read-only".to_owned(),
        Some(ErrorCode::TooBig) => "the object is too big for the store".to_owned(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            format!("the store's file is damaged ({error}); restart to have it checked")
        }
        Some(ErrorCode::SystemIoFailure) => {
            format!("the disk failed ({error}); check disk and space, and repeat")
        }
        _ => error.to_string(),
    }
}
