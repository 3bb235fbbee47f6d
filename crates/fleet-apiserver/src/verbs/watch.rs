//! Changes as they happen.

mod frames;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use fleet_store::{Entry, Event, EventKind, Page, Range, ReadError, WatchEnd, Watcher};
use http::Response;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::cluster::Pulse;
use crate::dispatch::Call;
use crate::encode::{Body, response};
use crate::request::query::{VersionMatch, invalid_option};
use crate::selection::Selection;
use crate::server::Inner;
use crate::status::ApiError;
use crate::view::View;
use frames::Frames;
use std::sync::Arc;

/// How often a silent watch says how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How long a watch lasts that says nothing about it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// How much is put into one frame while more is ready.
const FRAME: usize = 64 * 1024;

/// Where a watch begins.
enum Start {
    /// With everything that is there as `ADDED`, then on from there.
    Now,
    /// After this revision.
    After(u64),
}

/// A watch between two frames.
struct Watch {
    server: Arc<Inner>,
    watcher: Watcher,
    selection: Selection,
    frames: Frames,
    wildcard: bool,
    initial: VecDeque<Entry>,
    /// The revision that the initial events show, to be told once they are through.
    announce: Option<u64>,
    bookmarks: Option<Interval>,
    deadline: Instant,
    pulse: Option<Pulse>,
    ended: bool,
}

