//! Durability by SQLite: one file, one thread that writes it, many commits per transaction.

mod file;
mod thread;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use crate::state::State;
use crate::{CommitError, Entry, Expect, Key, OpenError, Options, Write};

/// How many commits may wait for the thread; more wait for a place.
const WAITING: usize = 1024;

/// What the thread is asked to do.
enum Job {
    Commit { key: Key, expect: Expect, write: Write, reply: oneshot::Sender<Result<Entry, CommitError>> },
    Close { done: oneshot::Sender<()> },
}

/// The handle of the writer thread. Dropped, it waits until the thread has finished and the file is free.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Opens the file, reads it and starts the thread.
    pub(crate) fn open(path: &Path, options: &Options) -> Result<(Arc<RwLock<State>>, Self), OpenError> {
        Self::start(file::open(path)?, path, options)
    }

    fn start(
        mut file: file::OpenFile,
        path: &Path,
        options: &Options,
    ) -> Result<(Arc<RwLock<State>>, Self), OpenError> {
        let state = Arc::new(RwLock::new(file.load(path, options)?));
        let (jobs, queue) = mpsc::channel(WAITING);
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("fleet-store-writer".to_owned())
            .spawn(move || thread::run(file, &shared, queue))
            .map_err(|error| OpenError::Failed {
                path: path.to_owned(),
                step: "starting the writer thread",
                detail: error.to_string(),
            })?;
        Ok((state, Self { jobs: Some(jobs), thread: Mutex::new(Some(thread)) }))
    }

    pub(crate) async fn commit(&self, key: Key, expect: Expect, write: Write) -> Result<Entry, CommitError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(CommitError::Closed)?;
        jobs.send(Job::Commit { key, expect, write, reply }).await.map_err(|_| CommitError::Closed)?;
        answer.await.unwrap_or(Err(CommitError::Closed))
    }

    /// Finishes what was handed over before, and gives the file free.
    pub(crate) async fn close(&self) {
        let (done, finished) = oneshot::channel();
        if let Some(jobs) = &self.jobs
            && jobs.send(Job::Close { done }).await.is_ok()
        {
            // An error means that another close came first and the thread is gone: just as good.
            let _ = finished.await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.get_mut().take() {
            // The thread ends after the transaction it is in. Not waiting would make "drop, then open" a race for the
            // lock.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
