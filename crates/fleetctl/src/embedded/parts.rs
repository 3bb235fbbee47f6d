//! The tasks of a fleet, each with a name and a stop.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::EmbeddedError;

struct Part {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<Result<(), String>>,
}

/// Tasks in the order of their start.
#[derive(Default)]
pub(super) struct Parts {
    tracker: TaskTracker,
    running: Vec<Part>,
}

impl Parts {
    pub(super) fn start<F>(&mut self, name: &'static str, make: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = self.tracker.spawn(make(stop.clone()));
        self.running.push(Part { name, stop, task });
    }

    /// Resolves when one has ended without being asked to.
    pub(super) async fn failure(&mut self) -> EmbeddedError {
        if self.running.is_empty() {
            return std::future::pending().await;
        }
        let tasks = self.running.iter_mut().map(|part| &mut part.task);
        let (ended, index, _) = futures::future::select_all(tasks).await;
        let part = self.running.swap_remove(index).name;
        let cause = match ended {
            Ok(Ok(())) => "it ended without being asked to".to_owned(),
            Ok(Err(cause)) => cause,
            Err(error) => error.to_string(),
        };
        EmbeddedError::Part { part, cause }
    }

    /// Stops one after the other, the last started first: what serves before what is served.
    pub(super) async fn shutdown(&mut self) {
        while let Some(part) = self.running.pop() {
            part.stop.cancel();
            if let Err(error) = part.task.await
                && error.is_panic()
            {
                tracing::error!(part = part.name, %error, "a part of the fleet panicked");
            }
        }
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // Dropped without a shutdown (an error, a test that ends): nothing may outlive the fleet.
        for part in &self.running {
            part.stop.cancel();
            part.task.abort();
        }
    }
}
