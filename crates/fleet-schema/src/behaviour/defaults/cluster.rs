//! Defaults of configuration, storage, access control and API extension kinds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::behaviour::tree::{Object, child, child_or_new, each, fill};

pub(super) fn namespace(object: &mut Object) {
    let Some(name) = object.get("metadata").and_then(|metadata| metadata.get("name")).cloned() else {
        return;
    };
    if let Some(labels) = child_or_new(object, "metadata").and_then(|meta| child_or_new(meta, "labels")) {
        labels.insert("kubernetes.io/metadata.name".into(), name);
    }
}

/// `stringData` is write-only: it overwrites entries of `data`.
pub(super) fn secret(object: &mut Object) {
    fill(object, "type", "Opaque");
    if let Some(Value::Object(plain)) = object.remove("stringData")
        && !plain.is_empty()
        && let Some(data) = child_or_new(object, "data")
    {
        for (key, value) in plain {
            if let Value::String(text) = value {
                data.insert(key, STANDARD.encode(text).into());
            }
        }
    }
}

pub(super) fn persistent_volume_claim(object: &mut Object) {
    if let Some(spec) = child_or_new(object, "spec") {
        fill(spec, "volumeMode", "Filesystem");
        fill(spec, "resources", json!({}));
    }
}

pub(super) fn persistent_volume(object: &mut Object) {
    if let Some(spec) = child_or_new(object, "spec") {
        fill(spec, "persistentVolumeReclaimPolicy", "Retain");
        fill(spec, "volumeMode", "Filesystem");
        if let Some(source) = child(spec, "hostPath") {
            fill(source, "type", "");
        }
    }
}

pub(super) fn limit_range(object: &mut Object) {
    let Some(spec) = child(object, "spec") else { return };
    each(spec, "limits", |limit| {
        if limit.get("type").and_then(Value::as_str) != Some("Container") {
            return;
        }
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let Some(known) = limit.get(from).and_then(Value::as_object).cloned() else { continue };
            if let Some(target) = child_or_new(limit, to) {
                for (resource, amount) in known {
                    target.entry(resource).or_insert(amount);
                }
            }
        }
    });
}

pub(super) fn role_binding(object: &mut Object) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = child(object, "roleRef") {
        fill(role, "apiGroup", GROUP);
    }
    each(object, "subjects", |subject| {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            fill(subject, "apiGroup", GROUP);
        }
    });
}

pub(super) fn storage_class(object: &mut Object) {
    fill(object, "reclaimPolicy", "Delete");
    fill(object, "volumeBindingMode", "Immediate");
}

pub(super) fn csi_driver(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    fill(spec, "attachRequired", true);
    fill(spec, "podInfoOnMount", false);
    fill(spec, "storageCapacity", false);
    fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    fill(spec, "volumeLifecycleModes", json!(["Persistent"]));
    fill(spec, "requiresRepublish", false);
    fill(spec, "seLinuxMount", false);
}

pub(super) fn priority_class(object: &mut Object) {
    fill(object, "preemptionPolicy", "PreemptLowerPriority");
}

pub(super) fn validating_webhooks(object: &mut Object) {
    each(object, "webhooks", webhook);
}

pub(super) fn mutating_webhooks(object: &mut Object) {
    each(object, "webhooks", |hook| {
        webhook(hook);
        fill(hook, "reinvocationPolicy", "Never");
    });
}

fn webhook(hook: &mut Object) {
    fill(hook, "failurePolicy", "Fail");
    fill(hook, "timeoutSeconds", 10);
    selectors(hook);
    each(hook, "rules", |rule| fill(rule, "scope", "*"));
    if let Some(config) = child(hook, "clientConfig") {
        service_port(config);
    }
}

fn selectors(holder: &mut Object) {
    fill(holder, "matchPolicy", "Equivalent");
    fill(holder, "namespaceSelector", json!({}));
    fill(holder, "objectSelector", json!({}));
}

fn service_port(holder: &mut Object) {
    if let Some(service) = child(holder, "service") {
        fill(service, "port", 443);
    }
}

pub(super) fn admission_policy(object: &mut Object) {
    if let Some(spec) = child_or_new(object, "spec") {
        fill(spec, "failurePolicy", "Fail");
        match_resources(spec, "matchConstraints");
    }
}

pub(super) fn admission_policy_binding(object: &mut Object) {
    if let Some(spec) = child_or_new(object, "spec") {
        match_resources(spec, "matchResources");
    }
}

fn match_resources(spec: &mut Object, key: &str) {
    if let Some(resources) = child(spec, key) {
        selectors(resources);
        each(resources, "resourceRules", |rule| fill(rule, "scope", "*"));
        each(resources, "excludeResourceRules", |rule| fill(rule, "scope", "*"));
    }
}

pub(super) fn custom_resource_definition(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    if let Some(names) = child(spec, "names")
        && let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_owned)
        && !kind.is_empty()
    {
        fill(names, "singular", kind.to_lowercase());
        fill(names, "listKind", format!("{kind}List"));
    }
    if let Some(conversion) = child_or_new(spec, "conversion") {
        fill(conversion, "strategy", "None");
        if let Some(config) = child(conversion, "webhook").and_then(|webhook| child(webhook, "clientConfig"))
        {
            service_port(config);
        }
    }
}

pub(super) fn api_service(object: &mut Object) {
    if let Some(spec) = child(object, "spec") {
        service_port(spec);
    }
}
