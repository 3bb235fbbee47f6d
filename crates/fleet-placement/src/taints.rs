//! Taints of members, and who puts up with them.
//!
//! Two vocabularies say the same: Kubernetes' `NoSchedule`, `NoExecute`, `PreferNoSchedule` and Open Cluster
//! Management's `NoSelectIfNew`, `NoSelect`, `PreferNoSelect`. A toleration of one tolerates the other.

use fleet_api::propagation::Toleration;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::problems::{Problems, advice};

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaintEffect {
    /// Taken after the others, where not all are taken.
    Avoid,
    /// Nothing new is placed here.
    KeepOut,
    /// Nothing new is placed here, and what is here leaves where the policy lets it.
    Evict,
}

impl TaintEffect {
    /// What an effect's word means; a word that isn't known keeps out.
    fn of(word: &str) -> Self {
        match word {
            "NoExecute" | "NoSelect" => Self::Evict,
            "PreferNoSchedule" | "PreferNoSelect" => Self::Avoid,
            _ => Self::KeepOut,
        }
    }
}

/// A taint of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The effect's word.
    pub effect: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

impl Taint {
    /// Reads an item of `spec.taints`; nothing where it has no key.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let since = value.get("timeAdded").and_then(Value::as_str).and_then(|time| time.parse().ok());
        let taint = Self { key: text("key"), value: text("value"), effect: text("effect"), since };
        (!taint.key.is_empty()).then_some(taint)
    }

    /// What it does.
    #[must_use]
    pub fn effect(&self) -> TaintEffect {
        TaintEffect::of(&self.effect)
    }
}

impl std::fmt::Display for Taint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key)?;
        if !self.value.is_empty() {
            write!(f, "={}", self.value)?;
        }
        write!(f, ":{}", self.effect)
    }
}

/// For how long a taint is put up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tolerated {
    No,
    Until(Timestamp),
    Always,
}

/// For how long any of the tolerations puts up with a taint. A bound counts for taints that evict, as in Kubernetes.
pub(crate) fn tolerated(tolerations: &[Toleration], taint: &Taint) -> Tolerated {
    let mut best = Tolerated::No;
    for toleration in tolerations.iter().filter(|toleration| matches(toleration, taint)) {
        let bound = toleration.toleration_seconds.filter(|_| taint.effect() == TaintEffect::Evict);
        let until = bound.and_then(|seconds| {
            let since = taint.since?;
            Some(since.saturating_add(SignedDuration::from_secs(seconds.max(0))).unwrap_or(Timestamp::MAX))
        });
        best = match (until, best) {
            (None, _) => return Tolerated::Always,
            (Some(until), Tolerated::Until(other)) => Tolerated::Until(until.max(other)),
            (Some(until), _) => Tolerated::Until(until),
        };
    }
    best
}

fn matches(toleration: &Toleration, taint: &Taint) -> bool {
    let effect =
        toleration.effect.is_empty() || TaintEffect::of(&toleration.effect) == TaintEffect::of(&taint.effect);
    let exists = toleration.operator == "Exists";
    let key = toleration.key == taint.key || (toleration.key.is_empty() && exists);
    effect && key && (exists || toleration.value == taint.value)
}

/// What is wrong with tolerations.
pub(crate) fn check(tolerations: &[Toleration], path: &str, problems: &mut Problems) {
    const EFFECTS: [&str; 6] =
        ["NoSchedule", "NoExecute", "PreferNoSchedule", "NoSelect", "NoSelectIfNew", "PreferNoSelect"];
    for (index, toleration) in tolerations.iter().enumerate() {
        let mut wrong = |field: &str, message: String| {
            problems.error(format!("{path}[{index}].{field}"), "TolerationInvalid", message);
        };
        if !["", "Equal", "Exists"].contains(&toleration.operator.as_str()) {
            let known = advice(&toleration.operator, &["Equal", "Exists"]);
            wrong("operator", format!("{:?} is no operator; {known}", toleration.operator));
        }
        if !toleration.effect.is_empty() && !EFFECTS.contains(&toleration.effect.as_str()) {
            let known = advice(&toleration.effect, &EFFECTS);
            wrong("effect", format!("{:?} is no effect of a taint; {known}", toleration.effect));
        }
        if toleration.operator == "Exists" && !toleration.value.is_empty() {
            wrong("value", "Exists looks at no value; leave it out, or set operator: Equal".to_owned());
        }
        // As with Karmada, which accepts it: every taint has a key, and only Exists takes any.
        if toleration.key.is_empty() && toleration.operator != "Exists" {
            let message = "without a key it tolerates nothing; name one, or set operator: Exists";
            problems.warning(format!("{path}[{index}].key"), "ToleratesNothing", message);
        }
    }
}
