use std::collections::{BTreeMap, VecDeque};

use fleet_placement::moves::{GoesFirst, Move, Share, at_once, next_step};
use proptest::prelude::*;

/// A cluster as it really is: orders arrive late, replicas become ready when they like.
#[derive(Debug, Clone, Default)]
struct Real {
    running: u64,
    ready: u64,
    orders: VecDeque<u64>,
}

impl Real {
    fn obey(&mut self, goes_first: GoesFirst) {
        let Some(order) = self.orders.pop_front() else { return };
        if order < self.running {
            let unready = self.running - self.ready;
            let gone = self.running - order;
            self.ready -= match goes_first {
                GoesFirst::Unready => gone.saturating_sub(unready),
                // The worst that can be: ready ones go first.
                GoesFirst::Any => gone.min(self.ready),
            };
        }
        self.running = order;
    }
}

fn cases() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0_u64..6, 0_u64..6), 2..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Broken: while replicas move between clusters, fewer are ready than asked for, the last one goes, more move at
    /// once than allowed, or the move never ends.
    #[test]
    fn moves_never_have_too_few_and_end(
        clusters in cases(),
        limit in 1_u64..4,
        unready_first: bool,
        dice in prop::collection::vec((0_usize..4, 0_usize..3), 600),
    ) {
        let goes_first = if unready_first { GoesFirst::Unready } else { GoesFirst::Any };
        // Everything that is told is ready, and as many are wanted as are asked for.
        let asked: u64 = clusters.iter().map(|(_, wanted)| *wanted).sum();
        let before: u64 = clusters.iter().map(|(have, _)| *have).sum();
        let floor = asked.min(before);
        let mut reals: Vec<Real> =
            clusters.iter().map(|(have, _)| Real { running: *have, ready: *have, orders: VecDeque::new() }).collect();
        let mut told: Vec<u64> = clusters.iter().map(|(have, _)| *have).collect();
        let mut settled = false;
        for (who, what) in dice.into_iter().chain((0..1500).map(|n| (n % 4, n % 3))) {
            let who = who % reals.len();
            match what {
                0 => reals[who].obey(goes_first),
                1 => reals[who].ready = (reals[who].ready + 1).min(reals[who].running),
                _ => {
                    let shares: BTreeMap<String, Share> = clusters.iter().enumerate().map(|(at, (_, wanted))| {
                        (at.to_string(), Share { assigned: told[at], ready: reals[at].ready, wanted: *wanted, free: true, ..Share::default() })
                    }).collect();
                    let step = next_step(&Move { asked, at_once: limit, goes_first, shares });
                    let sum: u64 = step.assigned.values().sum();
                    prop_assert!(sum <= before.max(asked + limit), "too many at once: {step:?}");
                    for (at, told) in told.iter_mut().enumerate() {
                        let now = step.assigned[&at.to_string()];
                        if now != *told {
                            *told = now;
                            reals[at].orders.push_back(now);
                        }
                    }
                    settled = step.settled;
                    prop_assert!(settled || !step.waits.is_empty() || told.iter().zip(&reals).any(|(told, real)| *told != real.ready));
                }
            }
            let ready: u64 = reals.iter().map(|real| real.ready).sum();
            prop_assert!(ready >= floor, "{ready} of {asked} ready: {reals:?}");
        }
        prop_assert!(settled, "{told:?} {reals:?}");
        prop_assert!(told.iter().zip(&clusters).all(|(told, (_, wanted))| told == wanted));
    }

    /// Broken: the plan takes away while nothing else is ready, whatever else is wrong.
    #[test]
    fn no_single_step_goes_below(
        raw in prop::collection::vec((0_u64..6, 0_u64..8, 0_u64..6, any::<bool>()), 1..5),
        asked in 0_u64..12,
        limit in 0_u64..4,
        unready_first: bool,
    ) {
        let goes_first = if unready_first { GoesFirst::Unready } else { GoesFirst::Any };
        let shares: BTreeMap<String, Share> = raw.iter().enumerate().map(|(at, (assigned, ready, wanted, free))| {
            (at.to_string(), Share { assigned: *assigned, ready: *ready, wanted: *wanted, free: *free, ..Share::default() })
        }).collect();
        let step = next_step(&Move { asked, at_once: limit, goes_first, shares: shares.clone() });
        let ready = |share: &Share, order: u64| {
            let mut real = Real { running: share.assigned, ready: share.ready.min(share.assigned), orders: [order].into() };
            if order < share.assigned { real.obey(goes_first); }
            real.ready
        };
        let before: u64 = shares.values().map(|share| share.ready.min(share.assigned)).sum();
        let after: u64 = shares.iter().map(|(name, share)| ready(share, step.assigned[name])).sum();
        prop_assert!(after >= asked.min(before), "{before} -> {after} of {asked}: {step:?}");
        for (name, share) in &shares {
            let now = step.assigned[name];
            prop_assert!(share.free || now == share.assigned, "{name} is held");
            prop_assert!(now >= share.assigned.min(share.wanted) && now <= share.assigned.max(share.wanted));
        }
    }

    /// Broken: what was changed a moment ago, or wasn't looked at since a restart, is taken for something that isn't ready,
    /// and goes before anything replaces it.
    #[test]
    fn what_may_be_ready_is_not_given_up_for_nothing(
        raw in prop::collection::vec((0_u64..6, 0_u64..8, 0_u64..8, 0_u64..8, 0_u64..6), 1..5),
        asked in 0_u64..12,
        limit in 0_u64..4,
        unready_first: bool,
    ) {
        let goes_first = if unready_first { GoesFirst::Unready } else { GoesFirst::Any };
        let shares: BTreeMap<String, Share> = raw.iter().enumerate().map(|(at, (assigned, known, _, at_stake, wanted))| {
            let share = Share { assigned: *assigned, ready: *known, at_stake: *at_stake, wanted: *wanted, free: true, given_up: false };
            (at.to_string(), share)
        }).collect();
        let step = next_step(&Move { asked, at_once: limit, goes_first, shares: shares.clone() });
        // However many really are: no fewer than is known, no more than may be.
        let really = |at: usize, share: &Share| {
            let known = share.ready.min(share.assigned);
            raw[at].2.clamp(known, share.at_stake.min(share.assigned).max(known))
        };
        let (mut before, mut after) = (0, 0);
        for (at, (name, share)) in shares.iter().enumerate() {
            let ready = really(at, share);
            let order = step.assigned[name];
            let mut real = Real { running: share.assigned, ready, orders: [order].into() };
            if order < share.assigned { real.obey(goes_first); }
            before += ready;
            after += real.ready;
        }
        prop_assert!(after >= asked.min(before), "{before} -> {after} of {asked}: {step:?}");
    }
}

