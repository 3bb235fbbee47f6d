//! Events of a watch that can be held back on their way.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use fleet_apiserver::Body;
use http_body::{Frame, SizeHint};

/// Whose watches bring nothing for now, and who waits for that to end.
#[derive(Debug, Clone, Default)]
pub(super) struct Silence(Arc<Mutex<(Option<String>, Vec<Waker>)>>);

impl Silence {
    /// Watches of a resource bring nothing from now on; `None` lets all go on.
    pub(super) fn set(&self, resource: Option<&str>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = resource.map(str::to_owned);
        state.1.drain(..).for_each(Waker::wake);
    }

    /// Whether a resource's watches are silent; whoever hears so is woken when that changes.
    fn covers(&self, resource: &str, waker: &Waker) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let covers = state.0.as_deref() == Some(resource);
        if covers {
            state.1.push(waker.clone());
        }
        covers
    }
}

/// A body that may be that of a watch.
pub(super) struct Events {
    pub(super) body: Body,
    /// The resource that is watched.
    pub(super) watched: Option<(String, Silence)>,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some((resource, silence)) = &self.watched
            && silence.covers(resource, cx.waker())
        {
            return Poll::Pending;
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
