//! What a running object says, such that delivering it changes no field of it.

use fleet_api::{ObjectId, names};
use fleet_json::{ChangeKind, diff_by_name};
use fleet_schema::behaviour::referenced_content;
use serde_json::{Map, Value};

/// Labels that delivery sets.
const OURS: [&str; 5] =
    [names::APP_NAME, names::APP_NAMESPACE, names::APP_COMPONENT, names::OWNER, names::CONTENT];

/// What an object says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    /// As it stands in the Application: without its namespace, which the target decides.
    pub(crate) object: Value,
    /// Fields that are left to the controllers that write them.
    pub(crate) left: Vec<String>,
}

/// Reads a live object as a referenced object of the hub is read: less what its cluster wrote, less defaults that
/// nobody decided. Where that isn't what stands there now (an autoscaler has overruled the manifest), the field is left
/// to whoever wrote it; so are the replicas of what an autoscaler scales, whether or not it has done so yet.
pub(crate) fn said(id: &ObjectId, live: &Value, autoscaled: bool) -> Said {
    let mut object = referenced_content(live);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("namespace");
    }
    forget_labels(&mut object);
    let mut left = Vec::new();
    for drift in fleet_plan::drift(id, &object, live) {
        drift.path.remove(&mut object);
        left.push(drift.path.to_dotted());
    }
    const REPLICAS: &str = "/spec/replicas";
    if autoscaled
        && object.pointer(REPLICAS).is_some()
        && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("replicas");
        left.push("spec.replicas".to_owned());
    }
    let scaled = live.pointer(REPLICAS).and_then(Value::as_i64).is_some_and(|count| count != 1);
    if left.is_empty() && scaled && object.pointer(REPLICAS).is_none() {
        left.push("spec.replicas".to_owned());
    }
    Said { object, left }
}

/// Makes a default that somebody decided on one member a decision on every member that has the same there: what is alike
/// everywhere isn't to look different because one manifest was more explicit. `lives` are in the order of `said`.
pub(crate) fn agree(said: &mut [Said], lives: &[&Value]) {
    let Some(first) = said.first() else { return };
    let mut decided = first.object.clone();
    for other in said.iter().skip(1) {
        for change in diff_by_name(&decided.clone(), &other.object) {
            if let ChangeKind::Added(value) = change.change {
                // What is in the way is of another shape, and no default.
                let _ = change.path.set(&mut decided, value);
            }
        }
    }
    for (said, live) in said.iter_mut().zip(lives) {
        for change in diff_by_name(&said.object.clone(), &decided) {
            let ChangeKind::Added(value) = change.change else { continue };
            let is_there = change.path.get(live) == Some(&value);
            if is_there && !said.left.contains(&change.path.to_dotted()) {
                let _ = change.path.set(&mut said.object, value);
            }
        }
    }
}

/// Takes away the labels that delivery sets.
pub(crate) fn forget_labels(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) else { return };
    labels.retain(|name, _| !OURS.contains(&name.as_str()));
    if labels.is_empty() {
        metadata.remove("labels");
    }
}

/// The live object without what every write changes, and without what delivery sets.
pub(crate) fn untouched(object: &Value) -> Value {
    let mut object = object.clone();
    forget_labels(&mut object);
    if let Some(map) = object.as_object_mut() {
        // Not ours to change; a controller may do so at any time.
        map.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
        for name in ["labels", "annotations"] {
            if metadata.get(name).and_then(Value::as_object).is_some_and(Map::is_empty) {
                metadata.remove(name);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i64) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "demo", "uid": "u", "resourceVersion": "7", "generation": 3,
                "labels": { "app": "web", names::OWNER: "mine" },
                "annotations": { "deployment.kubernetes.io/revision": "2" },
            },
            "spec": {
                "replicas": replicas, "revisionHistoryLimit": 10,
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "web", "image": "web:1" }] },
                },
            },
            "status": { "readyReplicas": 1 },
        })
    }

    fn id(live: &Value) -> ObjectId {
        ObjectId::of(live).unwrap()
    }

    /// Broken: what the cluster wrote, or a default, is delivered to it as a decision.
    #[test]
    fn only_decisions_are_adopted() {
        let live = deployment(3);
        let Said { object, left } = said(&id(&live), &live, false);
        assert_eq!(object["metadata"], json!({ "name": "web", "labels": { "app": "web" } }));
        assert_eq!(object["spec"]["replicas"], 3);
        assert!(object.get("status").is_none() && object["spec"].get("revisionHistoryLimit").is_none());
        assert!(left.is_empty(), "{left:?}");
    }

    /// Broken: the hub and an autoscaler that is about to scale for the first time fight over replicas.
    #[test]
    fn what_an_autoscaler_will_decide_is_left_to_it() {
        let live = deployment(3);
        let Said { object, left } = said(&id(&live), &live, true);
        assert!(object.pointer("/spec/replicas").is_none());
        assert_eq!(left, ["spec.replicas"]);
    }

    /// Broken: adopting a workload that an autoscaler has scaled up takes its pods away.
    #[test]
    fn what_an_autoscaler_decides_is_left_to_it() {
        let mut live = deployment(9);
        let applied = deployment(3).to_string();
        live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!(applied);
        live["metadata"]["managedFields"] = json!([{
            "manager": "kube-controller-manager", "operation": "Update", "subresource": "scale",
            "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:replicas": {} } },
        }]);
        let Said { object, left } = said(&id(&live), &live, false);
        assert!(object["spec"].get("replicas").is_none(), "{object}");
        assert_eq!(left, ["spec.replicas"]);
        // The same without a manifest on record.
        live["metadata"]["annotations"] = json!({});
        assert_eq!(said(&id(&live), &live, false).left, ["spec.replicas"]);
    }

    /// Broken: two members with the same object differ by an override, because one was made by an explicit manifest.
    #[test]
    fn a_default_that_one_manifest_names_is_no_difference() {
        let (mut explicit, plain, other) = (deployment(3), deployment(3), deployment(3));
        let applied = explicit.to_string();
        explicit["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] =
            json!(applied);
        let mut changed = other;
        changed["spec"]["revisionHistoryLimit"] = json!(4);
        let lives = [&plain, &explicit, &changed];
        let mut all: Vec<Said> = lives.iter().map(|live| said(&id(live), live, false)).collect();
        assert!(all[0].object["spec"].get("revisionHistoryLimit").is_none());
        agree(&mut all, &lives);
        let limits: Vec<&Value> =
            all.iter().map(|said| &said.object["spec"]["revisionHistoryLimit"]).collect();
        assert_eq!(limits, [&json!(10), &json!(10), &json!(4)]);
        assert_eq!(all[0], all[1]);
    }

    /// Broken: a number that an autoscaler chose becomes a decision, because another member's manifest says the same.
    #[test]
    fn what_is_left_to_others_stays_left() {
        let live = deployment(3);
        let mut all = vec![said(&id(&live), &live, false), said(&id(&live), &live, false)];
        all[1].object["spec"].as_object_mut().unwrap().remove("replicas");
        all[1].left.push("spec.replicas".to_owned());
        agree(&mut all, &[&live, &live]);
        assert!(all[1].object["spec"].get("replicas").is_none(), "{:?}", all[1]);
    }
}
