//! What jobs report, per Application. Between a job and the next turn this is the only link.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_api::{DriftState, DriftStatus, ObjectId, Target};
use fleet_workflow::{Check, CheckFact, Delivery, Prune};
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::context::lock;

/// Repairs of one object within this time count as a fight.
const FIGHT_WINDOW: Duration = Duration::from_secs(60);
/// Fields of one object that are listed.
const LISTED_FIELDS: usize = 20;
/// How long a member that refused a deletion is left alone.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(5);
/// The reason of what wasn't answered.
const UNREACHABLE: &str = "Unreachable";
/// So many repairs in the window are made at once; after that each waits longer.
const PATIENCE: u32 = 3;
/// So many objects that were deleted are remembered: late writes arrive within minutes.
const REMEMBERED: usize = 256;

/// Drift of one object, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) state: DriftState,
    /// The fields that differ; empty where the object was deleted.
    pub(crate) fields: Vec<String>,
    /// Who wrote there, where that is known.
    pub(crate) manager: Option<String>,
    /// Since when.
    pub(crate) since: Timestamp,
    pub(crate) message: String,
}

/// The board of one Application.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<State>>, CancellationToken);

#[derive(Default)]
struct State {
    /// The run that the entries below are about.
    run: String,
    deliveries: BTreeMap<(String, Target), Delivery>,
    prunes: BTreeMap<(String, Target), Prune>,
    /// Measurements by step; one that isn't waited for any more ends with its entry.
    checks: BTreeMap<String, (CheckFact, DropGuard)>,
    /// What we own on each object after our last apply, as a hash: anything else is drift.
    expected: BTreeMap<(String, ObjectId), u64>,
    /// Objects whose drift is being looked at.
    repairing: BTreeSet<(String, ObjectId)>,
    /// How many repairs of each object are being sent.
    sending_repairs: BTreeMap<(String, ObjectId), usize>,
    /// Drift that is there, and isn't repaired yet or ever.
    reported: BTreeMap<(String, ObjectId), Found>,
    /// How often an object was repaired lately, and when it was last.
    repairs: BTreeMap<(String, ObjectId), (u32, Instant)>,
    /// Objects that somebody keeps changing: shown between two repairs too.
    fights: BTreeMap<(String, ObjectId), Found>,
    /// What this run takes away: it isn't repaired any more.
    parting: BTreeSet<(String, ObjectId)>,
    /// What was deleted by this process, the newest last.
    collected: VecDeque<(String, ObjectId)>,
    /// Targets of a deletion: done, or why not.
    cleared: BTreeMap<Target, (Prune, Instant)>,
}

/// Somebody looks at an object's drift.
pub(crate) struct Repairing {
    board: Board,
    key: (String, ObjectId),
}

impl Drop for Repairing {
    fn drop(&mut self) {
        lock(&self.board.0).repairing.remove(&self.key);
    }
}

impl Board {
    /// Starts over for another run; what is known of objects stays.
    pub(crate) fn begin(&self, run: &str) {
        if lock(&self.0).run != run {
            self.begin_anew(run);
        }
    }

    /// The same for a run that is only made now, whatever its name: nothing that is known is about it.
    pub(crate) fn begin_anew(&self, run: &str) {
        let mut state = lock(&self.0);
        state.run = run.to_owned();
        state.deliveries.clear();
        state.prunes.clear();
        state.checks.clear();
        state.parting.clear();
    }

    pub(crate) fn delivery(&self, key: &(String, Target)) -> Delivery {
        lock(&self.0).deliveries.get(key).cloned().unwrap_or_default()
    }

    /// Records a delivery, unless another run has begun meanwhile.
    pub(crate) fn set_delivery(&self, run: &str, key: &(String, Target), delivery: Delivery) {
        let mut state = lock(&self.0);
        if state.run == run {
            state.deliveries.insert(key.clone(), delivery);
        }
    }

    /// A target is begun from the start: what an earlier try came to says nothing about it.
    pub(crate) fn start_over(&self, key: &(String, Target)) {
        let mut state = lock(&self.0);
        state.deliveries.remove(key);
        state.prunes.remove(key);
    }

    pub(crate) fn prune(&self, key: &(String, Target)) -> Option<Prune> {
        lock(&self.0).prunes.get(key).cloned()
    }

    /// What is delivered anew is also cleaned up anew.
    pub(crate) fn forget_prune(&self, key: &(String, Target)) {
        lock(&self.0).prunes.remove(key);
    }

