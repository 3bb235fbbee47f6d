//! Status conditions in the form of `metav1.Condition`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One condition of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about, in CamelCase.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// A code in CamelCase that a script can match.
    #[serde(default)]
    pub reason: String,
    /// The same in words: place, cause, next step.
    #[serde(default)]
    pub message: String,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub last_transition_time: Option<Timestamp>,
    /// The generation that this was judged on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl Condition {
    /// A condition whose transition time is filled in by [`settle`].
    pub fn new(type_: &str, status: bool, reason: &str, message: impl Into<String>) -> Self {
        Self {
            type_: type_.to_owned(),
            status: if status { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message: message.into(),
            last_transition_time: None,
            observed_generation: None,
        }
    }

    /// Whether the status is `True`.
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// Gives each of `new` its transition time: the old one while the status is the same, else `now`.
pub fn settle(old: &[Condition], mut new: Vec<Condition>, now: Timestamp) -> Vec<Condition> {
    for condition in &mut new {
        let before = old.iter().find(|c| c.type_ == condition.type_ && c.status == condition.status);
        condition.last_transition_time = before.and_then(|c| c.last_transition_time).or(Some(now));
    }
    new
}

/// The condition of a type, if there.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}
