//! ReplicaSets: as many pods as wanted, and counts of them.

use serde_json::Value;

use super::pods::{BURST, Counts, active_worst_first, fresh_names, min_ready_seconds, of_template, wanted};
use crate::object::{after, deleting, int, set, set_count, status_of, uid};
use crate::settings::{Moment, Pods, held};
use crate::stages::{Image, image_of};
use crate::world::Held;
use crate::{Decision, Kind};

/// What a ReplicaSet does next.
#[must_use]
pub fn next(set: &Held, pods: &[&Held], moment: Moment<'_>) -> Decision {
    let mut decision = Decision::default();
    let owner = &set.value;
    if deleting(owner) {
        return decision;
    }
    if moment.settings.pods == Pods::Counted {
        let counts = counted(set, wanted(owner), moment, &mut decision);
        write(Kind::ReplicaSet, owner, counts, &mut decision);
        return decision;
    }
    let active = active_worst_first(pods);
    let have = i64::try_from(active.len()).unwrap_or(i64::MAX);
    let want = wanted(owner);
    let missing = usize::try_from(want - have).unwrap_or_default().min(BURST);
    for pod_name in fresh_names(owner, pods, moment).take(missing) {
        decision.create(Kind::Pod, of_template(Kind::ReplicaSet, owner, &pod_name, &[]));
    }
    let surplus = usize::try_from(have - want).unwrap_or_default();
    for pod in active.iter().take(surplus) {
        decision.delete(Kind::Pod, &pod.value);
    }
    let counts = Counts::of(active.iter().skip(surplus).copied(), min_ready_seconds(owner), moment.now);
    if let Some(wake) = counts.wake {
        decision.wake_at(wake);
    }
    if want <= have {
        // Pods just asked for are counted when they are there: one status write less.
        write(Kind::ReplicaSet, owner, counts, &mut decision);
    }
    decision
}

/// Counts without pods: all there at once, the new ones ready after the delay.
pub(super) fn counted(set: &Held, want: i64, moment: Moment<'_>, decision: &mut Decision) -> Counts {
    let owner = &set.value;
    let total = int(owner, "/status/replicas");
    let ready = int(owner, "/status/readyReplicas");
    let available = int(owner, "/status/availableReplicas");
    if total != want {
        return Counts { total: want, ready: ready.min(want), available: available.min(want), wake: None };
    }
    let mut counts = Counts { total, ready: ready.min(want), available: available.min(want), wake: None };
    let template = owner.pointer("/spec/template").unwrap_or(&Value::Null);
    if image_of(template, owner) != Image::Good || held(owner) || held(template) {
        return counts;
    }
    let delay = moment.settings.ready_delay_of(&[template, owner]);
    let ready_at = after(set.since, moment.settings.jittered(delay, 0.2, uid(owner)));
    if counts.ready < want {
        if ready_at > moment.now {
            decision.wake_at(ready_at);
            return counts;
        }
        counts.ready = want;
    }
    if counts.available < want {
        let seconds = u64::try_from(min_ready_seconds(owner)).unwrap_or_default();
        // Becoming ready has been a change of status: from there the minimum counts.
        let available_at = after(set.since, std::time::Duration::from_secs(seconds));
        if seconds == 0 || (ready >= want && available_at <= moment.now) {
            counts.available = want;
        } else if ready >= want {
            decision.wake_at(available_at);
        }
    }
    counts
}

fn write(kind: Kind, owner: &Value, counts: Counts, decision: &mut Decision) {
    let mut status = status_of(owner);
    set(&mut status, "replicas", counts.total);
    set_count(&mut status, "fullyLabeledReplicas", counts.total);
    set_count(&mut status, "readyReplicas", counts.ready);
    set_count(&mut status, "availableReplicas", counts.available);
    set_count(&mut status, "observedGeneration", int(owner, "/metadata/generation"));
    decision.status(kind, owner, &status);
}

#[cfg(test)]
mod tests;
