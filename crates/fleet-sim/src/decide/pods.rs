//! What all owners of pods have in common: making one, choosing which go, counting them.

use fleet_json::merge_patch;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::object::{
    deleting, int, int_or, name, namespace, owner_reference, pod_active, pod_available_at, pod_ready, uid,
};
use crate::seed::NODE;
use crate::settings::{Moment, PREFIX};
use crate::world::{Held, requests_room};
use crate::{Kind, names};

/// The most pods made in one go; the rest follows when these are there.
pub(super) const BURST: usize = 500;

/// A pod of an owner, from its template.
pub(super) fn of_template(owner_kind: Kind, owner: &Value, pod_name: &str, labels: &[(&str, &str)]) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": owner.pointer("/spec/template/metadata").cloned().unwrap_or_else(|| json!({})),
        "spec": owner.pointer("/spec/template/spec").cloned().unwrap_or_else(|| json!({})),
    });
    let more: Map<String, Value> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let metadata = json!({
        "name": pod_name, "namespace": namespace(owner), "labels": more, "annotations": handed_on(owner),
        "creationTimestamp": null,
        "ownerReferences": owner_reference(owner_kind.api_version(), owner_kind.name(), owner),
    });
    merge_patch(&mut pod, &json!({ "metadata": metadata }));
    if !requests_room(&pod) {
        // It fits anywhere: one request less than to have it bound.
        merge_patch(&mut pod, &json!({ "spec": { "nodeName": NODE } }));
    }
    pod
}

/// The simulator's annotations on an owner: they steer its pods.
fn handed_on(owner: &Value) -> Map<String, Value> {
    let annotations = owner.pointer("/metadata/annotations").and_then(Value::as_object);
    let own = annotations.into_iter().flatten().filter(|(key, _)| key.starts_with(PREFIX));
    own.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The pods that count, those that go first in front: not ready before ready, young before old.
pub(super) fn active_worst_first<'a>(pods: &[&'a Held]) -> Vec<&'a Held> {
    let mut active: Vec<&Held> = pods.iter().copied().filter(|pod| pod_active(&pod.value)).collect();
    active.sort_by(|a, b| {
        let rank = |pod: &Held| (pod_ready(&pod.value), std::cmp::Reverse(pod.since));
        rank(a).cmp(&rank(b)).then_with(|| name(&b.value).cmp(name(&a.value)))
    });
    active
}

/// Counts of pods, as statuses give them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) total: i64,
    pub(super) ready: i64,
    pub(super) available: i64,
    /// When the next ready pod becomes available.
    pub(super) wake: Option<Timestamp>,
}

impl Counts {
    pub(super) fn of<'a>(
        pods: impl IntoIterator<Item = &'a Held>,
        min_ready_seconds: i64,
        now: Timestamp,
    ) -> Self {
        let mut counts = Self::default();
        for pod in pods {
            counts.total += 1;
            let Some(at) = pod_available_at(&pod.value, min_ready_seconds) else { continue };
            counts.ready += 1;
            // The API has whole seconds only: without a minimum, ready is available.
            if at <= now || min_ready_seconds == 0 {
                counts.available += 1;
            } else {
                counts.wake = Some(counts.wake.map_or(at, |wake| wake.min(at)));
            }
        }
        counts
    }
}

/// How many replicas are wanted; none where the owner is going.
pub(super) fn wanted(owner: &Value) -> i64 {
    if deleting(owner) { 0 } else { int_or(owner, "/spec/replicas", 1).max(0) }
}

/// Names for new pods of an owner, none of which one of its pods has already.
pub(super) fn fresh_names<'a>(
    owner: &'a Value,
    taken: &'a [&'a Held],
    moment: Moment<'_>,
) -> impl Iterator<Item = String> + 'a {
    let time = moment.now.as_nanosecond().to_string();
    let drawn = (0_u64..).map(move |index| {
        names::with_suffix(name(owner), &names::suffix(&[uid(owner), &time, &index.to_string()]))
    });
    drawn.filter(|drawn| !taken.iter().any(|pod| name(&pod.value) == drawn))
}

pub(super) fn min_ready_seconds(owner: &Value) -> i64 {
    int(owner, "/spec/minReadySeconds")
}
