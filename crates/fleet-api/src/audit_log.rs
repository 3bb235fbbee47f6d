//! `AuditLog`, `fleetctl.dev/v1alpha1`: the record of an Application, one chain of entries in which each holds the hash of
//! the one before.
//!
//! It belongs to no other object, so that it outlives the Application and its Runs. A long chain stands in several
//! objects, its segments. Changing or taking out an entry breaks the chain for everybody to see; cutting off its end
//! doesn't, so the end is signed where the controller has a key, and an export of it can be compared with.

use std::collections::BTreeMap;

use fleet_json::ContentHash;
use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many entries a segment holds at most; at some 500 bytes each it stays well below what etcd takes.
pub const SEGMENT_LIMIT: usize = 200;

/// One segment.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "fleetctl.dev", version = "v1alpha1", kind = "AuditLog", namespaced)]
#[kube(printcolumn(name = "APPLICATION", type_ = "string", json_path = ".spec.application"))]
#[kube(printcolumn(name = "SEGMENT", type_ = "integer", json_path = ".spec.segment"))]
#[kube(printcolumn(name = "ENTRIES", type_ = "integer", json_path = ".spec.head.sequence"))]
#[kube(printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[serde(rename_all = "camelCase")]
pub struct AuditLogSpec {
    /// The Application, in the same namespace.
    pub application: String,
    /// The number of the segment, from 1.
    pub segment: u32,
    /// The entries, the oldest first.
    pub entries: Vec<AuditEntry>,
    /// The last of them.
    pub head: AuditHead,
}

/// The end of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditHead {
    /// The number of the last entry.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
    /// The controller's word for it, where it has a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<HeadSignature>,
}

/// A signature over [`AuditHead::signed_text`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadSignature {
    /// The signing key: the first 16 hexadecimal digits of the SHA-256 of its public half (32 bytes).
    pub key: String,
    /// Ed25519 (RFC 8032), base64.
    pub value: String,
}

/// The event with which a record goes on whose end was lost: what stood there, and what does now, is in its message.
pub const RECORD_LOST: &str = "RecordLost";

impl AuditHead {
    /// The end that other objects remember: without the signature.
    #[must_use]
    pub fn unsigned(&self) -> Self {
        Self { sequence: self.sequence, hash: self.hash.clone(), signature: None }
    }

    /// What is signed: the purpose, the Application and the end of its chain, a line each.
    pub fn signed_text(&self, namespace: &str, application: &str) -> String {
        format!("fleetctl audit head v1\n{namespace}/{application}\n{}\n{}\n", self.sequence, self.hash)
    }
}

/// One thing that happened, or that somebody decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its number in the chain, from 1.
    pub sequence: u64,
    /// When it happened, as the Run has it.
    #[schemars(schema_with = "crate::schemas::time")]
    pub at: Timestamp,
    /// What: a code that a script can match.
    pub event: String,
    /// Who, where a person decided.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// Whether the API server proved who.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proven: bool,
    /// The Run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run: String,
    /// Its revision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The step.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// What it is about within the step, such as an Approval.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The plan that it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plan_hash: String,
    /// A code that a script can match.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// In words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The targets of a step that ended (`CLUSTER/NAMESPACE`), by how they ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, Vec<String>>,
    /// The hash of the entry before; empty in the first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub previous: String,
    /// SHA-256 of the entry without this field, as canonical JSON (keys sorted, no blanks).
    pub hash: String,
}

impl AuditEntry {
    /// The end of a chain whose last entry this is, unsigned.
    #[must_use]
    pub fn head(&self) -> AuditHead {
        AuditHead { sequence: self.sequence, hash: self.hash.clone(), signature: None }
    }

    /// The hash that the entry should have.
    pub fn computed_hash(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("hash");
        }
        ContentHash::of_value(&value).hex()
    }

    /// What tells it from others: the same thing isn't recorded twice.
    pub fn key(&self) -> ContentHash {
        ContentHash::of_value(&serde_json::json!([self.run, self.step, self.event, self.about, self.at]))
    }

    /// The entry at the end of a chain.
    #[must_use]
    pub fn chained(mut self, head: &AuditHead) -> Self {
        self.sequence = head.sequence + 1;
        self.previous.clone_from(&head.hash);
        self.hash = self.computed_hash();
        self
    }
}

