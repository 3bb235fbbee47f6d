//! What the API server lets pass: certificates, admission, priorities.

use crate::Health;
use crate::conditions::condition;
use crate::view::View;

pub(super) fn signing_request(view: &View<'_>) -> Health {
    for (kind, said) in [("Denied", "the request was denied"), ("Failed", "the signer has failed")] {
        if let Some(refused) = condition(view, kind).filter(|condition| condition.is_true()) {
            return Health::degraded(refused.reason_or(kind), refused.message_or(said));
        }
    }
    if !view.text(&["status", "certificate"]).is_empty() {
        return Health::healthy("Issued", "the certificate is issued");
    }
    match condition(view, "Approved").filter(|condition| condition.is_true()) {
        Some(_) => Health::progressing("NotIssued", "approved; waits for the signer"),
        None => Health::progressing("NotApproved", "waits for somebody to approve it"),
    }
}

/// Warnings of the type check don't keep a policy from being enforced; they are told.
pub(super) fn admission_policy(view: &View<'_>) -> Health {
    match view.list(&["status", "typeChecking", "expressionWarnings"]).len() {
        0 => Health::healthy("Exists", "exists"),
        1 => Health::healthy("TypeCheckWarnings", "in force; the type check warns of 1 expression"),
        n => {
            Health::healthy("TypeCheckWarnings", format!("in force; the type check warns of {n} expressions"))
        }
    }
}

pub(super) fn flow_schema(view: &View<'_>) -> Health {
    match condition(view, "Dangling").filter(|condition| condition.is_true()) {
        Some(dangling) => Health::degraded(
            dangling.reason_or("Dangling"),
            dangling.message_or("its priority level isn't there"),
        ),
        None => Health::healthy("Exists", "exists"),
    }
}
