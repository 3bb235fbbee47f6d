//! Things of which a status is written, each by one write at a time, and few at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::due::Due;

/// What changes within this time goes into one write.
const GATHERED: Duration = Duration::from_millis(50);
/// What is on its way yet changes again soon, so it is gathered longer, the more of it waits: some fifty a second are written.
const EACH_WAITING: Duration = Duration::from_millis(20);
const LATEST: Duration = Duration::from_secs(5);
/// How many are written at the same time: hundreds that are due at once would hold up what is to be delivered.
const AT_ONCE: usize = 16;

/// Of which things something is to be written, and when: what changes within a moment is gathered, writes of one thing keep an
/// interval, and what changes during one is written after it.
pub(super) struct Paced<K> {
    due: Due<K>,
    writing: BTreeSet<K>,
    /// Those among them that have something to write again, and whether more of it follows.
    again: BTreeMap<K, bool>,
    not_before: BTreeMap<K, Instant>,
    interval: Duration,
}

impl<K: Ord + Clone> Paced<K> {
    /// `interval` lies between two writes of one thing.
    pub(super) fn new(interval: Duration) -> Self {
        let (due, not_before) = (Due::default(), BTreeMap::new());
        Self { due, writing: BTreeSet::new(), again: BTreeMap::new(), not_before, interval }
    }

    /// Something about a thing may have changed.
    pub(super) fn touch(&mut self, key: &K) {
        self.touch_and(key, false);
    }

    /// The same of something that is on its way, so that more of it follows.
    pub(super) fn touch_on_its_way(&mut self, key: &K) {
        self.touch_and(key, true);
    }

    /// Whether it makes a difference now that more of a thing follows.
    pub(super) fn gathers_longer(&self, key: &K) -> bool {
        self.writing.contains(key) || self.longer() > GATHERED
    }

    fn longer(&self) -> Duration {
        EACH_WAITING.saturating_mul(u32::try_from(self.due.len()).unwrap_or(u32::MAX)).min(LATEST)
    }

    fn touch_and(&mut self, key: &K, more_follows: bool) {
        if self.writing.contains(key) {
            self.again.insert(key.clone(), more_follows);
            return;
        }
        let longer = if more_follows { self.longer() } else { Duration::ZERO };
        let at = Instant::now() + GATHERED.max(longer);
        self.due.no_later(key, self.not_before.get(key).map_or(at, |earliest| at.max(*earliest)));
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
        self.not_before.insert(key.clone(), Instant::now() + self.interval);
        self.over(key);
    }

    /// A write has failed: it is tried again after a while.
    pub(super) fn failed(&mut self, key: &K, wait: Duration) {
        let again = Instant::now() + wait;
        self.not_before.insert(key.clone(), again);
        self.over(key);
        self.due.set(key, again);
    }

    /// A write is over.
    pub(super) fn over(&mut self, key: &K) {
        self.writing.remove(key);
        if let Some(more_follows) = self.again.remove(key) {
            self.touch_and(key, more_follows);
        }
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.due.remove(key);
        self.again.remove(key);
        self.not_before.remove(key);
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

    /// Broken: hundreds of Deployments that come up each write every step of it, or that one is up is told seconds late.
    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_is_gathered_longer_the_more_of_it_waits() {
        let mut paced = Paced::new(Duration::from_secs(1));
        paced.touch_on_its_way(&0);
        tokio::time::advance(GATHERED).await;
        assert_eq!(paced.take(), [0]);
        (0..100).for_each(|key| paced.touch_on_its_way(&key));
        tokio::time::advance(GATHERED).await;
        assert_eq!(paced.take(), [0, 1, 2]);
        (0..100).for_each(|key| paced.touch_on_its_way(&key));
        paced.touch(&90);
        tokio::time::advance(GATHERED).await;
        assert_eq!(paced.take(), [3, 4, 5, 90]);
        tokio::time::advance(LATEST).await;
        assert!(
            std::iter::from_fn(|| Some(paced.take()).filter(|some| !some.is_empty()))
                .flatten()
                .any(|key| key == 99)
        );
    }

    /// Broken: a server that refuses is asked again as often as something changes.
    #[tokio::test(start_paused = true)]
    async fn what_was_refused_waits_whatever_changes() {
        let (mut paced, began) = (Paced::new(Duration::from_secs(1)), Instant::now());
        paced.touch(&"a");
        paced.begin(&"a");
        paced.failed(&"a", Duration::from_secs(30));
        paced.touch(&"a");
        assert_eq!(paced.next().map(|at| at - began), Some(Duration::from_secs(30)));
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