/// Why a chain isn't one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An entry says something else than when it was written.
    #[error("entry {0} was changed: its hash isn't that of its content")]
    Changed(u64),
    /// An entry doesn't follow the one before.
    #[error(
        "after entry {before} comes entry {found}: what stood between was taken out, or something was put in"
    )]
    Gap {
        /// The number of the last good entry; 0 before the first.
        before: u64,
        /// The number of the next one.
        found: u64,
    },
    /// An entry holds another hash than that of the one before.
    #[error("entry {0} doesn't continue the entry before it: one of the two was put in later")]
    Broken(u64),
    /// What other objects remember as its end isn't there.
    #[error("{}", cut(*last, *once))]
    Cut {
        /// The last entry that is there.
        last: u64,
        /// The number of an entry that was there.
        once: u64,
    },
    /// What other objects remember as its end says something else now.
    #[error("entry {0} says something else than it did: from there back the record was written anew")]
    Rewritten(u64),
}

fn cut(last: u64, once: u64) -> String {
    match last {
        0 => format!("nothing of it is there, and it had {once} entries once: it was taken away as a whole"),
        _ => format!("it ends with entry {last}, and had {once} entries once: its end was taken away"),
    }
}

/// Whether a chain has what was once its end.
///
/// # Errors
/// Where the entry of that number is missing, or another one.
pub fn holds(entries: &[AuditEntry], end: &AuditHead) -> Result<(), ChainError> {
    if end.sequence == 0 {
        return Ok(());
    }
    match entries.iter().find(|entry| entry.sequence == end.sequence) {
        Some(entry) if entry.hash == end.hash => Ok(()),
        Some(_) => Err(ChainError::Rewritten(end.sequence)),
        None => Err(ChainError::Cut {
            last: entries.last().map_or(0, |entry| entry.sequence),
            once: end.sequence,
        }),
    }
}

/// Checks that entries are a chain, whole from its first entry, and gives its end.
///
/// # Errors
/// The first entry that doesn't fit.
pub fn verify_chain<'a>(entries: impl IntoIterator<Item = &'a AuditEntry>) -> Result<AuditHead, ChainError> {
    let mut head = AuditHead::default();
    for entry in entries {
        if entry.sequence != head.sequence + 1 {
            return Err(ChainError::Gap { before: head.sequence, found: entry.sequence });
        }
        if entry.hash != entry.computed_hash() {
            return Err(ChainError::Changed(entry.sequence));
        }
        if entry.previous != head.hash {
            return Err(ChainError::Broken(entry.sequence));
        }
        head = entry.head();
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u64) -> Vec<AuditEntry> {
        let mut head = AuditHead::default();
        let mut entries = Vec::new();
        for n in 0..length {
            let entry = AuditEntry {
                event: "StepEnded".to_owned(),
                step: format!("step-{n}"),
                actor: "mia".to_owned(),
                ..AuditEntry::default()
            };
            let entry = entry.chained(&head);
            head = entry.head();
            entries.push(entry);
        }
        entries
    }

    /// A record that can be changed unseen is none.
    #[test]
    fn an_untouched_chain_is_whole() {
        assert_eq!(verify_chain(&[]), Ok(AuditHead::default()));
        let entries = chain(5);
        assert_eq!(verify_chain(&entries).unwrap().hash, entries[4].hash);
    }

    /// Broken: a record that was cut off at its end, or written anew, passes although others remember its end.
    #[test]
    fn what_was_its_end_is_still_there() {
        let entries = chain(5);
        let end = verify_chain(&entries[..4]).unwrap();
        assert_eq!(holds(&entries, &AuditHead::default()), Ok(()));
        assert_eq!(holds(&entries, &end), Ok(()));
        assert_eq!(holds(&entries[..4], &end), Ok(()));
        assert_eq!(holds(&entries[..3], &end), Err(ChainError::Cut { last: 3, once: 4 }));
        assert_eq!(holds(&[], &end), Err(ChainError::Cut { last: 0, once: 4 }));
        let other = AuditHead { hash: "other".to_owned(), ..end };
        assert_eq!(holds(&entries, &other), Err(ChainError::Rewritten(4)));
    }

    #[test]
    fn every_change_shows() {
        for length in 2..6 {
            for at in 0..chain(length).len() {
                for how in 0..6 {
                    let mut entries = chain(length);
                    let last = at + 1 == entries.len();
                    match how {
                        0 => entries[at].actor = "eve".to_owned(),
                        1 => {
                            entries[at].proven = true;
                            entries[at].hash = entries[at].computed_hash();
                        }
                        2 => drop(entries.remove(at)),
                        3 => entries.insert(at, entries[at].clone()),
                        4 => entries.reverse(),
                        _ => {
                            entries[at].sequence += 1;
                            entries[at].hash = entries[at].computed_hash();
                        }
                    }
                    // Cutting off the end, or writing another one, needs a signature or an export to be seen.
                    let unseen = last && matches!(how, 1 | 2);
                    assert_eq!(verify_chain(&entries).is_ok(), unseen, "{how} at {at} of {length}");
                }
            }
        }
    }
}
