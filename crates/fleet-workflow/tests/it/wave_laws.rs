//! Laws over random steps, random members and random people: how a step goes over its targets.

use std::collections::BTreeMap;

use fleet_api::{RunPhase, StepPhase, Target, TargetAction, TargetPhase, TargetRequest, TargetState};
use fleet_workflow::graph::{DeployProperties, OnFailure, OnUnreachable};
use fleet_workflow::{Advance, Command, Delivery, Graph, Prune, Sight, StepKind, TargetFact, advance};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::world::{World, problem, read_again, step, target};

const CLUSTERS: [&str; 7] = ["m1", "m2", "m3", "m4", "m5", "m6", "m7"];

#[derive(Debug, Clone)]
struct Seed {
    targets: usize,
    /// How many of the first go before the others.
    canaries: usize,
    /// Whether the last one is only cleared.
    clears: bool,
    at_once: Option<Value>,
    may_fail: usize,
    soak: u32,
    canary_soak: Option<u32>,
    unreachable: u8,
    after: u32,
    hold: bool,
    failure: u8,
    timeout: Option<u32>,
    /// Whether a second step goes to the same targets.
    twice: bool,
}

fn seed() -> impl Strategy<Value = Seed> {
    let at_once = prop_oneof![
        2 => Just(None),
        4 => (1..4_u32).prop_map(|n| Some(json!(n))),
        1 => (1..100_u32).prop_map(|n| Some(json!(format!("{n}%")))),
    ];
    let soak = || prop_oneof![Just(0_u32), 1..120_u32];
    let first = (1..=7_usize, 0..3_usize, prop::bool::weighted(0.2), at_once, 0..4_usize);
    let second = (soak(), prop::option::weighted(0.3, soak()), 0..3_u8, 1..600_u32);
    let third = (any::<bool>(), 0..3_u8, prop::option::weighted(0.4, 200..20_000_u32), any::<bool>());
    (first, second, third).prop_map(|(a, b, c)| {
        let (targets, canaries, clears, at_once, may_fail) = a;
        let (soak, canary_soak, unreachable, after) = b;
        let (hold, failure, timeout, twice) = c;
        Seed {
            targets,
            canaries,
            clears,
            at_once,
            may_fail: may_fail.min(targets),
            soak,
            canary_soak,
            unreachable,
            after,
            hold,
            failure,
            timeout,
            twice,
        }
    })
}

impl Seed {
    fn properties(&self) -> Value {
        let unreachable = ["Wait", "Skip", "Fail"][usize::from(self.unreachable)];
        let mut written = json!({
            "maxFailures": self.may_fail,
            "soak": format!("{}s", self.soak),
            "onUnreachable": unreachable,
            "onReturn": if self.hold { "Hold" } else { "CatchUp" },
            "onFailure": if self.failure == 1 { "Continue" } else { "Stop" },
        });
        if self.unreachable > 0 {
            written["unreachableAfter"] = json!(format!("{}s", self.after));
        }
        if let Some(at_once) = &self.at_once {
            written["maxParallelTargets"] = at_once.clone();
        }
        if self.canaries > 0 {
            written["canary"] = json!({ "clusters": &CLUSTERS[..self.canaries.min(self.targets)] });
            if let Some(soak) = self.canary_soak {
                written["canary"]["soak"] = json!(format!("{soak}s"));
            }
        }
        written
    }

    fn world(&self) -> World {
        let names = if self.twice { vec!["first", "second"] } else { vec!["first"] };
        let steps: Vec<_> = names
            .iter()
            .map(|name| {
                let mut step = step(name, "deploy", self.properties(), &[]);
                step.timeout = self.timeout.map(|seconds| format!("{seconds}s"));
                step
            })
            .collect();
        let mut graph = Graph::read(&steps, false).unwrap();
        if self.failure == 2 {
            for node in &mut graph.nodes {
                // Refused where it is read, until somebody carries it out.
                if let StepKind::Deploy(deploy) = &mut node.kind {
                    deploy.on_failure = OnFailure::Rollback;
                }
            }
        }
        let placed = vec![CLUSTERS[..self.targets].to_vec(); names.len()];
        let mut world = World::new(graph, &placed);
        for step in &mut world.status.steps {
            for state in step.targets.iter_mut().take(self.canaries) {
                state.canary = true;
            }
        }
        if let Some(last) = world.status.steps.last_mut().and_then(|step| step.targets.last_mut()) {
            last.cleared = self.clears && self.targets > self.canaries;
        }
        world
    }
}

