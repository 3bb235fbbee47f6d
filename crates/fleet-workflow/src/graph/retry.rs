//! How often a step that failed is tried again, and when.

use fleet_api::StepRetry;
use jiff::SignedDuration;

use crate::parse_duration;

/// The wait before the first further try, where it isn't said.
pub(super) const DEFAULT_RETRY_INTERVAL: SignedDuration = SignedDuration::from_secs(10);
/// By which each wait is longer than the one before, where it isn't said.
pub(super) const DEFAULT_RETRY_FACTOR: u32 = 2;
/// Further tries that a step may ask for.
pub const MOST_RETRIES: u32 = 20;
/// No wait is longer.
pub(super) const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);
/// No wait is shorter.
const SHORTEST_WAIT: SignedDuration = SignedDuration::from_secs(1);
/// No factor is larger.
const LARGEST_FACTOR: u32 = 10;

/// How often a step that failed is tried again, and when. Without one it isn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Further tries after the first.
    pub limit: u32,
    /// The wait before the first of them.
    pub interval: SignedDuration,
    /// By which each wait is longer than the one before.
    pub factor: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { limit: 0, interval: DEFAULT_RETRY_INTERVAL, factor: DEFAULT_RETRY_FACTOR }
    }
}

impl Retry {
    pub(super) fn read(written: &StepRetry) -> Result<Self, String> {
        let refuse = |what: String| Err(what);
        if written.limit > MOST_RETRIES {
            return refuse(format!("limit: {} is more than {MOST_RETRIES}", written.limit));
        }
        let interval = match &written.interval {
            None => DEFAULT_RETRY_INTERVAL,
            Some(text) => parse_duration(text).map_err(|error| format!("interval: {error}"))?,
        };
        if interval < SHORTEST_WAIT || interval > LONGEST_WAIT {
            return refuse(format!(
                "interval: {interval:#} isn't between {SHORTEST_WAIT:#} and {LONGEST_WAIT:#}"
            ));
        }
        let factor = written.factor.unwrap_or(DEFAULT_RETRY_FACTOR);
        if !(1..=LARGEST_FACTOR).contains(&factor) {
            return refuse(format!("factor: {factor} isn't between 1 and {LARGEST_FACTOR}"));
        }
        Ok(Self { limit: written.limit, interval, factor })
    }

    /// The wait after so many failed tries: `interval × factor^(failed - 1)`, at most an hour.
    pub fn wait(&self, failed: u32) -> SignedDuration {
        let times = self.factor.checked_pow(failed.saturating_sub(1)).and_then(|n| i32::try_from(n).ok());
        times.and_then(|times| self.interval.checked_mul(times)).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_an_hour() {
        let retry = Retry { limit: 20, ..Retry::default() };
        let waits: Vec<i64> = (1..=4).map(|failed| retry.wait(failed).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80]);
        assert_eq!(retry.wait(20), LONGEST_WAIT);
        assert_eq!(Retry { factor: 10, ..retry }.wait(u32::MAX), LONGEST_WAIT);
        assert_eq!(Retry { factor: 1, ..retry }.wait(20).as_secs(), 10);
    }

    #[test]
    fn what_has_no_bound_is_refused() {
        let read = |limit, interval: Option<&str>, factor| {
            Retry::read(&StepRetry { limit, interval: interval.map(str::to_owned), factor })
        };
        assert!(read(3, Some("5s"), Some(1)).is_ok());
        for (limit, interval, factor) in [
            (21, None, None),
            (1, Some("0"), None),
            (1, Some("2h"), None),
            (1, Some("soon"), None),
            (1, None, Some(0)),
            (1, None, Some(11)),
        ] {
            assert!(read(limit, interval, factor).is_err(), "{limit} {interval:?} {factor:?}");
        }
    }
}
