//! CustomResourceDefinitions of all our kinds, derived from their types.

use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use crate::{
    Application, ApplicationRevision, Approval, AuditLog, ClusterAccessPolicy, ComponentDefinition,
    DriftHold, ManagedCluster, Policy, PolicyDefinition, ResourceTracker, RolloutWindow, Run,
    TraitDefinition, Workflow, WorkflowStepDefinition,
};

/// Every CustomResourceDefinition, in the order of installation; policies about native objects in each of their groups.
///
/// # Errors
/// Only where a type can't be written as JSON, which a test rules out.
pub fn all() -> Result<Vec<Value>, serde_json::Error> {
    let mut crds = vec![
        serde_json::to_value(Application::crd())?,
        serde_json::to_value(Policy::crd())?,
        serde_json::to_value(Workflow::crd())?,
        serde_json::to_value(ApplicationRevision::crd())?,
        serde_json::to_value(ResourceTracker::crd())?,
        serde_json::to_value(ComponentDefinition::crd())?,
        serde_json::to_value(TraitDefinition::crd())?,
        serde_json::to_value(PolicyDefinition::crd())?,
        serde_json::to_value(WorkflowStepDefinition::crd())?,
        serde_json::to_value(ManagedCluster::crd())?,
        serde_json::to_value(Run::crd())?,
        serde_json::to_value(Approval::crd())?,
        serde_json::to_value(AuditLog::crd())?,
        serde_json::to_value(DriftHold::crd())?,
        serde_json::to_value(ClusterAccessPolicy::crd())?,
        serde_json::to_value(RolloutWindow::crd())?,
    ];
    crds.extend(crate::propagation::groups::definitions()?);
    for crd in &mut crds {
        finish(crd);
    }
    Ok(crds)
}

/// The definitions as they are put on a hub: with the label that says whose they are, and an annotation by which helm
/// keeps them, and with them the Applications of the fleet, when it uninstalls.
///
/// # Errors
/// As [`all`].
pub fn packaged() -> Result<Vec<Value>, serde_json::Error> {
    let mut crds = all()?;
    for metadata in crds.iter_mut().filter_map(|crd| crd.get_mut("metadata")?.as_object_mut()) {
        metadata.insert("labels".to_owned(), json!({ "app.kubernetes.io/name": "fleetctl" }));
        metadata.insert("annotations".to_owned(), json!({ "helm.sh/resource-policy": "keep" }));
    }
    Ok(crds)
}

fn finish(crd: &mut Value) {
    let kind = crd.pointer("/spec/names/kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(version) = crd.pointer_mut("/spec/versions/0").and_then(Value::as_object_mut) else { return };
    match kind.as_str() {
        // A Run is born with its state and written whole, so its status is no subresource.
        "Run" => {
            version.remove("subresources");
        }
        "Approval" => {
            if let Some(spec) = version.get_mut("schema").and_then(|s| {
                s.pointer_mut("/openAPIV3Schema/properties/spec").and_then(Value::as_object_mut)
            }) {
                let message = "an approval can't be changed; create another";
                spec.insert(
                    "x-kubernetes-validations".to_owned(),
                    json!([{ "rule": "self == oldSelf", "message": message }]),
                );
            }
        }
        // Other engines write fields into the status of an Application that ours doesn't have.
        "Application" => {
            if let Some(status) = version.get_mut("schema").and_then(|s| {
                s.pointer_mut("/openAPIV3Schema/properties/status").and_then(Value::as_object_mut)
            }) {
                status.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_crd_with_one_stored_version() {
        let crds = all().unwrap();
        assert_eq!(crds.len(), 28);
        for crd in crds {
            let name = crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            assert_eq!(crd.pointer("/spec/versions/0/storage"), Some(&json!(true)), "{name}");
        }
    }

    #[test]
    fn a_run_is_written_whole() {
        let crds = all().unwrap();
        let run = crds.iter().find(|c| c.pointer("/spec/names/kind") == Some(&json!("Run"))).unwrap();
        assert_eq!(run.pointer("/spec/versions/0/subresources"), None);
    }
}
