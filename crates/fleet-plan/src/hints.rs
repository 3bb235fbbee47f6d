//! Where a plan is dangerous, said before anybody approves it.
//!
//! ```text
//!  PlanInput + Plan ─┐                 ┌─ fields      immutable fields, what a server refuses, fewer replicas
//!                    ├─► RULES ──────► ├─ selectors   what selects nothing any more
//!  Facts of members ─┘   (a table)     ├─ apis        kinds that a member doesn't serve
//!   (version, kinds, live objects,     ├─ owners      other managers, foreign objects, other Applications
//!    quotas; as far as known)          ├─ losses      last copies, data that goes
//!                                      └─ quota       requests against ResourceQuotas
//! ```
//!
//! Hints are data and no part of any hash: what a member says may change by the minute, and an approval is about the plan.
//! What isn't known is passed over, so that the same rules serve with members, without them, and without a hub.

mod apis;
mod fields;
mod losses;
mod owners;
mod quota;
mod selectors;

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{ObjectId, Target};
use fleet_json::FieldPath;
use serde::Serialize;
use serde_json::Value;

use crate::{Action, ActionKind, Desired, Plan, PlanInput, TargetInput};

/// How much a hint matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Look twice.
    Warning,
    /// The step will fail, or something is lost.
    Danger,
}

impl Severity {
    /// The word as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Danger => "danger",
        }
    }
}

/// One hint.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hint {
    /// What is found, as a word that a script can match.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Where.
    pub target: Target,
    /// Which object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectId>,
    /// Which field of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<FieldPath>,
    /// What happens and what to do, in one line. Names keys of Secrets, never values.
    pub message: String,
}

/// What is known of the world besides the hub's own records.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// By cluster.
    pub members: BTreeMap<String, MemberFacts>,
    /// What other Applications have in their inventories: by cluster, object to `namespace/name`.
    pub claims: BTreeMap<String, BTreeMap<ObjectId, String>>,
    /// Where this Application's objects are: group, kind and name to targets.
    pub copies: BTreeMap<(String, String, String), BTreeSet<Target>>,
    /// Our field manager on members.
    pub manager: String,
    /// What our label of the owner says.
    pub owner: String,
}

/// What is known of a member.
#[derive(Debug, Clone, Default)]
pub struct MemberFacts {
    /// Its version of Kubernetes: major and minor.
    pub version: Option<(u32, u32)>,
    /// Every apiVersion and kind that it serves.
    pub served: Option<BTreeSet<(String, String)>>,
    /// Objects of the plan as they are there; of Secrets their metadata alone.
    pub live: BTreeMap<ObjectId, Value>,
    /// Its ResourceQuotas in the targets' namespaces.
    pub quotas: Vec<Value>,
}

/// A version of Kubernetes as servers write it: `v1.35.0+k3s1` gives 1 and 35.
pub fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What a rule finds.
struct Finding {
    field: Option<FieldPath>,
    message: String,
    /// Where it differs from that of the rule.
    severity: Option<Severity>,
}

impl Finding {
    fn new(message: impl Into<String>) -> Self {
        Self { field: None, message: message.into(), severity: None }
    }

    fn at(mut self, path: &str) -> Self {
        self.field = FieldPath::parse(path).ok();
        self
    }

    fn as_(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }
}

/// What a rule looks at: one action on one target.
struct Case<'a> {
    plan: &'a Plan,
    input: &'a TargetInput<'a>,
    action: &'a Action,
    before: Option<&'a Desired>,
    after: Option<&'a Desired>,
    live: Option<&'a Value>,
    member: Option<&'a MemberFacts>,
    facts: &'a Facts,
}

impl Case<'_> {
    fn is(&self, kind: ActionKind) -> bool {
        self.action.kind == kind
    }

    /// Whether it is sent.
    fn is_sent(&self) -> bool {
        self.is(ActionKind::Create) || self.is(ActionKind::Change)
    }

    fn kind(&self) -> (&str, &str) {
        (self.action.id.group(), self.action.id.kind.as_str())
    }

    fn is_secret(&self) -> bool {
        self.kind() == ("", "Secret")
    }
}

/// A rule: its code, how much it matters, and how it looks.
struct Rule {
    code: &'static str,
    severity: Severity,
    look: fn(&Case<'_>) -> Vec<Finding>,
}

const fn rule(code: &'static str, severity: Severity, look: fn(&Case<'_>) -> Vec<Finding>) -> Rule {
    Rule { code, severity, look }
}

/// All rules about single objects, in the order in which their hints are shown.
const RULES: [Rule; 15] = [
    rule("ImmutableField", Severity::Danger, fields::immutable),
    rule("Recreated", Severity::Warning, fields::recreated),
    rule("Invalid", Severity::Danger, fields::invalid),
    rule("NoReplicas", Severity::Danger, fields::no_replicas),
    rule("FewerReplicas", Severity::Warning, fields::fewer_replicas),
    rule("SelectsNothing", Severity::Warning, selectors::selects_nothing),
    rule("ScalesNothing", Severity::Warning, selectors::scales_nothing),
    rule("ApiMissing", Severity::Danger, apis::missing),
    rule("ApiRemoved", Severity::Danger, apis::removed),
    rule("ApiDeprecated", Severity::Info, apis::deprecated),
    rule("ClaimedByAnother", Severity::Danger, owners::claimed),
    rule("ForeignObject", Severity::Danger, owners::foreign),
    rule("FieldConflict", Severity::Danger, owners::conflicts),
    rule("LastCopy", Severity::Danger, losses::last_copy),
    rule("DataLoss", Severity::Danger, losses::data),
];

/// Every code that a hint may have.
pub fn codes() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.code).chain(quota::CODES)
}

/// The hints of a plan: target by target in its order, object by object.
pub fn hints(input: &PlanInput<'_>, plan: &Plan, facts: &Facts) -> Vec<Hint> {
    let mut found = Vec::new();
    for (target, planned) in input.targets.iter().zip(&plan.targets) {
        let member = facts.members.get(&target.target.cluster);
        for action in &planned.actions {
            let same = |desired: &&Desired| desired.id.versionless() == action.id.versionless();
            let case = Case {
                plan,
                input: target,
                action,
                before: target.previous.iter().find(same),
                after: target.desired.iter().find(same),
                live: member.and_then(|member| live(member, &action.id)),
                member,
                facts,
            };
            for rule in &RULES {
                found.extend((rule.look)(&case).into_iter().map(|finding| Hint {
                    code: rule.code,
                    severity: finding.severity.unwrap_or(rule.severity),
                    target: target.target.clone(),
                    object: Some(action.id.clone()),
                    field: finding.field,
                    message: finding.message,
                }));
            }
        }
        found.extend(quota::hints(target, planned, member));
    }
    found
}

fn live<'a>(member: &'a MemberFacts, id: &ObjectId) -> Option<&'a Value> {
    let exact = member.live.get(id);
    exact.or_else(|| {
        member.live.iter().find(|(known, _)| known.versionless() == id.versionless()).map(|(_, o)| o)
    })
}
