//! What of an object is divided: replicas, or what a Job has to complete.

use serde_json::{Value, json};

/// How much of an object there is to divide; nothing where nobody said so, or it can't be divided.
///
/// A Job is divided by its completions, one that counts none by its parallelism. The indexes of an indexed Job would be the
/// same on each cluster.
#[must_use]
pub fn count(api_version: &str, kind: &str, content: &Value) -> Option<u64> {
    let number = |at: &str| content.pointer(at).and_then(Value::as_u64);
    if !is_job(api_version, kind) {
        return number("/spec/replicas");
    }
    if is_indexed(content) {
        return None;
    }
    Some(number("/spec/completions").or_else(|| number("/spec/parallelism")).unwrap_or(1))
}

/// Whether it is one of Kubernetes' own kinds that have replicas.
#[must_use]
pub fn has_replicas(api_version: &str, kind: &str) -> bool {
    matches!(
        (api_version, kind),
        ("apps/v1", "Deployment" | "StatefulSet" | "ReplicaSet") | ("v1", "ReplicationController")
    )
}

/// Whether it is a Job: what it runs can't be divided anew.
#[must_use]
pub fn is_job(api_version: &str, kind: &str) -> bool {
    kind == "Job" && api_version.starts_with("batch/")
}

/// Whether it is a Job whose pods are told apart by an index.
#[must_use]
pub fn is_indexed(content: &Value) -> bool {
    content.pointer("/spec/completionMode").and_then(Value::as_str) == Some("Indexed")
}

/// Gives an object its share of `all`.
pub fn set(object: &mut Value, share: u64, all: u64) {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    if !is_job(text("/apiVersion"), text("/kind")) {
        if let Some(place) = object.pointer_mut("/spec/replicas") {
            *place = json!(share);
        }
        return;
    }
    let parallelism = object.pointer("/spec/parallelism").and_then(Value::as_u64);
    let counted = object.pointer("/spec/completions").is_some();
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if counted || parallelism.is_none() {
        spec.insert("completions".to_owned(), json!(share));
    }
    if let Some(parallelism) = parallelism {
        let at_once = if counted {
            // Together no more at once than was asked for; but one at least on each cluster, or it would never end.
            let part = u128::from(parallelism) * u128::from(share) / u128::from(all.max(1));
            u64::try_from(part).unwrap_or(parallelism).clamp(parallelism.min(1), parallelism.max(1))
        } else {
            share
        };
        spec.insert("parallelism".to_owned(), json!(at_once));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(spec: Value) -> Value {
        json!({"apiVersion": "batch/v1", "kind": "Job", "spec": spec})
    }

    fn of(spec: Value) -> Option<u64> {
        count("batch/v1", "Job", &job(spec))
    }

    /// If this fails, a Job is run once on each cluster that was to be run once, or an indexed one does its work twice.
    #[test]
    fn a_job_is_divided_by_what_it_completes() {
        assert_eq!(of(json!({})), Some(1));
        assert_eq!(of(json!({"completions": 6, "parallelism": 3})), Some(6));
        assert_eq!(of(json!({"parallelism": 3})), Some(3));
        assert_eq!(of(json!({"completions": 6, "completionMode": "Indexed"})), None);
        assert_eq!(count("apps/v1", "Deployment", &json!({"spec": {"replicas": 2}})), Some(2));
        assert_eq!(count("apps/v1", "Deployment", &json!({"spec": {}})), None);
    }

    /// If this fails, clusters together complete another number than was asked for, run more at once, or never end.
    #[test]
    fn each_cluster_gets_its_share() {
        for (spec, share, wanted) in [
            (json!({}), 1, json!({"completions": 1})),
            (json!({"completions": 6, "parallelism": 3}), 4, json!({"completions": 4, "parallelism": 2})),
            (json!({"completions": 6, "parallelism": 2}), 1, json!({"completions": 1, "parallelism": 1})),
            (json!({"completions": 6, "parallelism": 0}), 3, json!({"completions": 3, "parallelism": 0})),
            (json!({"parallelism": 6}), 2, json!({"parallelism": 2})),
        ] {
            let mut object = job(spec.clone());
            set(&mut object, share, of(spec).unwrap());
            assert_eq!(object, job(wanted));
        }
    }
}
