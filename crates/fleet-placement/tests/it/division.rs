use fleet_placement::divide::{Portion, divide};
use fleet_placement::shares::{Rule, Seat, share};
use proptest::prelude::*;

/// Every way to divide `total` within the limits.
fn ways(total: u64, portions: &[Portion]) -> Vec<Vec<u64>> {
    let Some((first, rest)) = portions.split_first() else {
        return if total == 0 { vec![Vec::new()] } else { Vec::new() };
    };
    let most = if first.weight == 0 { 0 } else { first.limit.unwrap_or(total).min(total) };
    let mut all = Vec::new();
    for here in 0..=most {
        for mut way in ways(total - here, rest) {
            way.insert(0, here);
            all.push(way);
        }
    }
    all
}

/// How far a division is from the ratio of the weights: the sum of x²/w, over a common denominator. Webster's method is
/// the one that makes it least (Balinski and Young, 1982), which has nothing to do with how we compute it.
fn distance(way: &[u64], portions: &[Portion]) -> u128 {
    let open = || portions.iter().filter(|portion| portion.weight > 0);
    let all: u128 = open().map(|portion| u128::from(portion.weight)).product();
    let terms = way.iter().zip(portions).filter(|(_, portion)| portion.weight > 0);
    terms.map(|(x, portion)| u128::from(*x).pow(2) * (all / u128::from(portion.weight))).sum()
}

fn portions() -> impl Strategy<Value = Vec<Portion>> {
    let one = (0_u64..8, prop::option::of(0_u64..6)).prop_map(|(weight, limit)| (weight, limit));
    prop::collection::vec(one, 1..5).prop_map(|all| {
        let ranked = all.into_iter().enumerate();
        ranked.map(|(rank, (weight, limit))| Portion { weight, limit, rank: rank as u64 }).collect()
    })
}

