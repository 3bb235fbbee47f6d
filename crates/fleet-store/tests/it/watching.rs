//! Watches: nothing lost, nothing twice, the same order for all.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use fleet_store::{Event, EventKind, Expect, Options, Page, Range, Store, WatchEnd};
use futures::StreamExt;
use tokio::task::JoinSet;

use crate::support::{both, drain, key, line, memory, pods, put, remove, set};

/// If this fails, informers build a wrong picture: kinds, previous values and filters are what they work from.
#[tokio::test]
async fn events_say_what_changed() {
    for fixture in both(&Options::default()) {
        let store = &fixture.store;
        let (x, y) = (key("a", "pods", "ns", "x"), key("a", "pods", "other", "y"));
        set(store, &x, "1").await;
        let mut old = store.watch(pods("a"), 1).unwrap();
        let mut named = store.watch(pods("a").namespace("ns").name("x"), 2).unwrap();
        set(store, &y, "2").await;
        set(store, &x, "3").await;
        set(store, &key("b", "pods", "ns", "x"), "elsewhere").await;
        set(store, &key("a", "services", "ns", "x"), "else").await;
        remove(store, &x).await.unwrap();
        let events = drain(&mut old);
        let seen: Vec<_> = events.iter().map(|event| line(event)).collect();
        assert_eq!(
            seen,
            [
                (EventKind::Added, "a:pods/ns/x".to_owned(), 2),
                (EventKind::Added, "a:pods/other/y".to_owned(), 3),
                (EventKind::Modified, "a:pods/ns/x".to_owned(), 4),
                (EventKind::Deleted, "a:pods/ns/x".to_owned(), 7),
            ]
        );
        assert_eq!(events[0].previous, None);
        assert_eq!(events[2].previous.as_deref(), Some(&b"1@2"[..]));
        assert_eq!(
            (&events[3].value[..], events[3].previous.as_deref()),
            (&b"gone@7"[..], Some(&b"3@4"[..]))
        );
        assert_eq!(drain(&mut named).iter().map(|event| event.revision).collect::<Vec<_>>(), [4, 7]);
    }
}

/// If this fails, a bookmark promises more than the watcher has seen (events are lost after a reconnect), or less.
#[tokio::test]
async fn progress_is_what_was_delivered() {
    for fixture in both(&Options::default()) {
        let store = &fixture.store;
        let mut watcher = store.watch(pods("a"), 1).unwrap();
        set(store, &key("b", "pods", "ns", "x"), "v").await;
        assert_eq!(watcher.progress(), 2, "what doesn't concern it counts as seen");
        set(store, &key("a", "pods", "ns", "x"), "v").await;
        set(store, &key("b", "pods", "ns", "x"), "v").await;
        assert_eq!(watcher.progress(), 2);
        assert_eq!(watcher.recv().await.unwrap().revision, 3);
        assert_eq!(watcher.progress(), 4);
        let late = store.watch(pods("a"), 1).unwrap();
        assert_eq!(late.progress(), 2, "the backlog isn't delivered yet");
    }
}

/// If this fails, a slow client either holds memory without bound or silently misses events.
#[tokio::test]
async fn a_lagging_watcher_is_ended_and_never_skips() {
    let fixture = memory(&Options { history_bytes: 3_000, watch_queue: 5 });
    let store = &fixture.store;
    let mut slow = store.watch(pods("a"), 1).unwrap();
    let mut quick = store.watch(pods("a"), 1).unwrap();
    let mut seen = 0;
    for n in 0..200 {
        set(store, &key("a", "pods", "ns", &format!("p{}", n % 3)), "v").await;
        seen += drain(&mut quick).len();
    }
    assert_eq!(seen, 200, "a watcher that keeps up is left alone");
    let mut revisions = Vec::new();
    let end = loop {
        match slow.recv().await {
            Ok(event) => revisions.push(event.revision),
            Err(end) => break end,
        }
    };
    assert_eq!(end, WatchEnd::Lagged);
    assert_eq!(slow.progress(), 0, "an ended watcher makes no promise");
    let whole: Vec<u64> = (2..2 + revisions.len() as u64).collect();
    assert_eq!(revisions, whole, "up to its end it has every event");
    assert!(revisions.len() < 50, "the queue is bounded");
}

/// If this fails, a burst that the history holds anyway sends all clients into listing anew.
#[tokio::test]
async fn a_burst_within_the_history_ends_nobody() {
    let fixture = memory(&Options { watch_queue: 5, ..Options::default() });
    let mut watcher = fixture.store.watch(pods("a"), 1).unwrap();
    for n in 0..2_000 {
        set(&fixture.store, &key("a", "pods", "ns", &format!("p{n}")), "v").await;
    }
    assert_eq!(drain(&mut watcher).len(), 2_000);
}

