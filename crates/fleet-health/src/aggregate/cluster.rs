//! Autoscalers, budgets and namespaces.

use serde_json::{Map, Value, json};

use super::conditions::merged;
use super::reports::{Reports, of, put};

pub(super) fn autoscaler(reports: &Reports<'_>) -> Map<String, Value> {
    of([
        ("currentReplicas", reports.sum("currentReplicas")),
        ("desiredReplicas", reports.total("desiredReplicas")),
        ("lastScaleTime", reports.latest("lastScaleTime")),
        ("conditions", merged(reports)),
    ])
}

/// A pod that is being disrupted is named with its cluster: `cluster/pod`.
pub(super) fn disruption_budget(reports: &Reports<'_>) -> Map<String, Value> {
    let disrupted: Map<String, Value> = reports
        .each()
        .filter_map(|(cluster, view)| Some((cluster, view.at(&["status", "disruptedPods"])?.as_object()?)))
        .flat_map(|(cluster, pods)| {
            pods.iter().map(move |(pod, at)| (format!("{cluster}/{pod}"), at.clone()))
        })
        .collect();
    let mut status = of([
        ("disruptionsAllowed", reports.total("disruptionsAllowed")),
        ("currentHealthy", reports.total("currentHealthy")),
        ("desiredHealthy", reports.total("desiredHealthy")),
        ("expectedPods", reports.total("expectedPods")),
        ("conditions", merged(reports)),
    ]);
    put(&mut status, "disruptedPods", (!disrupted.is_empty()).then_some(Value::Object(disrupted)));
    status
}

pub(super) fn namespace(reports: &Reports<'_>) -> Map<String, Value> {
    let ending = reports.texts("phase").any(|phase| phase == "Terminating");
    let phase = if ending { "Terminating" } else { "Active" };
    of([("phase", Some(json!(phase))), ("conditions", merged(reports))])
}
