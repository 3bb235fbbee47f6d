//! Judging what a step measured.
//!
//! ```text
//!  answer of a server ──► Condition, prometheus ──► Reading ──► take_in ──► Measured (recorded)
//!                                                                              │
//!                                     Sampling, start, now ──► judge ──► Verdict
//! ```
//!
//! The rules are those of an AnalysisRun of Argo Rollouts
//! (<https://argo-rollouts.readthedocs.io/en/stable/features/analysis/>); `Hold` is the established `check-metrics` step
//! of the Open Application Model.

mod condition;
pub mod prometheus;

use fleet_api::{Measured, Measurement, Outcome, measured::KEPT_MEASUREMENTS};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use condition::{Comparison, Condition};

/// How many characters of a value or message are kept.
const KEPT_TEXT: usize = 256;
/// The wait before a measurement that couldn't be taken is tried again, unless the interval is shorter.
const AFTER_ERROR: SignedDuration = SignedDuration::from_secs(10);

/// How often is measured, and how much is borne.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// How many measurements are taken; each that couldn't be taken is tried again.
    pub count: u32,
    /// The time between two of them.
    pub interval: SignedDuration,
    /// The time before the first.
    pub initial_delay: SignedDuration,
    /// So many may fail.
    pub failure_limit: u32,
    /// So many may say nothing; with one more a person decides. Those that a person let count aren't among them.
    pub inconclusive_limit: u32,
    /// So many one after another may fail to be taken.
    pub error_limit: u32,
    /// Instead of counting: for how long it must be well, or not.
    pub hold: Option<Hold>,
}

/// A state that must last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// After so long without a failure the step succeeds.
    pub succeed_after: SignedDuration,
    /// After so long without a success it fails.
    pub fail_after: SignedDuration,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            count: 1,
            interval: SignedDuration::from_mins(1),
            initial_delay: SignedDuration::ZERO,
            failure_limit: 0,
            inconclusive_limit: 0,
            error_limit: 4,
            hold: None,
        }
    }
}

impl Sampling {
    /// How long measuring takes at least where all is well.
    pub fn least_time(&self) -> SignedDuration {
        let lasting = self.hold.as_ref().map_or_else(
            || self.interval.checked_mul(i32::try_from(self.count.saturating_sub(1)).unwrap_or(i32::MAX)),
            |hold| Some(hold.succeed_after),
        );
        lasting.and_then(|time| time.checked_add(self.initial_delay)).unwrap_or(SignedDuration::MAX)
    }
}

/// What one try to measure brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// What it says.
    pub outcome: Outcome,
    /// What was seen; never anything of a Secret.
    pub value: String,
    /// Why it says so.
    pub message: String,
    /// What the step hands on, bounded by who measures.
    pub output: Option<Value>,
    /// Where a notification went in this try.
    pub sent: Vec<String>,
}

impl Reading {
    /// A measurement that couldn't be taken.
    pub fn error(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Error, message: message.into(), ..Self::default() }
    }

    /// A measurement that says no.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, message: message.into(), ..Self::default() }
    }
}

/// What the measurements so far mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Another one is due at this time, which may have come.
    Continue(Timestamp),
    /// It is as it should be.
    Succeeded,
    /// It isn't.
    Failed {
        /// A code that a script can match.
        reason: &'static str,
        /// In words.
        message: String,
    },
    /// Nobody can say; a person decides.
    Inconclusive {
        /// In words.
        message: String,
    },
}

/// Counts a reading and keeps it among the newest ten.
pub fn take_in(measured: &mut Measured, reading: &Reading, at: Timestamp) {
    let before = measured.recent.last().map(|last| last.outcome);
    match reading.outcome {
        Outcome::Successful => measured.successful = measured.successful.saturating_add(1),
        Outcome::Failed => measured.failed = measured.failed.saturating_add(1),
        Outcome::Inconclusive => measured.inconclusive = measured.inconclusive.saturating_add(1),
        Outcome::Error => measured.errors = measured.errors.saturating_add(1),
    }
    measured.errors_in_a_row =
        if reading.outcome == Outcome::Error { measured.errors_in_a_row.saturating_add(1) } else { 0 };
    if before != Some(reading.outcome) {
        measured.same_since = Some(at);
    }
    for place in &reading.sent {
        if !measured.sent.contains(place) {
            measured.sent.push(place.clone());
        }
    }
    measured.recent.push(Measurement {
        at: Some(at),
        outcome: reading.outcome,
        value: shortened(&reading.value),
        message: shortened(&reading.message),
    });
    let surplus = measured.recent.len().saturating_sub(KEPT_MEASUREMENTS);
    measured.recent.drain(..surplus);
}

/// What the measurements so far mean.
///
/// A verdict other than [`Verdict::Continue`] follows from the counts (for [`Hold`]: from the streak) alone, so it is
/// the same after a restart and doesn't depend on the time. Failure comes before inconclusiveness.
pub fn judge(sampling: &Sampling, measured: &Measured, began: Timestamp) -> Verdict {
    let last = measured.recent.last();
    let said =
        last.map(|last| if last.message.is_empty() { last.value.clone() } else { last.message.clone() });
    let said = said.unwrap_or_default();
    let failed = |reason, message: String| Verdict::Failed { reason, message };
    if measured.errors_in_a_row > sampling.error_limit {
        let tries = measured.errors_in_a_row;
        return failed(
            "MeasurementError",
            format!("couldn't be measured {tries} times in a row; last: {said}"),
        );
    }
    let lasted = streak(measured);
    match &sampling.hold {
        Some(hold) => match last.map(|last| last.outcome) {
            Some(Outcome::Failed) if lasted >= hold.fail_after => {
                return failed("MeasurementFailed", format!("failed for {lasted:#}; last: {said}"));
            }
            Some(Outcome::Successful) if lasted >= hold.succeed_after => return Verdict::Succeeded,
            _ => {}
        },
        None if measured.failed > sampling.failure_limit => {
            let message = format!(
                "{} of {} measurements failed ({} may); last: {said}",
                measured.failed,
                measured.judged(),
                sampling.failure_limit
            );
            return failed("MeasurementFailed", message);
        }
        None => {}
    }
    if measured.inconclusive.saturating_sub(measured.accepted) > sampling.inconclusive_limit {
        let message = format!(
            "{} of {} measurements said neither yes nor no ({} may); last: {said}",
            measured.inconclusive,
            measured.judged(),
            sampling.inconclusive_limit
        );
        return Verdict::Inconclusive { message };
    }
    if sampling.hold.is_none() && measured.judged() >= sampling.count {
        return Verdict::Succeeded;
    }
    let next = match last {
        None => began.checked_add(sampling.initial_delay),
        Some(last) => {
            let wait = if last.outcome == Outcome::Error {
                sampling.interval.min(AFTER_ERROR)
            } else {
                sampling.interval
            };
            last.at.unwrap_or(began).checked_add(wait)
        }
    };
    Verdict::Continue(next.unwrap_or(Timestamp::MAX))
}

/// For how long the measurements have been saying the same.
fn streak(measured: &Measured) -> SignedDuration {
    let last = measured.recent.last().and_then(|last| last.at);
    match measured.same_since.zip(last) {
        Some((since, last)) => last.duration_since(since),
        None => SignedDuration::ZERO,
    }
}

/// A text, cut where it is longer than what is kept.
pub fn shortened(text: &str) -> String {
    if text.chars().count() <= KEPT_TEXT {
        return text.to_owned();
    }
    let head: String = text.chars().take(KEPT_TEXT - 1).collect();
    format!("{head}…")
}
