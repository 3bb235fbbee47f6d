//! The members' statuses, and the ways in which fields of several become one.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Report;
use crate::view::View;

/// The hub's object, and what the members show of it, sorted by cluster.
pub(super) struct Reports<'o> {
    pub(super) hub: View<'o>,
    shown: Vec<(&'o str, View<'o>)>,
    /// Members that should have it and show no status.
    lacking: Vec<&'o str>,
}

/// Whether the controllers of a kind always write `observedGeneration`.
pub(super) fn reports_generation(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("", "ReplicationController")
            | ("policy", "PodDisruptionBudget")
    )
}

impl<'o> Reports<'o> {
    pub(super) fn new(hub: &'o Value, reports: &[Report<'o>]) -> Self {
        let (mut shown, mut lacking) = (Vec::new(), Vec::new());
        for report in reports {
            match report.object.filter(|object| object.get("status").is_some_and(Value::is_object)) {
                Some(object) => shown.push((report.cluster, View::new(object))),
                None => lacking.push(report.cluster),
            }
        }
        Self { hub: View::new(hub), shown, lacking }
    }

    /// No member has a status.
    pub(super) fn none(&self) -> bool {
        self.shown.is_empty()
    }

    /// The only status, where one member alone should have the object.
    pub(super) fn only(&self) -> Option<Map<String, Value>> {
        let [(_, view)] = self.shown.as_slice() else { return None };
        self.complete().then(|| view.at(&["status"])?.as_object().cloned()).flatten()
    }

    /// Every member that should have the object has a status.
    pub(super) fn complete(&self) -> bool {
        self.lacking.is_empty()
    }

    /// Members that show no status.
    pub(super) fn lacking(&self) -> &[&'o str] {
        &self.lacking
    }

    pub(super) fn each(&self) -> impl DoubleEndedIterator<Item = (&'o str, View<'o>)> + '_ {
        self.shown.iter().copied()
    }

    /// The kind tells which generation was seen.
    pub(super) fn observes(&self) -> bool {
        reports_generation(self.hub.group, self.hub.kind)
            || self.each().any(|(_, view)| view.observed_generation().is_some())
    }

    /// The hub's generation where all have seen it; else what the hub showed before, less than that.
    pub(super) fn observed_generation(&self, all: bool) -> Option<Value> {
        let generation = self.hub.generation()?;
        let seen = if all {
            generation
        } else {
            self.hub.observed_generation().unwrap_or(0).min(generation.saturating_sub(1))
        };
        (seen > 0).then(|| json!(seen))
    }

    /// The sum of a counter; none where no member has it, as a status leaves out zeroes.
    pub(super) fn sum(&self, field: &str) -> Option<Value> {
        let counts = self.each().filter_map(|(_, view)| view.int(&["status", field]));
        counts.reduce(i64::saturating_add).map(|sum| json!(sum))
    }

    /// As [`Reports::sum`], of a counter that the kind always has.
    pub(super) fn total(&self, field: &str) -> Option<Value> {
        Some(self.sum(field).unwrap_or_else(|| json!(0)))
    }

    /// Texts of a field, of the members that have it.
    pub(super) fn texts<'s>(&'s self, field: &'s str) -> impl Iterator<Item = &'o str> + 's {
        self.each().map(move |(_, view)| view.text(&["status", field])).filter(|text| !text.is_empty())
    }

    /// The latest time. Times of the API server are RFC 3339 in UTC, so their texts sort as they do.
    pub(super) fn latest(&self, field: &str) -> Option<Value> {
        self.texts(field).max().map(|time| json!(time))
    }

    /// The earliest time.
    pub(super) fn earliest(&self, field: &str) -> Option<Value> {
        self.texts(field).min().map(|time| json!(time))
    }

    /// The first of these phases that a member is in; `missing` for members that say nothing.
    pub(super) fn worst_phase(&self, order: &[&'static str], missing: &'static str) -> Option<Value> {
        let shown: Vec<&str> = self
            .each()
            .map(|(_, view)| match view.text(&["status", "phase"]) {
                "" => missing,
                phase => phase,
            })
            .chain((!self.complete()).then_some(missing))
            .collect();
        order.iter().find(|phase| shown.contains(*phase)).map(|phase| json!(phase))
    }

    /// A field that every member's status has with the same value.
    pub(super) fn agreed(&self, field: &str) -> Option<Value> {
        let mut values = self.each().map(|(_, view)| view.at(&["status", field]));
        let first = values.next()??;
        (self.complete() && values.all(|value| value == Some(first))).then(|| first.clone())
    }

    /// All that the lists of a field hold: each once, in the order of their texts.
    pub(super) fn united(&self, path: &[&str]) -> Option<Value> {
        let items = self.each().flat_map(|(_, view)| view.list(path));
        let sorted: BTreeMap<String, &Value> =
            items.map(|item| (fleet_json::canonical_json(item), item)).collect();
        (!sorted.is_empty()).then(|| Value::Array(sorted.into_values().cloned().collect()))
    }
}

/// Puts a field in, where there is one.
pub(super) fn put(status: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => status.insert(field.to_owned(), value),
        None => status.remove(field),
    };
}

/// A status of these fields.
pub(super) fn of(fields: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
