//! Whether the controller is alive, and whether it is ready: what it says about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::{AppKey, lock};

/// A turn that takes longer than this hangs: every request in it has a deadline far below.
const LONGEST_TURN: Duration = Duration::from_secs(600);

/// What a controller says about itself. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    begun: bool,
    /// Kinds whose first list hasn't arrived.
    unlisted: BTreeSet<String>,
    /// Tasks that ended though nobody ended them.
    dead: BTreeSet<String>,
    /// Turns under way, with their begin.
    turns: BTreeMap<AppKey, Instant>,
}

impl Health {
    /// What is the matter with a process that should be started anew; nothing where it is alive.
    pub fn ailments(&self) -> Vec<String> {
        let state = lock(&self.0);
        let dead = state.dead.iter().map(|part| format!("{part} has ended by itself"));
        let hanging = state.turns.iter().filter(|(_, began)| began.elapsed() > LONGEST_TURN);
        let hanging = hanging.map(|((namespace, name), began)| {
            format!(
                "the look at Application {namespace}/{name} takes {} s already",
                began.elapsed().as_secs()
            )
        });
        dead.chain(hanging).collect()
    }

    /// What is waited for before work can be done; nothing where it is ready.
    pub fn waits_for(&self) -> Vec<String> {
        let state = lock(&self.0);
        if !state.begun {
            return vec!["the controller to begin".to_owned()];
        }
        state.unlisted.iter().map(|kind| format!("the first list of {kind}")).collect()
    }

    /// The kinds whose first list hasn't arrived.
    pub(crate) fn unlisted(&self) -> Vec<String> {
        lock(&self.0).unlisted.iter().cloned().collect()
    }

    /// These kinds are listed now.
    pub(crate) fn begin<'a>(&self, kinds: impl IntoIterator<Item = &'a str>) {
        let mut state = lock(&self.0);
        state.begun = true;
        state.unlisted.extend(kinds.into_iter().map(str::to_owned));
    }

    /// The first list of a kind has arrived.
    pub(crate) fn listed(&self, kind: &str) {
        lock(&self.0).unlisted.remove(kind);
    }

    /// A part that lives until `stop`: dropped before, it has died.
    pub(crate) fn part(&self, name: String, stop: CancellationToken) -> Part {
        Part { health: self.clone(), name, stop }
    }

    /// A turn that lasts until what is answered is dropped.
    pub(crate) fn turn(&self, key: &AppKey) -> Turn {
        lock(&self.0).turns.insert(key.clone(), Instant::now());
        Turn { health: self.clone(), key: key.clone() }
    }
}

/// Held by a task for its whole life.
pub(crate) struct Part {
    health: Health,
    name: String,
    stop: CancellationToken,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            tracing::error!(part = self.name, "a part of the controller has ended by itself");
            lock(&self.health.0).dead.insert(std::mem::take(&mut self.name));
        }
    }
}

/// Held for the time of a turn.
pub(crate) struct Turn {
    health: Health,
    key: AppKey,
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.health.0).turns.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch whose task panicked would otherwise be missed in silence: nothing restarts the pod.
    #[test]
    fn a_part_that_dies_is_named_and_one_that_is_stopped_is_not() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        let (dies, ends) = (
            health.part("the watch of Policies".to_owned(), stop.clone()),
            health.part("b".to_owned(), stop.clone()),
        );
        assert_eq!(health.ailments(), Vec::<String>::new());
        drop(dies);
        assert_eq!(health.ailments(), ["the watch of Policies has ended by itself"]);
        stop.cancel();
        drop(ends);
        assert_eq!(health.ailments().len(), 1);
    }

    /// Traffic and leader work must wait for every list, and the person who looks must see for which.
    #[test]
    fn it_is_ready_once_everything_is_listed() {
        let health = Health::default();
        assert_eq!(health.waits_for(), ["the controller to begin"]);
        health.begin(["Policies", "Workflows"]);
        health.listed("Workflows");
        assert_eq!(health.waits_for(), ["the first list of Policies"]);
        health.listed("Policies");
        assert!(health.waits_for().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_hangs_is_named() {
        let health = Health::default();
        let turn = health.turn(&("demo".to_owned(), "web".to_owned()));
        tokio::time::advance(LONGEST_TURN + Duration::from_secs(1)).await;
        assert_eq!(health.ailments(), ["the look at Application demo/web takes 601 s already"]);
        drop(turn);
        assert!(health.ailments().is_empty());
    }
}
