//! Which objects are to be looked at, and when: each once, never twice at the same time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Kind, ObjectRef};

/// An object of a member.
pub(super) type Key = (Arc<str>, ObjectRef);

/// How long to wait after a failure, at first and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));
/// How long to gather what happens to a Service's pods before its endpoints are written.
const GATHER: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: VecDeque<Key>,
    queued: HashSet<Key>,
    /// With requests under way; `true` if something has happened since.
    busy: HashMap<Key, bool>,
    alarms: BTreeSet<(Instant, Key)>,
    alarm_of: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
}

impl Queue {
    /// Queues an object, unless it is queued already; one that is busy is looked at again afterwards.
    pub(super) fn push(&mut self, key: Key) {
        if let Some(again) = self.busy.get_mut(&key) {
            *again = true;
        } else if !self.failures.contains_key(&key) && self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    pub(super) fn push_all(&mut self, member: &Arc<str>, targets: Vec<ObjectRef>) {
        for target in targets {
            let key = (Arc::clone(member), target);
            if key.1.kind == Kind::Service && !self.failures.contains_key(&key) {
                let due = Instant::now() + GATHER;
                if self.alarm_of.get(&key).is_none_or(|alarm| *alarm > due) {
                    self.wake(&key, Some(due));
                }
            } else {
                self.push(key);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        Some(key)
    }

    /// Sets the one alarm of an object, in place of the one it had.
    pub(super) fn wake(&mut self, key: &Key, due: Option<Instant>) {
        if let Some(old) = self.alarm_of.remove(key) {
            self.alarms.remove(&(old, key.clone()));
        }
        if let Some(due) = due {
            self.alarms.insert((due, key.clone()));
            self.alarm_of.insert(key.clone(), due);
        }
    }

    /// When the next alarm rings.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.alarms.first().map(|(due, _)| *due)
    }

    /// Queues everything whose alarm has rung.
    pub(super) fn ring(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some((_, key)) = self.alarms.pop_first() else { return };
            self.alarm_of.remove(&key);
            if let Some(again) = self.busy.get_mut(&key) {
                *again = true;
            } else if self.queued.insert(key.clone()) {
                // Also what has failed: its alarm is the end of its waiting.
                self.ready.push_back(key);
            }
        }
    }

    /// The object has requests under way.
    pub(super) fn hold(&mut self, key: Key) {
        self.busy.insert(key, false);
    }

    /// Nothing is to be done for the object: past failures are over.
    pub(super) fn settle(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// The requests are done. A failure puts the object off, each time longer, whatever happens to it meanwhile.
    pub(super) fn release(&mut self, key: &Key, failed: bool, now: Instant) {
        let again = self.busy.remove(key).unwrap_or_default();
        if failed {
            let count = self.failures.entry(key.clone()).or_default();
            let wait = PATIENCE.0.saturating_mul(1 << (*count).min(16)).min(PATIENCE.1);
            *count += 1;
            self.wake(key, Some(now + wait));
            return;
        }
        self.failures.remove(key);
        if again {
            self.push(key.clone());
        }
    }
}

#[cfg(test)]
mod tests;
