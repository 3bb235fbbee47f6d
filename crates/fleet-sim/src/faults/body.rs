//! An answer on its way back; that of a watch may be late, come twice, fall silent or break.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::service::reset;
use super::{Fault, State};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer behind faults.
pub struct FaultyBody<B>(Kind<B>);

enum Kind<B> {
    /// What a fault says in the server's place.
    Said(Option<Bytes>),
    Plain(B),
    Watched(Box<Watched<B>>),
}

/// What a watch brings.
struct Watched<B> {
    body: B,
    question: String,
    /// The number of this watch among those that asked the same.
    number: u64,
    events: u64,
    /// How often all watches had been broken when it began.
    breaks: u64,
    changes: Pin<Box<dyn futures::Stream<Item = State> + Send>>,
    state: State,
    /// What has come and may be told at its time, in order.
    waiting: VecDeque<(Instant, Bytes)>,
    timer: Option<Pin<Box<Sleep>>>,
    went_down: bool,
    /// The server has nothing more to say.
    exhausted: bool,
    ended: bool,
}

impl<B> FaultyBody<B> {
    pub(super) fn said(text: Bytes) -> Self {
        Self(Kind::Said(Some(text)))
    }

    pub(super) fn plain(body: B) -> Self {
        Self(Kind::Plain(body))
    }

    pub(super) fn watched(body: B, question: String, number: u64, states: watch::Receiver<State>) -> Self {
        let state = *states.borrow();
        let changes = futures::stream::unfold(states, |mut states| async move {
            states.changed().await.ok()?;
            let state = *states.borrow_and_update();
            Some((state, states))
        });
        Self(Kind::Watched(Box::new(Watched {
            body,
            question,
            number,
            events: 0,
            breaks: state.breaks,
            changes: Box::pin(changes),
            state,
            waiting: VecDeque::new(),
            timer: None,
            went_down: false,
            exhausted: false,
            ended: false,
        })))
    }
}

impl<B> Body for FaultyBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Said(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Kind::Plain(body) => {
                Pin::new(body).poll_frame(context).map(|frame| frame.map(|f| f.map_err(Into::into)))
            }
            Kind::Watched(watched) => watched.poll(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Said(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Plain(body) => body.size_hint(),
            Kind::Watched(_) => SizeHint::default(),
        }
    }
}

impl<B> Watched<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        while let Poll::Ready(Some(state)) = self.changes.as_mut().poll_next(context) {
            self.state = state;
            self.went_down |= state.fault == Fault::Down;
        }
        if self.state.fault == Fault::Down {
            return Poll::Pending;
        }
        if self.went_down || self.state.fault == Fault::Refuse || self.state.breaks != self.breaks {
            return self.break_off();
        }
        while !self.exhausted {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data()
                        && !self.take(data)
                    {
                        return self.break_off();
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(None) => self.exhausted = true,
                Poll::Pending => break,
            }
        }
        if self.exhausted && self.waiting.is_empty() {
            self.ended = true;
            return Poll::Ready(None);
        }
        self.tell(context)
    }

    fn break_off(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(reset())))
    }

    /// Takes what has come; says whether the watch goes on.
    fn take(&mut self, data: Bytes) -> bool {
        self.events += 1;
        let what = format!("{}#{}", self.question, self.number);
        let chance = self.state.weather.chance(&what, self.events);
        if chance.broken {
            return false;
        }
        let slow = match self.state.fault {
            Fault::Slow(by) => by,
            _ => Duration::ZERO,
        };
        let mut due = Instant::now() + slow + chance.late;
        // One connection keeps its order.
        if let Some((before, _)) = self.waiting.back() {
            due = due.max(*before);
        }
        if chance.twice {
            self.waiting.push_back((due, data.clone()));
        }
        self.waiting.push_back((due, data));
        true
    }

    fn tell(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some((due, _)) = self.waiting.front() else { return Poll::Pending };
        if *due > Instant::now() {
            let due = *due;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.timer = None;
        Poll::Ready(self.waiting.pop_front().map(|(_, data)| Ok(Frame::data(data))))
    }
}
