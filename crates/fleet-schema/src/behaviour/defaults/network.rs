//! Defaults of Services, endpoints and `networking.k8s.io`.

use serde_json::{Value, json};

use crate::behaviour::tree::{Object, child, child_or_new, each, fill, unset};

pub(super) fn service(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    fill(spec, "sessionAffinity", "None");
    if spec.get("sessionAffinity").and_then(Value::as_str) == Some("ClientIP") {
        if let Some(client) =
            child_or_new(spec, "sessionAffinityConfig").and_then(|config| child_or_new(config, "clientIP"))
        {
            fill(client, "timeoutSeconds", 10800);
        }
    } else {
        spec.remove("sessionAffinityConfig");
    }
    fill(spec, "type", "ClusterIP");
    each(spec, "ports", |port| {
        fill(port, "protocol", "TCP");
        if port.get("targetPort") == Some(&json!(0)) {
            port.remove("targetPort");
        }
        if let Some(number) = port.get("port").cloned() {
            fill(port, "targetPort", number);
        }
    });
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let external_ips = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty());
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && external_ips) {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        fill(spec, "internalTrafficPolicy", "Cluster");
        address_families(spec);
    }
}

/// What the address allocator of a single-stack IPv4 cluster writes.
fn address_families(spec: &mut Object) {
    if !unset(spec, "clusterIP")
        && let Some(address) = spec.get("clusterIP").cloned()
    {
        fill(spec, "clusterIPs", json!([address]));
    }
    let address = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default();
    let headless = address == "None";
    let family = if address.contains(':') { "IPv6" } else { "IPv4" };
    let selector = spec.get("selector").and_then(Value::as_object).is_some_and(|labels| !labels.is_empty());
    // Nobody picks addresses for a headless Service without selector: both families are allowed.
    let dual = headless && !selector;
    fill(spec, "ipFamilyPolicy", if dual { "RequireDualStack" } else { "SingleStack" });
    let dual = spec.get("ipFamilyPolicy").and_then(Value::as_str) == Some("RequireDualStack");
    fill(spec, "ipFamilies", if dual { json!(["IPv4", "IPv6"]) } else { json!([family]) });
}

pub(super) fn endpoints(object: &mut Object) {
    each(object, "subsets", |subset| each(subset, "ports", |port| fill(port, "protocol", "TCP")));
}

pub(super) fn endpoint_slice(object: &mut Object) {
    each(object, "ports", |port| {
        fill(port, "name", "");
        fill(port, "protocol", "TCP");
    });
}

pub(super) fn network_policy(object: &mut Object) {
    let Some(spec) = child_or_new(object, "spec") else { return };
    for rules in ["ingress", "egress"] {
        each(spec, rules, |rule| each(rule, "ports", |port| fill(port, "protocol", "TCP")));
    }
    if spec.get("policyTypes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
        let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        spec.insert("policyTypes".into(), types);
    }
}

pub(super) fn ingress_class(object: &mut Object) {
    if let Some(parameters) = child(object, "spec").and_then(|spec| child(spec, "parameters")) {
        fill(parameters, "scope", "Cluster");
    }
}
