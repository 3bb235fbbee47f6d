//! Workloads that keep a number of pods: sums.

use serde_json::{Map, Value, json};

use super::conditions::merged;
use super::reports::{Reports, of};

pub(super) fn deployment(reports: &Reports<'_>) -> Map<String, Value> {
    of([
        ("replicas", reports.sum("replicas")),
        ("updatedReplicas", reports.sum("updatedReplicas")),
        ("readyReplicas", reports.sum("readyReplicas")),
        ("availableReplicas", reports.sum("availableReplicas")),
        ("unavailableReplicas", reports.sum("unavailableReplicas")),
        ("terminatingReplicas", reports.sum("terminatingReplicas")),
        ("conditions", merged(reports)),
    ])
}

pub(super) fn replica_set(reports: &Reports<'_>) -> Map<String, Value> {
    of([
        ("replicas", reports.total("replicas")),
        ("fullyLabeledReplicas", reports.sum("fullyLabeledReplicas")),
        ("readyReplicas", reports.sum("readyReplicas")),
        ("availableReplicas", reports.sum("availableReplicas")),
        ("terminatingReplicas", reports.sum("terminatingReplicas")),
        ("conditions", merged(reports)),
    ])
}

pub(super) fn daemon_set(reports: &Reports<'_>) -> Map<String, Value> {
    of([
        ("currentNumberScheduled", reports.total("currentNumberScheduled")),
        ("numberMisscheduled", reports.total("numberMisscheduled")),
        ("desiredNumberScheduled", reports.total("desiredNumberScheduled")),
        ("numberReady", reports.total("numberReady")),
        ("updatedNumberScheduled", reports.sum("updatedNumberScheduled")),
        ("numberAvailable", reports.sum("numberAvailable")),
        ("numberUnavailable", reports.sum("numberUnavailable")),
        ("conditions", merged(reports)),
    ])
}

/// The two revisions are those of a member where they differ, if there is one: `kubectl rollout status` waits for them
/// to be equal.
pub(super) fn stateful_set(reports: &Reports<'_>) -> Map<String, Value> {
    let revisions = |view: &crate::view::View<'_>| {
        let text = |field: &str| view.text(&["status", field]).to_owned();
        (text("currentRevision"), text("updateRevision"))
    };
    let shown: Vec<(String, String)> = reports.each().map(|(_, view)| revisions(&view)).collect();
    let (current, update) = shown
        .iter()
        .find(|(current, update)| current != update)
        .or_else(|| shown.first())
        .cloned()
        .unwrap_or_default();
    let some = |text: String| (!text.is_empty()).then(|| json!(text));
    of([
        ("replicas", reports.total("replicas")),
        ("readyReplicas", reports.sum("readyReplicas")),
        ("currentReplicas", reports.sum("currentReplicas")),
        ("updatedReplicas", reports.sum("updatedReplicas")),
        ("availableReplicas", reports.total("availableReplicas")),
        ("currentRevision", some(current)),
        ("updateRevision", some(update)),
        ("conditions", merged(reports)),
    ])
}
