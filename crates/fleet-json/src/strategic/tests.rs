use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::patch::merge_patch;
use crate::shape::Untyped;
use crate::testing::{self, Type};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    target: Value,
    patch: Value,
    result: Option<Value>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Cases {
    shape: Type,
    cases: Vec<Case>,
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("../../tests/data/strategic.json")).unwrap()
}

/// kubectl computes these patches and relies on the server to do exactly this with them.
#[test]
fn cases_apply_as_on_a_real_server() {
    let Cases { shape, cases } = cases();
    for case in cases {
        let mut value = case.target.clone();
        let outcome = strategic_merge_patch(&mut value, &case.patch, Some(&shape));
        match (&case.result, &case.error, outcome) {
            (Some(result), None, Ok(())) => {
                assert_eq!(&value, result, "{}", case.name);
                let mut twice = value.clone();
                strategic_merge_patch(&mut twice, &case.patch, Some(&shape)).unwrap();
                assert_eq!(twice, value, "{}: applied twice", case.name);
            }
            (None, Some(expected), Err(error)) => {
                assert_eq!(&error.to_string(), expected, "{}", case.name);
                assert_eq!(value, case.target, "{}: half applied", case.name);
            }
            (_, _, outcome) => panic!("{}: {outcome:?}, gives {value}", case.name),
        }
    }
}

/// Nothing is lost silently when the root isn't a map.
#[test]
fn a_patch_is_a_map() {
    let mut value = json!({"a": 1});
    let error = strategic_merge_patch(&mut value, &json!([]), None::<Untyped>).unwrap_err();
    assert_eq!(error.to_string(), ".: a strategic merge patch is a map, this is a list");
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::vec(("[a-c]", testing::json()), 0..4)
        .prop_map(|entries| Value::Object(entries.into_iter().collect()))
}

fn containers() -> impl Strategy<Value = Value> {
    let item = ("[a-d]", prop::option::of(0..3), prop::option::of(prop::collection::vec("[x-z]", 0..3)));
    prop::collection::vec(item, 0..4).prop_map(|items| {
        let mut seen = std::collections::BTreeSet::new();
        let list: Vec<Value> = items
            .into_iter()
            .filter(|(name, _, _)| seen.insert(name.clone()))
            .map(|(name, image, args)| json!({"name": name, "image": image, "finalizers": args}))
            .collect();
        json!({"containers": list})
    })
}

proptest! {
    #![proptest_config(testing::config())]

    /// For a type that nobody knows it is a merge patch, bar the directives.
    #[test]
    fn untyped_is_a_merge_patch(target in object(), patch in object()) {
        let (mut strategic, mut merged) = (target.clone(), target);
        strategic_merge_patch(&mut strategic, &patch, None::<Untyped>).unwrap();
        merge_patch(&mut merged, &patch);
        prop_assert_eq!(strategic, merged);
    }

    /// A patch that is sent twice after a lost answer must change nothing more, and its items are there.
    #[test]
    fn keyed_merge_is_idempotent(target in containers(), patch in containers()) {
        let shape = cases().shape;
        let mut once = testing::without_nulls(&target);
        strategic_merge_patch(&mut once, &patch, Some(&shape)).unwrap();
        let mut twice = once.clone();
        strategic_merge_patch(&mut twice, &patch, Some(&shape)).unwrap();
        prop_assert_eq!(&once, &twice);
        let names = |value: &Value| -> std::collections::BTreeSet<String> {
            value["containers"].as_array().unwrap().iter().map(|c| c["name"].to_string()).collect()
        };
        let mut expected = names(&target);
        expected.extend(names(&patch));
        prop_assert_eq!(names(&once), expected);
    }
}
