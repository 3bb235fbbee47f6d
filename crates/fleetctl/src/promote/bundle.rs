//! What comes to the hub: the objects, and the policy that names them.

use std::sync::Arc;

use fleet_api::ObjectId;
use fleet_api::propagation::GROUPS;
use fleet_controller::labelled;
use fleet_propagation::ObjectFacts;
use fleet_propagation::selector::is_clusters_own;
use serde_json::{Value, json};

use crate::adopt::found::{Member, Object};
use crate::exit::{Failure, Outcome};

/// The objects and their policy.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) namespace: String,
    /// The policy's name.
    pub(super) policy: String,
    pub(super) objects: Vec<Promoted>,
    manifest: Value,
    owner: String,
}

/// One object.
#[derive(Debug)]
pub(super) struct Promoted {
    pub(super) id: ObjectId,
    /// As it is to stand on the hub.
    pub(super) object: Value,
    /// Fields that are left to the controllers that write them.
    pub(super) left: Vec<String>,
}

impl Bundle {
    /// Puts it together from what one member has.
    pub(super) fn of(
        namespace: &str,
        policy: &str,
        member: &Member,
        objects: &[Object],
        owner: &str,
    ) -> Outcome<Self> {
        let mut promoted = Vec::with_capacity(objects.len());
        for object in objects {
            let [said] = object.said.as_slice() else {
                return Err(Failure::failed(format!("{} was read more than once", object.id)));
            };
            let mut manifest = said.object.clone();
            if ObjectFacts::of(&manifest).is_some_and(|facts| is_clusters_own(&facts)) {
                return Err(Failure::refused(format!(
                    "{}: every cluster has one of its own, which the others would lose; leave it out",
                    object.id
                )));
            }
            if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("namespace".to_owned(), json!(namespace));
            }
            promoted.push(Promoted { id: object.id.clone(), object: manifest, left: said.left.clone() });
        }
        let manifest = manifest(namespace, policy, &member.name, &promoted);
        Ok(Self {
            namespace: namespace.to_owned(),
            policy: policy.to_owned(),
            objects: promoted,
            manifest,
            owner: owner.to_owned(),
        })
    }

    /// The policy as it is written.
    pub(super) fn policy_manifest(&self) -> &Value {
        &self.manifest
    }

    /// Everything as it is written, the policy first: what it names goes nowhere else.
    pub(super) fn manifests(&self) -> Vec<&Value> {
        std::iter::once(&self.manifest).chain(self.objects.iter().map(|object| &object.object)).collect()
    }

    /// What the controller will send to the member.
    pub(super) fn trials(&self) -> Vec<(ObjectId, Arc<Value>)> {
        self.objects
            .iter()
            .map(|object| (object.id.clone(), Arc::new(labelled(object.object.clone(), &self.owner))))
            .collect()
    }
}

fn manifest(namespace: &str, name: &str, member: &str, objects: &[Promoted]) -> Value {
    let [group, ..] = GROUPS;
    let selectors: Vec<Value> = objects
        .iter()
        .map(|object| {
            json!({ "apiVersion": object.id.api_version, "kind": object.id.kind, "name": object.id.name })
        })
        .collect();
    json!({
        "apiVersion": format!("{group}/{}", fleet_api::propagation::groups::VERSION),
        "kind": "PropagationPolicy",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "resourceSelectors": selectors,
            "placement": { "clusterAffinity": { "clusterNames": [member] } },
            "conflictResolution": "Overwrite",
            "prune": false,
            "preserveResourcesOnDeletion": true,
        },
    })
}
