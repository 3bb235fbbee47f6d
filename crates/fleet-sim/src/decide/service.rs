//! Services: an address inside, one outside for load balancers, and the endpoints behind.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::endpoints;
use crate::names::address;
use crate::object::{deleting, list, name, namespace, text};
use crate::settings::{Moment, Pods};
use crate::world::Held;
use crate::{Decision, Kind, stages};

/// What a Service does next, given all Services of its member and the pods of its namespace.
#[must_use]
pub fn next(service: &Held, services: &[&Held], pods: &[&Held], moment: Moment<'_>) -> Decision {
    let mut decision = Decision::default();
    let value = &service.value;
    if deleting(value) {
        return decision;
    }
    if text(value, "/spec/type") != "ExternalName" && text(value, "/spec/clusterIP").is_empty() {
        let ip = free_address(value, services);
        decision.patch(Kind::Service, value, json!({ "spec": { "clusterIP": ip, "clusterIPs": [ip] } }));
    }
    stages::next(Kind::Service, service, moment, &mut decision);
    if moment.settings.pods == Pods::Full {
        endpoints::publish(value, pods, &mut decision);
    }
    decision
}

/// An address of 10.96.0.0/16 that no other Service has; always the same one for the same name.
fn free_address(service: &Value, services: &[&Held]) -> String {
    let mut taken: BTreeSet<&str> =
        services.iter().map(|held| text(&held.value, "/spec/clusterIP")).collect();
    taken.extend(
        services.iter().flat_map(|held| list(&held.value, "/spec/clusterIPs")).filter_map(Value::as_str),
    );
    (0..)
        .map(|attempt| address([10, 96], &[namespace(service), name(service)], attempt).to_string())
        .find(|ip| !taken.contains(ip.as_str()))
        .unwrap_or_default()
}
