use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn cluster(name: &str, alias: &str, region: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        alias: (!alias.is_empty()).then(|| alias.to_owned()),
        labels: [("region".to_owned(), region.to_owned())].into(),
        accepted: true,
    }
}

fn fleet() -> Vec<Cluster> {
    vec![
        cluster("mc-3", "beijing", "north"),
        cluster("mc-1", "hangzhou", "east"),
        cluster("mc-2", "shanghai", "east"),
        Cluster { accepted: false, ..cluster("mc-9", "pending", "west") },
        cluster("mc-4", "twin", "south"),
        cluster("mc-5", "twin", "south"),
        cluster("beijing", "", "other"),
    ]
}

fn topology(properties: Value) -> Topology {
    Topology::parse("p", &properties).unwrap()
}

fn placed(properties: &[Value]) -> Result<Vec<String>, PlacementError> {
    let topologies: Vec<Topology> = properties.iter().cloned().map(topology).collect();
    place(&topologies, &fleet(), "shop").map(|targets| targets.iter().map(ToString::to_string).collect())
}

/// Names and aliases in their order, selectors by name, each target once.
#[test]
fn targets_are_the_union_in_order() {
    assert_eq!(
        placed(&[
            json!({"clusters": ["shanghai", "mc-1", "mc-2"]}),
            json!({"clusterLabelSelector": {"region": "east"}, "namespace": "shop"}),
            json!({"clusters": ["mc-1"], "namespace": "other"}),
        ])
        .unwrap(),
        ["mc-2/shop", "mc-1/shop", "mc-1/other"]
    );
    assert_eq!(
        placed(&[json!({"clusterLabelSelector": {"region": "east"}})]).unwrap(),
        ["mc-1/shop", "mc-2/shop"]
    );
    // A name wins over another cluster's alias.
    assert_eq!(placed(&[json!({"clusters": ["beijing"]})]).unwrap(), ["beijing/shop"]);
    // Everything, except what isn't accepted.
    assert_eq!(placed(&[json!({"clusterLabelSelector": {}})]).unwrap().len(), 6);
    // clusters win over the selector.
    let both = json!({"clusters": ["mc-3"], "clusterLabelSelector": {"region": "east"}});
    assert_eq!(placed(&[both]).unwrap(), ["mc-3/shop"]);
    let none = json!({"clusterLabelSelector": {"region": "mars"}, "allowEmpty": true});
    assert_eq!(placed(&[none]).unwrap(), Vec::<String>::new());
}

/// A placement that can't be meant is refused in one line that says what to do.
#[test]
fn errors_say_what_to_do() {
    for (properties, code, text) in [
        (
            json!({"clusters": ["mc-1", "hangzou"]}),
            "UnknownCluster",
            r#"policy "p", properties.clusters[1]: no cluster is named "hangzou"; did you mean "hangzhou"?"#,
        ),
        (
            json!({"clusters": ["xxxxxxxxx"]}),
            "UnknownCluster",
            "policy \"p\", properties.clusters[0]: no cluster is named \"xxxxxxxxx\"; known are \"beijing\", \
             \"mc-1\", \"mc-2\", \"mc-3\", \"mc-4\", \"mc-5\", \"mc-9\"",
        ),
        (
            json!({"clusters": ["twin"]}),
            "AmbiguousAlias",
            r#"policy "p", properties.clusters[0]: "twin" is the alias of mc-4 and of mc-5; use a name instead"#,
        ),
        (
            json!({"clusters": ["pending"]}),
            "ClusterNotAccepted",
            "policy \"p\", properties.clusters[0]: cluster \"mc-9\" isn't accepted yet: its spec.hubAcceptsClient is \
             false; accept it with kubectl patch managedcluster mc-9 --type merge \
             -p '{\"spec\":{\"hubAcceptsClient\":true}}'",
        ),
        (
            json!({"clusterLabelSelector": {"region": "mars"}}),
            "NoClusterMatches",
            "policy \"p\", properties.clusterLabelSelector: no cluster has the labels region=mars; see fleetctl \
             cluster list for the labels, or set allowEmpty: true",
        ),
        (
            json!({"clusterLabelSelector": {"region": "west"}}),
            "NoClusterMatches",
            "policy \"p\", properties.clusterLabelSelector: no cluster has the labels region=west and \
             spec.hubAcceptsClient true (not accepted yet: mc-9); see fleetctl cluster list for the labels, or \
             set allowEmpty: true",
        ),
    ] {
        let error = placed(&[properties]).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, text));
    }
    let error = placed(&[]).unwrap_err();
    assert_eq!(error.code(), "NoTopology");
    let error = place(&[topology(json!({"clusters": ["a"]}))], &[], "shop").unwrap_err();
    assert!(error.to_string().ends_with("add ManagedClusters to what is read from files"), "{error}");
    let local = Topology { policy: "p".into(), clusters: vec!["local".into()], ..Topology::default() };
    assert_eq!(place(&[local], &fleet(), "shop").unwrap_err().code(), "LocalReserved");
    let nothing = Topology { policy: "p".into(), ..Topology::default() };
    assert_eq!(place(&[nothing], &fleet(), "shop").unwrap_err().code(), "TopologyChoosesNothing");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The order in which the hub lists its clusters must not change a plan's hash, and no target comes twice.
    #[test]
    fn placement_is_stable_and_without_duplicates(
        shuffled in Just(fleet()).prop_shuffle(),
        names in prop::collection::vec(prop::sample::select(vec!["mc-1", "shanghai", "mc-3", "hangzhou"]), 1..5),
        region in prop::sample::select(vec!["east", "north", "south"]),
    ) {
        let topologies = [
            topology(json!({"clusters": names})),
            topology(json!({"clusterLabelSelector": {"region": region}})),
        ];
        let targets = place(&topologies, &shuffled, "shop").unwrap();
        prop_assert_eq!(&targets, &place(&topologies, &fleet(), "shop").unwrap());
        let unique: BTreeSet<&Target> = targets.iter().collect();
        prop_assert_eq!(unique.len(), targets.len());
    }
}
