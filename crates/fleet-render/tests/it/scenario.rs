//! The three centres: one application, three places, and what differs there.

use std::collections::BTreeMap;

use fleet_json::{FieldPath, diff_by_name};
use fleet_render::{Definitions, Override, RenderInput, render};
use serde_json::Value;

use crate::{components, policy, yaml};

#[test]
fn each_centre_gets_exactly_its_differences() {
    let objects = yaml(include_str!("../data/three-centres-objects.yaml"));
    let case = yaml(include_str!("../data/three-centres.yaml"));
    let components = components(case["components"].clone());
    let policies: BTreeMap<&str, Override> = case["overrides"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, properties)| (name.as_str(), policy(name, properties)))
        .collect();
    let definitions = Definitions::builtin();
    for (centre, expected) in case["centres"].as_object().unwrap() {
        let names = expected["overrides"].as_array().unwrap();
        let overrides: Vec<&Override> = names.iter().map(|name| &policies[name.as_str().unwrap()]).collect();
        let made = render(&RenderInput {
            app_name: "web-demo",
            app_namespace: "demo",
            components: &components,
            overrides: &overrides,
            objects: &|component| objects[component].as_array().map_or(&[], Vec::as_slice),
            definitions: &definitions,
        })
        .unwrap_or_else(|error| panic!("{centre}: {error}"));

        let order: Vec<_> =
            made.iter().map(|o| (o.component.as_str(), o.object["kind"].as_str().unwrap())).collect();
        assert_eq!(
            order,
            [
                ("deployment", "Deployment"),
                ("configmap", "ConfigMap"),
                ("same-resource", "Service"),
                ("same-resource", "Ingress")
            ],
            "{centre}"
        );
        for object in &made {
            let kind = object.object["kind"].as_str().unwrap();
            let mut before = objects[&object.component]
                .as_array()
                .unwrap()
                .iter()
                .find(|before| before["kind"] == kind)
                .unwrap()
                .clone();
            before["metadata"].as_object_mut().unwrap().remove("namespace");
            let expected = expected["differs"].get(kind).and_then(Value::as_object);
            let expected: BTreeMap<String, Value> =
                expected.into_iter().flatten().map(|(path, pair)| (path.clone(), pair[0].clone())).collect();
            let differs: BTreeMap<String, Value> = diff_by_name(&before, &object.object)
                .into_iter()
                .map(|change| (change.path.to_string(), change.path.get(&object.object).unwrap().clone()))
                .collect();
            assert_eq!(differs, expected, "{centre}: {kind}");
        }
        for (kind, fields) in expected["differs"].as_object().unwrap() {
            let object = made.iter().find(|object| object.object["kind"] == kind.as_str()).unwrap();
            for (path, pair) in fields.as_object().unwrap() {
                let path = FieldPath::parse(path).unwrap();
                let source = object.provenance.source_of(&path).to_string();
                assert_eq!(source, pair[1].as_str().unwrap(), "{centre}: {kind} {path}");
            }
            let changed = object.provenance.changed().count();
            assert_eq!(
                changed,
                fields.as_object().unwrap().len(),
                "{centre}: {kind}: nothing else is claimed"
            );
        }
    }
}
