//! Definitions as data: embedded, replaced from the hub, broken.

use fleet_render::{Definition, DefinitionKind, Definitions};
use serde_json::{Value, json};

use crate::{deployment, rendered_with, with_trait, yaml};

fn definition(name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "core.oam.dev/v1beta1", "kind": "TraitDefinition",
        "metadata": { "name": name, "resourceVersion": "7" }, "spec": spec })
}

fn fleet(name: &str, fleet: Value) -> Value {
    definition(name, json!({ "schematic": { "fleet": fleet } }))
}

/// A file that can't be read would be left out silently at run time.
#[test]
fn every_embedded_file_compiles() {
    for text in Definitions::builtin_files() {
        let definition = Definition::new(&yaml(text)).unwrap_or_else(|| panic!("no definition: {text}"));
        assert_eq!(definition.problem(), None, "{definition:?}");
    }
    assert_eq!(Definitions::builtin().iter().count(), Definitions::builtin_files().len());
    for definition in Definitions::builtin().iter() {
        assert!(definition.description().is_some_and(|text| text.ends_with('.')), "{definition:?}");
        assert_eq!(
            definition.parameters().map(|schema| &schema["type"]),
            Some(&json!("object")),
            "{definition:?}"
        );
    }
}

#[test]
fn a_definition_on_the_hub_replaces_the_embedded_one() {
    let mine = fleet(
        "scaler",
        json!({ "parameters": { "type": "object", "properties": { "n": { "type": "integer" } } },
        "patch": { "spec": { "replicas": "${parameter.n * 2}" } } }),
    );
    let all = Definitions::builtin().with_overrides(&[mine]);
    let made = rendered_with(&all, &with_trait("scaler", &json!({ "n": 4 })), &[], &[deployment()]).unwrap();
    assert_eq!(made[0].object["spec"]["replicas"], json!(8));
}

/// A hub that ran the established engine is full of definitions that we can't run.
#[test]
fn definitions_of_other_engines_do_no_harm() {
    let cue = |name: &str| definition(name, json!({ "schematic": { "cue": { "template": "…" } } }));
    let all = Definitions::builtin().with_overrides(&[
        cue("scaler"),
        cue("sidecar"),
        json!({ "kind": "Pod" }),
        json!(1),
    ]);
    rendered_with(&all, &with_trait("scaler", &json!({})), &[], &[deployment()]).expect("ours is kept");
    let error = rendered_with(&all, &with_trait("sidecar", &json!({})), &[], &[deployment()]).unwrap_err();
    assert!(
        error.to_string().contains(
            r#"its definition can't be used: it has a "cue" schematic, which isn't understood; write"#
        ),
        "{error}"
    );
    assert_eq!(error.code(), "UnusableDefinition");
}

/// A revision holds definitions as values, and renders the same from them for ever.
#[test]
fn pinned_definitions_are_the_same() {
    let all = Definitions::builtin()
        .with_overrides(&[fleet("mine", json!({ "patch": { "spec": { "paused": true } } }))]);
    let pinned = Definitions::from_values(&all.to_values());
    assert_eq!(pinned.to_values(), all.to_values());
    assert!(all.to_values().iter().all(|value| value.pointer("/metadata/resourceVersion").is_none()));
    let few = all.only(["webservice", "nope"], ["mine"]);
    let names: Vec<_> = few.iter().map(|d| (d.kind(), d.name())).collect();
    assert_eq!(names, [(DefinitionKind::Component, "webservice"), (DefinitionKind::Trait, "mine")]);
    rendered_with(&few, &with_trait("mine", &json!({})), &[], &[deployment()]).expect("enough to render");
}

