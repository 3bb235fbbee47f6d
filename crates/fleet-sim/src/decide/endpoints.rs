//! Endpoints and EndpointSlices: the ready pods behind a Service.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::object::{list, name, namespace, owner_reference, pod_active, pod_ready, text, uid};
use crate::world::Held;
use crate::{Action, Decision, Kind};

/// Publishes both kinds. The executor leaves out what it has published already.
pub(super) fn publish(service: &Value, pods: &[&Held], decision: &mut Decision) {
    let Some(selector) =
        service.pointer("/spec/selector").and_then(Value::as_object).filter(|map| !map.is_empty())
    else {
        // Without a selector the endpoints belong to somebody else.
        return;
    };
    let mut behind: Vec<&Value> = pods
        .iter()
        .map(|pod| &pod.value)
        .filter(|pod| pod_active(pod) && selects(selector, pod) && !text(pod, "/status/podIP").is_empty())
        .collect();
    behind.sort_by_key(|pod| name(pod));
    decision.actions.push(Action::Publish { kind: Kind::Endpoints, body: endpoints(service, &behind) });
    decision.actions.push(Action::Publish { kind: Kind::EndpointSlice, body: slice(service, &behind) });
}

fn selects(selector: &Map<String, Value>, pod: &Value) -> bool {
    let labels = pod.pointer("/metadata/labels");
    selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// The ports as numbers: a named target port is looked up in the pods.
fn ports(service: &Value, pods: &[&Value]) -> Vec<Value> {
    let ports = list(service, "/spec/ports").iter().filter_map(|port| {
        let target = port.get("targetPort").or_else(|| port.get("port"))?;
        let number = match target {
            Value::String(target) => pods
                .iter()
                .flat_map(|pod| list(pod, "/spec/containers"))
                .flat_map(|container| list(container, "/ports"))
                .find(|port| text(port, "/name") == target)
                .and_then(|port| port.get("containerPort"))
                .cloned()?,
            other => other.clone(),
        };
        let protocol = port.get("protocol").cloned().unwrap_or_else(|| json!("TCP"));
        let mut found = json!({ "port": number, "protocol": protocol });
        let name = text(port, "/name");
        if !name.is_empty() {
            crate::object::set(&mut found, "name", name);
        }
        Some(found)
    });
    ports.collect()
}

fn target(pod: &Value) -> Value {
    json!({ "kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod) })
}

fn metadata(service: &Value, name: &str, more: &[(&str, &str)]) -> Value {
    let own = service.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut labels: BTreeMap<String, Value> = own.into_iter().collect();
    labels.extend(more.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
    // Owned by the service, so that they go with it.
    json!({
        "name": name, "namespace": namespace(service), "labels": labels,
        "ownerReferences": owner_reference("v1", "Service", service),
    })
}

fn endpoints(service: &Value, pods: &[&Value]) -> Value {
    let address = |pod: &&Value| json!({ "ip": text(pod, "/status/podIP"), "nodeName": text(pod, "/spec/nodeName"), "targetRef": target(pod) });
    let (ready, unready): (Vec<&Value>, Vec<&Value>) = pods.iter().partition(|pod| pod_ready(pod));
    let mut body = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": metadata(service, name(service), &[("endpoints.kubernetes.io/managed-by", "endpoint-controller")]),
    });
    if !pods.is_empty() {
        let mut subset = json!({ "ports": ports(service, pods) });
        for (field, pods) in [("addresses", ready), ("notReadyAddresses", unready)] {
            if !pods.is_empty() {
                crate::object::set(&mut subset, field, pods.iter().map(address).collect::<Vec<_>>());
            }
        }
        crate::object::set(&mut body, "subsets", vec![subset]);
    }
    body
}

fn slice(service: &Value, pods: &[&Value]) -> Value {
    let endpoint = |pod: &&Value| {
        let ready = pod_ready(pod);
        json!({
            "addresses": [text(pod, "/status/podIP")], "nodeName": text(pod, "/spec/nodeName"), "targetRef": target(pod),
            "conditions": { "ready": ready, "serving": ready, "terminating": false },
        })
    };
    let slice_name = crate::names::with_suffix(name(service), &crate::names::suffix(&[uid(service)]));
    let labels = [
        ("kubernetes.io/service-name", name(service)),
        ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"),
    ];
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": metadata(service, &slice_name, &labels),
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": ports(service, pods),
    })
}
