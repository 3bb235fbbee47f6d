//! Addresses.

use serde_json::{Map, Value, json};

use super::conditions::merged;
use super::reports::{Reports, of};

/// Every member's addresses, each once.
fn balancer(reports: &Reports<'_>) -> Option<Value> {
    let ingress = reports.united(&["status", "loadBalancer", "ingress"]);
    Some(ingress.map_or_else(|| json!({}), |ingress| json!({"ingress": ingress})))
}

pub(super) fn service(reports: &Reports<'_>) -> Map<String, Value> {
    of([("loadBalancer", balancer(reports)), ("conditions", merged(reports))])
}

pub(super) fn ingress(reports: &Reports<'_>) -> Map<String, Value> {
    of([("loadBalancer", balancer(reports))])
}