fn share(assigned: u64, ready: u64, wanted: u64) -> Share {
    Share { assigned, ready, wanted, free: true, ..Share::default() }
}

/// Broken: a cluster that doesn't answer keeps its replicas for ever, or loses all at once to others.
#[test]
fn a_lost_cluster_is_replaced_a_few_at_a_time() {
    let mut shares: BTreeMap<String, Share> =
        [("lost".to_owned(), share(6, 6, 0)), ("other".to_owned(), share(2, 2, 8))].into();
    let mut history = Vec::new();
    for _ in 0..20 {
        let step =
            next_step(&Move { asked: 8, at_once: 2, goes_first: GoesFirst::Unready, shares: shares.clone() });
        history.push((step.assigned["lost"], step.assigned["other"]));
        for (name, share) in &mut shares {
            share.assigned = step.assigned[name];
            // What comes up becomes ready; of the lost one, what was last seen is all that is known.
            share.ready = if name == "other" { share.assigned } else { 6 };
        }
        if step.settled {
            break;
        }
    }
    assert_eq!(history, [(6, 4), (4, 4), (4, 6), (2, 6), (2, 8), (0, 8)]);
}

/// Broken: what can't be taken away any more (its cluster isn't accepted) counts for ever, so others never get all of it; or
/// they get it all at once.
#[test]
fn what_is_given_up_is_replaced_a_few_at_a_time() {
    let given_up = Share { free: false, given_up: true, ..share(6, 6, 0) };
    let mut shares: BTreeMap<String, Share> =
        [("given up".to_owned(), given_up), ("other".to_owned(), share(2, 2, 8))].into();
    let mut history = Vec::new();
    for _ in 0..20 {
        let step =
            next_step(&Move { asked: 8, at_once: 2, goes_first: GoesFirst::Unready, shares: shares.clone() });
        history.push((step.assigned["given up"], step.assigned["other"]));
        if step.settled {
            break;
        }
        let other = step.assigned["other"];
        // Nothing more comes up there before that is ready.
        let waiting =
            [("given up".to_owned(), given_up), ("other".to_owned(), share(other, shares["other"].ready, 8))];
        let waiting = Move { asked: 8, at_once: 2, shares: waiting.into(), ..Move::default() };
        assert_eq!(next_step(&waiting).assigned["other"], other);
        shares.insert("other".to_owned(), share(other, other, 8));
    }
    assert_eq!(history, [(6, 4), (6, 6), (6, 8), (6, 8)]);
}

