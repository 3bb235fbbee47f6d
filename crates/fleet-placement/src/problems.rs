//! What is wrong with a policy, gathered while it is read.

use fleet_api::propagation::{PolicyProblem, Severity};

use crate::nearest::nearest;

/// Problems in the order in which they are found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<PolicyProblem>);

impl Problems {
    /// The policy can't be acted on until this is mended.
    pub fn error(&mut self, path: impl Into<String>, reason: &str, message: impl Into<String>) {
        self.push(Severity::Error, path.into(), reason, message.into());
    }

    /// Something won't be as the policy seems to say.
    pub fn warning(&mut self, path: impl Into<String>, reason: &str, message: impl Into<String>) {
        self.push(Severity::Warning, path.into(), reason, message.into());
    }

    /// Whether anything hinders the policy.
    #[must_use]
    pub fn any_error(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The problems.
    #[must_use]
    pub fn into_vec(self) -> Vec<PolicyProblem> {
        self.0
    }

    /// The problems.
    #[must_use]
    pub fn as_slice(&self) -> &[PolicyProblem] {
        &self.0
    }

    /// Adds what was found elsewhere.
    pub fn extend(&mut self, others: impl IntoIterator<Item = PolicyProblem>) {
        self.0.extend(others);
    }

    fn push(&mut self, severity: Severity, path: String, reason: &str, message: String) {
        self.0.push(PolicyProblem { severity, reason: reason.to_owned(), path, message });
    }
}

/// `; did you mean "x"?`, or what is known.
pub(crate) fn advice(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("it is one of {}", known.join(", ")),
    }
}
