//! What holds for every input.

use fleet_json::canonical_json;
use fleet_render::{Component, Definition, NamePattern, Override, Trait};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{deployment, rendered};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z${}.?]{0,8}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "containerName",
        "env",
        "replicas",
        "containers",
        "image",
        "operations",
        "op",
        "path",
        "metadata",
        "name",
        "spec",
        "template",
        "unset",
        "replace",
        "A",
        "objects",
        "kind",
        "apiVersion",
        "traits",
        "type",
        "components",
        "selector",
        "disable",
        "properties",
    ]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..4)
                .prop_map(|entries| entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

const TYPES: [&str; 7] =
    ["env", "scaler", "labels", "annotations", "json-merge-patch", "json-patch", "container-image"];

/// Traits with properties that are mostly right.
fn any_trait() -> impl Strategy<Value = Trait> {
    let text = || prop::collection::btree_map("[A-C]", "[a-z]{0,3}", 0..3).prop_map(|map| json!(map));
    let named = |type_: &'static str| move |properties: Value| Trait { type_: type_.to_owned(), properties };
    prop_oneof![
        text().prop_map(|env| json!({ "env": env, "unset": ["A"] })).prop_map(named("env")),
        (0..9).prop_map(|n| json!({ "replicas": n })).prop_map(named("scaler")),
        text().prop_map(named("labels")),
        text().prop_map(named("annotations")),
        "[a-z]{1,5}"
            .prop_map(|image| json!({ "containerName": "log", "image": image }))
            .prop_map(named("container-image")),
        (0..9).prop_map(|n| json!({ "spec": { "minReadySeconds": n } })).prop_map(named("json-merge-patch")),
    ]
}

/// The same value with every map built in the opposite order.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries: Vec<_> = map.iter().map(|(key, value)| (key.clone(), reversed(value))).collect();
            Value::Object(entries.into_iter().rev().collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(reversed).collect(),
        scalar => scalar.clone(),
    }
}

fn component(properties: Value, traits: Vec<Trait>) -> Component {
    Component { name: "web".into(), type_: "ref-objects".into(), properties, traits, depends_on: Vec::new() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same input renders the same bytes, whatever order its maps keep: a revision's hash depends on it.
    #[test]
    fn rendering_is_deterministic(traits in prop::collection::vec(any_trait(), 0..5)) {
        let objects = [deployment()];
        let one = rendered(&[component(Value::Null, traits.clone())], &[], &objects).unwrap();
        let turned: Vec<Trait> =
            traits.iter().map(|t| Trait { type_: t.type_.clone(), properties: reversed(&t.properties) }).collect();
        let turned_objects = [reversed(&deployment())];
        let two = rendered(&[component(Value::Null, turned)], &[], &turned_objects).unwrap();
        prop_assert_eq!(&one, &two);
        prop_assert_eq!(canonical_json(&one[0].object), canonical_json(&two[0].object));
    }

    /// A trait on what it has rendered changes nothing: it says a state, not a step.
    #[test]
    fn traits_are_idempotent(applied in any_trait()) {
        let once = rendered(&[component(Value::Null, vec![applied.clone()])], &[], &[deployment()]).unwrap();
        let again = rendered(&[component(Value::Null, vec![applied])], &[], &[once[0].object.clone()]).unwrap();
        prop_assert_eq!(&again[0].object, &once[0].object);
    }

    /// Every leaf that differs from the referenced object has a source other than it, and no other leaf has.
    #[test]
    fn provenance_is_what_changed(traits in prop::collection::vec(any_trait(), 0..4)) {
        let mut before = deployment();
        before["metadata"].as_object_mut().unwrap().remove("namespace");
        let made = rendered(&[component(Value::Null, traits)], &[], &[before.clone()]).unwrap();
        for (path, source) in made[0].provenance.leaves(&made[0].object) {
            if path.get(&before) != path.get(&made[0].object) {
                prop_assert_ne!(source, made[0].provenance.base(), "{}", path);
            }
        }
    }

    /// Whatever properties say, the answer is an object or one line; never a panic.
    #[test]
    fn no_properties_panic(type_ in prop::sample::select(TYPES.to_vec()), properties in any_json(), object in any_json()) {
        let applied = Trait { type_: type_.to_owned(), properties: properties.clone() };
        let mut odd = deployment();
        odd["spec"] = object;
        for target in [deployment(), odd] {
            if let Err(error) = rendered(&[component(Value::Null, vec![applied.clone()])], &[], &[target]) {
                prop_assert!(!error.to_string().contains('\n'), "{}", error);
            }
        }
        for type_ in ["k8s-objects", "webservice", "worker"] {
            let odd = Component { type_: type_.to_owned(), ..component(properties.clone(), Vec::new()) };
            let _ = rendered(&[odd], &[], &[]);
        }
        if let Ok(policy) = Override::parse("p", &properties) {
            let _ = rendered(&[component(Value::Null, Vec::new())], &[&policy], &[deployment()]);
        }
        let _ = Definition::new(&json!({ "apiVersion": "core.oam.dev/v1beta1", "kind": "TraitDefinition",
            "metadata": { "name": "x" }, "spec": { "schematic": { "fleet": properties } } }));
    }

    /// A pattern without wildcard is the name, `*` is any name, and a pattern matches what it was made from.
    #[test]
    fn patterns(name in "[a-c-]{0,8}", other in "[a-c-]{0,8}", cut in 0usize..8) {
        prop_assert_eq!(NamePattern::new(name.as_str()).matches(&other), name == other);
        prop_assert!(NamePattern::new("*").matches(&name));
        let cut = cut.min(name.len());
        let holed = format!("{}*{}", &name[..cut], &name[cut..]);
        prop_assert!(NamePattern::new(holed).matches(&name));
    }
}