#[derive(Debug, Clone)]
enum Event {
    Deliver(Index, u8),
    Done(Index, bool),
    Prune(Index, u8),
    Silence(Index, u8),
    Hold(Index, bool),
    Remove(Index),
    Ask(Index, bool, bool),
    Suspend(bool),
    Pass(u32),
    Crash,
    Quiet,
}

fn event() -> impl Strategy<Value = Event> {
    let index = || any::<Index>();
    prop_oneof![
        14 => (index(), 0..9_u8).prop_map(|(at, how)| Event::Deliver(at, how)),
        10 => (index(), prop::bool::weighted(0.8)).prop_map(|(at, done)| Event::Done(at, done)),
        6 => (index(), 0..6_u8).prop_map(|(at, how)| Event::Prune(at, how)),
        5 => (index(), 0..4_u8).prop_map(|(at, how)| Event::Silence(at, how)),
        2 => (index(), any::<bool>()).prop_map(|(at, hold)| Event::Hold(at, hold)),
        1 => prop::bool::weighted(0.3).prop_flat_map(move |yes| index().prop_map(move |at| if yes { Event::Remove(at) } else { Event::Quiet })),
        3 => (index(), any::<bool>(), any::<bool>()).prop_map(|(at, skip, whole)| Event::Ask(at, skip, whole)),
        1 => any::<bool>().prop_map(Event::Suspend),
        6 => prop_oneof![Just(0_u32), 1..5_u32, 20..130_u32, 300..4000_u32].prop_map(Event::Pass),
        2 => Just(Event::Crash),
        2 => Just(Event::Quiet),
    ]
}

/// A world, what was watched in it, and how many requests were made.
struct Watched {
    world: World,
    /// Since when each target that waits was seen healthy, without the time in which it wasn't seen.
    healthy: BTreeMap<(String, Target), (Timestamp, SignedDuration, Option<Timestamp>)>,
    asked: u32,
}

impl Watched {
    fn new(seed: &Seed) -> Self {
        Self { world: seed.world(), healthy: BTreeMap::new(), asked: 0 }
    }

