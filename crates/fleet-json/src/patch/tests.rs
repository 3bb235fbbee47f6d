use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing;

/// Each operation of RFC 6902 that users put into overrides.
#[test]
fn operations_apply() {
    let mut value = json!({"a": {"b": [1, 2]}, "c/d": "x"});
    let patch = json!([
        {"op": "test", "path": "/a/b/0", "value": 1},
        {"op": "add", "path": "/a/b/-", "value": 3},
        {"op": "remove", "path": "/a/b/0"},
        {"op": "replace", "path": "/c~1d", "value": "y"},
        {"op": "move", "from": "/c~1d", "path": "/e"},
        {"op": "copy", "from": "/a/b", "path": "/f"},
    ]);
    json_patch(&mut value, &patch).unwrap();
    assert_eq!(value, json!({"a": {"b": [2, 3]}, "e": "y", "f": [2, 3]}));
}

/// A patch that fails must leave the object as it was, and say which operation and why.
#[test]
fn failures_name_the_operation_and_change_nothing() {
    let before = json!({"spec": {"list": [1], "text": "x"}});
    let first = json!({"op": "add", "path": "/spec/new", "value": 1});
    for (operation, expected) in [
        (
            json!({"op": "remove", "path": "/spec/nope"}),
            "operation 1 (remove /spec/nope): there is nothing at this path",
        ),
        (
            json!({"op": "add", "path": "/nope/x", "value": 1}),
            "operation 1 (add /nope/x): the parent /nope doesn't exist; add it first",
        ),
        (
            json!({"op": "add", "path": "/spec/text/x", "value": 1}),
            "operation 1 (add /spec/text/x): the parent /spec/text is a string, not a map or list",
        ),
        (
            json!({"op": "add", "path": "/spec/list/7", "value": 1}),
            "operation 1 (add /spec/list/7): /spec/list is a list of 1; use a position or -",
        ),
        (
            json!({"op": "test", "path": "/spec/text", "value": "y"}),
            r#"operation 1 (test /spec/text): the value is "x", not "y""#,
        ),
        (
            json!({"op": "test", "path": "/spec/nope", "value": "y"}),
            r#"operation 1 (test /spec/nope): the value is absent, not "y""#,
        ),
        (
            json!({"op": "copy", "from": "/nope", "path": "/spec/y"}),
            r#"operation 1 (copy /spec/y): there is nothing at "from": /nope"#,
        ),
    ] {
        let mut value = before.clone();
        let error = json_patch(&mut value, &json!([first, operation])).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(value, before);
    }
    let mut value = before;
    let unknown = json!([{"op": "merge", "path": "/a", "value": 1}]);
    let error = json_patch(&mut value, &unknown).unwrap_err().to_string();
    assert!(error.starts_with("operation 0 (merge /a): unknown variant"), "{error}");
    let error = json_patch(&mut value, &json!({"op": "add"})).unwrap_err().to_string();
    assert_eq!(error, ".: a JSON patch is a list of operations, this is a map");
}

/// A short patch must not fill the memory or the stack.
#[test]
fn bombs_are_refused() {
    let doubling: Vec<Value> =
        (0..40).map(|i| json!({"op": "copy", "from": "/a", "path": format!("/a/x{i}")})).collect();
    let mut value = json!({"a": {"text": "0123456789"}});
    let before = value.clone();
    let error = json_patch(&mut value, &Value::Array(doubling)).unwrap_err();
    assert!(matches!(error, PatchError::Limit { .. }), "{error}");

    let deepening: Vec<Value> =
        (1..400).map(|depth| json!({"op": "add", "path": "/a".repeat(depth), "value": {}})).collect();
    let error = json_patch(&mut value, &Value::Array(deepening)).unwrap_err();
    assert!(matches!(error, PatchError::Limit { .. }), "{error}");

    let many = vec![json!({"op": "test", "path": "/a/text", "value": "0123456789"}); MAX_OPERATIONS + 1];
    assert!(json_patch(&mut value, &Value::Array(many)).is_err());
    assert_eq!(value, before);
}

/// The examples of RFC 7396, appendix A.
#[test]
fn merge_patch_examples_of_the_rfc() {
    for (target, patch, result) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        let mut value = target.clone();
        merge_patch(&mut value, &patch);
        assert_eq!(value, result, "{target} + {patch}");
    }
}

proptest! {
    #![proptest_config(testing::config())]

    /// The patch that we send must lead to what we wanted.
    #[test]
    fn merge_patch_between_leads_there(from in testing::json(), to in testing::json()) {
        let to = testing::without_nulls(&to);
        let from = testing::without_nulls(&from);
        let mut value = from.clone();
        let patch = merge_patch_between(&from, &to);
        merge_patch(&mut value, &patch);
        prop_assert_eq!(&value, &to);
        if from.is_object() {
            prop_assert_eq!(merge_patch_between(&to, &to) == json!({}), to.is_object());
        }
    }

    /// Sent twice, a merge patch must change nothing more.
    #[test]
    fn merge_patch_is_idempotent(target in testing::json(), patch in testing::json()) {
        let mut once = target;
        merge_patch(&mut once, &patch);
        let mut twice = once.clone();
        merge_patch(&mut twice, &patch);
        prop_assert_eq!(once, twice);
    }
}
