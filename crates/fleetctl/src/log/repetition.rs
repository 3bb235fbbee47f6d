//! The same line is written once a minute, however often it is said.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// How long a line is held back after it was written.
const QUIET: Duration = Duration::from_secs(60);
/// How many lines are remembered.
const REMEMBERED: usize = 4096;

/// Drops a line that was written with the same words and fields less than a minute ago: a member that is down, or
/// somebody who keeps changing a field, fills no disk.
#[derive(Debug, Default)]
pub struct Repetition(Mutex<BTreeMap<u64, Instant>>);

impl Repetition {
    /// Whether a line of this content is to be written now.
    fn admits(&self, content: u64, now: Instant) -> bool {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.get(&content).is_some_and(|at| now.duration_since(*at) < QUIET) {
            return false;
        }
        if written.len() >= REMEMBERED {
            written.retain(|_, at| now.duration_since(*at) < QUIET);
            if written.len() >= REMEMBERED {
                written.clear();
            }
        }
        written.insert(content, now);
        true
    }
}

impl<S: Subscriber> Filter<S> for Repetition {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        // Whoever asked for more than the controller says by itself wants all of it.
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let mut content = Content(DefaultHasher::new());
        event.metadata().callsite().hash(&mut content.0);
        event.record(&mut content);
        self.admits(content.0.finish(), Instant::now())
    }
}

/// Hashes what an event says.
struct Content(DefaultHasher);

impl Visit for Content {
    fn record_str(&mut self, field: &Field, value: &str) {
        field.name().hash(&mut self.0);
        value.hash(&mut self.0);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        field.name().hash(&mut self.0);
        format!("{value:?}").hash(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this a refused write, tried each second, is 86,400 lines a day.
    #[tokio::test]
    async fn the_same_line_is_written_once_a_minute() {
        let repetition = Repetition::default();
        let now = Instant::now();
        assert!(repetition.admits(1, now));
        assert!(!repetition.admits(1, now + Duration::from_secs(59)));
        assert!(repetition.admits(2, now));
        assert!(repetition.admits(1, now + QUIET));
    }

    /// Whoever makes every line differ must not fill the memory instead.
    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let repetition = Repetition::default();
        let now = Instant::now();
        for line in 0..3 * REMEMBERED as u64 {
            assert!(repetition.admits(line, now));
        }
        assert!(repetition.0.lock().unwrap().len() <= REMEMBERED);
    }
}
