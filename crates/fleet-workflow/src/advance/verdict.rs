//! Which decisions count at a gate, and why others don't.

use std::collections::BTreeSet;

use fleet_api::{ApprovalRecord, Decision, Gate, Refusal};
use jiff::Timestamp;

use super::Turn;
use crate::{ApprovalFact, ApprovalRule, Authors, Node};

/// How many decisions that don't count are kept on record.
const KEPT_REFUSALS: usize = 10;
/// The reason of a decision about a step that asks nobody.
const OTHER_STEP: &str = "OtherStep";
/// The reason of a decision of which nobody knows who made it.
const NOT_PROVEN: &str = "NotProven";

/// What the decisions there are make of a gate. It follows from them and the gate's plan alone, so that a turn without
/// news changes nothing.
pub(super) struct Verdict<'a> {
    /// Approvals of different approvers, in the order in which they were made.
    pub(super) counted: Vec<&'a ApprovalFact>,
    /// The first no of somebody who may decide.
    pub(super) rejection: Option<&'a ApprovalFact>,
    /// What doesn't count.
    pub(super) refused: Vec<Refusal>,
}

impl<'a> Verdict<'a> {
    pub(super) fn of(turn: &Turn<'a>, node: &Node, gate: &Gate) -> Self {
        let rule = turn.rule(node);
        let mut verdict = Self { counted: Vec::new(), rejection: None, refused: Vec::new() };
        let mut approvers = BTreeSet::new();
        for fact in &turn.facts.approvals {
            // Another question of the same step has used it up.
            if fact.step != node.name || gate.spent.contains(&fact.name) {
                continue;
            }
            let objection = stale(fact, gate).or_else(|| rule.and_then(|rule| objection(turn, rule, fact)));
            // Without a proof nobody knows whether two are one.
            let objection = objection.or_else(|| {
                let again = rule.is_some() && approvers.contains(&fact.approver);
                (fact.decision == Decision::Approve && again)
                    .then(|| ("Duplicate", format!("{} has approved this plan already", fact.approver)))
            });
            match (objection, fact.decision) {
                (Some((reason, message)), _) => verdict.refused.push(Refusal {
                    approval: fact.name.clone(),
                    approver: fact.approver.clone(),
                    counts_from: fact.counts_from.filter(|_| reason == NOT_PROVEN),
                    reason: reason.to_owned(),
                    message,
                    proven: fact.proven,
                    at: fact.made_at,
                }),
                (None, Decision::Reject) => verdict.rejection = verdict.rejection.or(Some(fact)),
                (None, Decision::Approve) => {
                    approvers.insert(&fact.approver);
                    verdict.counted.push(fact);
                }
            }
        }
        keep_newest(&mut verdict.refused);
        verdict
    }
}

fn keep_newest(refused: &mut Vec<Refusal>) {
    let surplus = refused.len().saturating_sub(KEPT_REFUSALS);
    refused.drain(..surplus);
}

/// Puts decisions on record that no gate will ever look at: they name a step that asks nobody.
pub(super) fn add_astray(gate: &mut Gate, approvals: &[ApprovalFact], asking: &BTreeSet<String>) {
    gate.refused.retain(|refusal| refusal.reason != OTHER_STEP);
    let astray = approvals.iter().filter(|fact| !asking.contains(&fact.step));
    gate.refused.extend(astray.map(|fact| Refusal {
        approval: fact.name.clone(),
        approver: fact.approver.clone(),
        reason: OTHER_STEP.to_owned(),
        message: format!("it is for step {:?}, which asks nobody", fact.step),
        counts_from: None,
        proven: fact.proven,
        at: fact.made_at,
    }));
    keep_newest(&mut gate.refused);
}

fn stale(fact: &ApprovalFact, gate: &Gate) -> Option<(&'static str, String)> {
    let does = match fact.decision {
        Decision::Approve => "approves",
        Decision::Reject => "rejects",
    };
    let message = format!("it {does} plan {}, but the plan is now {}", fact.plan_hash, gate.plan_hash);
    (fact.plan_hash != gate.plan_hash).then_some(("StalePlan", message))
}

/// Why somebody's decision doesn't count where approvers are demanded.
fn objection(turn: &Turn<'_>, rule: &ApprovalRule, fact: &ApprovalFact) -> Option<(&'static str, String)> {
    if !fact.proven {
        let doubt = if fact.doubt.is_empty() { "who decided isn't proved" } else { fact.doubt.as_str() };
        return Some((NOT_PROVEN, doubt.to_owned()));
    }
    if !rule.groups.is_empty() && fact.groups.iter().all(|group| !rule.groups.contains(group)) {
        let groups: Vec<&str> = rule.groups.iter().map(String::as_str).collect();
        let message =
            format!("{} isn't in any of the groups asked for ({})", fact.approver, groups.join(", "));
        return Some(("NotInGroup", message));
    }
    // Whoever changed the spec may withdraw it.
    if !rule.exclude_author || fact.decision == Decision::Reject {
        return None;
    }
    match &turn.facts.authors {
        Authors::Unrecorded(why) => Some(("AuthorUnknown", why.clone())),
        Authors::Known(authors) if authors.contains(&fact.approver) => {
            let message = format!("{} changed the spec, and whoever did may not approve", fact.approver);
            Some(("Author", message))
        }
        Authors::Known(_) => None,
    }
}

/// A decision for the record.
pub(super) fn record(fact: &ApprovalFact, now: Timestamp) -> ApprovalRecord {
    ApprovalRecord {
        approval: fact.name.clone(),
        approver: fact.approver.clone(),
        proven: fact.proven,
        reason: fact.reason.clone(),
        plan_hash: fact.plan_hash.clone(),
        at: Some(now),
    }
}
