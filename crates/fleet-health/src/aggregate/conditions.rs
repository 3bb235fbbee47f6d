//! The conditions of several members as one list.

use std::collections::{BTreeMap, BTreeSet};

use fleet_json::few;
use serde_json::{Map, Value, json};

use super::ClusterReport;
use super::reports::Reports;
use crate::conditions::one_line;
use crate::view::View;

/// Names the members whose part of the status is old.
const STALE: &str = "fleetctl.dev/Stale";

/// More clusters than these aren't named in a message.
const NAMED: usize = 5;

/// Conditions that hold where they hold on any member: they name trouble, or what is under way.
const ANYWHERE: [&str; 16] = [
    "ControllerResizeError",
    "Dangling",
    "DisruptionAllowed",
    "DisruptionTarget",
    "Failed",
    "FailureTarget",
    "FileSystemResizePending",
    "ModifyVolumeError",
    "NodeResizeError",
    "PodResizePending",
    "Reconciling",
    "ReplicaFailure",
    "Resizing",
    "ScalingLimited",
    "Stalled",
    "Terminating",
];

/// The members' conditions as one list, sorted by type. A condition holds where it holds on every member, or on any if
/// it names trouble; its message tells of the members that decided.
pub(super) fn merged(reports: &Reports<'_>) -> Option<Value> {
    let kinds: BTreeSet<&str> = reports
        .each()
        .flat_map(|(_, view)| view.list(&["status", "conditions"]))
        .filter_map(|condition| condition.get("type").and_then(Value::as_str))
        .filter(|kind| !kind.is_empty())
        .collect();
    let all: Vec<Value> = kinds.into_iter().map(|kind| one(reports, kind)).collect();
    (!all.is_empty()).then_some(Value::Array(all))
}

/// A member's condition of a type.
fn find<'o>(view: &View<'o>, kind: &str) -> Option<&'o Value> {
    view.list(&["status", "conditions"])
        .iter()
        .find(|item| item.get("type").and_then(Value::as_str) == Some(kind))
}

fn text<'o>(condition: &'o Value, field: &str) -> &'o str {
    condition.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn one(reports: &Reports<'_>, kind: &str) -> Value {
    let have: Vec<(&str, &Value)> =
        reports.each().filter_map(|(cluster, view)| Some((cluster, find(&view, kind)?))).collect();
    let any = |status: &str| have.iter().any(|(_, condition)| text(condition, "status") == status);
    let mut lacking: Vec<&str> = reports.lacking().to_vec();
    let has = |cluster: &str| have.iter().any(|(having, _)| *having == cluster);
    lacking.extend(reports.each().map(|(cluster, _)| cluster).filter(|cluster| !has(cluster)));
    lacking.sort_unstable();
    let status = match ANYWHERE.contains(&kind) {
        true if any("True") => "True",
        true if any("Unknown") => "Unknown",
        true => "False",
        false if any("False") => "False",
        false if any("Unknown") || !lacking.is_empty() => "Unknown",
        false => "True",
    };
    let deciding: Vec<(&str, &Value)> =
        have.iter().copied().filter(|(_, condition)| text(condition, "status") == status).collect();
    // A rollout that goes on somewhere isn't through, though some have finished.
    let reasons = deciding.iter().map(|(_, condition)| text(condition, "reason"));
    let reason =
        reasons.filter(|reason| !reason.is_empty()).min_by_key(|r| (*r == "NewReplicaSetAvailable", *r));
    let (reason, message) = if deciding.is_empty() {
        (Some("NotReportedEverywhere"), format!("not reported by {}", names(&lacking)))
    } else {
        let all = lacking.is_empty() && deciding.len() == have.len();
        (reason, message(&deciding, all))
    };
    let mut made = Map::new();
    let mut put = |field: &str, value: Value| made.insert(field.to_owned(), value);
    put("type", json!(kind));
    put("status", json!(status));
    if let Some(reason) = reason {
        put("reason", json!(reason));
    }
    // Some kinds' schemas want a message, an empty one at least.
    if !message.is_empty() || have.iter().any(|(_, condition)| condition.get("message").is_some()) {
        put("message", json!(message));
    }
    for time in ["lastHeartbeatTime", "lastProbeTime", "lastTransitionTime", "lastUpdateTime"] {
        if let Some(latest) = have.iter().map(|(_, c)| text(c, time)).filter(|t| !t.is_empty()).max() {
            put(time, json!(latest));
        }
    }
    Value::Object(made)
}

/// What the members say, with their names; without, where all members say the same.
fn message(deciding: &[(&str, &Value)], all: bool) -> String {
    let mut by_text: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (cluster, condition) in deciding {
        by_text.entry(text(condition, "message")).or_default().push(cluster);
    }
    if let (true, 1, Some((text, _))) = (all, by_text.len(), by_text.first_key_value()) {
        return one_line(text);
    }
    let mut said: Vec<(&Vec<&str>, &str)> = by_text
        .iter()
        .filter(|(text, _)| !text.is_empty())
        .map(|(text, clusters)| (clusters, *text))
        .collect();
    said.sort_unstable();
    let more = said.len().saturating_sub(NAMED);
    let mut parts: Vec<String> = said
        .into_iter()
        .take(NAMED)
        .map(|(clusters, text)| format!("{}: {}", names(clusters), one_line(text)))
        .collect();
    if more > 0 {
        parts.push(format!("and {more} more messages"));
    }
    one_line(&parts.join("; "))
}

/// `a, b and 3 more clusters`
pub(super) fn names(clusters: &[&str]) -> String {
    let more = if clusters.len() > NAMED { " clusters" } else { "" };
    format!("{}{more}", few(clusters, NAMED))
}

/// The generations that conditions say they are about are the members'; on the hub they are the hub's, or none.
pub(super) fn renumber(status: &mut Map<String, Value>) {
    let observed = status.get("observedGeneration").cloned();
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
        if condition.contains_key("observedGeneration") {
            match &observed {
                Some(observed) => condition.insert("observedGeneration".to_owned(), observed.clone()),
                None => condition.remove("observedGeneration"),
            };
        }
    }
}

/// The silent members that were seen before, or those that weren't.
pub(super) fn silent(clusters: &[ClusterReport], seen: bool) -> Vec<&str> {
    let those = clusters.iter().filter(|cluster| cluster.silent_since.is_some() && cluster.seen == seen);
    those.map(|cluster| cluster.cluster.as_str()).collect()
}

/// Says which members' parts are old. Without any there is no such condition.
pub(super) fn mark_stale(status: &mut Map<String, Value>, clusters: &[ClusterReport]) {
    let mut kept: Vec<Value> =
        status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    kept.retain(|condition| text(condition, "type") != STALE);
    if let Some(since) = clusters.iter().filter_map(|cluster| cluster.silent_since.as_deref()).min() {
        let parts = [(true, "as last seen in"), (false, "without what isn't known of")];
        let parts = parts.map(|(seen, said)| (silent(clusters, seen), said));
        let parts = parts.iter().filter(|(those, _)| !those.is_empty());
        let said: Vec<String> = parts.map(|(those, said)| format!("{said} {}", names(those))).collect();
        kept.push(json!({
            "type": STALE,
            "status": "True",
            "reason": "ClusterSilent",
            "message": said.join(", "),
            "lastTransitionTime": since,
        }));
    }
    if kept.is_empty() {
        status.remove("conditions");
    } else {
        status.insert("conditions".to_owned(), Value::Array(kept));
    }
}
