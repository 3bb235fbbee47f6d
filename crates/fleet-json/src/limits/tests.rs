use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing;

/// Depth decides what is refused; off by one would refuse what was stored.
#[test]
fn depth_counts_maps_and_lists() {
    for (value, expected) in
        [(json!(1), 0), (json!({}), 1), (json!([]), 1), (json!({"a": [1]}), 2), (json!([1, {"a": {}}]), 3)]
    {
        assert_eq!(depth(&value), expected, "{value}");
    }
    assert!(check_depth(&json!([[]]), 2).is_ok());
    assert_eq!(check_depth(&json!([[]]), 1).unwrap_err().to_string(), ".: nested deeper than 1 levels");
}

/// Ten MiB of brackets must be refused, without using up the stack.
#[test]
fn hostile_nesting_is_refused() {
    for open in ["[", "{\"a\":"] {
        let text = open.repeat(10 * 1024 * 1024 / open.len());
        for max in [MAX_DEPTH, 10_000] {
            let error = parse_json(text.as_bytes(), max).unwrap_err();
            assert!(matches!(error, ParseError::TooDeep(_)), "{error}");
        }
    }
    for (open, core, close) in [("[", "1", "]"), ("{\"a\":", "1", "}")] {
        let exact = format!("{}{core}{}", open.repeat(MAX_DEPTH), close.repeat(MAX_DEPTH));
        assert_eq!(depth(&parse_json(exact.as_bytes(), MAX_DEPTH).unwrap().value), MAX_DEPTH);
        assert!(matches!(parse_json(exact.as_bytes(), MAX_DEPTH - 1), Err(ParseError::TooDeep(_))));
    }
}

/// Strict validation names every field that was given twice; the last value counts.
#[test]
fn duplicates_are_named() {
    let text = br#"{"a": 1, "s": {"c": [{"x": 1, "x": 2, "x": 3}]}, "a": {"b": 1, "b": 2}}"#;
    let parsed = parse_json(text, MAX_DEPTH).unwrap();
    let names: Vec<String> = parsed.duplicates.iter().map(FieldPath::to_dotted).collect();
    assert_eq!(names, ["s.c[0].x", "a", "a.b"]);
    assert_eq!(parsed.value, json!({"a": {"b": 2}, "s": {"c": [{"x": 3}]}}));
}

/// Errors say where.
#[test]
fn syntax_errors_have_a_place() {
    let error = parse_json(b"{\"a\": 1,\n \"b\" 2}", MAX_DEPTH).unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 6: expected `:`");
    assert!(parse_json(b"{} x", MAX_DEPTH).is_err());
    assert!(parse_json(b"", MAX_DEPTH).is_err());
    assert!(parse_json(b"\"\xff\"", MAX_DEPTH).is_err());
}

proptest! {
    #![proptest_config(testing::config())]

    /// Our reader and `serde_json`'s must agree.
    #[test]
    fn reads_as_serde_json_does(value in testing::json()) {
        let parsed = parse_json(value.to_string().as_bytes(), MAX_DEPTH).unwrap();
        prop_assert_eq!(&parsed.value, &value);
        prop_assert!(parsed.duplicates.is_empty());
    }
}
