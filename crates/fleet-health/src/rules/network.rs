//! Services and ingresses.

use serde_json::Value;

use crate::Health;
use crate::view::View;

/// The addresses that a load balancer has reported.
fn addresses(view: &View<'_>) -> Vec<String> {
    let address = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text("ip").or_else(|| text("hostname")).map(str::to_owned)
    };
    view.list(&["status", "loadBalancer", "ingress"]).iter().filter_map(address).collect()
}

pub(super) fn service(view: &View<'_>) -> Health {
    if view.text(&["spec", "type"]) != "LoadBalancer" {
        return Health::healthy("Exists", "exists");
    }
    match addresses(view) {
        none if none.is_empty() => {
            Health::progressing("AddressPending", "waits for the load balancer's address")
        }
        some => Health::healthy("AddressAssigned", format!("reachable at {}", some.join(", "))),
    }
}

/// Healthy once it exists: many ingress controllers never report an address, and nothing in the object
/// tells which do. An address that is reported is told.
pub(super) fn ingress(view: &View<'_>) -> Health {
    match addresses(view) {
        none if none.is_empty() => Health::healthy("Exists", "exists; no address is reported"),
        some => Health::healthy("AddressAssigned", format!("reachable at {}", some.join(", "))),
    }
}
