//! DaemonSets: one pod on each node that fits.

use fleet_json::{IntOrPercent, Rounding};
use serde_json::{Value, json};

use super::pods::{Counts, fresh_names, min_ready_seconds, of_template};
use crate::names::template_hash;
use crate::object::{
    deleting, int, label, name, pod_active, pod_ready, set, set_count, status_of, text, uid,
};
use crate::seed::NODE;
use crate::settings::{Moment, Pods, held};
use crate::stages::{Image, image_of};
use crate::world::Held;
use crate::{Decision, Kind};

const HASH: &str = "controller-revision-hash";

/// What a DaemonSet does next.
#[must_use]
pub fn next(set: &Held, pods: &[&Held], nodes: &[&Held], moment: Moment<'_>) -> Decision {
    let mut decision = Decision::default();
    let owner = &set.value;
    if deleting(owner) {
        return decision;
    }
    let hash = template_hash(owner.pointer("/spec/template").unwrap_or(&Value::Null));
    let nodes = fitting(owner, nodes);
    let desired = i64::try_from(nodes.len()).unwrap_or_default();
    if moment.settings.pods == Pods::Counted {
        let ready = counted(set, desired, moment, &mut decision);
        let counts = Counts { total: desired, ready, available: ready, wake: None };
        write(owner, desired, counts, desired, &mut decision);
        return decision;
    }
    let active: Vec<&Held> = pods.iter().copied().filter(|pod| pod_active(&pod.value)).collect();
    let on = |node: &str| {
        active.iter().copied().filter(|pod| text(&pod.value, "/spec/nodeName") == node).collect()
    };
    let mut kept: Vec<&Held> = Vec::new();
    let mut fresh = fresh_names(owner, pods, moment);
    for node in &nodes {
        let here: Vec<&Held> = on(node);
        match here.split_first() {
            None => {
                let Some(pod_name) = fresh.next() else { continue };
                let mut pod = of_template(Kind::DaemonSet, owner, &pod_name, &[(HASH, hash.as_str())]);
                fleet_json::merge_patch(&mut pod, &json!({ "spec": { "nodeName": node } }));
                decision.create(Kind::Pod, pod);
            }
            Some((first, surplus)) => {
                kept.push(first);
                surplus.iter().for_each(|pod| decision.delete(Kind::Pod, &pod.value));
            }
        }
    }
    let placed = |pod: &Value| nodes.iter().any(|node| node == text(pod, "/spec/nodeName"));
    active.iter().filter(|pod| !placed(&pod.value)).for_each(|pod| decision.delete(Kind::Pod, &pod.value));
    // Finished pods make room.
    let done = pods.iter().filter(|pod| !pod_active(&pod.value) && !deleting(&pod.value));
    done.for_each(|pod| decision.delete(Kind::Pod, &pod.value));

    replace(owner, &kept, &hash, desired, &mut decision);
    let counts = Counts::of(kept.iter().copied(), min_ready_seconds(owner), moment.now);
    if let Some(wake) = counts.wake {
        decision.wake_at(wake);
    }
    let updated = kept.iter().filter(|pod| label(&pod.value, HASH) == hash).count();
    write(owner, desired, counts, i64::try_from(updated).unwrap_or_default(), &mut decision);
    decision
}

/// Rolling update: pods of an old template go, those that aren't ready first, as many as may be missing.
fn replace(owner: &Value, kept: &[&Held], hash: &str, desired: i64, decision: &mut Decision) {
    if text(owner, "/spec/updateStrategy/type") == "OnDelete" {
        return;
    }
    let allowed = owner
        .pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable")
        .and_then(|value| IntOrPercent::from_value(value).ok())
        .unwrap_or(IntOrPercent::Int(1))
        .of(desired, Rounding::Up)
        .max(1);
    let (ready, unready): (Vec<&Held>, Vec<&Held>) =
        kept.iter().copied().partition(|pod| pod_ready(&pod.value));
    let old = |pod: &&&Held| label(&pod.value, HASH) != hash;
    unready.iter().filter(old).for_each(|pod| decision.delete(Kind::Pod, &pod.value));
    let missing = desired - i64::try_from(ready.len()).unwrap_or_default();
    let room = usize::try_from(allowed - missing).unwrap_or_default();
    ready.iter().filter(old).take(room).for_each(|pod| decision.delete(Kind::Pod, &pod.value));
}

/// The nodes that the template's node selector allows. A member that nobody has seeded still has its one node.
fn fitting(owner: &Value, nodes: &[&Held]) -> Vec<String> {
    if nodes.is_empty() {
        return vec![NODE.to_owned()];
    }
    let selector = owner.pointer("/spec/template/spec/nodeSelector").and_then(Value::as_object);
    let fits = |node: &Value| {
        selector.into_iter().flatten().all(|(key, value)| Some(label(node, key)) == value.as_str())
    };
    nodes.iter().filter(|node| fits(&node.value)).map(|node| name(&node.value).to_owned()).collect()
}

fn counted(set: &Held, desired: i64, moment: Moment<'_>, decision: &mut Decision) -> i64 {
    let owner = &set.value;
    let template = owner.pointer("/spec/template").unwrap_or(&Value::Null);
    let ready = int(owner, "/status/numberReady").min(desired);
    let observed = int(owner, "/status/observedGeneration") == int(owner, "/metadata/generation");
    if image_of(template, owner) != Image::Good
        || held(owner)
        || held(template)
        || ready == desired
        || !observed
    {
        return ready;
    }
    let delay = moment.settings.ready_delay_of(&[template, owner]);
    let due = crate::object::after(set.since, moment.settings.jittered(delay, 0.2, uid(owner)));
    if due > moment.now {
        decision.wake_at(due);
        return ready;
    }
    desired
}

fn write(owner: &Value, desired: i64, counts: Counts, updated: i64, decision: &mut Decision) {
    let mut status = status_of(owner);
    set_count(&mut status, "observedGeneration", int(owner, "/metadata/generation"));
    set(&mut status, "currentNumberScheduled", counts.total);
    set(&mut status, "desiredNumberScheduled", desired);
    set(&mut status, "numberMisscheduled", 0);
    set(&mut status, "numberReady", counts.ready);
    set_count(&mut status, "numberAvailable", counts.available);
    set_count(&mut status, "numberUnavailable", desired - counts.available);
    set_count(&mut status, "updatedNumberScheduled", updated);
    decision.status(Kind::DaemonSet, owner, &status);
}
