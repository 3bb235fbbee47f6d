//! Services and Ingresses.

use std::collections::BTreeSet;

use serde_json::Value;

use super::findings::Findings;
use super::{metadata, names};
use crate::behaviour::tree::{int, items, some, text};

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

/// A Service.
pub(super) fn service(object: &Value, found: &mut Findings) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let kind = text(spec, &["type"]);
    found.one_of("spec.type", spec.get("type"), &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    found.one_of("spec.sessionAffinity", spec.get("sessionAffinity"), &["ClientIP", "None"]);
    let headless = text(spec, &["clusterIP"]) == "None";
    let ports = items(spec, &["ports"]);
    if ports.is_empty() && !headless && kind != "ExternalName" {
        found.required("spec.ports", "");
    }
    if kind == "ExternalName" {
        let name = text(spec, &["externalName"]);
        if name.is_empty() {
            found.required("spec.externalName", "");
        } else {
            for complaint in names::subdomain(name.strip_suffix('.').unwrap_or(name)) {
                found.invalid("spec.externalName", name, &complaint);
            }
        }
    }
    if kind == "LoadBalancer" && headless {
        found.invalid("spec.clusterIPs[0]", "None", "may not be set to 'None' for LoadBalancer services");
    }
    let (mut port_names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        service_port(port, &path, ports.len() > 1, &mut port_names, found);
        let pair = (int(port, &["port"]), text(port, &["protocol"]));
        if !numbers.insert(pair) {
            let mut value = serde_json::Map::new();
            for key in ["port", "protocol"] {
                if let Some(part) = port.get(key) {
                    value.insert(key.to_owned(), part.clone());
                }
            }
            found.duplicate(path, Value::Object(value));
        }
        if kind == "ClusterIP" && int(port, &["nodePort"]).unwrap_or(0) != 0 {
            found.forbidden(
                format!("spec.ports[{index}].nodePort"),
                "may not be used when `type` is 'ClusterIP'",
            );
        }
    }
    if let Some(selector) = some(spec, &["selector"]) {
        metadata::labels(selector, "spec.selector", found);
    }
}

fn service_port<'a>(
    port: &'a Value,
    path: &str,
    needs_name: bool,
    known: &mut BTreeSet<&'a str>,
    found: &mut Findings,
) {
    let name = text(port, &["name"]);
    if name.is_empty() {
        if needs_name {
            found.required(format!("{path}.name"), "");
        }
    } else {
        let complaints = names::label(name);
        if complaints.is_empty() && !known.insert(name) {
            found.duplicate(format!("{path}.name"), name);
        }
        for complaint in complaints {
            found.invalid(format!("{path}.name"), name, &complaint);
        }
    }
    let number = int(port, &["port"]).unwrap_or(0);
    if !(1..=65535).contains(&number) {
        found.invalid(format!("{path}.port"), number, PORT_RANGE);
    }
    found.one_of(format!("{path}.protocol"), port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    let target = format!("{path}.targetPort");
    match port.get("targetPort") {
        Some(Value::Number(number))
            if number.as_i64().is_none_or(|number| !(1..=65535).contains(&number)) =>
        {
            found.invalid(target, number.clone(), PORT_RANGE);
        }
        Some(Value::String(name)) => {
            for complaint in names::port_name(name) {
                found.invalid(target.clone(), name.as_str(), &complaint);
            }
        }
        _ => {}
    }
    if let Some(number) =
        int(port, &["nodePort"]).filter(|number| *number != 0 && !(30000..=32767).contains(number))
    {
        found.invalid(
            format!("{path}.nodePort"),
            number,
            "provided port is not in the valid range. The range of valid ports is 30000-32767",
        );
    }
}

/// An Ingress.
pub(super) fn ingress(object: &Value, found: &mut Findings) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    if items(spec, &["rules"]).is_empty() && some(spec, &["defaultBackend"]).is_none() {
        found.invalid("spec", spec.clone(), "either `defaultBackend` or `rules` must be specified");
    }
    if let Some(value) = some(spec, &["defaultBackend"]) {
        backend(value, "spec.defaultBackend", found);
    }
    let class = text(spec, &["ingressClassName"]);
    if !class.is_empty() {
        for complaint in names::subdomain(class) {
            found.invalid("spec.ingressClassName", class, &complaint);
        }
    }
    for (index, rule) in items(spec, &["rules"]).iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        let host = text(rule, &["host"]);
        if !host.is_empty() {
            for complaint in names::subdomain(host.strip_prefix("*.").unwrap_or(host)) {
                found.invalid(format!("{path}.host"), host, &complaint);
            }
        }
        let Some(http) = some(rule, &["http"]) else { continue };
        if items(http, &["paths"]).is_empty() {
            found.required(format!("{path}.http.paths"), "");
        }
        for (index, entry) in items(http, &["paths"]).iter().enumerate() {
            ingress_path(entry, &format!("{path}.http.paths[{index}]"), found);
        }
    }
}

fn ingress_path(entry: &Value, path: &str, found: &mut Findings) {
    let kind = some(entry, &["pathType"]);
    match kind {
        None => found.required(format!("{path}.pathType"), "pathType must be specified"),
        Some(_) => {
            found.one_of(format!("{path}.pathType"), kind, &["Exact", "ImplementationSpecific", "Prefix"]);
        }
    }
    let text_path = text(entry, &["path"]);
    let rooted = matches!(text(entry, &["pathType"]), "Exact" | "Prefix");
    if (rooted || !text_path.is_empty()) && !text_path.starts_with('/') {
        found.invalid(format!("{path}.path"), text_path, "must be an absolute path");
    } else if rooted && text_path.contains("//") {
        found.invalid(format!("{path}.path"), text_path, "must not contain '//'");
    }
    backend(entry.get("backend").unwrap_or(&Value::Null), &format!("{path}.backend"), found);
}

fn backend(backend: &Value, path: &str, found: &mut Findings) {
    match (some(backend, &["service"]), some(backend, &["resource"])) {
        (Some(_), Some(_)) => found.invalid(path, "", "cannot set both resource and service backends"),
        (None, None) => found.invalid(path, "", "resource or service backend is required"),
        (None, Some(_)) => {}
        (Some(service), None) => {
            let name = text(service, &["name"]);
            if name.is_empty() {
                found.required(format!("{path}.service.name"), "");
            } else {
                for complaint in names::label_1035(name) {
                    found.invalid(format!("{path}.service.name"), name, &complaint);
                }
            }
            let number = int(service, &["port", "number"]).unwrap_or(0);
            match (text(service, &["port", "name"]), number) {
                ("", 0) => found.required(path, "port name or number is required"),
                ("", 1..=65535) => {}
                ("", number) => found.invalid(format!("{path}.service.port.number"), number, PORT_RANGE),
                (_, 0) => {}
                _ => found.invalid(path, "", "cannot set both port name & port number"),
            }
        }
    }
}
