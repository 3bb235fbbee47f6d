//! What only the inside can bring about: a disk that is full.

use bytes::Bytes;

use super::{Writer, file};
use crate::{CommitError, Expect, Key, Options, Write};

fn pod(name: usize) -> Key {
    Key::new("a", "pods", "ns", format!("p{name}"))
}

fn big() -> Write {
    Write::put(|_| Bytes::from(vec![b'v'; 8_000]))
}

/// If this fails, a full disk loses data, shows readers what isn't kept, or needs a restart to get over.
#[tokio::test]
async fn a_full_disk_is_said_and_got_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let opened = file::open(&path).unwrap();
    // SQLite gives the same error for a full disk and for a file at its limit.
    opened.connection.query_row("PRAGMA max_page_count = 60", [], |_| Ok(())).unwrap();
    let (state, writer) = Writer::start(opened, &path, &Options::default()).unwrap();

    let mut kept = 0;
    let error = loop {
        match writer.commit(pod(kept), Expect::Absent, big()).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 100, "the limit must be met");
    };
    assert!(matches!(error, CommitError::Storage(_)));
    assert_eq!(error.to_string(), "the change was not stored: the disk is full; free some space and repeat");
    assert!(state.read().get(&pod(kept)).is_none(), "what isn't kept isn't shown");
    assert!(state.read().get(&pod(0)).is_some(), "reads go on");
    let revision = state.read().revision();
    assert_eq!(revision, kept as u64 + 1, "the revision isn't used up");

    writer.commit(pod(0), Expect::Any, Write::delete(|_| Bytes::new())).await.unwrap();
    writer.commit(pod(1), Expect::Any, Write::delete(|_| Bytes::new())).await.unwrap();
    let entry = writer.commit(pod(kept), Expect::Absent, big()).await.unwrap();
    assert_eq!(entry.revision, revision + 3);
    drop(writer);

    let (again, _writer) = Writer::open(&path, &Options::default()).unwrap();
    assert_eq!(again.read().revision(), revision + 3);
    assert!(again.read().get(&pod(kept)).is_some() && again.read().get(&pod(1)).is_none());
}
