use fleet_api::propagation::PropagationPolicySpec;
use fleet_placement::{Cluster, Fleet, Hold, Holds, Member, Problems};
use serde_json::{Value, json};

fn fleet() -> Fleet {
    let member = |name: &str, alias: &str| Member {
        cluster: Cluster {
            name: name.to_owned(),
            alias: Some(alias.to_owned()),
            accepted: true,
            ..Cluster::default()
        },
        ..Member::default()
    };
    Fleet::new(vec![member("mc-1", "beijing"), member("mc-2", "hangzhou"), member("mc-3", "shanghai")])
}

/// Which of the three clusters hold, and what is wrong.
fn holding(rest: Value) -> (Vec<(&'static str, Hold)>, Vec<String>) {
    let mut spec = json!({"resourceSelectors": []});
    for (key, value) in rest.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let spec: PropagationPolicySpec = serde_json::from_value(spec).unwrap();
    let mut problems = Problems::default();
    let holds = Holds::read(&spec, &fleet(), &mut problems);
    let holding = ["mc-1", "mc-2", "mc-3"].into_iter().filter_map(|name| Some((name, holds.holds(name)?)));
    let said = problems.as_slice().iter().map(|problem| format!("{} {}", problem.reason, problem.path));
    (holding.collect(), said.collect())
}

/// Broken: a cluster that is masked is changed, or one that isn't is held; an empty mask means no mask; a misspelt name
/// lets everything move.
#[test]
fn a_mask_names_who_may_move() {
    use Hold::{Masked, Suspended};
    assert_eq!(holding(json!({})), (vec![], vec![]));
    assert_eq!(holding(json!({"mask": null})), (vec![], vec![]));
    let all = vec![("mc-1", Masked), ("mc-2", Masked), ("mc-3", Masked)];
    assert_eq!(holding(json!({"mask": []})), (all.clone(), vec![]));
    assert_eq!(holding(json!({"mask": ["beijing", "mc-3"]})), (vec![("mc-2", Masked)], vec![]));
    assert_eq!(holding(json!({"mask": ["bejing"]})), (all, vec!["UnknownCluster spec.mask[0]".to_owned()]));
    assert_eq!(holding(json!({"mask": ["mc-1", "beijing"]})).1, ["SameClusterTwice spec.mask[1]"]);
    assert_eq!(
        holding(
            json!({"mask": ["mc-1"], "suspension": {"dispatchingOnClusters": {"clusterNames": ["beijing"]}}})
        ),
        (vec![("mc-1", Suspended), ("mc-2", Masked), ("mc-3", Masked)], vec![])
    );
    let (holding, said) = holding(json!({"suspension": {"dispatching": true, "dispatchingOnClusters": {}}}));
    assert_eq!((holding.len(), said), (3, vec![]));
}

/// Broken: whoever waits for a cluster isn't told how it is released.
#[test]
fn a_hold_says_how_it_ends() {
    assert_eq!(Hold::Masked.reason(), "Masked");
    assert!(Hold::Masked.message("mc-1").contains("mc-1 isn't in spec.mask"));
    assert!(Hold::Suspended.message("mc-1").contains("spec.suspension"));
}
