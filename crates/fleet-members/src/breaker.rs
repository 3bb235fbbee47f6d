//! A breaker per member: while it is open, requests fail at once instead of waiting for their deadline.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait between probes.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Whether a member answers, as far as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachability {
    /// The last request was answered, or none was made yet.
    Reachable,
    /// The last request was not.
    Unreachable {
        /// Since when.
        since: Instant,
        /// How the last request ended.
        message: String,
    },
}

#[derive(Debug)]
struct State {
    failures: u32,
    open: Option<(Instant, String)>,
}

/// The breaker's state; cheap to ask.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: Mutex<State>,
    jitter: f64,
}

impl Breaker {
    /// `seed` spreads the probes of members that went down together.
    pub(crate) fn new(seed: &str) -> Self {
        let sum = seed.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let jitter = 0.75 + f64::from(sum % 1000) / 2000.0;
        Self { state: Mutex::new(State { failures: 0, open: None }), jitter }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn reachability(&self) -> Reachability {
        match &self.lock().open {
            None => Reachability::Reachable,
            Some((since, message)) => Reachability::Unreachable { since: *since, message: message.clone() },
        }
    }

    /// Records a failure; true where this one opened the breaker.
    pub(crate) fn failed(&self, message: &str, now: Instant) -> bool {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        let since = state.open.as_ref().map_or(now, |(since, _)| *since);
        let opened = state.open.is_none();
        state.open = Some((since, message.to_owned()));
        opened
    }

    /// Records an answer; true where this one closed the breaker.
    pub(crate) fn answered(&self) -> bool {
        let mut state = self.lock();
        state.failures = 0;
        state.open.take().is_some()
    }

    /// How long to wait before the next probe: doubling, with jitter.
    pub(crate) fn wait(&self) -> Duration {
        let doublings = self.lock().failures.saturating_sub(1).min(8);
        FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT).mul_f64(self.jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_opens_once_and_closes_once() {
        let breaker = Breaker::new("m1");
        let now = Instant::now();
        assert!(breaker.failed("refused", now));
        assert!(!breaker.failed("refused", now));
        assert!(matches!(breaker.reachability(), Reachability::Unreachable { .. }));
        assert!(breaker.answered());
        assert!(!breaker.answered());
        assert_eq!(breaker.reachability(), Reachability::Reachable);
    }

    #[tokio::test]
    async fn waits_grow_to_a_bound_and_differ_between_members() {
        let (one, two) = (Breaker::new("m1"), Breaker::new("m2"));
        let first = one.wait();
        for _ in 0..40 {
            one.failed("x", Instant::now());
            two.failed("x", Instant::now());
        }
        assert!(first < one.wait() && one.wait() <= LONGEST_WAIT.mul_f64(1.25));
        assert_ne!(one.wait(), two.wait());
    }
}