    /// Mostly what is under way.
    fn key(&self, at: &Index) -> (String, Target) {
        let states = || {
            let steps = self.world.status.steps.iter();
            steps.flat_map(|step| step.targets.iter().map(move |state| (step, state)))
        };
        let open: Vec<_> = states()
            .filter(|(step, state)| {
                let acts = step.phase == StepPhase::Running || state.late;
                acts && !state.phase.is_over() && state.phase != TargetPhase::Pending
            })
            .map(|(step, state)| (step.name.clone(), state.target.clone()))
            .collect();
        let all: Vec<_> = states().map(|(step, state)| (step.name.clone(), state.target.clone())).collect();
        if open.is_empty() { at.get(&all).clone() } else { at.get(&open).clone() }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Deliver(at, how) => {
                let (step, target) = self.key(at);
                let states = self.world.status.steps.iter().filter(|state| state.name == step);
                let mut states = states.flat_map(|step| &step.targets);
                if states.any(|state| state.target == target && state.phase != TargetPhase::Delivering) {
                    return;
                }
                self.world.fact(&step, &target).delivery = match how {
                    0 => Delivery::Running,
                    1 => Delivery::Unreachable(problem("Unreachable")),
                    2 => Delivery::Refused { problem: problem("Refused"), retry: true },
                    3 => Delivery::Refused { problem: problem("Invalid"), retry: false },
                    _ => Delivery::Applied,
                };
            }
            Event::Done(at, done) => {
                let (step, target) = self.key(at);
                let fact = self.world.fact(&step, &target);
                if fact.sight != Sight::Seen {
                    return;
                }
                (fact.done, fact.waiting_for) = (*done, (!done).then(|| problem("Degraded")));
            }
            Event::Prune(at, how) => {
                let (step, target) = self.key(at);
                self.world.fact(&step, &target).prune = match how {
                    0 => Prune::Idle,
                    1 => Prune::Running,
                    2 => Prune::Refused(problem("Refused")),
                    3 => Prune::NotNeeded,
                    _ => Prune::Done,
                };
            }
            Event::Silence(at, how) => {
                let cluster = at.get(&CLUSTERS);
                let sight = [Sight::Silent, Sight::Seen, Sight::Seen, Sight::NotListed][usize::from(*how)];
                self.see(cluster, sight);
            }
            Event::Hold(at, true) => self.world.hold(CLUSTERS[at.index(CLUSTERS.len())]),
            Event::Hold(at, false) => self.world.let_go(CLUSTERS[at.index(CLUSTERS.len())]),
            Event::Remove(at) => {
                self.world.facts.removed.insert((*at.get(&CLUSTERS)).to_owned());
            }
            Event::Ask(at, skip, whole) => {
                let (step, target) = self.key(at);
                self.ask(&target.cluster, *skip, (!whole).then_some(step));
            }
            Event::Suspend(suspend) => self.world.facts.suspend = *suspend,
            Event::Pass(seconds) => self.world.pass(i64::from(*seconds)),
            Event::Crash => self.world.crash(),
            Event::Quiet => {}
        }
    }

    /// What isn't seen isn't known to be done.
    fn see(&mut self, cluster: &str, sight: Sight) {
        let steps: Vec<String> = self.world.status.steps.iter().map(|step| step.name.clone()).collect();
        for step in steps {
            let fact = self.world.fact(&step, &target(cluster));
            fact.sight = sight;
            fact.waiting_for = (sight == Sight::Silent).then(|| problem("Unreachable"));
            if sight != Sight::Seen {
                fact.done = false;
            } else if matches!(fact.delivery, Delivery::Unreachable(_)) {
                fact.delivery = Delivery::Idle;
            }
        }
    }

    fn ask(&mut self, cluster: &str, skip: bool, step: Option<String>) {
        self.asked += 1;
        self.world.facts.requests.push(TargetRequest {
            id: self.asked.to_string(),
            run: "web-1".to_owned(),
            action: if skip { TargetAction::Skip } else { TargetAction::Retry },
            cluster: cluster.to_owned(),
            step,
            by: "ada".to_owned(),
            reason: "maintenance".to_owned(),
        });
    }

    fn turn(&mut self) -> Result<Advance, TestCaseError> {
        let world = &self.world;
        // Every target is known: the executor tells of each, however little.
        let mut facts_known = Vec::new();
        for step in &world.status.steps {
            facts_known.extend(step.targets.iter().map(|state| (step.name.clone(), state.target.clone())));
        }
        for (step, at) in facts_known {
            self.world.fact(&step, &at);
        }
        let world = &self.world;
        let turned = advance(&world.graph, &world.status, &world.facts, world.now);
        let reread = advance(&world.graph, &read_again(&world.status), &world.facts, world.now);
        prop_assert_eq!(&turned, &reread, "a record that was read again is walked differently");
        // A delivery that is begun now isn't the one before.
        for command in &turned.commands {
            if let Command::Deliver { step, target } = command {
                let fact = self.world.fact(step, target);
                if fact.delivery != Delivery::Running {
                    fact.delivery = Delivery::Idle;
                }
            }
        }
        let world = &self.world;
        let second = advance(&world.graph, &turned.status, &world.facts, world.now);
        prop_assert_eq!(&second.status, &turned.status, "a turn without news changes the record");
        for (node, (before, after)) in
            world.graph.nodes.iter().zip(world.status.steps.iter().zip(&turned.status.steps))
        {
            let StepKind::Deploy(deploy) = &node.kind else { continue };
            let begins = |at: usize| {
                let (was, is) = (&before.targets[at], &after.targets[at]);
                let begun =
                    matches!(was.phase, TargetPhase::Pending | TargetPhase::Failed | TargetPhase::Skipped);
                begun && !is.cleared && is.phase == TargetPhase::Delivering
            };
            bounded(deploy, &after.targets)?;
            for at in (0..after.targets.len()).filter(|at| begins(*at)) {
                self.in_order(&node.name, deploy, &before.targets, &after.targets, at)?;
            }
        }
        for step in &turned.status.steps {
            for state in &step.targets {
                prop_assert!(state.phase != TargetPhase::Skipped || state.skipped.is_some());
            }
        }
        self.named(&turned)?;
        self.soaked(&turned)?;
        self.world.record(turned.clone());
        Ok(turned)
    }

    /// Whoever begins has nobody before it who could, and nothing that stops it.
    fn in_order(
        &self,
        step: &str,
        deploy: &DeployProperties,
        before: &[TargetState],
        after: &[TargetState],
        at: usize,
    ) -> Result<(), TestCaseError> {
        let facts = &self.world.facts;
        let me = &after[at];
        let key = |state: &TargetState| (step.to_owned(), state.target.clone());
        prop_assert!(!facts.held.contains_key(&key(me)), "{} begins while it is held", me.target);
        prop_assert!(!facts.suspend, "{} begins in a suspended run", me.target);
        if me.late {
            return Ok(());
        }
        let failed = before.iter().filter(|state| state.phase == TargetPhase::Failed).count();
        let all = after.iter().filter(|state| !state.cleared).count();
        let told = me.retried || before[at].retry_at.is_some();
        if deploy.on_failure != OnFailure::Continue && failed > deploy.max_failures.of(all) {
            // What failed may have been skipped, or be tried again, by a person in this turn; and what fails in it may
            // fail after this one began.
            let failed = |state: &TargetState| state.phase == TargetPhase::Failed;
            let still = before.iter().zip(after).filter(|(then, now)| failed(then) && failed(now)).count();
            prop_assert!(
                told || still <= deploy.max_failures.of(all),
                "{} begins after too much failed",
                me.target
            );
        }
        for other in after[..at].iter().filter(|other| other.phase == TargetPhase::Pending && !other.cleared)
        {
            let fact = facts.targets.get(&key(other)).cloned().unwrap_or_default();
            let excused = facts.held.contains_key(&key(other))
                || fact.is_silent()
                || other.retry_at.is_some()
                || (other.reason == "NotBegun" && told)
                || before[at].retry_at.is_some();
            prop_assert!(excused, "{} goes before {} ({})", me.target, other.target, other.reason);
        }
        if !me.canary {
            let group: Vec<_> = after.iter().filter(|state| state.canary && !state.cleared).collect();
            let over = group.iter().all(|state| state.phase.is_over());
            let well = |state: &&&TargetState| {
                state.phase == TargetPhase::Succeeded || state.skipped.as_ref().is_some_and(|skip| skip.held)
            };
            let proven = group.is_empty() || group.iter().any(|state| well(&state));
            prop_assert!(over && proven, "{} doesn't wait for the canary group", me.target);
        }
        Ok(())
    }

    /// Design invariant 6: an end, or what is waited for and what moves it.
    fn named(&self, turned: &Advance) -> Result<(), TestCaseError> {
        let status = &turned.status;
        if status.phase.is_over() {
            let open = status.steps.iter().flat_map(|step| &step.targets);
            let moving = open.filter(|state| state.late && !state.phase.is_over()).count();
            prop_assert_eq!(moving, 0, "a run ends with targets that catch up");
            let wanted = status.phase == RunPhase::Failed
                && self.world.graph.nodes.iter().any(|node| {
                    matches!(&node.kind, StepKind::Deploy(deploy) if deploy.on_failure == OnFailure::Rollback)
                })
                && status.steps.iter().any(|step| step.phase == StepPhase::Failed);
            prop_assert_eq!(status.rollback_wanted, wanted);
            return Ok(());
        }
        prop_assert!(!status.rollback_wanted);
        let facts = &self.world.facts;
        let moves = status.steps.iter().any(|step| {
            step.targets.iter().any(|state| {
                let key = (step.name.clone(), state.target.clone());
                let fact = facts.targets.get(&key).cloned().unwrap_or_default();
                let acts = step.phase == StepPhase::Running || state.late;
                let moves = match state.phase {
                    TargetPhase::Delivering => fact.delivery != Delivery::Idle,
                    TargetPhase::Waiting => true,
                    TargetPhase::Pruning => fact.prune == Prune::Running,
                    _ => false,
                };
                acts && (moves || facts.held.contains_key(&key))
            })
        });
        let told = status.message.contains("fleetctl workflow");
        prop_assert!(
            moves || told || turned.wake_at.is_some() || !turned.commands.is_empty(),
            "stuck: {} {:?}",
            status.message,
            status.steps
        );
        prop_assert!(
            !status.reason.is_empty() && !status.message.is_empty(),
            "nobody is told what is waited for"
        );
        Ok(())
    }

    /// Nobody is done who wasn't healthy, and seen to be, for as long as is asked.
    fn soaked(&mut self, turned: &Advance) -> Result<(), TestCaseError> {
        let now = self.world.now;
        for (node, (before, after)) in
            self.world.graph.nodes.iter().zip(self.world.status.steps.iter().zip(&turned.status.steps))
        {
            let StepKind::Deploy(deploy) = &node.kind else { continue };
            for (was, is) in before.targets.iter().zip(&after.targets).filter(|(_, is)| !is.cleared) {
                let key = (node.name.clone(), is.target.clone());
                let fact = self.world.facts.targets.get(&key).cloned().unwrap_or_default();
                let waits =
                    matches!(is.phase, TargetPhase::Waiting | TargetPhase::Pruning | TargetPhase::Succeeded)
                        && !matches!(was.phase, TargetPhase::Pruning | TargetPhase::Succeeded);
                if !waits || (!fact.done && fact.sight == Sight::Seen) {
                    self.healthy.remove(&key);
                    continue;
                }
                if fact.done {
                    let seen = self.healthy.entry(key.clone()).or_insert((now, SignedDuration::ZERO, None));
                    if let Some(since) = seen.2.take() {
                        seen.1 += now.duration_since(since);
                    }
                } else if fact.sight == Sight::Silent
                    && let Some(seen) = self.healthy.get_mut(&key)
                {
                    seen.2 = seen.2.or(Some(now));
                }
                if is.phase != TargetPhase::Waiting {
                    let (since, unseen, _) =
                        self.healthy.get(&key).copied().unwrap_or((now, SignedDuration::ZERO, None));
                    let soaked = now.duration_since(since) - unseen;
                    let asked = deploy.soak_of(is.canary);
                    prop_assert!(fact.done, "{} is done without being seen so", is.target);
                    prop_assert!(soaked >= asked, "{} soaked for {soaked:#}, not {asked:#}", is.target);
                }
            }
        }
        Ok(())
    }

    /// From here on everything goes well: does the run end, or wait only for what a person held back?
    fn ends(&mut self) -> Result<(), TestCaseError> {
        self.world.facts.suspend = false;
        self.world.facts.held.clear();
        for cluster in CLUSTERS {
            self.see(cluster, Sight::Seen);
        }
        for _ in 0..600 {
            let turned = self.turn()?;
            if turned.status.phase.is_over() {
                return Ok(());
            }
            if turned.status.reason == "CatchUpPending" {
                let owed = turned.status.steps.iter().flat_map(|step| &step.targets);
                let owed: Vec<_> = owed.filter(|state| state.phase == TargetPhase::Skipped).collect();
                prop_assert!(turned.status.message.contains("fleetctl workflow retry"));
                let left = |state: &&TargetState| state.skipped.as_ref().is_some_and(|skip| skip.held);
                let holds = self.world.graph.nodes.iter().any(|node| {
                    matches!(&node.kind, StepKind::Deploy(deploy)
                        if deploy.on_return == fleet_workflow::graph::OnReturn::Hold)
                });
                // A later one may be owed what an earlier one of the same cluster is held for.
                prop_assert!(holds || owed.iter().any(left), "nobody holds {owed:?}");
                return Ok(());
            }
            let planned = self.world.make_plans(&turned.commands);
            for step in turned.status.steps.clone() {
                for state in step.targets.iter().filter(|state| !state.phase.is_over()) {
                    if state.phase != TargetPhase::Pending || state.cleared {
                        let good = TargetFact {
                            delivery: Delivery::Applied,
                            done: true,
                            prune: Prune::Done,
                            ..TargetFact::default()
                        };
                        *self.world.fact(&step.name, &state.target) = good;
                    }
                }
            }
            let again = turned.commands.iter().any(|command| matches!(command, Command::Deliver { .. }));
            if let Some(at) = turned.wake_at.filter(|_| planned == 0 && !again) {
                self.world.now = self.world.now.max(at);
            }
        }
        Err(TestCaseError::fail(format!("no end although all goes well: {:?}", self.world.status)))
    }
}

