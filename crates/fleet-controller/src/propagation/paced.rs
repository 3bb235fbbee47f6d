//! Things of which a status is written, each by one write at a time, and few at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::due::Due;

/// What changes within this time goes into one write.
const GATHERED: Duration = Duration::from_millis(50);
/// How many are written at the same time: hundreds that are due at once would hold up what is to be delivered.
const AT_ONCE: usize = 16;

/// Of which things something is to be written, and when: what changes within a moment is gathered, writes of one thing keep an
/// interval, and what changes during one is written after it.
pub(super) struct Paced<K> {
    due: Due<K>,
    writing: BTreeSet<K>,
    /// Those among them that have something to write again.
    again: BTreeSet<K>,
    written: BTreeMap<K, Instant>,
    interval: Duration,
}

impl<K: Ord + Clone> Paced<K> {
    /// `interval` lies between two writes of one thing.
    pub(super) fn new(interval: Duration) -> Self {
        let (due, written) = (Due::default(), BTreeMap::new());
        Self { due, writing: BTreeSet::new(), again: BTreeSet::new(), written, interval }
    }

    /// Something about a thing may have changed.
    pub(super) fn touch(&mut self, key: &K) {
        if self.writing.contains(key) {
            self.again.insert(key.clone());
            return;
        }
        let soon = Instant::now() + GATHERED;
        let at = self.written.get(key).map_or(soon, |written| soon.max(*written + self.interval));
        self.due.if_none(key, at);
    }

    /// What is due is written soon, whatever the interval says.
    pub(super) fn hasten(&mut self, key: &K) {
        if self.due.at(key).is_some() {
            self.due.no_later(key, Instant::now() + GATHERED);
        }
    }

    /// When something is to be written next; nothing where a write has to end first.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.next().filter(|_| self.writing.len() < AT_ONCE)
    }

    /// Takes things that are due, as many as may be written now.
    pub(super) fn take(&mut self) -> Vec<K> {
        let (now, most) = (Instant::now(), AT_ONCE.saturating_sub(self.writing.len()));
        std::iter::from_fn(|| self.due.pop(now)).take(most).collect()
    }

    /// A write begins.
    pub(super) fn begin(&mut self, key: &K) {
        self.writing.insert(key.clone());
    }

    pub(super) fn is_writing(&self, key: &K) -> bool {
        self.writing.contains(key)
    }

    /// A write was taken.
    pub(super) fn taken(&mut self, key: &K) {
        self.written.insert(key.clone(), Instant::now());
        self.over(key);
    }

    /// A write has failed: it is tried again after a while.
    pub(super) fn failed(&mut self, key: &K, wait: Duration) {
        self.over(key);
        self.due.set(key, Instant::now() + wait);
    }

    /// A write is over.
    pub(super) fn over(&mut self, key: &K) {
        self.writing.remove(key);
        if self.again.remove(key) {
            self.touch(key);
        }
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.due.remove(key);
        self.again.remove(key);
        self.written.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broken: a change during a write is never told, each change is a write of its own, or a refusal is answered at once.
    #[tokio::test(start_paused = true)]
    async fn writes_keep_their_distance() {
        let interval = Duration::from_secs(1);
        let (mut paced, began) = (Paced::new(interval), Instant::now());
        let after = |paced: &Paced<&str>| paced.next().map(|at| at - began);
        paced.touch(&"a");
        paced.touch(&"a");
        assert_eq!(after(&paced), Some(GATHERED));
        tokio::time::advance(GATHERED).await;
        assert_eq!((paced.take(), after(&paced)), (vec!["a"], None));
        paced.begin(&"a");
        paced.touch(&"a");
        assert_eq!(after(&paced), None);
        paced.taken(&"a");
        assert_eq!(after(&paced), Some(GATHERED + interval));
        paced.hasten(&"a");
        assert_eq!(after(&paced), Some(GATHERED * 2));
        paced.begin(&"a");
        paced.failed(&"a", interval * 9);
        assert_eq!(after(&paced), Some(GATHERED + interval * 9));
        paced.forget(&"a");
        paced.hasten(&"a");
        assert_eq!(after(&paced), None);
    }

    /// Broken: the statuses of hundreds of objects go out in one burst, and a change that comes meanwhile waits for all of them.
    #[tokio::test(start_paused = true)]
    async fn few_are_written_at_once() {
        let mut paced = Paced::new(Duration::from_secs(1));
        (0..AT_ONCE + 3).for_each(|key| paced.touch(&key));
        tokio::time::advance(GATHERED).await;
        let first = paced.take();
        first.iter().for_each(|key| paced.begin(key));
        assert_eq!((first.len(), paced.next(), paced.take()), (AT_ONCE, None, vec![]));
        paced.over(&0);
        assert!(paced.next().is_some());
        assert_eq!(paced.take(), [AT_ONCE]);
    }
}
