use std::collections::BTreeMap;
use std::time::Duration;

use fleet_api::propagation::PropagationPolicySpec;
use fleet_placement::{
    Cluster, Demand, Fleet, Member, Placed, PlacementRules, Problems, Shortfall, Standing, Survey, Trouble,
    decide,
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

fn rules() -> PlacementRules {
    let spec: PropagationPolicySpec = serde_json::from_value(json!({
        "resourceSelectors": [],
        "placement": {"replicaScheduling": {"replicaSchedulingType": "Divided"}},
        "failover": {"cluster": {"tolerationSeconds": 60}},
    }))
    .unwrap();
    let mut problems = Problems::default();
    let rules = PlacementRules::read(&spec, &mut problems);
    assert!(!problems.any_error());
    rules
}

fn fleet(members: usize) -> Fleet {
    let members = (0..members).map(|at| Member {
        cluster: Cluster { name: format!("c{at}"), accepted: true, ..Cluster::default() },
        standing: Standing::Ready,
        ..Member::default()
    });
    Fleet::new(members.collect())
}

/// What finds no room, by what each cluster can hold.
fn trouble(placed: &Placed, rooms: &[u64], since: Timestamp) -> BTreeMap<String, Trouble> {
    let stuck = placed.shares.iter().filter_map(|(name, share)| {
        let room = rooms[name[1..].parse::<usize>().unwrap()];
        let stuck = share.unwrap_or(0).saturating_sub(room);
        (stuck > 0).then(|| (name.clone(), Trouble { stuck: Some((stuck, since)), ..Trouble::default() }))
    });
    stuck.collect()
}

fn step(
    rules: &PlacementRules,
    fleet: &Fleet,
    asked: u64,
    placed: &Placed,
    rooms: &[u64],
    now: Timestamp,
) -> (Placed, Option<Shortfall>) {
    let demand = Demand {
        seed: "s",
        replicas: Some(asked),
        placed,
        room: &|_| None,
        trouble: &trouble(placed, rooms, Timestamp::UNIX_EPOCH),
        fresh: false,
        now,
    };
    let decision = decide(rules, &Survey::of(rules, fleet), fleet, &demand);
    (decision.placed, decision.shortfall)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Broken: replicas that find no room are given up, or don't get to where there is some; what runs is moved; what waits on a
    /// full fleet is kept from running once there is room.
    #[test]
    fn what_finds_no_room_goes_where_there_is_some(rooms in prop::collection::vec(0_u64..6, 1..6), asked in 0_u64..16) {
        let (rules, fleet) = (rules(), fleet(rooms.len()));
        let early = Timestamp::UNIX_EPOCH + Duration::from_secs(59);
        let due = Timestamp::UNIX_EPOCH + Duration::from_secs(60);
        let (first, _) = step(&rules, &fleet, asked, &Placed::default(), &rooms, early);
        let (patient, _) = step(&rules, &fleet, asked, &first, &rooms, early);
        prop_assert_eq!(&patient, &first);
        let mut placed = first;
        let mut told = None;
        for _ in 0..24 {
            let (next, shortfall) = step(&rules, &fleet, asked, &placed, &rooms, due);
            let sum: u64 = next.shares.values().flatten().sum();
            prop_assert_eq!(sum, asked, "{:?}", next);
            for (name, before) in &placed.shares {
                let runs = before.unwrap_or(0).min(rooms[name[1..].parse::<usize>().unwrap()]);
                let has = next.shares.get(name).copied().flatten().unwrap_or(0);
                prop_assert!(has >= runs, "{name} had {runs} that ran, and is to have {has}");
            }
            (placed, told) = (next, shortfall);
        }
        let all: u64 = rooms.iter().sum();
        if all >= asked {
            prop_assert!(trouble(&placed, &rooms, Timestamp::UNIX_EPOCH).is_empty(), "{placed:?}");
            prop_assert_eq!(told, None);
            return Ok(());
        }
        let short = matches!(told, Some(Shortfall::NoRoom { .. }));
        prop_assert!(short, "{:?}", told);
        // Nodes were added: what waits runs where it is, and nothing is told any more.
        let roomy = vec![100; rooms.len()];
        let (after, told) = step(&rules, &fleet, asked, &placed, &roomy, due);
        prop_assert_eq!(&after.shares, &placed.shares);
        prop_assert_eq!(told, None);
    }
}
