//! What a commit demands, what lists give, what closing means.

use fleet_store::{CommitError, Expect, Options, Page, Range, ReadError, Store, WatchEnd};
use tokio::task::JoinSet;

use crate::support::{both, delete, drain, key, names, page, pods, put, remove, set};

/// If this fails, concurrent changes overwrite each other unseen, or are refused without reason.
#[tokio::test]
async fn a_commit_holds_what_it_expects() {
    for fixture in both(&Options::default()) {
        let store = &fixture.store;
        let key = key("a", "pods", "ns", "x");
        let missing = store.commit(key.clone(), Expect::Revision(1), put("v")).await;
        assert!(matches!(missing, Err(CommitError::NotFound)));
        assert!(matches!(remove(store, &key).await, Err(CommitError::NotFound)));
        assert_eq!(store.revision(), 1, "a refused commit takes no revision");

        let first = store.commit(key.clone(), Expect::Absent, put("v")).await.unwrap();
        assert_eq!((first.revision, first.created, &first.value[..]), (2, 2, &b"v@2"[..]));
        assert_eq!(store.get(&key), Some(first.clone()));
        let again = store.commit(key.clone(), Expect::Absent, put("v")).await;
        assert!(matches!(again, Err(CommitError::Exists)));
        let second = store.commit(key.clone(), Expect::Revision(first.revision), put("w")).await.unwrap();
        assert_eq!((second.revision, second.created), (3, 2));
        match store.commit(key.clone(), Expect::Revision(first.revision), put("late")).await {
            Err(CommitError::Conflict { current }) => assert_eq!(current, Some(second.clone())),
            other => panic!("a stale write must conflict: {other:?}"),
        }
        let stale = store.commit(key.clone(), Expect::Revision(first.revision), delete("late")).await;
        assert!(matches!(stale, Err(CommitError::Conflict { .. })));
        let last = store.commit(key.clone(), Expect::Revision(3), delete("bye")).await.unwrap();
        assert_eq!((last.revision, &last.value[..]), (4, &b"bye@4"[..]));
        assert_eq!(store.get(&key), None);
        let anew = store.commit(key.clone(), Expect::Any, put("v")).await.unwrap();
        assert_eq!((anew.revision, anew.created), (5, 5), "a new object has a new birth");
    }
}

/// If this fails, of several writers that read the same revision more than one wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_wins() {
    for fixture in both(&Options::default()) {
        let store = &fixture.store;
        let key = key("a", "pods", "ns", "x");
        let revision = set(store, &key, "base").await.revision;
        let mut rivals = JoinSet::new();
        for n in 0..50 {
            let (store, key) = (store.clone(), key.clone());
            rivals.spawn(
                async move { store.commit(key, Expect::Revision(revision), put(format!("{n}"))).await },
            );
        }
        let results = rivals.join_all().await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        let lost =
            results.iter().filter(|result| matches!(result, Err(CommitError::Conflict { .. }))).count();
        assert_eq!((won, lost), (1, 49));
        assert_eq!(store.revision(), revision + 1);
    }
}

/// If this fails, `kubectl get` with chunks skips or repeats objects, or `remainingItemCount` lies.
#[tokio::test]
async fn pages_of_one_revision_make_the_whole_list() {
    for fixture in both(&Options::default()) {
        let store = &fixture.store;
        for cluster in ["b", "a"] {
            for n in 0..7 {
                set(
                    store,
                    &key(cluster, "pods", if n % 2 == 0 { "ns1" } else { "ns2" }, &format!("p{n}")),
                    "v",
                )
                .await;
            }
        }
        set(store, &key("a", "services", "ns1", "other"), "v").await;
        for range in [pods("a"), pods("a").namespace("ns2"), Range::everywhere("pods"), pods("a").name("p3")]
        {
            let whole = store.list(&range, Page::default()).unwrap();
            assert!(!whole.more && whole.remaining == 0);
            let mut pages = Vec::new();
            loop {
                let next = store.list(&range, page(3, pages.last(), Some(whole.revision))).unwrap();
                assert_eq!(next.revision, whole.revision);
                pages.extend(next.entries);
                assert_eq!(next.remaining, whole.entries.len() - pages.len());
                assert_eq!(next.more, next.remaining > 0);
                // Between the pages the world goes on; the list must not.
                set(store, &key("a", "pods", "ns2", "p3"), "changed").await;
                set(store, &key("a", "pods", "ns2", &format!("new{}", pages.len())), "new").await;
                let _ = remove(store, &key("b", "pods", "ns1", &format!("p{}", pages.len()))).await;
                if !next.more {
                    break;
                }
            }
            assert_eq!(pages, whole.entries, "{range:?}");
        }
    }
}

