//! How well what policies distribute is on each cluster: its health, how many are ready, where it can be reached.
//!
//! Read from what members last showed each time that a status is made; nothing of it is kept. What is well says nothing, so
//! that statuses stay small, and a status that nothing is told in is written no oftener.

use std::collections::BTreeMap;

use fleet_api::propagation::{ClaimedObject, ObjectPlace, PlaceHealth};
use fleet_api::{Condition, ObjectId};
use fleet_health::HealthStatus;
use fleet_json::{Compact, few};
use fleet_placement::Standing;
use serde_json::Value;

use super::distributor::Distributor;
use super::items::{Item, Place};
use super::said::{LONGEST, weight};

/// How many addresses of one place are told.
const ADDRESSES: usize = 8;
/// The code of what is on a cluster that doesn't answer.
const SILENT: &str = "ClusterSilent";
/// How many of these are named.
const NAMED: usize = 5;

/// Something that isn't well.
pub(super) struct Unwell {
    health: PlaceHealth,
    reason: String,
    message: String,
}

impl Unwell {
    fn new(health: PlaceHealth, reason: &str, message: &str) -> Self {
        let message = message.chars().take(LONGEST).collect();
        Self { health, reason: reason.to_owned(), message }
    }

    /// What stands still because its spec says so is as it is to be.
    fn is_trouble(&self) -> bool {
        self.health > PlaceHealth::Suspended
    }
}

/// What the health of everything that a policy has comes to.
#[derive(Default)]
pub(super) struct Judged {
    /// Objects that aren't well somewhere.
    pub(super) unwell: u64,
    objects: u64,
    /// Of which nothing can be told yet somewhere.
    pending: u64,
    /// The worst place.
    worst: Option<(PlaceHealth, String)>,
    /// Clusters that don't answer, and have something of it; with whether any of that was seen.
    silent: BTreeMap<String, bool>,
}

impl Judged {
    /// Takes an object in. Whether it is well.
    pub(super) fn take(&mut self, distributor: &Distributor, id: &ObjectId, item: Option<&Item>) -> bool {
        self.objects += 1;
        let Some(item) = item else {
            self.pending += 1;
            return true;
        };
        let mut well = true;
        for (cluster, place) in &item.places {
            let Some(unwell) = distributor.unwell_at(id, cluster, place) else { continue };
            if !unwell.is_trouble() {
                continue;
            }
            well = false;
            if unwell.reason == SILENT {
                let seen = distributor.observed(id, cluster).is_some();
                *self.silent.entry(cluster.clone()).or_default() |= seen;
            }
            if self.worst.as_ref().is_none_or(|(worst, _)| *worst < unwell.health) {
                let said = format!("{id} on {cluster} is {}: {}", unwell.health, unwell.message);
                self.worst = Some((unwell.health, said));
            }
        }
        self.unwell += u64::from(!well);
        self.pending += u64::from(well && weight(item) < 2);
        well
    }

    /// What is told of clusters that don't answer is old.
    pub(super) fn mark_old(&self, mut ready: Condition) -> Condition {
        for (was_seen, said) in [(true, "as last seen on"), (false, "not seen since the controller began on")]
        {
            let those = self.silent.iter().filter(|(_, seen)| **seen == was_seen);
            let silent: Vec<&String> = those.map(|(cluster, _)| cluster).collect();
            if !silent.is_empty() {
                ready.message.push_str(&format!("; {said} {}, silent now", few(&silent, NAMED)));
            }
        }
        ready
    }

    /// The same in one line; none where there is nothing to judge.
    pub(super) fn condition(&self) -> Option<Condition> {
        let (reason, message) = match &self.worst {
            _ if self.objects == 0 => return None,
            Some((worst, said)) => {
                let of = format!("{} of {} objects aren't well; {said}", self.unwell, self.objects);
                (worst.as_str(), format!("{of}; see status.claimed"))
            }
            None if self.pending > 0 => {
                let of = format!("{} of {} objects", self.pending, self.objects);
                (PlaceHealth::Progressing.as_str(), format!("{of} aren't everywhere yet; see status.claimed"))
            }
            None => {
                let message = match self.objects {
                    1 => "1 object is well wherever it is".to_owned(),
                    many => format!("{many} objects are well wherever they are"),
                };
                return Some(Condition::new("Healthy", true, "Healthy", message));
            }
        };
        Some(Condition::new("Healthy", false, reason, message))
    }
}

