//! From a snapshot to what is wrong with it, and how to mend each. Pure.

mod applications;
mod hub;
mod members;
mod policies;

use serde::Serialize;

use super::snapshot::Snapshot;

pub(super) use hub::of_workloads;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Something doesn't work until it is mended.
    Error,
    /// Something works otherwise than is probably meant, or soon won't.
    Warning,
    /// Something waits, as it should.
    Note,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A code that a script can match.
    pub code: &'static str,
    /// The object that it is about.
    pub about: String,
    /// What is the matter.
    pub message: String,
    /// How to mend it: a command where there is one.
    pub mend: String,
}

impl Finding {
    fn new(
        severity: Severity,
        code: &'static str,
        about: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { severity, code, about: about.into(), message: message.into(), mend: mend.into() }
    }
}

/// Everything that is wrong, the worst first.
pub fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut all = hub::findings(snapshot);
    all.extend(members::findings(snapshot));
    all.extend(applications::findings(snapshot));
    all.extend(policies::findings(snapshot));
    for (what, why) in &snapshot.unread {
        let mend = "give your account the right to read it, or ask somebody who has it";
        let message = format!("couldn't be looked at: {why}");
        all.push(Finding::new(Severity::Warning, "NotLookedAt", what, message, mend));
    }
    // Stable: what belongs together stays together.
    all.sort_by_key(|finding| finding.severity);
    all
}

#[cfg(test)]
mod tests;
