//! Fields that an apply would take from others.

use std::fmt::Write as _;

use crate::element::Path;
use crate::managed::{ManagedFieldsEntry, Operation};
use crate::set::FieldSet;

/// A field that another manager owns and that an apply would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it.
    pub manager: String,
    /// How the owner wrote it.
    pub operation: Operation,
    /// The version that the owner used.
    pub api_version: String,
    /// The subresource that the owner used, empty for none.
    pub subresource: String,
    /// When the owner last changed something.
    pub time: Option<String>,
    /// The field.
    pub field: Path,
}

impl Conflict {
    /// The owner as kube-apiserver names it: `"kubectl" using apps/v1`.
    pub fn owner(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            let _infallible = write!(text, " with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            let _infallible = write!(text, " using {}", self.api_version);
        }
        text
    }

    /// The message of this conflict's cause in a `Status` (reason `FieldManagerConflict`).
    pub fn cause(&self) -> String {
        format!("conflict with {}", self.owner())
    }
}

/// One conflict for each of the fields.
pub(crate) fn conflicts_with(entry: &ManagedFieldsEntry, fields: &FieldSet) -> Vec<Conflict> {
    let conflict = |field| Conflict {
        manager: entry.manager.clone(),
        operation: entry.operation,
        api_version: entry.api_version.clone(),
        subresource: entry.subresource.clone(),
        time: entry.time.clone(),
        field,
    };
    fields.paths().into_iter().map(conflict).collect()
}

/// The message of kube-apiserver for these conflicts.
pub fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", only.owner(), only.field);
    }
    let mut owners: Vec<String> = conflicts.iter().map(Conflict::owner).collect();
    owners.sort();
    owners.dedup();
    let mut text = format!("Apply failed with {} conflicts: ", conflicts.len());
    for (i, owner) in owners.iter().enumerate() {
        let line = if i == 0 { "" } else { "\n" };
        let _infallible = write!(text, "{line}conflicts with {owner}:");
        for conflict in conflicts.iter().filter(|conflict| conflict.owner() == *owner) {
            let _infallible = write!(text, "\n- {}", conflict.field);
        }
    }
    text
}