pub(crate) fn watch(call: &mut Call<'_>) -> Result<Response<Body>, ApiError> {
    let selection = Selection::of(call)?;
    let range = selection.range(call);
    let wants_bookmarks = call.query.flag("allowWatchBookmarks");
    let streaming = streaming(call, wants_bookmarks)?;
    let start = match (call.query.resource_version()?, streaming) {
        (_, Some(true)) | (None | Some(0), _) => Start::Now,
        (Some(version), _) => Start::After(version),
    };
    let with_initial = streaming != Some(false);
    let view = View::of(call);
    let (watcher, initial, revision) = match begin(&call.server.clone(), range, start, with_initial) {
        // As an event, not as a refusal: clients list anew for the one, and try the same again for the other.
        Err(error) if error.code() == 410 => return Ok(ended(&view, &error)),
        other => other?,
    };
    let initial = initial.into_iter().filter(|entry| selection.matches(&entry.value)).collect();
    let now = Instant::now();
    let timeout = match call.query.number("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.min(24 * 3600)),
        _ => DEFAULT_TIMEOUT,
    };
    let bookmarks = wants_bookmarks.then(|| {
        let mut interval = tokio::time::interval_at(now + BOOKMARK_EVERY, BOOKMARK_EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    });
    let watch = Watch {
        server: Arc::clone(call.server),
        watcher,
        selection,
        wildcard: view.wildcard,
        frames: Frames::new(view),
        initial,
        announce: (streaming == Some(true)).then_some(revision),
        bookmarks,
        deadline: now + timeout,
        pulse: call.cluster.map(|cluster| cluster.pulse()),
        ended: false,
    };
    let frames = futures::stream::unfold(Box::new(watch), |mut watch| async move {
        watch.next().await.map(|frame| (frame, watch))
    });
    Ok(response(200, "application/json", Body::streamed(frames)))
}

/// A watch that says why it can't go on.
fn ended(view: &View, error: &ApiError) -> Response<Body> {
    let mut frame = Vec::new();
    Frames::new(view.clone()).error(&mut frame, error);
    response(200, "application/json", Body::whole(frame))
}

/// `sendInitialEvents`, checked against the options that it needs.
fn streaming(call: &Call<'_>, bookmarks: bool) -> Result<Option<bool>, ApiError> {
    let matching = call.query.version_match()?;
    let wanted = call.query.get("sendInitialEvents").map(|_| call.query.flag("sendInitialEvents"));
    match (wanted, matching) {
        (None, Some(_)) => Err(invalid_option(
            "resourceVersionMatch",
            "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
                .into(),
        )),
        (Some(_), matching) if matching != Some(VersionMatch::NotOlderThan) => Err(invalid_option(
            "resourceVersionMatch",
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan".into(),
        )),
        (Some(true), _) if !bookmarks => Err(invalid_option(
            "allowWatchBookmarks",
            "Forbidden: sendInitialEvents requires allowWatchBookmarks".into(),
        )),
        (wanted, _) => Ok(wanted),
    }
}

/// Opens the watch, and lists where it starts with what is there.
fn begin(
    server: &Inner,
    range: Range,
    start: Start,
    with_initial: bool,
) -> Result<(Watcher, Vec<Entry>, u64), ApiError> {
    match start {
        Start::After(version) => {
            let watcher = server.store.watch(range, version).map_err(|error| refuse(error, version))?;
            Ok((watcher, Vec::new(), version))
        }
        Start::Now => loop {
            let page = Page { limit: (!with_initial).then_some(1), ..Page::default() };
            let listing = server.store.list(&range, page).map_err(|error| refuse(error, 0))?;
            match server.store.watch(range.clone(), listing.revision) {
                Ok(watcher) => {
                    let initial = if with_initial { listing.entries } else { Vec::new() };
                    return Ok((watcher, initial, listing.revision));
                }
                // So much was written in between that the history has moved on: look again.
                Err(ReadError::Expired { .. }) => {}
                Err(error) => return Err(refuse(error, listing.revision)),
            }
        },
    }
}

fn refuse(error: ReadError, version: u64) -> ApiError {
    match error {
        ReadError::Expired { oldest } => {
            ApiError::expired(format!("too old resource version: {version} ({oldest})"))
        }
        ReadError::Future { current } => ApiError::too_large_resource_version(version, current),
    }
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(frame) = self.opening() {
            return Some(frame);
        }
        loop {
            // What is awaited borrows fields of its own, so that each can be dropped without losing an event.
            let (watcher, pulse, bookmarks) = (&mut self.watcher, &mut self.pulse, &mut self.bookmarks);
            tokio::select! {
                biased;
                () = stopped(pulse) => {
                    if let Some(pulse) = &mut self.pulse {
                        pulse.back().await;
                    }
                    return None;
                }
                () = tokio::time::sleep_until(self.deadline) => return self.last(),
                event = watcher.recv() => {
                    let frame = self.events(event);
                    if frame.is_some() || self.ended {
                        return frame;
                    }
                }
                () = tick(bookmarks) => {
                    let progress = self.watcher.progress();
                    if progress > 0 {
                        return Some(self.frames.bookmark(progress, false));
                    }
                }
            }
        }
    }

    /// What was there when the watch began, and the bookmark that closes it.
    fn opening(&mut self) -> Option<Bytes> {
        let mut frame = Vec::new();
        while let Some(entry) = self.initial.pop_front() {
            if !self.wildcard || self.server.has_workloads(&entry.key.cluster) {
                self.frames.object(&mut frame, "ADDED", &entry.key.cluster, &entry.value);
            }
            if frame.len() >= FRAME {
                break;
            }
        }
        if self.initial.is_empty()
            && let Some(revision) = self.announce.take()
        {
            frame.extend_from_slice(&self.frames.bookmark(revision, true));
        }
        (!frame.is_empty()).then(|| Bytes::from(frame))
    }

    /// This event and those that are ready behind it; `None` if none of them is selected.
    fn events(&mut self, first: Result<Arc<Event>, WatchEnd>) -> Option<Bytes> {
        let mut frame = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Ok(event) => self.event(&mut frame, &event),
                Err(end) => {
                    self.ended = true;
                    if end == WatchEnd::Lagged {
                        let error = ApiError::expired("the watch fell behind what is kept; list again");
                        self.frames.error(&mut frame, &error);
                    }
                    break;
                }
            }
            next = if frame.len() < FRAME { self.watcher.try_recv() } else { None };
        }
        (!frame.is_empty()).then(|| Bytes::from(frame))
    }

    fn event(&mut self, frame: &mut Vec<u8>, event: &Event) {
        if self.wildcard && !self.server.has_workloads(&event.key.cluster) {
            return;
        }
        let verdict = if self.selection.is_everything() {
            match event.kind {
                EventKind::Added => Some("ADDED"),
                EventKind::Modified => Some("MODIFIED"),
                EventKind::Deleted => Some("DELETED"),
            }
        } else {
            let before = event.previous.as_ref().is_some_and(|bytes| self.selection.matches(bytes));
            let after = event.kind != EventKind::Deleted && self.selection.matches(&event.value);
            match (before, after) {
                (false, true) => Some("ADDED"),
                (true, true) => Some("MODIFIED"),
                // It has left the selection: the last state with the new version.
                (true, false) => Some("DELETED"),
                (false, false) => None,
            }
        };
        if let Some(verdict) = verdict {
            self.frames.object(frame, verdict, &event.key.cluster, &event.value);
        }
    }

    /// The watch's time is over: a last word on how far it got.
    fn last(&mut self) -> Option<Bytes> {
        self.ended = true;
        let progress = self.watcher.progress();
        (self.bookmarks.is_some() && progress > 0).then(|| self.frames.bookmark(progress, false))
    }
}

async fn stopped(pulse: &mut Option<Pulse>) {
    match pulse {
        Some(pulse) => pulse.stopped().await,
        None => std::future::pending().await,
    }
}

async fn tick(bookmarks: &mut Option<Interval>) {
    match bookmarks {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
