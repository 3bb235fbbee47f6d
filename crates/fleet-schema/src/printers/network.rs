//! Services, endpoints and `networking.k8s.io`.

use serde_json::{Value, json};

use super::cell::{
    NONE, UNKNOWN, UNSET, age, at, at_most_three, bare, items, labels, number, or, selector, some, text,
};

pub(super) fn service(object: &Value, now: i64) -> Vec<Value> {
    let internal = match items(object, &["spec", "clusterIPs"]).first() {
        Some(first) => bare(first),
        None => or(text(object, &["spec", "clusterIP"]), NONE).to_owned(),
    };
    let ports: Vec<String> = items(object, &["spec", "ports"])
        .iter()
        .map(|port| {
            let (number, node) = (number(port, &["port"]), number(port, &["nodePort"]));
            let node = if node > 0 { format!(":{node}") } else { String::new() };
            format!("{number}{node}/{}", text(port, &["protocol"]))
        })
        .collect();
    vec![
        json!(text(object, &["spec", "type"])),
        json!(internal),
        json!(external_address(object)),
        json!(or(&ports.join(","), NONE)),
        age(object, now),
        json!(labels(at(object, &["spec", "selector"]))),
    ]
}

fn external_address(object: &Value) -> String {
    let given: Vec<String> = items(object, &["spec", "externalIPs"]).iter().map(bare).collect();
    match text(object, &["spec", "type"]) {
        "ClusterIP" | "NodePort" => or(&given.join(","), NONE).to_owned(),
        "LoadBalancer" => {
            let mut all = load_balancer(object);
            all.extend(given);
            or(&all.join(","), "<pending>").to_owned()
        }
        "ExternalName" => text(object, &["spec", "externalName"]).to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

/// Addresses and host names of a load balancer, each once, sorted.
fn load_balancer(object: &Value) -> Vec<String> {
    let mut all: Vec<String> = items(object, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|ingress| or(text(ingress, &["ip"]), text(ingress, &["hostname"])).to_owned())
        .filter(|address| !address.is_empty())
        .collect();
    all.sort();
    all.dedup();
    all
}

pub(super) fn ingress(object: &Value, now: i64) -> Vec<Value> {
    let rules = items(object, &["spec", "rules"]);
    let hosts: Vec<&str> =
        rules.iter().map(|rule| text(rule, &["host"])).filter(|host| !host.is_empty()).collect();
    let hosts = match hosts.as_slice() {
        [] => "*".to_owned(),
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first},{second},{third} + {} more...", rules.len().saturating_sub(3))
        }
        hosts => hosts.join(","),
    };
    let ports = if items(object, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" };
    vec![
        json!(or(text(object, &["spec", "ingressClassName"]), NONE)),
        json!(hosts),
        json!(load_balancer(object).join(",")),
        json!(ports),
        age(object, now),
    ]
}

pub(super) fn ingress_class(object: &Value, now: i64) -> Vec<Value> {
    let parameters = some(object, &["spec", "parameters"]).map_or_else(
        || NONE.to_owned(),
        |parameters| {
            let group = text(parameters, &["apiGroup"]);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{}{dot}{group}/{}", text(parameters, &["kind"]), text(parameters, &["name"]))
        },
    );
    vec![json!(text(object, &["spec", "controller"])), json!(parameters), age(object, now)]
}

pub(super) fn network_policy(object: &Value, now: i64) -> Vec<Value> {
    vec![json!(selector(at(object, &["spec", "podSelector"]))), age(object, now)]
}

pub(super) fn service_cidr(object: &Value, now: i64) -> Vec<Value> {
    let cidrs = items(object, &["spec", "cidrs"]).iter().map(bare).collect::<Vec<_>>().join(",");
    vec![json!(cidrs), age(object, now)]
}

pub(super) fn ip_address(object: &Value) -> Vec<Value> {
    let part = |key: &str| text(object, &["spec", "parentRef", key]);
    let reference: Vec<&str> = ["group", "resource", "namespace", "name"]
        .into_iter()
        .map(part)
        .filter(|part| !part.is_empty())
        .collect();
    let (head, name) = reference.split_at(reference.len().saturating_sub(2));
    let resource = head.iter().rev().copied().collect::<Vec<_>>().join(".");
    let dot = if resource.is_empty() { "" } else { "/" };
    vec![json!(format!("{resource}{dot}{}", name.join("/")))]
}

fn host_port(address: &str, port: i64) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

pub(super) fn endpoints(object: &Value, now: i64) -> Vec<Value> {
    let mut list = Vec::new();
    for subset in items(object, &["subsets"]) {
        let addresses = || items(subset, &["addresses"]).iter().map(|address| text(address, &["ip"]));
        let ports = items(subset, &["ports"]);
        if ports.is_empty() {
            list.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            let number = number(port, &["port"]);
            list.extend(addresses().map(|address| host_port(address, number)));
        }
    }
    let shown = at_most_three(&list, list.len());
    vec![json!(or(&shown, NONE)), age(object, now)]
}

pub(super) fn endpoint_slice(object: &Value, now: i64) -> Vec<Value> {
    let ports: Vec<String> = items(object, &["ports"])
        .iter()
        .map(|port| some(port, &["port"]).map_or_else(|| "*".to_owned(), bare))
        .collect();
    let addresses: Vec<String> = items(object, &["endpoints"])
        .iter()
        .flat_map(|endpoint| items(endpoint, &["addresses"]))
        .map(bare)
        .collect();
    let shown = |list: &[String]| json!(or(&at_most_three(list, list.len()), UNSET));
    vec![json!(text(object, &["addressType"])), shown(&ports), shown(&addresses), age(object, now)]
}
