use std::collections::{BTreeMap, BTreeSet};

use fleet_api::propagation::PropagationPolicySpec;
use fleet_placement::{Cluster, Demand, Fleet, Member, Placed, PlacementRules, Problems, Survey, decide};
use proptest::prelude::*;
use serde_json::json;

fn fleet(regions: &[usize]) -> Fleet {
    let members = regions.iter().enumerate().map(|(at, region)| Member {
        cluster: Cluster { name: format!("c{at}"), accepted: true, ..Cluster::default() },
        location: fleet_placement::location::Location {
            // The last of the regions is none.
            region: (*region < 4).then(|| format!("r{region}")),
            ..Default::default()
        },
        ..Member::default()
    });
    Fleet::new(members.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Broken: a spread that can be met isn't found, or one that isn't met is taken for met.
    #[test]
    fn a_spread_is_found_where_brute_force_finds_one(
        regions in prop::collection::vec(0_usize..5, 1..8),
        (region_min, region_more) in (1_i64..4, 0_i64..3),
        (cluster_min, cluster_more) in (1_i64..5, 0_i64..3),
    ) {
        let (region_max, cluster_max) = (region_min + region_more, cluster_min + cluster_more);
        let spec: PropagationPolicySpec = serde_json::from_value(json!({
            "resourceSelectors": [],
            "placement": { "spreadConstraints": [
                { "spreadByField": "region", "minGroups": region_min, "maxGroups": region_max },
                { "spreadByField": "cluster", "minGroups": cluster_min, "maxGroups": cluster_max },
            ]},
        })).unwrap();
        let mut problems = Problems::default();
        let rules = PlacementRules::read(&spec, &mut problems);
        prop_assume!(!problems.any_error());
        let fleet = fleet(&regions);
        let meets = |set: &BTreeSet<usize>| {
            let own: Option<BTreeSet<usize>> =
                set.iter().map(|at| Some(regions[*at]).filter(|region| *region < 4)).collect();
            own.is_some_and(|own| {
                (region_min..=region_max).contains(&(own.len() as i64))
                    && (cluster_min..=cluster_max).contains(&(set.len() as i64))
            })
        };
        let sets = (0_u32..1 << regions.len())
            .map(|bits| (0..regions.len()).filter(|at| bits & (1 << at) != 0).collect::<BTreeSet<usize>>());
        let possible = sets.filter(meets).count() > 0;
        let demand = Demand {
            seed: "s", replicas: None, placed: &Placed::default(), room: &|_| None, trouble: &BTreeMap::new(),
            fresh: false, now: jiff::Timestamp::UNIX_EPOCH,
        };
        let decision = decide(&rules, &Survey::of(&rules, &fleet), &fleet, &demand);
        prop_assert_eq!(decision.shortfall.is_none(), possible, "{:?}", decision);
        let chosen: BTreeSet<usize> =
            decision.placed.shares.keys().map(|name| name[1..].parse().unwrap()).collect();
        let right = if possible { meets(&chosen) } else { chosen.is_empty() };
        prop_assert!(right, "{chosen:?}");
    }
}
