//! Opening files: each thing that can be wrong is said clearly.

use std::path::Path;

use fleet_store::{OpenError, Options, ReadError, Store};

use crate::support::{key, pods, set};

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::sqlite(path, Options::default())
}

fn refusal(path: &Path) -> OpenError {
    open(path).map(|_| ()).expect_err("the file must be refused")
}

/// If this fails, two processes write one file, or a stopped one keeps it locked.
#[tokio::test]
async fn a_file_has_one_owner_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let first = open(&path).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains("in use by another process"), "{error}");
    set(&first, &key("a", "pods", "ns", "x"), "v").await;
    first.close().await;
    let second = open(&path).unwrap();
    assert_eq!(second.revision(), 2);
    assert_eq!(second.get(&key("a", "pods", "ns", "x")), first.get(&key("a", "pods", "ns", "x")));
    drop(second);
    open(&path).unwrap();
}

/// If this fails, clients that watched before a restart silently miss what they don't know of.
#[tokio::test]
async fn after_a_restart_old_revisions_are_expired() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let before = {
        let store = open(&path).unwrap();
        set(&store, &key("a", "pods", "ns", "x"), "v").await;
        set(&store, &key("a", "pods", "ns", "x"), "w").await.revision
    };
    let store = open(&path).unwrap();
    assert_eq!(store.revision(), before);
    assert_eq!(store.watch(pods("a"), before - 1).unwrap_err(), ReadError::Expired { oldest: before });
    let mut watcher = store.watch(pods("a"), before).unwrap();
    let next = set(&store, &key("a", "pods", "ns", "x"), "x").await;
    assert_eq!(next.revision, before + 1);
    assert_eq!(watcher.recv().await.unwrap().revision, before + 1);
}

/// If this fails, a file of another version is read wrongly, or changed by a program that doesn't know it.
#[test]
fn another_version_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 7").unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Schema { found: 7, expected: 1, .. }));
    assert!(error.to_string().contains("schema version 7, this program reads version 1"), "{error}");
}

/// If this fails, somebody else's database gets our tables, or garbage is taken for an empty store.
#[test]
fn what_is_not_a_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(refusal(&foreign), OpenError::Foreign { .. }));

    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, "no database at all, but long enough to be read as a header. ".repeat(40))
        .unwrap();
    assert!(matches!(refusal(&garbage), OpenError::Corrupt { .. }));

    let nowhere = folder.path().join("missing/store.db");
    assert!(matches!(refusal(&nowhere), OpenError::NotWritable { .. }));
    assert!(matches!(refusal(folder.path()), OpenError::NotWritable { .. } | OpenError::Failed { .. }));

    let open_elsewhere = folder.path().join("held.db");
    drop(open(&open_elsewhere).unwrap());
    let shell = rusqlite::Connection::open(&open_elsewhere).unwrap();
    shell.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    assert!(matches!(refusal(&open_elsewhere), OpenError::Locked { .. }));
}

/// If this fails, damage is noticed only when an object is already served wrongly.
#[tokio::test]
async fn damage_is_found_when_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path).unwrap();
    for n in 0..200 {
        set(&store, &key("a", "pods", "ns", &format!("p{n}")), &"v".repeat(200)).await;
    }
    store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(refusal(&path), OpenError::Corrupt { .. }));

    std::fs::write(&path, []).unwrap();
    assert_eq!(open(&path).unwrap().revision(), 1, "an empty file is an empty store");
}
