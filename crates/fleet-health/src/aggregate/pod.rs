//! Single pods.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::conditions::merged;
use super::reports::{Reports, of};

/// One member's pod is shown as it is. Of several, a container is as ready as the least ready one.
pub(super) fn pod(reports: &Reports<'_>) -> Map<String, Value> {
    if let Some(only) = reports.only() {
        return only;
    }
    let order = ["Failed", "Unknown", "Pending", "Running", "Succeeded"];
    of([
        ("phase", reports.worst_phase(&order, "Pending")),
        ("startTime", reports.earliest("startTime")),
        ("initContainerStatuses", containers(reports, "initContainerStatuses")),
        ("containerStatuses", containers(reports, "containerStatuses")),
        ("conditions", merged(reports)),
    ])
}

/// By name: restarts add up, and the first that isn't ready stands for all.
fn containers(reports: &Reports<'_>, field: &str) -> Option<Value> {
    let mut by_name: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for (_, view) in reports.each() {
        for container in view.list(&["status", field]) {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            by_name.entry(name).or_default().push(container);
        }
    }
    let made: Vec<Value> = by_name.into_values().filter_map(|all| one(&all)).collect();
    (!made.is_empty()).then_some(Value::Array(made))
}

fn one(all: &[&Value]) -> Option<Value> {
    let ready = |container: &&&Value| container.get("ready").and_then(Value::as_bool) == Some(true);
    let shown = all.iter().find(|container| !ready(container)).or_else(|| all.first())?;
    let mut made = shown.as_object()?.clone();
    let restarts = all.iter().filter_map(|container| container.get("restartCount").and_then(Value::as_i64));
    made.insert("restartCount".to_owned(), json!(restarts.fold(0, i64::saturating_add)));
    Some(Value::Object(made))
}
