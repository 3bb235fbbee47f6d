//! The body of an answer: counted as an open stream, and ended where it falls silent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::error::LinkError;

/// One stream in use on a connection, until it is dropped.
pub(super) struct Open(Arc<AtomicUsize>);

impl Open {
    pub(super) fn on(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a body may be silent, and what to say then.
pub(super) struct Idle {
    after: Duration,
    sleep: Pin<Box<Sleep>>,
    endpoint: String,
}

impl Idle {
    pub(super) fn new(after: Duration, endpoint: String) -> Self {
        Self { after, sleep: Box::pin(tokio::time::sleep(after)), endpoint }
    }
}

/// A body that keeps what it needs alive.
pub(super) struct Streamed<K> {
    pub(super) incoming: Incoming,
    pub(super) idle: Option<Idle>,
    pub(super) open: Option<Open>,
    /// What must live until the body has been read; a watch holds nothing, so that it ends with its way.
    pub(super) keep: Option<Arc<K>>,
}

impl<K> Body for Streamed<K> {
    type Data = Bytes;
    type Error = LinkError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(idle) = &mut this.idle {
                    let until = Instant::now() + idle.after;
                    idle.sleep.as_mut().reset(until);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let why = super::error::cause(&error);
                let endpoint = this.idle.as_ref().map(|idle| idle.endpoint.clone()).unwrap_or_default();
                this.release();
                Poll::Ready(Some(Err(LinkError::Broken { endpoint, why })))
            }
            Poll::Ready(None) => {
                this.release();
                Poll::Ready(None)
            }
            Poll::Pending => match &mut this.idle {
                Some(idle) => match idle.sleep.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(LinkError::Silent {
                        endpoint: idle.endpoint.clone(),
                        seconds: idle.after.as_secs(),
                    }))),
                    Poll::Pending => Poll::Pending,
                },
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl<K> Streamed<K> {
    fn release(&mut self) {
        self.open = None;
        self.keep = None;
    }
}
