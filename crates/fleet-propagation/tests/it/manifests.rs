use fleet_api::propagation::{ImageComponent, OverrideOperator, Severity};
use fleet_propagation::{ObjectFacts, Precision, meant};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cases::reader;

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    manifest: Value,
    problems: Vec<String>,
}

/// Broken: a manifest that people have already is refused, or read otherwise than it was meant.
#[test]
fn the_scenario_is_read_unchanged() {
    let nginx = documents(include_str!("../../../../examples/propagation/nginx.yaml"));
    let policies = documents(include_str!("../../../../examples/propagation/policies.yaml"));
    let policy = reader().propagation(&policies[0]).unwrap();
    assert_eq!((policy.problems.as_slice(), policy.acts), (&[][..], true));
    let facts = ObjectFacts::of(&nginx[0]).unwrap();
    assert_eq!(policy.selectors.precision(&facts), Some(Precision::Name));
    assert_eq!(policy.id.to_string(), "ClusterPropagationPolicy example");

    let policy = reader().overrides(&policies[1]).unwrap();
    assert_eq!(
        (policy.id.to_string().as_str(), policy.problems.as_slice()),
        ("OverridePolicy demo/example", &[][..])
    );
    assert_eq!(policy.selectors.precision(&facts), Some(Precision::Name));
    let overriders = &policy.spec.override_rules[0].overriders;
    assert_eq!(overriders.image_overrider[0].component, ImageComponent::Registry);
    assert_eq!(overriders.image_overrider[0].operator, OverrideOperator::Add);
    assert_eq!(overriders.plaintext[0].value, Some(json!(1)));
}

/// Broken: the same manifest means something else, or nothing, under another of the three groups.
#[test]
fn three_groups_are_one() {
    for text in [
        include_str!("../../../../examples/propagation/policies.yaml"),
        include_str!("../data/everything.yaml"),
    ] {
        for manifest in documents(text) {
            let under = |group: &str| {
                let mut manifest = manifest.clone();
                manifest["apiVersion"] = json!(format!("{group}/v1alpha1"));
                match reader().propagation(&manifest) {
                    Ok(policy) => (serde_json::to_value(&policy.spec).unwrap(), policy.problems),
                    Err(_) => {
                        let policy = reader().overrides(&manifest).unwrap();
                        (serde_json::to_value(&policy.spec).unwrap(), policy.problems)
                    }
                }
            };
            let ours = under("one.alibabacloud.com");
            assert_eq!(under("policy.one.alibabacloud.com"), ours);
            assert_eq!(under("policy.karmada.io"), ours);
            // What was read is what was written: nothing gets lost.
            assert_eq!(ours.0, manifest["spec"]);
            assert!(ours.1.iter().all(|problem| problem.severity == Severity::Warning), "{:?}", ours.1);
        }
    }
}

/// Broken: a mistake in a policy is a silent no-op.
#[test]
fn mistakes_have_a_place_a_cause_and_a_way_out() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../data/problems.yaml")).unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let said = match reader().propagation(&case.manifest) {
            Ok(policy) => {
                assert_eq!(
                    policy.acts,
                    policy.problems.iter().all(|problem| problem.severity == Severity::Warning)
                );
                policy.problems
            }
            Err(problem) => vec![problem],
        };
        let said: Vec<String> = said
            .iter()
            .map(|problem| {
                format!("{} {} {}: {}", problem.severity, problem.reason, problem.path, problem.message)
            })
            .collect();
        if said != case.problems {
            wrong.push(format!("{}:\n  {}", case.name, said.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Broken: a misspelt kind gets an answer from which nobody can tell what was meant.
#[test]
fn a_misspelt_kind_is_recognised() {
    for (api_version, kind, answer) in [
        (
            "one.alibabacloud.com/v1alpha1",
            "ClutserPropagationPolicy",
            Some(
                "ClutserPropagationPolicy is no kind of one.alibabacloud.com/v1alpha1; did you mean \"ClusterPropagationPolicy\"?",
            ),
        ),
        (
            "policy.karmada.io/v1beta1",
            "PropagationPolicy",
            Some(
                "PropagationPolicy isn't of version \"v1beta1\"; write apiVersion: policy.karmada.io/v1alpha1",
            ),
        ),
        (
            "policy.karmada.oi/v1alpha1",
            "OverridePolicy",
            Some(
                "OverridePolicy isn't of group \"policy.karmada.oi\"; write apiVersion: policy.karmada.io/v1alpha1",
            ),
        ),
        ("one.alibabacloud.com/v1alpha1", "PropagationPolicy", None),
        ("apps/v1", "Deployment", None),
        ("one.alibabacloud.com/v1alpha1", "Gateway", None),
    ] {
        assert_eq!(meant(api_version, kind).as_deref(), answer, "{kind}");
    }
}

/// Broken: what is no policy at all, or nonsense, panics.
#[test]
fn nonsense_is_refused() {
    for nonsense in [
        json!(null),
        json!([]),
        json!({"kind": 1}),
        json!({"apiVersion": "one.alibabacloud.com/v1alpha1", "kind": "PropagationPolicy"}),
        json!({"apiVersion": "one.alibabacloud.com/v1alpha1", "kind": "OverridePolicy", "metadata": {"name": "a"}}),
    ] {
        assert!(reader().propagation(&nonsense).is_err(), "{nonsense}");
    }
    let wild = json!({"apiVersion": "one.alibabacloud.com/v1alpha1", "kind": "PropagationPolicy",
        "metadata": {"name": "a", "namespace": "demo"}, "spec": [1]});
    assert!(!reader().propagation(&wild).unwrap().acts);
}
