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
            let mut left = said.left.clone();
            left.extend(leave_to_member(&mut manifest));
            promoted.push(Promoted { id: object.id.clone(), object: manifest, left });
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

    /// Everything as it is written: the namespace where the hub has none, then the policy, since what it names goes nowhere
    /// else.
    pub(super) fn manifests(&self, namespace_there: bool) -> Vec<Value> {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace } });
        let namespace = (!namespace_there).then_some(namespace);
        let objects = self.objects.iter().map(|object| object.object.clone());
        namespace.into_iter().chain([self.manifest.clone()]).chain(objects).collect()
    }

    /// What the controller will send to the member.
    pub(super) fn trials(&self) -> Vec<(ObjectId, Arc<Value>)> {
        self.objects
            .iter()
            .map(|object| (object.id.clone(), Arc::new(labelled(object.object.clone(), &self.owner))))
            .collect()
    }
}

/// How annotations end that name one cluster's own load balancer, whoever wrote them.
const BALANCERS: [&str; 4] = ["loadbalancer-id", "load-balancer-id", "loadbalance-id", "/elb.id"];

/// Takes out what is about this one member, and would be wrong on any that is added: addresses and ports of its own, and
/// which load balancer it has. It stays on the member as it is. Answers what that is.
fn leave_to_member(manifest: &mut Value) -> Vec<String> {
    let mut left = Vec::new();
    let mut annotations = manifest.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(annotations) = annotations.as_mut() {
        annotations.retain(|key, _| {
            let stays = !BALANCERS.iter().any(|end| key.ends_with(end));
            if !stays {
                left.push(format!("metadata.annotations[{key:?}]"));
            }
            stays
        });
    }
    if annotations.is_some_and(|annotations| annotations.is_empty())
        && let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.remove("annotations");
    }
    if manifest["apiVersion"] != json!("v1") || manifest["kind"] != json!("Service") {
        return left;
    }
    let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) else { return left };
    let headless = spec.get("clusterIP") == Some(&json!("None"));
    for field in ["clusterIP", "clusterIPs", "healthCheckNodePort"] {
        if !(headless && field.starts_with("clusterIP")) && spec.remove(field).is_some() {
            left.push(format!("spec.{field}"));
        }
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().enumerate();
    for (at, port) in ports {
        if port.as_object_mut().is_some_and(|port| port.remove("nodePort").is_some()) {
            left.push(format!("spec.ports[{at}].nodePort"));
        }
    }
    left
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Broken: a cluster that is added asks for the first one's ports and load balancer: it is refused, or takes them over.
    #[test]
    fn what_a_member_assigned_stays_its_own() {
        let mut service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "annotations": {"a": "b",
                "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-id": "lb-1", "kubernetes.io/elb.id": "2"}},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
                "healthCheckNodePort": 31000, "ports": [{"port": 80, "nodePort": 30080}, {"port": 81}]}});
        let left = leave_to_member(&mut service);
        assert_eq!(service["metadata"]["annotations"], json!({"a": "b"}));
        assert_eq!(service["spec"], json!({"type": "LoadBalancer", "ports": [{"port": 80}, {"port": 81}]}));
        assert_eq!(left.len(), 6, "{left:?}");
        assert!(left.contains(&"spec.ports[0].nodePort".to_owned()), "{left:?}");

        // On the hub there is no empty map: the same command again would find that it differs.
        let mut bare = json!({"metadata": {"annotations": {"kubernetes.io/elb.id": "2"}}});
        leave_to_member(&mut bare);
        assert_eq!(bare, json!({"metadata": {}}));

        let headless = json!({"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "None"}});
        let mut same = headless.clone();
        assert!(leave_to_member(&mut same).is_empty());
        assert_eq!(same, headless);
    }
}
