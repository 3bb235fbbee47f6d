//! Runs that take turns: the line alone, and several runs of the state machine that share one.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::{RunPhase, StepPhase, TargetPhase};
use fleet_workflow::line::{ANYWHERE, Blocker, MOST_CLUSTERS};
use fleet_workflow::{Claimant, Command, Delivery, Graph, Limits, Line, Permits, Prune};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use crate::world::{World, problem, step};

const EACH: Limits = Limits { runs: None, one_per_cluster: true };

fn who(n: usize) -> Claimant {
    Claimant {
        namespace: "demo".to_owned(),
        application: format!("app-{n}"),
        run: format!("app-{n}-1"),
        uid: format!("uid-{n}"),
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn ask(line: &mut Line, n: usize, clusters: &[&str], limits: Limits) {
    line.ask(&who(n), &set(clusters), Timestamp::UNIX_EPOCH);
    line.settle(limits);
}

fn holds(line: &Line, n: usize) -> Vec<&str> {
    let claim = line.claim(&format!("uid-{n}"));
    claim.iter().flat_map(|claim| &claim.holds).map(String::as_str).collect()
}

// Broken: whoever comes last goes first, or a run that waits for one cluster keeps all others.
#[test]
fn the_first_in_line_goes_first_and_keeps_only_what_it_can_use() {
    let mut line = Line::default();
    ask(&mut line, 1, &["a", "b"], EACH);
    ask(&mut line, 2, &["b", "c"], EACH);
    ask(&mut line, 3, &["b", "d"], EACH);
    assert_eq!((holds(&line, 1), holds(&line, 2), holds(&line, 3)), (vec!["a", "b"], vec!["c"], vec!["d"]));
    assert_eq!(line.blocker("uid-3", "b", EACH), Some(Blocker::Holder(who(1))));
    ask(&mut line, 1, &["a"], EACH);
    assert_eq!((holds(&line, 2), holds(&line, 3)), (vec!["b", "c"], vec!["d"]));
    ask(&mut line, 2, &[], EACH);
    assert_eq!(holds(&line, 3), ["b", "d"]);
}

// Broken: of two limits one is forgotten, or a run that can't use its place keeps it from one that could.
#[test]
fn a_place_is_taken_by_who_can_use_it() {
    let one = Limits { runs: Some(1), one_per_cluster: true };
    let mut line = Line::default();
    ask(&mut line, 1, &["a"], one);
    ask(&mut line, 2, &["a"], one);
    ask(&mut line, 3, &["b"], one);
    assert_eq!((holds(&line, 2).len(), holds(&line, 3).len()), (0, 0));
    assert_eq!(line.blocker("uid-3", "b", one), Some(Blocker::Limit(1, who(1))));
    assert_eq!(line.blocker("uid-2", "a", one), Some(Blocker::Holder(who(1))));
    line.forget("uid-1");
    line.settle(one);
    assert_eq!((holds(&line, 2), holds(&line, 3).len()), (vec!["a"], 0));
}

// Broken: the record of an Application that was made anew, or has another run by now, blocks a cluster for good.
#[test]
fn an_application_stands_in_line_once() {
    let mut line = Line::default();
    ask(&mut line, 1, &["a"], EACH);
    let again = Claimant { uid: "uid-9".to_owned(), ..who(1) };
    line.ask(&again, &set(&["a"]), Timestamp::UNIX_EPOCH);
    line.settle(EACH);
    assert_eq!((line.claims.len(), holds(&line, 9)), (1, vec!["a"]));
}

// Broken: a run over a thousand clusters writes a record that the server refuses, or gives up what it holds.
#[test]
fn a_large_run_asks_for_some_at_a_time() {
    let all: BTreeSet<String> = (0..1000).map(|n| format!("m{n:04}")).collect();
    let held = set(&["m0999"]);
    let asks = EACH.asks(&all, Some(&held));
    assert!(asks.len() == MOST_CLUSTERS && asks.contains("m0999") && asks.contains("m0000"));
    assert_eq!(Limits { runs: Some(3), one_per_cluster: false }.asks(&all, None), set(&[ANYWHERE]));
    assert!(EACH.asks(&BTreeSet::new(), Some(&held)).is_empty());
}

/// Several runs and the line between them.
struct Fleet {
    limits: Limits,
    line: Line,
    runs: Vec<World>,
}

impl Fleet {
    fn new(limits: Limits, runs: &[(u32, Vec<Vec<&str>>)]) -> Self {
        let world = |(at_once, targets): &(u32, Vec<Vec<&str>>)| {
            let steps: Vec<_> = (0..targets.len())
                .map(|n| step(&format!("s{n}"), "deploy", json!({ "maxParallelTargets": at_once }), &[]))
                .collect();
            World::new(Graph::read(&steps, false).unwrap(), targets)
        };
        Self { limits, line: Line::default(), runs: runs.iter().map(world).collect() }
    }

    /// A turn, with what it asks for.
    fn turn(&mut self, n: usize) {
        let Some(world) = self.runs.get_mut(n) else { return };
        let uid = format!("uid-{n}");
        let claim = self.line.claim(&uid).cloned().unwrap_or_default();
        let wait = |cluster: &String| (cluster.clone(), problem("WaitingForCluster"));
        world.facts.permits = Some(Permits {
            anywhere: claim.holds.contains(ANYWHERE),
            waits: claim.waits.iter().map(wait).collect(),
            asking: Some(problem("WaitingForCluster")),
            granted: claim.holds.clone(),
        });
        let turned = world.settle();
        for command in &turned.commands {
            match command {
                Command::Deliver { step, target } => world.fact(step, target).delivery = Delivery::Running,
                Command::Prune { step, target } => world.fact(step, target).prune = Prune::Running,
                Command::Plan { .. } | Command::Check { .. } => {}
            }
        }
        let asks = self.limits.asks(&turned.claims, Some(&claim.holds));
        self.line.ask(&who(n), &asks, world.now);
        self.line.settle(self.limits);
    }

    /// Where a run's requests are under way.
    fn sending(&self, n: usize) -> BTreeSet<&str> {
        let facts = self.runs.get(n).into_iter().flat_map(|world| &world.facts.targets);
        let under_way =
            facts.filter(|(_, fact)| fact.delivery == Delivery::Running || fact.prune == Prune::Running);
        under_way.map(|((_, target), _)| target.cluster.as_str()).collect()
    }

    /// What is under way on a cluster goes well.
    fn arrive(&mut self, n: usize, cluster: &str) {
        let Some(world) = self.runs.get_mut(n) else { return };
        let under_way: Vec<String> = world
            .facts
            .targets
            .iter()
            .filter(|((_, target), fact)| target.cluster == cluster && fact.delivery == Delivery::Running)
            .map(|((step, _), _)| step.clone())
            .collect();
        for step in under_way {
            world.finish(&step, cluster);
        }
    }

    fn check(&self) {
        let mut there: BTreeMap<&str, usize> = BTreeMap::new();
        let mut acting = 0;
        for n in 0..self.runs.len() {
            let sending = self.sending(n);
            acting += usize::from(!sending.is_empty());
            for cluster in sending {
                if self.limits.one_per_cluster
                    && let Some(other) = there.insert(cluster, n)
                {
                    panic!("runs {other} and {n} act on {cluster} at once");
                }
            }
        }
        assert!(acting <= self.limits.runs.unwrap_or(u32::MAX) as usize, "{acting} runs act at once");
    }

    fn over(&self) -> bool {
        self.runs.iter().all(|world| world.status.phase == RunPhase::Succeeded)
    }
}

/// Limits, and runs: how long each rests, and the clusters of each of its waves.
type Fleets = (Limits, Vec<(u32, Vec<Vec<&'static str>>)>);

fn fleets() -> impl Strategy<Value = Fleets> {
    let clusters = proptest::sample::subsequence(vec!["a", "b", "c", "d"], 1..=4);
    let run = (1_u32..4, proptest::collection::vec(clusters, 1..3));
    let limits = (proptest::option::of(1_u32..3), any::<bool>())
        .prop_map(|(runs, one_per_cluster)| Limits { runs, one_per_cluster });
    (limits, proptest::collection::vec(run, 2..5))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    // Broken: two runs act on one cluster, more act at once than may, or runs wait for each other for ever.
    #[test]
    fn runs_take_turns_and_all_end(
        (limits, runs) in fleets(),
        chances in proptest::collection::vec((0_u8..8, 0_usize..5, 0_usize..4), 0..120),
    ) {
        let mut fleet = Fleet::new(limits, &runs);
        for (what, n, which) in chances {
            let cluster = ["a", "b", "c", "d"][which];
            match what {
                0..=3 => fleet.turn(n),
                4..=5 => fleet.arrive(n, cluster),
                // The process dies: what was under way has ended, and nobody knows how.
                6 => if let Some(world) = fleet.runs.get_mut(n) { world.crash() },
                _ => if let Some(world) = fleet.runs.get_mut(n) {
                    world.facts.suspend = !world.facts.suspend;
                },
            }
            fleet.check();
        }
        for world in &mut fleet.runs {
            world.facts.suspend = false;
        }
        for _ in 0..200 {
            if fleet.over() {
                break;
            }
            for n in 0..fleet.runs.len() {
                fleet.turn(n);
                fleet.check();
                let sending: Vec<String> = fleet.sending(n).into_iter().map(str::to_owned).collect();
                for cluster in sending {
                    fleet.arrive(n, &cluster);
                }
                fleet.turn(n);
                fleet.check();
            }
        }
        prop_assert!(fleet.over(), "{:?}", fleet.runs.iter().map(|w| &w.status.message).collect::<Vec<_>>());
        prop_assert!(fleet.line.claims.is_empty(), "{:?}", fleet.line);
    }
}

// Broken: a wave of one takes the whole fleet away from everybody else.
#[test]
fn a_wave_takes_only_what_it_moves_next() {
    let mut fleet = Fleet::new(EACH, &[(1, vec![vec!["a", "b", "c"]]), (3, vec![vec!["a", "b", "c"]])]);
    fleet.turn(0);
    fleet.turn(0);
    assert_eq!(holds(&fleet.line, 0), ["a"]);
    fleet.turn(1);
    fleet.turn(1);
    assert_eq!(holds(&fleet.line, 1), ["b", "c"]);
    assert_eq!(fleet.sending(1), BTreeSet::from(["b", "c"]));
    fleet.arrive(0, "a");
    fleet.turn(0);
    // Next is b, and nothing overtakes it: it waits there.
    let states = &fleet.runs[0].status.steps[0].targets;
    assert_eq!((states[0].phase, states[1].phase), (TargetPhase::Succeeded, TargetPhase::Pending));
    fleet.turn(0);
    let states = &fleet.runs[0].status.steps[0].targets;
    assert_eq!(states[1].reason, "WaitingForCluster");
    assert!(states[1].held_since.is_some() && states[2].reason == "WaitingForTurn", "{states:?}");
    assert_eq!(holds(&fleet.line, 0).len(), 0);
}

// Broken: a run that waits for a person, or is suspended, keeps everybody else from the fleet.
#[test]
fn who_waits_for_a_person_holds_nothing() {
    let mut fleet = Fleet::new(EACH, &[(1, vec![vec!["a"], vec!["a"]]), (1, vec![vec!["a"]])]);
    let steps = [step("s0", "deploy", json!({}), &[]), step("s1", "deploy", json!({"auto": false}), &[])];
    fleet.runs[0] = World::new(Graph::read(&steps, false).unwrap(), &[vec!["a"], vec!["a"]]);
    fleet.turn(0);
    fleet.turn(0);
    fleet.turn(1);
    assert_eq!((holds(&fleet.line, 0), holds(&fleet.line, 1).len()), (vec!["a"], 0));
    fleet.arrive(0, "a");
    fleet.turn(0);
    assert_eq!(fleet.runs[0].status.steps[1].phase, StepPhase::Suspending);
    assert_eq!(holds(&fleet.line, 1), ["a"]);
}

// Broken: a target fails by its time though all it did was wait for others.
#[test]
fn no_time_runs_out_in_line() {
    let mut fleet = Fleet::new(EACH, &[(1, vec![vec!["a"]]), (1, vec![vec!["a"]])]);
    let mut steps = [step("s0", "deploy", json!({ "targetTimeout": "5m" }), &[])];
    steps[0].timeout = Some("10m".to_owned());
    fleet.runs[1] = World::new(Graph::read(&steps, false).unwrap(), &[vec!["a"]]);
    fleet.turn(0);
    fleet.turn(0);
    fleet.turn(1);
    fleet.turn(1);
    fleet.runs[1].pass(86_400);
    fleet.turn(1);
    assert_eq!(fleet.runs[1].status.phase, RunPhase::Executing);
    fleet.arrive(0, "a");
    fleet.turn(0);
    fleet.turn(1);
    assert_eq!(fleet.sending(1), BTreeSet::from(["a"]));
    fleet.arrive(1, "a");
    fleet.turn(1);
    assert_eq!(fleet.runs[1].status.phase, RunPhase::Succeeded);
}
