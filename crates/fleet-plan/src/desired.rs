//! Objects as they are to stand on a target.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_api::{ObjectId, Target, names};
use fleet_json::ContentHash;
use serde_json::{Map, Value, json};

use crate::sharing;

/// Whose an object is on its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Claim {
    /// Ours: it is written, kept as it was delivered, and deleted.
    #[default]
    Own,
    /// Somebody else's: it is waited for and looked at, and never written (policy `read-only`).
    Observe,
    /// The first Application's who delivers it; others say on it that they share it (policy `shared-resource`).
    Share,
}

/// One object for one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Its identity on the target.
    pub id: ObjectId,
    /// The component it comes from.
    pub component: String,
    /// Whose it is.
    pub claim: Claim,
    /// The whole object as it is sent, our labels included; of an object that is only looked at, its identity.
    pub object: Arc<Value>,
    /// Hash of the object without our labels; also written on it as [`names::CONTENT`].
    pub content: ContentHash,
}

/// Who delivers: what our labels say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The Application.
    pub application: &'a str,
    /// Its namespace on the hub.
    pub namespace: &'a str,
    /// [`names::owner_hash`] of both and the hub.
    pub owner: &'a str,
}

/// Puts rendered objects into a target: sets the namespace of namespaced ones and our labels.
///
/// `cluster_scoped` says which kinds have no namespace, `claim` whose an object of a component is.
pub fn prepare(
    objects: &[(String, Value)],
    target: &Target,
    delivery: &Delivery<'_>,
    cluster_scoped: &dyn Fn(&ObjectId) -> bool,
    claim: &dyn Fn(&ObjectId, &str) -> Claim,
) -> Vec<Desired> {
    let mut seen = BTreeSet::new();
    let mut prepared = Vec::with_capacity(objects.len());
    for (component, object) in objects {
        let Some(id) = ObjectId::of(object) else { continue };
        let mut object = object.clone();
        let scoped = cluster_scoped(&id);
        let Some(metadata) = metadata_of(&mut object) else { continue };
        let id = if scoped {
            metadata.remove("namespace");
            id.within("")
        } else {
            metadata.insert("namespace".to_owned(), json!(target.namespace));
            id.within(&target.namespace)
        };
        if !seen.insert(id.clone()) {
            continue;
        }
        let claim = claim(&id, component);
        if claim == Claim::Observe {
            // What the hub says of it is never sent, so it doesn't even get near a request.
            object = identity(&id);
        }
        let content = ContentHash::of_value(&object);
        if claim != Claim::Observe {
            label(&mut object, component, &content, delivery);
        }
        if claim == Claim::Share
            && let Some(labels) = object.pointer_mut("/metadata/labels").and_then(Value::as_object_mut)
        {
            labels.extend(sharing::joining(delivery.owner, delivery.namespace, delivery.application));
        }
        prepared.push(Desired { id, component: component.clone(), claim, object: Arc::new(object), content });
    }
    prepared
}

/// The namespace of a target, as it is made where it is missing.
pub fn namespace_object(target: &Target, delivery: &Delivery<'_>) -> Desired {
    let mut object =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": target.namespace } });
    let content = ContentHash::of_value(&object);
    label(&mut object, "", &content, delivery);
    let id = ObjectId::new("v1", "Namespace", "", &target.namespace);
    Desired { id, component: String::new(), claim: Claim::Own, object: Arc::new(object), content }
}

fn identity(id: &ObjectId) -> Value {
    let mut metadata = json!({ "name": id.name });
    if let Some(metadata) = metadata.as_object_mut().filter(|_| !id.namespace.is_empty()) {
        metadata.insert("namespace".to_owned(), json!(id.namespace));
    }
    json!({ "apiVersion": id.api_version, "kind": id.kind, "metadata": metadata })
}

fn metadata_of(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("metadata")?.as_object_mut()
}

fn label(object: &mut Value, component: &str, content: &ContentHash, delivery: &Delivery<'_>) {
    let Some(metadata) = metadata_of(object) else { return };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if !labels.is_object() {
        *labels = json!({});
    }
    let Some(labels) = labels.as_object_mut() else { return };
    labels.insert(names::APP_NAME.to_owned(), json!(names::short_label(delivery.application)));
    labels.insert(names::APP_NAMESPACE.to_owned(), json!(delivery.namespace));
    if !component.is_empty() {
        labels.insert(names::APP_COMPONENT.to_owned(), json!(names::short_label(component)));
    }
    labels.insert(names::OWNER.to_owned(), json!(delivery.owner));
    labels.insert(names::CONTENT.to_owned(), json!(content.short()));
}
