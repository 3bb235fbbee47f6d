//! What can go wrong, one enum per door.

use std::path::PathBuf;

use crate::Entry;

/// Why a list or a watch can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The history doesn't reach back that far. The caller answers 410.
    #[error("revision is too old: the history starts at {oldest}; list again without a resource version")]
    Expired {
        /// The oldest revision that can still be asked for.
        oldest: u64,
    },
    /// The store hasn't got that far.
    #[error("revision lies in the future: the store is at {current}")]
    Future {
        /// The store's revision.
        current: u64,
    },
}

/// Why a commit didn't happen. After any of these the object is as it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The object was expected to be absent and is there.
    #[error("the object exists already")]
    Exists,
    /// The object was expected to be there and isn't.
    #[error("the object doesn't exist")]
    NotFound,
    /// The object is at another revision than expected.
    #[error("the object has been changed since it was read; read it again and repeat")]
    Conflict {
        /// The object as it is.
        current: Option<Entry>,
    },
    /// The store couldn't keep the change. Reads go on; later commits are tried anew.
    #[error("the change was not stored: {0}")]
    Storage(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a watcher got its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// It was too slow and would have missed events. The caller answers 410.
    #[error("the watch fell behind; list again and watch from there")]
    Lagged,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a store's file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{}: in use by another process; stop that process or choose another data folder", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It was written by another version of this program.
    #[error("{}: has schema version {found}, this program reads version {expected}; use the program version that wrote it, or an empty data folder", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The version that this program reads.
        expected: i64,
    },
    /// It is a SQLite file, but not ours.
    #[error("{}: is a database of another program; choose another data folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Its content is damaged.
    #[error("{}: is damaged ({detail}); restore it from a backup, or move it away to start empty", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It can't be written.
    #[error("{}: can't be written ({detail}); check that the folder exists and is writable", path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The cause.
        detail: String,
    },
    /// The disk is full.
    #[error("{}: the disk is full; free some space and start again", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("{}: can't be opened while {step}: {detail}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// The cause.
        detail: String,
    },
}
