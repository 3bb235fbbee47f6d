//! The health of any object, read from the object alone.
//!
//! ```text
//! object ──► generic (deleted? status stale?) ──► rules that people gave for its kind (CEL) ──► Health
//!                                             ├─► built-in rule of its group and kind
//!                                             └─► conditions (Stalled, Reconciling, Ready) for any other kind
//!
//! the hub's object, what the members show of it ──► aggregate ──► its status on the hub, health and replicas by cluster
//! ```
//!
//! Health says whether what the object asks for has come about; whether the object is the one that was
//! delivered is asked elsewhere. A status that is older than the spec (`observedGeneration`) is never
//! healthy. The generic part follows kstatus
//! (<https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus>).

mod aggregate;
mod conditions;
mod generic;
mod given;
mod kinds;
mod rules;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use aggregate::{Aggregate, ClusterReport, Replicas, Report, aggregate, replicas, withdrawn};
pub use given::{HealthRules, KindRules, RuleError, RuleSpec};
pub use kinds::is_judged_by_metadata;

/// How an object is; the later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthStatus {
    /// What it asks for has come about.
    Healthy,
    /// It stands still because its spec says so.
    Suspended,
    /// On the way, or nobody has looked at it yet.
    Progressing,
    /// It can't be judged: it has no kind, nobody hears from where it runs, or a rule that people gave fails.
    Unknown,
    /// It won't get there without a change.
    Degraded,
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Unknown => "Unknown",
            Self::Degraded => "Degraded",
        })
    }
}

/// An object's health and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// A word that scripts can rely on: `ReplicasNotReady`, `ProgressDeadlineExceeded`.
    pub reason: String,
    /// One line for people: `3 of 5 updated replicas are ready`.
    pub message: String,
}

impl Health {
    fn new(status: HealthStatus, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), message: message.into() }
    }

    fn healthy(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(HealthStatus::Healthy, reason, message)
    }

    fn progressing(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(HealthStatus::Progressing, reason, message)
    }

    fn degraded(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(HealthStatus::Degraded, reason, message)
    }

    fn unknown(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(HealthStatus::Unknown, reason, message)
    }

    fn suspended(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(HealthStatus::Suspended, reason, message)
    }

    /// Whether the verdict is [`HealthStatus::Healthy`].
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.status == HealthStatus::Healthy
    }
}

/// Judges an object by its spec and status.
#[must_use]
pub fn assess(object: &Value) -> Health {
    assess_with(object, &HealthRules::default())
}

/// Judges an object by its spec and status; the rules that people gave for its kind stand before the built-in ones.
/// Before either: an object that is being deleted, or whose status is of an older spec, is [`HealthStatus::Progressing`].
#[must_use]
pub fn assess_with(object: &Value, given: &HealthRules) -> Health {
    let view = view::View::new(object);
    if view.kind.is_empty() || !object.is_object() {
        return Health::unknown("NoKind", "the object has no kind");
    }
    generic::not_settled(&view)
        .or_else(|| given.judge(&view))
        .or_else(|| rules::find(view.group, view.kind).map(|rule| rule(&view)))
        .unwrap_or_else(|| generic::by_conditions(&view))
}