fn health_of(status: HealthStatus) -> PlaceHealth {
    match status {
        HealthStatus::Healthy => PlaceHealth::Healthy,
        HealthStatus::Suspended => PlaceHealth::Suspended,
        HealthStatus::Progressing => PlaceHealth::Progressing,
        HealthStatus::Unknown => PlaceHealth::Unknown,
        HealthStatus::Degraded => PlaceHealth::Degraded,
    }
}

/// Addresses as Services, Ingresses and Gateways tell them.
fn addresses(shown: &Value) -> Vec<String> {
    let list = |at: &str| shown.pointer(at).and_then(Value::as_array).into_iter().flatten();
    let text = |one: &Value, field: &str| one.get(field).and_then(Value::as_str).map(str::to_owned);
    let balanced = list("/status/loadBalancer/ingress");
    let balanced = balanced.filter_map(|one| text(one, "ip").or_else(|| text(one, "hostname")));
    let gateways = list("/status/addresses").filter_map(|one| text(one, "value"));
    balanced.chain(gateways).take(ADDRESSES).collect()
}

impl Distributor {
    /// Whether an object isn't as it is to be yet somewhere, and nothing hinders it.
    pub(super) fn is_on_its_way(&self, id: &ObjectId) -> bool {
        let progresses = |cluster: &str| {
            self.observed(id, cluster).is_some_and(|seen| seen.health.status == HealthStatus::Progressing)
        };
        self.items.get(id).is_some_and(|item| {
            let mut places = item.places.iter().filter(|(_, place)| place.may_have() && place.held.is_none());
            places.any(|(cluster, place)| !place.met || progresses(cluster))
        })
    }

    /// What isn't well with an object where it is; nothing where it is well, isn't there yet, or leaves.
    fn unwell_at(&self, id: &ObjectId, cluster: &str, place: &Place) -> Option<Unwell> {
        if place.leaves() || !place.may_have() {
            return None;
        }
        let seen = self.observed(id, cluster);
        if let Some(Standing::Unreachable(since)) = self.fleet.get(cluster).map(|member| &member.standing)
            && (seen.is_some() || place.left.is_some())
        {
            let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
            let known = match seen {
                Some(_) => "what is told of it is as last seen",
                None => "what it has hasn't been seen since the controller began",
            };
            let message = format!("{cluster} is silent{since}; {known}");
            return Some(Unwell::new(PlaceHealth::Unknown, SILENT, &message));
        }
        let seen = seen?;
        let health = health_of(seen.health.status);
        (health != PlaceHealth::Healthy)
            .then(|| Unwell::new(health, &seen.health.reason, &seen.health.message))
    }

    /// How an object is on each cluster, beside how far it is.
    pub(super) fn tell_health(&self, told: &mut ClaimedObject) {
        let ClaimedObject { object, places, .. } = told;
        let Some(item) = self.items.get(object) else { return };
        for told in places {
            if let Some(place) = item.places.get(&told.cluster) {
                self.tell_health_at(object, place, told);
            }
        }
    }

    fn tell_health_at(&self, id: &ObjectId, place: &Place, told: &mut ObjectPlace) {
        let seen = self.observed(id, &told.cluster).filter(|_| !place.leaves());
        let shown = seen.and_then(|seen| seen.shown.as_ref().map(Compact::read));
        if let Some(shown) = &shown {
            told.addresses = addresses(shown);
        }
        let Some(unwell) = self.unwell_at(id, &told.cluster, place) else { return };
        told.health = Some(unwell.health);
        if let Some(replicas) = shown.as_ref().and_then(fleet_health::replicas) {
            told.ready = format!("{}/{}", replicas.ready, replicas.desired);
        }
        // What hinders its delivery goes before.
        if told.reason.is_empty() {
            told.reason = unwell.reason;
            told.message = unwell.message;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Broken: who routes traffic to members finds no address, or too many.
    #[test]
    fn addresses_are_read_however_they_are_told() {
        let told = |status: Value| addresses(&json!({ "status": status }));
        assert_eq!(
            told(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "a.example"}]}})),
            ["192.0.2.1", "a.example"]
        );
        assert_eq!(told(json!({"addresses": [{"type": "IPAddress", "value": "192.0.2.2"}]})), ["192.0.2.2"]);
        assert!(told(json!({"loadBalancer": {}})).is_empty());
        let many: Vec<Value> = (0..20).map(|n| json!({"ip": format!("192.0.2.{n}")})).collect();
        assert_eq!(told(json!({"loadBalancer": {"ingress": many}})).len(), ADDRESSES);
    }
}
