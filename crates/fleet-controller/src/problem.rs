//! Something about an Application that a person can mend.

use fleet_placement::PlacementError;
use fleet_plan::PolicyError;
use fleet_render::{OverrideError, RenderError};
use fleet_workflow::WorkflowError;

/// Place, cause and next step in one line, with a code that a script can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The code.
    pub reason: String,
    /// The line.
    pub message: String,
    /// Whether it goes away by itself once something appears.
    pub waiting: bool,
}

impl Problem {
    /// Something that is wrong.
    pub fn wrong(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into(), waiting: false }
    }

    /// Something that isn't there yet.
    pub fn awaited(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into(), waiting: true }
    }
}

impl From<WorkflowError> for Problem {
    fn from(error: WorkflowError) -> Self {
        Self::wrong(error.reason(), format!("workflow: {error}"))
    }
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        Self::wrong("InvalidPolicy", error.to_string())
    }
}

impl From<PlacementError> for Problem {
    fn from(error: PlacementError) -> Self {
        Self { reason: error.code().to_owned(), message: error.to_string(), waiting: false }
    }
}

impl From<OverrideError> for Problem {
    fn from(error: OverrideError) -> Self {
        Self::wrong("InvalidOverride", error.to_string())
    }
}

impl From<RenderError> for Problem {
    fn from(error: RenderError) -> Self {
        Self::wrong("CannotRender", error.to_string())
    }
}
