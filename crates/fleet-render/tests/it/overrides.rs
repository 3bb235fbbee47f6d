//! The merge of overrides, case by case.

use fleet_render::{Component, Definitions, NamePattern, Override, effective_components};
use serde_json::{Value, json};

use crate::{components, policy};

fn base() -> Vec<Component> {
    components(json!([
        { "name": "web", "type": "webservice", "properties": { "image": "a", "env": [1], "limit": { "cpu": 1, "memory": 2 } },
          "traits": [
              { "type": "scaler", "properties": { "replicas": 2 } },
              { "type": "env", "properties": { "containerName": "web", "env": { "A": "1", "B": "2" } } },
          ] },
        { "name": "my-web-2", "type": "webservice", "properties": { "image": "b" } },
        { "name": "job", "type": "worker", "properties": { "image": "c" } },
    ]))
}

fn after(policies: &[Value]) -> Result<Value, String> {
    let policies: Vec<Override> =
        policies.iter().enumerate().map(|(n, properties)| policy(&format!("p{n}"), properties)).collect();
    let policies: Vec<&Override> = policies.iter().collect();
    let effective =
        effective_components(&base(), &policies, &Definitions::builtin()).map_err(|e| e.to_string())?;
    Ok(effective
        .iter()
        .map(|c| {
            let traits: Vec<Value> = c.traits.iter().map(|t| json!([t.type_, t.properties])).collect();
            json!({ "name": c.name, "properties": c.properties, "traits": traits })
        })
        .collect())
}

fn patch(patches: Value) -> Value {
    json!({ "components": patches })
}

/// A part of the result at a JSON pointer.
fn at(policies: &[Value], pointer: &str) -> Value {
    after(policies).unwrap().pointer(pointer).cloned().unwrap_or(Value::Null)
}

#[test]
fn merging() {
    let scaler = |replicas: i32| json!({ "type": "scaler", "properties": { "replicas": replicas } });
    let cases = [
        // Properties: maps merge, lists are replaced.
        (
            patch(json!([{ "name": "web", "properties": { "env": [2, 3], "limit": { "cpu": 5 } } }])),
            "/0/properties",
            json!({ "image": "a", "env": [2, 3], "limit": { "cpu": 5, "memory": 2 } }),
        ),
        // Without name and type: everything; a name matches whole names only.
        (patch(json!([{ "properties": { "x": 1 } }])), "/2/properties/x", json!(1)),
        (patch(json!([{ "name": "web", "properties": { "x": 1 } }])), "/1/properties/x", Value::Null),
        (patch(json!([{ "name": "*web*", "properties": { "x": 1 } }])), "/1/properties/x", json!(1)),
        (
            patch(json!([{ "name": "", "type": "worker", "properties": { "x": 1 } }])),
            "/2/properties/x",
            json!(1),
        ),
        (patch(json!([{ "type": "worker", "properties": { "x": 1 } }])), "/0/properties/x", Value::Null),
        (
            patch(json!([{ "name": "*", "type": "worker", "properties": { "x": 1 } }])),
            "/0/properties/x",
            Value::Null,
        ),
        // Traits: merged, added, taken away.
        (
            patch(json!([{ "name": "web", "traits": [scaler(9)] }])),
            "/0/traits/0",
            json!(["scaler", { "replicas": 9 }]),
        ),
        (
            patch(json!([{ "name": "job", "traits": [scaler(9)] }])),
            "/2/traits",
            json!([["scaler", { "replicas": 9 }]]),
        ),
        (
            patch(json!([{ "name": "web", "traits": [{ "type": "scaler", "disable": true }] }])),
            "/0/traits/0/0",
            json!("env"),
        ),
        (
            patch(json!([{ "type": "webservice", "traits": [{ "type": "scaler", "disable": true }] }])),
            "/0/traits/0/0",
            json!("env"),
        ),
        (
            patch(
                json!([{ "name": "web", "traits": [{ "type": "env", "properties": { "containerName": "web", "env": { "B": "3", "C": "4" } } }] }]),
            ),
            "/0/traits/1/1/env",
            json!({ "A": "1", "B": "3", "C": "4" }),
        ),
        // Another container is another trait, not a move of the first.
        (
            patch(
                json!([{ "name": "web", "traits": [{ "type": "env", "properties": { "containerName": "log", "env": { "C": "4" } } }] }]),
            ),
            "/0/traits/2",
            json!(["env", { "containerName": "log", "env": { "C": "4" } }]),
        ),
    ];
    for (properties, pointer, expected) in cases {
        assert_eq!(at(std::slice::from_ref(&properties), pointer), expected, "{properties}");
    }
}

/// The order of the list counts: the last word is the last policy's.
#[test]
fn overrides_apply_in_order() {
    let scaler = |replicas: i32| {
        patch(
            json!([{ "name": "job", "traits": [{ "type": "scaler", "properties": { "replicas": replicas } }] }]),
        )
    };
    assert_eq!(at(&[scaler(1), scaler(2)], "/2/traits"), json!([["scaler", { "replicas": 2 }]]));
    assert_eq!(at(&[scaler(2), scaler(1)], "/2/traits"), json!([["scaler", { "replicas": 1 }]]));
    let log = |value: &str| {
        patch(json!([{ "name": "web", "traits": [
        { "type": "env", "properties": { "containerName": "log", "env": { "X": value } } }] }]))
    };
    assert_eq!(
        at(&[log("1"), log("2")], "/0/traits/2"),
        json!(["env", { "containerName": "log", "env": { "X": "2" } }]),
        "a policy finds the trait that an earlier one added"
    );
    assert_eq!(at(&[log("1"), log("2")], "/0/traits/3"), Value::Null);
}

