//! From an object, or its metadata, to what is kept of it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use fleet_api::{ObjectId, names};
use fleet_health::{Health, HealthRules};
use fleet_json::Compact;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::{ApiResource, DynamicResourceScope, ObjectMeta};
use serde_json::{Map, Value, json};

use super::{Kind, Observed};

/// What a watch brings: whole objects, or their metadata.
pub(crate) trait Sight:
    kube::Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
    + Clone
    + std::fmt::Debug
    + serde::de::DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Its metadata, and the rest.
    fn parts(self) -> (ObjectMeta, Value);
}

impl Sight for DynamicObject {
    fn parts(self) -> (ObjectMeta, Value) {
        (self.metadata, self.data)
    }
}

impl Sight for PartialObjectMeta<DynamicObject> {
    fn parts(self) -> (ObjectMeta, Value) {
        (self.metadata, Value::Object(Map::new()))
    }
}

/// What is kept of an object.
pub(crate) fn sight(
    kind: &Kind,
    object: impl Sight,
    rules: &HealthRules,
    shown_of: &str,
) -> Option<(ObjectId, Observed)> {
    let (metadata, rest) = object.parts();
    let label = |name: &str| metadata.labels.as_ref().and_then(|l| l.get(name)).cloned().unwrap_or_default();
    let owner = label(names::OWNER);
    let id = ObjectId {
        api_version: kind.0.clone(),
        kind: kind.1.clone(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone()?,
    };
    let is_shown = !shown_of.is_empty() && owner == shown_of;
    let seen = Observed {
        shown: is_shown.then(|| shown(kind, &metadata, &rest)).flatten(),
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        content: label(names::CONTENT),
        managed: ours(&metadata, &names::field_manager(&owner)),
        sharers: metadata
            .labels
            .iter()
            .flatten()
            .filter_map(|(l, _)| names::sharer(l).map(str::to_owned))
            .collect(),
        deleting: metadata.deletion_timestamp.is_some(),
        health: health(kind, &metadata, rest, rules),
        owner,
    };
    Some((id, seen))
}

/// What the hub shows of an object: its status, and what that is read by.
fn shown(kind: &Kind, metadata: &ObjectMeta, rest: &Value) -> Option<Compact> {
    let status = rest.get("status").filter(|status| status.is_object())?;
    let mut spec = rest.get("spec").cloned().unwrap_or_default();
    for template in ["template", "jobTemplate", "volumeClaimTemplates"] {
        spec.as_object_mut().map(|spec| spec.remove(template));
    }
    Some(Compact::of(&json!({
        "apiVersion": kind.0,
        "kind": kind.1,
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "generation": metadata.generation,
            "deletionTimestamp": metadata.deletion_timestamp,
            "finalizers": metadata.finalizers,
        },
        "spec": spec,
        "status": status,
    })))
}

/// Judges an object. Items of a list don't say their kind, and of the metadata only this is looked at; rules that people
/// gave may look at more.
fn health(kind: &Kind, metadata: &ObjectMeta, mut object: Value, rules: &HealthRules) -> Health {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".to_owned(), json!(kind.0));
        fields.insert("kind".to_owned(), json!(kind.1));
        let looked_at = if rules.judge_kind(&kind.0, &kind.1) {
            serde_json::to_value(ObjectMeta { managed_fields: None, ..metadata.clone() }).unwrap_or_default()
        } else {
            json!({
                "generation": metadata.generation,
                "deletionTimestamp": metadata.deletion_timestamp,
                "finalizers": metadata.finalizers,
            })
        };
        fields.insert("metadata".to_owned(), looked_at);
    }
    fleet_health::assess_with(&object, rules)
}

/// Hashes our manager's entry: its fields, and when it last wrote. An update by anybody else takes the fields that it
/// changes out of it (server-side apply, "Field management"), so the values needn't be seen to notice.
fn ours(metadata: &ObjectMeta, manager: &str) -> Option<u64> {
    let entries = metadata.managed_fields.as_ref()?;
    let ours = entries.iter().find(|entry| {
        entry.manager.as_deref() == Some(manager)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    })?;
    let fields = ours.fields_v1.as_ref()?;
    let mut hasher = DefaultHasher::new();
    hash(&fields.0, &mut hasher);
    ours.time.as_ref().map(|time| time.0.as_second()).hash(&mut hasher);
    Some(hasher.finish())
}

fn hash(fields: &Value, hasher: &mut DefaultHasher) {
    let Some(map) = fields.as_object() else { return };
    for (key, below) in map {
        key.hash(hasher);
        hash(below, hasher);
    }
    map.len().hash(hasher);
}
