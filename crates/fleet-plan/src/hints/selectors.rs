//! What selects pods, and pods that it selects no longer.

use fleet_json::LabelSelector;
use serde_json::Value;

use super::{Case, Finding, Severity};
use crate::{ActionKind, Desired};

/// A Service or disruption budget that selects no workload of the Application on its target.
pub(super) fn selects_nothing(case: &Case<'_>) -> Vec<Finding> {
    let at = match case.kind() {
        ("", "Service") => "/spec/selector",
        ("policy", "PodDisruptionBudget") => "/spec/selector",
        _ => return Vec::new(),
    };
    let stays = [ActionKind::Create, ActionKind::Change, ActionKind::Keep].contains(&case.action.kind);
    let Some(after) = case.after.filter(|_| stays) else { return Vec::new() };
    let Some(selector) = selector(&after.object, at) else { return Vec::new() };
    if selected(&selector, case.input.desired) > 0 {
        return Vec::new();
    }
    let before = case.before.and_then(|before| {
        let selector = self::selector(&before.object, at)?;
        Some(selected(&selector, case.input.previous))
    });
    match before {
        Some(workloads) if workloads > 0 => {
            vec![
                Finding::new(format!(
                    "its selector ({selector}) matches no pods of this application here any more, and did before; change the selector and the pods' labels together"
                ))
                .at("spec.selector"),
            ]
        }
        // It may be about pods that others deliver.
        None => vec![
            Finding::new(format!("its selector ({selector}) matches no pods of this application here"))
                .at("spec.selector")
                .as_(Severity::Info),
        ],
        Some(_) => Vec::new(),
    }
}

/// An autoscaler whose workload goes.
pub(super) fn scales_nothing(case: &Case<'_>) -> Vec<Finding> {
    if case.kind() != ("autoscaling", "HorizontalPodAutoscaler") {
        return Vec::new();
    }
    let Some(after) = case.after else { return Vec::new() };
    let text = |field: &str| {
        let value = after.object.pointer("/spec/scaleTargetRef").and_then(|target| target.get(field));
        value.and_then(Value::as_str).unwrap_or_default()
    };
    let (kind, name) = (text("kind"), text("name"));
    let names = |all: &[Desired]| all.iter().any(|one| one.id.kind == kind && one.id.name == name);
    if names(case.input.desired) || !names(case.input.previous) {
        return Vec::new();
    }
    let said = format!("it scales {kind} {name}, which this step takes away");
    vec![Finding::new(said).at("spec.scaleTargetRef")]
}

/// A selector that selects something: an empty one of a Service selects nothing on purpose.
fn selector(object: &Value, at: &str) -> Option<LabelSelector> {
    let value = object.pointer(at).filter(|value| value.as_object().is_some_and(|map| !map.is_empty()))?;
    let whole = value.get("matchLabels").is_some() || value.get("matchExpressions").is_some();
    let value = if whole { value.clone() } else { serde_json::json!({ "matchLabels": value }) };
    LabelSelector::from_json(&value).ok()
}

/// How many of the workloads have pods that a selector matches.
fn selected(selector: &LabelSelector, workloads: &[Desired]) -> usize {
    let labels = |object: &Value| -> Option<Value> {
        let at = match object.get("kind").and_then(Value::as_str)? {
            "Pod" => "/metadata/labels",
            "CronJob" => "/spec/jobTemplate/spec/template/metadata/labels",
            _ => "/spec/template/metadata/labels",
        };
        object.pointer(at).cloned()
    };
    let pods = workloads.iter().filter_map(|one| labels(&one.object));
    pods.filter(|labels| selector.matches_value(Some(labels))).count()
}
