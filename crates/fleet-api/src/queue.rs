//! What becomes of a run when something newer is asked for, and what waits for its end.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Application, names};

/// What becomes of a run when a newer revision is asked for: the annotation [`names::ON_NEW_REVISION`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnNewRevision {
    /// The newer one takes over at a target boundary.
    #[default]
    Supersede,
    /// The newer one waits until the run is over; of several that wait only the newest stays.
    Queue,
}

impl OnNewRevision {
    /// What an Application says.
    ///
    /// # Errors
    /// In words: what stands there and what may.
    pub fn of(app: &Application) -> Result<Self, String> {
        let annotations = app.metadata.annotations.as_ref();
        match annotations.and_then(|all| all.get(names::ON_NEW_REVISION)).map(String::as_str) {
            None | Some("Supersede") => Ok(Self::Supersede),
            Some("Queue") => Ok(Self::Queue),
            Some(other) => Err(format!(
                "metadata.annotations[{}]: {other:?} is neither Supersede (a newer revision takes over, the default) nor Queue (it waits until the run is over)",
                names::ON_NEW_REVISION
            )),
        }
    }
}

/// A revision that waits until the run is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuedRevision {
    /// The name that its ApplicationRevision will have.
    pub revision: String,
    /// The value of publishVersion that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_version: Option<String>,
    /// Since when it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schemas::optional_time")]
    pub since: Option<Timestamp>,
    /// The Run that it waits for.
    #[serde(default)]
    pub behind: String,
    /// Revisions that waited before it and will never run, the last ones of them, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// How many there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_total: u64,
}

impl QueuedRevision {
    /// Whether it is what another one asks for.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.revision, &self.publish_version) == (&other.revision, &other.publish_version)
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
