//! Who has to approve: the `approval` of a deploy or suspend step.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::Error as _;

use crate::parse_duration;

/// More approvers than this nobody gathers.
const MOST_APPROVERS: u32 = 100;

/// What a gate demands of those who open it. Only approvals whose approver the API server has proved count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRule {
    /// How many different approvers.
    pub required: u32,
    /// Each of them must be in one of these groups, where any is named.
    pub groups: BTreeSet<String>,
    /// Whoever changed the spec that runs isn't counted.
    pub exclude_author: bool,
    /// So long after the gate shut nobody can open it any more, and the run fails.
    pub expires_after: Option<SignedDuration>,
}

impl Default for ApprovalRule {
    fn default() -> Self {
        Self { required: 1, groups: BTreeSet::new(), exclude_author: false, expires_after: None }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AsWritten {
    #[serde(default)]
    required: Option<i64>,
    #[serde(default)]
    groups: Option<Vec<String>>,
    #[serde(default)]
    exclude_author: bool,
    #[serde(default)]
    expires_after: Option<String>,
}

impl<'de> Deserialize<'de> for ApprovalRule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = AsWritten::deserialize(deserializer)?;
        let required = written.required.unwrap_or(1);
        let required = u32::try_from(required)
            .ok()
            .filter(|required| (1..=MOST_APPROVERS).contains(required))
            .ok_or_else(|| {
                D::Error::custom(format!("required: write a number from 1 to {MOST_APPROVERS}"))
            })?;
        let groups = written.groups.unwrap_or_default();
        if groups.iter().any(|group| group.trim().is_empty()) {
            return Err(D::Error::custom("groups: a group has no name"));
        }
        let expires_after = written.expires_after.as_deref().map(parse_duration).transpose();
        let expires_after = expires_after.map_err(|e| D::Error::custom(format!("expiresAfter: {e}")))?;
        if expires_after.is_some_and(|after| !after.is_positive()) {
            return Err(D::Error::custom("expiresAfter: the gate would expire before anybody could approve"));
        }
        Ok(Self {
            required,
            groups: groups.into_iter().collect(),
            exclude_author: written.exclude_author,
            expires_after,
        })
    }
}

/// What happens where the deletes of a deploy step take a target's last workload, or everything that is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum OnDelete {
    /// A person is asked before these deletes.
    #[default]
    Approve,
    /// They are carried out like any other.
    Prune,
    /// Nothing that the revision no longer has is deleted by this step: it stays, as nobody's.
    Keep,
}
