//! The changes that are still known, oldest first, bounded by bytes.

use std::collections::VecDeque;

use crate::change::Change;

/// What a change costs beside its strings and bytes: the record, two reference counts, the ring's slot.
const OVERHEAD: usize = 256;

/// A ring of changes. Holds every change after `oldest`.
#[derive(Debug)]
pub(crate) struct History {
    changes: VecDeque<Change>,
    bytes: usize,
    limit: usize,
    oldest: u64,
}

impl History {
    /// An empty history that starts at a revision.
    pub(crate) fn new(limit: usize, oldest: u64) -> Self {
        Self { changes: VecDeque::new(), bytes: 0, limit, oldest }
    }

    /// The oldest revision that a watch may start from and a list may go back to.
    pub(crate) fn oldest(&self) -> u64 {
        self.oldest
    }

    pub(crate) fn push(&mut self, change: Change) {
        self.bytes += size(&change);
        self.changes.push_back(change);
        while self.bytes > self.limit {
            let Some(gone) = self.changes.pop_front() else { break };
            self.bytes -= size(&gone);
            self.oldest = gone.event.revision;
        }
    }

    /// The changes after a revision, oldest first.
    pub(crate) fn after(&self, revision: u64) -> impl DoubleEndedIterator<Item = &Change> {
        let start = self.changes.partition_point(|change| change.event.revision <= revision);
        self.changes.range(start..)
    }
}

/// The previous value is counted too: once the change that made it has left the ring, this one alone keeps it alive.
fn size(change: &Change) -> usize {
    let previous = change.event.previous.as_ref().map_or(0, bytes::Bytes::len);
    OVERHEAD + change.event.key.size() + change.event.value.len() + previous
}