/// Strategic merge patch is the default: lists of built-in kinds merge by their keys.
#[test]
fn a_strategic_patch_merges_lists_and_outputs_stand_beside() {
    let sidecar = fleet(
        "sidecar",
        json!({
            "parameters": { "type": "object", "required": ["image"], "properties": { "image": { "type": "string" } } },
            "patch": { "spec": { "template": { "spec": { "containers": [
                { "name": "log", "imagePullPolicy": "Always" }, { "name": "side", "image": "${parameter.image}" },
            ] } } } },
            "outputs": [
                { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "${context.appName}-${context.name}", "namespace": "x" } },
                "${?parameter.?nothing}",
            ],
        }),
    );
    let all = Definitions::builtin().with_overrides(&[sidecar]);
    let made = rendered_with(&all, &with_trait("sidecar", &json!({ "image": "s:1" })), &[], &[deployment()])
        .unwrap();
    let containers = made[0].object.pointer("/spec/template/spec/containers").unwrap();
    let names: Vec<_> = containers.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 3);
    let log = containers.as_array().unwrap().iter().find(|c| c["name"] == "log").unwrap();
    assert_eq!(log, &json!({ "name": "log", "image": "fluent:2", "imagePullPolicy": "Always" }));
    assert_eq!(
        made[1].object,
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "shop-web" } })
    );
    assert_eq!(made[1].provenance.base().to_string(), "trait sidecar of web");
}

/// A definition's author is told what is wrong, when it is used and by `Definition::problem`.
#[test]
fn broken_definitions() {
    let cases = [
        (json!({}), "it has neither patch nor outputs"),
        (json!({ "patches": {} }), r#"spec.schematic.fleet.patches: unknown field; did you mean "patch"?"#),
        (json!({ "patch": { "spec": "${parameter.}" } }), "patch.spec: "),
        (
            json!({ "patch": "${paramter.x}" }),
            r#"patch: there is no variable "paramter"; did you mean "parameter"?"#,
        ),
        (json!({ "patch": {}, "patchType": "magic" }), "patchType: expected strategic, merge or json"),
        (json!({ "patch": {}, "parameters": { "type": "objekt" } }), "parameters: "),
        (json!({ "patch": {}, "let": [{ "value": 1 }] }), "let[0].name: expected a string"),
        (json!({ "patch": {}, "let": [{ "name": "output", "value": 1 }] }), "is there already"),
        (
            json!({ "patch": {}, "let": [{ "name": "a", "value": "${b}" }, { "name": "b", "value": 1 }] }),
            r#"no variable "b""#,
        ),
        (json!({ "patch": {}, "checks": [{ "rule": "true" }] }), "checks[0].message: expected a string"),
        (
            json!({ "patch": {}, "checks": [{ "rule": "nope()", "message": "m" }] }),
            "checks[0].rule: there is no function `nope`",
        ),
        (json!("x"), "expected a map"),
    ];
    for (schematic, expected) in cases {
        let definition = Definition::new(&fleet("x", schematic.clone())).unwrap();
        let problem = definition.problem().unwrap_or_else(|| panic!("{schematic} should be refused"));
        assert!(problem.contains(expected), "{schematic}\n  got: {problem}\n want: {expected}");
    }
}

/// A template that fails on an input names trait, part and expression.
#[test]
fn failing_templates() {
    let all = Definitions::builtin().with_overrides(&[
        fleet("a", json!({ "patch": { "spec": { "x": "${output.spec.nope}" } } })),
        fleet("b", json!({ "patch": "text" })),
        fleet("c", json!({ "patch": {}, "outputs": [{ "kind": "X" }] })),
        fleet("d", json!({ "patch": {}, "checks": [{ "rule": "1 + 1", "message": "m" }] })),
    ]);
    let cases = [
        ("a", r#"component "web", trait "a": patch: spec.x: `output.spec` has no field "nope""#),
        ("b", "a strategic merge patch is a map"),
        ("c", r#"component "web": trait "c", output 0.apiVersion: required"#),
        ("d", "checks[0]: must be true or false, but is int"),
    ];
    for (type_, expected) in cases {
        let error =
            rendered_with(&all, &with_trait(type_, &json!({})), &[], &[deployment()]).expect_err(expected);
        assert!(error.to_string().contains(expected), "got: {error}\nwant: {expected}");
    }
}
