//! What may be wrong with a cluster and the way to it, for those who ask through a [`Faulty`] service.
//!
//! Everything is drawn from a seed and from what is asked, never from the order in which requests happen to come, so
//! the same run has the same faults.

mod body;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use body::FaultyBody;
pub use service::Faulty;

use crate::names::draw;

/// What is wrong with a whole cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It doesn't answer: requests hang and watches are silent, until it is back. They break then.
    Down,
    /// Every answer, and every event of a watch, takes so much longer.
    Slow(Duration),
    /// Every request is answered with 503.
    Refuse,
    /// Every write is answered with 507: there is no room.
    Full,
    /// Every write that brings something is refused with 403, as admission does.
    Reject,
}

/// What goes wrong with single requests and events, each by chance, per thousand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// What all chances are drawn from.
    pub seed: u64,
    /// Requests that never arrive: the connection breaks before.
    pub lost: u64,
    /// Requests that are carried out and whose answer never arrives.
    pub unanswered: u64,
    /// Requests and events that come later, by up to [`Weather::longest`].
    pub late: u64,
    /// The longest that something comes later.
    pub longest: Duration,
    /// Events that come twice.
    pub twice: u64,
    /// Events in place of which the watch breaks.
    pub broken: u64,
}

/// What becomes of one request or event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Chance {
    pub(crate) lost: bool,
    pub(crate) unanswered: bool,
    pub(crate) twice: bool,
    pub(crate) broken: bool,
    pub(crate) late: Duration,
}

impl Weather {
    pub(crate) fn chance(&self, what: &str, number: u64) -> Chance {
        if *self == Self::default() {
            return Chance::default();
        }
        let drawn = draw(&[&self.seed.to_string(), what, &number.to_string()]);
        // Ten bits for each question.
        let happens = |question: u32, share: u64| (drawn >> (question * 10)) % 1000 < share;
        let late = if happens(2, self.late) {
            self.longest.mul_f64(f64::from(u8::try_from(drawn >> 56).unwrap_or_default()) / 255.0)
        } else {
            Duration::ZERO
        };
        Chance {
            lost: happens(0, self.lost),
            unanswered: happens(1, self.unanswered),
            late,
            twice: happens(3, self.twice),
            broken: happens(4, self.broken),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) fault: Fault,
    pub(crate) weather: Weather,
    /// Grows when all watches break.
    pub(crate) breaks: u64,
}

/// The faults of one cluster. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    state: watch::Sender<State>,
    /// How often each thing was asked: chances of the same question differ.
    asked: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Faults {
    /// A cluster with nothing wrong.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this is wrong with it.
    pub fn set(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = fault);
    }

    /// What is wrong with it.
    pub fn get(&self) -> Fault {
        self.state.borrow().fault
    }

    /// From now on this goes wrong by chance.
    pub fn set_weather(&self, weather: Weather) {
        self.state.send_modify(|state| state.weather = weather);
    }

    /// Every watch breaks, now.
    pub fn break_watches(&self) {
        self.state.send_modify(|state| state.breaks += 1);
    }

    /// The way to the cluster behind a service, with its faults.
    pub fn before<S>(&self, service: S) -> Faulty<S> {
        Faulty::new(service, self.clone())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The number of this question among the same ones.
    fn number(&self, question: &str) -> u64 {
        let mut asked = lock(&self.asked);
        let number = asked.entry(question.to_owned()).or_default();
        *number += 1;
        *number
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Members whose workloads don't become ready: new pods stay as they are until it is over. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Unwell(watch::Sender<BTreeSet<String>>);

impl Unwell {
    /// From now on workloads of a member become ready, or don't.
    pub fn set(&self, member: &str, unwell: bool) {
        self.0.send_if_modified(|members| {
            if unwell { members.insert(member.to_owned()) } else { members.remove(member) }
        });
    }

    pub(crate) fn is(&self, member: &str) -> bool {
        self.0.borrow().contains(member)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeSet<String>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests;