fn room(portions: &[Portion]) -> u64 {
    let open = portions.iter().filter(|portion| portion.weight > 0);
    open.fold(0, |sum: u64, portion| sum.saturating_add(portion.limit.unwrap_or(u64::MAX)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Broken: replicas are divided in another ratio than the policy says, get lost, or exceed a cluster's limit.
    #[test]
    fn division_is_the_best_that_brute_force_finds(total in 0_u64..12, portions in portions()) {
        let given = divide(total, &portions);
        let placed = total.min(room(&portions));
        prop_assert_eq!(given.iter().sum::<u64>(), placed);
        let all = ways(placed, &portions);
        prop_assert!(all.contains(&given), "{given:?}");
        let best = all.iter().map(|way| distance(way, &portions)).min().unwrap();
        prop_assert_eq!(distance(&given, &portions), best, "{:?}", given);
    }

    /// Broken: a workload is scaled up, and a replica stops somewhere.
    #[test]
    fn one_more_takes_nothing_away(total in 0_u64..400, portions in portions()) {
        let (less, more) = (divide(total, &portions), divide(total + 1, &portions));
        prop_assert!(less.iter().zip(&more).all(|(less, more)| less <= more), "{less:?} {more:?}");
    }

    /// Broken: where replicas go depends on the order in which the hub lists its clusters.
    #[test]
    fn order_means_nothing(total in 0_u64..100, portions in portions(), turn in 0_usize..4) {
        let mut turned = portions.clone();
        let by = turn % portions.len();
        turned.rotate_left(by);
        let mut given = divide(total, &portions);
        given.rotate_left(by);
        prop_assert_eq!(divide(total, &turned), given);
    }

    /// Broken: large numbers take for ever, or the short cut for them divides otherwise than one by one.
    #[test]
    fn large_numbers_are_one_by_one_as_well(
        total in 1_000_000_u64..2_000_000_000,
        weights in prop::collection::vec(1_u64..u64::from(u32::MAX), 1..50),
    ) {
        let ranked = weights.iter().enumerate();
        let portions: Vec<Portion> =
            ranked.map(|(rank, weight)| Portion { weight: *weight, limit: None, rank: rank as u64 }).collect();
        let given = divide(total, &portions);
        prop_assert_eq!(given.iter().sum::<u64>(), total);
        // Nobody's last one would have a better claim elsewhere: the min-max inequality of Webster's method.
        for (a, x) in portions.iter().zip(&given).filter(|(_, x)| **x > 0) {
            for (b, y) in portions.iter().zip(&given) {
                let (have, want) = (u128::from(a.weight) * (2 * u128::from(*y) + 1), u128::from(b.weight) * (2 * u128::from(*x) - 1));
                prop_assert!(have >= want, "{a:?} {x} {b:?} {y}");
            }
        }
    }
}

fn seats(raw: &[(u64, u64, Option<u64>, Option<u64>)]) -> Vec<Seat<'static>> {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let named = raw.iter().zip(NAMES);
    named
        .map(|((weight, current, room, ceiling), cluster)| Seat {
            cluster,
            weight: *weight,
            current: *current,
            room: *room,
            ceiling: *ceiling,
        })
        .collect()
}

fn raw() -> impl Strategy<Value = Vec<(u64, u64, Option<u64>, Option<u64>)>> {
    let one =
        (1_u64..5, 0_u64..6, prop::option::weighted(0.9, 0_u64..8), prop::option::weighted(0.2, 0_u64..6));
    prop::collection::vec(one, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Broken: replicas vanish or appear, or a cluster gets more than it has room for.
    #[test]
    fn shares_sum_up_and_keep_to_the_room(raw in raw(), total in 0_u64..30, rule in 0_usize..3, fresh: bool) {
        let rule = [Rule::Static, Rule::Dynamic, Rule::Aggregated][rule];
        let seats = seats(&raw);
        let shares = share(rule, total, &seats, "seed", fresh);
        prop_assert_eq!(shares.replicas.iter().sum::<u64>() + shares.missing, total);
        let blind = seats.iter().all(|seat| seat.room.is_none());
        let mut all_full = true;
        for (seat, replicas) in seats.iter().zip(&shares.replicas) {
            let most = seat.ceiling.unwrap_or(u64::MAX);
            prop_assert!(*replicas <= most);
            let kept = seat.current.min(most);
            let capacity = match rule {
                Rule::Static => most,
                _ if blind => most,
                _ => most.min(kept + seat.room.unwrap_or(0)),
            };
            prop_assert!(*replicas <= capacity.max(kept));
            all_full &= *replicas >= capacity;
        }
        prop_assert!(shares.missing == 0 || all_full, "{:?} {:?}", seats, shares);
    }

    /// Broken: replicas wander between clusters because room changes by the minute.
    #[test]
    fn what_is_placed_by_room_stays(raw in raw(), total in 0_u64..30, aggregated: bool) {
        let rule = if aggregated { Rule::Aggregated } else { Rule::Dynamic };
        let seats = seats(&raw);
        let kept: Vec<u64> =
            seats.iter().map(|seat| seat.current.min(seat.ceiling.unwrap_or(u64::MAX))).collect();
        let held: u64 = kept.iter().sum();
        let shares = share(rule, total, &seats, "seed", false);
        for (before, after) in kept.iter().zip(&shares.replicas) {
            let right = if total >= held { after >= before } else { after <= before };
            prop_assert!(right, "{:?} {:?}", seats, shares);
        }
    }

    /// Broken: a workload that fits on one cluster is spread over several, against the policy.
    #[test]
    fn aggregated_takes_as_few_as_brute_force_finds(raw in raw(), total in 1_u64..20) {
        let seats = seats(&raw.into_iter().map(|(w, _, room, _)| (w, 0, Some(room.unwrap_or(0)), None)).collect::<Vec<_>>());
        let shares = share(Rule::Aggregated, total, &seats, "seed", false);
        prop_assume!(shares.missing == 0);
        let used = shares.replicas.iter().filter(|replicas| **replicas > 0).count() as u32;
        let least = (0_u32..1 << seats.len())
            .filter(|set| {
                let rooms = seats.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
                rooms.map(|(_, seat)| seat.room.unwrap_or(0)).sum::<u64>() >= total
            })
            .map(u32::count_ones)
            .min();
        prop_assert!(Some(used) <= least, "{used} {least:?} {shares:?}");
    }
}

/// Broken: all workloads of one replica land on the same cluster.
#[test]
fn the_odd_replica_of_many_objects_is_spread() {
    let seats = seats(&[(1, 0, None, None), (1, 0, None, None), (1, 0, None, None)]);
    let mut count = [0; 3];
    for object in 0..300 {
        let shares = share(Rule::Static, 1, &seats, &format!("Deployment demo/shop-{object}"), false);
        count[shares.replicas.iter().position(|replicas| *replicas == 1).unwrap()] += 1;
    }
    assert!(count.iter().all(|count| (70..=130).contains(count)), "{count:?}");
}