#[test]
fn selecting() {
    let names = |selector: Value| {
        let effective = after(&[json!({ "selector": selector })]).unwrap();
        effective
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(json!(["job", "web"])), ["web", "job"], "the components' order stays");
    assert_eq!(names(json!(["*web*"])), ["web", "my-web-2"]);
}

/// Nothing is added or left out silently.
#[test]
fn what_matches_nothing_is_an_error() {
    let cases = [
        (
            patch(json!([{ "name": "wbe", "properties": {} }])),
            r#"policy "p0" (override): properties.components[0]: no component is named "wbe"; did you mean "web"?"#,
        ),
        (
            patch(json!([{ "name": "api*", "properties": {} }])),
            r#"no component is named "api*"; components: job, my-web-2, web"#,
        ),
        (
            patch(json!([{ "type": "task", "properties": {} }])),
            r#"no component is of type "task"; component types here: webservice, worker"#,
        ),
        (
            patch(json!([{ "name": "web", "type": "worker" }])),
            r#"no component is named "web" and of type "worker"; "web" is of type "webservice""#,
        ),
        (
            patch(json!([{ "name": "web", "traits": [{ "type": "scalr", "disable": true }] }])),
            r#"disables trait "scalr", which "web" doesn't have; did you mean "scaler"?"#,
        ),
        (
            patch(json!([{ "name": "job", "traits": [{ "type": "env", "disable": true }] }])),
            r#"disables trait "env", which "job" doesn't have; there are no traits"#,
        ),
        (
            json!({ "selector": ["web", "jb"] }),
            r#"properties.selector[1]: no component is named "jb"; did you mean "job"?"#,
        ),
    ];
    for (properties, expected) in cases {
        let error = after(std::slice::from_ref(&properties)).expect_err(expected);
        assert!(error.contains(expected), "{properties}\n  got: {error}\n want: {expected}");
    }
}

#[test]
fn name_patterns() {
    let cases = [
        ("web", "web", true),
        ("web", "my-web-2", false),
        ("web*", "web-2", true),
        ("*web", "my-web", true),
        ("*web", "web-2", false),
        ("*", "", true),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
        ("a*a", "aa", true),
        ("a*b*b", "ab", false),
        ("**", "x", true),
        ("w.b", "web", false),
    ];
    for (pattern, name, expected) in cases {
        assert_eq!(NamePattern::new(pattern).matches(name), expected, "{pattern} {name}");
    }
}

/// A field is owed to whoever set it, though another policy changed another field of the same trait.
#[test]
fn provenance_follows_the_layers() {
    let env = |value: Value| json!({ "type": "env", "properties": { "env": value } });
    let base = components(
        json!([{ "name": "web", "type": "ref-objects", "traits": [env(json!({ "A": "x", "C": "x" }))] }]),
    );
    let one = policy("one", &patch(json!([{ "traits": [env(json!({ "B": "y", "C": "y" }))] }])));
    let two = policy("two", &patch(json!([{ "traits": [env(json!({ "D": "z" }))] }])));
    let made = crate::rendered(&base, &[&one, &two], &[crate::deployment()]).unwrap();
    let source = |name: &str| {
        let path = format!(r#".spec.template.spec.containers[name="web"].env[name="{name}"].value"#);
        made[0].provenance.source_of(&fleet_json::FieldPath::parse(&path).unwrap()).to_string()
    };
    let kept = serde_json::to_string(&made[0].provenance).unwrap();
    assert_eq!(
        serde_json::from_str::<fleet_render::Provenance>(&kept).unwrap(),
        made[0].provenance,
        "{kept}"
    );
    let sources = ["A", "B", "C", "D", "S"].map(source);
    assert_eq!(
        sources,
        [
            "trait env of web",
            "policy one (trait env)",
            "policy one (trait env)",
            "policy two (trait env)",
            "referenced object"
        ]
    );
}

/// Broken: what a policy set in a component's properties is shown as the component type's own doing, and whoever looks for
/// the rule to change looks in the wrong file.
#[test]
fn properties_are_owed_to_the_rule_that_set_them() {
    let base = components(json!([{ "name": "api", "type": "webservice",
        "properties": { "image": "nginx:1", "ports": [{ "port": 80 }] } }]));
    let one = policy("one", &patch(json!([{ "name": "api", "properties": { "image": "nginx:2" } }])));
    let two = policy(
        "two",
        &patch(json!([{ "name": "api", "properties": { "cpu": "1" } },
            { "name": "api", "properties": { "cpu": "2" }, "traits": [{ "type": "scaler", "properties": { "replicas": 3 } }] }])),
    );
    let made = crate::rendered(&base, &[&one, &two], &[]).unwrap();
    let source = |path: &str| {
        let path = fleet_json::FieldPath::parse(path).unwrap();
        assert!(path.get(&made[0].object).is_some(), "{path} {}", made[0].object);
        serde_json::to_value(made[0].provenance.source_of(&path)).unwrap()
    };
    let container = r#".spec.template.spec.containers[name="api"]"#;
    assert_eq!(
        source(&format!("{container}.image")),
        json!({ "kind": "override", "policy": "one", "rule": "components[0].properties" })
    );
    assert_eq!(
        source(".spec.replicas"),
        json!({ "kind": "override", "policy": "two", "rule": "components[1].traits[0]", "traitType": "scaler" })
    );
    assert_eq!(
        source(&format!("{container}.resources.limits.cpu")),
        json!({ "kind": "override", "policy": "two", "rule": "components[1].properties" })
    );
    assert_eq!(
        source(&format!("{container}.name")),
        json!({ "kind": "component", "componentType": "webservice" })
    );
}
