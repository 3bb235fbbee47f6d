use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// kubectl's query strings must choose what a real API server chooses.
#[test]
fn query_strings_choose() {
    let web = labels(&[("app", "web"), ("tier", "front"), ("empty", ""), ("n", "5")]);
    for (text, expected) in [
        ("", true),
        ("app", true),
        ("!app", false),
        ("!nope", true),
        ("! nope", true),
        ("app=web", true),
        ("app==web", true),
        ("app = web , tier=front", true),
        ("app!=web", false),
        ("nope!=x", true),
        ("app in (web,db)", true),
        ("app in (db)", false),
        ("app notin (db, x)", true),
        ("nope notin (a)", true),
        ("nope in (a)", false),
        ("empty=", true),
        ("empty in ()", true),
        ("empty in (,x)", true),
        ("n>4", true),
        ("n<5", false),
        ("app>1", false),
        ("app,tier!=front", false),
        ("in in (in)", false),
    ] {
        let selector = LabelSelector::parse(text).unwrap();
        assert_eq!(selector.matches(&web), expected, "{text}");
        assert_eq!(selector.matches_value(Some(&json!(web))), expected, "{text}");
    }
    assert!(LabelSelector::everything().matches_value(None));
}

/// A selector that isn't understood must not choose everything: the place is named.
#[test]
fn bad_query_strings_are_refused() {
    for (text, column, part) in [
        ("app=web,,x", 9, "expected a label key"),
        ("=x", 1, "expected a label key"),
        ("app=web tier", 9, "expected ',' or the end, found \"tier\""),
        ("app in web", 8, "expected '('"),
        ("app in (web", 12, "expected ',' or ')', found the end"),
        ("app is web", 5, "expected =, ==, !=, in, notin"),
        ("-app=x", 1, "label key"),
        ("app=-x", 5, "label value"),
        ("Up.Case/app=x", 1, "DNS name"),
        ("app=web,", 9, "expected a label key"),
        ("n>x", 3, "expected an integer"),
        ("!app=x", 5, "expected ',' or the end"),
        ("é=x", 1, "label key"),
    ] {
        let SelectorError::Text { column: found, problem, .. } = LabelSelector::parse(text).unwrap_err()
        else {
            panic!("{text}");
        };
        assert_eq!(found, column, "{text}: {problem}");
        assert!(problem.contains(part), "{text}: {problem}");
    }
}

/// Both JSON forms that users write, and what is wrong with them by field path.
#[test]
fn json_selectors() {
    let read = |value: Value| LabelSelector::from_json(&value).map(|selector| selector.to_string());
    assert_eq!(read(json!({})).unwrap(), "");
    assert_eq!(read(json!({"env": "prod", "a": "b"})).unwrap(), "a=b,env=prod");
    let full = json!({
        "matchLabels": {"env": "prod"},
        "matchExpressions": [
            {"key": "zone", "operator": "In", "values": ["b", "a"]},
            {"key": "edge", "operator": "DoesNotExist"},
            {"key": "x", "operator": "NotIn", "values": ["1"]},
        ],
    });
    assert_eq!(read(full).unwrap(), "!edge,env=prod,x!=1,zone in (a,b)");
    for (value, expected) in [
        (json!({"env": 1}), ".env: expected a string, found a number; put it in quotes"),
        (json!([]), ".: expected a map of labels, or matchLabels and matchExpressions; found a list"),
        (
            json!({"matchLabels": {}, "env": "x"}),
            ".env: unknown field; expected matchLabels or matchExpressions",
        ),
        (
            json!({"matchExpressions": [{"operator": "In"}]}),
            ".matchExpressions[0].key: required, and must be a string",
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "Is"}]}),
            ".matchExpressions[0].operator: \"Is\" is no operator; expected In, NotIn, Exists or DoesNotExist",
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            ".matchExpressions[0]: expected at least one value",
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}),
            ".matchExpressions[0].values: must be empty for Exists and DoesNotExist",
        ),
    ] {
        assert_eq!(LabelSelector::from_json(&value).unwrap_err().to_string(), expected);
    }
}

/// kubectl sends field selectors for events and `get --field-selector`.
#[test]
fn field_selectors() {
    let pod = json!({"metadata": {"name": "a,b"}, "status": {"phase": "Running"}, "spec": {"n": 1}});
    for (text, expected) in [
        ("", true),
        ("metadata.name=a\\,b", true),
        ("status.phase==Running", true),
        ("status.phase!=Running", false),
        ("spec.n=1,status.phase=Running", true),
        ("spec.nodeName=", true),
        ("spec.nodeName!=x", true),
        ("a=b", false),
    ] {
        assert_eq!(FieldSelector::parse(text).unwrap().matches_value(&pod), expected, "{text}");
    }
    for (text, column) in [("a", 1), ("x=1,b", 5), ("a=\\x", 3), ("=x", 1), ("a=b=c", 4)] {
        let error = FieldSelector::parse(text).unwrap_err();
        assert!(matches!(error, SelectorError::Text { column: found, .. } if found == column), "{error}");
    }
    let selector = FieldSelector::parse("metadata.name=x,a!=y").unwrap();
    assert_eq!((selector.required_value("metadata.name"), selector.required_value("a")), (Some("x"), None));
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let values = || prop::collection::btree_set("|[a-c1](-?[a-c1]){0,2}", 1..4);
    let operator = prop_oneof![
        values().prop_map(Operator::In),
        values().prop_map(Operator::NotIn),
        Just(Operator::Exists),
        Just(Operator::DoesNotExist),
        any::<i64>().prop_filter("labels can't be negative", |n| *n >= 0).prop_map(Operator::GreaterThan),
        (0..9_i64).prop_map(Operator::LessThan),
    ];
    ("(k8s\\.io/)?(in|notin|[a-c])", operator)
        .prop_map(|(key, operator)| Requirement::new(key, operator).unwrap())
}

proptest! {
    #![proptest_config(testing::config())]

    /// The canonical string stands for the selector in revisions and on the wire.
    #[test]
    fn query_string_round_trip(requirements in prop::collection::vec(requirement(), 0..4)) {
        let selector = LabelSelector::new(requirements);
        prop_assert_eq!(&LabelSelector::parse(&selector.to_string()).unwrap(), &selector);
    }

    /// A selector written as JSON chooses the same.
    #[test]
    fn json_round_trip(requirements in prop::collection::vec(requirement(), 0..4)) {
        let selector = LabelSelector::new(
            requirements
                .into_iter()
                .filter(|r| !matches!(r.operator(), Operator::GreaterThan(_) | Operator::LessThan(_)))
                .collect(),
        );
        prop_assert_eq!(LabelSelector::from_json(&selector.to_json()).unwrap(), selector);
    }

    /// Escapes must survive.
    #[test]
    fn field_selector_round_trip(terms in prop::collection::vec(("[a-z.]{1,8}", "[a-c,=\\\\!é]{0,6}", any::<bool>()), 0..4)) {
        let terms = terms.into_iter().map(|(field, value, negated)| FieldTerm { field, value, negated }).collect();
        let selector = FieldSelector { terms };
        prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
    }

    /// No text makes the parsers panic.
    #[test]
    fn any_text_is_read_or_refused(text in "[a-c=!(), innot<>é\\\\]{0,16}") {
        let _ = LabelSelector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }
}
