//! What one member gets at once, and when again after it has asked to be left alone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// The longest that a member's `Retry-After` is obeyed: a mistaken one must not silence it for a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A member's budget of requests.
#[derive(Debug)]
pub(crate) struct Budget {
    places: Semaphore,
    at_once: usize,
    /// The longest that a request waits for its turn.
    longest_wait: Duration,
    /// Nothing is sent before, because the member said so (RFC 9110 10.2.3).
    not_before: Mutex<Option<Instant>>,
}

impl Budget {
    pub(crate) fn new(at_once: usize, longest_wait: Duration) -> Self {
        let at_once = at_once.max(1);
        Self { places: Semaphore::new(at_once), at_once, longest_wait, not_before: Mutex::new(None) }
    }

    /// Waits for a place, and for the end of a pause.
    ///
    /// # Errors
    /// In words, where that takes too long.
    pub(crate) async fn enter(&self) -> Result<SemaphorePermit<'_>, String> {
        let deadline = Instant::now() + self.longest_wait;
        loop {
            if let Some(until) = self.paused() {
                if until > deadline {
                    let left = until.saturating_duration_since(Instant::now()).as_secs();
                    return Err(format!("it asks for no more requests within {} s", left.max(1)));
                }
                tokio::time::sleep_until(until).await;
            }
            let permit = match tokio::time::timeout_at(deadline, self.places.acquire()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) => return Err("it was taken out of the fleet".to_owned()),
                Err(_) => {
                    return Err(format!(
                        "{} requests are under way there, and none ended within {} s",
                        self.at_once,
                        self.longest_wait.as_secs()
                    ));
                }
            };
            // A pause may have begun while this one waited for its place.
            if self.paused().is_none() {
                return Ok(permit);
            }
        }
    }

    /// The member asks for a pause.
    pub(crate) fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait.min(LONGEST_PAUSE);
        let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        *not_before = Some(not_before.map_or(until, |known| known.max(until)));
    }

    fn paused(&self) -> Option<Instant> {
        let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if not_before.is_some_and(|until| until <= Instant::now()) {
            *not_before = None;
        }
        *not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full budget must end in words, never in waiting for ever.
    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_place_ends() {
        let budget = Budget::new(1, Duration::from_secs(3));
        let held = budget.enter().await.unwrap();
        let error = budget.enter().await.unwrap_err();
        assert_eq!(error, "1 requests are under way there, and none ended within 3 s");
        drop(held);
        assert!(budget.enter().await.is_ok());
    }

    /// A member that asks for a pause gets it, also from those who already wait; a long one is said at once.
    #[tokio::test(start_paused = true)]
    async fn pauses_are_kept() {
        let budget = Budget::new(1, Duration::from_secs(30));
        let began = Instant::now();
        let held = budget.enter().await.unwrap();
        let waiting = async {
            drop(budget.enter().await.unwrap());
            began.elapsed()
        };
        let pausing = async {
            tokio::task::yield_now().await;
            budget.pause(Duration::from_secs(5));
            drop(held);
        };
        let (waited, ()) = tokio::join!(waiting, pausing);
        assert_eq!(waited, Duration::from_secs(5));
        budget.pause(Duration::from_secs(86_400));
        assert_eq!(budget.enter().await.unwrap_err(), "it asks for no more requests within 60 s");
    }
}