/// No more than may be under way.
fn bounded(deploy: &DeployProperties, targets: &[TargetState]) -> Result<(), TestCaseError> {
    let busy = |state: &&TargetState| match state.phase {
        TargetPhase::Delivering | TargetPhase::Pruning => true,
        TargetPhase::Waiting => !state.cleared,
        _ => false,
    };
    let all = targets.iter().filter(|state| !state.cleared).count();
    let busy = targets.iter().filter(busy).count();
    prop_assert!(busy <= deploy.at_once(all), "{busy} of {all} under way at once: {targets:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    // Broken: too many at once, out of order, past a canary group that isn't well, after too many failed, done without
    // having soaked; a run hangs without a word, or a restart changes how it goes.
    #[test]
    fn every_turn_keeps_the_laws_of_waves(
        seed in seed(),
        events in prop::collection::vec(event(), 1..100),
        together in 1..4_usize,
    ) {
        let mut watched = Watched::new(&seed);
        for events in events.chunks(together) {
            let turned = watched.turn()?;
            watched.world.make_plans(&turned.commands);
            // A day later the plans are made anew.
            events.iter().for_each(|event| watched.happen(event));
        }
        watched.turn()?;
        watched.ends()?;
    }

    // Broken: a member that is down decides about others, or a step that may go on without it doesn't.
    #[test]
    fn one_silent_member_changes_nobody_else(seed in seed(), silent in any::<Index>()) {
        let seed = Seed { canaries: 0, may_fail: 1, failure: 0, timeout: None, clears: false, ..seed };
        let silent = CLUSTERS[silent.index(seed.targets)];
        let mut watched = Watched::new(&Seed { may_fail: 1.min(seed.targets), ..seed });
        watched.see(silent, Sight::Silent);
        for _ in 0..600 {
            let turned = watched.turn()?;
            if turned.status.phase.is_over() || turned.status.reason == "CatchUpPending" {
                break;
            }
            let planned = watched.world.make_plans(&turned.commands);
            for step in turned.status.steps.clone() {
                for state in step.targets.iter().filter(|state| state.target.cluster != silent) {
                    if !state.phase.is_over() && state.phase != TargetPhase::Pending {
                        let fact = watched.world.fact(&step.name, &state.target);
                        *fact = TargetFact { delivery: Delivery::Applied, done: true, ..TargetFact::default() };
                    }
                }
            }
            if let Some(at) = turned.wake_at.filter(|_| planned == 0 && turned.commands.is_empty()) {
                watched.world.now = watched.world.now.max(at);
            }
        }
        let StepKind::Deploy(deploy) = &watched.world.graph.nodes[0].kind else { unreachable!() };
        let ends_as = match deploy.on_unreachable {
            OnUnreachable::Skip => TargetPhase::Skipped,
            OnUnreachable::Wait | OnUnreachable::Fail => TargetPhase::Failed,
        };
        for step in &watched.world.status.steps {
            for state in &step.targets {
                let wanted = if state.target.cluster == silent { ends_as } else { TargetPhase::Succeeded };
                prop_assert_eq!(state.phase, wanted, "{}: {}", state.target, state.message);
            }
        }
        let status = &watched.world.status;
        let phase = if ends_as == TargetPhase::Skipped { RunPhase::Executing } else { RunPhase::Succeeded };
        prop_assert_eq!(status.phase, phase, "{}", status.message);
    }
}