    pub(crate) fn set_prune(&self, run: &str, key: &(String, Target), prune: Prune) {
        let mut state = lock(&self.0);
        if state.run == run {
            state.prunes.insert(key.clone(), prune);
        }
    }

    /// Notes that a measurement is under way; nothing where it was before. What is given fires when nobody waits for it
    /// any more.
    pub(crate) fn begin_check(&self, run: &str, step: &str, number: (u32, u32)) -> Option<CancellationToken> {
        let mut state = lock(&self.0);
        let known = state.checks.get(step).is_some_and(|(fact, _)| fact.number == number);
        if state.run != run || known {
            return None;
        }
        let ended = CancellationToken::new();
        let fact = CheckFact { number, state: Check::Running(None, None) };
        state.checks.insert(step.to_owned(), (fact, ended.clone().drop_guard()));
        Some(ended)
    }

    /// Records how a measurement goes, unless another one has begun meanwhile.
    pub(crate) fn set_check(&self, run: &str, step: &str, fact: CheckFact) {
        let mut state = lock(&self.0);
        if state.run != run {
            return;
        }
        if let Some((known, _)) = state.checks.get_mut(step).filter(|(known, _)| known.number == fact.number)
        {
            *known = fact;
        }
    }

    /// A measurement that was under way was given up.
    pub(crate) fn give_up_check(&self, step: &str, number: (u32, u32)) {
        lock(&self.0).checks.retain(|name, (fact, _)| {
            name != step || fact.number != number || matches!(fact.state, Check::Taken(_))
        });
    }

    /// How measuring goes, by step; the others' ends.
    pub(crate) fn checks(&self, waits: &dyn Fn(&str) -> bool) -> BTreeMap<String, CheckFact> {
        let mut state = lock(&self.0);
        state.checks.retain(|step, _| waits(step));
        state.checks.iter().map(|(step, (fact, _))| (step.clone(), fact.clone())).collect()
    }

    /// A member answers again: what waited for it may be tried anew.
    pub(crate) fn retry_unreachable(&self, reachable: &dyn Fn(&str) -> bool) {
        let mut state = lock(&self.0);
        for (key, delivery) in &mut state.deliveries {
            if matches!(delivery, Delivery::Unreachable(_)) && reachable(&key.1.cluster) {
                *delivery = Delivery::Idle;
            }
        }
        state.cleared.retain(|target, (prune, since)| match prune {
            Prune::Refused(problem) if problem.reason == UNREACHABLE => !reachable(&target.cluster),
            Prune::Refused(_) => since.elapsed() < BETWEEN_REFUSALS,
            _ => true,
        });
    }

    /// The Application is being deleted: nothing is repaired any more.
    pub(crate) fn close(&self) {
        lock(&self.0).checks.clear();
        self.1.cancel();
    }

    /// Resolves once the board is closed.
    pub(crate) async fn closed(&self) {
        self.1.cancelled().await;
    }

    /// Whether this is still the run that the board is about.
    pub(crate) fn is_about(&self, run: &str) -> bool {
        lock(&self.0).run == run
    }

    /// Notes that a repair is being sent; false where none may be any more.
    pub(crate) fn begin_sending_repair(&self, run: &str, cluster: &str, id: &ObjectId) -> bool {
        let mut state = lock(&self.0);
        let key = (cluster.to_owned(), id.clone());
        if self.1.is_cancelled() || state.run != run || state.parting.contains(&key) {
            return false;
        }
        *state.sending_repairs.entry(key).or_default() += 1;
        true
    }

    pub(crate) fn end_sending_repair(&self, cluster: &str, id: &ObjectId) {
        if let Some(count) = lock(&self.0).sending_repairs.get_mut(&(cluster.to_owned(), id.clone())) {
            *count = count.saturating_sub(1);
        }
    }

    /// Whether something is being deleted on a target.
    pub(crate) fn is_pruning(&self, target: &Target) -> bool {
        let state = lock(&self.0);
        state.prunes.iter().any(|((_, at), prune)| at == target && *prune == Prune::Running)
    }

    /// Whether a repair is being sent to a member.
    pub(crate) fn is_repairing(&self, cluster: &str) -> bool {
        let state = lock(&self.0);
        state.sending_repairs.iter().any(|((place, _), count)| place == cluster && *count > 0)
    }

