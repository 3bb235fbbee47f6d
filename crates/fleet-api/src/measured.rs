//! What a step that measures found: kept with the run, bounded.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many measurements are kept word for word; all are counted.
pub const KEPT_MEASUREMENTS: usize = 10;

/// What one measurement says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// As it should be.
    Successful,
    /// Not as it should be.
    Failed,
    /// Neither: no data, or between what succeeds and what fails.
    #[default]
    Inconclusive,
    /// It couldn't be measured.
    Error,
}

impl Outcome {
    /// The outcome as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Successful => "successful",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// When it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub at: Option<Timestamp>,
    /// What it says.
    pub outcome: Outcome,
    /// What was seen, shortened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Why it says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Everything that a step measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// How many said that all is well.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub successful: u32,
    /// How many said that it isn't.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// How many said neither.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inconclusive: u32,
    /// How many of these a person let count as good.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub accepted: u32,
    /// How many couldn't be taken.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub errors: u32,
    /// How many of these one after the other, up to now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub errors_in_a_row: u32,
    /// Since when the measurements say the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub same_since: Option<Timestamp>,
    /// Where a notification went already, so that no further try sends it there again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<String>,
    /// The newest ten, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Measurement>,
}

impl Measured {
    /// How many measurements were taken or tried: the number of the next is one more.
    pub fn tries(&self) -> u32 {
        self.judged().saturating_add(self.errors)
    }

    /// How many measurements were taken.
    pub fn judged(&self) -> u32 {
        self.successful.saturating_add(self.failed).saturating_add(self.inconclusive)
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}
