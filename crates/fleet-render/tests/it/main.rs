//! Rendering as its users see it: scenarios, tables of cases and laws.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod definitions;
mod errors;
mod laws;
mod overrides;
mod scenario;
mod traits;
mod workloads;

use fleet_render::{Component, Definitions, Override, RenderError, RenderInput, RenderedObject, render};
use serde_json::{Value, json};

/// YAML as JSON.
fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("test data is YAML")
}

fn components(value: Value) -> Vec<Component> {
    serde_json::from_value(value).expect("test data has components")
}

/// An override policy named `p`.
fn policy(name: &str, properties: &Value) -> Override {
    Override::parse(name, properties).expect("test data has a policy")
}

/// Renders with the embedded definitions; every `ref-objects` component refers to `objects`.
fn rendered(
    components: &[Component],
    overrides: &[&Override],
    objects: &[Value],
) -> Result<Vec<RenderedObject>, RenderError> {
    rendered_with(&Definitions::builtin(), components, overrides, objects)
}

fn rendered_with(
    definitions: &Definitions,
    components: &[Component],
    overrides: &[&Override],
    objects: &[Value],
) -> Result<Vec<RenderedObject>, RenderError> {
    render(&RenderInput {
        app_name: "shop",
        app_namespace: "demo",
        components,
        overrides,
        objects: &|_| objects,
        definitions,
    })
}

/// A Deployment with the containers `web` and `log`.
fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "demo", "labels": { "app": "web" } },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [
                    {
                        "name": "web",
                        "image": "nginx:1",
                        "env": [
                            { "name": "A", "value": "1" },
                            { "name": "S", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } },
                            { "name": "B", "value": "2" },
                        ],
                    },
                    { "name": "log", "image": "fluent:2" },
                ] },
            },
        },
    })
}

/// One `ref-objects` component `web` with one trait.
fn with_trait(type_: &str, properties: &Value) -> Vec<Component> {
    components(json!([{ "name": "web", "type": "ref-objects",
        "traits": [{ "type": type_, "properties": properties }] }]))
}

/// The only object that a trait makes of the Deployment above.
fn after_trait(type_: &str, properties: &Value) -> Result<Value, RenderError> {
    let objects = [deployment()];
    rendered(&with_trait(type_, properties), &[], &objects).map(|mut all| all.remove(0).object)
}
