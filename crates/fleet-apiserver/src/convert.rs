//! The same object in another version of its kind.

use serde_json::{Map, Value, json};

use crate::registry::{Kind, StoredAs};

/// Rewrites a stored object into the version that this kind shows.
pub(crate) fn from_stored(kind: &Kind, object: &mut Value) {
    match kind.stored_as {
        None => return,
        Some(StoredAs::SameShape) => {}
        Some(StoredAs::Autoscaler) => autoscaler_to_v1(object),
        Some(StoredAs::Event) => rename(object, &EVENT_FIELDS, true),
    }
    set_version(object, &kind.api_version);
}

/// Rewrites an object of this kind's version into the one that is stored.
pub(crate) fn to_stored(kind: &Kind, object: &mut Value) {
    match kind.stored_as {
        // Of the same shape: stored in whichever version it was written, only `apiVersion` differs.
        None | Some(StoredAs::SameShape) => {}
        Some(StoredAs::Autoscaler) => {
            autoscaler_to_v2(object);
            set_version(object, "autoscaling/v2");
        }
        Some(StoredAs::Event) => {
            rename(object, &EVENT_FIELDS, false);
            set_version(object, "v1");
        }
    }
}

fn set_version(object: &mut Value, version: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".into(), json!(version));
    }
}

/// The core group's name of an event field, and the one in `events.k8s.io`.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("source", "deprecatedSource"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: &mut Value, names: &[(&str, &str)], forth: bool) {
    let Some(fields) = object.as_object_mut() else { return };
    for (old, new) in names {
        let (from, to) = if forth { (old, new) } else { (new, old) };
        if let Some(value) = fields.remove(*from) {
            fields.insert((*to).to_owned(), value);
        }
    }
}

fn autoscaler_to_v1(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let Some(Value::Array(metrics)) = spec.remove("metrics") else { return };
    let mut kept = Vec::new();
    for metric in metrics {
        let target = metric.pointer("/resource/target/averageUtilization").cloned();
        match target.filter(|_| metric.pointer("/resource/name") == Some(&json!("cpu"))) {
            Some(percentage) => {
                spec.insert("targetCPUUtilizationPercentage".into(), percentage);
            }
            None => kept.push(metric),
        }
    }
    let behavior = spec.remove("behavior");
    let Some(fields) = object.as_object_mut() else { return };
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            // What the old version has no field for travels in annotations, as it does in Kubernetes.
            if !kept.is_empty() {
                annotations.insert(METRICS.into(), json!(Value::Array(kept).to_string()));
            }
            if let Some(behavior) = behavior {
                annotations.insert(BEHAVIOR.into(), json!(behavior.to_string()));
            }
        }
        if metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty) {
            metadata.remove("annotations");
        }
    }
}

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn autoscaler_to_v2(object: &mut Value) {
    let mut take = |key: &str| -> Option<Value> {
        let annotations = object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
        serde_json::from_str(annotations.remove(key)?.as_str()?).ok()
    };
    let (metrics, behavior) = (take(METRICS), take(BEHAVIOR));
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let mut all = match metrics {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    if let Some(percentage) = spec.remove("targetCPUUtilizationPercentage").filter(|value| !value.is_null()) {
        let target = json!({"type": "Utilization", "averageUtilization": percentage});
        all.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    if !all.is_empty() {
        spec.insert("metrics".into(), Value::Array(all));
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".into(), behavior);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoscaler_survives_the_old_version() {
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
        ]}});
        let before = object.clone();
        autoscaler_to_v1(&mut object);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 80);
        autoscaler_to_v2(&mut object);
        assert_eq!(object, before);
    }

    #[test]
    fn an_event_keeps_its_meaning_in_both_groups() {
        let before = json!({"involvedObject": {"name": "a"}, "message": "m", "reportingComponent": "c", "reason": "r"});
        let mut event = before.clone();
        rename(&mut event, &EVENT_FIELDS, true);
        assert_eq!(event["regarding"]["name"], "a");
        rename(&mut event, &EVENT_FIELDS, false);
        assert_eq!(event, before);
    }
}
