//! What the hub must have before anything else.

use fleet_api::crds;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use serde_json::Value;

use super::EmbeddedError;
use crate::exit::said;

/// Under which name the program applies what it needs itself.
pub(crate) const MANAGER: &str = "fleetctl";

/// Applies the definitions of our kinds; changes nothing where they are there.
pub(crate) async fn definitions(hub: &kube::Client) -> Result<(), EmbeddedError> {
    let failed = |what: &str, cause: String| EmbeddedError::Install { what: what.to_owned(), cause };
    let all =
        crds::packaged().map_err(|error| failed("the custom resource definitions", error.to_string()))?;
    let api: Api<CustomResourceDefinition> = Api::all(hub.clone());
    let params = PatchParams::apply(MANAGER).force();
    // Together: a store on disk then keeps them with one write.
    let applied = all.iter().map(async |definition| {
        let name = definition.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let patch = Patch::Apply(definition);
        api.patch(name, &params, &patch).await.map_err(|error| failed(name, said(&error)))
    });
    futures::future::try_join_all(applied).await.map(|_| ())
}
