use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{self, Type};

fn lines(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|Change { path, change }| match change {
            ChangeKind::Added(value) => format!("+ {path} {value}"),
            ChangeKind::Removed(value) => format!("- {path} {value}"),
            ChangeKind::Changed { from, to } => format!("~ {path} {from} -> {to}"),
            ChangeKind::Reordered { to } => format!("^ {path} {}", to.join(" ")),
        })
        .collect()
}

/// A plan must show what changes, not that a list has moved by one.
#[test]
fn lists_are_compared_by_key() {
    let before = json!({"c": [{"name": "a", "v": 1}, {"name": "b"}], "s": ["x", "y"], "n": 1});
    let after = json!({"c": [{"name": "new"}, {"name": "a", "v": 2}], "s": ["y"], "t": null});
    let keyed: Type = serde_json::from_value(json!({"fields": {"s": {"set": true}}})).unwrap();
    let expected = [
        r#"~ .c[name="a"].v 1 -> 2"#,
        r#"- .c[name="b"] {"name":"b"}"#,
        r#"+ .c[name="new"] {"name":"new"}"#,
        r#"^ .c [name="new"] [name="a"]"#,
        "- .n 1",
        r#"- .s[="x"] "x""#,
        "+ .t null",
    ];
    assert_eq!(lines(&diff_with(&before, &after, Some(&keyed))), expected);
    assert_eq!(
        lines(&diff(&json!([1, 2]), &json!([1, 3, 4]))),
        ["~ .[1] 2 -> 3", "+ .[2] 4"].map(|s| s.replace(".[", "["))
    );
}

/// Two ports that differ in protocol only are two ports; an absent key has its default.
#[test]
fn keys_of_the_shape_come_first() {
    let ports: Type = serde_json::from_value(json!({
        "keys": ["port", "protocol"],
        "items": {"fields": {"protocol": {"default": "TCP"}}},
    }))
    .unwrap();
    let before = json!([{"port": 53, "name": "a"}, {"port": 53, "protocol": "UDP", "name": "b"}]);
    let after =
        json!([{"port": 53, "protocol": "TCP", "name": "c"}, {"port": 53, "protocol": "UDP", "name": "b"}]);
    assert_eq!(
        lines(&diff_with(&before, &after, Some(&ports))),
        [r#"~ [port=53,protocol="TCP"].name "a" -> "c""#, r#"+ [port=53,protocol="TCP"].protocol "TCP""#]
    );
}

/// Without unique names a list is compared by position, or an item would be lost.
#[test]
fn names_must_be_unique() {
    let before = json!([{"name": "a"}, {"name": "a", "x": 1}]);
    let after = json!([{"name": "a"}]);
    assert_eq!(lines(&diff_by_name(&before, &after)), [r#"- [1] {"name":"a","x":1}"#]);
}

fn named_list() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]", testing::json(), 0..4).prop_flat_map(|items| {
        let items: Vec<Value> = items.into_iter().map(|(name, v)| json!({"name": name, "v": v})).collect();
        Just(items).prop_shuffle().prop_map(|items| json!({"list": items}))
    })
}

proptest! {
    #![proptest_config(testing::config())]

    /// The differences are all the differences.
    #[test]
    fn applied_differences_lead_there(before in testing::json(), after in testing::json()) {
        let mut value = before.clone();
        apply_changes(&mut value, &diff(&before, &after)).unwrap();
        prop_assert_eq!(&value, &after);
        prop_assert!(diff(&after, &after).is_empty());
    }

    /// The same, and in the same order, for lists that are compared by name.
    #[test]
    fn applied_named_differences_lead_there(before in named_list(), after in named_list()) {
        let mut value = before.clone();
        apply_changes(&mut value, &diff_by_name(&before, &after)).unwrap();
        prop_assert_eq!(value, after);
    }
}