    /// From now on these aren't repaired; false while one of them is being repaired this moment. A repair that arrived
    /// after the delete would make anew what no inventory lists any more.
    pub(crate) fn part<'i>(
        &self,
        run: &str,
        cluster: &str,
        gone: impl Iterator<Item = &'i ObjectId>,
    ) -> bool {
        let mut state = lock(&self.0);
        let mut free = true;
        for id in gone {
            let key = (cluster.to_owned(), id.clone());
            free &= state.sending_repairs.get(&key).is_none_or(|count| *count == 0);
            if state.run == run {
                state.parting.insert(key);
            }
        }
        free
    }

    /// They weren't taken away: they are repaired as before.
    pub(crate) fn stay<'i>(&self, cluster: &str, objects: impl Iterator<Item = &'i ObjectId>) {
        let mut state = lock(&self.0);
        for id in objects {
            state.parting.remove(&(cluster.to_owned(), id.clone()));
        }
    }

    pub(crate) fn expected(&self, cluster: &str, id: &ObjectId) -> Option<u64> {
        lock(&self.0).expected.get(&(cluster.to_owned(), id.clone())).copied()
    }

    pub(crate) fn expect(&self, cluster: &str, id: &ObjectId, managed: Option<u64>) {
        let key = (cluster.to_owned(), id.clone());
        let mut state = lock(&self.0);
        match managed {
            Some(hash) => state.expected.insert(key, hash),
            None => state.expected.remove(&key),
        };
    }

    /// Something for the first who begins to look at an object's drift, who goes on until it is dropped: a hold that ends
    /// drops whoever is at it.
    pub(crate) fn begin_repair(&self, cluster: &str, id: &ObjectId) -> Option<Repairing> {
        let key = (cluster.to_owned(), id.clone());
        let is_first = lock(&self.0).repairing.insert(key.clone());
        is_first.then(|| Repairing { board: self.clone(), key })
    }

    /// How long to wait before repairing an object once more: nothing at first, then doubling to a minute.
    pub(crate) fn repair_wait(&self, cluster: &str, id: &ObjectId) -> Duration {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let entry = state.repairs.entry((cluster.to_owned(), id.clone())).or_insert((0, now));
        if now.duration_since(entry.1) > FIGHT_WINDOW {
            entry.0 = 0;
        }
        *entry = (entry.0.saturating_add(1), now);
        match entry.0.checked_sub(PATIENCE + 1) {
            None => Duration::ZERO,
            Some(beyond) => Duration::from_secs(1 << beyond.min(6)).min(FIGHT_WINDOW),
        }
    }

    /// An object was taken back now: whether the fight is over is counted from here, not from before the wait.
    pub(crate) fn repaired(&self, cluster: &str, id: &ObjectId) {
        let key = (cluster.to_owned(), id.clone());
        let mut state = lock(&self.0);
        if let Some(entry) = state.repairs.get_mut(&key) {
            entry.1 = Instant::now();
        }
        state.reported.remove(&key);
    }

    /// Notes what becomes of an object's drift, or that there is none. What is known since earlier keeps its time.
    /// True where it becomes something else than before, or of other fields.
    pub(crate) fn report_drift(&self, cluster: &str, id: &ObjectId, found: Option<Found>) -> bool {
        let key = (cluster.to_owned(), id.clone());
        let mut state = lock(&self.0);
        let Some(mut found) = found else {
            return state.reported.remove(&key).is_some();
        };
        let known = state.reported.get(&key).or_else(|| state.fights.get(&key));
        found.since = known.map_or(found.since, |known| known.since.min(found.since));
        found.fields.truncate(LISTED_FIELDS);
        let (became, fields) = (found.state, found.fields.clone());
        let before = state.reported.insert(key, found);
        before.is_none_or(|before| before.state != became || before.fields != fields)
    }

    /// Notes that somebody fights for an object; true where this is new.
    pub(crate) fn fight(&self, cluster: &str, id: &ObjectId, found: Found) -> bool {
        let key = (cluster.to_owned(), id.clone());
        let mut state = lock(&self.0);
        let since = state.fights.get(&key).map(|known| known.since);
        let found = Found { since: since.unwrap_or(found.since), ..found };
        state.fights.insert(key, found);
        since.is_none()
    }

    /// Forgets fights that are over; says how long the others last at least.
    pub(crate) fn end_fights(&self) -> Option<Duration> {
        let mut guard = lock(&self.0);
        let state = &mut *guard;
        let (repairs, reported) = (&state.repairs, &state.reported);
        let mut soonest = None;
        state.fights.retain(|key, _| {
            let quiet = repairs.get(key).map_or(FIGHT_WINDOW, |(_, last)| last.elapsed());
            let left = FIGHT_WINDOW.saturating_sub(quiet);
            // While a repair waits, its end is what counts.
            if left.is_zero() && !reported.contains_key(key) {
                return false;
            }
            let left = left.max(Duration::from_secs(1));
            soonest = Some(soonest.map_or(left, |soonest: Duration| soonest.min(left)));
            true
        });
        state.repairs.retain(|_, (_, last)| last.elapsed() <= FIGHT_WINDOW.saturating_mul(2));
        soonest
    }

    /// Every object that differs or is fought for, the most pressing first.
    pub(crate) fn reported(&self) -> Vec<DriftStatus> {
        let state = lock(&self.0);
        let fights = state.fights.iter().filter(|(key, _)| !state.reported.contains_key(*key));
        let mut all: Vec<DriftStatus> = state
            .reported
            .iter()
            .chain(fights)
            .map(|((cluster, id), found)| DriftStatus {
                cluster: cluster.clone(),
                api_version: id.api_version.clone(),
                kind: id.kind.clone(),
                namespace: id.namespace.clone(),
                name: id.name.clone(),
                state: found.state,
                fields: found.fields.clone(),
                manager: found.manager.clone().unwrap_or_default(),
                since: Some(found.since),
                message: found.message.clone(),
            })
            .collect();
        all.sort_by_key(|drift| drift.state);
        all
    }

    /// Objects were deleted on a member.
    pub(crate) fn collected(&self, cluster: &str, gone: impl Iterator<Item = ObjectId>) {
        let mut state = lock(&self.0);
        for id in gone {
            if state.collected.len() >= REMEMBERED {
                state.collected.pop_front();
            }
            state.collected.push_back((cluster.to_owned(), id));
        }
    }

    /// Whether an object of this name was deleted on a member.
    pub(crate) fn was_collected(&self, cluster: &str, id: &ObjectId) -> bool {
        lock(&self.0).collected.iter().any(|(place, gone)| place == cluster && gone == id)
    }

    pub(crate) fn cleared(&self, target: &Target) -> Prune {
        lock(&self.0).cleared.get(target).map_or(Prune::Idle, |(prune, _)| prune.clone())
    }

    pub(crate) fn set_cleared(&self, target: &Target, prune: Prune) {
        lock(&self.0).cleared.insert(target.clone(), (prune, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ObjectId {
        ObjectId::new("v1", "ConfigMap", "demo", "settings")
    }

    fn found(at: &str) -> Found {
        Found {
            state: DriftState::Fought,
            fields: vec!["data.key".into()],
            manager: Some("other".into()),
            since: at.parse().unwrap(),
            message: "keeps changing".into(),
        }
    }

    // Broken: a repair that was begun before a delete arrives after it, and makes anew what no inventory lists.
    #[tokio::test]
    async fn what_is_taken_away_is_not_repaired() {
        let board = Board::default();
        board.begin("web-1");
        assert!(board.begin_sending_repair("web-1", "m1", &id()));
        assert!(!board.part("web-1", "m1", [id()].iter()), "the delete waits for a repair on its way");
        board.end_sending_repair("m1", &id());
        assert!(board.part("web-1", "m1", [id()].iter()));
        assert!(!board.begin_sending_repair("web-1", "m1", &id()), "no repair begins after that");
        assert!(board.begin_sending_repair("web-1", "m2", &id()), "another member is another matter");
        board.stay("m1", [id()].iter());
        assert!(
            board.begin_sending_repair("web-1", "m1", &id()),
            "what wasn't deleted is repaired as before"
        );
        board.begin("web-2");
        assert!(
            !board.begin_sending_repair("web-1", "m1", &id()),
            "another run may want something else there"
        );
    }

    // Broken: a fighter is answered at full speed, or slower and slower without a bound, or for ever.
    #[tokio::test(start_paused = true)]
    async fn repairs_slow_down_to_a_bound_and_a_fight_ends() {
        let board = Board::default();
        let mut waits = Vec::new();
        for _ in 0..14 {
            let wait = board.repair_wait("m1", &id());
            tokio::time::advance(wait).await;
            board.repaired("m1", &id());
            waits.push(wait.as_secs());
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]);
        assert!(board.fight("m1", &id(), found("2026-01-01T00:00:00Z")), "a fight is told once");
        assert!(!board.fight("m1", &id(), found("2026-01-01T00:05:00Z")));
        assert_eq!(board.reported()[0].since, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        let left = board.end_fights().unwrap();
        tokio::time::advance(left).await;
        assert_eq!(board.end_fights(), None);
        assert!(board.reported().is_empty(), "the fight is over, and still shown");
        tokio::time::advance(FIGHT_WINDOW).await;
        assert_eq!(board.repair_wait("m1", &id()), Duration::ZERO);
    }
}