/// If this fails, watches hang although something happened, or a stream runs on after its end.
#[tokio::test]
async fn a_waiting_watcher_is_woken() {
    for fixture in both(&Options::default()) {
        let store = fixture.store.clone();
        let mut watcher = store.watch(pods("a"), 1).unwrap();
        {
            let mut next = pin!(watcher.recv());
            assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let written = key("a", "pods", "ns", "x");
        let (event, _) = tokio::join!(watcher.recv(), set(&store, &written, "v"));
        assert_eq!(event.unwrap().revision, 2);
        let (end, ()) = tokio::join!(watcher.next(), store.close());
        assert_eq!(end, Some(Err(WatchEnd::Closed)));
        assert_eq!(watcher.next().await, None);
    }
}

/// If this fails, invariant 9 is broken: with many writers, some watcher sees another order, a gap or a repeat.
/// Also the stress test: some thousand commits, watchers that start in the middle of it, from a list.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_watchers_see_the_commit_log() {
    for fixture in both(&Options::default()) {
        let store = fixture.store.clone();
        let mut writers = JoinSet::new();
        for seed in 0..8_u64 {
            writers.spawn(write(store.clone(), seed, 500));
        }
        let ranges = [
            Range::everywhere("pods"),
            Range::everywhere("services"),
            pods("c0"),
            pods("c1").namespace("n1"),
            pods("c2").namespace("n0").name("o3"),
        ];
        let mut follows = JoinSet::new();
        for round in 0..6 {
            for range in &ranges {
                follows.spawn(follow(store.clone(), range.clone()));
            }
            // Later rounds start in the thick of it; writers that are through already commit nothing to wait for.
            let mut pace = store.watch(Range::everywhere("pods"), store.revision()).unwrap();
            let thick = async {
                for _ in 0..(round * 20) {
                    pace.recv().await.unwrap();
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), thick).await;
        }
        let mut log: Vec<(u64, String)> = writers.join_all().await.into_iter().flatten().collect();
        log.sort();
        let revisions: Vec<u64> = log.iter().map(|(revision, _)| *revision).collect();
        assert_eq!(revisions, (2..=store.revision()).collect::<Vec<_>>(), "each revision is given out once");
        // The marker is the last commit of all: followers stop there.
        for resource in ["pods", "services"] {
            for range in ranges.iter().filter(|range| &*range.resource == resource) {
                let cluster = range.cluster.as_deref().unwrap_or("c0");
                let namespace = range.namespace.as_deref().unwrap_or("n0");
                let name = range.name.as_deref().unwrap_or("end");
                let entry = set(&store, &key(cluster, resource, namespace, name), "end").await;
                log.push((entry.revision, entry.key.to_string()));
            }
        }
        for (range, from, events) in follows.join_all().await {
            let last = events.last().map_or(from, |event| event.revision);
            let expected: Vec<_> = log
                .iter()
                .filter(|(revision, name)| *revision > from && *revision <= last && within(&range, name))
                .collect();
            let seen: Vec<_> = events.iter().map(|event| (event.revision, event.key.to_string())).collect();
            assert_eq!(seen.iter().collect::<Vec<_>>(), expected, "{range:?} from {from}");
        }
    }
}

fn within(range: &Range, name: &str) -> bool {
    let parts: Vec<&str> = name.split([':', '/']).collect();
    range.contains(&key(parts[0], parts[1], parts[2], parts[3]))
}

/// Random puts and deletes with all kinds of expectations; what was committed comes back.
async fn write(store: Store, seed: u64, count: usize) -> Vec<(u64, String)> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut done = Vec::new();
    for _ in 0..count {
        let resource = if next(4) == 0 { "services" } else { "pods" };
        let key = key(&format!("c{}", next(3)), resource, &format!("n{}", next(2)), &format!("o{}", next(5)));
        let current = store.get(&key).map(|entry| entry.revision);
        let expect = match next(3) {
            0 => Expect::Any,
            _ => current.map_or(Expect::Absent, Expect::Revision),
        };
        let result =
            if next(4) == 0 { remove(&store, &key).await } else { store.commit(key, expect, put("v")).await };
        if let Ok(entry) = result {
            done.push((entry.revision, entry.key.to_string()));
        }
    }
    done
}

/// Lists, watches from there until the marker, and checks that the pieces fit: a change of what was listed, a delete of
/// what is there.
async fn follow(store: Store, range: Range) -> (Range, u64, Vec<Arc<Event>>) {
    let listing = store.list(&range, Page::default()).unwrap();
    let mut present: BTreeMap<_, _> =
        listing.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    let mut watcher = store.watch(range.clone(), listing.revision).unwrap();
    let mut events = Vec::new();
    loop {
        let event = watcher.recv().await.unwrap();
        assert_eq!(present.get(&event.key), event.previous.as_ref(), "the event follows on what was seen");
        assert_eq!(event.previous.is_none(), event.kind == EventKind::Added);
        if event.kind == EventKind::Deleted {
            present.remove(&event.key);
        } else {
            present.insert(event.key.clone(), event.value.clone());
        }
        let end = event.value.starts_with(b"end@");
        events.push(event);
        if end {
            return (range, listing.revision, events);
        }
    }
}

/// If this fails, a dropped watch goes on costing every commit.
#[tokio::test]
async fn a_dropped_watcher_is_forgotten() {
    let fixture = memory(&Options::default());
    let watcher = fixture.store.watch(pods("a"), 1).unwrap();
    let before = format!("{:?}", fixture.store);
    drop(watcher);
    let after = format!("{:?}", fixture.store);
    assert!(before.contains("Slot") && !after.contains("Slot"));
}
