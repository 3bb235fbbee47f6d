//! Request bodies with a limit in size and time, and answers that end when the listener does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::connection::InFlight;
use crate::status::ApiError;

/// Why a request's body couldn't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is larger than that many bytes.
    #[error("the request's body is larger than {0} bytes; send less at once")]
    TooLarge(usize),
    /// It didn't arrive in time.
    #[error("the request's body didn't arrive within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The connection failed.
    #[error("the request's body broke off: {0}")]
    Broken(#[from] hyper::Error),
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::too_large(limit),
            BodyError::TimedOut(_) => Self::new(408, "Timeout", error.to_string()),
            BodyError::Broken(_) => Self::bad_request(error.to_string()),
        }
    }
}

/// A request's body as it comes in. Reading past the limit in size or time fails.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    limit: usize,
    read: usize,
    time: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, limit: usize, time: Duration) -> Self {
        Self { incoming, limit, read: 0, time, deadline: None }
    }

    /// Whether the client announces more than may be read.
    pub(super) fn is_too_large(&self) -> bool {
        self.incoming.size_hint().lower() > self.limit as u64
    }

    /// The whole body. One that came in one piece isn't copied.
    ///
    /// # Errors
    /// [`BodyError`], which turns into the [`ApiError`] to answer with.
    pub async fn read(self) -> Result<Bytes, BodyError> {
        Ok(self.collect().await?.to_bytes())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
            // Most bodies are there at once and never need the timer.
            let time = self.time;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Some(Err(BodyError::TimedOut(time))));
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                self.read = self.read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                match self.read > self.limit {
                    true => Some(Err(BodyError::TooLarge(self.limit))),
                    false => Some(Ok(frame)),
                }
            }
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// An answer under way: counts as a request in flight until it is dropped, and a stream ends at shutdown.
pub(super) struct ResponseBody<B> {
    inner: Option<B>,
    end: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _in_flight: Arc<InFlight>,
}

impl<B: Body> ResponseBody<B> {
    pub(super) fn new(inner: B, shutdown: &CancellationToken, in_flight: Arc<InFlight>) -> Self {
        let is_stream = inner.size_hint().exact().is_none();
        let end = is_stream.then(|| Box::pin(shutdown.clone().cancelled_owned()));
        Self { inner: Some(inner), end, _in_flight: in_flight }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        // Only between two frames, and only when there is nothing to send: a watch's events stay whole.
        let Some(end) = self.end.as_mut() else { return Poll::Pending };
        ready!(end.as_mut().poll(context));
        self.inner = None;
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
