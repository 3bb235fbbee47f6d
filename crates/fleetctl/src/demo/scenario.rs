//! What the demo applies: the example of the three centres, as it stands in `examples/`.

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::access::Cluster;
use crate::exit::{Failure, Outcome};

/// Where it goes.
pub(super) const NAMESPACE: &str = "demo";
/// The Application in it.
pub(super) const APPLICATION: &str = "web-demo";

const FILES: [(&str, &str); 2] = [
    (
        "examples/three-centres/app-meta.yaml",
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/three-centres/app-meta.yaml")),
    ),
    (
        "examples/three-centres/app.yaml",
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/three-centres/app.yaml")),
    ),
];

/// Applies the files, in order; says how many objects each had.
pub(super) async fn apply(hub: &Cluster) -> Outcome<Vec<(&'static str, usize)>> {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    apply_one(hub, &namespace).await?;
    let mut applied = Vec::new();
    for (file, text) in FILES {
        let objects =
            crate::yaml::read_all(text).map_err(|cause| Failure::failed(format!("{file}: {cause}")))?;
        for object in &objects {
            apply_one(hub, object).await?;
        }
        applied.push((file, objects.len()));
    }
    Ok(applied)
}

async fn apply_one(hub: &Cluster, object: &Value) -> Outcome {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    // Every kind of the example has a regular plural.
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
    let api: Api<DynamicObject> = match text("/metadata/namespace") {
        "" => Api::all_with(hub.client.clone(), &resource),
        namespace => Api::namespaced_with(hub.client.clone(), namespace, &resource),
    };
    let name = text("/metadata/name");
    let params = PatchParams::apply("fleetctl-demo").force();
    let doing = format!("{} {name}", text("/kind"));
    hub.ask(&doing, api.patch(name, &params, &Patch::Apply(object))).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The demo speaks of one Application in one namespace; the files must too.
    #[test]
    fn the_files_hold_what_the_demo_speaks_of() {
        let objects: Vec<Value> =
            FILES.iter().flat_map(|(_, text)| crate::yaml::read_all(text).unwrap()).collect();
        let app = objects.iter().find(|object| object["kind"] == "Application").unwrap();
        assert_eq!(app["metadata"]["name"], APPLICATION);
        assert!(objects.iter().all(|object| object["metadata"]["namespace"] == NAMESPACE));
    }
}
