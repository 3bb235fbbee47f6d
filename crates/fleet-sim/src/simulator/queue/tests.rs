//! The queue's promises.

use super::{GATHER, Key, PATIENCE, Queue};
use crate::{Kind, ObjectRef};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn key(kind: Kind, name: &str) -> Key {
    (Arc::from("m"), ObjectRef::new(kind, "ns", name))
}

/// If this fails, an object is decided twice at once, and its pods are made twice.
#[tokio::test]
async fn an_object_is_never_in_work_twice() {
    let mut queue = Queue::default();
    let a = key(Kind::Deployment, "a");
    queue.push(a.clone());
    queue.push(a.clone());
    assert_eq!(queue.pop(), Some(a.clone()));
    assert_eq!(queue.pop(), None);
    queue.hold(a.clone());
    queue.push(a.clone());
    assert_eq!(queue.pop(), None, "busy");
    queue.release(&a, false, Instant::now());
    assert_eq!(queue.pop(), Some(a.clone()), "what happened meanwhile isn't forgotten");
    queue.hold(a.clone());
    queue.release(&a, false, Instant::now());
    assert_eq!(queue.pop(), None);
}

/// If this fails, a member that refuses is asked without end.
#[tokio::test]
async fn failures_wait_longer_each_time() {
    let mut queue = Queue::default();
    let a = key(Kind::Deployment, "a");
    let mut now = Instant::now();
    let mut last = Duration::ZERO;
    for _ in 0..20 {
        queue.hold(a.clone());
        queue.release(&a, true, now);
        queue.push(a.clone());
        assert_eq!(queue.pop(), None, "events don't shorten the wait");
        let due = queue.next_due().unwrap();
        assert!(due - now >= last && due - now <= PATIENCE.1);
        last = due - now;
        now = due;
        queue.ring(now);
        assert_eq!(queue.pop(), Some(a.clone()));
    }
    assert_eq!(last, PATIENCE.1);
    queue.hold(a.clone());
    queue.release(&a, false, now);
    queue.push(a.clone());
    assert_eq!(queue.pop(), Some(a), "after a success nothing waits");
}

/// If this fails, each pod that becomes ready costs two writes of endpoints.
#[tokio::test]
async fn services_gather_what_happens() {
    let mut queue = Queue::default();
    let service = key(Kind::Service, "s");
    for _ in 0..10 {
        queue.push_all(&service.0, vec![service.1.clone()]);
    }
    assert_eq!(queue.pop(), None);
    queue.ring(Instant::now() + GATHER * 2);
    assert_eq!(queue.pop(), Some(service));
    assert_eq!(queue.pop(), None);
    assert_eq!(queue.next_due(), None);
}
