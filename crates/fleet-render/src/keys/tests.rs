use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A mistake in the data would send everything.
#[test]
fn the_defaults_can_be_read() {
    let rules: Vec<KeyRule> = serde_saphyr::from_str(DEFAULTS).unwrap();
    assert_eq!(rules.len(), KeyRules::builtin().rules.len());
    for rule in &rules {
        assert_eq!(check(rule), Ok(()), "{}", rule.name);
        assert!(!rule.name.is_empty());
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    rules: Vec<KeyRule>,
    object: Value,
    /// `field key (rule)`
    left: Vec<String>,
}

/// A key that a controller on the member writes and the hub sends is fought over for ever; one that people set and that
/// isn't sent does nothing.
#[test]
fn cases_are_left() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/data/keys.json")).unwrap();
    for case in cases {
        let rules = KeyRules::with(&case.rules).unwrap();
        let mut object = case.object.clone();
        let left: Vec<String> = rules
            .leave(&mut object)
            .iter()
            .map(|l| format!("{} {} ({})", l.field.as_str(), l.key, l.rule))
            .collect();
        assert_eq!(left, case.left, "{}", case.name);
    }
}

/// Rules that can't mean anything are refused with their place.
#[test]
fn wrong_rules_are_refused() {
    let cases = [
        (json!([{"kinds": [], "labels": {"hub": ["a"]}}]), "[0].kinds: required: Kind, Kind.group, or *"),
        (
            json!([{"kinds": ["*"], "labels": {"hub": ["a"]}}, {"kinds": ["services"], "labels": {"hub": ["a"]}}]),
            "[1].kinds[0]: expected Kind, Kind.group or *, got \"services\"; kinds begin with a capital",
        ),
        (
            json!([{"kinds": ["*"], "annotations": {"member": ["a", "b c"]}}]),
            "[0].annotations.member[1]: expected a key, in which * stands for any text, got \"b c\"",
        ),
        (json!([{"kinds": ["*"]}]), "[0]: it names no key; give annotations or labels with hub or member"),
    ];
    for (rules, problem) in cases {
        let rules: Vec<KeyRule> = serde_json::from_value(rules).unwrap();
        assert_eq!(KeyRules::with(&rules).unwrap_err().to_string(), problem);
    }
}

fn keys() -> impl Strategy<Value = Vec<String>> {
    let known = prop::sample::select(vec![
        "cloud.google.com/neg-status",
        "cloud.google.com/neg",
        "service.k8s.alibaba/loadbalancer-id",
        "field.cattle.io/publicEndpoints",
        "ingress.kubernetes.io/rewrite-target",
        "ingress.kubernetes.io/backends",
    ]);
    prop::collection::vec(prop_oneof![known.prop_map(str::to_owned), "[a-c]{1,2}/[a-c]"], 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each key is sent as it is or left, and named; what is left once stays left; and people have the last word.
    #[test]
    fn every_key_is_sent_or_left(
        labels in keys(), annotations in keys(), hub in keys(), member in keys(), ingress: bool, wide: bool,
    ) {
        let map = |keys: &[String]| -> Value { keys.iter().map(|key| (key.clone(), json!(key))).collect::<serde_json::Map<_, _>>().into() };
        let (api, kind) = if ingress { ("networking.k8s.io/v1", "Ingress") } else { ("v1", "Service") };
        let before = json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "labels": map(&labels), "annotations": map(&annotations)}, "spec": {"a": 1}});
        let mut given = KeyRule {
            name: "mine".to_owned(),
            kinds: vec!["*".to_owned()],
            annotations: KeyOwners { hub: hub.clone(), member: member.clone() },
            labels: KeyOwners::default(),
        };
        if wide {
            given.annotations.member.push("*/a".to_owned());
        }
        let rules = if hub.is_empty() && member.is_empty() && !wide { KeyRules::builtin().clone() } else { KeyRules::with(&[given]).unwrap() };
        let mut after = before.clone();
        let left = rules.leave(&mut after);
        for (field, keys) in [(KeyField::Labels, &labels), (KeyField::Annotations, &annotations)] {
            for key in keys {
                let sent = after["metadata"][field.as_str()].get(key);
                let is_left = left.iter().any(|l| l.field == field && l.key == *key);
                prop_assert!(sent.is_some() != is_left, "{}", key);
                prop_assert!(sent.is_none_or(|value| value == key));
                if field == KeyField::Annotations {
                    prop_assert!(!hub.contains(key) || sent.is_some());
                    let given_away = member.contains(key) || wide && key.ends_with("/a");
                    prop_assert!(hub.contains(key) || !given_away || sent.is_none());
                }
            }
        }
        let mut again = after.clone();
        prop_assert!(rules.leave(&mut again).is_empty());
        prop_assert_eq!(&again, &after);
        prop_assert_eq!(&after["spec"], &before["spec"]);
    }
}