/// If this fails, a client is shown a list that never was, or waits for a revision that will never come.
#[tokio::test]
async fn revisions_outside_the_window_are_refused() {
    for fixture in both(&Options { history_bytes: 2_000, ..Options::default() }) {
        let store = &fixture.store;
        for n in 0..50 {
            set(store, &key("a", "pods", "ns", &format!("p{n}")), "v").await;
        }
        let at = |at| store.list(&pods("a"), Page { at: Some(at), ..Page::default() });
        let Err(ReadError::Expired { oldest }) = at(1) else { panic!("revision 1 must be gone") };
        assert!(oldest > 40 && oldest < store.revision());
        assert_eq!(at(oldest).unwrap().entries.len() as u64, oldest - 1);
        assert_eq!(at(oldest - 1), Err(ReadError::Expired { oldest }));
        assert_eq!(store.watch(pods("a"), oldest - 1).unwrap_err(), ReadError::Expired { oldest });
        assert_eq!(
            drain(&mut store.watch(pods("a"), oldest).unwrap()).len() as u64,
            store.revision() - oldest
        );
        assert_eq!(at(100), Err(ReadError::Future { current: 51 }));
        assert_eq!(store.watch(pods("a"), 52).unwrap_err(), ReadError::Future { current: 51 });
    }
}

/// If this fails, a removed member leaves objects behind or takes another's along.
#[tokio::test]
async fn removing_a_cluster_removes_its_objects_only() {
    for fixture in both(&Options::default()) {
        let store = &fixture.store;
        for cluster in ["a", "b"] {
            for resource in ["pods", "services"] {
                set(store, &key(cluster, resource, "ns", "x"), "v").await;
            }
        }
        let mut watcher = store.watch(Range::everywhere("pods"), store.revision()).unwrap();
        let removed = store
            .remove_cluster("a", |entry, revision| format!("{}@{revision}", entry.revision).into())
            .await;
        assert_eq!(removed.unwrap(), 2);
        let left = store.list(&Range::everywhere("pods"), Page::default()).unwrap();
        assert_eq!(names(&left.entries), ["b:pods/ns/x"]);
        let events = drain(&mut watcher);
        assert_eq!(events.len(), 1);
        assert_eq!(
            events[0].value,
            format!("2@{}", events[0].revision),
            "the last state bears the new revision"
        );
    }
}

/// If this fails, a stopping server hangs, or takes commits that it won't keep.
#[tokio::test]
async fn a_closed_store_reads_but_does_not_write() {
    for fixture in both(&Options::default()) {
        let store = &fixture.store;
        let key = key("a", "pods", "ns", "x");
        set(store, &key, "v").await;
        let mut watcher = store.watch(pods("a"), 1).unwrap();
        store.close().await;
        store.close().await;
        assert!(matches!(store.commit(key.clone(), Expect::Any, put("w")).await, Err(CommitError::Closed)));
        assert_eq!(&store.get(&key).unwrap().value[..], b"v@2");
        assert!(watcher.recv().await.is_ok(), "what was queued is still delivered");
        assert_eq!(watcher.recv().await.unwrap_err(), WatchEnd::Closed);
        assert_eq!(store.watch(pods("a"), 2).unwrap().recv().await.unwrap_err(), WatchEnd::Closed);
    }
}

/// If this fails, one object that can't be encoded stops the store for everybody.
#[tokio::test]
async fn a_panic_while_encoding_fails_that_commit_only() {
    async fn bad(store: &Store) -> CommitError {
        let write = fleet_store::Write::put(|_| panic!("on purpose"));
        store.commit(key("a", "pods", "ns", "bad"), Expect::Any, write).await.unwrap_err()
    }
    for fixture in both(&Options::default()) {
        assert!(matches!(bad(&fixture.store).await, CommitError::Storage(_)));
        assert_eq!(set(&fixture.store, &key("a", "pods", "ns", "good"), "v").await.revision, 2);
    }
}

/// If this fails, what is tried on a copy of a store shows in the store, or the copy lacks something.
#[tokio::test]
async fn a_fork_begins_with_the_same_and_goes_its_own_way() {
    let fixture = crate::support::memory(&Options::default());
    let (one, two) = (key("a", "pods", "ns", "x"), key("a", "pods", "ns", "y"));
    let first = fixture.store.commit(one.clone(), Expect::Absent, put("v")).await.unwrap();
    let fork = fixture.store.fork(Options::default());
    assert_eq!((fork.get(&one), fork.revision()), (Some(first.clone()), fixture.store.revision()));
    fork.commit(one.clone(), Expect::Revision(first.revision), put("w")).await.unwrap();
    fixture.store.commit(two.clone(), Expect::Absent, put("v")).await.unwrap();
    assert_eq!((fixture.store.get(&one), fork.get(&two)), (Some(first), None));
    assert!(matches!(fork.watch(pods("a"), 1), Err(ReadError::Expired { .. })), "the past isn't known");
}
