//! Events of a watch that can be held back on their way.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use fleet_apiserver::Body;
use http_body::{Frame, SizeHint};
use serde_json::json;

/// Whose watches bring nothing for now, and who waits for that to end.
#[derive(Debug, Clone, Default)]
pub(super) struct Silence(Arc<Mutex<Silent>>);

#[derive(Debug, Default)]
struct Silent {
    resource: Option<String>,
    wakers: Vec<Waker>,
    /// How often what the watches of a resource held back was lost.
    missed: BTreeMap<String, u64>,
}

impl Silence {
    /// Watches of a resource bring nothing from now on; `None` lets all go on.
    pub(super) fn set(&self, resource: Option<&str>) {
        let mut state = self.lock();
        state.resource = resource.map(str::to_owned);
        state.wakers.drain(..).for_each(Waker::wake);
    }

    /// The watches that are silent end without what they held back.
    pub(super) fn miss(&self) {
        let mut state = self.lock();
        if let Some(resource) = state.resource.take() {
            *state.missed.entry(resource).or_default() += 1;
        }
        state.wakers.drain(..).for_each(Waker::wake);
    }

    fn missed(&self, resource: &str) -> u64 {
        self.lock().missed.get(resource).copied().unwrap_or_default()
    }

    /// Whether a resource's watches are silent; whoever hears so is woken when that changes.
    fn covers(&self, resource: &str, waker: &Waker) -> bool {
        let mut state = self.lock();
        let covers = state.resource.as_deref() == Some(resource);
        if covers {
            state.wakers.push(waker.clone());
        }
        covers
    }

    fn lock(&self) -> MutexGuard<'_, Silent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that may be that of a watch.
pub(super) struct Events {
    body: Body,
    watched: Option<Watched>,
}

/// The resource that is watched.
struct Watched {
    resource: String,
    silence: Silence,
    /// How often something of it had been lost when this began.
    missed: u64,
    ended: bool,
}

impl Events {
    pub(super) fn new(body: Body, watched: Option<(String, Silence)>) -> Self {
        let watched = watched.map(|(resource, silence)| {
            let missed = silence.missed(&resource);
            Watched { resource, silence, missed, ended: false }
        });
        Self { body, watched }
    }
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(watched) = &mut self.watched {
            if watched.ended {
                return Poll::Ready(None);
            }
            if watched.silence.covers(&watched.resource, cx.waker()) {
                return Poll::Pending;
            }
            if watched.missed < watched.silence.missed(&watched.resource) {
                watched.ended = true;
                let error = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
                    "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"}});
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from(format!("{error}\n"))))));
            }
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
