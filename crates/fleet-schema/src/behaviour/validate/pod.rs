//! Pod specs.

use std::collections::BTreeSet;

use fleet_json::quantity::Quantity;
use serde_json::Value;

use super::findings::{Findings, quantity};
use super::{metadata, names};
use crate::behaviour::tree::{int, items, map, some, text};

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

/// The spec of a Pod or template at `path`.
pub(super) fn spec(spec: &Value, path: &str, found: &mut Findings) {
    let volumes = volumes(spec, path, found);
    let mut container_names = BTreeSet::new();
    if items(spec, &["containers"]).is_empty() {
        found.required(format!("{path}.containers"), "");
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in items(spec, &[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            let name = text(container, &["name"]);
            if !name.is_empty() && !container_names.insert(name) {
                found.duplicate(format!("{path}.name"), name);
            }
            self::container(container, &path, &volumes, found);
        }
    }
    found.one_of(
        format!("{path}.restartPolicy"),
        spec.get("restartPolicy"),
        &["Always", "OnFailure", "Never"],
    );
    found.one_of(
        format!("{path}.dnsPolicy"),
        spec.get("dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    found.not_negative(
        format!("{path}.terminationGracePeriodSeconds"),
        spec.get("terminationGracePeriodSeconds"),
    );
    let account = text(spec, &["serviceAccountName"]);
    if !account.is_empty() {
        for complaint in names::subdomain(account) {
            found.invalid(format!("{path}.serviceAccountName"), account, &complaint);
        }
    }
    if let Some(selector) = some(spec, &["nodeSelector"]) {
        metadata::labels(selector, &format!("{path}.nodeSelector"), found);
    }
}

fn volumes<'a>(spec: &'a Value, path: &str, found: &mut Findings) -> BTreeSet<&'a str> {
    let mut known = BTreeSet::new();
    for (index, volume) in items(spec, &["volumes"]).iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        let name = text(volume, &["name"]);
        if name.is_empty() {
            found.required(format!("{path}.name"), "");
        } else if !known.insert(name) {
            found.duplicate(format!("{path}.name"), name);
        } else {
            for complaint in names::label(name) {
                found.invalid(format!("{path}.name"), name, &complaint);
            }
        }
        let sources = volume.as_object().map_or(0, |map| map.keys().filter(|key| *key != "name").count());
        if sources > 1 {
            let names =
                volume.as_object().into_iter().flatten().map(|(key, _)| key).filter(|key| *key != "name");
            for name in names.skip(1) {
                found.forbidden(format!("{path}.{name}"), "may not specify more than 1 volume type");
            }
        }
        for (source, key) in
            [("secret", "secretName"), ("persistentVolumeClaim", "claimName"), ("hostPath", "path")]
        {
            if some(volume, &[source]).is_some_and(|source| text(source, &[key]).is_empty()) {
                found.required(format!("{path}.{source}.{key}"), "");
            }
        }
        if some(volume, &["configMap"]).is_some_and(|source| text(source, &["name"]).is_empty()) {
            found.required(format!("{path}.configMap.name"), "");
        }
    }
    known
}

fn container(container: &Value, path: &str, volumes: &BTreeSet<&str>, found: &mut Findings) {
    let name = text(container, &["name"]);
    if name.is_empty() {
        found.required(format!("{path}.name"), "");
    } else {
        for complaint in names::label(name) {
            found.invalid(format!("{path}.name"), name, &complaint);
        }
    }
    let image = text(container, &["image"]);
    if image.is_empty() {
        found.required(format!("{path}.image"), "");
    } else if image.trim() != image {
        found.invalid(format!("{path}.image"), image, "must not have leading or trailing whitespace");
    }
    found.one_of(
        format!("{path}.imagePullPolicy"),
        container.get("imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
    ports(container, path, found);
    for (index, env) in items(container, &["env"]).iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        let name = text(env, &["name"]);
        if name.is_empty() {
            found.required(format!("{path}.name"), "");
        } else {
            for complaint in names::env_name(name) {
                found.invalid(format!("{path}.name"), name, &complaint);
            }
        }
        if some(env, &["valueFrom"]).is_some() && !text(env, &["value"]).is_empty() {
            found.invalid(format!("{path}.valueFrom"), "", "may not be specified when `value` is not empty");
        }
    }
    mounts(container, path, volumes, found);
    if let Some(resources) = some(container, &["resources"]) {
        self::resources(resources, &format!("{path}.resources"), found);
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe_value) = some(container, &[probe]) {
            let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
            if !handlers.iter().any(|handler| some(probe_value, &[handler]).is_some()) {
                found.required(format!("{path}.{probe}"), "must specify a handler type");
            }
            for key in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"] {
                found.not_negative(format!("{path}.{probe}.{key}"), probe_value.get(key));
            }
        }
    }
}

fn ports(container: &Value, path: &str, found: &mut Findings) {
    let mut known = BTreeSet::new();
    for (index, port) in items(container, &["ports"]).iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let name = text(port, &["name"]);
        if !name.is_empty() {
            let complaints = names::port_name(name);
            if complaints.is_empty() && !known.insert(name) {
                found.duplicate(format!("{path}.name"), name);
            }
            for complaint in complaints {
                found.invalid(format!("{path}.name"), name, &complaint);
            }
        }
        match int(port, &["containerPort"]).unwrap_or(0) {
            0 => found.required(format!("{path}.containerPort"), ""),
            1..=65535 => {}
            number => found.invalid(format!("{path}.containerPort"), number, PORT_RANGE),
        }
        if let Some(number) = int(port, &["hostPort"]).filter(|number| !(0..=65535).contains(number)) {
            found.invalid(format!("{path}.hostPort"), number, PORT_RANGE);
        }
        found.one_of(format!("{path}.protocol"), port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

fn mounts(container: &Value, path: &str, volumes: &BTreeSet<&str>, found: &mut Findings) {
    let mut known = BTreeSet::new();
    for (index, mount) in items(container, &["volumeMounts"]).iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let (name, mount_path) = (text(mount, &["name"]), text(mount, &["mountPath"]));
        if name.is_empty() {
            found.required(format!("{path}.name"), "");
        } else if !volumes.contains(name) {
            found.not_found(format!("{path}.name"), name);
        }
        if mount_path.is_empty() {
            found.required(format!("{path}.mountPath"), "");
        } else if !known.insert(mount_path) {
            found.invalid(format!("{path}.mountPath"), mount_path, "must be unique");
        }
    }
}

/// `requests` and `limits` at `path`.
pub(super) fn resources(resources: &Value, path: &str, found: &mut Findings) {
    for list in ["limits", "requests"] {
        for (resource, amount) in map(resources, &[list]).into_iter().flatten() {
            let path = format!("{path}.{list}.{resource}");
            if quantity(&path, amount, found).is_some_and(Quantity::is_negative) {
                found.invalid(path, amount.clone(), "must be greater than or equal to 0");
            }
        }
    }
    for (resource, amount) in map(resources, &["requests"]).into_iter().flatten() {
        let Some(limit) = some(resources, &["limits", resource]) else { continue };
        if let (Ok(request), Ok(most)) = (Quantity::from_value(amount), Quantity::from_value(limit))
            && request > most
        {
            let limit = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
            let detail = format!("must be less than or equal to {resource} limit of {limit}");
            found.invalid(format!("{path}.requests"), amount.clone(), &detail);
        }
    }
}
