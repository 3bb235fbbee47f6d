//! Configuration, storage and access control.

use serde_json::Value;

use super::findings::{Findings, quantity};
use super::names;
use crate::behaviour::tree::{items, map, some, text};

/// What one ConfigMap or Secret may hold.
const DATA_LIMIT: usize = 1024 * 1024;

/// A ConfigMap.
pub(super) fn config_map(object: &Value, found: &mut Findings) {
    let mut size = 0;
    for (key, value) in map(object, &["data"]).into_iter().flatten() {
        data_key("data", key, found);
        if some(object, &["binaryData", key]).is_some() {
            found.invalid(format!("data[{key}]"), key.as_str(), "duplicate of key present in binaryData");
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in map(object, &["binaryData"]).into_iter().flatten() {
        data_key("binaryData", key, found);
        size += decoded_len(value);
    }
    if size > DATA_LIMIT {
        found.too_long("", DATA_LIMIT);
    }
}

/// A Secret. Messages never carry its values.
pub(super) fn secret(object: &Value, found: &mut Findings) {
    let mut size = 0;
    for (key, value) in map(object, &["data"]).into_iter().flatten() {
        data_key("data", key, found);
        size += decoded_len(value);
    }
    if size > DATA_LIMIT {
        found.too_long("data", DATA_LIMIT);
    }
    let needed: &[&str] = match text(object, &["type"]) {
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/service-account-token" => {
            if text(object, &["metadata", "annotations", "kubernetes.io/service-account.name"]).is_empty() {
                found.required("metadata.annotations[kubernetes.io/service-account.name]", "");
            }
            &[]
        }
        _ => &[],
    };
    for key in needed {
        if some(object, &["data", key]).is_none() {
            found.required(format!("data[{key}]"), "");
        }
    }
}

fn data_key(field: &str, key: &str, found: &mut Findings) {
    for complaint in names::config_key(key) {
        found.invalid(format!("{field}[{key}]"), key, &complaint);
    }
}

fn decoded_len(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    (text.len() / 4 * 3).saturating_sub(text.bytes().rev().take_while(|byte| *byte == b'=').count())
}

/// A PersistentVolumeClaim.
pub(super) fn persistent_volume_claim(object: &Value, found: &mut Findings) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    if items(spec, &["accessModes"]).is_empty() {
        found.required("spec.accessModes", "at least 1 access mode is required");
    }
    const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    for mode in items(spec, &["accessModes"]) {
        found.one_of("spec.accessModes", Some(mode), &MODES);
    }
    found.one_of("spec.volumeMode", spec.get("volumeMode"), &["Block", "Filesystem"]);
    match some(spec, &["resources", "requests", "storage"]) {
        None => found.required("spec.resources[storage]", ""),
        Some(amount) => {
            let size = quantity("spec.resources.requests.storage", amount, found);
            if size.is_some_and(|size| size.is_zero() || size.is_negative()) {
                found.invalid("spec.resources[storage]", amount.clone(), "must be greater than zero");
            }
        }
    }
}

/// A RoleBinding or ClusterRoleBinding.
pub(super) fn role_binding(kind: &str, object: &Value, found: &mut Findings) {
    let supported: &[&str] = if kind == "RoleBinding" { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    found.one_of("roleRef.kind", Some(&text(object, &["roleRef", "kind"]).into()), supported);
    if text(object, &["roleRef", "name"]).is_empty() {
        found.required("roleRef.name", "");
    }
    for (index, subject) in items(object, &["subjects"]).iter().enumerate() {
        let path = format!("subjects[{index}]");
        if text(subject, &["name"]).is_empty() {
            found.required(format!("{path}.name"), "");
        }
        let subject_kind = Value::from(text(subject, &["kind"]));
        found.one_of(format!("{path}.kind"), Some(&subject_kind), &["ServiceAccount", "User", "Group"]);
        let account = text(subject, &["kind"]) == "ServiceAccount";
        if account && kind == "ClusterRoleBinding" && text(subject, &["namespace"]).is_empty() {
            found.required(format!("{path}.namespace"), "");
        }
    }
}
