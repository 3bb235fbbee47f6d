//! What is to be done, and when: each thing once.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

/// Things by the time at which they are due. A thing has one time; nothing here walks through all of them.
pub(super) struct Due<K> {
    when: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Due<K> {
    fn default() -> Self {
        Self { when: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Due<K> {
    /// When a thing is due.
    pub(super) fn at(&self, key: &K) -> Option<Instant> {
        self.when.get(key).copied()
    }

    /// It is due at that time, whenever it was before.
    pub(super) fn set(&mut self, key: &K, at: Instant) {
        if let Some(before) = self.when.insert(key.clone(), at) {
            if before == at {
                return;
            }
            self.order.remove(&(before, key.clone()));
        }
        self.order.insert((at, key.clone()));
    }

    /// It is due at that time, unless it is earlier.
    pub(super) fn no_later(&mut self, key: &K, at: Instant) {
        if self.at(key).is_none_or(|known| at < known) {
            self.set(key, at);
        }
    }

    /// How many are due at some time.
    pub(super) fn len(&self) -> usize {
        self.when.len()
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(at) = self.when.remove(key) {
            self.order.remove(&(at, key.clone()));
        }
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes all that are due by now, in order.
    pub(super) fn take(&mut self, now: Instant) -> Vec<K> {
        std::iter::from_fn(|| self.pop(now)).collect()
    }

    /// Takes the next that is due by now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.when.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Broken: an object that is settled again and again leaves a timer each time, and what waits longest walks through
    /// all of them.
    #[tokio::test(start_paused = true)]
    async fn each_thing_is_due_once() {
        let (mut due, now) = (Due::default(), Instant::now());
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        for seconds in [5, 3, 4, 3] {
            due.no_later(&"a", at(seconds));
        }
        due.set(&"b", at(2));
        due.set(&"b", at(6));
        due.set(&"c", at(7));
        due.remove(&"c");
        assert_eq!((due.next(), due.at(&"b"), due.len()), (Some(at(3)), Some(at(6)), 2));
        assert_eq!(due.pop(at(2)), None);
        assert_eq!((due.pop(at(9)), due.pop(at(9)), due.pop(at(9))), (Some("a"), Some("b"), None));
        assert_eq!((due.next(), due.at(&"a")), (None, None));
    }
}
