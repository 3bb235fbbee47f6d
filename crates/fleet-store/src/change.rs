//! The rules of a commit: what it demands, what it makes. Pure; both backends decide here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use crate::{CommitError, Entry, Event, EventKind, Expect, Key, Write};

/// An object without its name, as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) value: Bytes,
    pub(crate) revision: u64,
    pub(crate) created: u64,
}

impl Stored {
    pub(crate) fn entry(self, key: Key) -> Entry {
        Entry { key, value: self.value, revision: self.revision, created: self.created }
    }
}

/// A decided commit: not yet durable, not yet visible.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What watchers will see.
    pub(crate) event: Arc<Event>,
    /// The object before; kept to roll lists back.
    pub(crate) previous: Option<Stored>,
    /// The revision that created the object.
    pub(crate) created: u64,
}

impl Change {
    /// The object after the change; `None` if it is gone.
    pub(crate) fn stored(&self) -> Option<Stored> {
        (self.event.kind != EventKind::Deleted).then(|| Stored {
            value: self.event.value.clone(),
            revision: self.event.revision,
            created: self.created,
        })
    }

    /// What the committer gets back.
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            key: self.event.key.clone(),
            value: self.event.value.clone(),
            revision: self.event.revision,
            created: self.created,
        }
    }
}

/// Decides a commit against the object as it is now, and makes the new bytes.
pub(crate) fn decide(
    key: Key,
    current: Option<Stored>,
    expect: Expect,
    write: Write,
    revision: u64,
) -> Result<Change, CommitError> {
    match (expect, &current) {
        (Expect::Absent, Some(_)) => return Err(CommitError::Exists),
        (Expect::Revision(_), None) => return Err(CommitError::NotFound),
        (Expect::Revision(wanted), Some(found)) if found.revision != wanted => {
            return Err(CommitError::Conflict { current: Some(found.clone().entry(key)) });
        }
        _ => {}
    }
    let (kind, encode) = match (write, &current) {
        (Write::Delete(_), None) => return Err(CommitError::NotFound),
        (Write::Delete(encode), Some(_)) => (EventKind::Deleted, encode),
        (Write::Put(encode), None) => (EventKind::Added, encode),
        (Write::Put(encode), Some(_)) => (EventKind::Modified, encode),
    };
    // A caller's closure that panics must not take the writer thread, and with it the store, down.
    let value = catch_unwind(AssertUnwindSafe(move || encode(revision)))
        .map_err(|_| CommitError::Storage("making the object's bytes panicked".to_owned()))?;
    let created = current.as_ref().map_or(revision, |found| found.created);
    let event =
        Event { kind, key, value, previous: current.as_ref().map(|found| found.value.clone()), revision };
    Ok(Change { event: Arc::new(event), previous: current, created })
}
