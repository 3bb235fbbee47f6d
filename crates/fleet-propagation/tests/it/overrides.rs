use fleet_propagation::{Claims, ObjectFacts, OverridePolicy, Overrides, Precision};
use serde_json::{Value, json};

use crate::cases::reader;

fn overriding(kind: &str, namespace: &str, name: &str, selectors: Value) -> OverridePolicy {
    let mut manifest = json!({
        "apiVersion": "one.alibabacloud.com/v1alpha1", "kind": kind, "metadata": {"name": name},
        "spec": {"overrideRules": []},
    });
    if !namespace.is_empty() {
        manifest["metadata"]["namespace"] = json!(namespace);
    }
    if !selectors.is_null() {
        manifest["spec"]["resourceSelectors"] = selectors;
    }
    reader().overrides(&manifest).unwrap()
}

fn deployment(namespace: &str, name: &str) -> ObjectFacts {
    ObjectFacts::of(&json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}}}))
    .unwrap()
}

fn about(overrides: &Overrides, object: &ObjectFacts) -> Vec<(String, Precision)> {
    overrides.about(object).into_iter().map(|(policy, how)| (policy.id.name.clone(), how)).collect()
}

/// Broken: a misspelt condition on clusters takes every cluster, and the override is made everywhere; or a name that no
/// cluster has, or the same cluster twice, is passed over in silence.
#[test]
fn a_mistyped_target_changes_nothing() {
    let read = |rule: Value| {
        let mut manifest = json!({
            "apiVersion": "one.alibabacloud.com/v1alpha1", "kind": "ClusterOverridePolicy", "metadata": {"name": "a"},
            "spec": {"overrideRules": [{"overriders": {}}, {"targetCluster": rule, "overriders": {}}]},
        });
        let listed = reader().overrides(&manifest).unwrap();
        manifest["spec"] = json!({"targetCluster": rule, "overriders": {}});
        let earlier = reader().overrides(&manifest).unwrap();
        assert_eq!(listed.acts, earlier.acts);
        let paths: Vec<String> = earlier.problems.iter().map(|problem| problem.path.clone()).collect();
        assert!(paths.iter().all(|path| path.starts_with("spec.targetCluster.")), "{paths:?}");
        listed
    };
    for (rule, place) in [
        (
            json!({"fieldSelector": {"matchExpressions": [{"key": "regon", "operator": "In", "values": ["a"]}]}}),
            "fieldSelector.matchExpressions[0].key",
        ),
        (
            json!({"fieldSelector": {"matchExpressions": [{"key": "region", "operator": "Inn", "values": ["a"]}]}}),
            "fieldSelector.matchExpressions[0].operator",
        ),
        (
            json!({"labelSelector": {"matchExpressions": [{"key": "a", "operator": "in", "values": ["a"]}]}}),
            "labelSelector",
        ),
    ] {
        let policy = read(rule);
        let places: Vec<&str> = policy.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert!(!policy.acts);
        assert!(
            places.contains(&format!("spec.overrideRules[1].targetCluster.{place}").as_str()),
            "{places:?}"
        );
    }

    let member = |name: &str| fleet_placement::Member {
        cluster: fleet_placement::Cluster { name: name.to_owned(), ..Default::default() },
        ..Default::default()
    };
    let fleet = fleet_placement::Fleet::new(vec![member("member1"), member("member2")]);
    let policy = read(json!({"clusterNames": ["membr1", "member1", "member1"], "exclude": ["nope"]}));
    assert!(policy.acts);
    let told = policy.misnamed(&fleet);
    let told: Vec<String> =
        told.iter().map(|problem| format!("{} {}", problem.reason, problem.path)).collect();
    assert_eq!(
        told,
        [
            "UnknownCluster spec.overrideRules[1].targetCluster.exclude[0]",
            "UnknownCluster spec.overrideRules[1].targetCluster.clusterNames[0]",
            "SameClusterTwice spec.overrideRules[1].targetCluster.clusterNames[2]",
        ]
    );
}

/// Broken: an override is made where it isn't meant, isn't made where it is, or stays when the policy is gone.
#[test]
fn override_policies_are_found_by_what_they_select() {
    let kind = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
    let mut named = kind.clone();
    named["name"] = json!("nginx");
    let mut labelled = kind.clone();
    labelled["labelSelector"] = json!({"matchLabels": {"app": "nginx"}});
    let mut overrides = Overrides::new();
    overrides.set(overriding("ClusterOverridePolicy", "", "all", Value::Null));
    overrides.set(overriding("OverridePolicy", "demo", "demo", Value::Null));
    overrides.set(overriding("OverridePolicy", "other", "other", Value::Null));
    overrides.set(overriding("OverridePolicy", "demo", "kind", json!([kind])));
    overrides.set(overriding("OverridePolicy", "demo", "labels", json!([labelled])));
    overrides.set(overriding("OverridePolicy", "demo", "name", json!([named, kind])));
    let nginx = deployment("demo", "nginx");
    let found = |names: &[(&str, Precision)]| {
        names.iter().map(|(name, how)| ((*name).to_owned(), *how)).collect::<Vec<_>>()
    };
    use Precision::{Kind, Labels, Name};
    assert_eq!(
        about(&overrides, &nginx),
        found(&[("demo", Kind), ("kind", Kind), ("labels", Labels), ("name", Name), ("all", Kind)])
    );
    assert_eq!(about(&overrides, &deployment("other", "nginx")), found(&[("other", Kind), ("all", Kind)]));
    assert_eq!(about(&overrides, &deployment("fleetctl-system", "nginx")), []);

    let changed = overrides.set(overriding("OverridePolicy", "demo", "name", json!([labelled]))).unwrap();
    assert_eq!(changed.selectors.as_slice().len(), 2);
    overrides.remove(&overriding("OverridePolicy", "demo", "kind", Value::Null).id);
    overrides.remove(&overriding("ClusterOverridePolicy", "", "all", Value::Null).id);
    assert_eq!(about(&overrides, &nginx), found(&[("demo", Kind), ("labels", Labels), ("name", Labels)]));
}

/// Broken: an override changes, and objects that it is about stay as they were.
#[test]
fn a_changed_override_says_which_objects_it_is_about() {
    let mut claims = Claims::new();
    let policy = json!({"apiVersion": "one.alibabacloud.com/v1alpha1", "kind": "PropagationPolicy",
        "metadata": {"name": "p", "namespace": "demo"},
        "spec": {"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}]}});
    claims.set_policy(reader().propagation(&policy).unwrap());
    for object in [deployment("demo", "nginx"), deployment("demo", "redis"), deployment("other", "nginx")] {
        claims.set_object(object);
    }
    let names = |selectors: Value, kind: &str, namespace: &str| {
        let policy = overriding(kind, namespace, "o", selectors);
        claims.selected(&policy.selectors).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let both = ["Deployment demo/nginx", "Deployment demo/redis"];
    assert_eq!(names(Value::Null, "ClusterOverridePolicy", ""), both);
    assert_eq!(names(Value::Null, "OverridePolicy", "other"), Vec::<String>::new());
    let selectors = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "redis"}, {"apiVersion": "apps/v1", "kind": "Deployment"}]);
    assert_eq!(names(selectors, "OverridePolicy", "demo"), both);
}
