//! What the node of a member has left: pods that request more than that find none, and wait until others have gone.
//!
//! Processors and memory are counted, as the scheduler counts them
//! (<https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>). How many pods a node takes isn't held
//! to: one node stands for all that a member has.

use std::collections::{BTreeMap, BTreeSet};

use fleet_json::quantity::Quantity;
use serde_json::Value;

use super::ObjectRef;
use crate::object::{condition, deleting, list, text};

/// What is counted.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// Of each resource that is counted, in billionths.
type Amounts = [i128; 2];

/// Who takes how much of the node, and who waits for some of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    taken: BTreeMap<ObjectRef, Amounts>,
    sum: Amounts,
    waiting: BTreeSet<ObjectRef>,
}

impl Room {
    /// A pod is so. Answers who may find room now.
    pub(super) fn seen(&mut self, target: &ObjectRef, pod: &Value) -> Vec<ObjectRef> {
        let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        if text(pod, "/spec/nodeName").is_empty() {
            if waits(pod) && !ended && !deleting(pod) {
                self.waiting.insert(target.clone());
            } else {
                self.waiting.remove(target);
            }
            return Vec::new();
        }
        self.waiting.remove(target);
        if ended {
            return self.gone(target);
        }
        self.take(target, pod);
        Vec::new()
    }

    /// A pod gets its place.
    pub(super) fn take(&mut self, target: &ObjectRef, pod: &Value) {
        let amounts = requests(pod);
        if amounts == Amounts::default() || self.taken.contains_key(target) {
            return;
        }
        self.sum = plus(self.sum, amounts);
        self.taken.insert(target.clone(), amounts);
    }

    /// A pod uses nothing any more. Answers who may find room now.
    pub(super) fn gone(&mut self, target: &ObjectRef) -> Vec<ObjectRef> {
        self.waiting.remove(target);
        let Some(amounts) = self.taken.remove(target) else { return Vec::new() };
        for (sum, amount) in self.sum.iter_mut().zip(amounts) {
            *sum -= amount;
        }
        self.waiting()
    }

    /// Who waits for room.
    pub(super) fn waiting(&self) -> Vec<ObjectRef> {
        self.waiting.iter().cloned().collect()
    }

    /// What a node lacks for a pod, in the scheduler's words; nothing where it fits, or the node doesn't say what it has.
    pub(super) fn lacks(&self, target: &ObjectRef, pod: &Value, node: Option<&Value>) -> Option<String> {
        let amounts = requests(pod);
        if amounts == Amounts::default() || self.taken.contains_key(target) {
            return None;
        }
        let there = node?.pointer("/status/allocatable")?;
        let lacking: Vec<String> = COUNTED
            .iter()
            .zip(self.sum.iter().zip(amounts))
            .filter(|(name, (sum, amount))| {
                let has = there.get(**name).and_then(|value| Quantity::from_value(value).ok());
                *amount > 0 && has.is_some_and(|has| **sum + *amount > has.nanos())
            })
            .map(|(name, _)| format!("1 Insufficient {name}"))
            .collect();
        (!lacking.is_empty()).then(|| format!("0/1 nodes are available: {}.", lacking.join(", ")))
    }
}

/// Whether a pod requests anything that is counted.
pub(crate) fn requests_room(pod: &Value) -> bool {
    requests(pod) != Amounts::default()
}

fn waits(pod: &Value) -> bool {
    let scheduled = pod.get("status").and_then(|status| condition(status, "PodScheduled"));
    scheduled.is_some_and(|scheduled| text(scheduled, "/reason") == "Unschedulable")
}

/// What a pod requests: its containers and sidecars together, or the most that an init container needs.
fn requests(pod: &Value) -> Amounts {
    let mut sum = Amounts::default();
    let mut most = Amounts::default();
    for container in list(pod, "/spec/initContainers") {
        let own = of_container(container);
        if text(container, "/restartPolicy") == "Always" {
            sum = plus(sum, own);
        } else {
            most = higher(most, own);
        }
    }
    for container in list(pod, "/spec/containers") {
        sum = plus(sum, of_container(container));
    }
    higher(sum, most)
}

fn of_container(container: &Value) -> Amounts {
    let Some(resources) = container.get("resources") else { return Amounts::default() };
    COUNTED.map(|name| {
        let of =
            |part: &str| resources.get(part)?.get(name).and_then(|value| Quantity::from_value(value).ok());
        of("requests").or_else(|| of("limits")).map_or(0, Quantity::nanos)
    })
}

fn plus(one: Amounts, other: Amounts) -> Amounts {
    let [cpu, memory] = one;
    let [more_cpu, more_memory] = other;
    [cpu.saturating_add(more_cpu), memory.saturating_add(more_memory)]
}

fn higher(one: Amounts, other: Amounts) -> Amounts {
    let [cpu, memory] = one;
    let [other_cpu, other_memory] = other;
    [cpu.max(other_cpu), memory.max(other_memory)]
}
