use serde_json::json;

use super::*;

/// The forms that users write.
#[test]
fn properties_are_read() {
    let topology =
        Topology::parse("prod", &json!({"clusters": ["a", "b"], "namespace": "shop", "allowEmpty": true}))
            .unwrap();
    assert_eq!(topology.clusters, ["a", "b"]);
    assert_eq!((topology.namespace.as_deref(), topology.allow_empty), (Some("shop"), true));
    let selector = |value: Value| {
        let properties = json!({"clusterLabelSelector": value});
        Topology::parse("prod", &properties).unwrap().cluster_label_selector.unwrap().to_string()
    };
    assert_eq!(selector(json!({"env": "prod"})), "env=prod");
    assert_eq!(selector(json!({})), "");
    assert_eq!(
        selector(json!({"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["dev"]}]})),
        "env!=dev"
    );
    let empty_list = json!({"clusters": [], "clusterLabelSelector": {"a": "b"}, "namespace": ""});
    assert_eq!(Topology::parse("prod", &empty_list).unwrap().namespace, None);
}

/// A misspelt property must not send an application elsewhere.
#[test]
fn bad_properties_are_refused() {
    for (properties, code, text) in [
        (
            json!({"cluster": ["a"]}),
            "TopologyInvalid",
            r#"policy "p", properties.cluster: unknown property; did you mean "clusters"?"#,
        ),
        (
            json!({"clusterSelector": {"a": "b"}, "foo": 1}),
            "TopologyInvalid",
            r#"policy "p", properties.clusterSelector: unknown property; did you mean "clusterLabelSelector"?"#,
        ),
        (
            json!({"zzz": 1}),
            "TopologyInvalid",
            "policy \"p\", properties.zzz: unknown property; expected one of clusters, clusterLabelSelector, \
             namespace, allowEmpty",
        ),
        (
            json!({"clusters": "a"}),
            "TopologyInvalid",
            r#"policy "p", properties.clusters: expected a list of cluster names, found "a""#,
        ),
        (
            json!({"clusters": ["a", ""]}),
            "TopologyInvalid",
            r#"policy "p", properties.clusters[1]: expected the name or alias of a cluster, found """#,
        ),
        (
            json!({"clusters": [1]}),
            "TopologyInvalid",
            r#"policy "p", properties.clusters[0]: expected the name or alias of a cluster, found 1"#,
        ),
        (
            json!({"clusterLabelSelector": {"env": true}}),
            "TopologyInvalid",
            "policy \"p\", properties.clusterLabelSelector.env: expected a string, found a boolean; put it in quotes",
        ),
        (
            json!({"clusters": ["a"], "namespace": "Shop"}),
            "TopologyInvalid",
            "policy \"p\", properties.namespace: \"Shop\" is no namespace name: expected at most 63 lower-case \
             letters, digits and '-', starting and ending with a letter or digit",
        ),
        (
            json!({"clusters": ["a"], "allowEmpty": "yes"}),
            "TopologyInvalid",
            r#"policy "p", properties.allowEmpty: expected true or false, found "yes""#,
        ),
        (
            json!({"clusters": ["a", "local"]}),
            "LocalReserved",
            "policy \"p\", properties.clusters[1]: \"local\" is reserved for the hub itself, where objects are \
             only stored, never run; name a member (fleetctl cluster list)",
        ),
        (
            json!({}),
            "TopologyChoosesNothing",
            "policy \"p\", properties: neither clusters nor clusterLabelSelector is given, so the topology \
             chooses no cluster; list names in clusters, or labels in clusterLabelSelector ({} for all)",
        ),
        (json!([]), "TopologyInvalid", "policy \"p\", properties: expected a map, found a list"),
    ] {
        let error = Topology::parse("p", &properties).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str(), error.policy()), (code, text, Some("p")));
    }
    assert_eq!(Topology::parse("p", &Value::Null).unwrap_err().code(), "TopologyChoosesNothing");
}
