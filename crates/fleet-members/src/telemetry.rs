//! What members report about themselves: told to whoever counts, so that nothing here knows how it is counted.

use std::fmt;
use std::time::Duration;

/// How one request to a member ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The member answered with this HTTP status.
    Status(u16),
    /// It didn't answer in time.
    Timeout,
    /// There was no answer to be had: refused, reset, no route, a certificate that isn't accepted.
    NoAnswer,
    /// It wasn't asked: it didn't answer before, and is probed instead.
    NotAsked,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "{code}"),
            Self::Timeout => f.write_str("timeout"),
            Self::NoAnswer => f.write_str("no-answer"),
            Self::NotAsked => f.write_str("not-asked"),
        }
    }
}

/// Told of what happens with members, from the task that does it: it must only take note and return.
pub trait Telemetry: fmt::Debug + Send + Sync + 'static {
    /// A request has ended. `took` is from its start, without the wait for a place in the member's budget.
    fn asked(&self, cluster: &str, verb: &'static str, answer: Answer, took: Duration) {
        let _ = (cluster, verb, answer, took);
    }

    /// A watch was interrupted and begins anew.
    fn watch_restarted(&self, cluster: &str) {
        let _ = cluster;
    }

    /// A kind may not be watched in all namespaces; it is in each by itself, where it may.
    fn watch_narrowed(&self, cluster: &str, kind: &str) {
        let _ = (cluster, kind);
    }

    /// The member left the fleet: what was counted for it can be forgotten.
    fn left(&self, cluster: &str) {
        let _ = cluster;
    }
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Telemetry for Silent {}
