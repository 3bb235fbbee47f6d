//! The properties of a `suspend` step.

use jiff::SignedDuration;
use serde::Deserialize;

use super::ApprovalRule;
use super::read::read_properties;
use crate::parse_duration;

/// Properties of a `suspend` step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SuspendProperties {
    /// After this time it goes on by itself.
    pub duration: Option<SignedDuration>,
    /// Shown to whoever decides.
    pub message: Option<String>,
    /// Who has to approve.
    pub approval: Option<ApprovalRule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SuspendAsWritten {
    duration: Option<String>,
    message: Option<String>,
    approval: Option<ApprovalRule>,
}

impl SuspendProperties {
    /// Reads what stands in a step.
    ///
    /// # Errors
    /// What is wrong, with the field that it is in.
    pub(super) fn read(properties: &serde_json::Value) -> Result<Self, String> {
        let written: SuspendAsWritten = read_properties(properties)?;
        let duration = written.duration.as_deref().map(parse_duration).transpose();
        let duration = duration.map_err(|e| format!("duration: {e}"))?;
        if duration.is_some() && written.approval.is_some() {
            let message = "duration: a gate that demands approvers doesn't open by itself; to end the wait, write \
                           approval.expiresAfter";
            return Err(message.to_owned());
        }
        Ok(Self { duration, message: written.message, approval: written.approval })
    }
}
