//! From an object, or its metadata, to what is kept of it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use fleet_api::{ObjectId, names};
use fleet_health::{Health, HealthRules};
use fleet_json::Compact;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
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
    let id = ObjectId::new(
        &kind.0,
        &kind.1,
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone()?,
    );
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

/// Hashes our manager's entry: its fields ([`FIELDS`]), and when it last wrote. An update by anybody else takes the fields that it
/// changes out of it (server-side apply, "Field management"), so the values needn't be seen to notice.
fn ours(metadata: &ObjectMeta, manager: &str) -> Option<u64> {
    let ours = metadata.managed_fields.iter().flatten().find(|entry| is_of(entry, manager))?;
    Some(hashed(ours, &ours.fields_v1.as_ref()?.0))
}

/// Whether our manager's entry would have the fields that it had once, had others not taken these (`.spec.replicas`) out of
/// it. When it wrote doesn't count: the same fields may have been written once more before that could be recorded.
pub(crate) fn had(metadata: &ObjectMeta, manager: &str, hash: u64, fields: &[&str]) -> bool {
    let (ours, others): (Vec<_>, Vec<_>) =
        metadata.managed_fields.iter().flatten().partition(|entry| is_of(entry, manager));
    let Some((ours, owned)) = ours.first().and_then(|ours| Some((ours, ours.fields_v1.as_ref()?))) else {
        return false;
    };
    let mut owned = owned.0.clone();
    for theirs in others.iter().filter_map(|entry| entry.fields_v1.as_ref()) {
        give_back(&mut owned, &theirs.0, "", fields);
    }
    (hashed(ours, &owned) ^ hash) & FIELDS == 0
}

fn is_of(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    entry.manager.as_deref() == Some(manager)
        && entry.operation.as_deref() == Some("Apply")
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

/// Adds to a set of fields those of another that are at these paths.
fn give_back(to: &mut Value, from: &Value, at: &str, fields: &[&str]) {
    for (key, below) in from.as_object().into_iter().flatten() {
        let path = format!("{at}{}", shown_key(key));
        if !fields.iter().any(|field| field.starts_with(&path)) {
            continue;
        }
        let Some(to) = to.as_object_mut() else { return };
        let is_there = to.contains_key(key);
        let inside = to.entry(key.clone()).or_insert_with(|| json!({}));
        give_back(inside, below, &path, fields);
        let is_empty = inside.as_object().is_none_or(Map::is_empty);
        if !is_there && is_empty && !fields.contains(&path.as_str()) {
            to.remove(key);
        }
    }
}

/// A key of managedFields as API servers name it in a conflict.
fn shown_key(key: &str) -> String {
    match key.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("i", index)) => format!("[{index}]"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        _ => String::from("\0"),
    }
}

/// The part of a hash that tells of fields; the rest tells of the time, too.
const FIELDS: u64 = 0xffff_ffff_0000_0000;

fn hashed(entry: &ManagedFieldsEntry, fields: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash(fields, &mut hasher);
    let fields = hasher.finish();
    entry.time.as_ref().map(|time| time.0.as_second()).hash(&mut hasher);
    (fields & FIELDS) | (hasher.finish() & !FIELDS)
}

fn hash(fields: &Value, hasher: &mut DefaultHasher) {
    let Some(map) = fields.as_object() else { return };
    for (key, below) in map {
        key.hash(hasher);
        hash(below, hasher);
    }
    map.len().hash(hasher);
}
