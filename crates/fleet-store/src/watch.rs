//! The receiving end of a watch.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use parking_lot::RwLock;

use crate::state::{Backlog, State};
use crate::watchers::SharedQueue;
use crate::{Event, Range, WatchEnd};

/// Every change of a range after a revision, once and in commit order.
///
/// A watcher that takes its events too slowly is ended with [`WatchEnd::Lagged`]; it never skips one. As a stream it
/// gives `Ok` events, then one `Err` that says why it ended.
#[derive(Debug)]
pub struct Watcher {
    range: Range,
    /// What had happened before the watch was registered.
    backlog: Backlog,
    queue: SharedQueue,
    state: Arc<RwLock<State>>,
    finished: bool,
}

impl Watcher {
    pub(crate) fn new(range: Range, backlog: Backlog, queue: SharedQueue, state: Arc<RwLock<State>>) -> Self {
        Self { range, backlog, queue, state, finished: false }
    }

    /// The next event, or why there is none any more. Safe to drop and call again.
    pub async fn recv(&mut self) -> Result<Arc<Event>, WatchEnd> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next event if there is one already.
    pub fn try_recv(&mut self) -> Option<Result<Arc<Event>, WatchEnd>> {
        if let Some(event) = self.backlog.pop_front() {
            return Some(Ok(event));
        }
        let mut queue = self.queue.lock();
        queue.events.pop_front().map(Ok).or(queue.end.map(Err))
    }

    /// As [`Watcher::recv`], to be polled.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arc<Event>, WatchEnd>> {
        if let Some(event) = self.backlog.pop_front() {
            return Poll::Ready(Ok(event));
        }
        let mut queue = self.queue.lock();
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Ok(event));
        }
        if let Some(end) = queue.end {
            return Poll::Ready(Err(end));
        }
        // An event that is being published now finds either the waker or an empty queue that was just looked at.
        match &mut queue.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The revision up to which this watcher has been given everything: what a bookmark may say.
    #[must_use]
    pub fn progress(&self) -> u64 {
        // The state's lock keeps commits out, so "the queue is empty at revision R" is one observation.
        let state = self.state.read();
        let queue = self.queue.lock();
        match self.backlog.front().or(queue.events.front()) {
            Some(next) => next.revision.saturating_sub(1),
            // An ended watcher is out of the index: it hasn't seen what came after.
            None if queue.end.is_some() => 0,
            None => state.revision(),
        }
    }
}

impl Stream for Watcher {
    type Item = Result<Arc<Event>, WatchEnd>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let next = self.poll_recv(cx);
        self.finished = matches!(next, Poll::Ready(Err(_)));
        next.map(Some)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.state.write().forget(&self.range, &self.queue);
    }
}
