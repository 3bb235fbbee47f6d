//! What goes into the store and what comes out.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::Key;

/// An object as it was at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The object's name.
    pub key: Key,
    /// The object.
    pub value: Bytes,
    /// The revision of its last change.
    pub revision: u64,
    /// The revision that created it.
    pub created: u64,
}

/// What a commit demands of the object as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It isn't there.
    Absent,
    /// It is there, at exactly this revision.
    Revision(u64),
    /// Anything. A delete still needs an object.
    Any,
}

/// Makes an object's bytes, knowing the revision that the commit was given.
pub type Encode = Box<dyn FnOnce(u64) -> Bytes + Send>;

/// What a commit does. The closure runs inside the commit, while nobody else can: it must be quick, and must not call the
/// store.
pub enum Write {
    /// Create or replace.
    Put(Encode),
    /// Remove. The closure gives the last state, as watchers see it, with the new revision.
    Delete(Encode),
}

impl Write {
    /// Create or replace with what the closure gives.
    pub fn put(encode: impl FnOnce(u64) -> Bytes + Send + 'static) -> Self {
        Self::Put(Box::new(encode))
    }

    /// Remove; the closure gives the last state.
    pub fn delete(encode: impl FnOnce(u64) -> Bytes + Send + 'static) -> Self {
        Self::Delete(Box::new(encode))
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Put(_) => "Put",
            Self::Delete(_) => "Delete",
        })
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most so many entries; `None` means all.
    pub limit: Option<usize>,
    /// Only what comes after this namespace and name.
    pub after: Option<(Arc<str>, Arc<str>)>,
    /// For lists over all clusters: the cluster that `after` stands in. Ignored where the range names a cluster.
    pub after_cluster: Option<Arc<str>>,
    /// The list as it was at this revision; `None` means now.
    pub at: Option<u64>,
}

/// A list, ordered by cluster, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries of this page.
    pub entries: Vec<Entry>,
    /// The revision that the list shows: a watch from here misses nothing and repeats nothing.
    pub revision: u64,
    /// Whether there is another page.
    pub more: bool,
    /// How many entries the pages after this one hold.
    pub remaining: usize,
}

/// How an object changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was created.
    Added,
    /// It was replaced.
    Modified,
    /// It was removed.
    Deleted,
}

/// One change, as watchers see it. Shared between all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// How the object changed.
    pub kind: EventKind,
    /// The object's name.
    pub key: Key,
    /// The object after the change; for a delete, its last state.
    pub value: Bytes,
    /// The object before the change; `None` if it is new.
    pub previous: Option<Bytes>,
    /// The revision of the change.
    pub revision: u64,
}
