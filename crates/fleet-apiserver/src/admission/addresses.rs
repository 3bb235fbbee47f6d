//! Addresses and node ports of Services.
//!
//! Both follow from the Service's name by a hash, so that the same Services get the same addresses wherever and
//! whenever they are created; where two meet, the later one takes the next free address.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use fleet_json::ContentHash;
use fleet_store::{Key, Page, Range};
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::object::ObjectExt;
use crate::server::Inner;
use crate::status::{ApiError, Cause};

/// 10.96.0.0/16
const NETWORK: u32 = 0x0a60_0000;
const SIZE: u32 = 0x1_0000;
/// The first addresses are for the API server, DNS and the like.
const RESERVED: u32 = 0x100;
const PORTS: std::ops::Range<u32> = 30_000..32_768;

/// What is taken in a cluster, and by which Service.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    addresses: HashMap<u32, Owner>,
    ports: HashMap<u32, Owner>,
}

/// Namespace and name.
type Owner = (String, String);

impl Taken {
    fn read(server: &Inner, cluster: &Cluster) -> Self {
        let mut taken = Self::default();
        let range = Range::cluster(cluster.name.clone(), "services");
        let Ok(listing) = server.store.list(&range, Page::default()) else { return taken };
        for entry in listing.entries {
            if let Ok(service) = serde_json::from_slice::<Value>(&entry.value) {
                taken.note(&service);
            }
        }
        taken
    }

    fn note(&mut self, service: &Value) {
        let owner = owner(service);
        for address in addresses(service) {
            self.addresses.insert(address, owner.clone());
        }
        for port in node_ports(service) {
            self.ports.insert(port, owner.clone());
        }
    }
}

fn owner(service: &Value) -> Owner {
    (service.meta_str("namespace").to_owned(), service.name().to_owned())
}

fn addresses(service: &Value) -> Vec<u32> {
    let address = service.pointer("/spec/clusterIP").and_then(Value::as_str);
    address.and_then(|text| text.parse::<Ipv4Addr>().ok()).map(u32::from).into_iter().collect()
}

fn node_ports(service: &Value) -> Vec<u32> {
    let ports =
        service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    ports
        .iter()
        .filter_map(|port| port.get("nodePort").and_then(Value::as_u64))
        .filter_map(|port| u32::try_from(port).ok())
        .filter(|port| *port > 0)
        .collect()
}

/// Whether the store still says that this Service has what it is noted for.
fn still_has(server: &Inner, cluster: &Cluster, owner: &Owner, has: impl Fn(&Value) -> bool) -> bool {
    let key = Key {
        cluster: cluster.name.clone(),
        resource: "services".into(),
        namespace: owner.0.as_str().into(),
        name: owner.1.as_str().into(),
    };
    let service = server.store.get(&key).and_then(|entry| serde_json::from_slice::<Value>(&entry.value).ok());
    service.is_some_and(|service| has(&service))
}

/// Gives a Service what its type needs and it doesn't have.
///
/// # Errors
/// 422 where an address that was asked for is taken.
pub(crate) fn allocate(server: &Inner, cluster: &Arc<Cluster>, service: &mut Value) -> Result<(), ApiError> {
    let spec_type = service.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP").to_owned();
    if spec_type == "ExternalName" {
        return Ok(());
    }
    let mut known = cluster.addresses.lock();
    let taken = known.get_or_insert_with(|| Taken::read(server, cluster));
    let own = owner(service);
    let asked = service.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
    if asked.is_empty() {
        let free = |at: u32| {
            let address = NETWORK + at;
            taken.addresses.get(&address).is_none_or(|other| {
                *other == own
                    || !still_has(server, cluster, other, |service| addresses(service).contains(&address))
            })
        };
        let start = RESERVED + hash(&own, 0) % (SIZE - RESERVED - 1);
        let found = (0..SIZE - RESERVED - 1)
            .map(|step| RESERVED + (start - RESERVED + step) % (SIZE - RESERVED - 1))
            .find(|at| free(*at));
        if let (Some(at), Some(spec)) = (found, spec(service)) {
            let address = Ipv4Addr::from(NETWORK + at).to_string();
            spec.insert("clusterIP".into(), json!(address));
            spec.insert("clusterIPs".into(), json!([address]));
        }
    } else {
        let clash = addresses(service).into_iter().find(|address| {
            taken.addresses.get(address).is_some_and(|other| {
                *other != own
                    && still_has(server, cluster, other, |service| addresses(service).contains(address))
            })
        });
        if let Some(address) = clash {
            let address = Ipv4Addr::from(address);
            let why = format!(
                "Invalid value: [{address:?}]: failed to allocate IP {address}: provided IP is already allocated"
            );
            let cause = Cause::field("FieldValueInvalid", "spec.clusterIPs", why);
            return Err(ApiError::invalid("", "Service", service.name(), vec![cause]));
        }
        if let Some(spec) = spec(service) {
            spec.entry("clusterIPs").or_insert_with(|| json!([asked]));
        }
    }
    if let Some(spec) = spec(service) {
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
    }
    if matches!(spec_type.as_str(), "NodePort" | "LoadBalancer") {
        allocate_ports(server, cluster, taken, &own, service);
    }
    taken.note(service);
    Ok(())
}

fn allocate_ports(server: &Inner, cluster: &Cluster, taken: &mut Taken, own: &Owner, service: &mut Value) {
    if service.pointer("/spec/allocateLoadBalancerNodePorts") == Some(&Value::Bool(false)) {
        return;
    }
    let mut mine = node_ports(service);
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for (index, port) in ports.into_iter().flatten().enumerate() {
        let has = port.get("nodePort").and_then(Value::as_u64).is_some_and(|port| port > 0);
        let Some(port) = port.as_object_mut().filter(|_| !has) else { continue };
        let count = PORTS.end - PORTS.start;
        let start = hash(own, u32::try_from(index).unwrap_or(0) + 1) % count;
        let free = |candidate: u32| {
            !mine.contains(&candidate)
                && taken.ports.get(&candidate).is_none_or(|other| {
                    other == own
                        || !still_has(server, cluster, other, |service| {
                            node_ports(service).contains(&candidate)
                        })
                })
        };
        let found = (0..count).map(|step| PORTS.start + (start + step) % count).find(|port| free(*port));
        if let Some(found) = found {
            port.insert("nodePort".into(), json!(found));
            mine.push(found);
        }
    }
}

fn spec(service: &mut Value) -> Option<&mut Map<String, Value>> {
    service.get_mut("spec")?.as_object_mut()
}

fn hash(owner: &Owner, salt: u32) -> u32 {
    let digest = ContentHash::of_bytes(format!("{}/{}/{salt}", owner.0, owner.1).as_bytes());
    let mut number = 0;
    for byte in digest.as_bytes().iter().take(4) {
        number = (number << 8) | u32::from(*byte);
    }
    number
}
