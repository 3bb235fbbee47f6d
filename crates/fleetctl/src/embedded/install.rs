//! What the hub must have before anything else.

use fleet_api::crds;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::Value;

use super::EmbeddedError;
use crate::exit::said;

/// The group of admission policies.
const GROUP: &str = "admissionregistration.k8s.io";
/// Under which name the program applies what it needs itself.
pub(crate) const MANAGER: &str = "fleetctl";

/// Applies the definitions of our kinds; changes nothing where they are there.
pub(crate) async fn definitions(hub: &kube::Client) -> Result<(), EmbeddedError> {
    let failed = |what: &str, cause: String| EmbeddedError::Install { what: what.to_owned(), cause };
    let all =
        crds::packaged().map_err(|error| failed("the custom resource definitions", error.to_string()))?;
    let api: Api<CustomResourceDefinition> = Api::all(hub.clone());
    let params = PatchParams::apply(MANAGER).force();
    // Together: a store on disk then keeps them with one write. Their schemas need not come back: read, they take megabytes.
    let applied = all.iter().map(async |definition| {
        let name = definition.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let patch = Patch::Apply(definition);
        api.patch_metadata(name, &params, &patch).await.map_err(|error| failed(name, said(&error)))
    });
    futures::future::try_join_all(applied).await.map(|_| ())
}

/// Applies the admission policies that the chart installs elsewhere: who approved is proved, and records are the
/// controller's. Where somebody took one away or weakened it, it is there again.
pub(super) async fn policies(hub: &kube::Client) -> Result<(), EmbeddedError> {
    let failed = |what: &str, cause: String| EmbeddedError::Install { what: what.to_owned(), cause };
    let all = crate::install::admission_policies(&[super::CONTROLLER_USER.to_owned()]);
    let all = all.map_err(|error| failed("the admission policies", error))?;
    let params = PatchParams::apply(MANAGER).force();
    let applied = all.iter().map(async |policy| {
        let text = |at: &str| policy.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", kind));
        let api: Api<DynamicObject> = Api::all_with(hub.clone(), &resource);
        let applied = api.patch(name, &params, &Patch::Apply(policy)).await;
        applied.map_err(|error| failed(&format!("{kind} {name}"), said(&error)))
    });
    futures::future::try_join_all(applied).await.map(|_| ())
}

/// Applies the roles for people: who views, edits and approves. They are bound by whoever runs the hub; those who may
/// view, edit or administer a namespace by Kubernetes' own roles have them already.
pub(super) async fn roles(hub: &kube::Client) -> Result<(), EmbeddedError> {
    let failed = |what: &str, cause: String| EmbeddedError::Install { what: what.to_owned(), cause };
    let all = crate::install::roles_for_people().map_err(|cause| failed("the roles for people", cause))?;
    let api: Api<ClusterRole> = Api::all(hub.clone());
    let params = PatchParams::apply(MANAGER).force();
    let applied = all.iter().map(async |role| {
        let name = role.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        api.patch(name, &params, &Patch::Apply(role)).await.map_err(|error| failed(name, said(&error)))
    });
    futures::future::try_join_all(applied).await.map(|_| ())
}