/// Broken: somebody scales a workload, and it takes as long as a move.
#[test]
fn scaling_is_done_at_once() {
    let up = Move {
        asked: 20,
        at_once: 1,
        shares: [("a".to_owned(), share(2, 2, 12)), ("b".to_owned(), share(2, 2, 8))].into(),
        ..Move::default()
    };
    assert_eq!(next_step(&up).assigned.values().sum::<u64>(), 20);
    let down = Move {
        asked: 2,
        at_once: 1,
        shares: [("a".to_owned(), share(12, 12, 2)), ("b".to_owned(), share(8, 8, 0))].into(),
        ..Move::default()
    };
    let step = next_step(&down);
    assert_eq!((step.assigned["a"], step.assigned["b"], step.settled), (2, 0, true));
    let none =
        Move { asked: 0, at_once: 1, shares: [("a".to_owned(), share(3, 1, 0))].into(), ..Move::default() };
    assert!(next_step(&none).settled);
}

/// Broken: a mask is ignored, or whoever waits isn't told for what.
#[test]
fn what_is_held_stays_and_is_told() {
    let held = Share { free: false, ..share(3, 3, 0) };
    let step = next_step(&Move {
        asked: 3,
        at_once: 1,
        shares: [("a".to_owned(), held), ("b".to_owned(), share(0, 0, 3))].into(),
        ..Move::default()
    });
    assert_eq!((step.assigned["a"], step.assigned["b"]), (3, 1));
    assert_eq!(step.waits, ["a holds 3 and is to have 0: it is held"]);
    let step = next_step(&Move {
        asked: 3,
        at_once: 1,
        shares: [("a".to_owned(), share(3, 3, 0)), ("b".to_owned(), share(1, 0, 3))].into(),
        ..Move::default()
    });
    assert_eq!(
        step.waits,
        ["3 of 3 are ready (not all on b); nothing goes before as many are ready elsewhere"]
    );
}

/// Broken: the limit on moves rounds to none, and nothing ever moves.
#[test]
fn at_least_one_moves_at_once() {
    let limit = |value: serde_json::Value| fleet_json::IntOrPercent::from_value(&value).unwrap();
    assert_eq!(at_once(None, 1), 1);
    assert_eq!(at_once(None, 40), 10);
    assert_eq!(at_once(Some(limit("10%".into())), 5), 1);
    assert_eq!(at_once(Some(limit("50%".into())), 9), 4);
    assert_eq!(at_once(Some(limit(0.into())), 9), 1);
}
