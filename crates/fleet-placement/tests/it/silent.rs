use std::collections::BTreeMap;

use fleet_api::propagation::PropagationPolicySpec;
use fleet_placement::{
    Cluster, Demand, Fleet, Member, Placed, PlacementRules, Problems, Standing, Survey, decide,
};
use jiff::Timestamp;
use serde_json::json;

/// The shares of so many replicas where the first cluster doesn't answer.
fn shares(clusters: usize, asked: u64, placed: &[Option<u64>]) -> Vec<Option<Option<u64>>> {
    let spec: PropagationPolicySpec = serde_json::from_value(json!({
        "resourceSelectors": [],
        "placement": {"replicaScheduling": {"replicaSchedulingType": "Divided"}},
    }))
    .unwrap();
    let rules = PlacementRules::read(&spec, &mut Problems::default());
    let members = (0..clusters).map(|at| Member {
        cluster: Cluster { name: at.to_string(), accepted: true, ..Cluster::default() },
        standing: if at == 0 { Standing::Unreachable(None) } else { Standing::Ready },
        ..Member::default()
    });
    let fleet = Fleet::new(members.collect());
    let shares = placed.iter().enumerate().map(|(at, share)| (at.to_string(), *share));
    let placed = Placed { shares: shares.collect(), ..Placed::default() };
    let demand = Demand {
        seed: "s",
        replicas: Some(asked),
        placed: &placed,
        room: &|_| None,
        trouble: &BTreeMap::new(),
        fresh: false,
        now: Timestamp::UNIX_EPOCH,
    };
    let decided = decide(&rules, &Survey::of(&rules, &fleet), &fleet, &demand);
    assert_eq!(decided.shortfall, None);
    (0..clusters).map(|at| decided.placed.shares.get(&at.to_string()).copied()).collect()
}

/// Broken: a policy that divides takes an object over while a cluster doesn't answer, and its copy is deleted there although it
/// is to have a share of it.
#[test]
fn what_does_not_answer_keeps_what_it_has() {
    let some = |replicas: u64| Some(Some(replicas));
    // It has all of them, as every cluster has where they aren't divided.
    assert_eq!(shares(1, 4, &[None]), [some(4)]);
    assert_eq!(shares(2, 4, &[None, None]), [some(2), some(2)]);
    // It gets no more than it has.
    assert_eq!(shares(2, 8, &[Some(1), Some(3)]), [some(1), some(7)]);
    assert_eq!(shares(2, 4, &[]), [None, some(4)]);
}
