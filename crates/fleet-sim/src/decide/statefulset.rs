//! StatefulSets: pods with numbers, made from the bottom, replaced from the top.
//!
//! Old templates aren't kept (there are no ControllerRevisions): a pod below the partition that is lost comes back with
//! the new template.

use serde_json::{Value, json};

use super::pods::{BURST, Counts, min_ready_seconds, of_template, wanted};
use super::replicaset::counted;
use crate::names::{template_hash, with_suffix};
use crate::object::{
    deleting, int, int_or, label, list, name, namespace, pod_active, pod_ready, set, set_count, status_of,
    text,
};
use crate::settings::{Moment, Pods};
use crate::world::Held;
use crate::{Decision, Kind};

const HASH: &str = "controller-revision-hash";

/// What a StatefulSet does next. `claim` tells whether a claim of a name is there.
#[must_use]
pub fn next(set: &Held, pods: &[&Held], claim: &dyn Fn(&str) -> bool, moment: Moment<'_>) -> Decision {
    let mut decision = Decision::default();
    let owner = &set.value;
    if deleting(owner) {
        return decision;
    }
    let plan = Plan::of(owner);
    if moment.settings.pods == Pods::Counted {
        let counts = counted(set, plan.replicas, moment, &mut decision);
        plan.write(owner, counts, counts.total, counts.total, &mut decision);
        return decision;
    }
    plan.act(owner, pods, claim, &mut decision);
    let present: Vec<&Held> =
        pods.iter().copied().filter(|pod| ordinal(owner, &pod.value).is_some()).collect();
    let counts = Counts::of(present.iter().copied(), min_ready_seconds(owner), moment.now);
    if let Some(wake) = counts.wake {
        decision.wake_at(wake);
    }
    let of = |revision: &str| {
        let count = present.iter().filter(|pod| label(&pod.value, HASH) == revision).count();
        i64::try_from(count).unwrap_or_default()
    };
    plan.write(owner, counts, of(&plan.update), of(&plan.current), &mut decision);
    decision
}

struct Plan {
    replicas: i64,
    start: i64,
    partition: i64,
    parallel: bool,
    on_delete: bool,
    /// The revision of the template.
    update: String,
    /// The revision that the pods below the partition have.
    current: String,
}

impl Plan {
    fn of(owner: &Value) -> Self {
        let update =
            with_suffix(name(owner), &template_hash(owner.pointer("/spec/template").unwrap_or(&Value::Null)));
        let current = text(owner, "/status/currentRevision");
        Self {
            replicas: wanted(owner),
            start: int(owner, "/spec/ordinals/start").max(0),
            partition: int(owner, "/spec/updateStrategy/rollingUpdate/partition").max(0),
            parallel: text(owner, "/spec/podManagementPolicy") == "Parallel",
            on_delete: text(owner, "/spec/updateStrategy/type") == "OnDelete",
            current: if current.is_empty() { update.clone() } else { current.to_owned() },
            update,
        }
    }

    /// The next creates and deletes; in order, one that isn't ready stops those after it.
    fn act(&self, owner: &Value, pods: &[&Held], claim: &dyn Fn(&str) -> bool, decision: &mut Decision) {
        let at = |number: i64| pods.iter().copied().find(|pod| ordinal(owner, &pod.value) == Some(number));
        let end = self.start + self.replicas;
        for number in self.start..end {
            match at(number) {
                None => self.create(owner, number, claim, decision),
                Some(pod) if !pod_active(&pod.value) => {
                    // A finished pod makes room for its successor; one that is going is waited for.
                    if !deleting(&pod.value) {
                        decision.delete(Kind::Pod, &pod.value);
                    }
                }
                Some(pod) if pod_ready(&pod.value) => continue,
                Some(_) => {}
            }
            if !self.parallel || decision.actions.len() >= BURST {
                return;
            }
        }
        let mut outside: Vec<_> = pods
            .iter()
            .copied()
            .filter_map(|pod| Some((ordinal(owner, &pod.value)?, pod)))
            .filter(|(number, _)| !(self.start..end).contains(number))
            .collect();
        outside.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        for (_, pod) in outside {
            if !deleting(&pod.value) {
                decision.delete(Kind::Pod, &pod.value);
            }
            if !self.parallel {
                return;
            }
        }
        if self.on_delete {
            return;
        }
        for number in (self.start + self.partition..end).rev() {
            let Some(pod) = at(number) else { return };
            if label(&pod.value, HASH) != self.update {
                if !deleting(&pod.value) {
                    decision.delete(Kind::Pod, &pod.value);
                }
                return;
            }
            if !pod_ready(&pod.value) {
                return;
            }
        }
    }

    fn create(&self, owner: &Value, number: i64, claim: &dyn Fn(&str) -> bool, decision: &mut Decision) {
        let pod_name = format!("{}-{number}", name(owner));
        let index = number.to_string();
        let below = number < self.start + self.partition && !self.on_delete;
        let revision = if below { &self.current } else { &self.update };
        let labels = [
            (HASH, revision.as_str()),
            ("statefulset.kubernetes.io/pod-name", pod_name.as_str()),
            ("apps.kubernetes.io/pod-index", index.as_str()),
        ];
        let mut pod = of_template(Kind::StatefulSet, owner, &pod_name, &labels);
        let mut volumes = list(&pod, "/spec/volumes").to_vec();
        for template in list(owner, "/spec/volumeClaimTemplates") {
            let claim_name = format!("{}-{pod_name}", name(template));
            if !claim(&claim_name) {
                let mut body = template.clone();
                let meta = json!({
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": null,
                    "metadata": { "name": claim_name, "namespace": namespace(owner), "creationTimestamp": null,
                        "labels": owner.pointer("/spec/selector/matchLabels") },
                });
                fleet_json::merge_patch(&mut body, &meta);
                decision.create(Kind::PersistentVolumeClaim, body);
            }
            volumes.retain(|volume| text(volume, "/name") != name(template));
            volumes.push(
                json!({ "name": name(template), "persistentVolumeClaim": { "claimName": claim_name } }),
            );
        }
        let mut spec = json!({ "hostname": pod_name, "subdomain": owner.pointer("/spec/serviceName") });
        if !volumes.is_empty() {
            set(&mut spec, "volumes", volumes);
        }
        fleet_json::merge_patch(&mut pod, &json!({ "spec": spec }));
        decision.create(Kind::Pod, pod);
    }

    fn write(&self, owner: &Value, counts: Counts, updated: i64, on_current: i64, decision: &mut Decision) {
        let mut status = status_of(owner);
        set_count(&mut status, "observedGeneration", int(owner, "/metadata/generation"));
        set(&mut status, "replicas", counts.total);
        set_count(&mut status, "readyReplicas", counts.ready);
        set(&mut status, "availableReplicas", counts.available);
        set_count(&mut status, "updatedReplicas", updated);
        // All pods have the new template and are ready: it is the current one from now on.
        let arrived = !self.on_delete && updated == counts.total && counts.ready == counts.total;
        set_count(&mut status, "currentReplicas", if arrived { updated } else { on_current });
        set(
            &mut status,
            "currentRevision",
            if arrived { self.update.as_str() } else { self.current.as_str() },
        );
        set(&mut status, "updateRevision", self.update.as_str());
        set(&mut status, "collisionCount", int_or(owner, "/status/collisionCount", 0));
        decision.status(Kind::StatefulSet, owner, &status);
    }
}

/// The number of a pod of this set.
fn ordinal(owner: &Value, pod: &Value) -> Option<i64> {
    name(pod).strip_prefix(name(owner))?.strip_prefix('-')?.parse().ok()
}
