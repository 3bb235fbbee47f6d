//! The definitions that are built in, as objects on the hub: there people see what component types and traits there
//! are, and what they take.

use fleet_api::{ComponentDefinition, TraitDefinition};
use fleet_render::Definitions;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use serde_json::{Value, json};

/// Under which name they are applied.
const MANAGER: &str = "fleetctl-definitions";

/// Applies them to a namespace. One that somebody has edited there is somebody's decision and stays.
///
/// # Errors
/// What the hub answered.
pub(crate) async fn apply(hub: &Client, namespace: &str) -> Result<(), kube::Error> {
    // Files of the source; a test of fleet-render reads each.
    let files =
        Definitions::builtin_files().iter().flat_map(|text| crate::yaml::read_all(text).unwrap_or_default());
    for mut object in files {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("labels".to_owned(), json!({ "app.kubernetes.io/name": "fleetctl" }));
        }
        let resource = match kind.as_str() {
            "ComponentDefinition" => ApiResource::erase::<ComponentDefinition>(&()),
            "TraitDefinition" => ApiResource::erase::<TraitDefinition>(&()),
            _ => continue,
        };
        let api: Api<DynamicObject> = Api::namespaced_with(hub.clone(), namespace, &resource);
        match api.patch(&name, &PatchParams::apply(MANAGER), &Patch::Apply(&object)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {
                tracing::info!(kind, name, "the hub's definition was edited and is left as it is");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
