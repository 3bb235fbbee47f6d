//! Rules that people give for kinds of their own, as data.

mod judge;
mod read;

use std::collections::BTreeMap;

use fleet_cel::{Program, Template};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::HealthStatus;

/// How objects of one kind are judged, as people write it.
///
/// ```yaml
/// group: cert-manager.io          # empty for the core group; every version of the kind
/// kind: Certificate
/// rules:                          # the first whose `when` is true is the verdict
/// - when: conditions[?"Ready"].?status == optional.of("True")
///   status: Healthy
///   reason: Issued
///   message: valid until ${status.notAfter}
/// - when: status.failedIssuanceAttempts > 3
///   status: Degraded
///   reason: IssuanceFails
/// ```
///
/// Expressions see `object`, `metadata`, `spec` and `status` (empty maps where the object has none), and `conditions`: the
/// status's conditions by their type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KindRules {
    /// The API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The kind.
    pub kind: String,
    /// In order. One that reads a field that isn't there doesn't hold.
    pub rules: Vec<RuleSpec>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// A CEL expression that is true or false.
    pub when: String,
    /// The verdict where it is true.
    pub status: HealthStatus,
    /// A word that scripts can rely on, CamelCase; the verdict's own name if not given.
    #[serde(default)]
    pub reason: String,
    /// One line for people; may hold `${…}`.
    #[serde(default)]
    pub message: String,
}

/// Rules that aren't used, and where they stand.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("health rules {source_name}: {place}: {problem}")]
pub struct RuleError {
    /// The object and entry that they stand in: `ConfigMap fleet-system/health, certificates.yaml`.
    pub source_name: String,
    /// Where in it: `[0].rules[1].when`.
    pub place: String,
    /// What is wrong, and what is expected.
    pub problem: String,
}

/// Compiled rules by group and kind; cheap to share.
#[derive(Debug, Default)]
pub struct HealthRules(BTreeMap<(String, String), OfKind>);

/// What was given for one kind.
#[derive(Debug)]
enum OfKind {
    Usable {
        source: String,
        /// As they were given.
        written: Value,
        rules: Vec<Rule>,
    },
    /// Judging by conventions what somebody wanted judged otherwise could call it healthy too early.
    Unusable(RuleError),
}

#[derive(Debug)]
struct Rule {
    when: Program,
    status: HealthStatus,
    reason: String,
    message: Template,
}
