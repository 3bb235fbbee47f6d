//! Volumes, storage classes, quotas and devices.

use serde_json::{Value, json};

use super::cell::{UNSET, age, at, bare, items, map, or, some, text};

/// The name; default storage classes are marked.
pub(super) fn marked_name(group: &str, kind: &str, object: &Value) -> String {
    let name = text(object, &["metadata", "name"]);
    let default = |key: &str| text(object, &["metadata", "annotations", key]) == "true";
    let marked = (group, kind) == ("storage.k8s.io", "StorageClass")
        && (default("storageclass.kubernetes.io/is-default-class")
            || default("storageclass.beta.kubernetes.io/is-default-class"));
    format!("{name}{}", if marked { " (default)" } else { "" })
}

fn phase(object: &Value) -> &str {
    if some(object, &["metadata", "deletionTimestamp"]).is_some() {
        "Terminating"
    } else {
        text(object, &["status", "phase"])
    }
}

fn access_modes(modes: &[Value]) -> String {
    [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ]
    .into_iter()
    .filter(|(long, _)| modes.iter().any(|mode| mode == long))
    .map(|(_, short)| short)
    .collect::<Vec<_>>()
    .join(",")
}

fn class(object: &Value) -> &str {
    let old = text(object, &["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"]);
    or(old, text(object, &["spec", "storageClassName"]))
}

fn amount(value: Option<&Value>) -> String {
    value.map(bare).unwrap_or_default()
}

pub(super) fn claim(object: &Value, now: i64) -> Vec<Value> {
    let volume = text(object, &["spec", "volumeName"]);
    let (capacity, modes) = if volume.is_empty() {
        (String::new(), String::new())
    } else {
        let capacity = amount(some(object, &["status", "capacity", "storage"]));
        (capacity, access_modes(items(object, &["status", "accessModes"])))
    };
    vec![
        json!(phase(object)),
        json!(volume),
        json!(capacity),
        json!(modes),
        json!(class(object)),
        json!(or(text(object, &["spec", "volumeAttributesClassName"]), UNSET)),
        age(object, now),
        json!(or(text(object, &["spec", "volumeMode"]), UNSET)),
    ]
}

pub(super) fn volume(object: &Value, now: i64) -> Vec<Value> {
    let claim = some(object, &["spec", "claimRef"]).map_or_else(String::new, |claim| {
        format!("{}/{}", text(claim, &["namespace"]), text(claim, &["name"]))
    });
    vec![
        json!(amount(some(object, &["spec", "capacity", "storage"]))),
        json!(access_modes(items(object, &["spec", "accessModes"]))),
        json!(text(object, &["spec", "persistentVolumeReclaimPolicy"])),
        json!(phase(object)),
        json!(claim),
        json!(class(object)),
        json!(or(text(object, &["spec", "volumeAttributesClassName"]), UNSET)),
        json!(text(object, &["status", "reason"])),
        age(object, now),
        json!(or(text(object, &["spec", "volumeMode"]), UNSET)),
    ]
}

/// The kinds of `storage.k8s.io`.
pub(super) fn storage_kind(kind: &str, object: &Value, now: i64) -> Vec<Value> {
    let flag =
        |path: &[&str], missing: bool| json!(at(object, path).and_then(Value::as_bool).unwrap_or(missing));
    match kind {
        "StorageClass" => vec![
            json!(text(object, &["provisioner"])),
            json!(or(text(object, &["reclaimPolicy"]), "Delete")),
            json!(or(text(object, &["volumeBindingMode"]), "Immediate")),
            flag(&["allowVolumeExpansion"], false),
            age(object, now),
        ],
        "CSIDriver" => {
            let audiences: Vec<&str> = items(object, &["spec", "tokenRequests"])
                .iter()
                .map(|request| text(request, &["audience"]))
                .collect();
            let modes: Vec<String> =
                items(object, &["spec", "volumeLifecycleModes"]).iter().map(bare).collect();
            vec![
                flag(&["spec", "attachRequired"], true),
                flag(&["spec", "podInfoOnMount"], false),
                flag(&["spec", "storageCapacity"], false),
                json!(or(&audiences.join(","), UNSET)),
                flag(&["spec", "requiresRepublish"], false),
                json!(or(&modes.join(","), "<none>")),
                age(object, now),
            ]
        }
        "CSINode" => vec![json!(items(object, &["spec", "drivers"]).len()), age(object, now)],
        "CSIStorageCapacity" => vec![json!(text(object, &["metadata", "creationTimestamp"]))],
        "VolumeAttachment" => vec![
            json!(text(object, &["spec", "attacher"])),
            json!(text(object, &["spec", "source", "persistentVolumeName"])),
            json!(text(object, &["spec", "nodeName"])),
            flag(&["status", "attached"], false),
            age(object, now),
        ],
        "VolumeAttributesClass" => vec![json!(text(object, &["driverName"])), age(object, now)],
        _ => vec![age(object, now)],
    }
}

/// Requests and limits, each as `name: used/hard`.
pub(super) fn quota(object: &Value, now: i64) -> Vec<Value> {
    let mut hard: Vec<(&String, &Value)> = map(object, &["status", "hard"]).into_iter().flatten().collect();
    hard.sort_by_key(|(name, _)| *name);
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, most) in hard {
        let used = some(object, &["status", "used", name]).map_or_else(|| "0".to_owned(), bare);
        let list = if name.starts_with("limits") { &mut limits } else { &mut requests };
        list.push(format!("{name}: {used}/{}", bare(most)));
    }
    vec![json!(requests.join(", ")), json!(limits.join(", ")), age(object, now)]
}

pub(super) fn resource_slice(object: &Value, now: i64) -> Vec<Value> {
    let spec = |path: &[&str]| at(object, &["spec"]).map_or("", |spec| text(spec, path)).to_owned();
    vec![
        json!(spec(&["nodeName"])),
        json!(spec(&["driver"])),
        json!(spec(&["pool", "name"])),
        age(object, now),
    ]
}

pub(super) fn resource_claim(object: &Value, now: i64) -> Vec<Value> {
    let mut states = Vec::new();
    if some(object, &["metadata", "deletionTimestamp"]).is_some() {
        states.push("deleted");
    }
    if some(object, &["status", "allocation"]).is_some() {
        states.push("allocated");
    } else if states.is_empty() {
        states.push("pending");
    }
    if !items(object, &["status", "reservedFor"]).is_empty() {
        states.push("reserved");
    }
    vec![json!(states.join(",")), age(object, now)]
}
